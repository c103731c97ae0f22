"""Connections: two pools on one database, and transactions that name their tenants.

The committers have a pool of their own, so that a burst of pulls never keeps a push waiting for a
connection. Every transaction says which tenants it is for; row-level security hides the rest, and
a transaction that forgot to say so sees nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from syncserver.store import statements
from syncserver.store.errors import WallMissing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncpg.pool import PoolConnectionProxy

    Connection = PoolConnectionProxy[asyncpg.Record]
    Observer = Callable[[asyncpg.connection.LoggedQuery], None]

COMMITTERS: Final = 2
READERS: Final = 6
CONNECT_SECONDS: Final = 10
CLOSE_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 30
LOCK_SECONDS: Final = 10

# No statement here runs long enough for jit to pay. The timeouts bound what a lost peer can hold: the
# locks of a committer that vanished fall with its idle transaction.
SESSION: Final = {
    "application_name": "fieldsync",
    "jit": "off",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": f"{LOCK_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS}s",
}

# The statements in sql/ look up rows by keys they are given, so one plan is right for all arguments:
# an index for each table. A plan that was made while a table was nearly empty would scan it, and
# stay in use long after it had filled.
BY_KEY: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "random_page_cost": "1.1",
}

WALL: Final = statements.of("wall")

TRANSIENT: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # Said of a server that ends between its greeting and our first statement.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.TransactionRollbackError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.OutdatedSchemaCacheError,
)
"""Failures that say nothing about what was asked for: the same may succeed in a moment."""


class Database:
    """The database as the server uses it. Made by `open`, ended by `close`."""

    def __init__(self, committers: asyncpg.Pool, readers: asyncpg.Pool) -> None:
        self._committers = committers
        self._readers = readers

    @asynccontextmanager
    async def committing(self) -> AsyncIterator[Connection]:
        """Lend a connection to a committer."""
        async with self._committers.acquire(timeout=CONNECT_SECONDS) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self, *tenants: int, snapshot: bool = False) -> AsyncIterator[Connection]:
        """Open a transaction for these tenants; as a `snapshot` it only reads, and one moment."""
        async with self._readers.acquire(timeout=CONNECT_SECONDS) as connection:
            try:
                await connection.execute(_beginning(tenants, snapshot=snapshot))
                yield connection
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    async def name_tenants(self, connection: Connection, *tenants: int) -> None:
        """Say which tenants the rest of a transaction is for."""
        await connection.execute(WALL["name_tenants"], ",".join(map(str, tenants)))

    async def epoch(self) -> int:
        """Return which history of the database this is."""
        async with self._readers.acquire(timeout=CONNECT_SECONDS) as connection:
            return int(await connection.fetchval(WALL["epoch"]))

    async def close(self) -> None:
        """Give all connections back. What still runs is waited for, but not for ever."""
        await asyncio.gather(_close(self._committers), _close(self._readers))


async def connect(database_url: str, *, observe: Observer | None = None, readers: int = READERS) -> Database:
    """Open the pools. `observe` is called with each statement that asyncpg has run."""
    settings = {**SESSION, **BY_KEY, **await _role(database_url)}

    async def prepare(connection: asyncpg.Connection) -> None:
        # asyncpg asks what an array type is when it first meets one; better now than in a group.
        await connection.prepare(WALL["arrays"])
        if observe is not None:
            connection.add_query_logger(observe)

    async def pool(size: int) -> asyncpg.Pool:
        return await asyncpg.create_pool(
            database_url,
            min_size=1,
            max_size=size,
            command_timeout=STATEMENT_SECONDS + CONNECT_SECONDS,
            timeout=CONNECT_SECONDS,
            server_settings=settings,
            init=prepare,
            reset=_nothing_to_reset,
        )

    return Database(await pool(COMMITTERS), await pool(readers))


def _beginning(tenants: tuple[int, ...], *, snapshot: bool) -> str:
    """Return what begins a transaction and names its tenants, in one round trip: most transactions are short."""
    kind = "ISOLATION LEVEL REPEATABLE READ READ ONLY" if snapshot else "ISOLATION LEVEL READ COMMITTED"
    named = ",".join(str(int(tenant)) for tenant in tenants)
    return f"BEGIN {kind}; SET LOCAL fieldsync.tenants = '{named}'"


async def _role(database_url: str) -> dict[str, str]:
    """Return the setting that puts row-level security over us, once it is seen to work."""
    connection = await asyncpg.connect(database_url, timeout=CONNECT_SECONDS)
    try:
        me = await connection.fetchrow(WALL["who_am_i"])
        assert me is not None, "whoever is connected has a role"
        if me["has_app_role"]:
            try:
                await connection.execute(WALL["become_app"])
            except asyncpg.InsufficientPrivilegeError:
                pass
            else:
                return {"role": "fieldsync_app"}
        if me["bypasses"]:
            raise WallMissing("the database user bypasses row-level security; run the migrations as this user")
        return {}
    finally:
        await connection.close()


async def _close(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def _nothing_to_reset(connection: asyncpg.Connection) -> None:
    """Skip the round trip that would reset a connection: all that is set here is set locally."""
