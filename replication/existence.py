"""Whether a record exists: delete, restore, and edits of what was deleted.

Aliveness is a cell, `$alive`. A delete has read the whole record, so it is concurrent with every
cell it had not seen; an edit is compared with `$alive` only while the record is deleted. Which of
the two stays is the collection's `against_edit`; under `manual` the other waits as a sibling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from replication import bounded, merge, verdict
from replication.actor import Actor, Outcome, stamp_of
from replication.catalog import CellRule
from replication.record import ALIVE, Cell, Record, Sibling
from replication.verdict import CellVerdict, Conflict, Side
from replication.versions import join, with_dot

if TYPE_CHECKING:
    from replication.validity import Prepared

ALIVE_RULE = CellRule(name=ALIVE, members=(ALIVE,), write=frozenset())
"""Aliveness has no ranks: `against_edit` decides, not the policy of a field."""

JUDGED_IN_VAIN = frozenset({"refused", "absorbed"})
"""Verdicts of cells that neither bring a deleted record back nor lose to its deletion."""


def write_of(prepared: Prepared, actor: Actor, name: str = ALIVE) -> merge.Write:
    """Return what a mutation has seen of a cell that it does not write itself."""
    mutation = prepared.mutation
    return merge.Write(
        cell=name,
        rule=ALIVE_RULE,
        stamp=stamp_of(actor),
        chain=actor.chain,
        along=actor.along,
        base=min(mutation.base_of(name), actor.served),
        value=mutation.op != "delete",
        sent=mutation.op != "delete",
        context=mutation.context.get(name),
        closes=tuple(mutation.closes.get(name, ())),
        served=actor.served,
        restored_to=actor.restored_to,
    )


def saw(name: str, cell: Cell, prepared: Prepared, actor: Actor) -> bool:
    """Whether the actor had seen what stands in a cell, by base or by context."""
    return merge.seen(write_of(prepared, actor, name), cell)


def alive_cell(prepared: Prepared, actor: Actor, place: merge.Place, before: Cell | None, *, value: bool) -> Cell:
    """Return `$alive` as the actor installs it."""
    stamp, mutation = stamp_of(actor), prepared.mutation
    vv = with_dot(before.vv if before else {}, stamp.dot)
    if actor.restored_to:
        # A delete has read every cell: the edits that it had seen are in its past.
        read = mutation.context.values() if mutation.op == "delete" else (mutation.context.get(ALIVE, {}),)
        for context in read:
            vv = join(vv, context)
    siblings = before.siblings if before else ()
    return Cell(value, stamp, place.seq, bounded.prune(vv, place.proof), (), siblings)


def told_alive(name: str, cell: Cell, conflict: Conflict | None = None) -> CellVerdict:
    """Return a verdict on `$alive`."""
    return CellVerdict(
        verdict=name,
        value=cell.value,
        dot=cell.stamp.dot,
        seq=cell.seq,
        vv=msgspec.UNSET if name == "applied" else cell.vv,
        rule=conflict.rule if conflict else None,
        conflict=conflict.id if conflict else None,
    )


# Delete and restore.


def settle(record: Record, prepared: Prepared, actor: Actor, place: merge.Place, *, value: bool) -> Outcome:
    """Delete or restore: sent again, authority, equality, then what was unseen against the rule."""
    incumbent = record.cells[ALIVE]
    again = merge.absorbed(incumbent, write_of(prepared, actor))
    if again is not None:
        return Outcome(record=record, cells={ALIVE: told_alive("absorbed", incumbent)})
    refusal = _refusal(incumbent, prepared, actor)
    if refusal is not None:
        return Outcome(record=record, cells={ALIVE: refusal})
    siblings, closed = merge.close(incumbent, write_of(prepared, actor))
    ended = tuple(verdict.conflict_id(sibling.stamp.dot, ALIVE) for sibling in closed)
    rest = msgspec.structs.replace(incumbent, siblings=siblings) if closed else incumbent
    if rest.value is value:
        outcome = _converge(record, rest, prepared, actor, place)
    else:
        outcome = _change(record, rest, prepared, actor, place, value=value)
    return msgspec.structs.replace(outcome, closed=ended)


def _refusal(incumbent: Cell, prepared: Prepared, actor: Actor) -> CellVerdict | None:
    if not actor.relations:
        message = "this record is not in the person's scope"
        return CellVerdict(verdict="refused", code="out_of_scope", message=message)
    collection = prepared.collection
    if actor.authority in collection.delete:
        return None
    allowed = ", ".join(sorted(collection.delete)) or "nobody"
    message = f"{actor.authority} may not delete {collection.name}; allowed: {allowed}"
    return msgspec.structs.replace(told_alive("refused", incumbent), code="not_owner", message=message)


def _converge(record: Record, incumbent: Cell, prepared: Prepared, actor: Actor, place: merge.Place) -> Outcome:
    came = alive_cell(prepared, actor, place, incumbent, value=incumbent.value)
    twins = merge.with_twin(incumbent, came.stamp)
    after = msgspec.structs.replace(incumbent, vv=came.vv, twins=twins)
    return Outcome(record=_with_alive(record, after), cells={ALIVE: told_alive("converged", after)})


def _change(
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
    unseen = {name: cell for name, cell in read.items() if not saw(name, cell, prepared, actor)}
    rule = prepared.collection.against_edit
    after = alive_cell(prepared, actor, place, incumbent, value=value)
    if not unseen:
        return _install(record, after, value=value)
    there = _side(incumbent) if value else _unseen_side(unseen)
    if rule == "manual":
        return _park(record, incumbent, after, there, place, rule=f"against_edit:{rule}")
    stays = (rule == "keep_edit") is value
    sides = (_side(after), there) if stays else (there, _side(after))
    conflict = _conflict(actor, place, f"against_edit:{rule}", "decided", *sides)
    if stays:
        return _install(record, after, conflict, value=value)
    told = told_alive("superseded", incumbent, conflict)
    return Outcome(record=_with_alive(record, incumbent), cells={ALIVE: told}, conflicts=(conflict,))


def _install(record: Record, after: Cell, conflict: Conflict | None = None, *, value: bool) -> Outcome:
    return Outcome(
        record=_with_alive(record, after, rev=after.seq),
        cells={ALIVE: told_alive("applied", after, conflict)},
        conflicts=(conflict,) if conflict else (),
        op="enter" if value else "delete",
    )


def _park(record: Record, incumbent: Cell, came: Cell, there: Side, place: merge.Place, *, rule: str) -> Outcome:
    """Let a delete or a restore wait beside what stands, or lose where too many wait already."""
    full = len(incumbent.siblings) >= place.siblings_max
    rule = "siblings:full" if full else rule
    state: verdict.ConflictState = "decided" if full else "open"
    conflict = Conflict(
        verdict.conflict_id(came.stamp.dot, ALIVE),
        place.collection.name,
        place.record_id,
        ALIVE,
        rule,
        state,
        there,
        _side(came),
        place.catalogue_version,
    )
    if full:
        told = told_alive("superseded", incumbent, conflict)
        return Outcome(record=_with_alive(record, incumbent), cells={ALIVE: told}, conflicts=(conflict,))
    waiting = Sibling(came.value, came.stamp, place.seq)
    after = msgspec.structs.replace(incumbent, siblings=(*incumbent.siblings, waiting))
    return Outcome(
        record=_with_alive(record, after, rev=place.seq),
        cells={ALIVE: told_alive("parked", after, conflict)},
        conflicts=(conflict,),
        op="put" if record.alive else "delete",
    )


# An edit of a deleted record.


def edit_of_deleted(record: Record, judged: Outcome, prepared: Prepared, actor: Actor, place: merge.Place) -> Outcome:
    """Settle an edit that had not seen the delete; `judged` is what it would do, were the record alive.

    The record comes back if the collection keeps edits and this one brings anything. Else the whole
    edit lost to the delete, or waits for a person, and is kept in one entry.
    """
    dead = record.cells[ALIVE]
    if merge.absorbed(dead, write_of(prepared, actor)) is not None:
        return Outcome(record=record, cells={n: _past(c, record.cells.get(n)) for n, c in judged.cells.items()})
    if all(cell.verdict in JUDGED_IN_VAIN for cell in judged.cells.values()):
        return Outcome(record=record, cells=judged.cells)
    rule = prepared.collection.against_edit
    brings = any(cell.verdict in ("applied", "merged") for cell in judged.cells.values())
    if brings and rule == "keep_edit":
        return _revive(record, judged, prepared, actor, place)
    full = len(dead.siblings) >= place.siblings_max
    waits = brings and rule == "manual" and not full
    name = "siblings:full" if brings and rule == "manual" and full else f"against_edit:{rule}"
    sides = _side(dead), _edit_side(prepared, actor, place)
    conflict = _conflict(actor, place, name, "open" if waits else "decided", *sides)
    fate = "parked" if waits else "superseded"
    cells = {n: _lost(c, record.cells.get(n), conflict, fate) for n, c in judged.cells.items()}
    if not waits:
        return Outcome(record=record, cells=cells, conflicts=(conflict,))
    waiting = Sibling(value=True, stamp=stamp_of(actor), seq=place.seq)
    after = msgspec.structs.replace(dead, siblings=(*dead.siblings, waiting))
    return Outcome(record=_with_alive(record, after, rev=place.seq), cells=cells, conflicts=(conflict,), op="delete")


def _revive(record: Record, judged: Outcome, prepared: Prepared, actor: Actor, place: merge.Place) -> Outcome:
    """Bring the record back with what the edit brings: a merge of the two, under the hub's dot."""
    dead = record.cells[ALIVE]
    came = alive_cell(prepared, actor, place, dead, value=True)
    stamp = msgspec.structs.replace(came.stamp, dot=place.hub_dot, held=None)
    alive = msgspec.structs.replace(came, stamp=stamp, vv=with_dot(came.vv, place.hub_dot))
    conflict = _conflict(actor, place, "against_edit:keep_edit", "decided", _side(alive), _side(dead))
    return Outcome(
        record=Record(record.collection, record.id, place.seq, {**judged.record.cells, ALIVE: alive}),
        cells={**judged.cells, ALIVE: told_alive("merged", alive, conflict)},
        conflicts=(*judged.conflicts, conflict),
        closed=judged.closed,
        op="enter",
    )


