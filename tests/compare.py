"""What the hub said and kept, held against what the oracle expects. Any difference is raised.

The kinds of difference: `verdict` (another verdict, rule or code), `false conflict` and `missed
conflict` (an entry too many or too few), `lost value` (a value that is nowhere to be found), and
`state` (the store shows something else).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import UNSET

from replication import rows
from replication.catalog import Collection
from replication.mutation import Mutation
from replication.record import Cell, Record, fields
from replication.verdict import CellVerdict, Conflict, MutationVerdict
from replication.versions import Dot, Vector, covers
from tests.oracle import Answer
from tests.oracle_alive import Rec
from tests.oracle_cell import ALIVE, Clash, Line, Told
from tests.oracle_values import same

MOVES: Final = {"applied", "merged", "parked"}
GRAVITY: Final = ("refused", "parked", "superseded", "merged", "applied", "absorbed", "converged")


class Disagreement(AssertionError):
    """The rules and the oracle do not say the same."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def check(kind: str, expected: Any, actual: Any, what: str) -> None:
    """Raise unless the two are the same."""
    if expected != actual:
        raise Disagreement(kind, f"{what}: expected {expected!r}, the rules say {actual!r}")


def verdict(mutation: Mutation, actual: MutationVerdict, expected: Answer, where: str) -> None:
    """Compare the verdict of a mutation, cell by cell."""
    names = {name: told.verdict for name, told in expected.cells.items()}
    check("verdict", names, {name: told.verdict for name, told in actual.cells.items()}, where)
    whole = (
        "held"
        if expected.held
        else "refused"
        if expected.code
        else min(names.values(), key=GRAVITY.index, default="converged")
    )
    check("verdict", whole, actual.verdict, where)
    if expected.code:
        check("verdict", expected.code, actual.code, where)
    for name, told in expected.cells.items():
        _cell(mutation, actual.cells[name], told, f"{where} {name}")


def _cell(mutation: Mutation, actual: CellVerdict, told: Told, where: str) -> None:
    check("verdict", told.code, actual.code, f"{where} code")
    check("verdict", told.clash.rule if told.clash else None, actual.rule, f"{where} rule")
    check("verdict", told.clash is not None, actual.conflict is not None, f"{where} names a conflict")
    check("state", told.dot, actual.dot, f"{where} winner")
    if told.dot is not None:
        sent = mutation.set.get(where.rpartition(" ")[2])
        value = sent if actual.value is UNSET else actual.value
        if not same(told.value, value):
            raise Disagreement("state", f"{where}: the cell shows {told.value!r}, its writer is told {value!r}")


def entries(actual: Mapping[str, Conflict], expected: Mapping[str, Clash], where: str) -> None:
    """Compare the conflict entries that a mutation left."""
    if extra := actual.keys() - expected.keys():
        raise Disagreement("false conflict", f"{where}: {sorted(extra)}")
    if missing := expected.keys() - actual.keys():
        raise Disagreement("missed conflict", f"{where}: {sorted(missing)}")
    for name, clash in expected.items():
        _entry(actual[name], clash, f"{where} {name}")


def _entry(actual: Conflict, clash: Clash, where: str) -> None:
    check("verdict", clash.rule, actual.rule, where)
    check("verdict", "open" if clash.waits else "decided", actual.state, where)
    dots = {actual.loser.dot, *actual.loser.twins}
    if not isinstance(clash.value, dict) or clash.cell != ALIVE:
        # Who says the same twice is named once. Of many cells that a delete had not seen, one is named.
        check("lost value", {rid for rid, _ in clash.loser}, {dot.rid for dot in dots}, f"{where} writers that lost")
    check("lost value", set(), dots - clash.loser, f"{where} dots that did not lose")
    if not same(clash.value, actual.loser.value):
        raise Disagreement("lost value", f"{where}: lost {clash.value!r}, kept {actual.loser.value!r}")


def kept(row: rows.LedgerRow, change: rows.Change | None, expected: Answer, where: str) -> None:
    """Compare what is left of a mutation: its payload where it did not all land, else a change row."""
    verdicts = {told.verdict for told in expected.cells.values()} | ({"refused"} if expected.code else set())
    if verdicts & {"refused", "parked", "superseded", "held"} and row.payload is None:
        raise Disagreement("lost value", f"{where}: {sorted(verdicts)}, and its payload is not kept")
    check("state", bool(verdicts & MOVES), change is not None, f"{where} makes a change")
    for name, told in expected.cells.items():
        if told.verdict in ("applied", "merged"):
            assert change is not None, "just compared"
            here = change.cells.get(name)
            if here is None or not same(here.value, told.value):
                raise Disagreement("lost value", f"{where} {name}: {told.value!r} is not in its change: {here}")


def record(
    actual: Record | None, expected: Rec | None, shown: Mapping[str, Any], collection: Collection, proven: Vector
) -> None:
    """Compare a whole record: what it shows, and in each cell the winner and the siblings that wait.

    Vectors may leave out what is `proven`, and nothing else.
    """
    if actual is None or expected is None:
        check("state", expected is None, actual is None, "a record exists")
        return
    where = f"{actual.collection} {actual.id[-2:]}"
    check("state", expected.value(ALIVE), actual.alive, f"{where} alive")
    if not same(dict(shown), fields(actual, collection)):
        raise Disagreement("state", f"{where}: expected {shown}, shown {fields(actual, collection)}")
    for name, line in expected.lines.items():
        if line.current is not None:
            _line(actual.cells[name], line, proven, f"{where} {name}")


def _line(actual: Cell, line: Line, proven: Vector, where: str) -> None:
    assert line.current is not None, "asked for lines that hold something"
    check("state", line.current.dot, actual.stamp.dot, f"{where} winner")
    check(
        "state",
        {write.dot[0] for write in line.twins} | {actual.stamp.dot.rid},
        {stamp.dot.rid for stamp in actual.stamps()},
        f"{where} twins",
    )
    forgotten = [(rid, n) for rid, n in line.past if not covers(actual.vv, Dot(rid, n)) and n > proven.get(rid, 0)]
    check("state", [], forgotten, f"{where} has not absorbed")
    check("state", set(), actual.vv.items() - line.past, f"{where} has absorbed what never came")
    waiting = [(each.dot, each.value) for each in line.siblings]
    check("lost value", waiting, [(each.stamp.dot, each.value) for each in actual.siblings], f"{where} siblings")
