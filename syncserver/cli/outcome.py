"""How a command on the database ends: with what it made, or with one sentence and exit code 1."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import asyncpg

from syncserver import settings
from syncserver.commands.errors import CommandError
from syncserver.store import db, people
from syncserver.store.errors import StoreError

DONE, FAILED = 0, 1
REASONS: Final = (
    settings.SettingsInvalid,
    StoreError,
    CommandError,
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)
"""All that an operator can mend."""
LOCKED_OUT: Final = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
)


def tell(work: Coroutine[Any, Any, str]) -> int:
    """Do the work and print its answer, or why there is none; return the exit code."""
    try:
        made = asyncio.run(work)
    except REASONS as error:
        sys.stderr.write(f"{sentence(error)}\n")
        return FAILED
    sys.stdout.write(f"{made}\n")
    return DONE


async def asked(work: Callable[[db.Database], Awaitable[str]], tenant: int | None = None) -> str:
    """Do the work on the database that the settings name, and let go of it.

    A tenant that is not there is no tenant of which there is nothing to tell: it is refused before.
    """
    database = await db.connect(settings.database_url())
    try:
        if tenant is not None:
            await people.require_tenant(database, tenant)
        return await work(database)
    finally:
        await database.close()


def sentence(error: Exception) -> str:
    """Return what an operator is told of an error."""
    if isinstance(error, asyncpg.ForeignKeyViolationError):
        return "there is no such tenant, or no such person in it"
    if isinstance(error, asyncpg.UndefinedTableError):
        return "the database has no tables yet: run `fieldsync migrate` with the same settings"
    if isinstance(error, asyncpg.DataError):
        return "something that was given is too large, or has a character that the database does not take; give another"
    if isinstance(error, LOCKED_OUT):
        return f"the database does not let us in ({error}): check FIELDSYNC_DATABASE_URL, user and name in it"
    # What the file system says names a file; what has none was said on the way to the database.
    if isinstance(error, asyncpg.PostgresConnectionError) or (isinstance(error, OSError) and error.filename is None):
        said = str(error) or type(error).__name__
        return f"the database cannot be reached ({said}): check FIELDSYNC_DATABASE_URL, and whether it runs there"
    return str(error)
