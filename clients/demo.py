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
from clients.office import WORK_ORDERS
from clients.relay import Relay
from clients.telling import Teller
from replication import wire

if TYPE_CHECKING:
    from clients.agreement import Reckoning
    from clients.cast import Ready, Technician
    from clients.office import Told

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
        return await story.reckoning(began)


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
            job = technician.jobs[-1]
            technician.edit(job, status="in progress")
            technician.do(WORK_ORDERS, job, "notes", {"append": f"\n{technician.name} began at {_now()}."})
        first = cast.technicians[FIRST]
        teller.offline(first, "assignee")
        await cast.sync()
        await teller.answers(first)
        self._skip_answers()
        teller.say("The others did the same on their own jobs: nobody met anybody, so no rule was asked.")

    async def one_job_twice(self) -> None:
        """Two technicians edit one job offline, and the dispatcher edits it between them."""
        one, two = self._cast.technicians[FIRST], self._cast.technicians[SECOND]
        job = await self._plan("Two offline on one job, a dispatcher between them", one, crew=[two])
        await asyncio.gather(one.sync(), two.sync())
        one.edit(job, status="done", summary="Seal replaced, tested under load.")
        one.do(WORK_ORDERS, job, "notes", {"append": "\nTwo seals used."})
        two.edit(job, status="waiting for parts", summary="Pump leaks as well, ordered one.")
        two.do(WORK_ORDERS, job, "notes", {"append": "\nOperator wants a call."})
        self._teller.offline(one, "assignee")
        self._teller.offline(two, "crew")
        await self._dispatch("meanwhile, who has seen neither", job, status="on hold", priority="high")
        await one.sync()
        await self._teller.answers(one)
        await two.sync()
        await self._teller.answers(two)
        await self._settle(two)

    async def reassigned(self) -> None:
        """A job is given to somebody else while its former assignee works on it offline."""
        former, other = self._cast.technicians[FORMER], self._cast.technicians[NEXT]
        job = await self._plan("A reassigned job", former)
        await asyncio.gather(former.sync(), other.sync())
        former.edit(job, status="done")
        former.create(
            "time_entries", work_order_id=job, technician_id=former.id, activity="work", remarks="An hour on the boom."
        )
        self._teller.offline(former, "assignee, for now")
        told = await self._office.assign(await self._office.get(WORK_ORDERS, job), other.id)
        await self._told(f"gives the job to {other.name}", told, assignee_id=other.name)
        await other.sync()
        other.edit(job, status="travelling")
        await other.sync()
        await self._teller.answers(other)
        await former.sync()
        await self._teller.answers(former)
        held = "is gone from" if job not in former.jobs else "IS STILL ON"
        self._teller.say(f"The job {held} {former.name}'s screen; the hour is recorded, and {other.name} sees it too.")
        await other.sync()

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
        before = len(self._relay.lost)
        self._relay.lose_answer(wire.PATH_PUSH)
        await technician.sync()
        lost = self._relay.lost[before:]
        self._teller.say(
            f"The server carried it out, and its answer ({sum(map(len, lost))} bytes) was lost on the way: the"
            " connection was cut. The device knew nothing and sent the same mutation again."
        )
        await self._teller.answers(technician)
        stored = (await self._office.get("parts_used", part)).fields["quantity"]
        self._teller.say(f"Counted once: the hub has {stored} O-rings, the device {self._on_screen(technician, part)}.")

    def _on_screen(self, technician: Technician, part: str) -> Any:
        return (technician.device.get("parts_used", part) or {}).get("quantity")

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
        told = await self._office.change(page, WORK_ORDERS, status="customer will open at two")
        await self._told(f"saves the page of rev {page.rev}", told, status="customer will open at two")
        fresh = (await self._office.conflicts(record_id=job)).keys() - known.keys()
        self._teller.say(f"The answer is 200 and not an error; it left {len(fresh)} conflict entry.")
        self._regretted = told.cells["status"].conflict or ""

    async def undo(self) -> None:
        """The dispatcher takes the decision back."""
        self._teller.scene("An undo")
        page = await self._office.conflict(self._regretted)
        told = await self._office.undo(page)
        await self._told(f"undoes conflict {self._regretted}", told, status=page.conflict.loser.value)
        technician = self._cast.technicians[ON_SITE]
        await technician.sync()
        status = (technician.device.get(WORK_ORDERS, told.id) or {}).get("status")
        after = (await self._office.conflict(self._regretted)).conflict.state
        self._teller.say(f'{technician.name} syncs and reads "{status}". The entry stays, as {after}.')

    async def reckoning(self, began: float) -> bool:
        """Everybody syncs; compare all that there is."""
        self._teller.scene("Evening: does everybody agree, and is anything missing?")
        await self._cast.sync()
        found = await reckon(self._cast)
        for line in _totals(found):
            self._teller.say(line)
        for difference in found.differences[:DIFFERENCES_SHOWN]:
            self._teller.say(f"DIFFERENT  {difference}")
        self._teller.say(
            f"{'NOT all well' if found.differences else 'All well'}: {len(found.differences)} differences, "
            f"told in {time.monotonic() - began:.1f} s."
        )
        return not found.differences

    # What the scenes share.

    async def _plan(self, title: str, assignee: Technician, crew: list[Technician] | None = None) -> str:
        """Begin a scene on the first job of a technician, and have the dispatcher plan it anew."""
        await assignee.sync()
        job = assignee.jobs[0]
        page = await self._office.get(WORK_ORDERS, job)
        told = await self._office.assign(page, assignee.id, [member.id for member in crew or []])
        await self._office.change(told.shown, WORK_ORDERS, status="planned", priority="normal")
        self._teller.scene(title)
        who = " with ".join(person.name for person in (assignee, *(crew or [])))
        self._teller.say(f'The job: "{page.fields["title"]}", for {who}.')
        return job

    async def _dispatch(self, manner: str, job: str, **fields: Any) -> None:
        page = await self._office.get(WORK_ORDERS, job)
        await self._told(manner, await self._office.change(page, WORK_ORDERS, **fields), **fields)

    async def _told(self, manner: str, told: Told, **fields: Any) -> None:
        self._teller.say(f"The dispatcher {manner}, and is told:")
        await self._teller.office(told, fields)

    async def _settle(self, technician: Technician) -> None:
        """Have the dispatcher choose for the conflict that waits for a person."""
        waiting = [
            told.conflict
            for answered in technician.device.verdicts
            for told in answered.verdict.cells.values()
            if told.verdict == "parked" and told.conflict
        ]
        for conflict in waiting:
            page = await self._office.conflict(conflict)
            told = await self._office.settle(page, "loser")
            cell = page.conflict.cell
            await self._told(f"settles conflict {conflict}", told, **{cell: page.conflict.loser.value})

    def _skip_answers(self) -> None:
        for technician in self._cast.technicians:
            technician.told = technician.made


def _now() -> str:
    return datetime.now(UTC).strftime("%H:%M:%S UTC")


def _totals(found: Reckoning) -> tuple[str, str]:
    kinds = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.verdicts.items()))
    compared = (
        f"{found.devices} devices show {found.copies} copies of {len(found.records)} records; each was compared with "
        "what the hub shows that person."
    )
    looked_up = (
        f"{found.edits} edits were pushed: {kinds}. Their {found.cells} cells were looked for in the histories of "
        "their records and among the conflict entries."
    )
    return compared, looked_up
