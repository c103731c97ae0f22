"""What a vendor has in the end that does what it is told and then drops one answer in twenty.

Run: `python -m benchmarks.exactly_once`. For each class of write an office makes so many records; two workers tell
the vendor, one of them is killed with -9 half way and another one takes its place. What counts is read from the
vendor's own store, by business key: what is there twice, and what is not there. The control does not look before it
sends again, and has to make duplicates: else the trial would show nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks import stage
from tests.integration.world import job, seen
from tests.peers.vendor.demo import KINDS, Demo
from tests.peers.vendor.faults import Faults

if TYPE_CHECKING:
    from benchmarks.stage import Stage
    from syncserver.services.process import Guarded
    from upstream.connections import Connection

DROPPED: Final = 0.05
LAG_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 10.0
LEASE_SECONDS: Final = 60
"""The shortest that a worker takes; two of a request's longest waits fit in."""
IN_FLIGHT: Final = 32
CONTROL_WRITES: Final = 400
NAME: Final = "exactly-once"
NEW_TITLE: Final = "changed"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for on the command line."""

    writes: int
    kinds: list[str]
    workers: int
    control: bool


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor, one class of write, and the connection that leads there."""

    place: Stage
    demo: Demo
    kind: str
    made: Connection
    writes: int

    @property
    def patience(self) -> float:
        """How long the slowest machine may take for it, in seconds."""
        return 300 + self.writes / 4

    async def half_way(self, *, after: int = 0) -> None:
        """Wait until the vendor was sent half of the writes, those before not counted."""
        async with asyncio.timeout(self.patience):
            while len(self.demo.calls) - after < self.writes / 2:  # noqa: ASYNC110  (other processes call)
                await asyncio.sleep(0.02)


async def told(trial: Trial, *, workers: int, killed: bool, program: str = "syncserver") -> tuple[list[str], float]:
    """Have workers tell it all, one of them killed half way; return what is unknown then, and how long it took."""
    place = trial.place
    began = time.monotonic()
    await place.orders(place.world.tenant, place.world.office_rid, range(trial.writes))
    running = [begun(place, program) for _ in range(workers)]
    if killed:
        await trial.half_way()
        running = replaced(place, running, program)
    await stage.settled(place, place.world.tenant, seconds=trial.patience)
    if trial.kind == "versioned" and program == "syncserver":
        running = await changed(trial, running, killed=killed)
    for worker in running:
        worker.stop()
    return await unknown(place), time.monotonic() - began


def begun(place: Stage, program: str) -> Guarded:
    """Run one worker."""
    return place.worker(program, FIELDSYNC_LEASE_SECONDS=str(LEASE_SECONDS))


def replaced(place: Stage, running: list[Guarded], program: str) -> list[Guarded]:
    """Kill the first worker with -9, and begin another one in its place."""
    os.kill(running[0].pid, signal.SIGKILL)
    stage.note(f"killed {running[0].pid} with -9")
    running[0].stop()
    return [*running[1:], begun(place, program)]


async def changed(trial: Trial, running: list[Guarded], *, killed: bool) -> list[Guarded]:
    """Change every record, so that each object there is replaced by its version."""
    place, before = trial.place, len(trial.demo.calls)
    for start in range(0, trial.writes, stage.PUSH):
        numbers = range(start, min(start + stage.PUSH, trial.writes))
        made = [seen("work_orders", job(number), set={"title": NEW_TITLE}) for number in numbers]
        await place.world.submit(place.world.office(*made))
    if killed:
        await trial.half_way(after=before)
        running = replaced(place, running, "syncserver")
    await stage.settled(place, place.world.tenant, seconds=trial.patience)
    return running


async def unknown(place: Stage) -> list[str]:
    """Return the business keys of which nobody knows whether they are there."""
    async with place.database.transaction(place.world.tenant) as session:
        rows = await session.fetch("SELECT key FROM deliveries WHERE state = 'unknown' ORDER BY key")
    return [row["key"] for row in rows]


def figures(trial: Trial, open_keys: list[str], seconds: float, *, killed: bool) -> dict[str, Any]:
    """Compare what the vendor has with what it had to be told."""
    there, demo, kind = trial.demo.numbers(trial.kind), trial.demo, trial.kind
    wanted = {job(number) for number in range(trial.writes)}
    titles = Counter(row.fields["title"] == NEW_TITLE for row in demo.shelves[kind].rows.values())
    dropped = {number for _, number in demo.unanswered}
    counted = {
        "writes": trial.writes * (2 if kind == "versioned" and titles[True] else 1),
        "answers_dropped": demo.faults.met["drop"],
        "worker_killed": killed,
        "duplicates": sum(there.values()) - len(there),
        "losses": len(wanted - set(there) - set(open_keys)),
        "strangers": len(set(there) - wanted),
        "unknown": len(open_keys),
        "requests": len(demo.calls),
        "seconds": round(seconds),
    }
    if kind == "versioned":
        counted["stale"] = titles[False]
    if kind == "none":
        counted["dropped_not_unknown"] = len(dropped - set(open_keys))
        counted["unknown_not_dropped"] = len(set(open_keys) - dropped)
    return counted


async def measure(kind: str, writes: int, *, workers: int, killed: bool, program: str = "syncserver") -> dict[str, Any]:
    """Run one trial on databases of its own."""
    demo = Demo(Faults({"drop": DROPPED}, seed=writes), lag_seconds=LAG_SECONDS, wait_seconds=WAIT_SECONDS)
    async with stage.staged(durable=False) as place, demo.server:
        made = await place.connect(place.world.tenant, demo, kind, in_flight_max=IN_FLIGHT)
        await place.publish(made, kind)
        trial = Trial(place=place, demo=demo, kind=kind, made=made, writes=writes)
        open_keys, seconds = await told(trial, workers=workers, killed=killed, program=program)
    return figures(trial, open_keys, seconds, killed=killed)


async def run(options: Options) -> None:
    """Run what is asked for, one after the other; each result is kept when it is there."""
    for kind in options.kinds:
        keep(kind, await measure(kind, options.writes, workers=options.workers, killed=kind != "none"))
        if kind == "none":
            keep("none, killed", await measure(kind, options.writes, workers=options.workers, killed=True))
    if options.control:
        blind = await measure("search", CONTROL_WRITES, workers=1, killed=False, program="benchmarks.blind_worker")
        keep("control: sends again without looking", blind)


def keep(name: str, found: dict[str, Any]) -> None:
    """Put a result beside those of other classes."""
    kept = stage.RESULTS / f"{NAME}.json"
    every = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    stage.say(every | {name: found | {"machine": stage.machine()}}, NAME)


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=10_000, help="records of each class")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS, help="classes of write")
    parser.add_argument("--workers", type=int, default=2, help="processes of `fieldsync work`")
    parser.add_argument("--no-control", dest="control", action="store_false", help="leave the control run out")
    stage.quiet()
    asyncio.run(run(Options(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
