"""One mutation on one record: each of its cells alone, or whether the record exists.

Deletes, restores and edits of deleted records are settled in `replication.existence`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from replication import existence, merge, policy, verdict
from replication.actor import Actor, Outcome, moves
from replication.record import ALIVE, Cell, Record, Stamp
from replication.verdict import CellVerdict, Conflict

if TYPE_CHECKING:
    from replication.catalog import CellRule
    from replication.mutation import Trouble
    from replication.validity import Draft, Prepared


def fold(record: Record, prepared: Prepared, actor: Actor, place: merge.Place) -> Outcome:
    """Return what the mutation does to the record; the record itself is not changed."""
    match prepared.mutation.op:
        case "delete":
            return existence.settle(record, prepared, actor, place, value=False)
        case "restore":
            return existence.settle(record, prepared, actor, place, value=True)
        case _ if record.exists and not record.alive:
            judged = _edit(record, prepared, actor, place)
            return existence.edit_of_deleted(record, judged, prepared, actor, place)
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
        cells[ALIVE] = existence.alive_cell(prepared, actor, place, None, value=True)
        told = told or {ALIVE: existence.told_alive("applied", cells[ALIVE])}
    elif not record.exists and not told:
        nothing = f"{actor.authority} may write no cell of {record.collection}, so it may make no record"
        told = {ALIVE: CellVerdict(verdict="refused", code="not_owner", message=nothing)}
    if all(cells.get(name) is cell for name, cell in record.cells.items()) and len(cells) == len(record.cells):
        return Outcome(record=record, cells=told, conflicts=tuple(conflicts))
    rev = place.seq if moves(told.values()) else record.rev
    after = Record(record.collection, record.id, rev, cells)
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
    """Sent again, then scope, then authority, then the merge."""
    rule, mutation = prepared.collection.cells[name], prepared.mutation
    authority = actor.authority_for(name)
    relation = policy.best_relation(rule, authority, actor.relations)
    write = merge.Write(
        cell=name,
        rule=rule,
        stamp=Stamp(actor.dot, authority, relation, actor.person, actor.at, actor.time, actor.held),
        chain=actor.chain,
        along=actor.along,
        base=min(mutation.base_of(name), actor.served),
        value=draft.value,
        sent=draft.sent,
        op=draft.op,
        was=draft.was,
        context=mutation.context.get(name),
        closes=tuple(mutation.closes.get(name, ())),
        served=actor.served,
        restored_to=actor.restored_to,
    )
    again = merge.absorbed(cell, write) if cell is not None else None
    if again is not None:
        return again
    if not actor.relations:
        return merge.refuse(None, "out_of_scope", "this record is not in the person's scope")
    if authority not in rule.write:
        return merge.refuse(cell, "not_owner", _not_owner(name, authority, rule))
    return merge.judge(cell, write, place)


def _not_owner(name: str, authority: str, rule: CellRule) -> str:
    return f"{authority} may not write {name}; it belongs to {', '.join(sorted(rule.write))}"


def _refusal(trouble: Trouble) -> CellVerdict:
    return CellVerdict(verdict="refused", code=trouble.code, message=trouble.message)
