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
from tests.peers.vendor.faults import Faults, Script
from tests.peers.vendor.server import Response
from tests.peers.vendor.shelf import Shelf
from upstream import breaker, connections, deadletter, deliveries, delivery
from upstream.deadletter import Word
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


async def test_a_lease_lasts_as_long_as_what_is_done_under_it(world):
    """A write and a look that take longer than a lease are not begun by another worker while they are under way."""
    demo = Demo(Faults({"drop": 1.0}), wait_seconds=4.0, work_seconds=1.5, lag_seconds=0.0)
    answer = demo.handle

    async def slowly(request):
        await asyncio.sleep(1.5 if request.method == "GET" else 0)
        return await answer(request)

    demo.server._handler = slowly
    async with trial(world, demo, backdoor.told("versioned")) as (made, _):
        await world.order(1)
        patient, other = (made.worker(Limits(lease_seconds=1.0)) for _ in range(2))
        for _ in range(2):
            await asyncio.gather(patient.drain(), _after(1.2, other))
            demo.faults.stop()
            await backdoor.rows(world.database, world.tenant, "UPDATE deliveries SET due_at = now() RETURNING 1")
        (told,) = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))

    assert told.state == "confirmed"
    assert [method for method, _ in demo.calls] == ["POST", "GET"]


async def _after(seconds, worker):
    await asyncio.sleep(seconds)
    await worker.drain()


def blindly(_write, kind, _tries, **_):
    """Send again whatever was not answered."""
    return Step(Next.CONFIRM) if kind == "ok" else Step(Next.SEND)


async def half_way(demo, kind, count):
    """Wait until half of the objects are there."""
    async with asyncio.timeout(120 + count / 20):
        while len(demo.shelves[kind].rows) < count / 2:  # noqa: ASYNC110  (the vendor is told by other processes)
            await asyncio.sleep(0.02)


async def again_and_again(world, worker, times=3):
    """Let a worker work, with all pauses at their end, so many times."""
    for _ in range(times):
        await worker.drain()
        await backdoor.rows(
            world.database,
            world.tenant,
            "UPDATE deliveries SET due_at = now(), last_sent_at = last_sent_at - interval '1 hour'"
            " WHERE due_at IS NOT NULL RETURNING state",
        )


@pytest.mark.parametrize("kind", ["native", "search"])
async def test_what_cannot_be_changed_there_is_not_made_a_second_time(world, kind):
    """Where a system has no operation to change an object a changed record is a dead letter, and no new object."""
    demo = Demo()
    demo_manifest = demo.manifest.replace(f'update = "{kind}_update"\n', "")
    async with demo.server:
        made = Trial(world.database, demo_manifest, backdoor.told(kind))
        await made.connect(world.tenant, demo.server.url)
        await world.order(1)
        await made.worker().drain()
        await world.submit(world.office(seen("work_orders", job(1), set={"title": "Pump"})))
        await made.worker().drain()
        receipts = await backdoor.states(world.database, world.tenant)
        await made.close()

    assert demo.numbers(kind) == {job(1): 1}
    assert receipts == {"confirmed": 1, "rejected": 1}


@pytest.mark.parametrize("how", ["replanned", "changed"])
async def test_behind_one_that_nobody_knows_of_nothing_is_sent_where_nothing_can_be_looked_up(world, how):
    """Planned anew or changed, it waits for a person who decides on the open one; then it is sent."""
    demo = Demo(Faults({"drop": 1.0}), wait_seconds=30.0)
    async with trial(world, demo, backdoor.told("none")) as (made, _):
        await world.order(1)
        await made.worker().drain()
        (open_one,) = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))
        if how == "changed":
            await world.submit(world.office(seen("work_orders", job(1), set={"title": "Pump"})))
        else:
            async with world.database.transaction(world.tenant) as session:
                await deadletter.replan(session, world.tenant, open_one.delivery_id, Word(person="Eve"))
        await made.worker().drain()
        behind, before = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))
        there = demo.numbers("none")

        demo.faults.stop()
        async with world.database.transaction(world.tenant) as session:
            await deadletter.done(session, world.tenant, before.delivery_id, Word(person="Eve"), remote_id="")
            await deadletter.retry(session, world.tenant, behind.delivery_id, Word(person="Eve"))
        await made.worker().drain()
        receipts = await backdoor.states(world.database, world.tenant)

    assert (before.state, behind.state, behind.error_code) == ("unknown", "rejected", "earlier_unknown")
    assert there == {job(1): 1}
    assert receipts == {"confirmed": 2}


