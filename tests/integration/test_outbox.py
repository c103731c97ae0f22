"""The outbox: filled with the change, leased, and taken out when it says no more than was worked on."""

from __future__ import annotations

from uuid import uuid4

import msgspec
import pytest

from replication.state import Submission
from tests.integration import backdoor
from tests.integration.backdoor import Trial, told
from tests.integration.world import job, seen, verdicts
from tests.peers.vendor.demo import Demo
from upstream import connections, outbox
from upstream.outbox import Portion

ME, OTHER = str(uuid4()), str(uuid4())


@pytest.fixture
async def trial(world):
    """Give what workers get their systems from; nobody is spoken to here."""
    made = Trial(world.database, Demo().manifest, told("upsert"))
    yield made
    await made.close()


@pytest.fixture
async def connection(world, trial):
    """Give a connection that wants to be told of work orders."""
    return await trial.connect(world.tenant, "http://127.0.0.1:1")


async def waiting(world, connection):
    """Return what waits for a connection."""
    return await outbox.waiting(world.database, world.tenant, connection.connection, limit=100)


async def lease(world, connection, *, worker=ME, seconds=60.0, lane="live", most=10):
    """Lease what is due."""
    portion = Portion(tenant_id=world.tenant, connection=connection.connection, lane=lane, most=most)
    async with world.database.transaction(world.tenant) as session:
        return await outbox.lease(session, [portion], worker=worker, seconds=seconds)


async def done(world, row, *, worker=ME):
    """Take a row out."""
    async with world.database.transaction(world.tenant) as session:
        return await outbox.done(session, row, worker=worker)


def vendor(connection, *mutations):
    """Return a submission in a connection's own name."""
    return Submission(rid=connection.rid, person="", authority="erp", mutations=mutations, numbered=False)


async def test_what_changes_waits_and_newer_versions_fall_together(world, connection):
    """However often a record changes, it waits once: from the first change that was not told to the newest."""
    await world.order(1)
    await world.order(2)
    for title in ("Pump", "Valve"):
        await world.submit(world.office(seen("work_orders", job(1), set={"title": title})))

    found = {row.record_id: row.seq for row in await waiting(world, connection)}
    (first,) = [row for row in await lease(world, connection) if row.record_id == job(1)]
    assert found == {job(1): 4, job(2): 2}
    assert (first.from_seq, first.seq, first.lane, first.correct) == (1, 4, "live", False)


async def test_a_collection_that_nobody_asked_for_waits_for_nobody(world, connection):
    """A connection is told of the collections that its mapping names, and of no others."""
    await world.submit(world.office(seen("customers", job(9), op="create", set={"phone": "1"})))

    assert await waiting(world, connection) == []


async def test_a_tx_waits_with_all_its_records_and_so_does_a_delete(world, connection):
    """What is committed together waits together; a deleted record waits like a changed one."""
    await world.order(1)
    tx = [seen("work_orders", job(n), op="create", set={"title": "t"}, tx="a") for n in (2, 3)]
    await world.submit(world.office(*tx))
    await world.submit(world.office(seen("work_orders", job(1), op="delete")))

    assert {row.record_id for row in await waiting(world, connection)} == {job(1), job(2), job(3)}


async def test_a_tx_that_is_refused_leaves_nothing_waiting(world, connection):
    """What was taken back when one of a tx could not be meant is not told either."""
    good = seen("work_orders", job(1), op="create", set={"title": "t"}, tx="a")
    bad = seen("work_orders", job(2), set={"title": "t"}, tx="a")
    answer = await world.submit(world.office(good, bad))

    assert verdicts(answer) == ["refused", "refused"]
    assert await waiting(world, connection) == []


async def test_a_system_is_not_told_what_it_said_itself(world, trial, connection):
    """A change that a connection made and that stands as it was made goes to all others, and not back."""
    other = await trial.connect(world.tenant, "http://127.0.0.1:1")
    await world.order(1)
    for each in (connection, other):
        for row in await lease(world, each):
            await done(world, row)

    answer = await world.submit(vendor(connection, seen("work_orders", job(1), set={"cost": "10"})))

    assert verdicts(answer) == ["applied"]
    assert await waiting(world, connection) == []
    assert [row.record_id for row in await waiting(world, other)] == [job(1)]


@pytest.mark.parametrize(
    ("fields", "base", "why"),
    [({"title": "Theirs"}, 2**40, "not its to write"), ({"cost": "7", "title": "Theirs"}, 2**40, "in part")],
)
async def test_a_system_is_told_back_what_did_not_stand(world, connection, fields, base, why):
    """What a system wrote and may not write is told back to it, even if it was told the same before."""
    await world.order(1)
    for row in await lease(world, connection):
        await done(world, row)

    await world.submit(vendor(connection, seen("work_orders", job(1), set=fields, base=base)))
    (row,) = await lease(world, connection)

    assert (row.record_id, row.correct) == (job(1), True), why


async def test_a_system_is_told_back_what_was_merged(world, connection):
    """Where the hub made one value of the system's and another one's, that value is no echo."""
    await world.order(1)
    await world.submit(world.office(seen("work_orders", job(1), set={"notes": "Dog."})))
    for row in await lease(world, connection):
        await done(world, row)

    added = seen("work_orders", job(1), do={"notes": {"append": " Key at No. 5."}}, base=1)
    answer = await world.submit(msgspec.structs.replace(vendor(connection, added), authority="office"))

    assert verdicts(answer) == ["merged"]
    assert [(row.record_id, row.correct) for row in await lease(world, connection)] == [(job(1), True)]


