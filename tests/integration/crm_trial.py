"""A connection to the CRM of the tests, with all that takes in what it says."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from tests.integration.backdoor import KEYS, Trial
from tests.peers import crm
from upstream import connections, inbox
from upstream.absorbing import Absorber
from upstream.contexts import Catalogues
from upstream.inbound import Inbound
from upstream.polling import Polling
from upstream.verify import Incoming, Refused
from upstream.worker import System

if TYPE_CHECKING:
    from tests.integration.world import World
    from tests.peers.crm import Crm
    from upstream.connections import Connection
    from upstream.inbox import Taken


class CrmTrial(Trial):
    """The back door with one CRM: its door, its inbox, its polls."""

    def __init__(self, world: World, vendor: Crm, mapping: str = crm.MAPPING) -> None:
        super().__init__(world.database, crm.MANIFEST, mapping)
        self.world, self.vendor = world, vendor
        self.worker_id = str(uuid4())
        self.door = inbox.Door(world.database, KEYS, lambda _: self.manifest)
        self.absorber = Absorber(world.database, world.committers.submit, Catalogues())
        self.inbound = Inbound(world.database, self.worker_id, self, self.absorber)
        self.polling = Polling(world.database, self.worker_id, self)
        self.connection: Connection = None  # type: ignore[assignment]  (made by `begin`)

    async def begin(self) -> CrmTrial:
        """Make the connection, live, with its mapping and the secret that the vendor signs with."""
        new = connections.New(
            system="crm", name="crm", manifest="crm", authority="crm", base_url=self.vendor.url, mode="live"
        )
        made = await connections.make(self.database, self.world.tenant, str(uuid4()), new)
        await self.keeper.put(self.world.tenant, made.connection, {"token": "t"})
        await self.publish(made)
        self.connection = await connections.get(self.database, self.world.tenant, made.connection)
        await self.put_secret(crm.SECRET)
        return self

    async def put_secret(self, secret: str, **how: float) -> None:
        """Let a secret verify the vendor's calls."""
        async with self.database.transaction(self.world.tenant) as session:
            await self.door.put_secret(session, self.world.tenant, self.connection.connection, secret, **how)

    async def system(self, connection: Connection) -> System:
        """Return what the connection is spoken to with; what the vendor changed meanwhile is taken in."""
        found = await super().system(connection)
        return msgspec.structs.replace(found, absorb=self.inbound.take_in)

    async def tell(self, *events: dict[str, Any], secret: str = crm.SECRET) -> Taken | Refused:
        """Have the vendor call."""
        body, headers = crm.signed(list(events), self.vendor.now, secret)
        request = Incoming(headers=headers, body=body)
        now_ms = round(self.vendor.now.timestamp() * 1_000)
        return await self.door.receive(self.connection.connection, request, now_ms)

    async def take_in(self) -> None:
        """Work until nothing is due."""
        while await self.inbound.turn([self.world.tenant]):
            pass

    async def poll(self) -> None:
        """Poll once, whenever it was due."""
        await self.polling.begin([self.world.tenant])
        await self.run("UPDATE polls SET due_at = now()")
        await self.polling.turn([self.world.tenant])

    async def run(self, statement: str, *arguments: Any) -> None:
        """Run a statement."""
        async with self.database.transaction(self.world.tenant) as session:
            await session.execute(statement, *arguments)

    async def ask(self, question: str, *arguments: Any) -> list[dict[str, Any]]:
        """Return what a question gives."""
        async with self.database.transaction(self.world.tenant) as session:
            return [dict(row) for row in await session.fetch(question, *arguments)]

    async def ends(self) -> list[str]:
        """Return what came of the events, in the order in which they came."""
        return [row["state"] for row in await self.ask("SELECT state FROM inbox ORDER BY inbox_id")]

    async def records(self, collection: str = "customers") -> dict[str, dict[str, Any]]:
        """Return the living records of a collection by id."""
        found = await self.ask(
            "SELECT record_id::text, fields, rev FROM records WHERE collection = $1 AND alive", collection
        )
        return {row["record_id"]: {**json.loads(row["fields"]), "rev": row["rev"]} for row in found}

    async def changes(self) -> int:
        """Return how many changes there ever were."""
        return int((await self.ask("SELECT count(*) AS n FROM changes"))[0]["n"])

    async def since(self) -> datetime | None:
        """Return where polling stands."""
        return (await self.ask("SELECT since FROM polls WHERE object = 'customer'"))[0]["since"]
