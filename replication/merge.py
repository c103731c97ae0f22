"""Record + write -> outcome: the heart. Read this first.

A write is compared with the incumbent of its cell alone. If its writer had seen the incumbent it
is installed, whatever the ranks; if not, the two are concurrent, and the cell's merge or else the
policy decides. Nothing here knows of HTTP, SQL or time; seqs and the hub's own dot are given.

The order of the steps is that of the protocol: authority and scope are decided by the caller
(`hub.py`), then equality, seen, merge, policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from replication import kinds, policy
from replication.record import Cell, Sibling, Stamp
from replication.verdict import CellVerdict, Conflict, ConflictState, Side, conflict_id
from replication.versions import Dot, Vector, covers, join, with_dot

if TYPE_CHECKING:
    from replication.catalog import CellRule, Collection

MISSING = msgspec.UNSET
"""Stands for an absent `was`, because None is a value."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a mutation, in canonical form and ready to be judged.

    Either `op` is given, or `value` (for a group: the members that were sent). `sent` is what
    the writer sent before it was brought into canonical form.
    """

    cell: str
    rule: CellRule
    stamp: Stamp
    sequential: bool
    base: int
    value: Any = None
    sent: Any = MISSING
    op: kinds.Op | None = None
    was: Any = MISSING
    context: Vector | None = None
    closes: tuple[Dot, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """Where in the hub's order the write is judged, and under which names its effects go."""

    collection: Collection
    record_id: str
    seq: int
    hub_dot: Dot
    catalogue_version: int


class CellOutcome(msgspec.Struct, frozen=True):
    """The cell after the write, the verdict, the conflict if there was one, siblings closed."""

    cell: Cell | None
    verdict: CellVerdict
    conflict: Conflict | None = None
    closed: tuple[Sibling, ...] = ()


def refuse(cell: Cell | None, code: str, message: str) -> CellOutcome:
    """Return the refusal of a write: the cell stays, the writer is told what is there."""
    if cell is None:
        return CellOutcome(None, CellVerdict(verdict="refused", code=code, message=message))
    told = _told("refused", cell, MISSING)
    return CellOutcome(cell, msgspec.structs.replace(told, code=code, message=message))


def seen(write: Write, incumbent: Cell) -> bool:
    """Whether the writer knew the incumbent, or one of its twins, when it wrote.

    A cell with a context is judged by the context in place of its base.
    """
    if write.sequential and any(s.dot.rid == write.stamp.dot.rid for s in incumbent.stamps()):
        return True
    if write.context is not None:
        return any(covers(write.context, stamp.dot) for stamp in incumbent.stamps())
    return write.base >= incumbent.seq


def judge(cell: Cell | None, write: Write, place: Place) -> CellOutcome:
    """Return what the write does to the cell. Scope and authority were granted before."""
    try:
        return _judge(cell, write, place)
    except kinds.BadValue as error:
        return refuse(cell, "invalid", str(error))


def _judge(cell: Cell | None, write: Write, place: Place) -> CellOutcome:
    if cell is None:
        return _apply(None, write, place, _result(None, write, place))
    known = seen(write, cell)
    result = _result(cell, write, place) if known or write.op is None else MISSING
    if _converges(cell, write, result, known=known):
        return _converge(cell, write)
    if known:
        return _apply(cell, write, place, result)
    operation = _operation(write, place)
    if operation is not None:
        return _merge(cell, write, place, operation)
    if result is MISSING:
        return _supersede(cell, write, place, write.value, "group:partial")
    return _contend(cell, write, place, result)


def _result(cell: Cell | None, write: Write, place: Place) -> Any:
    """Return the whole value this write asks for; MISSING if it gives only part of a group.

    Part of a group is completed from the current value if that was seen, else from `was`;
    halves of two writers are never mixed.
    """
    if write.op is not None:
        shape = place.collection.fields[write.cell]
        return kinds.apply_op(shape, cell.value if cell else None, write.op)
    if not write.rule.is_group or write.value.keys() >= set(write.rule.members):
        return write.value
    if cell is None or seen(write, cell):
        return {**(cell.value if cell else {}), **write.value}
    if write.was is not MISSING and write.was.keys() >= set(write.rule.members):
        return {**write.was, **write.value}
    return MISSING


def _converges(cell: Cell, write: Write, result: Any, *, known: bool) -> bool:
    if result is MISSING or not kinds.same(result, cell.value):
        return False
    return known or write.rule.merge not in ("counter", "append")


def _operation(write: Write, place: Place) -> kinds.Op | None:
    """Return what was done, if the cell merges and the write tells it."""
    if write.rule.merge is None:
        return None
    if write.op is not None:
        return write.op
    if write.was is MISSING:
        return None
    return kinds.difference(place.collection.fields[write.cell].kind, write.was, write.value)


def _converge(cell: Cell, write: Write) -> CellOutcome:
    """Equal value: the writer joins the winner as a twin, so that each has seen the other."""
    siblings, closed = _close(cell, write)
    twins = cell.twins
    if not any(same_writer(stamp, write.stamp) for stamp in cell.stamps()):
        twins = (*twins, write.stamp)
    after = Cell(cell.value, cell.stamp, cell.seq, _absorb(cell, write), twins, siblings)
    return CellOutcome(after, _told("converged", after, write.sent), closed=closed)


def same_writer(known: Stamp, new: Stamp) -> bool:
    """Whether the new stamp would add nothing, neither to `seen` nor to the rank."""
    same = (known.authority, known.relation, known.person) == (
        new.authority,
        new.relation,
        new.person,
    )
    return same and known.dot.rid == new.dot.rid and known.dot.n <= new.dot.n


