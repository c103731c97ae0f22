"""Who asks for a mutation of one record, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from replication import verdict
from replication.record import Record, Stamp
from replication.verdict import CellVerdict, Conflict
from replication.versions import Dot

if TYPE_CHECKING:
    from collections.abc import Iterable


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: the dot, the class, the person's relations to this record (none: out of scope).

    `chain` is the mutation before which all of its replica's are the actor's own (`merge.Write`),
    `along` the first of those that a release carries out with this one, in one tx. `time` is when this
    one was made as far as the hub can tell, `restored_to` the position of the hub's last restore.
    `held` is the mutation as its device made it, if it waited for a person until now.
    """

    dot: Dot
    person: str
    authority: str
    relations: tuple[str, ...]
    chain: Dot | None
    along: Dot | None = None
    served: int
    restored_to: int = 0
    at: int | None = None
    time: int = 0
    authorities: dict[str, str] = {}
    held: Dot | None = None

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

    @property
    def moved(self) -> bool:
        """Whether the mutation takes a seq."""
        return moves(self.cells.values())


def moves(cells: Iterable[CellVerdict]) -> bool:
    """Whether any of the verdicts takes a seq."""
    return any(cell.verdict in verdict.MOVES for cell in cells)


def stamp_of(actor: Actor) -> Stamp:
    """Return the stamp of a write that is not of one cell."""
    relation = actor.relations[0] if actor.relations else ""
    return Stamp(actor.dot, actor.authority, relation, actor.person, actor.at, actor.time, actor.held)
