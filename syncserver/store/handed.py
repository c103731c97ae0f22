"""The tokens that were handed out, as an administrator sees them: never the token, always enough to end one.

A token is shown by the first letters of its digest. Whoever has those has nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from syncserver.store import audit, statements, tokens
from syncserver.store.audit import Actor, Entry
from syncserver.store.errors import AmbiguousToken, NoSuchToken

if TYPE_CHECKING:
    from syncserver.store.db import Connection, Database

SHOWN_AFTER_SECONDS: Final = 30 * 24 * 3_600.0
"""How long a token that has ended is still listed."""

_SQL: Final = statements.of("people")


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """A token: whose, what for, and until when."""

    id: str
    kind: str
    person: str
    name: str
    role: str
    rid: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


async def listed(database: Database, tenant_id: int) -> list[Handed]:
    """Return the tokens of a tenant, oldest first, those that ended lately among them."""
    async with database.transaction(tenant_id) as connection:
        found = await connection.fetch(_SQL["tokens"], tenant_id, SHOWN_AFTER_SECONDS)
    return [
        Handed(id=tokens.shown(row["digest"]), **{name: row[name] for name in Handed.__struct_fields__[1:]})
        for row in found
    ]


async def revoke(database: Database, tenant_id: int, token_id: str, *, by: Actor = audit.OPERATOR) -> str:
    """End the token that the first letters of its digest name, and return its id.

    Raises `NoSuchToken` if there is none that still opens something, `AmbiguousToken` if several begin so.
    """
    async with database.transaction(tenant_id) as connection:
        found = [row["digest"] for row in await connection.fetch(_SQL["tokens_like"], tenant_id, token_id.lower())]
        if len(found) > 1:
            raise AmbiguousToken(f"several tokens begin with {token_id}; give more of the id")
        if not found or not await end(connection, tenant_id, found[0], by=by):
            raise NoSuchToken(f"tenant {tenant_id} has no token {token_id} that could be revoked")
    return tokens.shown(found[0])


async def end(
    connection: Connection, tenant_id: int, digest: bytes, *, by: Actor, action: audit.Action = "token_revoked"
) -> bool:
    """End a token in the caller's transaction; False if it had ended before."""
    if await connection.fetchval(_SQL["revoke_token"], tenant_id, digest) is None:
        return False
    what = f"token:{tokens.shown(digest)}"
    await audit.record(connection, Entry(tenant_id=tenant_id, by=by, action=action, object=what))
    return True
