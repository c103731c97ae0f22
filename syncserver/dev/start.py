"""`fieldsync dev`: everything for a desk in one command, and all of it gone when it ends.

The databases and the server are children under guards, so that they end with this process even
if it is killed. It does not end with the terminal that started it: a hang-up is ignored.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import msgspec

from syncserver import settings
from syncserver.catalogs import source
from syncserver.dev import folder, server, tenants
from syncserver.services import postgres, valkey

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from syncserver.services.process import Guarded
    from syncserver.services.valkey import RunningValkey

LOOK_SECONDS: Final = 0.1
RESTART_SECONDS: Final = 0.5
VERSION: Final = "0.1.0"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    port: int
    data: Path
    fresh: bool
    seed: bool
    catalog: Path | None
    ready_file: Path | None


class _Stopped(Exception):
    """Somebody asked us to end."""


def run(options: Options) -> None:
    """Start everything, say where it is, and keep it running until told to stop."""
    _listen()
    with ExitStack() as stack:
        try:
            _run(options, stack)
        except _Stopped:
            _say("stopping")


def _listen() -> None:
    def stop(_number: int, _frame: object) -> None:
        raise _Stopped

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _run(options: Options, stack: ExitStack) -> None:
    began = time.monotonic()
    stack.enter_context(folder.claimed(options.data, fresh=options.fresh))
    if options.ready_file is not None:
        stack.callback(options.ready_file.unlink, missing_ok=True)
        options.ready_file.unlink(missing_ok=True)
    database = postgres.start(options.data, url=os.environ.get("FIELDSYNC_DATABASE_URL"))
    stack.enter_context(database)
    cache = valkey.start(options.data, url=os.environ.get("FIELDSYNC_REDIS_URL"))
    if cache is not None:
        stack.enter_context(cache)
    _say(f"PostgreSQL {database.version} and {_named(cache)} are up")
    handed = asyncio.run(
        tenants.prepare(
            database.url,
            options.data / folder.TOKENS,
            source.text(options.catalog),
            work=options.seed,
            progress=_progress,
        )
    )
    port = options.port or _free_port()
    facts: dict[str, Any] = {
        "url": f"http://127.0.0.1:{port}",
        "version": VERSION,
        "server_pid": None,
        "worker_pid": None,
        "database_url": database.url,
        "redis_url": cache.url if cache else None,
        "tenants": handed,
    }
    _serve(options, facts, _environment(options, facts, port), began)


def _named(cache: RunningValkey | None) -> str:
    return f"Valkey {cache.version}" if cache else "no Valkey (wake-ups stay inside one process)"


def _environment(options: Options, facts: Mapping[str, Any], port: int) -> dict[str, str]:
    environment = {
        "FIELDSYNC_DATABASE_URL": facts["database_url"],
        "FIELDSYNC_HOST": "127.0.0.1",
        "FIELDSYNC_PORT": str(port),
        "FIELDSYNC_STATE_DIR": str(options.data),
        "FIELDSYNC_SECRET_KEYS": settings.keep_secret_keys(options.data),
        "PYTHONUNBUFFERED": "1",
    }
    if facts["redis_url"]:
        environment["FIELDSYNC_REDIS_URL"] = facts["redis_url"]
    return environment


def _serve(options: Options, facts: dict[str, Any], environment: dict[str, str], began: float) -> None:
    """Keep a server running; one that dies is begun again at the same address."""
    log = options.data / "server.log"
    while True:
        running = server.start(facts["url"], environment, log)
        try:
            _tell(options, {**facts, "server_pid": running.pid}, time.monotonic() - began)
            _watch(running)
        finally:
            running.stop()
        _say("the server ended; starting it again")
        time.sleep(RESTART_SECONDS)
        began = time.monotonic()


def _watch(running: Guarded) -> None:
    while running.alive():
        time.sleep(LOOK_SECONDS)


def _tell(options: Options, facts: dict[str, Any], seconds: float) -> None:
    if options.ready_file is not None:
        folder.write(options.ready_file, json.dumps(facts, indent=2))
    first = facts["tenants"][0]
    technician = first["technicians"][0]
    _say(
        f"ready after {seconds:.1f} s: {facts['url']} (server {facts['server_pid']})\n"
        f"  routes               {facts['url']}/docs\n"
        f"  tenant               {first['id']}, {first['name']}\n"
        f"  dispatcher's token   {first['office_token']}\n"
        f"  {technician['name']}'s code    {technician['enrolment_code']}\n"
        f"  state                {options.data}\n"
        "  Ctrl-C ends it all"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _progress(line: int) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r  work orders: line {line}")
        sys.stdout.flush()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
