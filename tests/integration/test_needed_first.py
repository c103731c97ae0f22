"""What an object needs to be there before: all of it is told first, whoever died; what cannot be told is left alone."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.integration import backdoor
from tests.integration.test_planning import CUSTOMER, INVOICES, put, rows_of, trial
from tests.integration.world import job
from tests.peers.vendor.demo import Demo
from tests.peers.vendor.server import Response
from upstream import connections, deadletter, deliveries, outbox
from upstream.deadletter import Word

SITE = str(UUID(int=0x51))
NEEDS_CUSTOMER = 'requires = ["native"]'
PHONE = '  { target = "phone", source = "ref.customer_id.phone" },\n'
TWO = (
    INVOICES.replace(PHONE, '  { target = "site", source = "remote.site_id" },\n')
    + """
[[out]]
object = "upsert"
collection = "sites"
rows = [
  { target = "number", source = "record.id" },
  { target = "name", source = "record.name" },
]
"""
)
NAMED = '  { target = "name", source = "record.phone" },\n'
"""The customer's row; it is there once."""


async def order(world, **fields):
    """Let the office write an order that is done."""
    told = {"title": "Boiler", "status": "done", "customer_id": CUSTOMER, **fields}
    await put(world, "work_orders", job(1), "create", **told)


async def looked_at(world, worker, times=4):
    """Let a worker look at all that waits, so many times."""
    for _ in range(times):
        await worker.drain()
        await backdoor.rows(world.database, world.tenant, "UPDATE outbox SET due_at = now() RETURNING seq")
    await worker.drain()


async def customers(world):
    """Give the deliveries of the customer, the newest first."""
    return await deliveries.listed(world.database, world.tenant, deliveries.Filter(object="native"))


async def test_an_order_that_needs_two_things_has_both_told(world):
    """Customer and site were there before the connection: both are told, and then the order by itself."""
    demo = Demo(lag_seconds=0.0)
    await put(world, "customers", CUSTOMER, "create", phone="555")
    await put(world, "sites", SITE, "create", name="Depot", customer_id=CUSTOMER)
    async with trial(world, TWO, demo, requires='requires = ["native", "upsert"]') as (_, connection, worker):
        await order(world, site_id=SITE)
        await worker.drain()
        left = await outbox.waiting(world.database, world.tenant, connection.connection, limit=9)
        await looked_at(world, worker)

    assert [row.collection for row in left] in ([], ["work_orders"])
    assert {kind: len(rows_of(demo, kind)) for kind in ("native", "upsert", "search")} == {
        "native": 1,
        "upsert": 1,
        "search": 1,
    }


async def test_an_order_whose_first_plan_died_has_its_customer_told(world):
    """A worker is killed in its first look at the order; the next one sees to the customer all the same."""
    demo = Demo(lag_seconds=0.0)
    await put(world, "customers", CUSTOMER, "create", phone="555")
    async with trial(world, INVOICES, demo, requires=NEEDS_CUSTOMER) as (_, _connection, worker):
        await order(world)
        # Leased once, by somebody who was killed.
        await backdoor.rows(world.database, world.tenant, "UPDATE outbox SET attempts = 1 RETURNING seq")
        await worker.drain()

    assert [len(rows_of(demo, kind)) for kind in ("native", "search")] == [1, 1]


async def test_what_was_only_recorded_is_told_when_the_connection_is_live(world):
    """In shadow mode customer and order are recorded and wait; when the connection went live both are told."""
    demo = Demo(lag_seconds=0.0)
    await put(world, "customers", CUSTOMER, "create", phone="555")
    async with trial(world, INVOICES, demo, requires=NEEDS_CUSTOMER) as (_, connection, worker):
        place = (world.database, world.tenant, connection.connection)
        await connections.set_mode(*place, "shadow")
        await order(world)
        await looked_at(world, worker)
        recorded = [(each.state, each.mode) for each in await customers(world)]
        await connections.set_mode(*place, "live")
        await looked_at(world, worker)

    assert recorded == [("planned", "shadow")]
    assert [len(rows_of(demo, kind)) for kind in ("native", "search")] == [1, 1]


@pytest.mark.parametrize("skips", [False, True], ids=["it waits for a person", "a person skipped it"])
async def test_what_was_given_up_is_not_sent_again_because_something_waits_for_it(world, skips):
    """The customer was refused there: however often the order is looked at, it is no more sent and planned."""
    demo = Demo(lag_seconds=0.0)
    ordinary = demo._write

    def refused(*place):
        return (
            Response(422, {"error": {"code": "bad", "message": "no"}}) if "native" in str(place) else ordinary(*place)
        )

    demo._write = refused
    await put(world, "customers", CUSTOMER, "create", phone="555")
    async with trial(world, INVOICES, demo, requires=NEEDS_CUSTOMER) as (_, connection, worker):
        await order(world)
        await worker.drain()
        [dead] = await customers(world)
        if skips:
            async with world.database.transaction(world.tenant) as session:
                await deadletter.skip(session, world.tenant, dead.delivery_id, Word(person="Eve"))
        await looked_at(world, worker)
        found = await customers(world)
        left = await outbox.waiting(world.database, world.tenant, connection.connection, limit=9)

        demo._write = ordinary
        await put(world, "customers", CUSTOMER, phone="556")
        await worker.drain()

    assert dead.state == "rejected"
    assert [each.delivery_id for each in found] == [dead.delivery_id]
    assert [(row.collection, row.waits_on) for row in left] == [("work_orders", CUSTOMER)]
    assert [len(rows_of(demo, kind)) for kind in ("native", "search")] == [1, 1]


async def test_what_was_given_up_is_tried_once_more_by_a_mapping_that_came_later(world):
    """The customer could not be made; the mapping is put right, and the order has it told by that."""
    demo = Demo(lag_seconds=0.0)
    wrong = INVOICES.replace(NAMED, '  { target = "name", source = "record.nobody_has_this", required = true },\n')
    await put(world, "customers", CUSTOMER, "create", phone="555")
    async with trial(world, wrong, demo, requires=NEEDS_CUSTOMER) as (made, connection, worker):
        await order(world)
        await looked_at(world, worker)
        before = await customers(world)
        await made.publish(connection, INVOICES)
        await looked_at(world, worker)

    assert [each.state for each in before] == ["rejected"]
    assert [len(rows_of(demo, kind)) for kind in ("native", "search")] == [1, 1]


@pytest.mark.parametrize(
    "rule",
    ['when = [{ path = "record.phone", present = true }]', 'void_when = [{ path = "record.phone", present = false }]'],
)
async def test_what_the_mapping_leaves_out_is_not_planned_because_something_waits_for_it(world, rule):
    """A customer that the system is not to have is left alone at each look at the order, until it changes."""
    demo = Demo(lag_seconds=0.0)
    mapping = INVOICES.replace('collection = "customers"\n', f'collection = "customers"\n{rule}\n')
    await put(world, "customers", CUSTOMER, "create", name="Meier")
    async with trial(world, mapping, demo, requires=NEEDS_CUSTOMER) as (made, _connection, _):
        done = []
        worker = made.worker(seen=done)
        await order(world)
        await looked_at(world, worker, times=5)
        looks = [each.came for each in done]
        await put(world, "customers", CUSTOMER, phone="555")
        await worker.drain()

    assert looks == ["waits"] * 6
    assert [len(rows_of(demo, kind)) for kind in ("native", "search")] == [1, 1]
