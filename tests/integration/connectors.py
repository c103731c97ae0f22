"""Connectors on trial: a vendor that answers as it is told, a way out, and manifests to go by."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from syncserver.store import db
from tests.integration import caller
from tests.integration.test_budgets import Clock
from tests.peers import odd_vendor
from tests.peers.odd_vendor import Odd
from tests.services import create_database, drop_database
from upstream import breaker, budgets, manifest_file
from upstream.connections import Connection
from upstream.connector import Connector
from upstream.credentials import Keeper
from upstream.transport import Http

HEAD = """
system = "odd"
title = "Odd"
grade = "A"
base_url = "${config.url}"
verify = "ping"

[config.url]
title = "Address"

[operations.ping]
method = "GET"
path = "/ping"
effect = "read"

"""
KEY = HEAD + '[auth]\nkind = "api_key"\nname = "X-Api-Key"\n'


@pytest.fixture(scope="module")
async def database(postgres_url: str, template: str) -> AsyncIterator[db.Database]:
    """Give one database to all tests of this file: each makes a tenant of its own."""
    url = await create_database(postgres_url, template=template)
    opened = await db.connect(url)
    yield opened
    await opened.close()
    await drop_database(url, server_url=postgres_url)


@pytest.fixture
async def odd() -> AsyncIterator[Odd]:
    """Give a vendor that answers as it is told."""
    async with odd_vendor.running() as vendor:
        yield vendor


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """Give the way out."""
    made = Http(allow_loopback=True, answer_bytes_max=100_000)
    yield made
    await made.close()


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


class Trial:
    """Makes connectors for manifests."""

    def __init__(self, database: db.Database, http: Http, clock: Clock) -> None:
        self.database, self.http, self.clock = database, http, clock
        self.keeper = Keeper(database, caller.KEYS)
        self.counting: budgets.Budgets = budgets.Local(clock)
        self.remembering = breaker.Local(clock)
        self.connection: Connection | None = None

    async def connector(self, text: str, url: str, **given: str) -> Connector:
        """Give a connector with the manifest, at the address, with these credentials."""
        self.connection = await caller.connected(self.database, url)
        await self.keeper.put(self.connection.tenant_id, self.connection.connection, given or {"key": "key-9c41"})
        return self.again(text)

    def again(self, text: str) -> Connector:
        """Give another connector of the same connection."""
        assert self.connection is not None
        return Connector(
            manifest_file.parse(text),
            self.connection,
            http=self.http,
            credentials=self.keeper,
            budgets=self.counting,
            breaker=self.remembering,
            clock=self.clock,
        )


@pytest.fixture
async def trial(database: db.Database, http: Http, clock: Clock) -> AsyncIterator[Trial]:
    """Give a maker of connectors."""
    made = Trial(database, http, clock)
    yield made
    await made.keeper.close()


MEANS = (
    KEY
    + """
[operations.read]
method = "GET"
path = "/thing"
effect = "read"
answer = { id = "id" }

[operations.write]
method = "POST"
path = "/thing"
effect = "write"
body = { kind = "json" }
seconds = 0.4

[[errors]]
kind = "throttled"
status = [403]
path = "0.errorCode"
equals = ["REQUEST_LIMIT_EXCEEDED"]
wait_seconds = 30

[[errors]]
kind = "duplicate"
path = "0.errorCode"
contains = "DUPLICATE"

[[errors]]
kind = "throttled"
path = "errors.0.extensions.code"
equals = ["THROTTLED"]

[[errors]]
kind = "data"
path = "errors"

[[errors]]
kind = "conflict"
status = [400]
contains = "5010"

[[errors]]
kind = "transient"
status = [503]

[error]
code = "0.errorCode"
message = "0.message"
fields = "0.fields"
"""
)
