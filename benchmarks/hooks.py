"""How soon a vendor's call is answered, while a worker takes in what came with it.

Run: `python -m benchmarks.hooks`. A server, a worker and a vendor that calls at a fixed rate, each call with a few
whole records, signed. Counted is from the moment at which a call was due, so that a late answer makes the next ones
late too. Vendors give up after seconds and switch a slow endpoint off after days; the aim is 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import httpx
import msgspec

from benchmarks import stage
from syncserver.services.loopback import free_port
from tests.peers import crm
from upstream import connections, inbox, manifest_file, mappings, plan
from upstream.mapping_file import parse

if TYPE_CHECKING:
    from benchmarks.stage import Stage

AIM_MS: Final = 100.0
START_SECONDS: Final = 60.0
TAKEN_SECONDS: Final = 300.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for on the command line."""

    seconds: float
    rate: float
    events: int


async def run(options: Options) -> dict[str, Any]:
    """Have a vendor call, and say how soon it was answered."""
    async with stage.staged() as place:
        made = await _connected(place)
        url = f"http://127.0.0.1:{free_port()}"
        place.program("syncserver", "serve", **_settings(place), FIELDSYNC_PORT=url.rpartition(":")[2])
        place.worker()
        async with httpx.AsyncClient(base_url=url, timeout=30.0) as client:
            await _ready(client)
            first = await asyncio.gather(*(_call(client, made, n, options.events) for n in range(10)))
            began = time.perf_counter()
            calls = [
                asyncio.create_task(_due(client, made, n, options, began))
                for n in range(10, 10 + round(options.rate * options.seconds))
            ]
            took = await asyncio.gather(*calls)
            answered = len(first) + len(took)
            taken = await _taken(place, answered * options.events)
    return {
        "options": msgspec.to_builtins(options),
        "machine": stage.machine(),
        "calls": len(took),
        "p50_ms": round(stage.percentile(took, 50), 1),
        "p95_ms": round(stage.percentile(took, 95), 1),
        "p99_ms": round(stage.percentile(took, 99), 1),
        "longest_ms": round(max(took), 1),
        "within_aim": round(sum(each <= AIM_MS for each in took) / len(took), 4),
        "events_per_second": round(options.rate * options.events),
        "taken_in_seconds_after": round(taken, 1),
    }


def _settings(place: Stage) -> dict[str, str]:
    return {
        "FIELDSYNC_DATABASE_URL": place.url,
        "FIELDSYNC_REDIS_URL": place.redis_url,
        "FIELDSYNC_SECRET_KEYS": stage.KEY,
        "FIELDSYNC_LOG_LEVEL": "warning",
    }


async def _connected(place: Stage) -> str:
    """Make a live connection to a CRM that calls; return its id."""
    new = connections.New(
        system="crm",
        name="crm",
        manifest="own",
        manifest_text=crm.MANIFEST,
        authority="crm",
        base_url="http://127.0.0.1:9",
        mode="live",
    )
    tenant = place.world.tenant
    made = await connections.make(place.database, tenant, str(uuid4()), new)
    await mappings.save(place.database, tenant, made.connection, crm.MAPPING, by="benchmark")
    interests = plan.interests(parse(crm.MAPPING))
    await connections.publish(place.database, tenant, made.connection, mapping_version=1, interests=interests)
    door = inbox.Door(place.database, (stage.KEY.encode(),), lambda _: manifest_file.parse(crm.MANIFEST))
    async with place.database.transaction(tenant) as session:
        await door.put_secret(session, tenant, made.connection, crm.SECRET)
    return made.connection


async def _ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.2)


async def _due(client: httpx.AsyncClient, connection: str, n: int, options: Options, began: float) -> float:
    """Call when it is time to; return how many milliseconds after that the answer was there."""
    due = began + (n - 10) / options.rate
    await asyncio.sleep(max(0.0, due - time.perf_counter()))
    await _call(client, connection, n, options.events)
    return 1_000 * (time.perf_counter() - due)


async def _call(client: httpx.AsyncClient, connection: str, n: int, events: int) -> None:
    told = [
        {
            "event": f"{n}-{each}",
            "kind": "customer.changed",
            "id": f"c{n}-{each}",
            "version": "1",
            "record": {"id": f"c{n}-{each}", "version": "1", "name": f"Customer {n}-{each}", "phone": "1"},
        }
        for each in range(events)
    ]
    body, headers = crm.signed(told, datetime.now(UTC), crm.SECRET)
    answer = await client.post(f"/v1/hooks/{connection}", content=body, headers=headers)
    assert (answer.status_code, json.loads(answer.content)["new"]) == (200, events), answer.text


async def _taken(place: Stage, events: int) -> float:
    """Wait until all events are records; return how many seconds that took."""
    began = time.perf_counter()
    async with asyncio.timeout(TAKEN_SECONDS):
        while True:
            async with place.database.transaction(place.world.tenant) as session:
                if await session.fetchval("SELECT count(*) FROM inbox WHERE state = 'absorbed'") == events:
                    return time.perf_counter() - began
            await asyncio.sleep(0.2)


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the vendor calls")
    parser.add_argument("--rate", type=float, default=20.0, help="calls a second")
    parser.add_argument("--events", type=int, default=2, help="records in each call")
    stage.quiet()
    stage.say(asyncio.run(run(Options(**vars(parser.parse_args())))), "hooks")


if __name__ == "__main__":
    main()
