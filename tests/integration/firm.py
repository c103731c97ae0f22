"""A business with its systems as they are shipped, against stand-ins that hold us to their contracts."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
from joserfc.jwk import RSAKey

from tests.integration.backdoor import KEYS, settled
from tests.peers.gusto import Gusto
from tests.peers.quickbooks import QuickBooks
from tests.peers.salesforce import Salesforce
from upstream import breaker, budgets, connections, connector, inbox, mapping_file, plan, remotes, vendors
from upstream.absorbing import Absorber
from upstream.contexts import Catalogues
from upstream.credentials import Granted, Keeper
from upstream.inbound import Inbound
from upstream.polling import Polling
from upstream.transport import Http
from upstream.verify import Incoming
from upstream.worker import System, Worker

if TYPE_CHECKING:
    from tests.integration.world import World
    from tests.peers.vendor.company import Company
    from upstream.connections import Connection
    from upstream.manifest import Manifest
    from upstream.mapping import MappingSet

PAUSE_SECONDS = 0.1
RATE = "95"
KEY = RSAKey.generate_key(2048)
"""Made once: it takes a while."""
HOOK_SECRET = "shared-with-the-vendor"
CLASSES = {"gusto": "payroll", "quickbooks": "erp", "salesforce": "crm"}


class Firm:
    """The worker's side of a tenant with connections to some systems, each with its standard mapping."""

    def __init__(self, world: World, *, seconds: float = 10.0) -> None:
        self.world = world
        self.seconds = seconds
        """How long an answer is waited for."""
        self.database = world.database
        self.http = Http(allow_loopback=True)
        self.keeper = Keeper(world.database, KEYS)
        self.budgets = budgets.Local(_now_ms)
        self.breaker = breaker.Local(_now_ms)
        self.ties: dict[str, Connection] = {}
        self.mappings: dict[str, MappingSet] = {}
        self.door = inbox.Door(world.database, KEYS, lambda connection: self.manifest(connection.manifest))
        absorber = Absorber(world.database, world.committers.submit, Catalogues())
        self.inbound = Inbound(world.database, str(uuid4()), self, absorber)
        self.polling = Polling(world.database, str(uuid4()), self)

    async def tie(self, company: Company, **change: str) -> Connection:
        """Make a live connection to a company. `change` are replacements in the text of its mapping."""
        name, tenant = company.system, self.world.tenant
        text = vendors.mappings(name)["standard"]
        for old, new in change.items():
            assert old in text
            text = text.replace(old, new)
        self.mappings[name] = mapping_file.parse(text)
        new = connections.New(
            system=name,
            name=name,
            manifest=name,
            authority=vendors.manifest(name).authority,
            base_url=company.url,
            config=_config(company),
            mode="live",
        )
        made = await connections.make(self.database, tenant, str(uuid4()), new)
        await self._sign_in(company, made)
        if vendors.manifest(name).webhook is not None:
            async with self.database.transaction(tenant) as session:
                await self.door.put_secret(session, tenant, made.connection, HOOK_SECRET)
        interests = plan.interests(self.mappings[name])
        await connections.publish(self.database, tenant, made.connection, mapping_version=1, interests=interests)
        self.ties[name] = await connections.get(self.database, tenant, made.connection)
        return self.ties[name]

    async def system(self, connection: Connection) -> System:
        """Return what a connection is spoken to with."""
        manifest = self.manifest(connection.manifest)
        plain = connector.Connector(
            manifest,
            connection,
            http=self.http,
            credentials=self.keeper,
            budgets=self.budgets,
            breaker=self.breaker,
        )
        caller = vendors.dressed(connection.manifest, plain, connection.config)
        return System(manifest=manifest, caller=caller, absorb=self.inbound.take_in)

    async def mapping(self, connection: Connection) -> tuple[Manifest, MappingSet]:
        """Return the manifest and the mapping of a connection."""
        return self.manifest(connection.manifest), self.mappings[connection.manifest]

    def manifest(self, name: str) -> Manifest:
        """Return a manifest as it is shipped, but for the patience."""
        shipped = vendors.manifest(name)
        hurried = {
            each: msgspec.structs.replace(operation, seconds=self.seconds)
            for each, operation in shipped.operations.items()
        }
        return msgspec.structs.replace(shipped, operations=hurried)

    async def work(self, *, rounds: int = 200) -> bool:
        """Carry what is due, and what comes due, until nothing is left that ends by itself; say whether so."""
        worker = Worker(self.database, self)
        for _ in range(rounds):
            await worker.drain()
            if not await self._sooner():
                return True
            await asyncio.sleep(PAUSE_SECONDS)
        return False

    async def _sooner(self) -> int:
        """Let what waits be due now; return how much that is."""
        async with self.database.transaction(self.world.tenant) as session:
            waiting = await session.fetchval("SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL")
            await session.execute("UPDATE deliveries SET due_at = least(due_at, now()) WHERE due_at IS NOT NULL")
            return int(waiting)

    async def look_again(self) -> None:
        """Let rows that wait for something be due."""
        async with self.database.transaction(self.world.tenant) as session:
            await session.execute("UPDATE outbox SET due_at = now()")
            await session.execute("UPDATE inbox SET due_at = now() WHERE state = 'waiting'")

    async def take_in(self) -> None:
        """Take in what vendors said."""
        while await self.inbound.turn([self.world.tenant]):
            pass

    async def poll(self) -> None:
        """Ask all vendors for what has changed, and take it in."""
        await self.polling.begin([self.world.tenant])
        async with self.database.transaction(self.world.tenant) as session:
            await session.execute("UPDATE polls SET due_at = now()")
        while await self.polling.turn([self.world.tenant]):
            pass
        await self.take_in()

    async def hook(self, system: str, call: tuple[bytes, dict[str, str]]) -> Any:
        """Let a vendor call, and take in what it says."""
        body, headers = call
        told = await self.door.receive(self.ties[system].connection, Incoming(headers=headers, body=body), _now_ms())
        await self.take_in()
        return told

    async def link(self, system: str, name: str, record_id: str, remote_id: str) -> None:
        """Note which of a system's records is which of ours."""
        tie = self.ties[system]
        async with self.database.transaction(self.world.tenant) as session:
            assert await remotes.link(session, self.world.tenant, tie.connection, (name, record_id), remote_id)

    async def told(self, *, system: str = "") -> list[tuple[str, str, str]]:
        """Return object, state and error code of each delivery that was not overtaken, in order."""
        found = await self.ask(
            "SELECT object, state, error_code FROM deliveries WHERE state <> 'superseded' "
            "AND ($1 = '' OR connection = nullif($1, '')::uuid) ORDER BY object, delivery_id",
            self.ties[system].connection if system else "",
        )
        return [(row["object"], row["state"], row["error_code"]) for row in found]

    async def records(self, collection: str) -> dict[str, dict[str, Any]]:
        """Return the living records of a collection by id."""
        question = "SELECT record_id::text, fields FROM records WHERE collection = $1 AND alive"
        found = await self.ask(question, collection)
        return {row["record_id"]: json.loads(row["fields"]) for row in found}

    async def ask(self, question: str, *arguments: Any) -> list[dict[str, Any]]:
        """Return what a question gives."""
        async with self.database.transaction(self.world.tenant) as session:
            return [dict(row) for row in await session.fetch(question, *arguments)]

    async def settled(self) -> None:
        """Wait until nothing is left to do."""
        await settled(self.database, self.world.tenant)

    async def close(self) -> None:
        """Let connections go."""
        await self.http.close()

    async def _sign_in(self, company: Company, made: Connection) -> None:
        client, secret = company.client
        place = (self.world.tenant, made.connection)
        if isinstance(company, Salesforce):
            company.public_key = KEY
            pem = KEY.as_pem(private=True).decode()
            await self.keeper.put(*place, {"client_id": client, "user": company.user, "private_key": pem})
            return
        granted = Granted(token=next(iter(company.access)), seconds=3_600, refresh_token=company.refresh)
        await self.keeper.put(*place, {"client_id": client, "client_secret": secret}, granted)


def _config(company: Company) -> dict[str, str]:
    if isinstance(company, Gusto):
        return {"company_id": company.company, "auth_url": company.url}
    if isinstance(company, QuickBooks):
        item = company.stock("Labour", RATE)
        tokens = f"{company.url}/oauth2/v1/tokens/bearer"
        return {"realm_id": company.realm, "labour_item": item, "labour_rate": RATE, "token_url": tokens}
    return {"login_url": company.url}


FIRST: date = date(2026, 1, 5)
"""The first day of the first pay period of the standard mapping."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
