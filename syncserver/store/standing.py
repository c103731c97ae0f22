"""Where replicas stand: how far they were settled, how far they have pulled, how late they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from syncserver.store import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncserver.store.db import Database

CALLS_WITHIN_SECONDS: Final = 30 * 24 * 3_600.0
"""A device that was not heard of for longer is put away, and its lag says nothing."""

_SQL: Final = statements.of("standing")


class Standing(msgspec.Struct, frozen=True):
    """How far a replica was settled, how far it has pulled, and how far its tenant's line goes."""

    applied: int
    position: int
    seq: int
    fenced: bool


async def lags(database: Database, tenants: Sequence[int]) -> dict[tuple[int, int], float]:
    """Return for each device that still calls how many seconds old the oldest change is that it lacks.

    A device that lacks nothing is left out.
    """
    async with database.transaction(*tenants) as connection:
        found = await connection.fetch(_SQL["lags"], list(tenants), CALLS_WITHIN_SECONDS)
    return {(row["tenant_id"], row["rid"]): row["seconds"] for row in found}


async def of(database: Database, tenant_id: int, rid: int) -> Standing | None:
    """Return where the replica stands; None if there is none of this number."""
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["standing"], tenant_id, rid)
    return None if row is None else Standing(row["applied"], row["position"], row["seq"], row["fenced"])
