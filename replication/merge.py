"""Record + write -> outcome: the heart. Read this first.

A write is compared with the incumbent of its cell alone. If its writer had seen the incumbent it
is installed, whatever the ranks; if not, the two are concurrent, and the cell's merge or else the
policy decides. Nothing here knows of HTTP, SQL or time; seqs and the hub's own dot are given.

The order of the steps is that of the protocol: authority and scope are decided by the caller
(`hub.py`), then equality, seen, merge, policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication import bounded, joins, kinds, policy
from replication.catalog import MERGES_BY_VALUE, SIBLINGS_MAX
from replication.joins import MISSING
from replication.record import ALIVE, Cell, Sibling, Stamp
from replication.verdict import CellVerdict, Conflict, ConflictState, Side, conflict_id
from replication.versions import Dot, Vector, covers, join, with_dot

if TYPE_CHECKING:
    from replication.catalog import CellRule, Collection


SERVED_ALL: Final = 2**63 - 1


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a mutation, in canonical form and ready to be judged.

    Either `op` is given, or `value` (for a group: the members that were sent). `sent` is what
    the writer sent before it was brought into canonical form. `chain` is the mutation before which
    all of its replica's writes are the writer's own; None for those who always say what they saw.
    `along` is the first mutation of a released tx, whose parts are judged under the hub's new numbers
    and were made by one writer in knowledge of each other.
    `served` is up to where the hub has told the writer anything. Up to `restored_to` the numbers of
    the epoch before the last restore mean the same as now (0: it was never restored).
    """

    cell: str
    rule: CellRule
    stamp: Stamp
    chain: Dot | None
    along: Dot | None = None
    base: int
    value: Any = None
    sent: Any = MISSING
    op: kinds.Op | None = None
    was: Any = MISSING
    context: Vector | None = None
    closes: tuple[Dot, ...] = ()
    served: int = SERVED_ALL
    restored_to: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether it gives the cell's value outright: no operation, and no part of a group."""
        return self.op is None and (not self.rule.is_group or self.value.keys() >= set(self.rule.members))

    def is_own(self, dot: Dot) -> bool:
        """Whether the writer made that mutation before."""
        if self.along is not None and dot.rid == self.along.rid and self.along.n <= dot.n < self.stamp.dot.n:
            return True
        return self.chain is not None and dot.rid == self.chain.rid and dot.n < self.chain.n

    def wrote(self, stamp: Stamp) -> bool:
        """Whether the writer made that before, under whichever number it was judged.

        What was held was not on the screen while it waited. So where a merge unites two writes it is no
        part of what the writer went by; else it is merely older, and its writer means the newer one.
        """
        return self.is_own(stamp.dot) or (self.rule.merge is None and self.is_own(stamp.made_as))

    def is_outlived(self, dot: Dot) -> bool:
        """Whether that mutation was made by the same writer later: it was made in knowledge of this one."""
        return self.chain is not None and dot.rid == self.chain.rid and dot.n > self.chain.n

    def may_name(self, seq: int) -> bool:
        """Whether a context can speak of what was installed at `seq`.

        Nobody has seen what was not served. A restored hub no longer knows what it served, and what it
        is sent again has a new seq; there contexts are all there is.
        """
        return seq <= self.served or self.restored_to > 0


class Place(msgspec.Struct, frozen=True):
    """Where in the hub's order the write is judged, and under which names its effects go."""

    collection: Collection
    record_id: str
    seq: int
    hub_dot: Dot
    catalogue_version: int
    siblings_max: int = SIBLINGS_MAX
    proof: Vector = {}


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


def absorbed(cell: Cell, write: Write) -> CellOutcome | None:
    """Return the verdict of a write that is in the past of the value already, or None.

    So is one that is re-sent to a restored hub, and one that was held while its writer went on.
    """
    plain = write.op is None and write.rule.merge is None
    outlived = plain and any(write.is_outlived(stamp.made_as) for stamp in cell.stamps())
    if not outlived and not covers(cell.vv, write.stamp.dot):
        return None
    return CellOutcome(cell, _told("absorbed", cell, write.sent))


