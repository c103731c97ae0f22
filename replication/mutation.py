"""What a replica asks for: writes on one record, under one dot.

`base` says, for each cell, up to which seq the writer knew it when the mutation was made, and
never changes afterwards. `was` is the value just before the mutation on the writer's own screen
(it runs through the writer's own unsent edits), which merges need to tell what was *done*.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from replication.versions import Dot, Vector

OPS: Final = ("create", "set", "delete", "restore")


class Mutation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One request of one replica for one record. Field names are those of the wire."""

    n: int
    op: str
    collection: str
    id: str
    tx: str | None = None
    base: int | dict[str, int] = 0
    rev: int = 0
    set: dict[str, Any] = {}
    do: dict[str, dict[str, Any]] = {}
    was: dict[str, Any] = {}
    context: dict[str, Vector] = {}
    closes: dict[str, list[Dot]] = {}
    by: str | None = None
    at: int | None = None

    def base_of(self, cell: str) -> int:
        """Return the seq up to which the writer knew `cell`; what a base map leaves out is 0."""
        return self.base if isinstance(self.base, int) else self.base.get(cell, 0)


class Trouble(msgspec.Struct, frozen=True):
    """Why a mutation or a cell was refused: a code of `replication.codes` and a sentence."""

    code: str
    message: str


class Hold(msgspec.Struct, frozen=True):
    """Why a mutation waits for a person instead of being judged: a code and a sentence."""

    code: str
    message: str


EXACT_MAX: Final = 2**53
"""Up to here, on both sides of 0, languages with one type of number tell whole numbers apart."""

_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


def with_plain_numbers(value: Any) -> Any:
    """Return the value with whole numbers as integers: many languages cannot tell 3.0 from 3, nor -0.0 from 0."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= EXACT_MAX else value
    if isinstance(value, dict):
        return {name: with_plain_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_plain_numbers(inner) for inner in value]
    return value


def digest(mutation: Mutation) -> bytes:
    """Return the hash by which a re-sent mutation is known: SHA-256 over what was asked for.

    `base` and `context` are left out: a re-send after a restore may carry others.
    """
    asked = (
        mutation.n,
        mutation.tx,
        mutation.op,
        mutation.collection,
        mutation.id,
        with_plain_numbers(mutation.set),
        with_plain_numbers(mutation.do),
        with_plain_numbers(mutation.was),
        mutation.closes,
        mutation.at,
    )
    return hashlib.sha256(_CANONICAL.encode(asked)).digest()
