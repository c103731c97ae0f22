"""The catalogue: which collections and fields exist, and who is believed about each.

Everything that differs from one business to another is here, as data: the kind of each
field, who may write it, who wins when two wrote it without having seen each other, and
who sees a record. The rules ask; they know no name of any collection or field.

These are the structs and the look-ups. `catalog_file` reads them from a file.
"""

from __future__ import annotations

import graphlib
import hashlib
from functools import cached_property
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from replication import kinds

Authority: TypeAlias = Literal["device", "office", "crm", "erp", "payroll", "telematics", "portal", "hub"]
Relation: TypeAlias = Literal["assignee", "crew", "creator", "former"]
Priority: TypeAlias = Literal["assignment", "job", "reference", "bulk"]
AgainstEdit: TypeAlias = Literal["keep_edit", "delete_wins", "manual"]
Tie: TypeAlias = Literal["first", "last", "clock", "manual"]
Merge: TypeAlias = Literal["append", "union", "counter", "max", "min", "lattice", "text3"]
Source: TypeAlias = Literal["assignee", "crew", "creator", "creator_until_assigned", "all", "parent", "references"]

AUTHORITIES: Final[tuple[Authority, ...]] = get_args(Authority)
RELATIONS: Final[tuple[Relation, ...]] = get_args(Relation)
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
AGAINST_EDIT: Final[tuple[AgainstEdit, ...]] = get_args(AgainstEdit)
TIES: Final[tuple[Tie, ...]] = get_args(Tie)
MERGES: Final[tuple[Merge, ...]] = get_args(Merge)
KINDS_OF_MERGE: Final[dict[Merge, tuple[kinds.Kind, ...]]] = {
    "append": ("text",),
    "union": ("set",),
    "counter": ("integer", "decimal"),
    "max": ("integer", "decimal", "instant", "date"),
    "min": ("integer", "decimal", "instant", "date"),
    "lattice": ("choice",),
    "text3": ("text",),
}
MERGES_BY_VALUE: Final[frozenset[Merge]] = frozenset({"max", "min", "lattice"})
"""Merges that need no more than the two values; the others have to know what was done."""
MERGES_BY_OP: Final[frozenset[Merge]] = frozenset({"append", "union", "counter"})
"""Merges whose fields a writer may also send an operation on."""

ROUTE_NAMES: Final = frozenset(
    {
        "alerts",
        "attachments",
        "audit",
        "auth",
        "catalog",
        "conflicts",
        "connections",
        "dead_letters",
        "deliveries",
        "devices",
        "held",
        "hooks",
        "mappings",
        "people",
        "receipts",
        "reconciliations",
        "sync",
        "tenants",
        "tokens",
        "webhooks",
    }
)
"""First path segments that the service itself answers: no collection may bear one."""

FIELD_NAMES_TAKEN: Final = frozenset(
    {"id", "rev", "set", "do", "was", "limit", "cursor", "verdict", "cells", "updated_since_rev"}
)
"""Keys that stand beside the fields of a record on the wire, in a body of the office, or in the query of a list."""

COLLECTIONS_MAX: Final = 200
FIELDS_PER_COLLECTION_MAX: Final = 200
GROUP_MEMBERS_MAX: Final = 16
CHOICES_MAX: Final = 200
SIBLINGS_MAX: Final = 16
"""How many values wait in one cell, where a catalogue does not say."""
SIBLINGS_LIMIT_MAX: Final = 100
SIZE_MAX: Final[dict[kinds.Kind, int]] = {"text": 200_000, "set": 2_000, "json": 262_144}
"""The largest `limit` a field may ask for: above it one value would fill a page of a pull."""


class Field(kinds.Shape, frozen=True, kw_only=True):
    """One field of a collection. `to` is the collection that a reference points to.

    `order` are chains of choices, each from the lowest to the highest, that a lattice is made of.
    """

    name: str
    to: str = ""
    order: tuple[tuple[str, ...], ...] = ()


class RankEntry(msgspec.Struct, frozen=True):
    """A place in a rank list: a class of writers; no relation means any."""

    authority: Authority
    relation: Relation | None = None

    @property
    def word(self) -> str:
        """The entry as the catalogue file writes it."""
        return f"{self.authority}.{self.relation}" if self.relation else self.authority


