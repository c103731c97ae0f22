"""Workers of the back door: they share the work, keep to what may be under way, and stop in order."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from tests.integration import backdoor
from tests.integration.backdoor import Trial, told
from tests.integration.world import job, seen
from tests.peers.vendor.demo import Demo
from upstream import connections, deliveries, outbox, worker
from upstream.outbox import CHANNEL
from upstream.wakeup import Wakeup
from upstream.worker import Limits


@asynccontextmanager
async def trial(world, demo, **options):
    """Run the vendor, and give the worker's side of it with a connection of the first tenant."""
    async with demo.server:
        made = Trial(world.database, demo.manifest, told("upsert"))
        yield made, await made.connect(world.tenant, demo.server.url, **options)
        await made.close()


async def orders(world, count, tenant=None, office=None):
    """Have the office create so many work orders."""
    made = [seen("work_orders", job(n), op="create", set={"title": f"Boiler {n}"}) for n in range(count)]
    await world.submit(world.office(*made, rid=office), tenant)


async def test_all_workers_together_keep_to_what_a_connection_may_have_under_way(world):
    """However many workers there are, a system has no more requests at once than its connection says."""
    demo = Demo(work_seconds=0.05)
    async with trial(world, demo, in_flight_max=3) as (made, _):
        await orders(world, 40)
        stop = asyncio.Event()
        running = [asyncio.create_task(made.worker().run(stop)) for _ in range(3)]
        await backdoor.settled(world.database, world.tenant)
        stop.set()
        await asyncio.gather(*running)

    assert 1 < demo.most_together <= 3
    assert set(demo.numbers("upsert").values()) == {1}
    assert len(demo.shelves["upsert"].rows) == 40


async def test_what_a_tenant_may_have_under_way_counts_over_its_connections(world):
    """Two connections of one tenant share what the tenant may have."""
    demo = Demo(work_seconds=0.05)
    async with trial(world, demo) as (made, _):
        await made.connect(world.tenant, demo.server.url)
        await orders(world, 15)
        await backdoor.working(made.worker(Limits(tenant=2)), backdoor.settled(world.database, world.tenant))

    assert demo.most_together <= 2
    assert {row.writes for row in demo.shelves["upsert"].rows.values()} == {2}


async def test_a_long_line_keeps_nobody_waiting(world):
    """A tenant that comes with a few rows while another one has hundreds is served among the first."""
    other, office = await world.add_tenant("Southwind Heating")
    demo, seen_done = Demo(), []
    async with trial(world, demo) as (made, connection):
        await world.submit(
            world.office(*(seen("work_orders", job(n), op="create", set={"title": "t"}) for n in range(300)))
        )
        small = await made.connect(other, demo.server.url)
        await orders(world, 5, other, office)
        await backdoor.working(
            made.worker(Limits(planning=2, carrying=4), seen_done),
            asyncio.gather(*(backdoor.settled(world.database, tenant) for tenant in (world.tenant, other))),
        )

    carried = [done.connection for done in seen_done if done.kind == "carry"]
    assert carried.count(connection.connection) == 300
    last = max(place for place, each in enumerate(carried) if each == small.connection)
    assert last < 100, "its five were not among the first hundred"


async def test_a_backfill_rests_when_told_to_and_goes_on_from_there(world):
    """While it rests live work goes by; then all of it is told, once."""
    await orders(world, 20)
    demo = Demo()
    async with trial(world, demo, backfill_paused=True) as (made, connection):
        place = (world.tenant, connection.connection)
        assert await outbox.backfill(world.database, *place, "work_orders") == 20
        await world.submit(world.office(seen("work_orders", job(1), set={"title": "live"})))
        await made.worker().drain()
        assert demo.numbers("upsert") == {job(1): 1}

        pace = {"in_flight_max": 8, "backfill_share": 50, "backfill_paused": False}
        await connections.set_pace(world.database, *place, **pace)
        await made.worker().drain()

    assert demo.numbers("upsert") == {job(n): 1 for n in range(20)}


