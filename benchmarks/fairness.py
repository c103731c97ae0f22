"""What one tenant's backfill costs the others: how long a small tenant's change takes to be confirmed.

Run: `python -m benchmarks.fairness`. Fifty small tenants change a work order now and then; beside them one tenant
has its connection told of a hundred thousand records. Phases with the backfill at rest and at work alternate, so
that whatever else the machine does falls on both; the figure to keep is the ratio of the two p95.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks import stage
from tests.peers.vendor.demo import Demo
from upstream import connections, outbox

if TYPE_CHECKING:
    from benchmarks.stage import Stage
    from upstream.connections import Connection

KIND: Final = "upsert"
SETTLING_SECONDS: Final = 1.0
"""At the begin of each phase, what is not counted."""

WARMING_SECONDS: Final = 60.0
"""Until the workers have told what came while they began."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for on the command line."""

    tenants: int
    rows: int
    every: float
    phase: float
    rounds: int
    workers: int
    vendor_ms: float
    in_flight: int
    share: int


class Small(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant that changes something now and then."""

    tenant_id: int
    office_rid: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How long a change took to be confirmed, and each step of it, in seconds; `at` is when it was made."""

    at: float
    whole: float
    planned: float
    begun: float
    carried: float


async def traffic(place: Stage, small: Small, every: float, dice: random.Random) -> None:
    """Change something again and again, after pauses that are `every` seconds long on average."""
    number = 0
    await asyncio.sleep(dice.uniform(0, every))
    while True:
        number += 1
        await place.orders(small.tenant_id, small.office_rid, [number])
        await asyncio.sleep(dice.uniform(0.5, 1.5) * every)


async def latencies(place: Stage, small: Small) -> list[Told]:
    """Return what became of all changes of a tenant; none may be left over."""
    async with place.database.transaction(small.tenant_id) as session:
        assert await session.fetchval("SELECT count(*) FROM deliveries WHERE state <> 'confirmed'") == 0
        rows = await session.fetch(
            "SELECT extract(epoch FROM marked_at) AS at, extract(epoch FROM ended_at - marked_at) AS whole,"
            " extract(epoch FROM made_at - marked_at) AS planned, extract(epoch FROM first_sent_at - made_at) AS begun,"
            " extract(epoch FROM ended_at - first_sent_at) AS carried FROM deliveries"
        )
    return [Told(**{name: float(value) for name, value in row.items()}) for row in rows]


async def confirmed(place: Stage, tenant_id: int) -> tuple[int, int]:
    """Return how much of a tenant is planned, and how much of that confirmed."""
    async with place.database.transaction(tenant_id) as session:
        row = await session.fetchrow(
            "SELECT count(*) AS planned, count(*) FILTER (WHERE state = 'confirmed') AS confirmed FROM deliveries"
        )
    assert row is not None
    return row["planned"], row["confirmed"]


async def pace(place: Stage, large: Connection, options: Options, *, paused: bool) -> None:
    """Let the backfill work, or rest."""
    await connections.set_pace(
        place.database,
        large.tenant_id,
        large.connection,
        in_flight_max=options.in_flight,
        backfill_share=options.share,
        backfill_paused=paused,
    )


async def phases(place: Stage, large: Connection, options: Options) -> list[tuple[str, float, float, int]]:
    """Let idle and loaded phases alternate; return kind, begin and end of each, and what of the backfill was done."""
    found = []
    for number in range(options.rounds * 2):
        kind = ("idle", "loaded")[number % 2]
        await pace(place, large, options, paused=kind == "idle")
        marking = (
            asyncio.create_task(outbox.backfill(place.database, large.tenant_id, large.connection, "work_orders"))
            if number == 1
            else None
        )
        await asyncio.sleep(SETTLING_SECONDS if marking is None else 0)
        began, before = time.time(), await confirmed(place, large.tenant_id)
        await asyncio.sleep(options.phase)
        ended, after = time.time(), await confirmed(place, large.tenant_id)
        found.append((kind, began, ended, after[1] - before[1]))
        if marking is not None:
            stage.note(f"marked: {await marking}")
        stage.note(f"{kind}: {options.phase} s, backfill planned {after[0]} confirmed {after[1]}")
    return found


async def run(options: Options) -> dict[str, Any]:
    """Measure, and return the figures."""
    demo = Demo(work_seconds=options.vendor_ms / 1_000, wait_seconds=10.0)
    async with stage.staged() as place, demo.server:
        smalls = []
        for number in range(options.tenants):
            tenant, office = await place.world.add_tenant(f"Small {number}")
            await place.publish(await place.connect(tenant, demo, KIND), KIND)
            smalls.append(Small(tenant_id=tenant, office_rid=office))
        large = await place.connect(place.world.tenant, demo, KIND)
        began = time.monotonic()
        await place.orders(place.world.tenant, place.world.office_rid, range(options.rows))
        stage.note(f"{options.rows} records in {time.monotonic() - began:.0f} s")
        await place.publish(large, KIND)
        for _ in range(options.workers):
            place.worker()
        dice = random.Random(1)  # noqa: S311  (a seeded history)
        talking = [asyncio.create_task(traffic(place, small, options.every, dice)) for small in smalls]
        await asyncio.sleep(options.every)
        for small in smalls:
            await stage.settled(place, small.tenant_id, seconds=WARMING_SECONDS)
        try:
            found = await phases(place, large, options)
        finally:
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
        await pace(place, large, options, paused=True)
        for small in smalls:
            await stage.settled(place, small.tenant_id, seconds=60)
        told = [each for small in smalls for each in await latencies(place, small)]
        numbers = sum(demo.numbers(KIND).values())
        stage.note(f"vendor has {numbers} rows, most at once {demo.most_together}")
    return figures(options, found, told)


def figures(options: Options, found: list[tuple[str, float, float, int]], told: list[Told]) -> dict[str, Any]:
    """Return p95 of each phase and kind, and their ratios."""
    by_kind: dict[str, list[Told]] = {"idle": [], "loaded": []}
    rounds = []
    for kind, begin, end, done in found:
        within = [each for each in told if begin <= each.at < end]
        by_kind[kind] += within
        rounds.append({"kind": kind, **_spread(within), "backfill_per_second": round(done / (end - begin), 1)})
    idle, loaded = (_spread(by_kind[kind]) for kind in ("idle", "loaded"))
    return {
        "options": msgspec.to_builtins(options),
        "machine": stage.machine(),
        "idle": idle,
        "loaded": loaded,
        "p95_ratio": round(loaded["p95_ms"] / idle["p95_ms"], 2),
        "p50_ratio": round(loaded["p50_ms"] / idle["p50_ms"], 2),
        "rounds": rounds,
    }


def _spread(told: list[Told]) -> dict[str, Any]:
    steps = {
        f"{name}_p95_ms": round(1_000 * stage.percentile((getattr(each, name) for each in told), 95))
        for name in ("planned", "begun", "carried")
    }
    whole = [each.whole for each in told]
    return {
        "changes": len(told),
        "p50_ms": round(1_000 * stage.percentile(whole, 50)),
        "p95_ms": round(1_000 * stage.percentile(whole, 95)),
        **steps,
    }


def asked() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tenants", type=int, default=50, help="small tenants")
    parser.add_argument("--rows", type=int, default=100_000, help="records of the backfill")
    parser.add_argument("--every", type=float, default=4.0, help="seconds between two changes of a small tenant")
    parser.add_argument("--phase", type=float, default=6.0, help="seconds of each phase")
    parser.add_argument("--rounds", type=int, default=12, help="pairs of an idle and a loaded phase")
    parser.add_argument("--workers", type=int, default=1, help="processes of `fieldsync work`")
    parser.add_argument("--vendor-ms", type=float, default=20.0, help="how long the vendor takes for a write")
    parser.add_argument("--in-flight", type=int, default=16, help="in_flight_max of the large connection")
    parser.add_argument("--share", type=int, default=50, help="backfill_share of the large connection")
    return Options(**vars(parser.parse_args()))


def main() -> None:
    """Measure, print and keep the figures."""
    stage.quiet()
    with suppress(KeyboardInterrupt):
        stage.say(asyncio.run(run(asked())), "fairness")


if __name__ == "__main__":
    main()
