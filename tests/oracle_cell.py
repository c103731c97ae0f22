"""One cell of the oracle: every write that ever reached it, and what each new one meets there.

Shares no code with `replication`. There are no seqs, bases or vectors: a writer says which writes
were on the screen, as a set, and that is looked into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from tests.oracle_joins import BY_VALUE, NOT_ONE, united
from tests.oracle_values import Nonsense, Table, same

Dot: TypeAlias = tuple[int, int]
Key: TypeAlias = tuple[str, str]
Known: TypeAlias = frozenset[Dot]

ALIVE: Final = "$alive"
MISSING: Final = object()
NOTHING: Final[Known] = frozenset()
WAITING_MAX: Final = 16


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A mutation as its writer meant it. `seen` has, by cell, every write that was on the screen.

    `said` is what of it the hub is told by name, and not by a number. `held` is the moment of the last
    state of the record that the device was given whole. `chain` is the mutation before which all that its
    replica wrote is the writer's own. `at` is the time of the writer's clock, `behind` how much that is
    behind the hub's, `received` the time of the hub. `edition` is that of the catalogue the writer went
    by, 0 being the present one.
    """

    dot: Dot
    op: str
    key: Key
    person: str
    authority: str
    chain: Dot | None = None
    relation: str = ""
    authorities: Mapping[str, str] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)
    do: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    was: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, Known] = field(default_factory=dict)
    said: Mapping[str, Known] = field(default_factory=dict)
    closes: Mapping[str, frozenset[Dot]] = field(default_factory=dict)
    held: int = 0
    at: int | None = None
    behind: int = 0
    received: int = 0
    edition: int = 0
    rescue: bool = False
    released: Dot | None = None

    @property
    def by_device(self) -> bool:
        """Whether a device wrote it, also if a person lets it be judged later."""
        return self.chain is not None

    @property
    def in_order(self) -> bool:
        """Whether it comes from the device itself, after all that the device wrote before."""
        return self.chain == self.dot


@dataclass(eq=False)
class Write:
    """One write for ever: what it was, as whom it ranks, when it was made, and what became of it."""

    dot: Dot
    value: Any
    ranks: tuple[str, ...]
    time: int = 0
    in_order: bool = False
    fate: str = ""
    held: Dot | None = None
    """What its device calls it, if it was released under another name."""


@dataclass
class Line:
    """One cell: all its writes in order, which of them count now, and which are in the past of its value."""

    history: list[Write] = field(default_factory=list)
    current: Write | None = None
    twins: list[Write] = field(default_factory=list)
    siblings: list[Write] = field(default_factory=list)
    past: set[Dot] = field(default_factory=set)

    def known(self) -> Known:
        """Return what somebody has seen who is shown the cell now: the value, with all that is in its past."""
        return frozenset(self.past)

    def copy(self) -> Line:
        """Return the same cell again, to be changed without harm to this one."""
        twin = {id(each): replace(each) for each in self.history}
        current = twin[id(self.current)] if self.current else None
        twins, siblings = ([twin[id(each)] for each in some] for some in (self.twins, self.siblings))
        return Line(list(twin.values()), current, twins, siblings, set(self.past))

    def standing(self) -> list[Write]:
        """Return the winner and its twins."""
        return [self.current, *self.twins] if self.current else []


@dataclass(frozen=True)
class Clash:
    """What a conflict entry has to say: of which cell, by which rule, and what lost, or waits, under which dots."""

    cell: str
    rule: str
    loser: frozenset[Dot]
    value: Any
    waits: bool = False


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
    """One cell of a mutation at the moment in which it is judged. `whole`: it gives the value outright."""

    name: str
    asked: Asked
    draft: Draft
    rule: Table
    line: Line
    write: Write
    hub: Dot
    whole: bool
    waiting_max: int = WAITING_MAX


def among(dot: Dot, known: Iterable[Dot], *, in_order: bool) -> bool:
    """Tell whether a write is among these. Who has seen a device's write has seen what it wrote before."""
    return any(dot == each or (in_order and dot[0] == each[0] and dot[1] < each[1]) for each in known)


def own(asked: Asked, write: Write, *, released: bool = True) -> bool:
    """Tell whether the writer made that write before; with `released`, also one that a person has let be since."""
    names = [write.dot, write.held] if released else [write.dot]
    chain = asked.chain
    return chain is not None and any(dot and dot[0] == chain[0] and dot[1] < chain[1] for dot in names)


def saw(asked: Asked, name: str, line: Line, *, unites: bool = False) -> bool:
    """Tell whether the writer had seen what stands there: or there is nothing, or it is their own.

    What was held had gone from the screen: it is not known where the cell `unites` what two have written,
    and neither is a deletion.
    """
    standing, seen = line.standing(), asked.seen.get(name, NOTHING)
    released = not unites and not (name == ALIVE and line.current is not None and line.current.value is False)
    return not standing or any(
        own(asked, write, released=released) or among(write.dot, seen, in_order=write.in_order) for write in standing
    )


def is_in_past(asked: Asked, line: Line) -> bool:
    """Tell whether the value was made by somebody who had this very write, or its writer's next one, before them."""
    return line.current is not None and among(asked.dot, line.past, in_order=asked.in_order)


