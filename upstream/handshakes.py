"""Secrets that vendors send at the beginning: told back to them, which shows that they were theirs.

Anybody can post a secret to an address that they know. So one that came is no more than a candidate
until the vendor, asked with our own credentials, says that it is the one; a manifest names that call.
Where it names none, a person compares the two.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from upstream import inbound, store
from upstream.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upstream.inbound import Systems
    from upstream.inbox import Door
    from upstream.store import Database

AT_ONCE_MAX: Final = 8
"""How many vendors are asked at a time."""

_SQL: Final = store.statements("inbox")

log = structlog.get_logger()


async def confirm(
    database: Database,
    systems: Systems,
    door: Door,
    tenants: Sequence[int],
    failed: Callable[[str], None] = lambda _: None,
) -> int:
    """Ask vendors about the secrets that came in their name; return how many were theirs.

    Whatever goes wrong with one keeps no other from being asked; `failed` is told of what was a mistake of ours.
    """
    if not tenants:
        return 0
    async with database.transaction(*tenants) as session:
        rows = await session.fetch(_SQL["with_candidates"], tenants)
    room = asyncio.Semaphore(AT_ONCE_MAX)

    async def within(tenant_id: int, connection_id: str) -> int:
        async with room:
            try:
                return await _confirm(database, systems, door, tenant_id, connection_id)
            except Exception:
                log.exception("handshake_failed", tenant=tenant_id, connection=connection_id)
                failed("handshakes")
                return 0

    return sum(await asyncio.gather(*(within(row["tenant_id"], row["connection"]) for row in rows)))


async def _confirm(database: Database, systems: Systems, door: Door, tenant_id: int, connection_id: str) -> int:
    try:
        reached = await inbound.reach(database, systems, tenant_id, connection_id)
    except UpstreamError:
        return 0
    operation = reached.manifest.webhook.confirm if reached.manifest.webhook else ""
    if not operation:
        return 0
    for secret_id, secret, said in await door.candidates(tenant_id, connection_id):
        values = {**(said if isinstance(said, dict) else {}), "token": secret}
        reply = await reached.caller.call(operation, values)
        log.info("handshake_asked", connection=connection_id, kind=reply.kind)
        if reply.kind == "ok":
            async with database.transaction(tenant_id) as session:
                await door.vouch(session, tenant_id, connection_id, secret_id)
            return 1
    return 0
