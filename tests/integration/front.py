"""The front door of upstream on trial: a vendor that answers as it is told, a person who connects it, a worker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from syncserver.commands.upstream.systems import Systems
from tests.integration.backdoor import settled, working
from tests.integration.service import DORA, KEYS
from tests.peers import odd_vendor
from tests.peers.odd_vendor import Says
from upstream.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.integration.service import Service
    from tests.peers.odd_vendor import Odd, Seen

MANIFEST = """
system = "books"
title = "Books"
grade = "C"
authority = "erp"
base_url = "https://books.example"
verify = "ping"

[config.company]
title = "Company"
default = "one"

[auth]
kind = "api_key"
name = "X-Key"

[operations.ping]
method = "GET"
path = "/ping"
effect = "read"

[operations.describe]
method = "GET"
path = "/fields"
effect = "read"

[operations.make]
method = "POST"
path = "/jobs"
effect = "write"
body = { kind = "json" }
answer = { id = "id", version = "version" }
handle = { place = "header", name = "X-Once" }

[operations.change]
method = "PUT"
path = "/jobs/${remote.id}"
effect = "write"
body = { kind = "json" }

[operations.read]
method = "GET"
path = "/jobs"
query = { number = "${value.number}" }
effect = "read"
answer = { items = "items", id = "id" }

[targets.job]
write = "WRITE"
create = "make"
update = "change"
find = "read"
marker = "mark"
natural_key = "number"

[discovery.job]
operation = "describe"
fields = "fields"
required = "required"
"""
MAPPING = """
[[out]]
object = "job"
collection = "work_orders"
triggers = { tasks = "work_order_id" }
when = [{ path = "record.title", present = true }]
rows = [
  { target = "number", source = "record.id" },
  { target = "name", source = "record.title" },
]
"""


class Front:
    """A connection as a person has made it, over HTTP."""

    def __init__(self, service: Service, vendor: Odd, client: httpx.AsyncClient, worker: Worker) -> None:
        self.service, self.vendor, self.client, self.worker = service, vendor, client, worker
        self.id = ""
        vendor.reacts = self._answer

    def _answer(self, seen: Seen) -> Says:
        """Answer as the vendor was told to, else as one that takes everything and can be asked nothing about it."""
        if self.vendor.answers and seen.method == "POST":
            return self.vendor.answers.pop(0)
        if seen.path in self.vendor.usual:
            return self.vendor.usual[seen.path]
        return Says(201, {"id": f"J{len(self.vendor.seen)}"}) if seen.method == "POST" else Says(200, {"items": []})

    async def connect(self, write: str = "native", *, mapping: str = MAPPING, live: bool = True) -> dict[str, Any]:
        """Make the connection, publish a mapping, and go live."""
        made = await self.ask("post", "/v1/connections", **new(self.vendor.url, write))
        self.id = made["id"]
        drafted = await self.ask("post", "/v1/mappings", connection=self.id, content=mapping)
        await self.ask("post", f"/v1/mappings/{self.id}/{drafted['version']}/publish")
        if live:
            await self.ask("post", f"/v1/connections/{self.id}/promote", least=0)
        return await self.ask("get", f"/v1/connections/{self.id}")

    async def ask(self, method: str, path: str, /, **body: Any) -> Any:
        """Ask for what has to go well, and return the answer."""
        answer = await self.client.request(method, path, json=body or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, /, **body: Any) -> tuple[int, str]:
        """Ask for what must not go well, and return status and code."""
        answer = await self.client.request(method, path, json=body or None)
        return answer.status_code, answer.json()["code"]

    async def work(self) -> None:
        """Let a worker do all that is to be done."""
        await working(self.worker, settled(self.service.database, self.service.tenant, seconds=20))

    async def letters(self, **query: str) -> list[dict[str, Any]]:
        """Return the dead letters."""
        answer = await self.client.get("/v1/dead_letters", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["items"]

    async def actions(self) -> list[str]:
        """Return what the audit log says was done, oldest first."""
        admin = self.service.client(await self.service.token(DORA, "admin"))
        items = (await admin.get("/v1/audit")).json()["items"]
        own = ("connection_", "credentials_", "mapping_", "dead_letter_", "backfill_")
        return [item["action"] for item in reversed(items) if item["action"].startswith(own)]

    def made(self) -> list[dict[str, Any]]:
        """Return what the vendor was asked to make."""
        return [seen.json for seen in self.vendor.seen if seen.method == "POST"]


def new(url: str, write: str = "native") -> dict[str, Any]:
    """Return what a connection is made of."""
    manifest = MANIFEST.replace("WRITE", write)
    return {"system": "books", "base_url": url, "auth": {"key": "secret-of-the-books"}, "manifest": manifest}


@asynccontextmanager
async def front(service: Service, role: str = "integrator") -> AsyncIterator[Front]:
    """Give the front door to a person of a role."""
    systems = Systems(service.database, KEYS, allow_loopback=True, redis_url=None)
    try:
        async with odd_vendor.running() as vendor:
            client = service.client(await service.token(DORA, role))
            yield Front(service, vendor, client, Worker(service.database, systems))
    finally:
        await systems.close()
