"""What the ledger keeps of a mutation that did not all land."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from syncserver.store import statements

if TYPE_CHECKING:
    from replication.versions import Dot
    from syncserver.store.db import Database

_SQL: Final = statements.of("ledger")


async def payload(database: Database, tenant_id: int, dot: Dot) -> bytes | None:
    """Return the mutation as JSON; None where all of it landed, or where it is no longer kept."""
    async with database.transaction(tenant_id) as connection:
        kept: bytes | None = await connection.fetchval(_SQL["payload"], tenant_id, *dot)
    return kept
