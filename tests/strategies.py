"""Hypothesis strategies for cells, writes and the small histories of one cell.

Cells are never drawn as such: a drawn cell could be one that no history leads to. What is drawn is
a list of writes, and `played` folds them into a cell from nothing.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from hypothesis import strategies as st

from replication import kinds, merge
from replication.catalog import MERGES_BY_OP, RELATIONS, CellRule
from replication.merge import CellOutcome, Place, Write
from replication.record import Cell, Stamp
from replication.versions import Dot
from tests.tenant import CATALOG, HUB

JOBS: Final = CATALOG.collections["jobs"]
CELLS: Final = tuple(sorted(JOBS.cells))
REPLICAS: Final = (11, 12, 13)
BASE_MAX: Final = 12
"""Seqs are small, so that bases fall on both sides of them."""


class Step(NamedTuple):
    """A write, the cell before it, and what came of it."""

    before: Cell | None
    write: Write
    outcome: CellOutcome


def writes(name: str, n: int, *, whole: bool = False) -> st.SearchStrategy[Write]:
    """Return writes of one cell: of any class that may, with an operation, a value, or half of a group's."""
    rule = JOBS.cells[name]
    asked = st.one_of(*_asked(rule, whole=whole))
    authority = st.sampled_from(sorted(rule.write))
    who = st.tuples(authority, st.sampled_from(RELATIONS), st.sampled_from(REPLICAS))
    return st.builds(_write, st.just(rule), st.just(n), who, asked, st.integers(0, BASE_MAX))


@st.composite
def cell_histories(draw: st.DrawFn, names: tuple[str, ...] = CELLS, max_size: int = 6) -> tuple[str, list[Write]]:
    """Draw the name of a cell and some writes of it, numbered as they come."""
    name = draw(st.sampled_from(names))
    size = draw(st.integers(1, max_size))
    return name, [draw(writes(name, n)) for n in range(1, size + 1)]


def played(name: str, given: list[Write]) -> list[Step]:
    """Judge the writes one after the other and return every step."""
    steps: list[Step] = []
    cell: Cell | None = None
    for seq, write in enumerate(given, start=1):
        outcome = merge.judge(cell, write, place(seq))
        steps.append(Step(cell, write, outcome))
        cell = outcome.cell
    assert all(step.write.cell == name for step in steps)
    return steps


def place(seq: int) -> Place:
    """Return a place in the hub's order."""
    return Place(JOBS, "00000000-0000-4000-8000-000000000001", 2 * seq, Dot(HUB, seq), 1)


def values(name: str) -> st.SearchStrategy[Any]:
    """Return canonical values of a field."""
    field = JOBS.fields[name]
    strategy = _TAGS if name == "tags" else st.sampled_from(field.choices) if field.choices else _VALUES[field.kind]
    return strategy.map(lambda value: kinds.canonical(JOBS.fields[name], value))


def operations(name: str) -> st.SearchStrategy[kinds.Op]:
    """Return canonical operations on a field."""
    shape = JOBS.fields[name]
    return _OPERATIONS[shape.kind].map(lambda op: kinds.canonical_op(shape, op))


def _asked(rule: CellRule, *, whole: bool) -> list[st.SearchStrategy[dict[str, Any]]]:
    if rule.is_group:
        return _asked_of_group(rule, whole=whole)
    asked = [st.fixed_dictionaries({"value": values(rule.name) | st.none()})]
    if rule.merge in MERGES_BY_OP:
        asked.append(st.fixed_dictionaries({"op": operations(rule.name)}))
    if rule.merge is not None:
        asked.append(st.fixed_dictionaries({"value": values(rule.name), "was": values(rule.name)}))
    return asked


def _asked_of_group(rule: CellRule, *, whole: bool) -> list[st.SearchStrategy[dict[str, Any]]]:
    wholes = st.fixed_dictionaries({member: values(member) for member in rule.members})
    if whole:
        return [st.fixed_dictionaries({"value": wholes})]
    names = st.sets(st.sampled_from(rule.members), min_size=1)
    parts = st.builds(lambda names, whole: {name: whole[name] for name in sorted(names)}, names, wholes)
    return [
        st.fixed_dictionaries({"value": parts}),
        st.fixed_dictionaries({"value": parts, "was": wholes}),
        st.fixed_dictionaries({"value": wholes}),
    ]


def _write(rule: CellRule, n: int, who: tuple[str, str, int], asked: dict[str, Any], base: int) -> Write:
    authority, relation, rid = who
    relation = relation if authority == "device" else ""
    stamp = Stamp(Dot(rid if authority == "device" else 2, n), authority, relation, f"person of {rid}", time=base % 7)
    asked = {"sent": asked.get("value", msgspec.UNSET), **asked}
    chain = stamp.dot if authority == "device" else None
    return Write(cell=rule.name, rule=rule, stamp=stamp, chain=chain, base=base, **asked)


_TAGS: Final = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=3)
_PEOPLE: Final = st.sampled_from([f"00000000-0000-4000-8000-00000000000{digit}" for digit in "abc"])
_WORDS: Final = st.sampled_from(["", "x", "y", " xy ", "caf\u00e9", "cafe\u0301"]) | st.text("xy ", max_size=6)
_NUMBERS: Final = st.decimals(-50, 50, places=2).map(str) | st.integers(-5, 5)

_VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "text": _WORDS,
    "integer": st.integers(-5, 5),
    "decimal": _NUMBERS,
    "boolean": st.booleans(),
    "person": _PEOPLE,
    "set": st.lists(_PEOPLE, max_size=2),
    "instant": st.sampled_from(["2026-03-01T08:00:00Z", "2026-03-01T09:30:00+01:00", "2025-12-31T23:59:59.5Z"]),
    "date": st.sampled_from(["2026-03-01", "2026-02-28", "2027-01-01"]),
}

_OPERATIONS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "text": st.builds(lambda text: {"append": text}, _WORDS),
    "integer": st.builds(lambda number: {"inc": number}, st.integers(-5, 5)),
    "decimal": st.builds(lambda number: {"inc": number}, _NUMBERS),
    "set": st.builds(lambda verb, tags: {verb: tags}, st.sampled_from(["add", "remove"]), _TAGS),
}
