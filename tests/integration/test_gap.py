"""Numbers become visible in their order: nobody who reads while others write misses anything."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from syncserver.commands.page import LIMIT
from syncserver.store import devices
from tests import tied
from tests.integration.world import ANA, World, job

PROCESSES = 3
WRITERS_PER_PROCESS = 4
ORDERS_PER_WRITER = 30


async def start_writers(world: World) -> tuple[list[asyncio.subprocess.Process], set[str]]:
    """Start twelve writers in three processes; return them, and the ids they will create."""
    started, expected = [], set()
    for process in range(PROCESSES):
        rids = []
        for writer in range(WRITERS_PER_PROCESS):
            handle = f"import:{process}-{writer}"
            source = devices.Source(kind="import", authority="office", handle=handle, person="", label=handle)
            rids.append(await devices.replica(world.database, world.tenant, source))
        expected |= {job(rid * 10_000 + i) for rid in rids for i in range(ORDERS_PER_WRITER)}
        numbers = map(str, (world.tenant, ORDERS_PER_WRITER, *rids))
        command = tied.command("tests.integration.writer", world.url, *numbers)
        started.append(await asyncio.create_subprocess_exec(*command))
    return started, expected


async def read_on(world: World, writing: asyncio.Event, limit: int) -> list[tuple[int, str]]:
    """Pull as fast as pages come until the writers are done and nothing is left."""
    phone = await world.phone(ANA)
    told: list[tuple[int, str]] = []
    while True:
        writers_were_done = writing.is_set()
        page = await world.pull(phone, limit=limit)
        told += [(commit.seq, change.id) for commit in page.commits for change in commit.changes]
        if writers_were_done and not page.more:
            return told
        await asyncio.sleep(0.001)


async def test_twelve_writers_that_hold_their_transactions(world):
    """Of what twelve writers in three processes commit, each at its own pace, every reader is told all."""
    await world.pull(await world.phone(ANA))
    writers, expected = await start_writers(world)
    done = asyncio.Event()
    reading = [asyncio.create_task(read_on(world, done, limit)) for limit in (1, 7, LIMIT)]

    codes = await asyncio.gather(*(writer.wait() for writer in writers))
    done.set()
    readings = await asyncio.gather(*reading)

    assert codes == [0] * PROCESSES
    for told in readings:
        assert {record_id for _, record_id in told} == expected
        assert len(told) == len(expected)
        assert [seq for seq, _ in told] == sorted(seq for seq, _ in told)
    assert await turns_taken(world) > len(expected) / 2


async def turns_taken(world: World) -> int:
    """Return how often one writer's number followed another's: whether they really ran at once."""
    async with world.database.transaction(world.tenant) as connection:
        rows = await connection.fetch("SELECT rid FROM changes WHERE tenant_id = $1 ORDER BY seq", world.tenant)
    return sum(one["rid"] != other["rid"] for one, other in pairwise(rows))
