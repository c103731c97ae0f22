"""One cell of the oracle: every write that ever reached it, and what each new one meets there.

Shares no code with `replication`. There are no seqs, bases or vectors: a writer says which writes
were on the screen, as a set, and that is looked into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from tests.oracle_values import Table, difference, done, same

Dot: TypeAlias = tuple[int, int]
Key: TypeAlias = tuple[str, str]
Known: TypeAlias = frozenset[Dot]

MISSING: Final = object()
NOTHING: Final[Known] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A mutation as its writer meant it. `seen` has, by cell, every write that was on the screen.

    `held` is the moment of the last state of the record that the device was given whole.
    """

    dot: Dot
    op: str
    key: Key
    person: str
    authority: str
    sequential: bool
    authorities: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    do: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    was: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, Known] = field(default_factory=dict)
    closes: Mapping[str, frozenset[Dot]] = field(default_factory=dict)
    held: int = 0


@dataclass(eq=False)
class Write:
    """One write for ever: what it was, as whom it ranks, and what became of it."""

    dot: Dot
    value: Any
    ranks: tuple[str, ...]
    fate: str = ""


@dataclass
class Line:
    """One cell: all its writes in order, which of them count now, and which went into its value."""

    history: list[Write] = field(default_factory=list)
    current: Write | None = None
    twins: list[Write] = field(default_factory=list)
    siblings: list[Write] = field(default_factory=list)
    absorbed: set[Dot] = field(default_factory=set)

    def known(self) -> Known:
        """Return what somebody has seen who is shown the cell now: all of it."""
        return frozenset(write.dot for write in self.history)

    def standing(self) -> list[Write]:
        """Return the winner and its twins."""
        return [self.current, *self.twins] if self.current else []


@dataclass(frozen=True)
class Clash:
    """What a conflict entry has to say: of which cell, by which rule, and what lost under which dots."""

    cell: str
    rule: str
    loser: frozenset[Dot]
    value: Any

    @property
    def waits(self) -> bool:
        """Whether a person has to decide."""
        return self.rule == "tie:manual"


@dataclass(frozen=True)
class Told:
    """The verdict of one cell, and what the writer is shown of it: nothing if `dot` is None."""

    verdict: str
    code: str | None = None
    dot: Dot | None = None
    value: Any = None
    clash: Clash | None = None


@dataclass(frozen=True)
class Draft:
    """What one cell is asked to become: a value, part of a group, or an operation."""

    value: Any = None
    op: Table | None = None
    was: Any = MISSING


@dataclass(frozen=True)
class Turn:
    """One cell of a mutation at the moment in which it is judged."""

    name: str
    asked: Asked
    draft: Draft
    rule: Table
    line: Line
    write: Write
    hub: Dot


def saw(asked: Asked, name: str, line: Line) -> bool:
    """Tell whether the writer had seen what stands there: or there is nothing, or it is their own."""
    standing = line.standing()
    own = asked.sequential and any(write.dot[0] == asked.dot[0] for write in standing)
    return not standing or own or any(write.dot in asked.seen.get(name, NOTHING) for write in standing)


def may_repeat(turn: Turn) -> bool:
    """Tell whether an equal value says the same when its writer had not seen the first: two deltas do not."""
    return turn.draft.op is None and turn.rule.get("merge") not in ("append", "counter")


def merge(turn: Turn) -> Told | None:
    """Make one value of both, if the cell merges and it is known what the writer did."""
    rule, line, draft, write = turn.rule, turn.line, turn.draft, turn.write
    op = draft.op
    if op is None and draft.was is not MISSING and draft.value is not None:
        op = difference(rule["kind"], draft.was, draft.value) if "merge" in rule else None
    if op is None or line.current is None:
        return None
    value = done(rule["kind"], line.current.value, op)
    close(turn)
    if same(value, line.current.value):
        write.fate = "contained"
        absorb(line, write)
        return Told("converged", None, *shown_pair(line))
    parts = tuple(rank for each in line.standing() for rank in each.ranks)
    write.fate = "merged"
    absorb(line, write)
    install(line, Write(turn.hub, value, (*parts, *write.ranks)), "merged")
    lost = draft.op if draft.op is not None else draft.value
    clash = Clash(turn.name, f"merge:{rule['merge']}", frozenset({write.dot}), lost)
    return Told("merged", None, *shown_pair(line), clash=clash)


def contend(turn: Turn) -> Told:
    """Rank, then tie."""
    line, write, draft = turn.line, turn.write, turn.draft
    lost = draft.op or (draft.value if write.value is MISSING else write.value)
    name, wins = settle(turn)
    clash = Clash(turn.name, name, frozenset({write.dot}), lost)
    if name == "tie:manual":
        close(turn)
        line.siblings.append(write)
        line.history.append(write)
        return Told("parked", None, *shown_pair(line), clash=clash)
    if not wins:
        keep(line, write)
        return Told("superseded", None, *shown_pair(line), clash=clash)
    clash = Clash(turn.name, name, dots(line.standing()), shown_pair(line)[1])
    close(turn)
    install(line, write, "in the ledger")
    return Told("applied", None, *shown_pair(line), clash=clash)


def settle(turn: Turn) -> tuple[str, bool]:
    """Return the name of the rule that decides between two concurrent writes, and whether the later one wins."""
    if turn.write.value is MISSING:
        return "group:partial", False
    mine = min(place(turn.rule, rank) for rank in turn.write.ranks)
    theirs = min(place(turn.rule, rank) for each in turn.line.standing() for rank in each.ranks)
    tie = turn.rule.get("tie", "first")
    return ("rank", mine < theirs) if mine != theirs else (f"tie:{tie}", tie == "last")


def install(line: Line, write: Write, fate: str) -> None:
    """Let a write stand in place of all that stood there, which meets its fate."""
    for each in line.standing():
        each.fate = fate
    line.current, line.twins = write, []
    absorb(line, write)


def join(line: Line, write: Write) -> None:
    """Let a write of the same value stand beside the winner."""
    line.twins.append(write)
    absorb(line, write)


def absorb(line: Line, write: Write) -> None:
    """Note a write that went into the value, or said the same."""
    line.history.append(write)
    line.absorbed.add(write.dot)


def keep(line: Line, write: Write) -> None:
    """Put a write that lost into the ledger."""
    write.fate = "in the ledger"
    line.history.append(write)


def close(turn: Turn) -> None:
    """End the waiting of siblings that the writer names, or that the same device wrote before."""
    named = turn.asked.closes.get(turn.name, NOTHING)
    for each in list(turn.line.siblings):
        if each.dot in named or (turn.asked.sequential and each.dot[0] == turn.write.dot[0]):
            each.fate = "settled"
            turn.line.siblings.remove(each)


def shown_pair(line: Line) -> tuple[Dot | None, Any]:
    """Return the dot and the value that stand there."""
    return (line.current.dot, line.current.value) if line.current else (None, None)


def dots(writes: Iterable[Write]) -> frozenset[Dot]:
    """Return the dots of some writes."""
    return frozenset(write.dot for write in writes)


def who(authority: str, relation: str) -> str:
    """Write a class and a relation as a rank list does."""
    return f"{authority}.{relation}" if relation else authority


def place(rule: Table, rank: str) -> int:
    """Return the place in the rank list, the highest being 0; unlisted is below all."""
    ranks = [rule["owner"]] if "owner" in rule else rule.get("rank", [])
    return min((i for i, each in enumerate(ranks) if each in (rank, rank.partition(".")[0])), default=len(ranks))
