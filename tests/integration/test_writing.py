"""The write protocol against a vendor that misbehaves: what is told stands there once."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import tied
from tests.integration import backdoor
from tests.integration.backdoor import Trial
from tests.integration.world import job, seen
from tests.peers.vendor.demo import KINDS, Demo
from tests.peers.vendor.faults import Faults
from upstream import deliveries, delivery
from upstream.delivery import Next, Step
from upstream.worker import Limits

CHECKOUT = Path(__file__).resolve().parents[2]
DROPPED = 0.05
WRITES = 200
WRITES_LONG = 10_000
PUSH = 100
LEASE_SECONDS = 3.0
MANY = [WRITES, pytest.param(WRITES_LONG, marks=pytest.mark.long)]


@asynccontextmanager
async def trial(world, demo, mapping, **options):
    """Run the vendor, and give the worker's side of it with a connection."""
    async with demo.server:
        made = Trial(world.database, demo.manifest, mapping)
        yield made, await made.connect(world.tenant, demo.server.url, **options)
        await made.close()


@asynccontextmanager
async def carrier(url, kind, demo):
    """Run a worker in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *tied.command("tests.integration.carrier", url, kind, str(demo.lag_seconds), str(LEASE_SECONDS)), cwd=CHECKOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def orders(world, count, first=0):
    """Have the office create so many work orders."""
    for start in range(first, first + count, PUSH):
        numbers = range(start, min(start + PUSH, first + count))
        made = [seen("work_orders", job(n), op="create", set={"title": f"Boiler {n}"}) for n in numbers]
        await world.submit(world.office(*made))


def expected(count):
    """Return the business keys that have to be there, each once."""
    return {job(n): 1 for n in range(count)}


async def unknown(world):
    """Return the business keys of which nobody knows whether they are there."""
    found = await backdoor.rows(
        world.database, world.tenant, "SELECT key FROM deliveries WHERE state = 'unknown' ORDER BY key"
    )
    return [row["key"] for row in found]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_record_is_told_once_and_then_changed(world, kind):
    """A new record makes an object there, a change changes that object, and an equal one says nothing."""
    demo = Demo()
    async with trial(world, demo, backdoor.told(kind)) as (made, _):
        worker = made.worker()
        await world.order(1)
        await worker.drain()
        for title in ("Pump", "Pump"):
            await world.submit(world.office(seen("work_orders", job(1), set={"title": title})))
            await worker.drain()
        found = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))

    titles = [row.fields["title"] for row in demo.shelves[kind].rows.values()]
    assert titles == (["Boiler", "Pump"] if kind == "none" else ["Pump"])
    assert [each.state for each in found] == ["confirmed", "confirmed"]
    assert await backdoor.open_work(world.database, world.tenant) == 0


@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
async def test_a_vendor_that_drops_answers_has_each_object_once(world, kind, count):
    """It does what it is told and then drops some of the answers, and a worker is killed in the middle."""
    demo = Demo(Faults({"drop": DROPPED}, seed=count))
    async with trial(world, demo, backdoor.told(kind), in_flight_max=32) as (_, connection):
        await orders(world, count)
        async with carrier(world.url, kind, demo) as first, carrier(world.url, kind, demo):
            await half_way(demo, kind, count)
            first.kill()
            await first.wait()
            await backdoor.settled(world.database, world.tenant, seconds=120 + count / 20)
        receipts = await backdoor.states(world.database, world.tenant)
        left = await backdoor.rows(world.database, world.tenant, "SELECT key FROM remotes WHERE remote_id IS NULL")

    assert demo.numbers(kind) == expected(count)
    assert demo.faults.met["drop"] > count * DROPPED / 2
    assert receipts == {"confirmed": count}
    assert left == []
    assert connection.mode == "live"


@pytest.mark.parametrize("count", MANY)
async def test_where_nothing_can_be_looked_up_nothing_is_sent_twice(world, count):
    """Without a handle each object is there at most once, and the open ones are those whose answer was dropped."""
    demo = Demo(Faults({"drop": DROPPED}, seed=count), wait_seconds=30.0)
    async with trial(world, demo, backdoor.told("none"), in_flight_max=32) as (made, _):
        await orders(world, count)
        await made.worker().drain()
        receipts = await backdoor.states(world.database, world.tenant)
        open_keys = await unknown(world)

    dropped = sorted(number for _, number in demo.unanswered)
    assert demo.numbers("none") == expected(count)
    assert open_keys == dropped
    assert receipts == {"confirmed": count - len(dropped), "unknown": len(dropped)}


async def test_a_worker_that_dies_leaves_what_it_had_sent_open_where_nothing_can_be_looked_up(world):
    """What was under way at a killed worker is unknown, is sent by nobody again, and a person sees it."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, demo, backdoor.told("none"), in_flight_max=32):
        await orders(world, WRITES)
        async with carrier(world.url, "none", demo) as first, carrier(world.url, "none", demo):
            await half_way(demo, "none", WRITES)
            first.kill()
            await first.wait()
            await backdoor.settled(world.database, world.tenant)
        open_keys = await unknown(world)

    there = demo.numbers("none")
    assert set(there.values()) == {1}
    assert set(expected(WRITES)) - set(there) <= set(open_keys), "what is not there is not said to be"


@pytest.mark.parametrize("fault", ["drop_before", "late", "fail", "throttle", "lie"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
async def test_other_faults_make_no_duplicate_either(world, kind, fault, monkeypatch):
    """Not done and no answer, an answer after we gave up, a gateway's error, a pause, an error dressed as success."""
    monkeypatch.setattr(delivery, "FIRST_WAIT_MS", 50)
    demo = Demo(Faults({fault: 0.25}, seed=7))
    count = 20
    async with trial(world, demo, backdoor.told(kind), in_flight_max=4) as (made, _):
        await orders(world, count)
        await backdoor.working(made.worker(), backdoor.settled(world.database, world.tenant))

    assert demo.numbers(kind) == expected(count)
    assert demo.faults.met[fault] > 2
    assert await backdoor.states(world.database, world.tenant) == {"confirmed": count}


async def test_without_looking_first_there_are_duplicates(world, monkeypatch):
    """The control: whoever sends again what was not answered makes the vendor's rows twice."""
    monkeypatch.setattr(delivery, "after_write", blindly)
    demo = Demo(Faults({"drop": 0.2}, seed=3))
    count = 60
    async with trial(world, demo, backdoor.told("search"), in_flight_max=32) as (made, _):
        await orders(world, count)
        await made.worker().drain()

    twice = [number for number, times in demo.numbers("search").items() if times > 1]
    assert len(twice) == len({number for _, number in demo.unanswered}) > 0


async def test_a_lease_that_is_too_short_sends_nothing(world):
    """Where a request could outlast the lease nothing goes out, and a person is told what to do."""
    demo = Demo(wait_seconds=2.0)
    async with trial(world, demo, backdoor.told("upsert")) as (made, _):
        await world.order(1)
        await made.worker(Limits(lease_seconds=3.0)).drain()
        (dead,) = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))

    assert (dead.state, "FIELDSYNC_LEASE_SECONDS" in dead.error_message) == ("rejected", True)
    assert demo.calls == []


def blindly(_write, kind, _tries, **_):
    """Send again whatever was not answered."""
    return Step(Next.CONFIRM) if kind == "ok" else Step(Next.SEND)


async def half_way(demo, kind, count):
    """Wait until half of the objects are there."""
    async with asyncio.timeout(120 + count / 20):
        while len(demo.shelves[kind].rows) < count / 2:  # noqa: ASYNC110  (the vendor is told by other processes)
            await asyncio.sleep(0.02)
