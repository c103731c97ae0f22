"""Laws of the wire: whatever is sent, each mutation is read as if it came alone."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication import cursor, wire
from replication.mutation import Mutation, digest
from replication.verdict import Malformed

LIMITS = wire.Limits(mutations=100, fields=8, tx=100)
KEYS = ("op", "collection", "id", "tx", "base", "rev", "set", "do", "was", "context", "closes", "by", "at", "other")

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
sound = st.fixed_dictionaries(
    {"op": st.sampled_from(["create", "set"]), "collection": st.just("notes"), "id": st.just("x")},
    optional={"set": st.dictionaries(st.sampled_from("abc"), anything, max_size=3), "base": st.integers(0, 99)},
)
wild = st.dictionaries(st.sampled_from(KEYS), anything, max_size=8)


def read(*mutations: object) -> tuple[Mutation | Malformed, ...]:
    """The mutations as the hub reads them out of a push."""
    return wire.decode_push(json.dumps({"mutations": mutations}).encode(), LIMITS).mutations


@given(st.lists(sound | wild, min_size=1, max_size=5))
def test_each_mutation_is_read_as_if_alone(parts: list[dict[str, object]]) -> None:
    """What stands beside a mutation never changes how it is read, and every number is answered."""
    numbered = [{**each, "n": n} for n, each in enumerate(parts, 1)]

    assert read(*numbered) == tuple(read(each)[0] for each in numbered)
    assert [mutation.n for mutation in read(*numbered)] == list(range(1, len(parts) + 1))


@given(sound | wild)
def test_whatever_is_read_can_be_hashed_and_kept(parts: dict[str, object]) -> None:
    """No mutation that passes the wire can fail later because it cannot be written down."""
    (mutation,) = read({**parts, "n": 1})

    if isinstance(mutation, Malformed):
        assert len(mutation.digest()) == 32
        assert json.loads(mutation.payload) == {**parts, "n": 1}
        assert msgspec.json.encode((mutation.message, mutation.collection, mutation.id))
    else:
        again = msgspec.json.decode(msgspec.json.encode(mutation), type=Mutation)
        assert digest(again) == digest(mutation)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_push_or_a_bad_request(raw: bytes) -> None:
    """There is no third way out of the decoder."""
    try:
        push = wire.decode_push(raw, LIMITS)
    except wire.BadRequest:
        return
    assert isinstance(push, wire.PushRequest)


positions = st.dictionaries(st.text(max_size=12), st.integers(0, 2**63 - 1), max_size=8)


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.text(max_size=20), positions)
def test_a_cursor_survives_its_seal(tenant: int, rid: int, epoch: str, parts: dict[str, int]) -> None:
    """Every cursor comes back equal from the text that the device keeps, and from no other key."""
    whole = cursor.Cursor(tenant=tenant, rid=rid, epoch=epoch, parts=parts)
    text = cursor.seal(whole, [b"k" * 32])

    assert cursor.unseal(text, [b"k" * 32]) == whole
    with pytest.raises(cursor.BadCursor):
        cursor.unseal(text, [b"q" * 32])