def _lost(judged: CellVerdict, cell: Cell | None, conflict: Conflict, name: str) -> CellVerdict:
    """Turn what a cell would have got, were the record alive, into what it gets now it stays dead."""
    if judged.verdict in JUDGED_IN_VAIN:
        return judged
    return CellVerdict(
        verdict=name,
        value=cell.value if cell else None,
        dot=cell.stamp.dot if cell else None,
        seq=cell.seq if cell else 0,
        vv=cell.vv if cell else msgspec.UNSET,
        rule=conflict.rule,
        conflict=conflict.id,
    )


def _past(judged: CellVerdict, cell: Cell | None) -> CellVerdict:
    """Turn what a cell would have got into what it gets when the deletion came in full knowledge of it."""
    if judged.verdict == "refused":
        return judged
    told = CellVerdict(verdict="absorbed", value=None)
    if cell is None:
        return told
    return msgspec.structs.replace(told, value=cell.value, dot=cell.stamp.dot, seq=cell.seq, vv=cell.vv)


def _with_alive(record: Record, cell: Cell, rev: int | None = None) -> Record:
    if record.cells[ALIVE] is cell and rev is None:
        return record
    cells = {**record.cells, ALIVE: cell}
    return Record(record.collection, record.id, record.rev if rev is None else rev, cells)


