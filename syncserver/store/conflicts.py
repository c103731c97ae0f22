"""Conflict entries: written by groups when a policy decided, ended by later writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from replication.rows import ConflictUpdate
    from replication.state import State

Row = tuple[Any, ...]


def columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of new entries, and of entries that are ended.

    One statement cannot both insert and update a row, so an entry that was made and ended by the
    same group is inserted as ended.
    """
    made: list[Row] = []
    ended: list[Row] = []
    for tenant, state in states.items():
        ends = {update.id: update for update in state.effects.updates}
        made += _made(tenant, state, ends)
        fresh = {row.entry.id for row in state.effects.conflicts}
        ended += ((tenant, id_, end.state, *end.by) for id_, end in ends.items() if id_ not in fresh)
    return [*columns(made, 11), *columns(ended, 5)]


def _made(tenant: int, state: State, ends: Mapping[str, ConflictUpdate]) -> Iterator[Row]:
    for row in state.effects.conflicts:
        entry, end = row.entry, ends.get(row.entry.id)
        place = (entry.collection, entry.record_id, entry.cell, entry.rule)
        now, by = (end.state, end.by) if end else (entry.state, (None, None))
        yield tenant, entry.id, row.seq, *place, now, msgspec.json.encode(entry), *by
