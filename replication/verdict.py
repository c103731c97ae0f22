"""What a writer is told: a verdict for each cell, and the gravest of them for the mutation.

The list of verdicts is closed. `converged`: the same value was already there. `absorbed`: this
very mutation, or what its writer made of it later, is in the value. `applied`: the value was
installed. `merged`: the hub made one value of two. `superseded`: it lost, and is kept. `parked`: it
waits for a person. `refused`: the writer may not, or the value cannot be. A mutation alone can be
`held`: a person looks at it before it is judged.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from replication.versions import Dot, Vector

if TYPE_CHECKING:
    from collections.abc import Iterable

GRAVITY: Final = ("refused", "parked", "superseded", "merged", "applied", "absorbed", "converged")
"""Verdicts, gravest first: that of a mutation is the first which any of its cells has."""

MOVES: Final = frozenset({"applied", "merged", "parked"})
"""The verdicts that take a seq and move the record's rev."""

KEEPS: Final = frozenset({"refused", "parked", "superseded", "held"})
"""The verdicts whose payload is kept in the ledger, because it is not (all) in the record."""

ConflictState = Literal["open", "decided", "settled", "undone"]


class CellVerdict(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of one cell. `value` is there where what is stored differs from what was sent.

    `dot` and `seq` are those of the winner after the verdict: up to `seq` the writer now knows
    this cell. `vv`, where another's write stands, is what that one has absorbed.
    """

    verdict: str
    value: Any = msgspec.UNSET
    dot: Dot | None = None
    seq: int = 0
    vv: Vector | msgspec.UnsetType = msgspec.UNSET
    rule: str | None = None
    conflict: str | None = None
    code: str | None = None
    message: str | None = None


def _no_cells() -> dict[str, CellVerdict]:
    # A factory of its own, because msgspec leaves out an empty `dict`, and the key is always told.
    return {}


class MutationVerdict(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of one mutation. `schema` is the catalogue version it was judged by."""

    n: int
    verdict: str
    schema: int
    collection: str
    id: str
    rev: int
    cells: dict[str, CellVerdict] = msgspec.field(default_factory=_no_cells)
    code: str | None = None
    message: str | None = None
    fields: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Malformed(msgspec.Struct, frozen=True):
    """A mutation whose number could be read and the rest could not; it is refused by number.

    The same is made of one that its device keeps back because no push can carry it.
    """

    n: int
    collection: str
    id: str
    message: str
    payload: bytes
    tx: str | None = None
    asked: bytes = b""
    code: str = "bad_mutation"

    def digest(self) -> bytes:
        """Return the hash by which a re-sent one is known: over the number and what it wants to write.

        It must not depend on what a re-send may change or leave out, nor on what else is in the push.
        """
        return hashlib.sha256(self.asked or self.payload).digest()


class Side(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the two writes of a conflict, as people are shown it."""

    value: Any
    dot: Dot
    rev: int
    person: str
    authority: str
    relation: str
    at: int | None = None
    twins: tuple[Dot, ...] = ()


class Conflict(msgspec.Struct, frozen=True):
    """The entry that each settled or waiting conflict leaves; nothing that lost is forgotten.

    `id` is made of the challenger's dot and the cell, so that replaying the log gives it again.
    """

    id: str
    collection: str
    record_id: str
    cell: str
    rule: str
    state: ConflictState
    winner: Side
    loser: Side
    catalogue_version: int


def conflict_id(dot: Dot, cell: str) -> str:
    """Return the id of the conflict that the write `dot` met on `cell`."""
    return f"{dot.rid}-{dot.n}-{cell}"


def gravest(verdicts: Iterable[str]) -> str:
    """Return the verdict of a mutation whose cells got `verdicts`; of none: converged."""
    return min(verdicts, key=GRAVITY.index, default="converged")
