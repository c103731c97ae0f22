"""Plans that meet something: a connection that goes live, each other, their own former number, no place for a mark."""

from __future__ import annotations

from uuid import UUID

from tests.integration import backdoor
from tests.integration.backdoor import Trial, told
from tests.integration.world import job, seen
from tests.peers.vendor.demo import Demo
from tests.peers.vendor.server import Response
from upstream import connections, deadletter, deliveries, outbox, shadow
from upstream.deadletter import Word

CUSTOMER = str(UUID(int=0xC1))


async def test_what_is_planned_while_a_connection_goes_live_is_told(world):
    """A row that was leased in shadow mode is not recorded after the connection went live: it is told."""
    demo = Demo()
    async with demo.server:
        made = Trial(world.database, demo.manifest, told("upsert"))
        connection = await made.connect(world.tenant, demo.server.url)
        place = (world.database, world.tenant, connection.connection)
        await connections.set_mode(*place, "shadow")
        await world.order(1)
        await made.worker().drain()
        await world.order(2)
        ordinary, promoted = made.mapping, []

        async def mapping(asked):
            if not promoted:
                promoted.append(await shadow.promote(*place, least=1))
            return await ordinary(asked)

        made.mapping = mapping
        await made.worker().drain()
        await made.close()

    assert promoted == [1]
    assert demo.numbers("upsert") == {job(1): 1, job(2): 1}


async def test_an_object_that_two_parents_share_is_planned_once(world):
    """A record that moves from one parent to another touches the object of both, which may be the same one."""
    shared = told("upsert", more='key = "${record.customer_id}"\ntriggers = { parts_used = "work_order_id" }')
    demo = Demo()
    async with demo.server:
        made = Trial(world.database, demo.manifest, shared.replace("record.id", "record.customer_id"))
        connection = await made.connect(world.tenant, demo.server.url)
        for number in (1, 2):
            await world.order(number, customer_id=CUSTOMER)
        part = ("parts_used", job(9))
        await world.submit(world.office(seen(*part, op="create", set={"work_order_id": job(1)})))
        await world.submit(world.office(seen(*part, set={"work_order_id": job(2)})))
        await backdoor.rows(
            world.database, world.tenant, "DELETE FROM outbox WHERE collection = 'work_orders' RETURNING seq"
        )
        await made.worker().drain()
        left = await outbox.waiting(world.database, world.tenant, connection.connection, limit=9)
        await made.close()

    assert left == []
    assert demo.numbers("upsert") == {CUSTOMER: 1}


LATE_TITLES = """
[[out]]
object = "upsert"
collection = "work_orders"
late = ["search"]
rows = [{ target = "number", source = "record.id" }, { target = "title", source = "record.title" }]

[[out]]
object = "search"
collection = "work_orders"
rows = [{ target = "number", source = "late.key" }, { target = "title", source = "late.now.title" }]
"""


async def test_a_late_object_is_planned_anew_though_nothing_else_changed(world):
    """Of the same state of the tenant, under the same number: it gets a key of its own, and stands there once."""
    demo = Demo()
    ordinary = demo._put

    def put(kind, rest, fields):
        return Response(422, {"error": {"code": "bad"}}) if kind == "search" else ordinary(kind, rest, fields)

    demo._put = put
    async with demo.server:
        made = Trial(world.database, demo.manifest, LATE_TITLES)
        await made.connect(world.tenant, demo.server.url)
        await world.order(1)
        await made.worker().drain()
        demo.closed |= set(demo.shelves["upsert"].rows)
        await world.submit(world.office(seen("work_orders", job(1), set={"title": "Pump"})))
        await made.worker().drain()
        found = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))
        (refused,) = [each for each in found if each.state == "rejected"]
        async with world.database.transaction(world.tenant) as session:
            await deadletter.replan(session, world.tenant, refused.delivery_id, Word(person="Eve"))
        demo._put = ordinary
        await made.worker().drain()
        left = await backdoor.open_work(world.database, world.tenant)
        await made.close()

    assert (refused.object, left) == ("search", 0)
    assert [row.fields["title"] for row in demo.shelves["search"].rows.values()] == ["Pump"]


async def test_an_object_that_has_no_place_for_its_mark_is_a_dead_letter(world):
    """Where the mapping puts something else there, a person is told; it is not tried for ever."""
    mapping = told("search").replace("rows = [", 'rows = [\n  { target = "about", source = "record.title" },')
    demo = Demo()
    async with demo.server:
        made = Trial(world.database, demo.manifest.replace('marker = "mark"', 'marker = "about.mark"'), mapping)
        await made.connect(world.tenant, demo.server.url)
        await world.order(1)
        await made.worker().drain()
        (dead,) = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))
        await made.close()

    assert (dead.state, dead.error_code) == ("rejected", "mapping")
    assert "about.mark" in dead.error_message
    assert demo.calls == []
