"""Laws of scope: what is kept step by step is what one would work out from nothing.

The model beside it knows the collections by heart, counts reasons over and over until nothing
changes any more, and shares no code with the rules.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations, pairwise
from typing import Any, TypeAlias

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from replication import catalog_file, scope
from replication.memberships import Edge, Interval, Memberships
from replication.record import ALIVE, Cell, Record, Stamp, unknown
from replication.versions import Dot

Key: TypeAlias = tuple[str, str]
Counts: TypeAlias = dict[Key, Counter[str]]
Values: TypeAlias = dict[Key, dict[str, Any]]

PEOPLE = ("ana", "ben", "eva")
IDS = ("1", "2")


def _collection(name: str, scopes: str, references: dict[str, str], extra: str = "", people: str = "") -> str:
    lines = [f"[collections.{name}]", 'priority = "job"', 'delete = ["office"]', f"scope = {scopes}", extra, people]
    for field, to in {"title": "", **references}.items():
        kind = f'kind = "reference"\nto = "{to}"' if to else 'kind = "text"'
        lines += [f"[collections.{name}.fields.{field}]", kind, 'write = ["office"]']
    return "\n".join(lines)


def _person(collection: str, field: str, kind: str = 'kind = "person"') -> str:
    return f'[collections.{collection}.fields.{field}]\n{kind}\nwrite = ["office"]'


CATALOG = catalog_file.parse(
    "\n".join(
        [
            _collection("areas", '["references"]', {}),
            _collection("customers", '["references"]', {"area_id": "areas"}),
            _collection("contacts", '["parent:customer_id"]', {"customer_id": "customers", "area_id": "areas"}),
            _collection(
                "jobs",
                '["assignee", "crew", "creator_until_assigned"]',
                {"customer_id": "customers", "payer_id": "customers"},
                'groups.parties = ["customer_id", "payer_id"]',
            ),
            _person("jobs", "assignee_id"),
            _person("jobs", "crew", 'kind = "set"\nof = "person"'),
            _collection(
                "visits",
                '["assignee", "creator_until_assigned", "parent:job_id"]',
                {"job_id": "jobs", "area_id": "areas"},
                'assignee_field = "technician_id"',
            ),
            _person("visits", "technician_id"),
            _collection(
                "notes", '["creator", "parent:visit_id", "parent:job_id"]', {"visit_id": "visits", "job_id": "jobs"}
            ),
            _collection("articles", '["all"]', {"area_id": "areas", "job_id": "jobs"}),
        ]
    )
)

# The model's own knowledge of the same collections.
NAMES_PERSON = {"jobs": "assignee_id", "visits": "technician_id"}
NAMES_CREW = {"jobs": "crew"}
BELONGS_TO = {
    "contacts": {"customer_id": "customers"},
    "visits": {"job_id": "jobs"},
    "notes": {"visit_id": "visits", "job_id": "jobs"},
}
BRINGS_ALONG = {
    "customers": {"area_id": "areas"},
    "contacts": {"area_id": "areas"},
    "jobs": {"customer_id": "customers", "payer_id": "customers"},
    "visits": {"area_id": "areas"},
}
CREATOR_STAYS = {"notes"}
CREATOR_UNTIL = {"jobs", "visits"}


class Change(msgspec.Struct, frozen=True):
    """One change of one record: fields to set, whether it lives on, and who made it if it is new."""

    key: Key
    sets: dict[str, Any]
    alive: bool
    creator: str | None


class Model:
    """All records, and the whole past, of a world in which everything is counted anew each time."""

    def __init__(self) -> None:
        self.values: Values = {}
        self.creators: dict[Key, str] = {}
        self.grazed: dict[tuple[Key, str], int] = {}
        self.past: dict[int, dict[Key, set[str]]] = {0: {}}

    def apply(self, change: Change, seq: int) -> None:
        """Carry out one change and note which keys are open after it."""
        is_new = change.key not in self.values
        values = self.values.setdefault(change.key, {})
        values.update(change.sets)
        collection = change.key[0]
        assigned = values.get(NAMES_PERSON.get(collection, ""))
        if is_new and change.creator and collection in CREATOR_STAYS | CREATOR_UNTIL:
            self.creators[change.key] = change.creator
        if collection in CREATOR_UNTIL and assigned:
            maker = self.creators.pop(change.key, None)
            if is_new and maker and not any(key.endswith(":" + maker) for key in self.counts().get(change.key, ())):
                self.grazed[change.key, maker] = seq
        self.past[seq] = {record: set(keys) for record, keys in self.counts().items()}

    def edges(self) -> set[tuple[Key, str, Key, str]]:
        """Return who gives to whom, read from the fields of all records."""
        found = set()
        for key, values in self.values.items():
            for field, to in BELONGS_TO.get(key[0], {}).items():
                if values.get(field):
                    found.add(((to, values[field]), field, key, "parent"))
            for field, to in BRINGS_ALONG.get(key[0], {}).items():
                if values.get(field):
                    found.add((key, field, (to, values[field]), "reference"))
        return found

    def counts(self) -> Counts:
        """Count the reasons for each key, again and again until nothing changes."""
        counts: Counts = {}
        while (more := self._once_more(counts)) != counts:
            counts = more
        return counts

    def _once_more(self, counts: Counts) -> Counts:
        found: Counts = defaultdict(Counter)
        for key, values in self.values.items():
            if person := values.get(NAMES_PERSON.get(key[0], "")):
                found[key][f"assignee:{person}"] += 1
            for person in values.get(NAMES_CREW.get(key[0], "")) or ():
                found[key][f"crew:{person}"] += 1
        for key, person in self.creators.items():
            found[key][f"creator:{person}"] += 1
        for giver, _, taker, kind in self.edges():
            keys = set(counts.get(giver, ()))
            found[taker].update(keys if kind == "parent" else {"linked:" + key.split(":")[1] for key in keys})
        return {record: keys for record, keys in found.items() if keys}

    def holders(self, seq: int) -> set[tuple[str, Key]]:
        """Return the persons and what they held after the change with this seq."""
        return {(key.split(":")[1], record) for record, keys in self.past[seq].items() for key in keys}

    def left_after(self, record: Key, person: str, rev: int) -> bool:
        """Whether a key of the person on the record was closed after `rev`."""
        ended = [self.grazed.get((record, person), 0)]
        for earlier, later in pairwise(sorted(self.past)):
            gone = self.past[earlier].get(record, set()) - self.past[later].get(record, set())
            ended += [later for key in gone if key.endswith(":" + person)]
        return max(ended) > rev


class Store:
    """What a database would keep, and the part of it that it would hand to a group."""

    def __init__(self) -> None:
        self.intervals: dict[tuple[Key, str, int], Interval] = {}
        self.edges: set[Edge] = set()

    def part_for(self, changes: list[Change], known: Values) -> Memberships:
        """Load what lies around the changes, `known` being the values as they were before them."""
        m, named = Memberships(), {change.key for change in changes}
        walk = self._all_below(named | {target for change in changes for target in _brought_by(change)})
        current = walk | {parent for change in changes for parent in _parents_of(change, known)}
        for (record, _, _), interval in self.intervals.items():
            if record in named or (interval.to_seq is None and record in current):
                m.load(record, interval)
        for edge in self.edges:
            if edge.giver in walk:
                m.load_edge(edge)
        return m

    def _all_below(self, records: set[Key]) -> set[Key]:
        found = set(records)
        while more := {edge.taker for edge in self.edges if edge.giver in found} - found:
            found |= more
        return found

    def write(self, m: Memberships) -> None:
        """Write what is dirty, as SQL would: insert or replace a row, add and remove edges."""
        self.intervals.update(m.dirty.intervals)
        assert self.edges.isdisjoint(m.dirty.added)
        assert self.edges.issuperset(m.dirty.removed)
        self.edges = self.edges.difference(m.dirty.removed).union(m.dirty.added)


def _brought_by(change: Change) -> list[Key]:
    return [(to, change.sets[f]) for f, to in BRINGS_ALONG.get(change.key[0], {}).items() if change.sets.get(f)]


def _parents_of(change: Change, known: Values) -> list[Key]:
    both = (known.get(change.key, {}), change.sets)
    fields = BELONGS_TO.get(change.key[0], {}).items()
    return [(to, values[field]) for field, to in fields for values in both if values.get(field)]


def _changes() -> st.SearchStrategy[list[Change]]:
    one_id, one_person = st.sampled_from([None, *IDS]), st.sampled_from([None, *PEOPLE])

    def of(collection: str) -> st.SearchStrategy[Change]:
        fields: dict[str, st.SearchStrategy[Any]] = {"title": st.sampled_from(["a", "b"])}
        for name, field in CATALOG.collections[collection].fields.items():
            if field.kind == "reference":
                fields[name] = one_id
            elif field.kind == "person":
                fields[name] = one_person
            elif field.kind == "set":
                fields[name] = st.sets(st.sampled_from(PEOPLE)).map(sorted)
        return st.builds(
            Change,
            key=st.tuples(st.just(collection), st.sampled_from(IDS)),
            sets=st.fixed_dictionaries({}, optional=fields),
            alive=st.sampled_from([True, True, True, False]),
            creator=one_person,
        )

    # Jobs and visits come more often: they are where scope begins.
    names = ["jobs", "jobs", "visits", "visits", "notes", "customers", "contacts", "areas", "articles"]
    return st.lists(st.sampled_from(names).flatmap(of), min_size=4, max_size=30)


def _cells(before: Record, change: Change, seq: int) -> dict[str, Cell]:
    def cell(value: Any) -> Cell:
        return Cell(value, Stamp(Dot(1, seq), "office", "", "ana"), seq, {1: seq})

    holder = CATALOG.collections[change.key[0]]
    cells = dict(before.cells)
    for field, value in change.sets.items():
        name = holder.cell_of(field)
        if holder.cells[name].is_group:
            whole = dict(cells[name].value) if name in cells else {}
            cells[name] = cell(whole | {field: value})
        else:
            cells[name] = cell(value)
    if ALIVE not in cells or cells[ALIVE].value is not change.alive:
        cells[ALIVE] = cell(change.alive)
    return cells


class Hub:
    """The records, and the memberships that the rules keep for them."""

    def __init__(self) -> None:
        self.records: dict[Key, Record] = {}

    def apply(self, m: Memberships, change: Change, seq: int) -> scope.Moves:
        """Carry out one change by the rules."""
        before = self.records.get(change.key) or unknown(*change.key)
        after = Record(*change.key, seq, _cells(before, change, seq))
        self.records[change.key] = after
        return scope.refresh(m, CATALOG, before, after, None if before.exists else change.creator, seq)


def _counts_of(m: Memberships) -> Counts:
    counts = {record: Counter({i.key: i.refcount for i in keys.values()}) for record, keys in m.open.items()}
    return {record: keys for record, keys in counts.items() if keys}


def _played(changes: list[Change]) -> tuple[Model, Memberships, list[scope.Moves]]:
    model, hub, m, moves = Model(), Hub(), Memberships(), []
    for seq, change in enumerate(changes, start=1):
        model.apply(change, seq)
        moves.append(hub.apply(m, change, seq))
        assert _counts_of(m) == model.counts()
    return model, m, moves


@given(_changes())
@settings(deadline=None)
def test_kept_memberships_are_those_counted_from_nothing(changes: list[Change]) -> None:
    """After each change every key has as many reasons as the whole state gives it, and every edge stands."""
    model, m, _ = _played(changes)

    kept = {(edge.giver, edge.field, edge.taker, edge.kind) for g in m.edges for edge in m.edges_from(g)}

    assert kept == model.edges()


@given(_changes())
@settings(deadline=None)
def test_enters_and_leaves_are_the_turns_between_none_and_some(changes: list[Change]) -> None:
    """A person enters when their first key on a record opens and leaves when the last one closes, once each."""
    model, _, moves = _played(changes)

    for seq, moved in enumerate(moves, start=1):
        earlier, later = model.holders(seq - 1), model.holders(seq)
        assert sorted(moved.enters) == sorted(later - earlier)
        assert sorted(moved.leaves) == sorted(earlier - later)


@given(_changes())
@settings(deadline=None)
def test_a_giver_moves_before_its_taker(changes: list[Change]) -> None:
    """In each list of moves, all of a record's come before all of those that it gives to."""
    model, hub, m = Model(), Hub(), Memberships()

    for seq, change in enumerate(changes, start=1):
        model.apply(change, seq)
        moves = hub.apply(m, change, seq)
        gives = {(giver, taker) for giver, _, taker, _ in model.edges()}
        for moved in (moves.enters, moves.leaves):
            backwards = {(second, first) for (_, first), (_, second) in combinations(moved, 2)}
            assert not backwards & gives


