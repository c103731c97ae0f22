"""`fieldsync dev`: everything for a desk in one command, and all of it gone when it ends.

The databases and the server are children under guards, so that they end with this process even
if it is killed. It does not end with the terminal that started it: a hang-up is ignored.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import msgspec

from syncserver import settings
from syncserver.dev import folder, server, tenants
from syncserver.dev.databases import Databases
from syncserver.dev.errors import ServerDied
from syncserver.dev.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from syncserver.services.process import Guarded
    from syncserver.services.valkey import RunningValkey

LOOK_SECONDS: Final = 0.1
RESTART_SECONDS: Final = 0.5
VERSION: Final = "0.1.0"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line. `catalog` is the text of one."""

    port: int
    data: Path
    fresh: bool
    seed: bool
    catalog: str
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
    port = server.free_port(options.port)
    stack.enter_context(folder.claimed(options.data, fresh=options.fresh))
    if options.ready_file is not None:
        stack.callback(options.ready_file.unlink, missing_ok=True)
        options.ready_file.unlink(missing_ok=True)
    running = stack.enter_context(Databases(options.data))
    _say(f"PostgreSQL {running.postgres.version} and {_named(running.valkey)} are up")
    handed = asyncio.run(
        tenants.prepare(
            running.postgres.url,
            options.data / folder.TOKENS,
            options.catalog,
            work=options.seed,
            progress=_progress,
        )
    )
    _serve(options, port, running, handed, began)


def _named(cache: RunningValkey | None) -> str:
    return f"Valkey {cache.version}" if cache else "no Valkey (wake-ups stay inside one process)"


def _facts(port: int, databases: Databases, handed: tenants.Handed) -> dict[str, Any]:
    return {
        "url": f"http://{server.HOST}:{port}",
        "version": VERSION,
        "server_pid": None,
        "worker_pid": None,
        "database_url": databases.postgres.url,
        "redis_url": databases.valkey.url if databases.valkey else None,
        "tenants": handed,
    }


def _environment(options: Options, facts: Mapping[str, Any], port: int) -> dict[str, str]:
    environment = {
        "FIELDSYNC_DATABASE_URL": facts["database_url"],
        "FIELDSYNC_HOST": server.HOST,
        "FIELDSYNC_PORT": str(port),
        "FIELDSYNC_STATE_DIR": str(options.data),
        "FIELDSYNC_SECRET_KEYS": settings.keep_secret_keys(options.data),
        "PYTHONUNBUFFERED": "1",
    }
    if "FIELDSYNC_EXCHANGE_DIR" not in os.environ:
        environment["FIELDSYNC_EXCHANGE_DIR"] = str(folder.exchange(options.data))
    if facts["redis_url"]:
        environment["FIELDSYNC_REDIS_URL"] = facts["redis_url"]
    return environment


def _serve(options: Options, port: int, databases: Databases, handed: tenants.Handed, began: float) -> None:
    """Keep a server running; one that dies, or whose database does, is begun again at the same address."""
    log, beside = options.data / "server.log", options.data / "worker.log"
    lives, others = server.Lives(log), server.Lives(beside, "worker")
    while True:
        facts, lived = _facts(port, databases, handed), 0.0
        environment = _environment(options, facts, port)
        try:
            running = server.start(port, environment, log)
        except ServerDied:
            if not databases.dead():
                raise
        else:
            ready = time.monotonic()
            try:
                with Worker(environment, beside, others) as worker:
                    facts |= {"server_pid": running.pid, "worker_pid": worker.pid}
                    _tell(options, facts, ready - began)
                    _watch(options, facts, running, worker, databases)
            finally:
                lived = time.monotonic() - ready
                running.stop()
        lives.ended(lived)
        began = time.monotonic()
        _mend(databases)


def _watch(options: Options, facts: dict[str, Any], running: Guarded, worker: Worker, databases: Databases) -> None:
    """Return when the server or a database has ended; a worker that ends is begun again."""
    while running.alive() and not databases.dead():
        time.sleep(LOOK_SECONDS)
        if not worker.alive() and not databases.dead():
            _say("the worker ended; starting it again")
            time.sleep(RESTART_SECONDS)
            worker.again()
            _write(options, facts | {"worker_pid": worker.pid})


def _mend(databases: Databases) -> None:
    """Say what has ended, and start the databases among it again."""
    if dead := databases.dead():
        _say(f"{' and '.join(dead)} ended; starting again")
        databases.revive()
    else:
        _say("the server ended; starting it again")
        time.sleep(RESTART_SECONDS)


def _tell(options: Options, facts: dict[str, Any], seconds: float) -> None:
    _write(options, facts)
    first = facts["tenants"][0]
    technician = first["technicians"][0]
    _say(
        f"ready after {seconds:.1f} s: {facts['url']} (server {facts['server_pid']}, worker {facts['worker_pid']})\n"
        f"  routes               {facts['url']}/docs\n"
        f"  tenant               {first['id']}, {first['name']}\n"
        f"  dispatcher's token   {first['office_token']}\n"
        f"  administrator's      {first['admin_token']} (may connect systems)\n"
        f"  {technician['name']}'s code    {technician['enrolment_code']}\n"
        f"  all tokens           {options.data / folder.TOKENS}\n"
        f"  state                {options.data}\n"
        f"  other commands need  FIELDSYNC_DATABASE_URL={facts['database_url']}\n"
        f"  those on systems too FIELDSYNC_SECRET_KEYS=$(cat {options.data / settings.KEYS_FILE})\n"
        "  Ctrl-C ends it all"
    )


def _write(options: Options, facts: Mapping[str, Any]) -> None:
    if options.ready_file is not None:
        folder.write(options.ready_file, json.dumps(facts, indent=2))


def _progress(line: int) -> None:
    if sys.stdout.isatty():
        sys.stdout.write(f"\r  work orders: line {line}")
        sys.stdout.flush()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
