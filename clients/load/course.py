"""The course of a run: set up, work by the clock, drain, compare, report. Each step is a method."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from clients import errors
from clients.load import check, desk, figures, plan, report, road
from clients.load.fleet import Member, Place, Surroundings
from clients.load.hub import Hub
from clients.load.watch import LOOK_SECONDS, Watch
from clients.machine import this_machine
from clients.office import Office

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from clients.cast import Ready
    from clients.load.plan import Options
    from clients.machine import Machine

JOBS_PER_DEVICE: Final = 2
AT_ONCE_IN_DRAIN: Final = 100
EDITS_PER_TURN: Final = 20
"""When edits are late, so many are made before anything else has its turn."""

RECENT_MAX: Final = 4
"""Dispatchers look at what one of so many devices has done last."""


class Course:
    """One run. Its steps are called in their order; setting `stop` ends the work early."""

    def __init__(self, options: Options, ready: Ready, tell: Callable[[str], object]) -> None:
        self._options = options
        self._tell = tell
        self._zero = time.monotonic()
        self._began_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._url = options.url or ready.url
        self._tenants = {tenant.id: tenant for tenant in ready.tenants}
        self.stop = asyncio.Event()
        self.meter = figures.Meter()
        self.watch = Watch(options.ready_file, self.clock)
        self.durations: dict[str, float] = {}
        self._machine: Machine = msgspec.structs.replace(this_machine(), sleep=self._sleep)
        self._road = road.Road(self.meter, self.clock, connections=options.connections)
        self._client = self._road.client()
        self.offices = {
            tenant.id: Office.open(self._url, tenant.office_token, client=self._client, machine=self._machine)
            for tenant in ready.tenants
        }
        self.desk = desk.Desk(self.offices, self._tenants, self.meter, plan.chance(options.seed, "dispatchers"))
        self.members = self._people()
        self._recent: deque[Member] = deque(maxlen=RECENT_MAX)
        self._looking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._looking = asyncio.create_task(self._look(), name="watch")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._looking is not None
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        for member in self.members:
            await member.device.close()
        await self._client.aclose()

    def clock(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._zero

    # The steps.

    async def set_up(self) -> None:
        """Give everybody work, enrol all devices, and let them fetch what is in scope."""
        begin = self.clock()
        persons = {(member.tenant, member.person.id): member for member in self.members}
        self._tell(f"giving work to {len(persons)} technicians")
        for member in persons.values():
            await self.desk.plan_jobs(member.tenant, member.person, JOBS_PER_DEVICE * member.siblings)
        self._tell(f"enrolling {len(self.members)} devices")
        await _all(self.members, Member.enrol, self._options.connections)
        self.durations["set_up"] = round(self.clock() - begin, 2)

    async def work(self) -> None:
        """Let edits happen when they are due, by devices and dispatchers, until the time is up or we are stopped."""
        options, begin = self._options, self.clock()
        self._tell(f"working for {options.seconds:g} s, {options.edits_per_second:g} edits a second")
        self.meter.begin("work")
        self._road.lose(plan.chance(options.seed, "lost answers"), options.lost_share)
        living = [asyncio.create_task(member.live(begin)) for member in self.members]
        saved = self.desk.work(desk.moments(options), self._recent, self.clock, begin)
        doing = [asyncio.create_task(self._edit(begin)), asyncio.create_task(saved)]
        try:
            await first(self.stop, options.seconds)
            await _ended(doing, early=self.stop.is_set())
            self.durations["work"] = round(self.clock() - begin, 2)
            for member in self.members:
                member.end()
            await asyncio.gather(*living)
        except BaseException:
            await _cancelled([*doing, *living])
            raise

    async def drain(self) -> None:
        """Push all that is unsent, then let everybody fetch what the others pushed."""
        begin = self.clock()
        until = begin + self._options.drain_seconds
        self._tell(f"draining {sum(bool(member.device.unsent) for member in self.members)} outboxes")
        self.meter.begin("drain")
        self._road.lose(plan.chance(self._options.seed, "none"), 0)
        await _all(self.members, lambda member: member.drain(until), AT_ONCE_IN_DRAIN)
        self._tell("fetching the last news")
        await _all(self.members, lambda member: member.settle(until), AT_ONCE_IN_DRAIN)
        self.durations["drain"] = round(self.clock() - begin, 2)

    async def compare(self) -> check.Found:
        """Look for everything that was acknowledged, and compare all devices with the server."""
        begin = self.clock()
        self._tell("comparing everything with the server")
        found = check.Found()
        for fault in self.desk.faults:
            found.differ(fault)
        await check.compare(Hub(self.offices), self.members, self.desk.saved, found)
        self.durations["check"] = round(self.clock() - begin, 2)
        return found

    def report(self, found: check.Found | None, failure: str | None) -> report.Report:
        """Return what is known of the run."""
        self.watch.look()
        worked = self.durations.get("work", 0.0)
        seconds = self.meter.seconds()
        verdicts = self.meter.counts["acknowledged"]
        return report.Report(
            options=_asked(self._options),
            began_at=self._began_at,
            durations=self.durations,
            stopped_early=self.stop.is_set(),
            counts=dict(sorted(self.meter.counts.items())),
            edits_per_second=_rate(self.meter.counts["edits"], worked),
            verdicts_per_second=_rate(verdicts, worked),
            phases=report.phases(self.meter),
            edit_to_verdict_online=self.meter.online.spread(),
            edit_to_verdict_backlog=self.meter.backlog.spread(),
            edit_made_late=self.meter.late.spread(),
            by_second=seconds,
            restarts=tuple(self.watch.restarts),
            outages=tuple(self.meter.outages),
            server=self.watch.server(),
            load=self.watch.own(),
            check=found,
            failure=failure,
            well=found is not None and found.difference_count == 0,
        )

    # How.

    def _people(self) -> list[Member]:
        """Give the devices to the technicians of all tenants in turn."""
        people = [(tenant.id, person) for tenant in self._tenants.values() for person in tenant.technicians]
        if not people:
            raise errors.Unplayable("the ready file names no technician: a run needs somebody whose devices it can be")
        options = self._options
        away = plan.absences(plan.chance(options.seed, "absences"), options)
        around = Surroundings(options, self._url, self._client, self._machine, self.meter, self.clock)
        members = []
        for number in range(options.devices):
            slot, (tenant, person) = number // len(people), people[number % len(people)]
            siblings = -(-(options.devices - number % len(people)) // len(people))
            place = Place(number=number, tenant=tenant, slot=slot, siblings=siblings, away=away.get(number))
            members.append(Member(person, place, around, plan.chance(options.seed, f"device {number}")))
        return members

    async def _edit(self, begin: float) -> None:
        """Do each edit when it is due; one that is late is done at once, and its time runs from when it was due."""
        random = plan.chance(self._options.seed, "edits")
        moments = plan.arrivals(random, self._options.edits_per_second, self._options.seconds)
        for number, due in enumerate(moments):
            left = begin + due - self.clock()
            if left > 0 or number % EDITS_PER_TURN == 0:
                await asyncio.sleep(max(left, 0))
            self.meter.late.add(max(self.clock() - begin - due, 0) * 1_000)
            member = random.choice(self.members)
            member.act(begin + due)
            self._recent.append(member)

    async def _look(self) -> None:
        while True:
            self.watch.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _sleep(self, seconds: float) -> None:
        """Wait as a client does before it tries again."""
        self.meter.happened("back-offs", self.clock())
        await asyncio.sleep(seconds)


async def first(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but no longer than so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _all(members: Iterable[Member], do: Callable[[Member], Coroutine[Any, Any, None]], at_once: int) -> None:
    """Do something with all members, so many at once."""
    gate = asyncio.Semaphore(at_once)

    async def one(member: Member) -> None:
        async with gate:
            await do(member)

    async with asyncio.TaskGroup() as tasks:
        for member in members:
            tasks.create_task(one(member))


async def _ended(tasks: Sequence[asyncio.Task[None]], *, early: bool) -> None:
    """Wait until tasks are done; if we were stopped, end them. What went wrong in them rises."""
    for task in tasks if early else ():
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End tasks at once."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _asked(options: Options) -> dict[str, Any]:
    """Return what was asked for, without the places of files."""
    return {
        name: value for name, value in msgspec.structs.asdict(options).items() if name not in ("ready_file", "json")
    }


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 1) if seconds else 0.0