class CellRule(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """How writes of one cell, a field or a group of fields, are settled."""

    name: str
    members: tuple[str, ...]
    write: frozenset[Authority]
    is_group: bool = False
    rank: tuple[RankEntry, ...] = ()
    tie: Tie = "first"
    merge: Merge | None = None

    def rank_of(self, authority: str, relation: str = "") -> int:
        """Return the place of a writer, 0 being the highest; unlisted is below the whole list."""
        places = self._places
        place = places.get((authority, relation))
        return places.get((authority, ""), len(self.rank)) if place is None else place

    @cached_property
    def _places(self) -> dict[tuple[str, str], int]:
        # First mention wins: after a bare `device`, `device.former` can no longer be lower.
        places: dict[tuple[str, str], int] = {}
        for place, entry in enumerate(self.rank):
            relations = (entry.relation,) if entry.relation else ("", *RELATIONS)
            for relation in relations:
                places.setdefault((entry.authority, relation), place)
        return places


class ScopeSource(msgspec.Struct, frozen=True):
    """One reason why a person sees a record. `field` is the reference to the parent."""

    source: Source
    field: str = ""

    @property
    def word(self) -> str:
        """The source as the catalogue file writes it."""
        return f"{self.source}:{self.field}" if self.field else self.source


class Collection(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One kind of record: its fields, the cells they form, who sees it and who may delete it."""

    name: str
    priority: Priority
    delete: frozenset[Authority]
    scope: tuple[ScopeSource, ...]
    fields: dict[str, Field]
    cells: dict[str, CellRule]
    against_edit: AgainstEdit = "keep_edit"
    assignee_field: str | None = None
    crew_field: str | None = None

    @cached_property
    def cell_names(self) -> dict[str, str]:
        """Name of the cell that each field belongs to."""
        return {member: rule.name for rule in self.cells.values() for member in rule.members}

    def cell_of(self, field: str) -> str:
        """Return the cell that a field belongs to: its group, or itself."""
        return self.cell_names[field]

    @cached_property
    def sources(self) -> frozenset[Source]:
        """The kinds of reason for which a person sees a record of this collection."""
        return frozenset(source.source for source in self.scope)

    @property
    def is_for_all(self) -> bool:
        """Whether everybody in the tenant reads it, without a membership of each record."""
        return "all" in self.sources


class Catalog(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All collections. `version` is the number that the tenant gave to this content.

    `siblings` is how many values wait in one cell for a person.
    """

    collections: dict[str, Collection]
    version: int = 0
    siblings: int = SIBLINGS_MAX

    @cached_property
    def hash(self) -> str:
        """Hex digest of the content: what it says, not its layout, comments or version."""
        limits = {} if self.siblings == SIBLINGS_MAX else {"$limits": {"siblings": self.siblings}}
        content = msgspec.json.encode({**self.collections, **limits}, order="sorted")
        return hashlib.sha256(content).hexdigest()

    def parents(self, collection: str) -> tuple[str, ...]:
        """Return the fields that name the records this one is seen together with."""
        scope = self.collections[collection].scope
        return tuple(source.field for source in scope if source.source == "parent")

    def carried(self, collection: str) -> tuple[tuple[str, str], ...]:
        """Return (field, collection) of the references that bring their target into scope."""
        return self._carried[collection]

    def scope_fields(self, collection: str) -> frozenset[str]:
        """Return the fields whose change may alter who sees this record or another."""
        return self._scope_fields[collection]

    @cached_property
    def scope_order(self) -> dict[str, int]:
        """Place of each collection in an order where those that give scope come before their takers."""
        givers = {name: [c.fields[field].to for field in self.parents(name)] for name, c in self.collections.items()}
        for name in self.collections:
            for _, target in self.carried(name):
                givers[target].append(name)
        order = graphlib.TopologicalSorter(givers).static_order()
        return {name: place for place, name in enumerate(order)}

    @cached_property
    def _carried(self) -> dict[str, tuple[tuple[str, str], ...]]:
        return {name: tuple(self._references_in(name)) for name in self.collections}

    def _references_in(self, collection: str) -> list[tuple[str, str]]:
        # What everybody sees is in no one's scope in particular, so it brings nothing along.
        # Between parent and child scope goes down only: a parent is not what its child refers to.
        holder, parents = self.collections[collection], self.parents(collection)
        if holder.is_for_all:
            return []
        targets = {name for name, c in self.collections.items() if "references" in c.sources}
        references = [f for f in holder.fields.values() if f.kind == "reference" and f.name not in parents]
        return [(field.name, field.to) for field in references if field.to in targets]

    @cached_property
    def _scope_fields(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(self._fields_of_scope(name)) for name in self.collections}

    def _fields_of_scope(self, collection: str) -> list[str]:
        holder = self.collections[collection]
        people = [name for name in (holder.assignee_field, holder.crew_field) if name]
        return [*people, *self.parents(collection), *(field for field, _ in self._carried[collection])]
