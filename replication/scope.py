"""Who sees a record, and what enters or leaves a person's scope when records change.

A person holds a record while at least one scope key of theirs is open on it. The reasons for a key
are what the catalogue lists as `scope`: the record names the person (`assignee:`, `crew:`) or was
made by them (`creator:`); the record belongs to another one, whose open keys it copies (`parent`);
or a record that the person holds refers to it (`linked:`, for `references`). A deleted record
keeps its keys. A collection that everybody reads has none, and gives none.

A change is carried down the edges once, each record after all that give to it, so that a record
which loses one reason and gains another in the same change neither leaves nor enters. There is such
an order because collections give to each other in no circle (`Catalog.scope_order`).

What must be loaded before `refresh` of a record, by the stored state and by what is about to be
written:

- the open intervals of the record, and of all that lies below it (edges followed from giver to
  taker as far as they go);
- the open intervals of its parents, the former ones and the new ones;
- for each record that it newly refers to, what the first line says;
- every edge whose giver is among these, the parents apart.

Ended intervals matter to `was_member` alone, of the records that mutations name.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

import msgspec

from replication.memberships import Edge, Key, Memberships

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from replication.catalog import Catalog, Collection
    from replication.record import Record

RELATIONS: Final = ("assignee", "crew", "creator", "linked")
"""What a scope key begins with: how a person is related to a record they hold."""

EVERYBODY: Final = "all"
"""The one reader of a record that nobody needs to hold."""


class Moves(msgspec.Struct, frozen=True):
    """Persons who began or ceased to hold a record, each record after those that give to it."""

    enters: tuple[tuple[str, Key], ...] = ()
    leaves: tuple[tuple[str, Key], ...] = ()


def person_of(key: str) -> str:
    """Return the person that a scope key is about."""
    return key.partition(":")[2]


def relations(m: Memberships, record: Key, person: str) -> tuple[str, ...]:
    """Return how a person who holds the record is related to it; nothing if they do not."""
    keys = m.open.get(record)
    return tuple(how for how in RELATIONS if f"{how}:{person}" in keys) if keys else ()


def was_member(m: Memberships, record: Key, person: str, rev: int) -> bool:
    """Whether the person ceased to hold the record after the rev that their device holds."""
    ended = m.closed.get(record, ())
    return any((each.to_seq or 0) > rev and person_of(each.key) == person for each in ended)


def readers(m: Memberships, record: Key, collection: Collection) -> set[str]:
    """Return the persons who hold the record, or `all` where everybody reads the collection."""
    if collection.is_for_all:
        return {EVERYBODY}
    return {person_of(key) for key in m.open.get(record, ())}


def refresh(m: Memberships, catalog: Catalog, before: Record, after: Record, creator: str | None, seq: int) -> Moves:
    """Bring the memberships up to a changed record, and return who enters and leaves what.

    `creator` is the person whose create this is, and `None` for every other change. `seq` is the
    change's own and rises from call to call.
    """
    holder = catalog.collections[after.collection]
    if holder.is_for_all or (creator is None and not _touches_scope(catalog, before, after)):
        return Moves()
    flow = _Flow(m, catalog.scope_order, seq)
    change = _Change(catalog, (after.collection, after.id), _values(catalog, before), _values(catalog, after))
    _own_reasons(flow, change, creator)
    _rewire(flow, change)
    moves = flow.run()
    if creator is not None and "creator_until_assigned" in holder.sources:
        _keep_creator(flow, change.record, creator)
    return moves


class _Change(msgspec.Struct, frozen=True):
    """A record, and its fields that matter to scope before and after."""

    catalog: Catalog
    record: Key
    was: dict[str, object]
    now: dict[str, object]

    @property
    def holder(self) -> Collection:
        return self.catalog.collections[self.record[0]]


class _Flow:
    """Reasons given and taken that still have to be carried to the records they are for."""

    def __init__(self, m: Memberships, order: Mapping[str, int], seq: int) -> None:
        self.m = m
        self.order = order
        self.seq = seq
        self.pending: dict[Key, dict[str, int]] = {}
        self.queue: list[tuple[int, Key]] = []

    def give(self, taker: Key, keys: Iterable[str], by: int) -> None:
        """Note what a record will get, or with a negative number lose."""
        for key in keys:
            if taker not in self.pending:
                self.pending[taker] = {}
                heappush(self.queue, (self.order[taker[0]], taker))
            reasons = self.pending[taker]
            reasons[key] = reasons.get(key, 0) + by

    def run(self) -> Moves:
        """Carry everything down, each record after all that give to it."""
        enters: list[tuple[str, Key]] = []
        leaves: list[tuple[str, Key]] = []
        while self.queue:
            _, record = heappop(self.queue)
            gained, lost = self._settle(record, self.pending.pop(record))
            enters += ((person, record) for person in sorted(gained))
            leaves += ((person, record) for person in sorted(lost))
        return Moves(tuple(enters), tuple(leaves))

    def _settle(self, record: Key, reasons: dict[str, int]) -> tuple[set[str], set[str]]:
        """Apply the sum of what reached a record; return who gained it and who lost it."""
        due = sorted((key, by) for key, by in reasons.items() if by)
        persons = {person_of(key) for key, _ in due}
        held = {person for person in persons if relations(self.m, record, person)}
        turns = [(key, self.m.shift(record, key, by, self.seq)) for key, by in due]
        holds = {person for person in persons if relations(self.m, record, person)}
        for turn, people in ((1, holds - held), (-1, held - holds)):
            self._pass_on(record, [key for key, way in turns if way == turn], people, turn)
        return holds - held, held - holds

    def _pass_on(self, record: Key, keys: list[str], people: set[str], turn: int) -> None:
        for edge in self.m.edges_from(record):
            self.give(edge.taker, keys if edge.kind == "parent" else map(_linked, people), turn)


def _own_reasons(flow: _Flow, change: _Change, creator: str | None) -> None:
    """Give and take the reasons that lie in the record itself: who is named in it, who made it."""
    flow.give(change.record, _people(change.holder, change.was), -1)
    flow.give(change.record, _people(change.holder, change.now), 1)
    if creator is not None:
        if _holds_creator(change.holder, change.now):
            flow.give(change.record, [f"creator:{creator}"], 1)
    elif not _holds_creator(change.holder, change.now):
        for key, count in _own_creators(flow.m, change):
            flow.give(change.record, [key], -count)


def _rewire(flow: _Flow, change: _Change) -> None:
    """Cut and join the edges of a record, with what flows along them at this moment."""
    were, are = _edges(change, change.was), _edges(change, change.now)
    for edge in were:
        if edge not in are:
            flow.give(edge.taker, _given(flow.m, edge), -1)
            flow.m.cut(edge)
    for edge in are:
        if edge not in were:
            flow.give(edge.taker, _given(flow.m, edge), 1)
            flow.m.join(edge)


def _keep_creator(flow: _Flow, record: Key, creator: str) -> None:
    """Remember who made a record that was somebody else's from its first moment.

    The maker's device had it in hand: what it wrote there before hearing of this is a former
    holder's work and no stranger's.
    """
    if not relations(flow.m, record, creator):
        flow.m.graze(record, f"creator:{creator}", flow.seq)


def _touches_scope(catalog: Catalog, before: Record, after: Record) -> bool:
    # Cells are immutable and shared between the two records, so this reads no value.
    cell_of = catalog.collections[after.collection].cell_names
    was, now = before.cells, after.cells
    return any(was.get(cell_of[f]) is not now.get(cell_of[f]) for f in catalog.scope_fields(after.collection))


def _values(catalog: Catalog, record: Record) -> dict[str, object]:
    holder = catalog.collections[record.collection]
    values: dict[str, object] = {}
    for field in catalog.scope_fields(record.collection):
        name = holder.cell_of(field)
        if cell := record.cells.get(name):
            values[field] = cell.value.get(field) if holder.cells[name].is_group else cell.value
    return values


def _people(holder: Collection, values: Mapping[str, object]) -> Iterator[str]:
    """Yield the keys of the persons whom a record itself names."""
    if "assignee" in holder.sources and (assignee := values.get(holder.assignee_field or "")):
        yield f"assignee:{assignee}"
    crew = values.get(holder.crew_field or "")
    if "crew" in holder.sources and isinstance(crew, list):
        yield from (f"crew:{person}" for person in crew)


def _holds_creator(holder: Collection, values: Mapping[str, object]) -> bool:
    """Whether the person who made a record holds it for having made it."""
    if "creator_until_assigned" in holder.sources:
        return not values.get(holder.assignee_field or "")
    return "creator" in holder.sources


def _own_creators(m: Memberships, change: _Change) -> Iterator[tuple[str, int]]:
    """Yield each creator key with the number of its reasons that are no copies of a parent's.

    That number is 0 once the maker was let go: taking the assignee away does not bring them back.
    """
    parents = [edge.giver for edge in _edges(change, change.was) if edge.kind == "parent"]
    for key, interval in m.open.get(change.record, {}).items():
        if key.startswith("creator:"):
            yield key, interval.refcount - sum(key in m.open.get(parent, ()) for parent in parents)


def _edges(change: _Change, values: Mapping[str, object]) -> list[Edge]:
    """Return the edges that these values of a record make: from its parents, to what it refers to."""
    catalog, record, fields = change.catalog, change.record, change.holder.fields
    above = [
        (field, (fields[field].to, str(values[field]))) for field in catalog.parents(record[0]) if values.get(field)
    ]
    below = [(field, (to, str(values[field]))) for field, to in catalog.carried(record[0]) if values.get(field)]
    return [
        *(Edge(parent, field, record, "parent") for field, parent in above),
        *(Edge(record, field, target, "reference") for field, target in below),
    ]


def _given(m: Memberships, edge: Edge) -> Iterable[str]:
    """Return the keys for which the giver is a reason now."""
    keys = m.open.get(edge.giver, {})
    return list(keys) if edge.kind == "parent" else {_linked(person_of(key)) for key in keys}


def _linked(person: str) -> str:
    return f"linked:{person}"
