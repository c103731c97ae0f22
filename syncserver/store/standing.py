"""Where one replica stands: asked only where a push does not say so itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from syncserver.store import statements

if TYPE_CHECKING:
    from syncserver.store.db import Database

_SQL: Final = statements.of("standing")


class Standing(msgspec.Struct, frozen=True):
    """How far a replica was settled, how far it has pulled, and how far its tenant's line goes."""

    applied: int
    position: int
    seq: int
    fenced: bool


async def of(database: Database, tenant_id: int, rid: int) -> Standing | None:
    """Return where the replica stands; None if there is none of this number."""
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["standing"], tenant_id, rid)
    return None if row is None else Standing(row["applied"], row["position"], row["seq"], row["fenced"])
