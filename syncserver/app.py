"""The only place where the parts are put together: settings in, an application out."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

import asyncpg
from litestar import Litestar

from replication import catalog_file
from syncserver.catalogs import source
from syncserver.commands.absorb import Hooks
from syncserver.commands.access import Access
from syncserver.commands.audit import AuditLog
from syncserver.commands.commit import Committers
from syncserver.commands.held import Held
from syncserver.commands.office import Office
from syncserver.commands.pull import Pulls
from syncserver.commands.push import Pushes
from syncserver.commands.review import Review
from syncserver.commands.seen import SeenVerdicts
from syncserver.commands.signin import SignIns
from syncserver.commands.upstream.authorizing import Authorizing
from syncserver.commands.upstream.canaries import Canaries
from syncserver.commands.upstream.connections import Connections
from syncserver.commands.upstream.documents import Documents
from syncserver.commands.upstream.endpoints import Endpoints
from syncserver.commands.upstream.incoming import Inboxes
from syncserver.commands.upstream.letters import Letters
from syncserver.commands.upstream.mappings import Mappings
from syncserver.commands.upstream.once import Once
from syncserver.commands.upstream.receipts import Receipts
from syncserver.commands.upstream.systems import Systems
from syncserver.http import (
    audit,
    auth,
    canaries,
    catalog,
    conflicts,
    connections,
    dead_letters,
    deliveries,
    devices,
    documents,
    held,
    hooks,
    inboxes,
    mappings,
    metrics,
    negotiation,
    observe,
    office,
    ops,
    parts,
    problems,
    receipts,
    signin,
    sync,
    webhooks,
)
from syncserver.notify import Hints
from syncserver.oidc.fetch import Fetcher
from syncserver.oidc.issuers import Issuers
from syncserver.store import db
from syncserver.store.catalogs import Catalogs
from upstream import sealing
from upstream.inbox import Door
from upstream.jsonnet import Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from syncserver.settings import Settings

    Lifespan: TypeAlias = Callable[[Litestar], AbstractAsyncContextManager[None]]

ROUTERS: Final = (
    ops.ROUTER,
    sync.ROUTER,
    catalog.ROUTER,
    devices.ROUTER,
    conflicts.ROUTER,
    held.ROUTER,
    signin.ROUTER,
    audit.ROUTER,
    connections.ROUTER,
    documents.ROUTER,
    canaries.ROUTER,
    deliveries.ROUTER,
    dead_letters.ROUTER,
    mappings.ROUTER,
    receipts.ROUTER,
    hooks.ROUTER,
    inboxes.ROUTER,
    webhooks.ROUTER,
    office.ROUTER,
)


class NotMigrated(Exception):
    """The database does not have our tables yet: run `fieldsync migrate`."""

    code: ClassVar[str] = "not_migrated"


def create(settings: Settings) -> observe.Observed:
    """Return the application. It connects when it is started, and lets go when it is stopped."""
    counters = metrics.Metrics()

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            parts.put(app, await assemble(settings, counters, stack))
            yield

    return observe.Observed(framework(settings, lifespan), counters)


def framework(settings: Settings, *lifespans: Lifespan) -> Litestar:
    """Return the routes with their guard and their problem documents."""
    return Litestar(
        list(ROUTERS),
        lifespan=list(lifespans),
        guards=[auth.guard, negotiation.guard],
        exception_handlers={**problems.HANDLERS, **dict.fromkeys(db.TRANSIENT, problems.on_database_away)},
        request_max_body_size=max(
            settings.limits.bytes,
            settings.limits.compressed_bytes,
            settings.hook_bytes_max,
            settings.document_bytes_max,
        ),
        openapi_config=None,
        logging_config=None,
    )


async def check(settings: Settings) -> None:
    """See that the database can be used and the catalogue read; raises what is wrong in words for people."""
    catalog_file.parse(source.text(settings.catalog))
    database = await db.connect(settings.database_url)
    try:
        await _epoch(database)
    finally:
        await database.close()


async def assemble(settings: Settings, counters: metrics.Metrics, stack: AsyncExitStack) -> parts.Parts:
    """Connect and start what works in the background; the stack ends it in the opposite order."""
    database = await db.connect(settings.database_url)
    stack.push_async_callback(database.close)
    epoch = await _epoch(database)
    catalogs, hints = Catalogs(), Hints(settings.database_url)
    committers, pulls, seen = (
        Committers(database),
        Pulls(database, hints, catalogs, sealed_by=sealing.key_id(settings.secret_keys[0])),
        SeenVerdicts(database),
    )
    for worker in (committers, pulls, seen, hints):
        await worker.start()
        stack.push_async_callback(worker.stop)
    access, desk = Access(database), Office(database, committers, catalogs)
    systems, jsonnet = _systems(settings, database, stack)
    door = Door(database, settings.secret_keys, systems.manifest)
    return parts.Parts(
        access=access,
        office=desk,
        review=Review(database, desk),
        held=Held(database, desk, settings.limits),
        pushes=Pushes(database, committers, access, seen, keys=settings.secret_keys, epoch=epoch),
        pulls=pulls,
        signins=_signins(settings, database, stack),
        audit=AuditLog(database),
        connections=Connections(database, systems, settings.document_bytes_max),
        documents=Documents(database, systems, settings.document_bytes_max),
        canaries=Canaries(database, systems),
        letters=Letters(database, systems),
        mappings=Mappings(database, systems, desk, jsonnet),
        receipts=Receipts(database, desk, systems),
        authorizing=Authorizing(database, systems, settings.secret_keys, _now_ms),
        once=Once(database),
        hooks=Hooks(door, counters.hooked),
        inboxes=Inboxes(database, door, systems),
        endpoints=Endpoints(database, settings.secret_keys, allow_plain=settings.allow_loopback_vendors),
        hook_bytes_max=settings.hook_bytes_max,
        document_bytes_max=settings.document_bytes_max,
        body_seconds_max=settings.body_seconds_max,
        metrics=counters,
        limits=settings.limits,
        compression=settings.compression,
        epoch=epoch,
        shipped=catalog_file.parse(source.text(settings.catalog)),
        now_ms=_now_ms,
        is_ready=lambda: _answers(database),
    )


def _signins(settings: Settings, database: db.Database, stack: AsyncExitStack) -> SignIns:
    fetcher = Fetcher(allow_loopback=settings.allow_loopback_vendors)
    stack.push_async_callback(fetcher.close)
    issuers = Issuers(fetcher, allow_loopback=settings.allow_loopback_vendors)
    return SignIns(database, fetcher, issuers, keys=settings.secret_keys, clock=time.time)


def _systems(settings: Settings, database: db.Database, stack: AsyncExitStack) -> tuple[Systems, Pool]:
    """Return the way out to the systems of others, and who runs the code of mappings."""
    systems = Systems(
        database,
        settings.secret_keys,
        allow_loopback=settings.allow_loopback_vendors,
        redis_url=settings.redis_url,
        exchange_dir=settings.exchange_dir,
        files=settings.files,
    )
    stack.push_async_callback(systems.close)
    return systems, stack.enter_context(Pool(settings.code))


def _now_ms() -> int:
    return int(time.time() * 1_000)


async def _epoch(database: db.Database) -> str:
    try:
        return str(await database.epoch())
    except asyncpg.UndefinedTableError as exc:
        raise NotMigrated("the database has no tables yet: run `fieldsync migrate` with the same settings") from exc


async def _answers(database: db.Database) -> bool:
    try:
        await database.epoch()
    except db.TRANSIENT:
        return False
    return True