async def test_a_search_that_shows_nothing_yet_does_not_let_a_newer_state_make_a_second_object(world):
    """A key that is known again is repeated until it is answered, before anything newer is told."""
    demo = Demo(Script("drop", "throttle"))
    demo.shelves["native"] = Shelf("n-", lag_seconds=3_600.0)
    async with trial(world, demo, backdoor.told("native")) as (made, _):
        await world.order(1)
        await again_and_again(world, made.worker(), times=2)
        await world.submit(world.office(seen("work_orders", job(1), set={"title": "Pump"})))
        await asyncio.sleep(0.2)
        await again_and_again(world, made.worker())
        receipts = await backdoor.states(world.database, world.tenant)

    assert demo.numbers("native") == {job(1): 1}
    assert [row.fields["title"] for row in demo.shelves["native"].rows.values()] == ["Pump"]
    assert receipts == {"confirmed": 2}


async def test_a_vendor_that_has_it_and_never_shows_it_ends_with_a_person(world):
    """`duplicate` and nothing to be found, again and again: it is not sent for ever."""
    demo = Demo()
    demo._write = lambda *_: Response(409, {"error": {"code": "there"}})
    rule = '\n[[errors]]\nkind = "duplicate"\npath = "error.code"\nequals = ["there"]\n'
    async with demo.server:
        made = Trial(world.database, demo.manifest + rule, backdoor.told("native"))
        await made.connect(world.tenant, demo.server.url)
        await world.order(1)
        await again_and_again(world, made.worker(), times=delivery.READS_MAX + 2)
        (dead,) = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))
        await made.close()

    assert (dead.state, dead.due_at, dead.error_class) == ("unknown", None, "duplicate")
    assert dead.tried <= delivery.READS_MAX + 2


@pytest.mark.parametrize(
    "answer", [Response(422, {"error": {"code": "bad\0", "message": "title:\0"}}), Response(422, "title:\0")]
)
async def test_an_answer_that_cannot_be_stored_as_it_is_ends_a_delivery_all_the_same(world, answer):
    """A character that the database does not take is replaced: it is a refusal, not a failure of ours."""
    demo = Demo()
    demo._write = lambda *_: answer
    async with trial(world, demo, backdoor.told("upsert")) as (made, _):
        await world.order(1)
        await again_and_again(world, made.worker())
        (dead,) = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))

    assert (dead.state, dead.tried) == ("rejected", 1)


async def test_a_rest_of_days_costs_no_hope(world):
    """What waited while its connection rested is as young as when it goes on; only the vendor's absence counts."""
    demo = Demo(Faults({"throttle": 1.0}))
    async with trial(world, demo, backdoor.told("upsert")) as (made, connection):
        place = (world.database, world.tenant, connection.connection)
        for number in (1, 2):
            await world.order(number)
            await made.worker().drain()
            await connections.set_state(*place, "paused", "holidays")
        await backdoor.rows(
            world.database,
            world.tenant,
            "UPDATE deliveries SET made_at = now() - interval '80 hours', due_at = now(),"
            " first_sent_at = first_sent_at - interval '80 hours' RETURNING state",
        )
        await connections.set_state(*place, "ok")
        await asyncio.sleep(0.2)
        await made.worker().drain()
        after_rest = await backdoor.states(world.database, world.tenant)
        await backdoor.rows(
            world.database,
            world.tenant,
            "UPDATE deliveries SET due_at = now(), taken_up_at = NULL,"
            " first_sent_at = now() - interval '80 hours' RETURNING state",
        )
        await asyncio.sleep(0.2)
        await made.worker().drain()
        after_absence = await backdoor.states(world.database, world.tenant)

    assert (after_rest, after_absence) == ({"planned": 2}, {"rejected": 2})


async def test_a_vendor_that_is_away_is_waited_for_with_what_is_in_doubt_too(world):
    """A look that nobody answers is no look: however many there were, it is looked on when the vendor is back."""
    demo = Demo(Script("drop"), lag_seconds=0.0)
    real = demo._read
    demo._read = lambda *_: Response(503, {"error": {"code": "slow"}})
    async with trial(world, demo, backdoor.told("search")) as (made, _):
        await world.order(1)
        made._breaker = breaker.Local(lambda: 0)
        await again_and_again(world, made.worker(), times=delivery.READS_MAX + 3)
        (waiting,) = await deliveries.of_record(world.database, world.tenant, "work_orders", job(1))
        demo._read, made._breaker = real, breaker.Local(lambda: 0)
        await again_and_again(world, made.worker())
        receipts = await backdoor.states(world.database, world.tenant)

    assert (waiting.state, waiting.due_at is None, waiting.reads) == ("unknown", False, 0)
    assert waiting.tried > delivery.READS_MAX
    assert receipts == {"confirmed": 1}
    assert demo.numbers("search") == {job(1): 1}
