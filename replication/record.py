"""What is known of one entity: a record made of cells.

A record is nothing but its cells. Each cell remembers its value, who wrote it, and when in the
tenant's number line that value was installed. `Cell.seq` is the seq of *installation*: a write
that lost, or that repeated the same value, does not move it, so it can be compared with what a
device had seen without inventing conflicts.

All structs are immutable; a changed record is a new record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication.versions import Dot, Vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from replication.catalog import Collection

ALIVE: Final = "$alive"
"""Name of the cell that says whether the record exists; its value is a bool."""


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """Who wrote a value: the dot, and what ranking and audit need to know of the writer.

    `at` is the writer's own time in milliseconds since 1970, shown to people and never compared.
    `time` is the hub's estimate of the true time, by which only the tie rule `clock` compares.
    `held` is the mutation as its device made it, where it waited for a person and was released under `dot`.
    """

    dot: Dot
    authority: str
    relation: str
    person: str
    at: int | None = None
    time: int = 0
    held: Dot | None = None

    @property
    def made_as(self) -> Dot:
        """The mutation as whoever made it knows it."""
        return self.held or self.dot


class Sibling(msgspec.Struct, frozen=True, array_like=True):
    """A value that waits for a person, kept beside the incumbent under a manual tie."""

    value: Any
    stamp: Stamp
    seq: int


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """One field, or one declared group of fields: the unit in which conflicts are found."""

    value: Any
    stamp: Stamp
    seq: int
    vv: Vector
    twins: tuple[Stamp, ...] = ()
    siblings: tuple[Sibling, ...] = ()

    def stamps(self) -> Iterator[Stamp]:
        """Yield the winner's stamp, then those of its twins (writers of an equal value)."""
        yield self.stamp
        yield from self.twins


class Record(msgspec.Struct, frozen=True):
    """One entity as the hub knows it. `rev` is the seq of the last change that moved it."""

    collection: str
    id: str
    rev: int
    cells: dict[str, Cell]

    @property
    def exists(self) -> bool:
        """Whether the hub has ever heard of this record, alive or deleted."""
        return self.rev > 0

    @property
    def alive(self) -> bool:
        """Whether the record exists and is not deleted."""
        cell = self.cells.get(ALIVE)
        return cell is not None and cell.value is True


def unknown(collection: str, record_id: str) -> Record:
    """Return the record of which nothing is known yet."""
    return Record(collection, record_id, 0, {})


def fields(record: Record, collection: Collection) -> dict[str, Any]:
    """Return the visible state: field name to value, members of groups flat.

    Cells which the present catalogue does not name stay stored and are not shown.
    """
    shown: dict[str, Any] = {}
    for name, cell in record.cells.items():
        rule = collection.cells.get(name)
        if rule is None:
            continue
        if rule.is_group:
            shown.update(cell.value if isinstance(cell.value, dict) else {})
        else:
            shown[name] = cell.value
    return shown