async def test_a_system_is_told_back_what_lost(world, connection):
    """A vendor's late edit that is superseded leaves it with another value than ours, so it hears ours again."""
    await world.order(1, status="new")
    await world.submit(world.office(seen("work_orders", job(1), set={"status": "done"})))
    for row in await lease(world, connection):
        await done(world, row)

    late = seen("work_orders", job(1), set={"status": "theirs"}, base=1)
    answer = await world.submit(msgspec.structs.replace(vendor(connection, late), authority="office"))

    assert verdicts(answer) == ["superseded"]
    assert [(row.record_id, row.correct) for row in await lease(world, connection)] == [(job(1), True)]


async def test_a_value_that_cannot_be_ours_is_not_corrected_there(world, connection):
    """What cannot be stored here at all stays a matter of that system."""
    await world.order(1)
    for row in await lease(world, connection):
        await done(world, row)

    answer = await world.submit(vendor(connection, seen("work_orders", job(1), set={"cost": "no number"})))

    assert verdicts(answer) == ["refused"]
    assert await waiting(world, connection) == []


async def test_what_comes_while_it_is_worked_on_is_not_lost(world, connection):
    """A row that got newer stays, is due at once, and is leased with what is new."""
    await world.order(1)
    (row,) = await lease(world, connection)
    await world.submit(world.office(seen("work_orders", job(1), set={"title": "Pump"})))

    assert await lease(world, connection, worker=OTHER) == [], "of one record one version is worked on at a time"
    assert await done(world, row)
    (again,) = await lease(world, connection, worker=OTHER)
    assert (again.seq, again.from_seq) == (2, 1)
    assert await done(world, again, worker=OTHER)
    assert await waiting(world, connection) == []


async def test_a_lease_that_ran_out_is_another_workers(world, connection):
    """Whoever comes back too late changes nothing."""
    await world.order(1)
    (row,) = await lease(world, connection, seconds=-1.0)
    (taken,) = await lease(world, connection, worker=OTHER)

    assert not await done(world, row)
    assert taken.attempts == 2
    assert await done(world, taken, worker=OTHER)


async def test_a_backfill_tells_of_all_that_lives_and_of_nothing_twice(world, trial, monkeypatch):
    """It goes through a collection page by page, behind what is live, and a change takes a row out of its lane."""
    monkeypatch.setattr(outbox, "BACKFILL_ROWS", 2)
    await world.submit(world.office(*(seen("work_orders", job(n), op="create", set={"title": "t"}) for n in range(5))))
    await world.submit(world.office(seen("work_orders", job(4), op="delete")))
    late = await trial.connect(world.tenant, "http://127.0.0.1:1")

    marked = [await outbox.backfill(world.database, world.tenant, late.connection, "work_orders") for _ in range(2)]
    await world.submit(world.office(seen("work_orders", job(2), set={"title": "new"})))
    lanes = {row.record_id: row.lane for row in await waiting(world, late)}

    assert marked == [4, 4]
    assert lanes == {job(0): "backfill", job(1): "backfill", job(2): "live", job(3): "backfill"}


async def test_what_waits_for_a_record_is_due_when_that_is_there(world, connection):
    """A row that was put off for another record is woken by it, and by its own next version."""
    await world.order(1)
    (row,) = await lease(world, connection)
    async with world.database.transaction(world.tenant) as session:
        await outbox.put_off(session, row, worker=ME, seconds=600, waits_on=job(2), reason="waits")
    assert await lease(world, connection) == []

    async with world.database.transaction(world.tenant) as session:
        await outbox.wake(session, world.tenant, connection.connection, job(2))

    assert [each.record_id for each in await lease(world, connection)] == [job(1)]


async def test_a_pause_and_a_state_are_there_to_be_read(world, connection):
    """What an operator sets at a connection is what a worker reads."""
    await connections.set_pace(
        world.database, world.tenant, connection.connection, in_flight_max=3, backfill_share=50, backfill_paused=True
    )
    await connections.set_state(world.database, world.tenant, connection.connection, "paused", "holidays")

    found = await connections.get(world.database, world.tenant, connection.connection)
    assert (found.in_flight_max, found.backfill_share, found.backfill_paused) == (3, 50, True)
    assert (found.state, found.state_reason) == ("paused", "holidays")


async def test_interests_hold_from_the_moment_they_are_published(world, trial, connection):
    """What was settled before is found by a backfill, what is settled after waits by itself."""
    await world.order(1)
    await trial.publish(connection, told("upsert", collection="customers", title="record.phone"))
    await world.order(2)
    await world.submit(world.office(seen("customers", job(3), op="create", set={"phone": "1"})))

    assert [row.record_id for row in await waiting(world, connection)] == [job(1), job(3)]
    assert await backdoor.open_work(world.database, world.tenant) == 2


async def test_a_word_to_plan_anew_is_not_taken_out_with_what_is_being_planned(world, connection):
    """Whoever plans the record at this moment loses it, since it knows less: the row stays, and is due."""
    await world.order(1)
    key = ("work_orders", job(1))
    await backdoor.mark(world.database, connection, key, correct=True)
    (row,) = await lease(world, connection)

    await backdoor.mark(world.database, connection, key, correct=True)

    assert not await done(world, row)
    (again,) = await lease(world, connection, worker=OTHER)
    assert (again.record_id, again.correct) == (job(1), True)
