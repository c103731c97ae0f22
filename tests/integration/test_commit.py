"""The committers on a real database: groups, locks, failures."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from replication.mutation import Mutation
from syncserver.commands import commit
from syncserver.commands.errors import NoCatalogue, Overloaded, SubmissionFailed, Unavailable, UnknownReplica
from syncserver.store import db, devices, group
from tests.integration.world import ANA, job, seen, told, verdicts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from replication.state import Answer, Submission

STATEMENTS_OF_A_GROUP = 6
"""BEGIN, the lock, two reads, one write, COMMIT."""


async def together(committers: commit.Committers, submissions: Iterable[tuple[int, Submission]]) -> list[Answer]:
    """Have all of these waiting before the committers start, so that they form one group."""
    waiting = [asyncio.create_task(committers.submit(tenant, each)) for tenant, each in submissions]
    await asyncio.sleep(0)
    await committers.start()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    await committers.stop()
    return answers


@asynccontextmanager
async def counted(url: str) -> AsyncIterator[tuple[commit.Committers, list[str]]]:
    """Give one committer with warm connections, and the statements it runs."""
    statements: list[str] = []
    database = await db.connect(url, observe=lambda query: statements.append(query.query))
    yield commit.Committers(database, count=1), statements
    await database.close()


def mix(phone, start: int, size: int) -> list[Mutation]:
    """Return creates with parents, edits, and edits that lose, a third of each."""
    made = []
    for i in range(start, start + size):
        kind = i % 3
        if kind == 0:
            made.append(phone.edit(job(1000 + i), collection="tasks", op="create", set={"work_order_id": job(1)}))
        elif kind == 1:
            made.append(phone.edit(job(1), set={"status": f"step {i}"}))
        else:
            made.append(phone.edit(job(2), set={"title": f"mine {i}"}, base=0))
    return made


@pytest.mark.parametrize(("pushes", "size"), [(1, 1), (1, 10), (1, 320), (32, 10)])
async def test_a_group_is_a_constant_number_of_statements(world, database_url, pushes, size):
    """1, 10 and 320 mutations of one mix take the same statements, in one push or in many."""
    await world.order(1, assignee_id=ANA)
    await world.order(2, assignee_id=ANA)
    phones = [await world.phone(ANA) for _ in range(pushes)]
    submissions = [(world.tenant, phone.push(*mix(phone, 1000 * i, size))) for i, phone in enumerate(phones)]

    async with counted(database_url) as (committers, statements):
        answers = await together(committers, submissions)

    assert sum(len(answer.verdicts) for answer in answers) == pushes * size
    assert len(statements) == STATEMENTS_OF_A_GROUP


async def test_two_tenants_share_a_group(world, database_url):
    """Pushes of two tenants are settled in one transaction, each on its own number line."""
    other, office = await world.add_tenant("Southwind Heating")
    here = world.office(seen("work_orders", job(1), op="create", set={"title": "here"}))
    there = world.office(seen("work_orders", job(1), op="create", set={"title": "there"}), rid=office)

    async with counted(database_url) as (committers, statements):
        answers = await together(committers, [(world.tenant, here), (other, there)])

    assert [verdicts(answer) for answer in answers] == [["applied"], ["applied"]]
    assert [told(answer.verdicts[0]).rev for answer in answers] == [1, 1]
    assert len(statements) == STATEMENTS_OF_A_GROUP


async def test_a_committer_that_waited_for_the_lock_sees_what_the_holder_wrote(world, database_url, monkeypatch):
    """An edit that was judged after another one is judged against what that one installed."""
    await world.order(1, assignee_id=ANA)
    ana, ben = await world.phone(ANA), await world.phone(ANA)
    first = ana.push(ana.edit(job(1), set={"status": "on site"}, base=1))
    second = ben.push(ben.edit(job(1), set={"status": "cancelled"}, base=1))
    holding, go_on = asyncio.Event(), asyncio.Event()
    write = group.write

    async def held(*arguments, **named):
        await write(*arguments, **named)
        if not holding.is_set():
            holding.set()
            await go_on.wait()

    monkeypatch.setattr(group, "write", held)
    async with counted(database_url) as (others, statements):
        await others.start()
        one = asyncio.create_task(world.submit(first))
        await holding.wait()
        two = asyncio.create_task(others.submit(world.tenant, second))
        await asyncio.sleep(0.2)
        assert not two.done()

        go_on.set()

        assert verdicts(await one) == ["applied"]
        assert verdicts(await two) == ["superseded"]
        assert len(statements) == STATEMENTS_OF_A_GROUP, "it saw the first edit at once, and not by trying again"
        await others.stop()


async def test_a_poisoned_push_fails_alone(world, database_url):
    """What cannot be stored spoils neither its group nor its device."""
    await world.order(1, assignee_id=ANA)
    phones = [await world.phone(ANA) for _ in range(5)]
    pushes = [phone.push(phone.edit(job(1), set={"status": f"by {i}"})) for i, phone in enumerate(phones)]
    beyond_64_bits = phones[2].push(seen("work_orders", job(1), 1, set={"status": "poison"}, at=2**80))
    pushes[2] = beyond_64_bits

    async with counted(database_url) as (committers, _):
        answers = await together(committers, [(world.tenant, push) for push in pushes])

    assert [type(answer).__name__ for answer in answers] == ["Answer", "Answer", "SubmissionFailed", "Answer", "Answer"]
    assert isinstance(answers[2], SubmissionFailed)
    again = await world.submit(phones[2].push(seen("work_orders", job(1), 1, set={"status": "better"})))
    assert (again.applied, verdicts(again)) == (1, ["applied"])


async def test_a_busy_tenant_waits_for_the_next_group_and_delays_nobody(world, database_url):
    """The lock of another tenant, held elsewhere, does not keep the rest of a group waiting."""
    other, office = await world.add_tenant("Southwind Heating")
    here = world.office(seen("work_orders", job(1), op="create", set={"title": "here"}))
    there = world.office(seen("work_orders", job(1), op="create", set={"title": "there"}), rid=office)
    holder = await db.connect(database_url)

    async with holder.transaction(other) as connection:
        await group.lock(connection, [other])
        waiting = [
            asyncio.create_task(world.committers.submit(*each)) for each in ((world.tenant, here), (other, there))
        ]
        assert verdicts(await asyncio.wait_for(waiting[0], 5)) == ["applied"]
        assert not waiting[1].done()

    assert verdicts(await asyncio.wait_for(waiting[1], 5)) == ["applied"]
    await holder.close()


async def test_nobody_is_put_back_for_ever(world):
    """A submission that was put back leads the next group, whatever its tenant's number."""
    committers = commit.Committers(world.database)
    pushes = [(9, world.office()), (3, world.office()), (5, world.office()), (3, world.office())]
    waiting = [asyncio.create_task(committers.submit(tenant, each)) for tenant, each in pushes]
    await asyncio.sleep(0)
    committers._queue[0].put_back = True

    groups = [[pending.tenant_id for pending in committers._take()] for _ in range(2)]

    assert groups == [[9], [3, 5, 3]]
    for task in waiting:
        task.cancel()