def seen(write: Write, incumbent: Cell) -> bool:
    """Whether the writer knew the incumbent, or one of its twins, when it wrote.

    A cell with a context is judged by the context in place of its base; of what a restored hub still
    knows, the base counts beside it, because a context may lack what was pruned before the restore.
    """
    held = write.base >= incumbent.seq
    if any(_wrote(write, stamp, incumbent) for stamp in incumbent.stamps()):
        return True
    if write.context is not None:
        told = write.may_name(incumbent.seq)
        named = told and any(covers(write.context, stamp.dot) for stamp in incumbent.stamps())
        return named or (held and incumbent.seq <= write.restored_to)
    return held


def _wrote(write: Write, stamp: Stamp, incumbent: Cell) -> bool:
    """Whether it is the writer's own; not by a deletion that was released, for while it waited the record was shown."""
    if write.cell == ALIVE and incumbent.value is False:
        return write.is_own(stamp.dot)
    return write.wrote(stamp)


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
        return _converge(cell, write, place)
    if known:
        return _apply(cell, write, place, result)
    united = _united(cell, write, place)
    if united is not MISSING:
        return _merge(cell, write, place, united)
    if result is MISSING:
        return _supersede(cell, write, place, write.value, "group:partial")
    return _contend(cell, write, place, result)


def _result(cell: Cell | None, write: Write, place: Place) -> Any:
    """Return the whole value this write asks for; MISSING if it gives only part of a group.

    Part of a group is completed from the current value if that was seen, else from `was`;
    halves of two writers are never mixed.
    """
    if write.op is not None:
        field = place.collection.fields[write.cell]
        return kinds.apply_op(field, cell.value if cell else None, write.op)
    if write.is_whole:
        return write.value
    if cell is None or seen(write, cell):
        return {**_whole(write.rule, cell), **write.value}
    if write.was is not MISSING and write.was.keys() >= set(write.rule.members):
        return {**write.was, **write.value}
    return MISSING


def _whole(rule: CellRule, cell: Cell | None) -> Any:
    """Return the value as the present catalogue forms it: all members of a group, and no others."""
    value = cell.value if cell else None
    if not rule.is_group:
        return value
    return {member: value.get(member) if isinstance(value, dict) else None for member in rule.members}


def _converges(cell: Cell, write: Write, result: Any, *, known: bool) -> bool:
    if result is MISSING or not kinds.same(result, _whole(write.rule, cell)):
        return False
    return known or write.rule.merge not in ("counter", "append")


def _united(cell: Cell, write: Write, place: Place) -> Any:
    """Return the one value that the cell's merge makes of both; MISSING if there is none."""
    merge = write.rule.merge
    if merge is None:
        return MISSING
    field = place.collection.fields[write.cell]
    if merge in MERGES_BY_VALUE:
        return joins.joined(field, merge, cell.value, write.value)
    if merge == "text3":
        return joins.worked_in(field, cell.value, write.value, write.was)
    operation = write.op
    if operation is None and write.was is not MISSING:
        operation = kinds.difference(field.kind, write.was, write.value)
    return MISSING if operation is None else kinds.apply_op(field, cell.value, operation)


def _converge(cell: Cell, write: Write, place: Place) -> CellOutcome:
    """Equal value: the writer joins the winner as a twin, so that each has seen the other."""
    siblings, closed = close(cell, write)
    after = Cell(cell.value, cell.stamp, cell.seq, _absorb(cell, write, place), with_twin(cell, write.stamp), siblings)
    return CellOutcome(after, _told("converged", after, write.sent), closed=closed)


def with_twin(cell: Cell, stamp: Stamp) -> tuple[Stamp, ...]:
    """Return the cell's twins with one more, unless it adds nothing to `seen`, rank and time.

    Of what one writer said twice the older stays, which more people have seen, with the newer's time.
    """
    if same_writer(cell.stamp, stamp) and cell.stamp.time >= stamp.time:
        return cell.twins
    known = next((twin for twin in cell.twins if same_writer(twin, stamp)), None)
    if known is None:
        return (*cell.twins, stamp)
    again = msgspec.structs.replace(known, time=max(known.time, stamp.time))
    return tuple(again if twin is known else twin for twin in cell.twins)


