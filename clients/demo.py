"""The story: twenty-five technicians and a dispatcher on real work orders, every verdict in plain words.

Each technician has a reference device with a file of its own; the dispatcher speaks REST. Each scene
begins with the dispatcher planning its job anew, so the story can be told again on a server that
has seen it before.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from clients.agreement import reckon
from clients.cast import Cast
from clients.errors import Unplayable
from clients.office import WORK_ORDERS
from clients.relay import Relay
from clients.telling import Teller
from replication import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clients.agreement import Reckoning
    from clients.cast import Ready, Technician
    from clients.office import Shown, Told

SIZE: Final = 25
FIRST, SECOND, FORMER, NEXT, IN_TUNNEL, ON_SITE = range(6)
DIFFERENCES_SHOWN: Final = 20


async def run(ready: Ready) -> bool:
    """Tell the story; return whether everybody agreed in the end and nothing was missing."""
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fieldsync-story-")))
        relay = await stack.enter_async_context(Relay(ready.url))
        cast = Cast.open(folder, ready, size=SIZE, roads={IN_TUNNEL: relay.url})
        stack.push_async_callback(cast.close)
        story = Story(cast, relay, Teller(cast, _write))
        for scene in (
            story.morning,
            story.one_job_twice,
            story.reassigned,
            story.lost_answer,
            story.stale_page,
            story.undo,
        ):
            await scene()
        return await story.evening(began)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class Story:
    """The scenes, in their order."""

    def __init__(self, cast: Cast, relay: Relay, teller: Teller) -> None:
        self._cast = cast
        self._office = cast.office
        self._relay = relay
        self._teller = teller
        self._regretted = ""

    async def morning(self) -> None:
        """Everybody enrols, fetches their jobs, and begins one without a network."""
        cast, teller = self._cast, self._teller
        teller.scene(f"Morning: {len(cast.technicians)} technicians sign in and drive off")
        await cast.enrol()
        jobs = sum(len(technician.jobs) for technician in cast.technicians)
        teller.say(f"{len(cast.technicians)} devices are enrolled and hold {jobs} jobs. No network from here on.")
        for technician in cast.technicians:
            job = _job(technician, -1)
            technician.edit(job, status="in progress")
            technician.do(WORK_ORDERS, job, "notes", {"append": f"\n{technician.name} began at {_now()}."})
        first = cast.technicians[FIRST]
        teller.offline(first, "assignee")
        await cast.sync()
        await teller.answers(first)
        for technician in cast.technicians:
            technician.told = technician.made
        teller.say("The others did the same on their own jobs: nobody met anybody, so no rule was asked.")

    async def one_job_twice(self) -> None:
        """Two technicians edit one job offline, and the dispatcher edits it between them."""
        one, two = self._cast.technicians[FIRST], self._cast.technicians[SECOND]
        job = await self._plan("Two offline on one job, a dispatcher between them", one, crew=[two])
        await asyncio.gather(one.sync(), two.sync())
        one.edit(job, status="done", summary=f"Seal replaced at {_now()}, tested under load.")
        one.do(WORK_ORDERS, job, "notes", {"append": "\nTwo seals used."})
        two.edit(job, status="waiting for parts", summary=f"Pump leaks as well, ordered one at {_now()}.")
        two.do(WORK_ORDERS, job, "notes", {"append": "\nOperator wants a call."})
        self._teller.offline(one, "assignee")
        self._teller.offline(two, "crew")
        page = await self._office.get(WORK_ORDERS, job)
        await self._change("meanwhile puts it on hold, unaware of both,", page, status="on hold", priority="high")
        for technician in (one, two):
            await technician.sync()
            await self._teller.answers(technician)
        await self._settle(two)

    async def _settle(self, technician: Technician) -> None:
        """Have the dispatcher choose where a technician's write waits for a person."""
        cells = [told for answered in technician.device.verdicts for told in answered.verdict.cells.values()]
        waiting = [told.conflict for told in cells if told.verdict == "parked" and told.conflict]
        for conflict in waiting:
            page = await self._office.conflict(conflict)
            told = await self._office.settle(page, "loser")
            chosen = {page.conflict.cell: page.conflict.loser.value}
            await self._teller.office(f"asks them both, settles conflict {conflict}", told, chosen)
        self._teller.promise(f"{len(waiting)} write waited for a person.", kept=len(waiting) == 1)

    async def reassigned(self) -> None:
        """A job is given to somebody else while its former assignee works on it offline."""
        former, other = self._cast.technicians[FORMER], self._cast.technicians[NEXT]
        # Told again on the same server, the job is with the other one by now.
        job = min([_job(former, 0), *other.jobs[:1]])
        await self._plan("A reassigned job", former, job=job)
        await asyncio.gather(former.sync(), other.sync())
        former.edit(job, status="done")
        hour = former.create(
            "time_entries", work_order_id=job, technician_id=former.id, activity="work", remarks="An hour on the boom."
        )
        self._teller.offline(former, "assignee, for now")
        told = await self._office.assign(await self._office.get(WORK_ORDERS, job), other.id)
        await self._teller.office(f"gives the job to {other.name}", told, {"assignee_id": other.id})
        await other.sync()
        other.edit(job, status="travelling")
        for technician in (other, former):
            await technician.sync()
            await self._teller.answers(technician)
        await other.sync()
        self._teller.promise(
            f"The job is gone from {former.name}'s screen; the hour is on both, and in the hub.",
            kept=job not in former.jobs
            and all(technician.device.get("time_entries", hour) for technician in (former, other)),
        )

    async def lost_answer(self) -> None:
        """The server settles a push and its answer is lost; the device sends it again."""
        technician = self._cast.technicians[IN_TUNNEL]
        job = await self._plan("A lost answer", technician)
        await technician.sync()
        part = technician.create("parts_used", work_order_id=job, description="O-ring 40 mm", quantity="1")
        await technician.sync()
        await self._teller.answers(technician)
        technician.do("parts_used", part, "quantity", {"inc": "2"})
        self._teller.offline(technician, "assignee")
        self._relay.lose_answer(wire.PATH_PUSH)
        await technician.sync()
        self._teller.promise(
            f"The server carried it out; its answer ({sum(map(len, self._relay.lost))} bytes) was lost on the way and "
            "the connection cut. The device could not know, and sent the same mutation again.",
            kept=len(self._relay.lost) == 1,
        )
        await self._teller.answers(technician)
        there = (await self._office.get("parts_used", part)).fields["quantity"]
        here = (technician.device.get("parts_used", part) or {}).get("quantity")
        self._teller.promise(
            f"1 and 2 is counted once: the hub has {there}, the device {here}.", kept=there == here == "3"
        )

    async def stale_page(self) -> None:
        """The dispatcher saves a page that a device's edit has overtaken."""
        technician = self._cast.technicians[ON_SITE]
        job = await self._plan("A stale page", technician)
        await technician.sync()
        page = await self._office.get(WORK_ORDERS, job)
        known = await self._office.conflicts(record_id=job)
        self._teller.say(f"The dispatcher opens the job (rev {page.rev}) and is called to the phone.")
        technician.edit(job, status="no access, gate locked")
        await technician.sync()
        await self._teller.answers(technician)
        told = await self._change(f"saves the page of rev {page.rev}", page, status="customer will open at two")
        fresh = (await self._office.conflicts(record_id=job)).keys() - known.keys()
        self._teller.promise(
            f"That was no error but an answer like any other, and left {len(fresh)} conflict entry.",
            kept=len(fresh) == 1,
        )
        self._regretted = told.cells["status"].conflict or ""

    async def undo(self) -> None:
        """The dispatcher takes the decision back."""
        self._teller.scene("An undo")
        page = await self._office.conflict(self._regretted)
        lost = page.conflict.loser.value
        told = await self._office.undo(page)
        await self._teller.office(f"undoes conflict {self._regretted}", told, {page.conflict.cell: lost})
        technician = self._cast.technicians[ON_SITE]
        await technician.sync()
        status = (technician.device.get(WORK_ORDERS, told.id) or {}).get("status")
        state = (await self._office.conflict(self._regretted)).conflict.state
        self._teller.promise(
            f'{technician.name} syncs and reads "{status}". The entry stays, as {state}.',
            kept=status == lost and state == "undone",
        )

    async def evening(self, began: float) -> bool:
        """Everybody syncs; compare all that there is."""
        self._teller.scene("Evening: does everybody agree, and is anything missing?")
        await self._cast.sync()
        found = await reckon(self._cast)
        for line in _totals(found):
            self._teller.say(line)
        for difference in found.differences[:DIFFERENCES_SHOWN]:
            self._teller.say(f"DIFFERENT: {difference}")
        bad = len(found.differences) + len(self._teller.broken)
        self._teller.say(
            f"{'NOT all' if bad else 'All'} is well: {len(found.differences)} differences, "
            f"{len(self._teller.broken)} promises not kept. Told in {time.monotonic() - began:.1f} s."
        )
        return not bad

    # What the scenes share.

    async def _plan(
        self, title: str, assignee: Technician, crew: Sequence[Technician] = (), job: str | None = None
    ) -> str:
        """Begin a scene on a job of a technician, the first if none is named, which the dispatcher plans anew."""
        job = job or _job(assignee, 0)
        page = await self._office.get(WORK_ORDERS, job)
        told = await self._office.assign(page, assignee.id, [member.id for member in crew])
        await self._office.change(told.shown, WORK_ORDERS, status="planned", priority="normal")
        self._teller.words.know(job, f'"{page.fields["title"]}"')
        self._teller.scene(title)
        who = " with ".join(person.name for person in (assignee, *crew))
        self._teller.say(f"The job: {self._teller.words.value(job)}, for {who}.")
        return job

    async def _change(self, manner: str, page: Shown, **fields: Any) -> Told:
        told = await self._office.change(page, WORK_ORDERS, **fields)
        await self._teller.office(manner, told, fields)
        return told


def _job(technician: Technician, place: int) -> str:
    """Return one of the technician's jobs."""
    if not technician.jobs:
        raise Unplayable(f"{technician.name} has no job: the story needs a server that was started with work orders")
    return technician.jobs[place]


def _now() -> str:
    return datetime.now(UTC).strftime("%H:%M:%S UTC")


def _totals(found: Reckoning) -> tuple[str, str]:
    kinds = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.verdicts.items()))
    compared = (
        f"{found.devices} devices show {found.copies} copies of {len(found.records)} records; each was compared with "
        "what the hub shows that person."
    )
    looked_up = (
        f"{found.edits} edits were pushed, {sum(found.verdicts.values())} cells: {kinds}. Each was looked for in the "
        "history of its record, or in its conflict entry."
    )
    return compared, looked_up
