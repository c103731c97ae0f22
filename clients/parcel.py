"""What goes into one push: as much as the hub takes at once, and never a part of a tx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from clients import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from replication.mutation import Mutation
    from replication.wire import Limits

HEAD_BYTES: Final = 8_192
"""Room in a push for what stands beside the mutations; the cursor is the largest of it."""


def cut(mutations: Sequence[Mutation], limits: Limits) -> list[Mutation]:
    """Return the mutations of the next push."""
    batch: list[Mutation] = []
    room = _room(limits)
    for run in runs(mutations):
        room -= size(run)
        if batch and (room < 0 or len(batch) + len(run) > limits.mutations):
            break
        batch += run
    return batch


def require_room(run: Sequence[Mutation], limits: Limits) -> None:
    """Refuse at once what no push could carry: it would block everything behind it."""
    if len(run) > max(limits.tx, 1):
        raise errors.TooLarge(f"a transaction of {len(run)} edits; {limits.tx} are allowed")
    if size(run) > _room(limits):
        raise errors.TooLarge(f"{size(run)} bytes of edits in one; {_room(limits)} are allowed")


def size(mutations: Sequence[Mutation]) -> int:
    """Return how many bytes the mutations take in a push, in the form in which they take more."""
    return sum(max(map(len, (msgspec.json.encode(each), msgspec.msgpack.encode(each)))) + 1 for each in mutations)


def _room(limits: Limits) -> int:
    """Return how many bytes of mutations a push may have; compressed they are hardly ever more."""
    return min(limits.bytes, limits.compressed_bytes) - HEAD_BYTES


def runs(mutations: Sequence[Mutation]) -> Iterator[list[Mutation]]:
    """Yield what may not be parted: a tx, or one mutation without."""
    run: list[Mutation] = []
    for mutation in mutations:
        if run and (mutation.tx is None or mutation.tx != run[-1].tx):
            yield run
            run = []
        run.append(mutation)
    if run:
        yield run