def same_writer(known: Stamp, new: Stamp) -> bool:
    """Whether both are of one replica and one person, in one class and relation."""
    same = (known.authority, known.relation, known.person) == (new.authority, new.relation, new.person)
    pairs = (known.dot, new.dot), (known.made_as, new.made_as)
    return same and all(older.rid == newer.rid and older.n <= newer.n for older, newer in pairs)


def _apply(cell: Cell | None, write: Write, place: Place, value: Any) -> CellOutcome:
    """Install the write in the incumbent's place."""
    siblings, closed = close(cell, write)
    after = Cell(value, write.stamp, place.seq, _absorb(cell, write, place), (), siblings)
    return CellOutcome(after, _told("applied", after, write.sent), closed=closed)


def _merge(cell: Cell, write: Write, place: Place, value: Any) -> CellOutcome:
    """Make one value of both; it is the hub's own write and ranks as the highest of its parts."""
    siblings, closed = close(cell, write)
    absorbed_all = _absorb(cell, write, place, stands=write.rule.merge in MERGES_BY_VALUE)
    if kinds.same(value, cell.value):
        # Nothing of the write is new. Its writer has not seen the rest, so it is no twin.
        after = msgspec.structs.replace(cell, vv=absorbed_all, siblings=siblings)
        return CellOutcome(after, _told("converged", after, write.sent), closed=closed)
    parts = (*cell.stamps(), write.stamp)
    newest = max(stamp.time for stamp in parts)
    stamp = msgspec.structs.replace(policy.highest(write.rule, parts), dot=place.hub_dot, time=newest, held=None)
    after = Cell(value, stamp, place.seq, with_dot(absorbed_all, place.hub_dot), (), siblings)
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
    """Keep the incumbent; the value that lost goes to the ledger. What it closes is closed all the same."""
    siblings, closed = close(cell, write)
    lost = _challenger(write, place, value)
    conflict = _conflict(write, place, rule, "decided", winner=_side(cell), loser=lost)
    told = _told("superseded", cell, write.sent, rule=rule, conflict=conflict.id)
    after = msgspec.structs.replace(cell, siblings=siblings) if closed else cell
    return CellOutcome(after, told, conflict, closed)


def _park(cell: Cell, write: Write, place: Place, value: Any, rule: str) -> CellOutcome:
    """Show the incumbent, keep the other beside it until a person chooses."""
    siblings, closed = close(cell, write)
    if len(siblings) >= place.siblings_max:
        return _supersede(cell, write, place, value, "siblings:full")
    waiting = Sibling(value, write.stamp, place.seq)
    after = msgspec.structs.replace(cell, siblings=(*siblings, waiting))
    conflict = _conflict(write, place, rule, "open", winner=_side(cell), loser=_challenger(write, place, value))
    told = _told("parked", after, write.sent, rule=rule, conflict=conflict.id)
    return CellOutcome(after, told, conflict, closed)


def _absorb(cell: Cell | None, write: Write, place: Place, *, stands: bool = True) -> Vector:
    """The cell's vector after the write.

    Its context counts only where the write gives the whole value and that stands, so that what the
    writer had seen is in the past of what is stored; not where no more was taken in than what it did.
    It counts on a restored hub alone: any other has judged, and absorbed, all that a writer can have seen.
    """
    vv = with_dot(cell.vv if cell else {}, write.stamp.dot)
    if write.restored_to and write.context and write.is_whole and stands:
        vv = join(vv, write.context)
    return bounded.prune(vv, place.proof)


def close(cell: Cell | None, write: Write) -> tuple[tuple[Sibling, ...], tuple[Sibling, ...]]:
    """Split the siblings into those that stay and those that this write closes."""
    if cell is None or not cell.siblings:
        return (), ()
    closed = tuple(s for s in cell.siblings if _closes(write, s.stamp))
    return tuple(s for s in cell.siblings if s not in closed), closed


def _closes(write: Write, stamp: Stamp) -> bool:
    """By name, or by a later write of the same device; never by base."""
    return stamp.dot in write.closes or write.is_own(stamp.made_as)


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
        vv=MISSING if verdict == "applied" else cell.vv,
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
