"""What recurs for every tenant: what is old goes, what is needed stays, and workers share the work."""

from __future__ import annotations

import asyncio

import pytest

from syncserver.commands import upkeep
from syncserver.commands.seen import SeenVerdicts
from syncserver.commands.upkeep import Rules, Upkeep
from syncserver.store import db, devices, people
from syncserver.store.people import Grant
from tests.integration.proxy import Proxy
from tests.integration.service import Service, serving
from tests.integration.world import ANA, DORA, job, told

RULES = Rules(seconds=60, rows=10)
PATIENCE_SECONDS = 30


@pytest.fixture
def observed():
    """Give a list that gathers the turns of a worker."""
    return []


@pytest.fixture
def worker(world):
    """Give the upkeep of one worker, which looks when it is told to."""
    return Upkeep(world.database, RULES, lambda _: None)


async def sql(world, statement, *arguments):
    """Run a statement for the tenant, and return its one value."""
    async with world.database.transaction(world.tenant) as connection:
        return await connection.fetchval(statement, *arguments)


async def count(world, table):
    """Return how many rows of the tenant a table has."""
    return await sql(world, f"SELECT count(*) FROM {table} WHERE tenant_id = $1", world.tenant)


async def answers(world, number, *, days):
    """Keep so many answers under idempotency keys, as if they had been given so many days ago."""
    await sql(
        world,
        "INSERT INTO remembered (tenant_id, key, request_hash, verdict, made_at)"
        " SELECT $1, format('%s days, %s', $3::integer, i), '', '', now() - make_interval(days => $3)"
        " FROM generate_series(1, $2) AS i",
        world.tenant,
        number,
        days,
    )


async def test_old_answers_go_and_young_ones_stay(world, worker):
    """An answer is kept under its idempotency key for as long as the setting says, and no longer."""
    await answers(world, 7, days=31)
    await answers(world, 3, days=29)

    await worker.look()

    assert await count(world, "remembered") == 3


async def test_a_turn_takes_a_bounded_number_of_rows_and_the_rest_follows(world, observed):
    """A large heap goes in turns, each a transaction of its own, until nothing is left to do."""
    await answers(world, 25, days=31)
    stop = asyncio.Event()

    def observe(turn):
        observed.append(turn)
        if (turn.task, turn.outcome) == ("answers", "done"):
            stop.set()

    await Upkeep(world.database, RULES, observe).run(stop)

    turns = [(turn.outcome, turn.rows) for turn in observed if turn.task == "answers"]
    assert turns == [("more", 10), ("more", 10), ("done", 5)]
    assert await count(world, "remembered") == 0


async def test_what_was_done_is_not_due_again_before_its_interval(world, worker):
    """A second look finds nothing to do, for this worker and for a new one."""
    first = await worker.look()

    again = await worker.look()
    others = await Upkeep(world.database, RULES, lambda _: None).look()
    await sql(world, "UPDATE upkeep SET done_at = now() - interval '61 s' WHERE task = 'marks'")
    later = await worker.look()

    assert sorted(turn.task for turn in first) == sorted(upkeep.TASKS)
    assert again == others == []
    assert [(turn.task, turn.outcome) for turn in later] == [("marks", "done")]


