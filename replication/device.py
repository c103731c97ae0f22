"""The device's half: what a device knows of a record, and what it asks for when a person edits it.

A device holds a copy of each record: what the hub told it (the *beneath*) and, on top, its own
edits that have no verdict yet. Two rules keep the hub able to say who had seen whom:

- The *base* of a cell is the highest seq up to which the device holds that cell: the rev of the
  record from a put, or the cell's own seq from a verdict. An edit stores the base when it is made,
  and while it is unanswered all later edits of the cell store the same one: what arrives meanwhile
  was not on the person's screen.
- `was` is what the screen showed just before the edit. It runs through the own unanswered edits,
  so that a merge can tell what each of them did.

All functions take a copy and return a new one; storing it is the caller's affair.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from replication import kinds
from replication.mutation import Mutation
from replication.record import ALIVE
from replication.versions import Dot, Vector, join, with_dot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from replication.catalog import Collection
    from replication.verdict import CellVerdict, MutationVerdict


class Layout(msgspec.Struct, frozen=True, dict=True):
    """What a device must know of a collection: the shape of each field, and which form a group.

    A field that the layout does not name is kept and shown all the same, as a cell of its own.
    """

    shapes: dict[str, kinds.Shape] = {}
    groups: dict[str, tuple[str, ...]] = {}

    def cell_of(self, field: str) -> str:
        """Return the cell that a field belongs to: its group, or itself."""
        return self._group_of.get(field, field)

    def cells(self) -> set[str]:
        """Return the names of all cells."""
        return {self.cell_of(field) for field in self.shapes}

    def flat(self, cell: str, value: Any) -> dict[str, Any]:
        """Return the value of a cell by field: the members of a group, or the one field."""
        if cell not in self.groups:
            return {cell: value}
        return dict(value) if isinstance(value, dict) else {}

    def members(self, cell: str) -> tuple[str, ...]:
        """Return the fields of a cell."""
        return self.groups.get(cell, (cell,))

    @cached_property
    def _group_of(self) -> dict[str, str]:
        return {field: name for name, members in self.groups.items() for field in members}


def layout_of(collection: Collection) -> Layout:
    """Return the part of a catalogue's collection that a device needs."""
    groups = {name: rule.members for name, rule in collection.cells.items() if rule.is_group}
    return Layout(dict(collection.fields), groups)


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What a person did on the screen. `fields` are flat; `do` holds operations by field."""

    op: str = "set"
    fields: dict[str, Any] = {}
    do: dict[str, kinds.Op] = {}
    tx: str | None = None
    by: str | None = None
    at: int | None = None


class Copy(msgspec.Struct, frozen=True):
    """One record as a device has it.

    `rev` is the held rev, from puts only. `fields` is the beneath, flat. `raised` has the cells that
    a verdict brought above `rev`. `held` says whether the record is in scope, as of the commit
    `told_at`. `edits` are the unanswered ones, oldest first. `shown` has, by cell, every dot that the
    device was shown there: the context of its edits, for a hub that was restored and knows less. `former`
    is what it held before that, as far as the hub still knows it: the bases and contexts of edits count
    it in until the record is shown anew, for then it has gone again.
    `blind` has the base of cells on which an own write went over another that the person never saw.
    """

    collection: str
    id: str
    rev: int = 0
    fields: dict[str, Any] = {}
    raised: dict[str, int] = {}
    alive: bool = False
    held: bool = False
    told_at: int = 0
    edits: tuple[Mutation, ...] = ()
    shown: dict[str, Vector] = {}
    former: Copy | None = None
    blind: dict[str, int] = {}

    def base(self, cell: str) -> int:
        """Return the highest seq up to which the device holds the cell."""
        return max(self.rev, self.raised.get(cell, 0))

    @property
    def gone(self) -> bool:
        """Whether nothing is left to show or to wait for: out of scope or deleted, all answered."""
        return not self.edits and not (self.held and self.alive)


def edit(copy: Copy, layout: Layout, act: Act, n: int) -> tuple[Copy, Mutation]:
    """Return the copy with the person's edit on top, and the mutation to send, numbered `n`."""
    asked = _by_cell(layout, act.fields)
    mutation = Mutation(
        n=n,
        op=act.op,
        collection=copy.collection,
        id=copy.id,
        tx=act.tx,
        base=_bases(copy, layout, act.op, {*asked, *act.do}),
        rev=copy.rev,
        set=asked,
        do=act.do,
        was=_was(copy, layout, asked),
        context=_contexts(copy, layout, act.op, {*asked, *act.do}),
        by=act.by,
        at=act.at,
    )
    return msgspec.structs.replace(copy, edits=(*copy.edits, mutation)), mutation


