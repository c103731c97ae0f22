"""The change log, the feed of each reader, the ledger of verdicts: rows written once by groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication.catalog import PRIORITIES
from replication.mutation import Mutation
from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from replication.rows import LedgerRow
    from replication.state import State

Row = tuple[Any, ...]

CLASSES: Final[dict[str, int]] = {priority: place for place, priority in enumerate(PRIORITIES)}
"""The number under which each class of travel is stored, the most urgent first."""

_ENCODE: Final = msgspec.json.encode


def columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of the change log."""
    return columns(_changes(states), 15)


def feed_columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of the feed."""
    return columns(_feed(states), 9)


def ledger_columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of the ledger."""
    return columns(_ledger(states), 8)


def remembered_columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of the answers that are kept under an idempotency key."""
    kept = ((tenant, each) for tenant, state in states.items() for each in state.effects.remembered)
    return columns(((tenant, each.key, each.request_hash, _ENCODE(each.verdicts)) for tenant, each in kept), 4)


def _changes(states: Mapping[int, State]) -> Iterator[Row]:
    for tenant, state in states.items():
        for each in state.effects.changes:
            yield (
                tenant,
                each.seq,
                each.commit_seq,
                CLASSES[each.priority],
                each.collection,
                each.record_id,
                each.op,
                each.dot.rid,
                each.dot.n,
                each.tx,
                each.person,
                each.authority,
                each.at,
                _ENCODE(each.state),
                _ENCODE(each.cells),
            )


def _feed(states: Mapping[int, State]) -> Iterator[Row]:
    for tenant, state in states.items():
        collections = state.catalog.collections
        for each in state.effects.feed:
            lifted = collections[each.collection].priority != each.priority
            place = (CLASSES[each.priority], each.seq, each.commit_seq, each.op)
            yield tenant, each.reader, *place, each.collection, each.record_id, lifted


def _ledger(states: Mapping[int, State]) -> Iterator[Row]:
    for tenant, state in states.items():
        for each in state.effects.ledger:
            verdict, payload = _ENCODE(each.verdict), _payload(each)
            yield tenant, each.dot.rid, each.dot.n, each.seq, each.person, each.hash, verdict, payload


def _payload(row: LedgerRow) -> bytes | None:
    if row.payload is None:
        return None
    return _ENCODE(row.payload) if isinstance(row.payload, Mutation) else row.payload.payload
