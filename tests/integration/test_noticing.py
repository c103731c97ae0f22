"""Noticing that a vendor has changed: by the fields it describes, and by the answers it gives."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests import manifests
from tests.integration.test_mappings import DAN, TITLE, Answering, around, connection, pool
from tests.integration.test_worker import until
from upstream import alerts, connections, discovery, drift, mappings, noticing, places
from upstream.replies import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.world import World
    from upstream.manifest import Manifest
    from upstream.mapping import MappingSet

__all__ = ["around", "connection", "pool"]  # fixtures for the tests below


class Asked:
    """Gives a connection's system as tests want it: its manifest, its mapping that holds, its answers."""

    def __init__(self, world: World, vendor: Answering) -> None:
        self.world = world
        self.caller = vendor
        self.parsed = mappings.Parsed()

    async def system(self, _: connections.Connection) -> Asked:
        """Give what it is spoken to with."""
        return self

    async def mapping(self, connection: connections.Connection) -> tuple[Manifest, MappingSet]:
        """Give its manifest and the mapping that holds."""
        place = (self.world.database, connection.tenant_id, connection.connection)
        return manifests.north(), await self.parsed.get(*place, connection.mapping_version or 1)


class Odd(Answering):
    """A vendor over whose first answer we break off."""

    is_met = False

    async def call(self, *asked: Any, **options: Any) -> Reply:
        """Give the next answer."""
        if self.is_met:
            return await super().call(*asked, **options)
        self.is_met = True
        raise RecursionError


def described(**fields: str) -> Reply:
    """Give an answer that describes fields by name and type."""
    return Reply(
        kind="ok", status=200, body={"fields": [{"name": name, "type": kind} for name, kind in fields.items()]}
    )


async def alarm(world: World) -> list[tuple[str, str, str]]:
    """Look for what is wrong, and give rule, severity and sentence of each open alert."""
    await alerts.look(world.database, world.tenant, alerts.Limits())
    return [
        (each.rule, each.severity, each.message)
        for each in await alerts.listed(world.database, world.tenant, is_open=True)
    ]


async def test_drift_is_told_with_field_old_new_and_rows_until_a_mapping_is_published_for_it(world, connection, around):
    """A field that another look does not find any more opens an alert that says all of it; a new version ends it."""
    place = (world.database, world.tenant, connection)
    await mappings.save(*place, TITLE, by=DAN)
    await mappings.publish(*place, 1, around, by=DAN)
    looked = described(text="string", mark="string"), described(mark="int", text_line="string", other="date")
    looking = noticing.Noticing(world.database, Asked(world, Answering(*looked)))

    await looking.look(world.tenant)
    await looking.look(world.tenant)
    before = await alarm(world)
    async with world.database.transaction(world.tenant) as session:
        await session.execute("UPDATE schemas SET seen_at = now() - interval '25 hours'")
    await looking.look(world.tenant)
    told = await alarm(world)
    fitting = await mappings.save(*place, TITLE.replace('"text"', '"text_line"'), by=DAN)
    await mappings.publish(*place, fitting.version, around, by=DAN)

    assert before == []
    assert told == [
        (
            "schema_changed",
            "critical",
            (
                "bill of north has other fields than when its mapping was published (schema 2)"
                "; bill.text: is probably called text_line now; hits out bill text"
                "; bill.mark: was text, is integer; hits out bill mark"
            ),
        )
    ]
    assert await alarm(world) == []
    assert len(await mappings.listed(*place)) == 2


async def test_what_is_merely_new_at_a_vendor_is_no_alarm(world, connection, around):
    """A field that nobody uses and that need not be given alarms nobody."""
    place = (world.database, world.tenant, connection)
    await mappings.save(*place, TITLE, by=DAN)
    await mappings.publish(*place, 1, around, by=DAN)
    first, second = described(text="string", mark="string"), described(text="string", mark="string", more="date")
    looking = noticing.Noticing(world.database, Asked(world, Answering(first, second)))
    await looking.look(world.tenant)
    async with world.database.transaction(world.tenant) as session:
        await session.execute("UPDATE schemas SET seen_at = now() - interval '25 hours'")

    await looking.look(world.tenant)

    assert (await discovery.known(*place))["bill"].by_path().keys() == {"text", "mark", "more"}
    assert await alarm(world) == []