def put(
    copy: Copy,
    layout: Layout,
    rev: int,
    fields: dict[str, Any],
    seq: int,
    versions: Mapping[str, tuple[Dot, Vector]] | None = None,
) -> Copy:
    """Take a put or an enter, cell by cell: what the device holds from above its rev stays.

    Unanswered edits stay on top. `seq` is that of the commit which carries it: commits of different
    urgency may arrive out of order, and an old one must not undo a later leave. `versions` has the
    winner's dot and the vector of each cell, where the device asks for them.
    """
    present = _see(_told(copy, seq, held=True), versions)
    if rev < copy.rev:
        return present
    newer = {cell: seq for cell, seq in copy.raised.items() if seq > rev}
    kept = {field: value for field, value in copy.fields.items() if layout.cell_of(field) in newer}
    taken = {field: value for field, value in fields.items() if layout.cell_of(field) not in newer}
    alive = copy.alive if ALIVE in newer else True
    blind = {cell: base for cell, base in copy.blind.items() if cell in newer}
    return msgspec.structs.replace(
        present, rev=rev, fields={**taken, **kept}, raised=newer, alive=alive, former=None, blind=blind
    )


def leave(copy: Copy, seq: int) -> Copy:
    """Take a leave: the record is out of scope, and stays only until its edits are answered."""
    return _told(copy, seq, held=False)


def delete(copy: Copy, rev: int, seq: int) -> Copy:
    """Take a delete. It tells the device of aliveness alone, and ends no membership."""
    present = _told(copy, seq, held=True)
    if rev < copy.base(ALIVE):
        return present
    return msgspec.structs.replace(present, alive=False, raised={**copy.raised, ALIVE: rev})


def settle(copy: Copy, layout: Layout, mutation: Mutation, verdict: MutationVerdict) -> Copy:
    """Take the verdict of one of the device's own mutations, which thereby leaves the edits.

    It tells of the cells it names and of no others. Where the beneath is newer, that is shown.
    A verdict may come again; then it changes nothing.
    """
    learnt = msgspec.structs.replace(copy, edits=tuple(e for e in copy.edits if e.n != verdict.n))
    for cell, told in verdict.cells.items():
        if told.seq > learnt.base(cell):
            learnt = _learn(learnt, layout, mutation, cell, told)
        if told.dot is not None and (learnt.shown or not copy.base(ALIVE)):
            learnt = _see(learnt, {cell: (told.dot, told.vv or {})})
    if mutation.op == "create" and _stands(verdict):
        learnt = _born(learnt)
    return learnt


def view(copy: Copy, layout: Layout) -> dict[str, Any] | None:
    """Return the fields as the person is shown them, or None if the record is not there."""
    fields, alive = copy.fields, copy.alive
    for mutation in copy.edits:
        fields = _overlay(layout, fields, mutation)
        alive = mutation.op != "delete" if mutation.op != "set" else alive
    return fields if alive else None


