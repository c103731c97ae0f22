"""The back door on trial: a connection to the demo vendor, its mapping, and workers that carry to it."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from upstream import breaker, budgets, connections, connector, manifest_file, mapping_file, outbox, plan
from upstream.credentials import Keeper
from upstream.transport import Http
from upstream.worker import Limits, System, Worker

if TYPE_CHECKING:
    from upstream.connections import Connection
    from upstream.manifest import Manifest
    from upstream.mapping import MappingSet
    from upstream.store import Database
    from upstream.worker import Done

KEYS = (b"k" * 32,)


def told(kind: str, *, collection: str = "work_orders", title: str = "record.title", more: str = "") -> str:
    """Return a mapping that makes one object of each record, with its id as business key."""
    return f"""
[[out]]
object = "{kind}"
collection = "{collection}"
{more}
rows = [
  {{ target = "number", source = "record.id" }},
  {{ target = "title", source = "{title}" }},
]
"""


class Trial:
    """What a worker gets its systems and mappings from: one manifest and one mapping for all connections."""

    def __init__(self, database: Database, manifest: str, mapping: str) -> None:
        self.database = database
        self.manifest: Manifest = manifest_file.parse(manifest)
        self.mappings: MappingSet = mapping_file.parse(mapping)
        self.http = Http(allow_loopback=True)
        self.keeper = Keeper(database, KEYS)
        self._budgets = budgets.Local(_now_ms)
        self._breaker = breaker.Local(_now_ms)

    async def system(self, connection: Connection) -> System:
        """Return what the connection is spoken to with."""
        caller = connector.Connector(
            self.manifest,
            connection,
            http=self.http,
            credentials=self.keeper,
            budgets=self._budgets,
            breaker=self._breaker,
        )
        return System(manifest=self.manifest, caller=caller)

    async def mapping(self, _: Connection) -> tuple[Manifest, MappingSet]:
        """Return the manifest and the mapping."""
        return self.manifest, self.mappings

    async def connect(self, tenant_id: int, base_url: str, **options: Any) -> Connection:
        """Make a live connection with the mapping published and credentials given."""
        new = connections.New(
            system="demo", name=f"demo {uuid4()}", manifest="demo", authority="erp", base_url=base_url, mode="live"
        )
        made = await connections.make(self.database, tenant_id, str(uuid4()), new)
        await self.keeper.put(tenant_id, made.connection, {"token": "t"})
        await self.publish(made)
        if options:
            pace = {"in_flight_max": 8, "backfill_share": 10, "backfill_paused": False, **options}
            await connections.set_pace(self.database, tenant_id, made.connection, **pace)
        return await connections.get(self.database, tenant_id, made.connection)

    async def publish(self, connection: Connection, mapping: str | None = None) -> None:
        """Let a mapping hold."""
        if mapping is not None:
            self.mappings = mapping_file.parse(mapping)
        interests = plan.interests(self.mappings)
        version = (connection.mapping_version or 0) + 1
        await connections.publish(
            self.database, connection.tenant_id, connection.connection, mapping_version=version, interests=interests
        )

    def worker(self, limits: Limits | None = None, seen: list[Done] | None = None) -> Worker:
        """Return a worker."""
        observe = seen.append if seen is not None else lambda _: None
        return Worker(self.database, self, limits=limits, observe=observe)

    async def close(self) -> None:
        """Let connections go."""
        await self.http.close()


class Interrupted:
    """The database, with something happening between what is read in a snapshot and what is written after that."""

    def __init__(self, database, meanwhile):
        self.database, self.meanwhile = database, meanwhile

    @asynccontextmanager
    async def transaction(self, *tenants, snapshot=False):
        """Open a transaction; before one that writes, let happen what happens."""
        if not snapshot:
            await self.meanwhile()
        async with self.database.transaction(*tenants, snapshot=snapshot) as session:
            yield session


async def settled(database: Database, tenant_id: int, *, seconds: float = 60.0) -> None:
    """Wait until nothing is left to do: the outbox is empty and no delivery is due or under way."""
    async with asyncio.timeout(seconds):
        while await open_work(database, tenant_id):  # noqa: ASYNC110  (other processes may be the workers)
            await asyncio.sleep(0.05)


async def open_work(database: Database, tenant_id: int) -> int:
    """Return how much is still to be done."""
    async with database.transaction(tenant_id) as session:
        return int(
            await session.fetchval(
                "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL)"
            )
        )


async def states(database: Database, tenant_id: int) -> dict[str, int]:
    """Return how many deliveries are in each state."""
    async with database.transaction(tenant_id) as session:
        rows = await session.fetch("SELECT state, count(*) AS n FROM deliveries GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def rows(database: Database, tenant_id: int, question: str, *arguments: Any) -> list[dict[str, Any]]:
    """Return what a question gives."""
    async with database.transaction(tenant_id) as session:
        return [dict(row) for row in await session.fetch(question, *arguments)]


async def working(worker: Worker, until: Any) -> None:
    """Let a worker run as it does in production, until something is so."""
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    try:
        await until
    finally:
        stop.set()
        await running


async def mark(database: Database, connection: Connection, *keys: tuple[str, str], **how: Any) -> int:
    """Let a connection be told of records."""
    async with database.transaction(connection.tenant_id) as session:
        return await outbox.mark(session, connection.tenant_id, connection.connection, keys, **how)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
