"""The connection or the server goes away between any two statements of a group."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from syncserver.commands import commit
from syncserver.commands.errors import Unavailable
from syncserver.store import db, group
from tests.integration.proxy import Proxy
from tests.integration.world import ANA, Phone, World, job, seen, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from replication.state import Answer, Submission

STATEMENTS = range(1, 7)
"""BEGIN, the lock, two reads, the write, COMMIT."""

MOMENTS = ["before", "after"]


@asynccontextmanager
async def behind_a_proxy(url: str, attempts: int) -> AsyncIterator[tuple[Proxy, commit.Committers]]:
    """Give committers whose connections can be cut."""
    proxy = Proxy(url)
    database = await db.connect(await proxy.start())
    committers = commit.Committers(database, count=1, limits=commit.Limits(attempts=attempts))
    await committers.start()
    try:
        yield proxy, committers
    finally:
        await committers.stop()
        await database.close()
        await proxy.stop()


def push(phone: Phone, number: int) -> Submission:
    """Return a push that creates, applies, merges, loses and is refused."""
    return phone.push(
        phone.edit(job(number + 500), collection="tasks", op="create", set={"work_order_id": job(number)}, tx="a"),
        phone.edit(job(number), set={"status": "on site"}, tx="a"),
        phone.edit(job(number), do={"notes": {"append": " and the valve"}}, base=0),
        phone.edit(job(number), set={"title": "mine"}, base=0),
        phone.edit(job(number), set={"cost": "12"}),
    )


def shape(answer: Answer) -> list[Any]:
    """Return what two runs of the same push on two records have in common."""
    return [
        (each.n, each.verdict, {name: (cell.verdict, cell.value, cell.code) for name, cell in each.cells.items()})
        for each in map(told, answer.verdicts)
    ]


async def left_behind(world: World, rid: int) -> tuple[int, int, int]:
    """Return how many verdicts, changes and conflicts a replica has caused."""
    async with world.database.transaction(world.tenant) as connection:
        return (
            await connection.fetchval(
                "SELECT count(*) FROM ledger WHERE tenant_id = $1 AND rid = $2", world.tenant, rid
            ),
            await connection.fetchval(
                "SELECT count(*) FROM changes WHERE tenant_id = $1 AND rid = $2", world.tenant, rid
            ),
            await connection.fetchval(
                "SELECT count(*) FROM conflicts WHERE tenant_id = $1 AND conflict_id LIKE $2", world.tenant, f"{rid}-%"
            ),
        )


async def undisturbed(world: World, number: int) -> tuple[list[Any], tuple[int, int, int]]:
    """Return what the push gives, and leaves behind, when nothing goes wrong."""
    await world.order(number, assignee_id=ANA, notes="look at the pump")
    phone = await world.phone(ANA)
    answer = await world.submit(push(phone, number))
    return shape(answer), await left_behind(world, phone.rid)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_a_broken_connection_is_not_noticed_by_the_device(world, database_url, statement, moment):
    """Wherever the connection breaks, the push is settled once and answered as if it had not."""
    expected = await undisturbed(world, 1)
    await world.order(2, assignee_id=ANA, notes="look at the pump")
    phone = await world.phone(ANA)

    async with behind_a_proxy(database_url, commit.ATTEMPTS_MAX) as (proxy, committers):
        proxy.arm(statement, moment)
        answer = await committers.submit(world.tenant, push(phone, 2))

    assert proxy.cuts == 1
    assert (shape(answer), await left_behind(world, phone.rid)) == expected


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_a_push_that_is_sent_again_gets_the_same_verdicts(world, database_url, statement, moment):
    """Wherever a server dies, another one gives the repeated push the verdicts of an undisturbed one."""
    expected = await undisturbed(world, 1)
    await world.order(2, assignee_id=ANA, notes="look at the pump")
    phone = await world.phone(ANA)
    sent = push(phone, 2)

    async with behind_a_proxy(database_url, attempts=1) as (proxy, committers):
        proxy.arm(statement, moment)
        with pytest.raises(Unavailable):
            await committers.submit(world.tenant, sent)
    answer = await world.submit(sent)

    assert proxy.cuts == 1
    assert (shape(answer), await left_behind(world, phone.rid)) == expected


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("statement", STATEMENTS)
async def test_a_submission_without_numbers_is_settled_once(world, database_url, statement, moment):
    """An import or a vendor's edit, which carries no number, is not carried out twice either."""
    await world.order(1)
    before = await left_behind(world, world.office_rid)
    edits = [seen("work_orders", job(1), do={"notes": {"append": text}}) for text in ("one, ", "two")]

    async with behind_a_proxy(database_url, commit.ATTEMPTS_MAX) as (proxy, committers):
        proxy.arm(statement, moment)
        answer = await committers.submit(world.tenant, world.office(*edits))

    assert proxy.cuts == 1
    assert [each.verdict for each in map(told, answer.verdicts)] == ["applied", "applied"]
    assert await left_behind(world, world.office_rid) == (before[0] + 2, before[1] + 2, before[2])


async def test_a_backend_that_is_ended_by_the_operator(world, monkeypatch):
    """A group whose backend is terminated while it works is settled by the next attempt."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    read, ended = group.read, []

    async def ending(connection, *rest):
        found = await read(connection, *rest)
        if not ended:
            ended.append(connection.get_server_pid())
            other = await asyncpg.connect(world.url)
            await other.execute("SELECT pg_terminate_backend($1)", ended[0])
            await other.close()
        return found

    monkeypatch.setattr(group, "read", ending)
    answer = await world.submit(phone.push(phone.edit(job(1), set={"status": "on site"})))

    assert ended
    assert [each.verdict for each in map(told, answer.verdicts)] == ["applied"]


async def test_marks_are_pruned(world):
    """What is needed for a minute is not kept for ever."""
    yesterday = commit.Committers(world.database, clock=lambda: 1e9)
    await yesterday.start()
    await yesterday.submit(world.tenant, world.office(seen("work_orders", job(1), op="create", set={"title": "old"})))
    await yesterday.stop()
    async with world.database.transaction(world.tenant) as connection:
        await connection.execute("UPDATE marks SET mark = '01000000-0000-7000-8000-000000000000'")

    await world.submit(world.office(seen("work_orders", job(1), set={"title": "new"})))

    async with world.database.transaction(world.tenant) as connection:
        marks = await connection.fetch("SELECT mark::text FROM marks")
    assert len(marks) == 1
    assert not marks[0]["mark"].startswith("01000000")