def restart(copy: Copy, position: int) -> Copy:
    """Return the copy for the epoch of a hub that was restored to `position`.

    Of the numbers above it the new epoch knows nothing, so that none of them may count as seen.
    """
    edits = tuple(rebase(mutation, position) for mutation in copy.edits)
    former = _known_below(copy, position)
    if max(copy.rev, copy.told_at, *copy.raised.values(), 0) <= position:
        return msgspec.structs.replace(copy, edits=edits, former=former.former)
    return msgspec.structs.replace(copy, rev=0, raised={}, told_at=0, edits=edits, shown={}, former=former, blind={})


def _known_below(copy: Copy, position: int) -> Copy:
    """Return what a copy held, with no number above `position`."""
    raised, blind = (
        {cell: min(seq, position) for cell, seq in numbers.items()} for numbers in (copy.raised, copy.blind)
    )
    former = copy.former and _known_below(copy.former, position)
    known = Copy(copy.collection, copy.id, min(copy.rev, position), raised=raised, blind=blind, shown=copy.shown)
    return msgspec.structs.replace(known, former=former)


def as_sent(mutation: Mutation, *, contexts: bool) -> Mutation:
    """Return the mutation as it goes out: to a hub that knows all that was shown, its bases say enough."""
    return mutation if contexts else msgspec.structs.replace(mutation, context={})


def rebase(mutation: Mutation, position: int) -> Mutation:
    """Return the mutation with no base above `position`."""
    if isinstance(mutation.base, int):
        base: int | dict[str, int] = min(mutation.base, position)
    else:
        base = {cell: min(seq, position) for cell, seq in mutation.base.items()}
    return msgspec.structs.replace(mutation, base=base, rev=min(mutation.rev, position))


def _by_cell(layout: Layout, fields: dict[str, Any]) -> dict[str, Any]:
    """Return flat fields as cells: members of a group together in an object."""
    cells: dict[str, Any] = {}
    for field, value in fields.items():
        cell = layout.cell_of(field)
        if cell in layout.groups:
            cells.setdefault(cell, {})[field] = value
        else:
            cells[field] = value
    return cells


def _bases(copy: Copy, layout: Layout, op: str, written: set[str]) -> int | dict[str, int]:
    """Return the base of each cell the edit compares: what it writes, and `$alive` always.

    A delete has read all cells. If all are held up to one rev that number says it too, and says it
    of cells that this device has no name for.
    """
    read = written
    if op == "delete":
        read = {*layout.cells(), *map(layout.cell_of, copy.fields), *copy.raised}
    bases = {cell: _frozen(copy, cell) for cell in sorted({*read, ALIVE})}
    if op == "delete" and set(bases.values()) == {copy.rev}:
        return copy.rev
    return bases


def _frozen(copy: Copy, cell: str) -> int:
    """Return the base of the earliest unanswered edit of the cell, else the cell's own.

    Every edit compares `$alive`, so the first of any cell freezes that one.
    """
    for mutation in copy.edits:
        if cell == ALIVE or cell in mutation.set or cell in mutation.do:
            return mutation.base_of(cell)
    return _known(copy, cell)


def _known(copy: Copy, cell: str) -> int:
    """Return the base of an edit that is made now."""
    known = copy.blind.get(cell, copy.base(cell))
    return known if copy.former is None else max(known, _known(copy.former, cell))


def _contexts(copy: Copy, layout: Layout, op: str, written: set[str]) -> dict[str, Vector]:
    """Return what was shown of each cell that the edit is compared with, frozen as the base is."""
    read = written
    if op == "delete":
        read = {*layout.cells(), *map(layout.cell_of, copy.fields), *_ever_shown(copy)}
    found = {cell: _frozen_context(copy, cell) for cell in sorted({*read, ALIVE})}
    return {cell: context for cell, context in found.items() if context}


def _frozen_context(copy: Copy, cell: str) -> Vector:
    for mutation in copy.edits:
        if cell == ALIVE or cell in mutation.set or cell in mutation.do:
            return mutation.context.get(cell, {})
    return _ever_shown(copy).get(cell, {})


