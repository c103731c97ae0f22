"""A worker put together: it does upkeep, works for vendors, and tells how it is to those who watch it.

It stops in order on SIGTERM and SIGINT: what is under way is finished. It may also be killed at any
moment, and its database may go away and come back.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

import asyncpg
import structlog
import uvicorn

from syncserver.app import NotMigrated
from syncserver.commands.commit import Committers
from syncserver.commands.upkeep import LOOK_SECONDS, Upkeep
from syncserver.commands.upstream.inward import Inward
from syncserver.commands.upstream.readings import Readings
from syncserver.commands.upstream.systems import Systems
from syncserver.http.watch import Watch, WorkerMetrics
from syncserver.store import db
from upstream import outbox
from upstream.inbox import Door
from upstream.jsonnet import Pool
from upstream.transport import Http
from upstream.wakeup import Wakeup
from upstream.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from syncserver.settings import Settings

STATEMENTS_PER_TURN_MAX: Final = 12
STALLED_SECONDS: Final = LOOK_SECONDS + STATEMENTS_PER_TURN_MAX * (db.STATEMENT_SECONDS + db.CONNECT_SECONDS)
"""No turn lasts this long, whatever the database does; a worker that has ended none since goes round no more."""

READERS: Final = 12
"""Connections of a worker: what it carries at once has many short transactions."""
WATCHED_GRACE_SECONDS: Final = 1
STOPS: Final = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger()


async def run(settings: Settings) -> None:
    """Work until told to stop. Raises what is wrong at the start, in words for people."""
    stop, metrics = asyncio.Event(), WorkerMetrics()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        listener = _listener(settings, stack)
        database = await db.connect(settings.database_url, readers=READERS)
        stack.push_async_callback(database.close)
        upkeep = Upkeep(database, settings.upkeep, metrics.turned)
        await _check(upkeep)
        watch = Watch(metrics, lambda: _goes_round(upkeep), lambda: upkeep.is_ready)
        await stack.enter_async_context(_watched(watch, listener) if listener else nullcontext())
        for number in STOPS:
            loop.add_signal_handler(number, stop.set)
            stack.callback(loop.remove_signal_handler, number)
        works = await _back_door(settings, database, metrics, stack)
        log.info("worker_started", port=listener.getsockname()[1] if listener else None)
        await asyncio.gather(upkeep.run(stop), *(work.run(stop) for work in works))
        log.info("worker_stopped")


class _Work(Protocol):
    """Something that goes round until it is told to stop."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work."""
        ...


async def _back_door(
    settings: Settings, database: db.Database, metrics: WorkerMetrics, stack: AsyncExitStack
) -> tuple[_Work, ...]:
    """Return what plans and carries for vendors, and what takes theirs in, woken when there is something new."""
    systems = Systems(
        database,
        settings.secret_keys,
        allow_loopback=settings.allow_loopback_vendors,
        redis_url=settings.redis_url,
        exchange_dir=settings.exchange_dir,
        files=settings.files,
    )
    stack.push_async_callback(systems.close)
    jsonnet, committers = stack.enter_context(Pool(settings.code)), Committers(database)
    await committers.start()
    stack.push_async_callback(committers.stop)
    carrier = Worker(database, systems, limits=settings.work, observe=metrics.worked, jsonnet=jsonnet.evaluate)
    inward = _inward(settings, database, systems, committers=committers, jsonnet=jsonnet, metrics=metrics, stack=stack)
    systems.absorb = inward.inbound.take_in

    def wake(said: str) -> None:
        # Nothing is said by a listener that may have missed something.
        if not said or said.startswith(outbox.INWARD):
            inward.wake()
        if not said.startswith(outbox.INWARD):
            carrier.wake(said)

    wakeup = Wakeup(settings.database_url, outbox.CHANNEL, wake)
    await wakeup.start()
    stack.push_async_callback(wakeup.stop)
    return carrier, inward, Readings(database, systems.keeper, metrics, inward.tenants)


def _inward(  # noqa: PLR0913  (what it works with, each by its name)
    settings: Settings,
    database: db.Database,
    systems: Systems,
    *,
    committers: Committers,
    jsonnet: Pool,
    metrics: WorkerMetrics,
    stack: AsyncExitStack,
) -> Inward:
    # The operator's own address may be within; whom a tenant names may not.
    own, others = Http(allow_loopback=True), Http(allow_loopback=settings.allow_loopback_vendors)
    for http in (own, others):
        stack.push_async_callback(http.close)
    return Inward(
        database,
        systems,
        committers.submit,
        door=Door(database, settings.secret_keys, systems.manifest),
        http=others,
        own_http=own,
        keys=settings.secret_keys,
        alarming=settings.alarming,
        jsonnet=jsonnet.evaluate,
        failed=metrics.failed,
    )


def _listener(settings: Settings, stack: AsyncExitStack) -> socket.socket | None:
    """Return where the worker tells how it is; None if nobody is to hear it."""
    if not settings.worker_port:
        return None
    return stack.enter_context(socket.create_server((settings.host, settings.worker_port)))


async def _check(upkeep: Upkeep) -> None:
    try:
        await upkeep.due()
    except asyncpg.UndefinedTableError as exc:
        raise NotMigrated("the database lacks tables of this release: run `fieldsync migrate`") from exc


def _goes_round(upkeep: Upkeep) -> bool:
    return upkeep.looked_at is None or time.monotonic() - upkeep.looked_at < STALLED_SECONDS


class _Server(uvicorn.Server):
    """Leaves signals to the worker, which brings its turn to an end first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def _watched(watch: Watch, listener: socket.socket) -> AsyncIterator[None]:
    """Answer those who watch, until the block ends."""
    config = uvicorn.Config(
        watch,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=WATCHED_GRACE_SECONDS,
    )
    server = _Server(config)
    answering = asyncio.create_task(server.serve(sockets=[listener]), name="watch")
    try:
        yield
    finally:
        server.should_exit = True
        await answering
