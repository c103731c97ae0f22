"""Whether a mutation can be meant at all: its shape against the catalogue, value by value.

What is wrong here is wrong whoever asks and whatever is stored. A bad cell is refused alone; a
mutation that names nothing the catalogue knows is refused whole. What depends on stored records
(is it known, does its parent exist) is decided by the hub.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication import kinds
from replication.catalog import MERGES_BY_OP
from replication.mutation import OPS, Mutation, Trouble

if TYPE_CHECKING:
    from replication.catalog import Catalog, Collection

UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """One cell as it was asked for, in canonical form: a value or an operation, and `was`."""

    value: Any = None
    op: kinds.Op | None = None
    sent: Any = msgspec.UNSET
    was: Any = msgspec.UNSET


class Prepared(msgspec.Struct, frozen=True):
    """A mutation that can be judged: its collection, its good cells, its bad ones."""

    mutation: Mutation
    collection: Collection
    drafts: dict[str, Draft]
    bad: dict[str, Trouble]

    @property
    def key(self) -> tuple[str, str]:
        """Return collection and record id."""
        return self.mutation.collection, self.mutation.id


def prepare(mutation: Mutation, catalog: Catalog) -> Prepared | Trouble:
    """Return the mutation in canonical form, or why none of it can be judged."""
    if mutation.op not in OPS:
        return Trouble("unknown_op", f"op is {mutation.op!r}; allowed: {', '.join(OPS)}")
    collection = catalog.collections.get(mutation.collection)
    if collection is None:
        return Trouble("unknown_collection", f"the catalogue has no collection {mutation.collection!r}")
    if UUID.fullmatch(mutation.id) is None:
        return Trouble("bad_id", f"id is {mutation.id!r}; a lower-case UUID is needed")
    if mutation.op in ("delete", "restore"):
        return Prepared(mutation, collection, {}, {})
    drafts: dict[str, Draft] = {}
    bad: dict[str, Trouble] = {}
    for name, sent in mutation.set.items():
        _prepare(name, sent, mutation, collection, drafts, bad)
    for name, op in mutation.do.items():
        _prepare_op(name, op, collection, drafts, bad)
    return Prepared(mutation, collection, drafts, bad)


def _prepare(
    name: str,
    sent: Any,
    mutation: Mutation,
    collection: Collection,
    drafts: dict[str, Draft],
    bad: dict[str, Trouble],
) -> None:
    """Put one entry of `set` among the drafts or the bad cells; it names a field or a group."""
    cell = _cell_of(name, collection)
    if cell is None:
        bad[name] = Trouble("invalid", f"{collection.name} has no field {name!r}")
        return
    try:
        given = _members(cell, name, sent, collection)
        was = _was(cell, mutation.was, collection)
    except kinds.BadValue as error:
        bad[cell] = Trouble("invalid", f"{name}: {error}")
        drafts.pop(cell, None)
        return
    if cell in bad:
        return
    if not collection.cells[cell].is_group:
        drafts[cell] = Draft(value=given[name], sent=sent, was=was)
        return
    before = drafts.get(cell)
    value = {**(before.value if before else {}), **given}
    raw = {**(before.sent if before else {}), **(sent if name == cell else {name: sent})}
    drafts[cell] = Draft(value=value, sent=raw, was=was)


def _prepare_op(
    name: str,
    op: dict[str, Any],
    collection: Collection,
    drafts: dict[str, Draft],
    bad: dict[str, Trouble],
) -> None:
    """Put one entry of `do` among the drafts or the bad cells."""
    rule = collection.cells.get(name)
    if rule is None or rule.is_group:
        bad[name] = Trouble("invalid", f"{collection.name} has no field {name!r} with operations")
    elif rule.merge not in MERGES_BY_OP:
        bad[name] = Trouble("invalid", f"{name} takes no operations by the catalogue: set it instead")
    elif name in drafts:
        drafts.pop(name)
        bad[name] = Trouble("invalid", f"{name} stands in both set and do; one of them is needed")
    else:
        try:
            done = kinds.canonical_op(collection.fields[name], op)
        except kinds.BadValue as error:
            bad[name] = Trouble("invalid", f"{name}: {error}")
            return
        drafts[name] = Draft(op=done)


def _cell_of(name: str, collection: Collection) -> str | None:
    """Return the cell that a field or group name stands for."""
    if name in collection.cells:
        return name
    return collection.cell_of(name) if name in collection.fields else None


def _members(
    cell: str,
    name: str,
    sent: Any,
    collection: Collection,
) -> dict[str, Any]:
    """Return the canonical values by field name; a group may come whole or field by field."""
    rule = collection.cells[cell]
    if not (rule.is_group and name == cell):
        return {name: kinds.canonical(collection.fields[name], sent)}
    if not isinstance(sent, dict) or not sent or not sent.keys() <= set(rule.members):
        raise kinds.BadValue(f"a group takes an object of {', '.join(rule.members)}")
    return {member: kinds.canonical(collection.fields[member], value) for member, value in sent.items()}


def _was(cell: str, was: dict[str, Any], collection: Collection) -> Any:
    """Return the canonical `was` of a cell, UNSET where the mutation gives none that fits today.

    An old value that the catalogue no longer allows must not keep its writer from replacing it.
    """
    rule = collection.cells[cell]
    flat = was[cell] if rule.is_group and isinstance(was.get(cell), dict) else was
    fitting: dict[str, Any] = {}
    for member in rule.members if rule.is_group else (cell,):
        if member in flat:
            try:
                fitting[member] = kinds.canonical(collection.fields[member], flat[member])
            except kinds.BadValue:
                continue
    if rule.is_group:
        return fitting or msgspec.UNSET
    return fitting.get(cell, msgspec.UNSET)