def _ever_shown(copy: Copy) -> dict[str, Vector]:
    """Return the context of an edit that is made now, by cell."""
    if copy.former is None:
        return copy.shown
    former = _ever_shown(copy.former)
    return {cell: join(former.get(cell, {}), copy.shown.get(cell, {})) for cell in {**former, **copy.shown}}


def _see(copy: Copy, versions: Mapping[str, tuple[Dot, Vector]] | None) -> Copy:
    """Return the copy with more dots that it was shown.

    A state without its versions ends the account: half a context would tell of writes as unseen.
    """
    if versions is None:
        return msgspec.structs.replace(copy, shown={})
    seen = {cell: with_dot(join(copy.shown.get(cell, {}), vv), Dot(*dot)) for cell, (dot, vv) in versions.items()}
    return msgspec.structs.replace(copy, shown={**copy.shown, **seen})


def _was(copy: Copy, layout: Layout, cells: Iterable[str]) -> dict[str, Any]:
    """Return what the screen shows of these cells now, groups whole; None where it shows nothing."""
    shown = view(copy, layout) or {}
    was = {cell: {member: shown.get(member) for member in layout.members(cell)} for cell in cells}
    return {cell: members if cell in layout.groups else members[cell] for cell, members in was.items()}


def _told(copy: Copy, seq: int, *, held: bool) -> Copy:
    """Return the copy with its place in scope as of the newest commit that said something of it."""
    return copy if seq < copy.told_at else msgspec.structs.replace(copy, held=held, told_at=seq)


def _learn(copy: Copy, layout: Layout, mutation: Mutation, cell: str, told: CellVerdict) -> Copy:
    """Take what a verdict says of one cell: its value, or the one sent where it gives none."""
    raised, blind = {**copy.raised, cell: told.seq}, {**copy.blind}
    before = blind.pop(cell, copy.base(cell) if told.rule is not None else None)
    if told.verdict == "applied" and before is not None:
        blind[cell] = before
    copy = msgspec.structs.replace(copy, blind=blind)
    if cell == ALIVE:
        alive = mutation.op != "delete" if told.value is msgspec.UNSET else told.value is True
        return msgspec.structs.replace(copy, alive=alive, raised=raised)
    if told.value is msgspec.UNSET:
        sent = _overlay(layout, copy.fields, mutation)
        value = {member: sent[member] for member in layout.members(cell) if member in sent}
    else:
        value = layout.flat(cell, told.value)
    others = {field: v for field, v in copy.fields.items() if layout.cell_of(field) != cell}
    return msgspec.structs.replace(copy, fields={**others, **value}, raised=raised)


def _stands(verdict: MutationVerdict) -> bool:
    """Whether a create left a record behind: refused cells do not undo one that was granted."""
    granted = [told for told in verdict.cells.values() if told.verdict != "refused"]
    return bool(granted) or (not verdict.cells and verdict.verdict not in ("refused", "held"))


def _born(copy: Copy) -> Copy:
    """Return a record that this device made as one it holds, unless the hub has said otherwise."""
    alive = copy.alive or copy.base(ALIVE) == 0
    return msgspec.structs.replace(copy, alive=alive, held=copy.held or copy.told_at == 0)


def _overlay(layout: Layout, fields: dict[str, Any], mutation: Mutation) -> dict[str, Any]:
    """Return the fields as they look with one edit on top."""
    shown = dict(fields)
    for cell, value in mutation.set.items():
        shown.update(layout.flat(cell, value))
    for field, op in mutation.do.items():
        if field in layout.shapes:
            shown[field] = _done(layout.shapes[field], shown.get(field), op)
    return shown


def _done(shape: kinds.Shape, current: Any, op: kinds.Op) -> Any:
    """Return the value after an operation; one that the hub will refuse leaves it as it was."""
    try:
        return kinds.apply_op(shape, current, kinds.canonical_op(shape, op))
    except kinds.BadValue:
        return current