async def test_a_worker_that_is_told_to_stop_finishes_what_is_under_way(world):
    """After it has stopped nothing is leased and nothing is left open: what went out is confirmed."""
    demo = Demo(work_seconds=0.1)
    async with trial(world, demo) as (made, _):
        await orders(world, 60)
        stop = asyncio.Event()
        running = asyncio.create_task(made.worker().run(stop))
        async with asyncio.timeout(60):
            while len(demo.shelves["upsert"].rows) < 8:  # noqa: ASYNC110  (the vendor sets no event)
                await asyncio.sleep(0.01)
        stop.set()
        await running
        left = await backdoor.rows(
            world.database, world.tenant, "SELECT state, leased_until FROM deliveries WHERE state <> 'confirmed'"
        )
        confirmed = (await backdoor.states(world.database, world.tenant))["confirmed"]

    assert confirmed == len(demo.shelves["upsert"].rows) < 60
    assert {(row["state"], row["leased_until"]) for row in left} == {("planned", None)}


async def test_a_worker_is_woken(world, monkeypatch):
    """One that looks by itself once an hour has told a change long before, because it heard of it."""
    monkeypatch.setattr(worker, "POLL_SECONDS", 3_600.0)
    demo = Demo()
    async with trial(world, demo) as (made, _):
        carrier = made.worker()
        wakeup = Wakeup(world.url, CHANNEL, carrier.wake)
        stop = asyncio.Event()
        running = asyncio.create_task(carrier.run(stop))
        await wakeup.start()
        for number in range(3):
            await world.order(number)
            await backdoor.settled(world.database, world.tenant)
        stop.set()
        await running
        await wakeup.stop()

    assert len(demo.shelves["upsert"].rows) == 3


async def test_a_worker_that_hears_nothing_works_all_the_same(world):
    """No notification is needed: it looks by itself."""
    demo = Demo()
    async with trial(world, demo) as (made, _):
        stop = asyncio.Event()
        running = asyncio.create_task(made.worker().run(stop))
        await asyncio.sleep(0.1)
        await world.order(1)
        await backdoor.settled(world.database, world.tenant)
        stop.set()
        await running

    assert len(demo.shelves["upsert"].rows) == 1


async def test_a_failure_of_ours_is_put_off_and_told(world):
    """A piece of work that fails here holds up nothing else, and is taken up again later."""
    demo = Demo()
    async with trial(world, demo) as (made, connection):
        real = made.system

        async def broken(asked):
            raise RuntimeError(asked.name)

        made.system = broken
        await world.order(1)
        seen_done = []
        await made.worker(seen=seen_done).drain()
        (row,) = await backdoor.rows(
            world.database,
            world.tenant,
            "SELECT state, error_class, error_code, due_at > now() AS later FROM deliveries",
        )
        made.system = real
        await backdoor.rows(world.database, world.tenant, "UPDATE deliveries SET due_at = now() RETURNING state")
        await made.worker().drain()

    assert [(done.kind, done.came) for done in seen_done] == [("plan", "planned"), ("carry", "failed")]
    assert row == {"state": "planned", "error_class": "internal", "error_code": "RuntimeError", "later": True}
    assert demo.numbers("upsert") == {job(1): 1}
    assert connection.state == "ok"


async def test_a_failure_of_ours_that_lasts_ends_with_a_person(world):
    """What fails here for days is a dead letter, and not tried for ever."""
    demo = Demo()
    async with trial(world, demo) as (made, _):

        async def broken(asked):
            raise RuntimeError(asked.name)

        made.system = broken
        await world.order(1)
        await made.worker().drain()
        await backdoor.rows(
            world.database,
            world.tenant,
            "UPDATE deliveries SET due_at = now(), made_at = now() - interval '80 hours' RETURNING state",
        )
        await made.worker().drain()
        (dead,) = await deliveries.listed(world.database, world.tenant)

    assert (dead.state, dead.due_at, dead.error_code) == ("rejected", None, "RuntimeError")
    assert demo.calls == []
