"""What must come of every write, worked out beside the hub from explicit sets of writes.

Shares no code with `replication`: there are no seqs, bases or vectors. A cell is a `Line`; every write that
ever reached it is in exactly one of its places, so that none can be missing. All of it is immutable, because a
search keeps thousands of these side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

Dot: TypeAlias = tuple[int, int]
Known: TypeAlias = frozenset[Dot]
Place: TypeAlias = tuple[str, str]
"""A record's id and one of its cells."""

NOBODY: Final[Known] = frozenset()
UNTOLD: Final = object()
"""Stands for a `was` that was not sent."""


class Broken(Exception):
    """A promise that does not hold: which one, and what was seen."""

    def __init__(self, promise: str, seen: str) -> None:
        super().__init__(f"{promise}: {seen}")
        self.promise = promise


@dataclass(frozen=True)
class Rule:
    """What the catalogue says of a cell, as far as the worlds need it. `members` if it is a group."""

    kind: str = "text"
    tie: str = "first"
    merge: str | None = None
    rank: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One cell. `over` has the writes that somebody replaced knowingly or that went into a value of the hub's.

    `lost` and `waiting` map to the value that has to be found in an entry, or beside the incumbent.
    """

    value: Any
    standing: Known
    known: Known
    over: Known = NOBODY
    lost: frozenset[tuple[Dot, Any]] = frozenset()
    waiting: frozenset[tuple[Dot, Any]] = frozenset()
    authors: frozenset[str] = frozenset({"office"})


@dataclass(frozen=True)
class Asked:
    """One write of one cell, as its writer meant it; `seen` are the writes that were on the screen."""

    dot: Dot
    authority: str
    value: Any = None
    op: tuple[str, Any] | None = None
    was: Any = UNTOLD
    seen: Known = NOBODY

    @property
    def is_device(self) -> bool:
        """Whether its own earlier writes count as seen."""
        return self.authority == "device"


@dataclass(frozen=True)
class Told:
    """What the writer has to be told, and whether an entry must say so."""

    verdict: str
    line: Line
    clash: bool = False


@dataclass(frozen=True)
class Truth:
    """All cells, how far each replica's numbers have come, and what was told under each dot.

    `entries` names the conflict entries there must be; `told` has each verdict as it went out first, with what
    its receiver then knows of each cell. `told_so` has the same as one set.
    """

    lines: Mapping[Place, Line] = field(default_factory=dict)
    applied: Mapping[int, int] = field(default_factory=dict)
    told: Mapping[Dot, tuple[bytes, Mapping[Place, Known]]] = field(default_factory=dict)
    entries: frozenset[str] = frozenset()
    hub_n: int = 0
    told_so: frozenset[object] = frozenset()


def judge(rule: Rule, line: Line, asked: Asked, hub: Dot) -> Told:
    """Return what a write of one cell meets: equal, seen, merge, rank, tie, in this order."""
    whole = _whole(rule, line, asked)
    repeats = asked.op is None and rule.merge is None
    if whole == line.value and (saw(line, asked) or repeats):
        return Told("converged", _joined(line, asked))
    if saw(line, asked):
        return Told("applied", _installed(line, asked, whole, over=line.over | line.standing))
    op = asked.op or _difference(rule, asked)
    if op is not None:
        return Told("merged", _merged(line, asked, _done(line.value, op), hub), clash=True)
    return _contend(rule, line, asked, whole)


def saw(line: Line, asked: Asked) -> bool:
    """Tell whether the writer had seen what stands there, or it is the device's own."""
    own = asked.is_device and any(rid == asked.dot[0] for rid, _ in line.standing)
    return own or not line.standing or bool(line.standing & asked.seen)


def _contend(rule: Rule, line: Line, asked: Asked, whole: Any) -> Told:
    mine, theirs = _place(rule, {asked.authority}), _place(rule, line.authors)
    if mine == theirs and rule.tie == "manual":
        waits = replace(line, waiting=line.waiting | {(asked.dot, whole)}, known=line.known | {asked.dot})
        return Told("parked", _closed(waits, asked), clash=True)
    if mine < theirs or (mine == theirs and rule.tie == "last"):
        beaten = line.lost | {(dot, line.value) for dot in line.standing}
        return Told("applied", replace(_installed(line, asked, whole, over=line.over), lost=beaten), clash=True)
    keeps = replace(line, lost=line.lost | {(asked.dot, whole)}, known=line.known | {asked.dot})
    return Told("superseded", keeps, clash=True)


def _installed(line: Line, asked: Asked, value: Any, *, over: Known) -> Line:
    authors = frozenset({asked.authority})
    new = replace(
        line, value=value, standing=frozenset({asked.dot}), over=over, authors=authors, known=line.known | {asked.dot}
    )
    return _closed(new, asked)


def _joined(line: Line, asked: Asked) -> Line:
    """Let a write of the same value stand beside those that stand there."""
    both = line.authors | {asked.authority}
    return _closed(
        replace(line, standing=line.standing | {asked.dot}, authors=both, known=line.known | {asked.dot}), asked
    )


def _merged(line: Line, asked: Asked, value: Any, hub: Dot) -> Line:
    over = line.over | line.standing | {asked.dot}
    known, both = line.known | {asked.dot, hub}, line.authors | {asked.authority}
    new = replace(line, value=value, standing=frozenset({hub}), over=over, known=known, authors=both)
    return _closed(new, asked)


def _closed(line: Line, asked: Asked) -> Line:
    """A device's later write ends the waiting of its earlier ones."""
    own = frozenset(each for each in line.waiting if asked.is_device and each[0][0] == asked.dot[0])
    ended = frozenset(each for each in own if each[0] != asked.dot)
    return replace(line, waiting=line.waiting - ended, over=line.over | {dot for dot, _ in ended})


def _whole(rule: Rule, line: Line, asked: Asked) -> Any:
    if asked.op is not None:
        return _done(line.value, asked.op)
    if not rule.members:
        return asked.value
    under = line.value if saw(line, asked) else asked.was
    return tuple(sorted({**dict(under), **dict(asked.value)}.items()))


def _difference(rule: Rule, asked: Asked) -> tuple[str, Any] | None:
    """Return what was done, where the cell merges and the screen before is known."""
    if rule.merge is None or asked.was is UNTOLD:
        return None
    if rule.merge == "counter":
        return "inc", asked.value - asked.was
    return ("append", asked.value.removeprefix(asked.was)) if asked.value.startswith(asked.was) else None


def _done(value: Any, op: tuple[str, Any]) -> Any:
    return value + op[1]


def _place(rule: Rule, authorities: Iterable[str]) -> int:
    """Return the highest place in the rank list, the highest of all being 0; unlisted is below all."""
    return min(rule.rank.index(each) if each in rule.rank else len(rule.rank) for each in authorities)
