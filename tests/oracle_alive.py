"""Whether a record of the oracle exists: deletes, restores, and edits of what was deleted.

Shares no code with `replication`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests import oracle_cell
from tests.oracle_cell import ALIVE, NOTHING, Asked, Clash, Dot, Known, Line, Told, Write

IN_VAIN: Final = ("refused", "absorbed")


@dataclass
class Rec:
    """One record. `maker` is who made it on a device, as long as that counts."""

    lines: dict[str, Line] = field(default_factory=dict)
    maker: str | None = None

    def copy(self) -> Rec:
        """Return the same record again, to be changed without harm to this one."""
        return Rec({name: line.copy() for name, line in self.lines.items()}, self.maker)

    def value(self, cell: str) -> Any:
        """Return what the cell shows."""
        line = self.lines.get(cell)
        return line.current.value if line and line.current else None


@dataclass(frozen=True)
class Stakes:
    """What a dispute on the existence of a record is settled by: the rule, the room for those who wait, the time."""

    rule: str
    room: int
    time: int
    cells: frozenset[str]
    allowed: bool
    in_scope: bool
    hub: Dot
    restored: bool

    @property
    def name(self) -> str:
        """The name under which the rule is told."""
        return f"against_edit:{self.rule}"


def write_of(asked: Asked, stakes: Stakes, *, value: bool, dot: Dot | None = None) -> Write:
    """Return a write of the existence of a record; with a dot, the hub's in somebody's name."""
    own = dot is None
    held = asked.released if own else None
    return Write(dot or asked.dot, value, (asked.authority,), stakes.time, asked.in_order and own, held=held)


def had_seen(asked: Asked, stakes: Stakes) -> Known:
    """Return what whoever deletes or restores says to have seen: a delete has read the whole record.

    Only a hub that was restored can be told something by that.
    """
    if asked.op != "delete" or not stakes.restored:
        return asked.said.get(ALIVE, NOTHING)
    return NOTHING.union(*asked.said.values())


def bring_into_being(rec: Rec, asked: Asked, stakes: Stakes) -> None:
    """Let a record exist from now on."""
    line = rec.lines[ALIVE] = Line()
    line.past |= asked.said.get(ALIVE, NOTHING)
    oracle_cell.install(line, write_of(asked, stakes, value=True), "")


def declare(rec: Rec, asked: Asked, stakes: Stakes) -> Told:
    """Delete or restore: sent again, and who may; then the rest."""
    line = rec.lines[ALIVE]
    if oracle_cell.is_in_past(asked, line) or oracle_cell.is_outlived(asked, line):
        return Told("absorbed", None, *oracle_cell.shown_pair(line))
    if not stakes.in_scope:
        return Told("refused", "out_of_scope")
    if not stakes.allowed:
        return Told("refused", "not_owner", *oracle_cell.shown_pair(line))
    oracle_cell.end_waiting(line, asked, ALIVE)
    return _declare(rec, asked, stakes)


def _declare(rec: Rec, asked: Asked, stakes: Stakes) -> Told:
    """Whether it is so already, and what was not seen."""
    wanted, line = asked.op == "restore", rec.lines[ALIVE]
    write = write_of(asked, stakes, value=wanted)
    if rec.value(ALIVE) is wanted:
        line.past |= had_seen(asked, stakes)
        oracle_cell.join(line, write)
        return Told("converged", None, *oracle_cell.shown_pair(line))
    read = {ALIVE: line} if wanted else {n: each for n, each in rec.lines.items() if n in stakes.cells}
    unseen = {name: each for name, each in read.items() if not oracle_cell.saw(asked, name, each)}
    if not unseen:
        return _install(line, had_seen(asked, stakes), write, "overwritten knowingly")
    if stakes.rule == "manual":
        return _wait(line, write, stakes)
    if (stakes.rule == "keep_edit") is not wanted:
        oracle_cell.keep(line, write)
        clash = Clash(ALIVE, stakes.name, frozenset({asked.dot}), wanted)
        return Told("superseded", None, *oracle_cell.shown_pair(line), clash=clash)
    standing = [write for each in unseen.values() for write in each.standing()]
    edited = {name: oracle_cell.shown_pair(each)[1] for name, each in unseen.items() if name != ALIVE}
    clash = Clash(ALIVE, stakes.name, oracle_cell.dots(standing), edited or not wanted)
    return _install(line, had_seen(asked, stakes), write, "in the ledger", clash)


def _install(line: Line, past: Known, write: Write, fate: str, clash: Clash | None = None) -> Told:
    line.past |= past
    oracle_cell.install(line, write, fate)
    return Told("applied", None, *oracle_cell.shown_pair(line), clash=clash)


def _wait(line: Line, write: Write, stakes: Stakes) -> Told:
    """Let a delete or a restore wait for a person, if there is room."""
    if len(line.siblings) >= stakes.room:
        oracle_cell.keep(line, write)
        clash = Clash(ALIVE, "siblings:full", frozenset({write.dot}), write.value)
        return Told("superseded", None, *oracle_cell.shown_pair(line), clash=clash)
    line.siblings.append(write)
    line.history.append(write)
    clash = Clash(ALIVE, stakes.name, frozenset({write.dot}), write.value, waits=True)
    return Told("parked", None, *oracle_cell.shown_pair(line), clash=clash)


def edit_of_dead(rec: Rec, asked: Asked, stakes: Stakes, edit: Callable[[Rec], Mapping[str, Told]]) -> dict[str, Told]:
    """Judge an edit whose writer did not know that the record was deleted: first as if it were not."""
    trial = rec.copy()
    told = dict(edit(trial))
    alive = rec.lines[ALIVE]
    if oracle_cell.is_in_past(asked, alive) or oracle_cell.is_outlived(asked, alive):
        return {name: each if each.verdict == "refused" else _past(rec, name) for name, each in told.items()}
    granted = {name for name, each in told.items() if each.verdict not in IN_VAIN}
    brings = any(each.verdict in ("applied", "merged") for each in told.values())
    if not granted:
        return told
    if brings and stakes.rule == "keep_edit":
        rec.lines = trial.lines
        return told | {ALIVE: _revive(rec.lines[ALIVE], asked, stakes)}
    waits, name = brings and stakes.rule == "manual", stakes.name
    if waits and len(alive.siblings) >= stakes.room:
        waits, name = False, "siblings:full"
    if waits:
        alive.siblings.append(write_of(asked, stakes, value=True))
        alive.history.append(alive.siblings[-1])
    clash = Clash(ALIVE, name, frozenset({asked.dot}), {**asked.set, **asked.do} or True, waits)
    for each in granted:
        line = rec.lines.setdefault(each, Line())
        line.history.append(Write(asked.dot, None, (), fate="in the ledger"))
        told[each] = Told("parked" if waits else "superseded", None, *oracle_cell.shown_pair(line), clash=clash)
    return told


def _past(rec: Rec, name: str) -> Told:
    """Tell that a write is in the past of the deletion."""
    return Told("absorbed", None, *oracle_cell.shown_pair(rec.lines.get(name, Line())))


def _revive(line: Line, asked: Asked, stakes: Stakes) -> Told:
    """Bring a record back with what an edit brings: the hub's word on both."""
    clash = Clash(ALIVE, stakes.name, oracle_cell.dots(line.standing()), value=False)
    line.past |= asked.said.get(ALIVE, NOTHING)
    oracle_cell.absorb(line, write_of(asked, stakes, value=True))
    line.history[-1].fate = "merged"
    oracle_cell.install(line, write_of(asked, stakes, value=True, dot=stakes.hub), "in the ledger")
    return Told("merged", dot=stakes.hub, value=True, clash=clash)
