"""Answers kept under the idempotency key that a caller chose, for writes that no committer settles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from syncserver.store import statements

if TYPE_CHECKING:
    from syncserver.store.db import Connection, Database

_SQL: Final = statements.of("kept")


async def found(database: Database, tenant_id: int, key: str) -> tuple[bytes, bytes] | None:
    """Return the hash of the request that an answer is kept for, and the answer."""
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["found"], tenant_id, key)
    return None if row is None else (row["request_hash"], row["verdict"])


async def keep(connection: Connection, tenant_id: int, key: str, request_hash: bytes, answer: bytes) -> None:
    """Keep an answer, in the caller's transaction; the first that is kept stays."""
    await connection.execute(_SQL["keep"], tenant_id, key, request_hash, answer)