@given(_changes())
@settings(deadline=None)
def test_intervals_tell_when_a_key_was_open(changes: list[Change]) -> None:
    """At every seq exactly one interval of a key covers it if the key was open then, and none otherwise."""
    model, m, _ = _played(changes)
    intervals = [(record, i) for record, ended in m.closed.items() for i in ended]
    intervals += [(record, i) for record, keys in m.open.items() for i in keys.values()]

    for seq, state in model.past.items():
        covering = Counter(
            (record, i.key) for record, i in intervals if i.from_seq <= seq < (i.to_seq or len(changes) + 1)
        )
        assert covering == Counter((record, key) for record, keys in state.items() for key in keys)
    assert all((i.refcount > 0) is (i.to_seq is None) for _, i in intervals)
    assert len({(record, i.key, i.from_seq) for record, i in intervals}) == len(intervals)


@given(_changes())
@settings(deadline=None)
def test_former_holders_are_known_by_the_rev_they_held(changes: list[Change]) -> None:
    """Whoever lost a record after the rev on their device is a former holder, and nobody else is."""
    model, m, _ = _played(changes)

    for record in model.values:
        for person in PEOPLE:
            for rev in range(len(changes) + 1):
                known = scope.was_member(m, record, person, rev)
                assert known is model.left_after(record, person, rev)


@given(_changes(), st.integers(1, 5))
@settings(deadline=None)
def test_the_closure_of_a_group_is_enough(changes: list[Change], size: int) -> None:
    """With only what lies around a group loaded, everything comes out as with all in memory."""
    model, _, expected = _played(changes)
    store, hub, moves = Store(), Hub(), []
    written: Values = {}

    for start in range(0, len(changes), size):
        group = changes[start : start + size]
        m = store.part_for(group, written)
        moves += [hub.apply(m, change, start + place) for place, change in enumerate(group, start=1)]
        for change in group:
            written.setdefault(change.key, {}).update(change.sets)
        store.write(m)

    whole = Memberships()
    for (record, _, _), interval in store.intervals.items():
        whole.load(record, interval)
    assert moves == expected
    assert _counts_of(whole) == model.counts()
    assert {(e.giver, e.field, e.taker, e.kind) for e in store.edges} == model.edges()
