"""Connections for trials: a manifest, a connection in the database, and a connector on them.

As a program it is a worker of its own: `python caller.py DATABASE TENANT CONNECTION TASKS [die] [patient]`
makes as many calls at once as it has tasks for each line that it reads, and writes what became of
them. With `die` it is killed at the moment when a new token has come and is not stored yet; with
`patient` its leases are as long as those in production.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from syncserver import logs
from syncserver.store import db, devices
from tests import tied
from upstream import breaker, budgets, connections, manifest_file
from upstream.connections import Connection, New
from upstream.connector import Connector
from upstream.credentials import LEASE_MS, Granted, Keeper
from upstream.transport import Http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEYS = (b"k" * 40,)
HOUSE = """
system = "house"
title = "House"
grade = "A"
base_url = "${config.url}"
verify = "thing"

[auth]
kind = "oauth2_code"
token_url = "${config.url}/token"
authorize_url = "${config.url}/authorize"

[config.url]
title = "Address"

[operations.thing]
method = "GET"
path = "/thing"
effect = "read"
answer = { id = "id" }
"""


async def connected(database: db.Database, url: str, *, tenant: int | None = None, **config: str) -> Connection:
    """Make a connection to a system at an address."""
    if tenant is None:
        tenant = (await devices.create_tenant(database, f"T{uuid.uuid4().hex[:8]}")).tenant_id
    new = New(system="house", name=uuid.uuid4().hex, manifest="openapi", authority="erp", config={"url": url, **config})
    return await connections.make(database, tenant, str(uuid.uuid4()), new)


async def signed_in(keeper: Keeper, connection: Connection, *, seconds: int = 3_600) -> None:
    """Give a connection the first pair of tokens of a house."""
    given = {"client_id": "fieldsync", "client_secret": "house-client-secret-55c1"}
    granted = Granted(token="access-0", refresh_token="refresh-0", seconds=seconds)
    await keeper.put(connection.tenant_id, connection.connection, given, granted)


def connector(
    connection: Connection,
    http: Http,
    keeper: Keeper,
    *,
    text: str = HOUSE,
    clock: Callable[[], int] | None = None,
    counting: budgets.Budgets | None = None,
) -> Connector:
    """Give a connector that counts for itself."""
    now = clock or (lambda: 1_795_000_000_000)
    return Connector(
        manifest_file.parse(text),
        connection,
        http=http,
        credentials=keeper,
        budgets=counting or budgets.Local(now),
        breaker=breaker.Local(now),
        clock=now,
    )


class Doomed(Keeper):
    """A keeper whose process is killed when it has an answer and has not stored it."""

    async def _keep(self, *_answer: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@asynccontextmanager
async def worker(
    database_url: str, connection: Connection, *, tasks: int, die: bool = False, patient: bool = False
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker in a process of its own."""
    words = [
        database_url,
        str(connection.tenant_id),
        connection.connection,
        str(tasks),
        *(["die"] * die),
        *(["patient"] * patient),
    ]
    process = await asyncio.create_subprocess_exec(
        *tied.command("tests.integration.caller", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def told(process: asyncio.subprocess.Process) -> list[str]:
    """Have a worker call, and return what became of its calls."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    await process.stdin.drain()
    line = await process.stdout.readline()
    kinds: list[str] = json.loads(line) if line else []
    return kinds


async def main(database_url: str, tenant: str, connection_id: str, tasks: str, *how: str) -> None:
    """Call once with each task for each line that is read."""
    logs.configure("error")
    database = await db.connect(database_url)
    http = Http(allow_loopback=True)
    keeper = (Doomed if "die" in how else Keeper)(database, KEYS, lease_ms=LEASE_MS if "patient" in how else 1_500)
    connection = await connections.get(database, int(tenant), connection_id)
    calling = connector(connection, http, keeper)
    loop = asyncio.get_running_loop()
    sys.stdout.write(json.dumps(["ready"]) + "\n")
    sys.stdout.flush()
    while await loop.run_in_executor(None, sys.stdin.readline):
        replies = await asyncio.gather(*(calling.call("thing", {}) for _ in range(int(tasks))))
        sys.stdout.write(json.dumps([reply.kind for reply in replies]) + "\n")
        sys.stdout.flush()
    await keeper.close()
    await http.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
