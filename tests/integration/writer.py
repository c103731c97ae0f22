"""Run as a program: some writers, each with pools of its own, that hold their transactions open."""

from __future__ import annotations

import asyncio
import random
import sys

from replication.mutation import Mutation
from replication.state import Submission
from syncserver.commands import commit
from syncserver.store import db, group
from tests.integration.world import ANA, DORA, job

HOLD_SECONDS = 0.02


def hold_transactions(dice: random.Random) -> None:
    """Let each group wait between its last statement and COMMIT, when all its rows are written."""
    write = group.write

    async def slow(*arguments, **named):
        await write(*arguments, **named)
        await asyncio.sleep(dice.uniform(0, HOLD_SECONDS))

    group.write = slow


async def write(url: str, tenant: int, rid: int, first: int, count: int) -> None:
    """Create work orders, one a submission, from a process's own point of view as fast as it can."""
    database = await db.connect(url)
    committers = commit.Committers(database, count=1)
    await committers.start()
    for number in range(first, first + count):
        fields = {"title": f"by {rid}", "assignee_id": ANA}
        made = Mutation(n=0, op="create", collection="work_orders", id=job(number), set=fields)
        await committers.submit(
            tenant, Submission(rid=rid, person=DORA, authority="office", mutations=(made,), numbered=False)
        )
    await committers.stop()
    await database.close()


async def main(url: str, tenant: int, count: int, rids: list[int]) -> None:
    """Run the writers of this process at once."""
    hold_transactions(random.Random(rids[0]))
    await asyncio.gather(*(write(url, tenant, rid, rid * 10_000, count) for rid in rids))


if __name__ == "__main__":
    address, *numbers = sys.argv[1:]
    asyncio.run(main(address, int(numbers[0]), int(numbers[1]), [int(rid) for rid in numbers[2:]]))
