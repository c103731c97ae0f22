"""What commands about other systems work with: the database, and the way out to those systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncserver import settings
from syncserver.cli import outcome
from syncserver.commands.upstream.systems import Systems

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncserver.store import db


async def reached(work: Callable[[db.Database, Systems], Awaitable[str]], tenant: int) -> str:
    """Do the work for a tenant with the database and the systems that the settings name, and let go of both."""

    async def worked(database: db.Database) -> str:
        known = settings.load()
        systems = Systems(
            database,
            known.secret_keys,
            allow_loopback=known.allow_loopback_vendors,
            redis_url=known.redis_url,
            exchange_dir=known.exchange_dir,
            files=known.files,
        )
        try:
            return await work(database, systems)
        finally:
            await systems.close()

    return await outcome.asked(worked, tenant)