def is_outlived(asked: Asked, line: Line) -> bool:
    """Tell whether what stands there was written later by the same device, which so knew of this write."""
    chain = asked.chain
    dots = [write.held or write.dot for write in line.standing()]
    return chain is not None and any(dot[0] == chain[0] and dot[1] > chain[1] for dot in dots)


def judge(turn: Turn, *, known: bool) -> Told:
    """Equal, seen, merge, rank and tie: in this order, the first that decides."""
    line, write = turn.line, turn.write
    if line.current and (known or may_repeat(turn)) and same(write.value, line.current.value):
        close(turn)
        take_in(turn)
        join(line, write)
        return Told("converged", None, *shown_pair(line))
    if known:
        close(turn)
        take_in(turn)
        install(line, write, "overwritten knowingly")
        return Told("applied", None, *shown_pair(line))
    return merge(turn) or contend(turn)


def may_repeat(turn: Turn) -> bool:
    """Tell whether an equal value says the same when its writer had not seen the first: two deltas do not."""
    return turn.draft.op is None and turn.rule.get("merge") not in ("append", "counter")


def merge(turn: Turn) -> Told | None:
    """Make one value of both, if the cell merges and it is known what the writer did."""
    rule, line, draft, write = turn.rule, turn.line, turn.draft, turn.write
    if line.current is None:
        return None
    try:
        value = united(rule, line.current.value, draft.value, draft.op, draft.was, MISSING)
    except Nonsense:
        return refuse_outgrown(turn)
    if value is NOT_ONE:
        return None
    close(turn)
    if rule["merge"] in BY_VALUE:
        # The others take in what was done, and nothing of what it was done to.
        take_in(turn)
    if same(value, line.current.value):
        write.fate = "contained"
        absorb(line, write)
        return Told("converged", None, *shown_pair(line))
    parts = [*line.standing(), write]
    ranks, time = tuple(rank for each in parts for rank in each.ranks), max(each.time for each in parts)
    write.fate = "merged"
    absorb(line, write)
    install(line, Write(turn.hub, value, ranks, time), "merged")
    lost = draft.op if draft.op is not None else draft.value
    clash = Clash(turn.name, f"merge:{rule['merge']}", frozenset({write.dot}), lost)
    return Told("merged", None, *shown_pair(line), clash=clash)


def refuse_outgrown(turn: Turn) -> Told:
    """Turn away what would make a value that the field has no room for."""
    turn.write.fate = "refused"
    return Told("refused", "invalid", *shown_pair(turn.line))


def contend(turn: Turn) -> Told:
    """Rank, then tie."""
    line, write, draft = turn.line, turn.write, turn.draft
    lost = draft.op or (draft.value if write.value is MISSING else write.value)
    name, wins = settle(turn)
    close(turn)
    if name == "tie:manual" and len(line.siblings) >= turn.waiting_max:
        name = "siblings:full"
    clash = Clash(turn.name, name, frozenset({write.dot}), lost)
    if name == "tie:manual":
        clash = replace(clash, waits=True)
        line.siblings.append(write)
        line.history.append(write)
        return Told("parked", None, *shown_pair(line), clash=clash)
    if not wins:
        keep(line, write)
        return Told("superseded", None, *shown_pair(line), clash=clash)
    clash = Clash(turn.name, name, dots(line.standing()), shown_pair(line)[1])
    take_in(turn)
    install(line, write, "in the ledger")
    return Told("applied", None, *shown_pair(line), clash=clash)


def settle(turn: Turn) -> tuple[str, bool]:
    """Return the name of the rule that decides between two concurrent writes, and whether the later one wins."""
    if turn.write.value is MISSING:
        return "group:partial", False
    standing = turn.line.standing()
    mine = min(place(turn.rule, rank) for rank in turn.write.ranks)
    theirs = min(place(turn.rule, rank) for each in standing for rank in each.ranks)
    tie = turn.rule.get("tie", "first")
    younger = all(turn.write.time > each.time for each in standing)
    return ("rank", mine < theirs) if mine != theirs else (f"tie:{tie}", tie == "last" or (tie == "clock" and younger))


def take_in(turn: Turn) -> None:
    """Note that what the writer said it had seen is in the past of the value now, if it gave that outright."""
    if turn.whole:
        turn.line.past |= turn.asked.said.get(turn.name, NOTHING)


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
    line.past.add(write.dot)


def keep(line: Line, write: Write) -> None:
    """Put a write that lost into the ledger."""
    write.fate = "in the ledger"
    line.history.append(write)


def close(turn: Turn) -> None:
    """End the waiting of siblings that the writer names, or that the same device wrote before."""
    end_waiting(turn.line, turn.asked, turn.name)


def end_waiting(line: Line, asked: Asked, name: str) -> None:
    """End the waiting of siblings that the writer names, or made before."""
    named = asked.closes.get(name, NOTHING)
    for each in list(line.siblings):
        if each.dot in named or own(asked, each):
            each.fate = "settled"
            line.siblings.remove(each)


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
