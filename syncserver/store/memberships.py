"""Who holds which record, and the edges through which holding flows: rows in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from replication import scope
from replication.memberships import Edge, Interval
from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from replication.state import State

Row = tuple[Any, ...]


def load(states: Mapping[int, State], intervals: Iterable[Row], edges: Iterable[Row]) -> None:
    """Give each state the intervals and edges that were read for its tenant."""
    for tenant, collection, record_id, key, from_seq, to_seq, refcount in intervals:
        states[tenant].memberships.load((collection, record_id), Interval(key, from_seq, to_seq, refcount))
    for tenant, giver_collection, giver, field, taker_collection, taker, kind in edges:
        edge = Edge((giver_collection, giver), field, (taker_collection, taker), kind)
        states[tenant].memberships.load_edge(edge)


def columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of intervals, of edges to be added and of edges to be taken away."""
    dirty = [(tenant, state.memberships.dirty) for tenant, state in states.items()]
    added = (_edge(tenant, edge, edge.kind) for tenant, each in dirty for edge in each.added)
    removed = (_edge(tenant, edge) for tenant, each in dirty for edge in each.removed)
    return [*columns(_intervals(states), 8), *columns(added, 7), *columns(removed, 6)]


def _intervals(states: Mapping[int, State]) -> Iterator[Row]:
    for tenant, state in states.items():
        for (record, _, _), each in state.memberships.dirty.intervals.items():
            yield tenant, *record, each.key, each.from_seq, each.to_seq, each.refcount, scope.person_of(each.key)


def _edge(tenant: int, edge: Edge, *kind: str) -> Row:
    return tenant, *edge.giver, edge.field, *edge.taker, *kind
