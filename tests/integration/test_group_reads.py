"""What a group reads beside records: older catalogues, what is held, when a replica was last heard of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from syncserver.catalogs import source
from syncserver.commands import catalog, commit
from syncserver.store import db
from tests.integration.world import ANA, World, job, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TEXT = source.text(None)
RENAMED = TEXT.replace('priority = { kind = "text", limit = 60', 'urgency = { kind = "text", limit = 60', 1)
STATEMENTS_OF_A_GROUP = 6
"""BEGIN, the lock, two reads, one write, COMMIT."""


@pytest.fixture
async def fresh(database_url: str) -> AsyncIterator[tuple[commit.Committers, list[str]]]:
    """Give a committer of a server that has just started and knows no catalogue, and the statements it runs."""
    statements: list[str] = []
    database = await db.connect(database_url, observe=lambda query: statements.append(query.query))
    committers = commit.Committers(database, count=1)
    await committers.start()
    yield committers, statements
    await committers.stop()
    await database.close()


async def test_a_server_that_has_just_started_knows_older_catalogues(
    world: World, fresh: tuple[commit.Committers, list[str]]
) -> None:
    """Their texts come with the same statement, once: the second time they are at hand."""
    await world.order(1, assignee_id=ANA)
    await catalog.publish(world.database, world.catalogs, world.tenant, RENAMED)
    committers, statements = fresh
    phone = await world.phone(ANA)
    codes = []
    for schema in (1, 1, 2, 3, 0):
        push = phone.push(phone.edit(job(1), set={"priority": "high"}))
        answer = await committers.submit(world.tenant, msgspec.structs.replace(push, schema=schema))
        codes.append(told(answer.verdicts[0]).cells.get("priority", told(answer.verdicts[0])).code)

    assert codes == ["held_schema", "held_schema", "invalid", "invalid", "invalid"]
    assert len(statements) == 5 * STATEMENTS_OF_A_GROUP


async def test_how_far_a_replicas_time_has_come_is_kept(world: World) -> None:
    """The time of a device's newest edit is there for the next one, also in another process, and only grows."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    found = []
    for received in (1_000, 3_000, 2_000):
        push = phone.push(phone.edit(job(1), set={"status": f"at {received}"}, at=received))
        await world.submit(msgspec.structs.replace(push, received=received))
        async with world.database.transaction(world.tenant) as connection:
            found.append(
                await connection.fetchval(
                    "SELECT clock FROM replicas WHERE tenant_id = $1 AND rid = $2", world.tenant, phone.rid
                )
            )

    assert found == [1_000, 3_000, 3_000]
