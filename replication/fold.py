"""One mutation on one record: its cells, and whether the record exists.

Aliveness is a cell, `$alive`. A delete has read the whole record, so it is concurrent with every
cell it had not seen; an edit is compared with `$alive` only while the record is deleted. Which of
the two stays is the collection's `against_edit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from replication import merge, policy, verdict
from replication.catalog import CellRule
from replication.record import ALIVE, Cell, Record, Stamp
from replication.verdict import CellVerdict, Conflict
from replication.versions import Dot, with_dot

if TYPE_CHECKING:
    from replication.mutation import Trouble
    from replication.validity import Draft, Prepared

ALIVE_RULE = CellRule(name=ALIVE, members=(ALIVE,), write=frozenset())
"""Aliveness has no ranks: `against_edit` decides, not the policy of a field."""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: the dot, the class, the person's relations to this record (none: out of scope)."""

    dot: Dot
    person: str
    authority: str
    relations: tuple[str, ...]
    sequential: bool
    served: int
    at: int | None = None
    authorities: dict[str, str] = {}

    def authority_for(self, cell: str) -> str:
        """Return the class in which the actor writes this cell."""
        return self.authorities.get(cell, self.authority)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The record after the mutation and what to tell. `op` is how a moved record travels."""

    record: Record
    cells: dict[str, CellVerdict]
    conflicts: tuple[Conflict, ...] = ()
    closed: tuple[str, ...] = ()
    op: str = "put"
    code: str | None = None
    message: str | None = None

    @property
    def moved(self) -> bool:
        """Whether the mutation takes a seq."""
        return any(cell.verdict in verdict.MOVES for cell in self.cells.values())


def fold(record: Record, prepared: Prepared, actor: Actor, place: merge.Place) -> Outcome:
    """Return what the mutation does to the record; the record itself is not changed."""
    match prepared.mutation.op:
        case "delete":
            return _settle_alive(record, prepared, actor, place, value=False)
        case "restore":
            return _settle_alive(record, prepared, actor, place, value=True)
        case _ if record.exists and not record.alive:
            return _edit_deleted(record, prepared, actor, place)
        case _:
            return _edit(record, prepared, actor, place)


def _edit(record: Record, prepared: Prepared, actor: Actor, place: merge.Place) -> Outcome:
    """Judge each cell alone; a create brings the record into being if any cell was granted."""
    cells = dict(record.cells)
    told = {name: _refusal(trouble) for name, trouble in prepared.bad.items()}
    conflicts: list[Conflict] = []
    closed: list[str] = []
    for name, draft in prepared.drafts.items():
        outcome = _judge(record.cells.get(name), name, draft, prepared, actor, place)
        told[name] = outcome.verdict
        if outcome.cell is not None:
            cells[name] = outcome.cell
        if outcome.conflict is not None:
            conflicts.append(outcome.conflict)
        closed += [verdict.conflict_id(s.stamp.dot, name) for s in outcome.closed]
    if not record.exists and _may_create(told, prepared, actor):
        cells[ALIVE] = _alive_cell(actor, place.seq, None)
        told = told or {ALIVE: _told_alive("applied", cells[ALIVE])}
    elif not record.exists and not told:
        nothing = f"{actor.authority} may write no cell of {record.collection}, so it may make no record"
        told = {ALIVE: CellVerdict(verdict="refused", code="not_owner", message=nothing)}
    if all(cells.get(name) is cell for name, cell in record.cells.items()) and len(cells) == len(record.cells):
        return Outcome(record=record, cells=told, conflicts=tuple(conflicts))
    moved = any(cell.verdict in verdict.MOVES for cell in told.values())
    after = Record(record.collection, record.id, place.seq if moved else record.rev, cells)
    return Outcome(record=after, cells=told, conflicts=tuple(conflicts), closed=tuple(closed))


def _may_create(told: dict[str, CellVerdict], prepared: Prepared, actor: Actor) -> bool:
    """A create counts if one cell was installed, or if it names none and the class may write one."""
    if told:
        return any(cell.verdict == "applied" for cell in told.values())
    cells = prepared.collection.cells
    return any(actor.authority_for(name) in rule.write for name, rule in cells.items())


def _judge(
    cell: Cell | None,
    name: str,
    draft: Draft,
    prepared: Prepared,
    actor: Actor,
    place: merge.Place,
) -> merge.CellOutcome:
    """Scope, then authority, then the merge."""
    rule = prepared.collection.cells[name]
    if not actor.relations:
        return merge.refuse(None, "out_of_scope", "this record is not in the person's scope")
    authority = actor.authority_for(name)
    if authority not in rule.write:
        return merge.refuse(cell, "not_owner", _not_owner(name, authority, rule))
    mutation = prepared.mutation
    relation = policy.best_relation(rule, authority, actor.relations)
    write = merge.Write(
        cell=name,
        rule=rule,
        stamp=Stamp(actor.dot, authority, relation, actor.person, actor.at),
        sequential=actor.sequential,
        base=min(mutation.base_of(name), actor.served),
        value=draft.value,
        sent=draft.sent,
        op=draft.op,
        was=draft.was,
        context=mutation.context.get(name),
        closes=tuple(mutation.closes.get(name, ())),
    )
    return merge.judge(cell, write, place)


def _not_owner(name: str, authority: str, rule: CellRule) -> str:
    return f"{authority} may not write {name}; it belongs to {', '.join(sorted(rule.write))}"


def _refusal(trouble: Trouble) -> CellVerdict:
    return CellVerdict(verdict="refused", code=trouble.code, message=trouble.message)


def _edit_deleted(record: Record, prepared: Prepared, actor: Actor, place: merge.Place) -> Outcome:
    """An edit that had not seen the delete; the hub refused before the edit that had.

    The record comes back if the collection keeps edits and this one brings anything. Else the
    whole edit lost to the delete, and is kept in one entry.
    """
    rule = prepared.collection.against_edit
    judged = _edit(record, prepared, actor, place)
    if all(cell.verdict == "refused" for cell in judged.cells.values()):
        return Outcome(record=record, cells=judged.cells)
    brings = any(cell.verdict in ("applied", "merged") for cell in judged.cells.values())
    dead = record.cells[ALIVE]
    alive = _alive_cell(actor, place.seq, dead, dot=place.hub_dot)
    kept = brings and rule == "keep_edit"
    there = _alive_side(dead)
    conflict = _alive_conflict(there, alive, f"against_edit:{rule}", actor, place, lost=None if kept else prepared)
    if not kept:
        cells = {n: _lost(c, record.cells.get(n), conflict) for n, c in judged.cells.items()}
        return Outcome(record=record, cells=cells, conflicts=(conflict,))
    after = Record(record.collection, record.id, place.seq, {**judged.record.cells, ALIVE: alive})
    told = {**judged.cells, ALIVE: _told_alive("merged", alive, conflict)}
    return Outcome(
        record=after,
        cells=told,
        conflicts=(*judged.conflicts, conflict),
        closed=judged.closed,
        op="enter",
    )


def _lost(judged: CellVerdict, cell: Cell | None, conflict: Conflict) -> CellVerdict:
    """Turn what a cell would have got, were the record alive, into what it gets now it stays dead."""
    if judged.verdict == "refused":
        return judged
    return CellVerdict(
        verdict="superseded",
        value=cell.value if cell else None,
        dot=cell.stamp.dot if cell else None,
        seq=cell.seq if cell else 0,
        rule=conflict.rule,
        conflict=conflict.id,
    )


def _settle_alive(record: Record, prepared: Prepared, actor: Actor, place: merge.Place, *, value: bool) -> Outcome:
    """Delete or restore: authority, then equality, then what was unseen against the rule."""
    incumbent = record.cells[ALIVE]
    if not actor.relations:
        refused = CellVerdict(
            verdict="refused",
            code="out_of_scope",
            message="this record is not in the person's scope",
        )
        return Outcome(record=record, cells={ALIVE: refused})
    if actor.authority not in prepared.collection.delete:
        allowed = ", ".join(sorted(prepared.collection.delete)) or "nobody"
        told = _told_alive("refused", incumbent)
        message = f"{actor.authority} may not delete {record.collection}; allowed: {allowed}"
        told = msgspec.structs.replace(told, code="not_owner", message=message)
        return Outcome(record=record, cells={ALIVE: told})
    if incumbent.value is value:
        return _converge_alive(record, incumbent, actor)
    return _change_alive(record, incumbent, prepared, actor, place, value=value)


def _converge_alive(record: Record, incumbent: Cell, actor: Actor) -> Outcome:
    stamp = _stamp(actor)
    twins = incumbent.twins
    if not any(merge.same_writer(known, stamp) for known in incumbent.stamps()):
        twins = (*twins, stamp)
    after = msgspec.structs.replace(incumbent, vv=with_dot(incumbent.vv, stamp.dot), twins=twins)
    cells = {**record.cells, ALIVE: after}
    return Outcome(
        record=msgspec.structs.replace(record, cells=cells),
        cells={ALIVE: _told_alive("converged", after)},
    )


def _change_alive(
    record: Record,
    incumbent: Cell,
    prepared: Prepared,
    actor: Actor,
    place: merge.Place,
    *,
    value: bool,
) -> Outcome:
    """A delete has read every cell; a restore has read only that the record was deleted."""
    named = {ALIVE, *prepared.collection.cells} if value is False else {ALIVE}
    read = {name: cell for name, cell in record.cells.items() if name in named}
    unseen = [name for name, cell in read.items() if not saw(name, cell, prepared, actor)]
    keeps = prepared.collection.against_edit == "keep_edit"
    after = _alive_cell(actor, place.seq, incumbent, value=value)
    conflict = None
    if unseen:
        rule = f"against_edit:{prepared.collection.against_edit}"
        lost = prepared if keeps is not value else None
        there = _alive_side(incumbent) if value else _unseen_side({name: read[name] for name in unseen})
        conflict = _alive_conflict(there, after, rule, actor, place, lost=lost)
        if lost is not None:
            told = _told_alive("superseded", incumbent, conflict)
            return Outcome(record=record, cells={ALIVE: told}, conflicts=(conflict,))
    moved = Record(record.collection, record.id, place.seq, {**record.cells, ALIVE: after})
    return Outcome(
        record=moved,
        cells={ALIVE: _told_alive("applied", after, conflict)},
        conflicts=(conflict,) if conflict else (),
        op="enter" if value else "delete",
    )


def saw(name: str, cell: Cell, prepared: Prepared, actor: Actor) -> bool:
    """Whether the actor had seen what stands in a cell, by base or by context."""
    mutation = prepared.mutation
    write = merge.Write(
        cell=name,
        rule=ALIVE_RULE,
        stamp=_stamp(actor),
        sequential=actor.sequential,
        base=min(mutation.base_of(name), actor.served),
        context=mutation.context.get(name),
    )
    return merge.seen(write, cell)


def _stamp(actor: Actor) -> Stamp:
    relation = actor.relations[0] if actor.relations else ""
    return Stamp(actor.dot, actor.authority, relation, actor.person, actor.at)


def _alive_cell(
    actor: Actor,
    seq: int,
    before: Cell | None,
    *,
    value: bool = True,
    dot: Dot | None = None,
) -> Cell:
    """Return `$alive` as the actor, or the hub under `dot`, installs it."""
    stamp = _stamp(actor)
    vv = with_dot(before.vv if before else {}, stamp.dot)
    if dot is not None:
        stamp, vv = msgspec.structs.replace(stamp, dot=dot), with_dot(vv, dot)
    return Cell(value, stamp, seq, vv)


def _told_alive(name: str, cell: Cell, conflict: Conflict | None = None) -> CellVerdict:
    return CellVerdict(
        verdict=name,
        value=cell.value,
        dot=cell.stamp.dot,
        seq=cell.seq,
        rule=conflict.rule if conflict else None,
        conflict=conflict.id if conflict else None,
    )


def _alive_conflict(
    there: verdict.Side,
    after: Cell,
    rule: str,
    actor: Actor,
    place: merge.Place,
    *,
    lost: Prepared | None,
) -> Conflict:
    """Return the entry of a delete against an edit; what lost is kept as it was sent."""
    came = _alive_side(after)
    winner, loser = (came, there) if lost is None else (there, came)
    if lost is not None:
        sent: dict[str, Any] = {**lost.mutation.set, **lost.mutation.do}
        loser = msgspec.structs.replace(came, value=sent or came.value, dot=actor.dot)
    return Conflict(
        verdict.conflict_id(actor.dot, ALIVE),
        place.collection.name,
        place.record_id,
        ALIVE,
        rule,
        "decided",
        winner,
        loser,
        place.catalogue_version,
    )


def _unseen_side(unseen: dict[str, Cell]) -> verdict.Side:
    """Return what a delete had not seen, in the name of whoever wrote last of it."""
    newest = max(unseen.values(), key=lambda cell: cell.seq)
    edited = {name: cell.value for name, cell in unseen.items() if name != ALIVE}
    return msgspec.structs.replace(_alive_side(newest), value=edited or newest.value)


def _alive_side(cell: Cell) -> verdict.Side:
    stamp, twins = cell.stamp, tuple(twin.dot for twin in cell.twins)
    return verdict.Side(cell.value, stamp.dot, cell.seq, stamp.person, stamp.authority, stamp.relation, stamp.at, twins)