async def test_a_vendor_that_cannot_be_asked_keeps_no_other_from_being_looked_at(world, connection):
    """A connection that gives no answer is asked again the next time; the others are looked at all the same."""
    other = str(uuid4())
    new = connections.New(system="north", name="another", manifest="north", authority="erp")
    await connections.make(world.database, world.tenant, other, new)
    for each in (connection, other):
        await mappings.save(world.database, world.tenant, each, TITLE, by=DAN)
    looking = noticing.Noticing(
        world.database, Asked(world, Answering(Reply(kind="transient"), described(text="string", mark="string")))
    )

    await looking.look(world.tenant)

    found = [await discovery.known(world.database, world.tenant, each) for each in (other, connection)]
    assert sorted(map(len, found)) == [0, 1]


async def test_what_one_vendor_provokes_keeps_nobody_from_being_looked_at(world, connection):
    """A mistake of ours that one system's answer brings about is counted; its neighbour and others are looked at."""
    tenant, _ = await world.add_tenant("Harbour Lifts")
    other, elsewhere = str(uuid4()), str(uuid4())
    for where, each in ((world.tenant, other), (tenant, elsewhere)):
        new = connections.New(system="north", name="another", manifest="north", authority="erp")
        await connections.make(world.database, where, each, new)
    places = ((world.tenant, connection), (world.tenant, other), (tenant, elsewhere))
    for where, each in places:
        await mappings.save(world.database, where, each, TITLE, by=DAN)
    failed: list[str] = []
    fields = described(text="string", mark="string")
    looking = noticing.Noticing(world.database, Asked(world, Odd(fields, fields)), failed.append)

    async def found() -> list[int]:
        return sorted([len(await discovery.known(world.database, *place)) for place in places])

    async def are_known() -> bool:
        return await found() == [0, 1, 1]

    async with at_work(looking, world.tenant, tenant):
        await until(are_known)

    assert failed == ["noticing"]


async def test_a_tenant_whose_system_answers_slowly_keeps_no_other_waiting(world, monkeypatch):
    """While one is waited for, another tenant is looked at again and again."""
    tenant, _ = await world.add_tenant("Harbour Lifts")
    monkeypatch.setattr(noticing, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(noticing, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(places, "STOP_SECONDS", 0.05)
    looks: list[int] = []
    looking = noticing.Noticing(world.database, Asked(world, Answering()))

    async def look(tenant_id: int) -> None:
        looks.append(tenant_id)
        if tenant_id == world.tenant:
            await asyncio.Event().wait()

    async def are_enough() -> bool:
        return looks.count(tenant) == 3

    monkeypatch.setattr(looking, "look", look)
    async with at_work(looking, world.tenant, tenant):
        await until(are_enough)

    assert looks.count(world.tenant) == 1


@asynccontextmanager
async def at_work(looking: noticing.Noticing, *mine: int) -> AsyncIterator[None]:
    """Have it look at these tenants, and told to stop at the end."""
    stop = asyncio.Event()

    async def tenants() -> list[int]:
        return list(mine)

    running = asyncio.create_task(looking.run(tenants, stop))
    yield
    stop.set()
    await running


async def test_answers_that_lack_what_rows_need_are_told_and_that_they_have_it_again(world, connection, around):
    """A field that rows use and no answer has any more opens an alert, beside it the one that is new; later it ends."""
    place = (world.database, world.tenant, connection)
    await mappings.save(*place, TITLE, by=DAN)
    await mappings.publish(*place, 1, around, by=DAN)
    looking = noticing.Noticing(world.database, Asked(world, Answering(described(text="string", mark="string"))))

    async def answer(record: dict[str, Any]) -> list[tuple[str, str, str]]:
        for _ in range(drift.ANSWERS_LEAST):
            looking.saw(world.tenant, connection, "bill", record)
        await looking.look(world.tenant)
        return await alarm(world)

    assert await answer({"text": "x", "mark": "y"}) == []
    assert await answer({"text": "x", "mark": "y"}) == []
    told = await answer({"title": "x", "mark": "y"})
    assert told == [
        (
            "answers_changed",
            "critical",
            (
                "answers of north are not as its fields were found to be:"
                " bill.text: was in none of the last 20 answers; hits out bill text;"
                " bill.title: was in 20 answers and is not known"
            ),
        )
    ]
    assert await answer({"text": "x", "mark": "y", "title": "z"}) == []
    async with world.database.transaction(world.tenant) as session:
        types = [row["type"] for row in await session.fetch("SELECT type FROM messages ORDER BY message_id")]
    assert types == ["alert.opened", "alert.resolved"]