# Entries.


def _conflict(
    actor: Actor, place: merge.Place, rule: str, state: verdict.ConflictState, winner: Side, loser: Side
) -> Conflict:
    """Return the entry of a delete against an edit."""
    return Conflict(
        verdict.conflict_id(actor.dot, ALIVE),
        place.collection.name,
        place.record_id,
        ALIVE,
        rule,
        state,
        winner,
        loser,
        place.catalogue_version,
    )


def _edit_side(prepared: Prepared, actor: Actor, place: merge.Place) -> Side:
    """Return an edit as it was sent: the side that lost to a delete."""
    stamp = stamp_of(actor)
    sent: dict[str, Any] = {**prepared.mutation.set, **prepared.mutation.do}
    return Side(sent or True, stamp.dot, place.seq, stamp.person, stamp.authority, stamp.relation, stamp.at)


def _unseen_side(unseen: dict[str, Cell]) -> Side:
    """Return what a delete had not seen, in the name of whoever wrote last of it."""
    newest = max(unseen.values(), key=lambda cell: cell.seq)
    edited = {name: cell.value for name, cell in unseen.items() if name != ALIVE}
    return msgspec.structs.replace(_side(newest), value=edited or newest.value)


def _side(cell: Cell) -> Side:
    stamp, twins = cell.stamp, tuple(twin.dot for twin in cell.twins)
    return Side(cell.value, stamp.dot, cell.seq, stamp.person, stamp.authority, stamp.relation, stamp.at, twins)