def _apply(cell: Cell | None, write: Write, place: Place, value: Any) -> CellOutcome:
    """Install the write in the incumbent's place."""
    siblings, closed = _close(cell, write)
    after = Cell(value, write.stamp, place.seq, _absorb(cell, write), (), siblings)
    return CellOutcome(after, _told("applied", after, write.sent), closed=closed)


def _merge(cell: Cell, write: Write, place: Place, operation: kinds.Op) -> CellOutcome:
    """Make one value of both; it is the hub's own write and ranks as the highest of its parts."""
    shape = place.collection.fields[write.cell]
    value = kinds.apply_op(shape, cell.value, operation)
    siblings, closed = _close(cell, write)
    if kinds.same(value, cell.value):
        # Nothing of the write is new. Its writer has not seen the rest, so it is no twin.
        after = Cell(cell.value, cell.stamp, cell.seq, _absorb(cell, write), cell.twins, siblings)
        return CellOutcome(after, _told("converged", after, write.sent), closed=closed)
    best = policy.highest(write.rule, (*cell.stamps(), write.stamp))
    stamp = msgspec.structs.replace(best, dot=place.hub_dot)
    vv = with_dot(_absorb(cell, write), place.hub_dot)
    after = Cell(value, stamp, place.seq, vv, (), siblings)
    rule = f"merge:{write.rule.merge}"
    conflict = _conflict(write, place, rule, "decided", winner=_side(after), loser=_challenger(write, place))
    told = _told("merged", after, write.sent, rule=rule, conflict=conflict.id)
    return CellOutcome(after, told, conflict, closed)


def _contend(cell: Cell, write: Write, place: Place, value: Any) -> CellOutcome:
    """Concurrent and no merge: rank, then the tie rule."""
    ruling, rule = policy.settle(write.rule, cell, write.stamp)
    if ruling == "loses":
        return _supersede(cell, write, place, value, rule)
    if ruling == "waits":
        return _park(cell, write, place, value, rule)
    won = _apply(cell, write, place, value)
    assert won.cell is not None
    conflict = _conflict(write, place, rule, "decided", winner=_side(won.cell), loser=_side(cell))
    told = msgspec.structs.replace(won.verdict, rule=rule, conflict=conflict.id)
    return CellOutcome(won.cell, told, conflict, won.closed)


def _supersede(cell: Cell, write: Write, place: Place, value: Any, rule: str) -> CellOutcome:
    """Keep the incumbent; the value that lost goes to the ledger."""
    conflict = _conflict(
        write,
        place,
        rule,
        "decided",
        winner=_side(cell),
        loser=_challenger(write, place, value),
    )
    told = _told("superseded", cell, write.sent, rule=rule, conflict=conflict.id)
    return CellOutcome(cell, told, conflict)


def _park(cell: Cell, write: Write, place: Place, value: Any, rule: str) -> CellOutcome:
    """Show the incumbent, keep the other beside it until a person chooses."""
    siblings, closed = _close(cell, write)
    waiting = Sibling(value, write.stamp, place.seq)
    after = Cell(cell.value, cell.stamp, cell.seq, cell.vv, cell.twins, (*siblings, waiting))
    conflict = _conflict(write, place, rule, "open", winner=_side(cell), loser=_challenger(write, place, value))
    told = _told("parked", after, write.sent, rule=rule, conflict=conflict.id)
    return CellOutcome(after, told, conflict, closed)


def _absorb(cell: Cell | None, write: Write) -> Vector:
    """The cell's vector after the write: its context counts only if it gave the whole value."""
    vv = with_dot(cell.vv if cell else {}, write.stamp.dot)
    whole = write.op is None and not write.rule.is_group
    return join(vv, write.context) if whole and write.context else vv


def _close(cell: Cell | None, write: Write) -> tuple[tuple[Sibling, ...], tuple[Sibling, ...]]:
    """Split the siblings into those that stay and those that this write closes."""
    if cell is None or not cell.siblings:
        return (), ()
    closed = tuple(s for s in cell.siblings if _closes(write, s.stamp.dot))
    return tuple(s for s in cell.siblings if s not in closed), closed


def _closes(write: Write, dot: Dot) -> bool:
    """By name, or by a later write of the same device; never by base."""
    return dot in write.closes or (write.sequential and dot.rid == write.stamp.dot.rid)


def _told(
    verdict: str,
    cell: Cell,
    sent: Any,
    *,
    rule: str | None = None,
    conflict: str | None = None,
) -> CellVerdict:
    """Tell what is stored, with the value itself only where it is not the one sent."""
    same = sent is not MISSING and kinds.same(sent, cell.value)
    return CellVerdict(
        verdict=verdict,
        value=MISSING if same else cell.value,
        dot=cell.stamp.dot,
        seq=cell.seq,
        rule=rule,
        conflict=conflict,
    )


def _conflict(
    write: Write,
    place: Place,
    rule: str,
    state: ConflictState,
    *,
    winner: Side,
    loser: Side,
) -> Conflict:
    return Conflict(
        conflict_id(write.stamp.dot, write.cell),
        place.collection.name,
        place.record_id,
        write.cell,
        rule,
        state,
        winner,
        loser,
        place.catalogue_version,
    )


def _side(cell: Cell) -> Side:
    stamp = cell.stamp
    return Side(
        cell.value,
        stamp.dot,
        cell.seq,
        stamp.person,
        stamp.authority,
        stamp.relation,
        stamp.at,
        tuple(twin.dot for twin in cell.twins),
    )


def _challenger(write: Write, place: Place, value: Any = MISSING) -> Side:
    """Return the side of a write that was not installed as it is; an operation stands for itself."""
    shown = write.op if write.op is not None else write.value if value is MISSING else value
    stamp = write.stamp
    return Side(shown, stamp.dot, place.seq, stamp.person, stamp.authority, stamp.relation, stamp.at)
