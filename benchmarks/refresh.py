"""How often a token that can be renewed once is renewed by many workers that find it expired at the same moment.

Run: `python -m benchmarks.refresh`. The issuer is slow, gives a new refresh token each time, and accepts none twice.
By turns the workers know that the token has expired, and find out by being refused.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from benchmarks import stage
from tests.integration import caller
from tests.peers import token_house
from upstream.credentials import Keeper

EXPIRED: Final = (
    "UPDATE credentials SET token_expires_at = clock_timestamp() - interval '1 s',"
    " renew_at = clock_timestamp() - interval '1 s' WHERE connection = $1"
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for on the command line."""

    processes: int
    tasks: int
    expiries: int
    slow: float


async def run(options: Options) -> dict[str, Any]:
    """Let the token expire again and again, and count what the issuer and the vendor were asked."""
    kinds: Counter[str] = Counter()
    rounds = []
    async with stage.staged(durable=False) as place, token_house.running() as house, AsyncExitStack() as stack:
        house.slow_seconds = options.slow
        keeper = Keeper(place.database, caller.KEYS)
        made = await caller.connected(place.database, house.url, tenant=place.world.tenant)
        await caller.signed_in(keeper, made)
        workers = [
            await stack.enter_async_context(caller.worker(place.url, made, tasks=options.tasks, patient=True))
            for _ in range(options.processes)
        ]
        for worker in workers:
            assert worker.stdout is not None
            await worker.stdout.readline()
        for number in range(options.expiries):
            if number % 2:
                house.expire()
            else:
                async with place.database.transaction(place.world.tenant) as session:
                    await session.execute(EXPIRED, made.connection)
            before, began = house.renewals, time.monotonic()
            for told in await asyncio.gather(*(caller.told(worker) for worker in workers)):
                kinds.update(told)
            rounds.append((house.renewals - before, time.monotonic() - began))
        await keeper.close()
    return {
        "options": msgspec.to_builtins(options),
        "machine": stage.machine(),
        "workers": options.processes * options.tasks,
        "expiries": options.expiries,
        "renewals_per_expiry": sorted({renewals for renewals, _ in rounds}),
        "renewals": house.renewals,
        "token_requests": house.arrivals,
        "invalid_grant": house.refused.count("invalid_grant"),
        "calls": dict(kinds),
        "longest_round_seconds": round(max(seconds for _, seconds in rounds), 1),
    }


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4, help="processes that call")
    parser.add_argument("--tasks", type=int, default=8, help="calls that each makes at once")
    parser.add_argument("--expiries", type=int, default=10, help="how often the token expires")
    parser.add_argument("--slow", type=float, default=2.0, help="seconds that the issuer takes")
    stage.quiet()
    stage.say(asyncio.run(run(Options(**vars(parser.parse_args())))), "refresh")


if __name__ == "__main__":
    main()
