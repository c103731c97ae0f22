"""The whole service on a real socket: a server, a tenant with people, and clients that hold tokens."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import msgspec
import uvicorn

from replication.packing import Compression
from replication.wire import Limits
from syncserver.catalogs import source
from syncserver.cli.serving import configured
from syncserver.commands import catalog
from syncserver.settings import Settings
from syncserver.store import devices, people
from syncserver.store.catalogs import Catalogs
from syncserver.store.people import Grant, Person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from syncserver.store.db import Database

ANA = str(UUID(int=0xA0A))
BEN = str(UUID(int=0xBE0))
DORA = str(UUID(int=0xD00))
TECHNICIANS = {ANA: "Ana", BEN: "Ben"}
ROLES = ("technician", "dispatcher", "integrator", "admin", "readonly", "worker")
LIMITS = Limits(tx=50)
USUAL = Compression()
KEYS = (b"k" * 32,)


def uid(number: int) -> str:
    """Return an id that is easy to tell apart."""
    return str(UUID(int=0x77_0000 + number))


@asynccontextmanager
async def serving(
    database_url: str,
    limits: Limits = LIMITS,
    compression: Compression = USUAL,
    *,
    keys: tuple[bytes, ...] = KEYS,
    body_seconds_max: int = 30,
    connections_max: int = 100,
) -> AsyncIterator[str]:
    """Serve on a free port until the block ends."""
    settings = Settings(
        database_url=database_url,
        secret_keys=keys,
        limits=limits,
        compression=compression,
        allow_loopback_vendors=True,
        body_seconds_max=body_seconds_max,
        connections_max=connections_max,
    )
    config = configured(settings)
    config.timeout_graceful_shutdown = 1
    server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as on the sockets that asyncio itself opens
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        assert not running.done(), "the server did not start"
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await running
    listener.close()


class Service:
    """One running service and one tenant of it."""

    def __init__(self, url: str, database: Database) -> None:
        self.url = url
        self.database = database
        self.tenant = 0
        self.clients: list[httpx.AsyncClient] = []

    async def add_tenant(self, name: str = "Northwind Plumbing") -> int:
        """Make a tenant with two technicians and a dispatcher."""
        self.tenant = (await devices.create_tenant(self.database, name)).tenant_id
        await catalog.publish(self.database, Catalogs(), self.tenant, source.text(None))
        for person, called in TECHNICIANS.items():
            await people.put_person(self.database, self.tenant, Person(person, called, "technician"))
        await people.put_person(self.database, self.tenant, Person(DORA, "Dora", "dispatcher"))
        return self.tenant

    async def publish(self, *changes: tuple[str, str]) -> int:
        """Put the shipped catalogue in force with some of its words changed, and return its version."""
        text = source.text(None)
        for find, put in changes:
            assert text.count(find) >= 1, find
            text = text.replace(find, put, 1)
        return (await catalog.publish(self.database, Catalogs(), self.tenant, text)).version

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """Return a client that shows a token."""
        given = headers | ({"authorization": f"Bearer {token}"} if token else {})
        made = httpx.AsyncClient(base_url=self.url, headers=given, timeout=30)
        self.clients.append(made)
        return made

    async def token(self, person: str = DORA, role: str | None = None) -> str:
        """Return a token of a person, in a role of its own if one is given."""
        return await people.create_token(self.database, self.tenant, Grant(person=person, role=role))

    async def office(self) -> Desk:
        """Return the dispatcher at a desk."""
        return Desk(self.client(await self.token()))

    async def device(self, person: str = ANA) -> Phone:
        """Enrol a device of a technician."""
        code = await devices.create_code(self.database, self.tenant, person)
        answer = await self.client().post("/v1/devices/enrol", json={"code": code, "name": "phone"})
        assert answer.status_code == 200, answer.text
        enrolled = answer.json()
        return Phone(self.client(enrolled["token"]), enrolled)

    async def close(self) -> None:
        """Close what was opened."""
        for client in self.clients:
            await client.aclose()


class Desk:
    """A dispatcher who writes by REST."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def create(self, number: int, collection: str = "work_orders", **fields: Any) -> dict[str, Any]:
        """Make a record and return what was answered."""
        answer = await self.client.post(f"/v1/{collection}", json={"id": uid(number), **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def change(self, number: int, rev: int, **fields: Any) -> dict[str, Any]:
        """Change a work order that was shown at a rev."""
        answer = await self.client.patch(
            f"/v1/work_orders/{uid(number)}", json=fields, headers={"if-match": f'"{rev}"'}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def show(self, number: int, collection: str = "work_orders") -> dict[str, Any]:
        """Return a record."""
        answer = await self.client.get(f"/v1/{collection}/{uid(number)}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def conflicts(self, **query: str) -> list[dict[str, Any]]:
        """Return conflict entries, newest first."""
        return (await self.client.get("/v1/conflicts", params=query)).json()["items"]


class Phone:
    """A device: it numbers its mutations, keeps its cursor, and knows the revs that it was told."""

    def __init__(self, client: httpx.AsyncClient, enrolled: dict[str, Any]) -> None:
        self.client = client
        self.enrolled = enrolled
        self.cursor: str | None = None
        self.n = 0
        self.held: dict[str, dict[str, Any]] = {}

    def edit(self, number: int, **rest: Any) -> dict[str, Any]:
        """Return the next mutation, with the base that the device holds."""
        self.n += 1
        rev = self.held.get(uid(number), {}).get("rev", 0)
        given = {"n": self.n, "op": "set", "collection": "work_orders", "id": uid(number), "base": rev, "rev": rev}
        return given | rest

    async def push(self, *mutations: dict[str, Any], **head: Any) -> httpx.Response:
        """Send mutations."""
        given = {"epoch": self.enrolled.get("epoch"), "schema": 1, "verdicts_seen": 0, "cursor": self.cursor}
        clock = {"wall_ms": 1_700_000_000_000, "mono_ms": 5, "zone": "Europe/Zurich"}
        content = json.dumps(given | {"clock": clock, "mutations": mutations} | head)
        return await self.client.post("/v1/sync/push", content=content)

    async def settled(self, *mutations: dict[str, Any], **head: Any) -> dict[str, Any]:
        """Send mutations and return the answer."""
        answer = await self.push(*mutations, **head)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def pull(self, **asked: Any) -> dict[str, Any]:
        """Take one page and keep what it says."""
        answer = await self.client.post("/v1/sync/pull", json={"cursor": self.cursor, **asked})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        self.cursor = page["cursor"]
        for commit in page["commits"]:
            for change in commit["changes"]:
                self.take(change)
        return page

    def take(self, change: dict[str, Any]) -> None:
        """Keep or drop a record."""
        if change["op"] in ("put", "enter"):
            self.held[change["id"]] = {"rev": change["rev"], **change["fields"]}
        else:
            self.held.pop(change["id"], None)


def verdicts(answer: dict[str, Any]) -> list[str]:
    """Return the verdict of each mutation."""
    return [verdict["verdict"] for verdict in answer["verdicts"]]


def codes(answer: dict[str, Any]) -> list[str | None]:
    """Return the code of each mutation."""
    return [verdict.get("code") for verdict in answer["verdicts"]]


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of a problem document, once it is seen to be one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["title"]
    assert told["detail"]
    return answer.status_code, told["code"]


def zipped(content: Any) -> bytes:
    """Return JSON, compressed."""
    return gzip.compress(msgspec.json.encode(content))