async def test_used_and_expired_credentials_go_after_a_while(world, worker):
    """Codes that were used, and codes and tokens that are expired or revoked, are forgotten; all others stay good."""
    old, young = "interval '31 days'", "interval '29 days'"
    reusable = await devices.create_code(world.database, world.tenant, ANA, reusable=True)
    for ago in (old, young):
        await world.phone(ANA)
        await sql(world, f"UPDATE enrolment_codes SET used_at = now() - {ago} WHERE used_at > now() - interval '1 h'")
        await devices.create_code(world.database, world.tenant, ANA, lifetime_seconds=60)
        await sql(
            world, f"UPDATE enrolment_codes SET expires_at = now() - {ago} WHERE expires_at > now() - interval '1 h'"
        )
    await sql(world, f"UPDATE enrolment_codes SET used_at = now() - {old} WHERE reusable")
    for ago in (old, young):
        for column in ("expires_at", "revoked_at"):
            await people.create_token(world.database, world.tenant, Grant(person=DORA))
            await sql(
                world,
                f"UPDATE tokens SET {column} = now() - {ago}"
                " WHERE rid IS NULL AND expires_at IS NULL AND revoked_at IS NULL",
            )
    good = await people.create_token(world.database, world.tenant, Grant(person=DORA))
    before = await count(world, "enrolment_codes"), await count(world, "tokens")

    await worker.look()

    assert before == (5, 2 * 2 + 4 + 1)
    assert (await count(world, "enrolment_codes"), await count(world, "tokens")) == (3, 2 * 2 + 2 + 1)
    assert await people.find_token(world.database, good) is not None
    assert (await devices.enrol(world.database, reusable, name="a tablet", platform=None)).person == ANA


async def test_marks_of_a_silent_tenant_go(world, worker):
    """The marks of writes that no committer can ask for any more are forgotten, the newest stay."""
    await world.order(1)
    await sql(world, "INSERT INTO marks VALUES ($1, '01000000-0000-7000-8000-000000000000')", world.tenant)

    await worker.look()

    assert await count(world, "marks") == 1


async def test_verdicts_that_their_device_has_go_when_they_are_in_every_backup(world, worker):
    """The ledger is trimmed below the lower of both numbers, and no further; what is asked for again has expired."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    sent = [phone.push(phone.edit(job(1), set={"status": f"step {n}"})) for n in range(6)]
    for push in sent:
        await world.submit(push)
    noted = SeenVerdicts(world.database)
    noted.note(world.tenant, phone.rid, 4, applied=6)
    await noted.flush()
    ledger = "SELECT array_agg(n ORDER BY n) FROM ledger WHERE tenant_id = $1 AND rid = $2"

    await worker.look()
    untouched = await sql(world, ledger, world.tenant, phone.rid)
    for durable, expected in ((2, [2, 3, 4, 5, 6]), (99, [4, 5, 6])):
        await sql(world, "UPDATE seen_verdicts SET durable = $1", durable)
        await sql(world, "DELETE FROM upkeep")
        await worker.look()
        assert await sql(world, ledger, world.tenant, phone.rid) == expected

    assert untouched == [1, 2, 3, 4, 5, 6]
    assert told((await world.submit(sent[2])).verdicts[0]).code == "verdict_expired"
    assert told((await world.submit(sent[5])).verdicts[0]).verdict == "applied"


async def test_a_payload_that_is_kept_stays(world, worker):
    """What was refused is still there for a person, however old its verdict is."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    edits = [phone.edit(job(1), set=fields) for fields in ({"cost": "12"}, {"status": "on site"}, {"status": "done"})]
    await world.submit(phone.push(*edits))
    await sql(world, "INSERT INTO seen_verdicts VALUES ($1, $2, 3, 3)", world.tenant, phone.rid)

    await worker.look()

    ledger = "SELECT array_agg(n ORDER BY n) FROM ledger WHERE tenant_id = $1 AND rid = $2"
    assert await sql(world, ledger, world.tenant, phone.rid) == [1, 3]


async def test_what_a_device_says_of_its_verdicts_is_stored_and_only_grows(world):
    """A device cannot have verdicts that were never given, and an older word does not take back a newer one."""
    phone = await world.phone(ANA)
    noted = SeenVerdicts(world.database)
    stored = "SELECT n FROM seen_verdicts WHERE tenant_id = $1 AND rid = $2"

    noted.note(world.tenant, phone.rid, -1, applied=5)
    await noted.flush()
    assert await sql(world, stored, world.tenant, phone.rid) is None
    for said, expected in ((3, 3), (900, 5), (4, 5)):
        noted.note(world.tenant, phone.rid, said, applied=5)
        await noted.flush()
        assert await sql(world, stored, world.tenant, phone.rid) == expected