async def test_a_full_queue_says_so(world):
    """Beyond the limit a submission is turned away at once, with a time to come back."""
    committers = commit.Committers(world.database, limits=commit.Limits(queue=1))
    first = asyncio.create_task(committers.submit(world.tenant, world.office()))
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refusal:
        await committers.submit(world.tenant, world.office())

    assert refusal.value.retry_after_ms
    first.cancel()


async def test_stopping_settles_what_waits_and_turns_the_rest_away(world):
    """A server that stops answers everybody it has let in."""
    committers = commit.Committers(world.database)
    waiting = asyncio.create_task(
        committers.submit(world.tenant, world.office(seen("work_orders", job(1), op="create", set={"title": "last"})))
    )
    await asyncio.sleep(0)
    await committers.start()
    await committers.stop()

    assert verdicts(await waiting) == ["applied"]
    with pytest.raises(Unavailable):
        await committers.submit(world.tenant, world.office())


async def test_a_replica_or_a_catalogue_that_is_not_there(world):
    """A submission that cannot be judged is answered by what is missing."""
    bare = (await devices.create_tenant(world.database, "Nobody yet")).tenant_id

    with pytest.raises(UnknownReplica):
        await world.submit(world.office(rid=999))
    with pytest.raises(NoCatalogue):
        await world.submit(world.office(), bare)
    with pytest.raises(NoCatalogue):
        await world.submit(world.office(), 12_345)


async def test_a_fenced_device_is_not_judged(world):
    """Shutting a device out holds from the next group on."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await devices.fence(world.database, world.tenant, phone.rid)

    answer = await world.submit(phone.push(phone.edit(job(1), set={"status": "late"})))

    assert (answer.problem, answer.verdicts, answer.applied) == ("fenced", (), 0)


async def test_a_repeat_under_an_idempotency_key_gets_the_stored_answer(world):
    """The office's write is carried out once, however often it is sent."""
    first = world.office(
        seen("work_orders", job(1), op="create", set={"title": "once"}), idempotency="key-1", request_hash=b"a"
    )
    other = world.office(
        seen("work_orders", job(2), op="create", set={"title": "else"}), idempotency="key-1", request_hash=b"b"
    )

    answers = [await world.submit(each) for each in (first, first, other)]

    assert told(answers[0].verdicts[0]) == told(answers[1].verdicts[0])
    assert answers[2].problem == "idempotency_key_reused"
    async with world.database.transaction(world.tenant) as connection:
        assert await connection.fetchval("SELECT count(*) FROM changes WHERE tenant_id = $1", world.tenant) == 1


async def test_ids_that_are_no_uuid_are_refused_and_block_nothing(world):
    """A mutation that names nonsense gets its verdict, and its neighbours theirs."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    nonsense = phone.edit("../../etc", set={"title": "x"})
    dangling = phone.edit(job(5), collection="tasks", op="create", set={"work_order_id": "nowhere"})
    good = phone.edit(job(1), set={"status": "on site"})

    answer = await world.submit(phone.push(nonsense, dangling, good))

    assert verdicts(answer)[::2] == ["refused", "applied"]
    assert answer.applied == 3
