"""`fieldsync serve`, `fieldsync work` and `fieldsync migrate`: what runs in production."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog
import uvicorn

from replication.catalog_file import BadCatalog
from syncserver import app, logs, settings, worker
from syncserver.cli import outcome
from syncserver.store import migrate as migrations
from syncserver.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

GRACE_SECONDS: Final = 5
"""How long requests may still run when the server is told to stop."""

KEEP_ALIVE_SECONDS: Final = 75
DONE, FAILED = 0, 1

log = structlog.get_logger()
UNREACHABLE: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""Somebody has to look at the database's address, its state or our rights there."""


def serve() -> int:
    """Answer devices and the office until told to stop. Settings come from FIELDSYNC_… variables."""
    try:
        given = settings.load()
        asyncio.run(app.check(given))
    except (settings.SettingsInvalid, app.NotMigrated, BadCatalog, StoreError, *UNREACHABLE) as error:
        return _fail(error)
    logs.configure(given.log_level)
    warn()
    server = uvicorn.Server(configured(given))
    server.run()
    return DONE if server.started else FAILED


def configured(given: settings.Settings) -> uvicorn.Config:
    """Return how the server listens. Whoever comes when all connections are in use is answered with 503."""
    return uvicorn.Config(
        app.create(given),
        host=given.host,
        port=given.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=given.connections_max,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def work() -> int:
    """Do what recurs for every tenant until told to stop. As many as you like may run at once.

    Settings come from FIELDSYNC_… variables. At FIELDSYNC_WORKER_PORT it answers /health, /ready and /metrics.
    """
    try:
        given = settings.load()
        logs.configure(given.log_level)
        warn()
        asyncio.run(worker.run(given))
    except (settings.SettingsInvalid, app.NotMigrated, StoreError, *UNREACHABLE) as error:
        return _fail(error)
    return DONE


def warn(environ: Mapping[str, str] = os.environ) -> None:
    """Tell of settings that nobody reads, by their names: one that was mistyped would be missed otherwise."""
    if names := settings.unknown(environ):
        log.warning("settings_unknown", names=names)


def migrate() -> int:
    """Bring the database to this release's tables. Runs once however many start it."""
    try:
        applied = asyncio.run(migrations.migrate(settings.database_url()))
    except (settings.SettingsInvalid, StoreError, *UNREACHABLE) as error:
        return _fail(error)
    for name in applied:
        sys.stdout.write(f"applied {name}\n")
    sys.stdout.write(f"{len(applied)} migrations applied\n")
    return DONE


def _fail(error: Exception) -> int:
    sys.stderr.write(f"{outcome.sentence(error)}\n")
    return FAILED