async def test_a_push_carries_it_there(database_url, database):
    """The number that a device sends beside its mutations reaches the store, at the latest when the server ends."""
    async with serving(database_url) as url:
        service = Service(url, database)
        await service.add_tenant()
        desk, phone = await service.office(), await service.device()
        await desk.create(1, assignee_id=ANA)
        await phone.settled(phone.edit(1, set={"status": "on site"}))
        await phone.settled(phone.edit(1, set={"status": "done"}), verdicts_seen=1)
        await service.close()

    async with database.transaction(service.tenant) as connection:
        stored = await connection.fetch("SELECT rid, n FROM seen_verdicts")
    assert [tuple(row) for row in stored] == [(phone.enrolled["rid"], 1)]


async def test_two_workers_at_once_share_the_work(world, observed):
    """However many workers look at the same moment, each task is done once for each tenant, and none is left."""
    tenants = [world.tenant, *[(await world.add_tenant(f"Tenant {n}"))[0] for n in range(5)]]
    workers = [Upkeep(world.database, RULES, observed.append) for _ in range(3)]

    await asyncio.gather(*(each.look() for each in workers))

    done = sorted((turn.tenant_id, turn.task) for turn in observed if turn.outcome == "done")
    assert done == sorted((tenant, task) for tenant in tenants for task in upkeep.TASKS)
    assert {turn.outcome for turn in observed} <= {"done", "taken"}


async def test_a_task_that_somebody_is_at_is_left_to_them(world, worker):
    """Nobody waits for the lock of a task; it stays due until it was done."""
    async with world.database.transaction(world.tenant) as connection:
        await connection.execute(
            "SELECT pg_advisory_xact_lock($1, $2)", upkeep.LOCKS + upkeep.PLACES["answers"], world.tenant
        )
        turns = {turn.task: turn.outcome for turn in await worker.look()}
    later = await worker.look()

    assert turns == dict.fromkeys(upkeep.TASKS, "done") | {"answers": "taken"}
    assert [(turn.task, turn.outcome) for turn in later] == [("answers", "done")]


async def test_a_task_that_fails_for_one_tenant_keeps_no_other_waiting(world, worker, monkeypatch):
    """The failure is told, put off, and tried again later; the other tasks and tenants are served."""
    other, _ = await world.add_tenant("Southwind Heating")
    real = upkeep.TASKS["answers"]

    async def failing(task_job):
        if task_job.tenant_id == other:
            raise RuntimeError("a row that cannot be")
        return await real(task_job)

    monkeypatch.setitem(upkeep.TASKS, "answers", failing)
    turns = await worker.look()
    again = await worker.look()

    failed = [(turn.tenant_id, turn.task) for turn in turns if turn.outcome == "failed"]
    assert failed == [(other, "answers")]
    assert len([turn for turn in turns if turn.outcome == "done"]) == 2 * len(upkeep.TASKS) - 1
    assert again == []
    assert worker.is_ready


async def looked_until_done(worker, world, statement):
    """Look again: a task stays taken until PostgreSQL, too, has noticed that the other connection is gone."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            await worker.look()
            assert worker.is_ready, statement
            if await count(world, "upkeep") == len(upkeep.TASKS):
                return
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_wherever_the_connection_breaks_the_work_is_done_once(world, database_url, moment):
    """Cut at each statement of a look in turn: the worker says so, goes on, and nothing is left or lost."""
    proxy = Proxy(database_url)
    behind = await db.connect(await proxy.start())
    worker, statement, was_cut = Upkeep(behind, RULES, lambda _: None), 0, True

    while was_cut:
        statement += 1
        await sql(world, "DELETE FROM upkeep")
        await answers(world, 3, days=31)
        await answers(world, 2, days=29)
        proxy.arm(statement, moment)
        await worker.look()
        was_cut = proxy.cuts == 1
        assert worker.is_ready is not was_cut, statement
        proxy.arm(0, moment)
        await looked_until_done(worker, world, statement)
        assert await count(world, "remembered") == 2, statement
        await sql(world, "DELETE FROM remembered")

    assert statement > 8 + 6 * len(upkeep.TASKS)
    await behind.close()
    await proxy.stop()
