"""Server, worker process and vendor together: a call becomes a record, and the record a message to a webhook."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.integration.service import KEYS, Service
from tests.integration.test_metrics import address
from tests.integration.test_worker import until, work
from tests.peers import crm
from tests.peers.crm import Crm, changed
from tests.peers.receiver import Receiver
from upstream import connections, inbox, mappings
from upstream.credentials import Keeper


async def connected(service: Service, vendor: Crm) -> str:
    """Make a connection with credentials, a secret and a published mapping; return its id."""
    new = connections.New(
        system="crm",
        name="crm",
        manifest="own",
        manifest_text=crm.MANIFEST,
        authority="crm",
        base_url=vendor.url,
        mode="live",
    )
    made = (await connections.make(service.database, service.tenant, str(uuid4()), new)).connection
    await Keeper(service.database, KEYS).put(service.tenant, made, {"token": "t"})
    door = inbox.Door(service.database, KEYS, lambda _: None)
    async with service.database.transaction(service.tenant) as session:
        await door.put_secret(session, service.tenant, made, crm.SECRET)
    version = await mappings.save(service.database, service.tenant, made, crm.MAPPING, by="p")
    async with service.database.transaction(service.tenant) as session:
        await session.execute("UPDATE mappings SET state = 'published', published_by = 'p', published_at = now()")
    await connections.publish(
        service.database, service.tenant, made, mapping_version=version.version, interests={"customers": ()}
    )
    return made


@pytest.mark.parametrize("way", ["call", "poll"])
async def test_what_a_vendor_says_arrives_here_and_at_a_webhook(service, postgres_url, way):
    """By a signed call, or because it was polled: the worker takes it in, and tells who wants to know."""
    vendor, receiver = Crm(), Receiver()
    database_url = await address(service, postgres_url)
    admin = service.client(await service.token(role="admin"))
    async with vendor.server, receiver.server:
        connection = await connected(service, vendor)
        added = await admin.post("/v1/webhooks", json={"url": receiver.url, "types": ["record.changed.customers"]})
        row = vendor.put("c7", name="Meier", mail="m@example.org")
        if way == "call":
            answer = await crm.call(service.client(), connection, changed(row, "e1"), at=datetime.now(UTC))
            assert answer.status_code == 200, answer.text
        async with work(database_url, FIELDSYNC_ALLOW_LOOPBACK_VENDORS="1") as process:

            async def customers() -> list[dict]:
                return (await admin.get("/v1/customers")).json()["items"]

            async def told() -> list:
                return receiver.came

            [customer] = await until(customers)
            await until(told)
            process.terminate()
            await process.communicate()

    assert (customer["name"], customer["email"]) == ("Meier", "m@example.org")
    assert receiver.verified(added.json()["secret"])["data"]["id"] == customer["id"]
