"""Who holds which records: scope keys, the edges they travel along, and what changed in both.

A record is held through *scope keys* such as `assignee:<person>`. A key has a count, one for each
reason why it is open, and an interval of seqs in which that count was above zero; an interval that
has ended stays on record, because a device that was away may still send what it wrote then.

Reasons flow along *edges*, from giver to taker. `replication.scope` decides what flows; here it is
only kept, together with what a store has to write.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from replication.tentative import Tentative

Key: TypeAlias = tuple[str, str]
"""Names a record: its collection and its id."""


class Interval(msgspec.Struct, frozen=True):
    """A stretch of the number line in which a key was open: from `from_seq`, before `to_seq`.

    An open interval has no `to_seq`, and as many reasons as `refcount` says; an ended one has none.
    """

    key: str
    from_seq: int
    to_seq: int | None
    refcount: int


class Edge(msgspec.Struct, frozen=True):
    """A way by which reasons flow from one record to another: a field that names a record.

    Along `parent` the field is the taker's and every open key is copied. Along `reference` it is
    the giver's, and whoever holds the giver is linked to the taker.
    """

    giver: Key
    field: str
    taker: Key
    kind: Literal["parent", "reference"]


class Dirty:
    """What differs from the store.

    `intervals` are rows by record, key and `from_seq`, each to be inserted or, if it is there, to
    get the `to_seq` and `refcount` given here. `edges` says of each edge whether it is to be added.
    """

    def __init__(self) -> None:
        self.intervals: dict[tuple[Key, str, int], Interval] = {}
        self.edges: dict[Edge, bool] = {}

    @property
    def added(self) -> list[Edge]:
        """Edges that the store does not have yet."""
        return [edge for edge, stands in self.edges.items() if stands]

    @property
    def removed(self) -> list[Edge]:
        """Edges that the store still has."""
        return [edge for edge, stands in self.edges.items() if not stands]


class Memberships:
    """Keys and edges of the records at hand, with what changed since they were loaded."""

    def __init__(self) -> None:
        self.open: dict[Key, dict[str, Interval]] = {}
        self.closed: dict[Key, list[Interval]] = {}
        self.edges: dict[Key, dict[tuple[str, Key], Edge]] = {}
        self.dirty = Dirty()
        self.tentative = Tentative()

    def load(self, record: Key, interval: Interval) -> None:
        """Take in an interval as the store has it."""
        if interval.to_seq is None:
            self.open.setdefault(record, {})[interval.key] = interval
        else:
            self.closed.setdefault(record, []).append(interval)

    def load_edge(self, edge: Edge) -> None:
        """Take in an edge as the store has it."""
        self.edges.setdefault(edge.giver, {})[edge.field, edge.taker] = edge

    def edges_from(self, giver: Key) -> list[Edge]:
        """Return the edges along which a record gives."""
        return list(self.edges.get(giver, {}).values())

    def shift(self, record: Key, key: str, by: int, seq: int) -> int:
        """Add reasons for a key or take some away; 1 if that opened it, -1 if it closed it."""
        was = self.tentative.drop(self._keys(record), key)
        count = by + (was.refcount if was else 0)
        assert count >= 0, "a reason is taken back only as often as it was given"
        self._note(record, Interval(key, was.from_seq if was else seq, None if count else seq, count))
        return bool(count) - bool(was)

    def graze(self, record: Key, key: str, seq: int) -> None:
        """Note that a person had a record in hand at `seq` and let go of it at once."""
        self._note(record, Interval(key, seq, seq, 0))

    def join(self, edge: Edge) -> None:
        """Let reasons flow along an edge from now on."""
        self.tentative.put(self.edges.setdefault(edge.giver, {}), (edge.field, edge.taker), edge)
        self._note_edge(edge, stands=True)

    def cut(self, edge: Edge) -> None:
        """Let nothing more flow along an edge, loaded or not: the edges of a parent need not be."""
        self.tentative.drop(self.edges.get(edge.giver, {}), (edge.field, edge.taker))
        self._note_edge(edge, stands=False)

    def _keys(self, record: Key) -> dict[str, Interval]:
        return self.open.setdefault(record, {})

    def _note(self, record: Key, interval: Interval) -> None:
        if interval.to_seq is None:
            self.tentative.put(self._keys(record), interval.key, interval)
        else:
            self.tentative.put(self.closed, record, [*self.closed.get(record, ()), interval])
        self.tentative.put(self.dirty.intervals, (record, interval.key, interval.from_seq), interval)

    def _note_edge(self, edge: Edge, *, stands: bool) -> None:
        # Joining and cutting alternate, so the second of the two returns to what the store has.
        if self.tentative.drop(self.dirty.edges, edge) is None:
            self.tentative.put(self.dirty.edges, edge, stands)
