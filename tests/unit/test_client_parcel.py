"""What goes into one push."""

from __future__ import annotations

from clients import parcel
from replication import wire
from replication.mutation import Mutation


def test_cut_respects_bytes_and_never_parts_a_tx() -> None:
    """A push holds what fits; a tx that alone is larger goes alone."""
    mutations = [
        Mutation(n=n, op="set", collection="c", id="i", tx=tx, set={"f": "x" * 100})
        for n, tx in enumerate(["t", "t", None, "u", "u", "u"], start=1)
    ]

    def numbers(size: int, start: int = 0) -> list[int]:
        limits = wire.Limits(bytes=parcel.HEAD_BYTES + size)
        return [mutation.n for mutation in parcel.cut(mutations[start:], limits)]

    assert numbers(10) == [1, 2]
    assert numbers(600) == [1, 2, 3]
    assert numbers(10, 3) == [4, 5, 6]
    assert numbers(10_000) == [1, 2, 3, 4, 5, 6]
    assert parcel.cut([], wire.Limits()) == []
