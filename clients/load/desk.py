"""The dispatchers of a run: they change what technicians are working on, from pages that are a little old.

A dispatcher opens a job at the moment in which a device edits it, looks at it for a while, and saves a
change of the page that was shown: what reached the server meanwhile is unseen. About half of the
changes are of the very field that the device wrote, so that the two meet as a conflict.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from clients import errors
from clients.load import plan
from clients.load.work import PRIORITIES
from clients.office import WORK_ORDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from random import Random

    from clients.cast import Named, Tenant
    from clients.load.figures import Meter
    from clients.load.fleet import Member
    from clients.office import Office, Shown, Told

STATUSES: Final = ("planned", "on hold", "cancelled by customer", "done")
LOOKS_SECONDS_MIN: Final = 0.5
LOOKS_SECONDS_MAX: Final = 3.0
SAVING_AT_ONCE: Final = 16


class Saved(msgspec.Struct, frozen=True):
    """A write that the server acknowledged: what was asked, by cell, and what became of it."""

    tenant: int
    collection: str
    asked: dict[str, Any]
    told: Told


class Desk:
    """All dispatchers of a run, one for each tenant."""

    def __init__(self, offices: dict[int, Office], tenants: dict[int, Tenant], meter: Meter, random: Random) -> None:
        self._offices = offices
        self._tenants = tenants
        self._meter = meter
        self._random = random
        self.saved: list[Saved] = []
        self.faults: list[str] = []

    async def plan_jobs(self, tenant: int, person: Named, count: int) -> None:
        """See to it that a technician has at least so many jobs."""
        office = self._offices[tenant]
        known = await office.of(person.token).list(WORK_ORDERS)
        gate = asyncio.Semaphore(SAVING_AT_ONCE)

        async def add(number: int) -> None:
            asked = _new_job(f"Inspection {number} for {person.name}", person.id)
            async with gate:
                self._keep(tenant, asked, await office.create(WORK_ORDERS, asked))

        await asyncio.gather(*(add(number) for number in range(len(known), count)))

    async def work(self, due: list[float], recent: Sequence[Member], clock: Callable[[], float], began: float) -> None:
        """Save something whenever it is due, whether or not what was due before is done."""
        async with asyncio.TaskGroup() as tasks:
            for moment in due:
                await asyncio.sleep(max(began + moment - clock(), 0))
                if recent:
                    tasks.create_task(self._save(self._random.choice(recent), clock))

    async def _save(self, member: Member, clock: Callable[[], float]) -> None:
        """Change the job that a device worked on last. What could not be saved, nobody was told is saved."""
        job, field = member.last_edit
        if job is None:
            return
        (act,) = self._random.choices(tuple(ACTS), weights=tuple(ACTS.values()))
        try:
            page = await self._offices[member.tenant].get(WORK_ORDERS, job)
            await asyncio.sleep(self._random.uniform(LOOKS_SECONDS_MIN, LOOKS_SECONDS_MAX))
            await act(self, member.tenant, page, field)
            self._meter.happened("saved", clock())
        except errors.Unreachable:
            self._meter.happened("not saved", clock())
        except errors.Refused as refused:
            # A job made on a device is known here only once it was pushed.
            if refused.code != "unknown_record":
                self.faults.append(f"the dispatcher was refused {job}: {refused}")

    async def same_field(self, tenant: int, page: Shown, field: str) -> None:
        """Set the field that the device has just set."""
        values = {
            "status": self._random.choice(STATUSES),
            "priority": self._random.choice(PRIORITIES),
            "title": f"Renamed at the desk {self._random.randrange(1_000)}",
        }
        await self._change(tenant, page, **{field: values[field]})

    async def window(self, tenant: int, page: Shown, _field: str) -> None:
        """Move its window."""
        day = self._random.randrange(1, 28)
        window = {
            "window_start": f"2026-04-{day:02}T08:00:00.000Z",
            "window_end": f"2026-04-{day:02}T10:00:00.000Z",
            "time_zone": "Europe/Zurich",
        }
        told = await self._offices[tenant].reschedule(page, **window)
        self._keep(tenant, {"window": window}, told)

    async def hand_over(self, tenant: int, page: Shown, _field: str) -> None:
        """Give it to somebody else."""
        person = self._random.choice(self._tenants[tenant].technicians)
        told = await self._offices[tenant].assign(page, person.id)
        self._keep(tenant, {"assignee_id": person.id}, told)

    async def another(self, tenant: int, _page: Shown, _field: str) -> None:
        """Make a new job for somebody."""
        person = self._random.choice(self._tenants[tenant].technicians)
        asked = _new_job("Call-out", person.id)
        self._keep(tenant, asked, await self._offices[tenant].create(WORK_ORDERS, asked))

    async def _change(self, tenant: int, page: Shown, **fields: Any) -> None:
        self._keep(tenant, fields, await self._offices[tenant].change(page, WORK_ORDERS, **fields))

    def _keep(self, tenant: int, asked: dict[str, Any], told: Told) -> None:
        self.saved.append(Saved(tenant, WORK_ORDERS, asked, told))


def _new_job(title: str, assignee_id: str) -> dict[str, Any]:
    return {"title": title, "status": "planned", "priority": "normal", "assignee_id": assignee_id}


ACTS: Final[dict[Callable[[Desk, int, Shown, str], Coroutine[Any, Any, None]], int]] = {
    Desk.same_field: 60,
    Desk.window: 20,
    Desk.hand_over: 15,
    Desk.another: 5,
}
"""Each act and how often it is done, of a hundred."""


def moments(options: plan.Options) -> list[float]:
    """Return when dispatchers save something, in seconds from the start."""
    rate = options.edits_per_second * options.dispatcher_share
    return list(plan.arrivals(plan.chance(options.seed, "desk"), rate, options.seconds))
