"""Two technicians and a dispatcher on one work order, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from clients import errors
from clients.office import WORK_ORDERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clients.device import Device
    from clients.office import Office
    from replication.verdict import CellVerdict
    from tests.acceptance.served import Served

    Enrolled = Callable[..., Awaitable[Device]]

ANA, BEN, CLEO = range(3)


def told(device: Device) -> dict[str, CellVerdict]:
    """Return the newest verdict of each cell that a device wrote."""
    return {cell: verdict for answered in device.verdicts for cell, verdict in answered.verdict.cells.items()}


async def job_for(office: Office, served: Served, assignee: int, *crew: int) -> str:
    """Make a job and give it to technicians."""
    people = served.tenant.technicians
    made = await office.create(WORK_ORDERS, {"title": "Boom cylinder leaks", "status": "planned"})
    await office.assign(made.shown, people[assignee].id, [people[place].id for place in crew])
    return made.id


async def test_the_policy_settles_what_nobody_could_have_known(
    served: Served, office: Office, enrolled: Enrolled
) -> None:
    """Two technicians and a dispatcher write one job unseen; rank decides, additions join, all losers are kept."""
    job = await job_for(office, served, ANA, BEN)
    ana, ben = await enrolled(ANA), await enrolled(BEN)
    ana.edit(WORK_ORDERS, job, status="done")
    ana.do(WORK_ORDERS, job, "notes", {"append": "Seal replaced."})
    ben.edit(WORK_ORDERS, job, status="waiting for parts", title="Both boom cylinders leak")
    ben.do(WORK_ORDERS, job, "notes", {"append": " Operator wants a call."})
    page = await office.get(WORK_ORDERS, job)

    by_office = await office.change(page, WORK_ORDERS, status="on hold", title="Boom cylinder, urgent")
    for device in (ana, ben, ana):
        await device.sync()

    assert {cell: verdict.verdict for cell, verdict in by_office.cells.items()} == {
        "status": "applied",
        "title": "applied",
    }
    assert (told(ana)["status"].verdict, told(ana)["notes"].verdict) == ("applied", "applied")
    assert {cell: told(ben)[cell].verdict for cell in ("status", "title", "notes")} == {
        "status": "superseded",
        "title": "superseded",
        "notes": "merged",
    }
    found = (await office.get(WORK_ORDERS, job)).fields
    assert {name: found[name] for name in ("status", "title", "notes")} == {
        "status": "done",
        "title": "Boom cylinder, urgent",
        "notes": "Seal replaced. Operator wants a call.",
    }
    assert ana.get(WORK_ORDERS, job) == ben.get(WORK_ORDERS, job) == found
    entries = (await office.conflicts(record_id=job)).values()
    assert sorted((entry.cell, entry.rule, entry.loser.value) for entry in entries if entry.cell != "notes") == [
        ("status", "rank", "on hold"),
        ("status", "rank", "waiting for parts"),
        ("title", "rank", "Both boom cylinders leak"),
    ]


async def test_who_has_seen_a_value_may_change_it(served: Served, office: Office, enrolled: Enrolled) -> None:
    """The lowest in rank replaces the value of the highest, once it was seen, and nothing is called a conflict."""
    job = await job_for(office, served, ANA, BEN)
    ana, ben = await enrolled(ANA), await enrolled(BEN)
    ana.edit(WORK_ORDERS, job, status="done")
    await ana.sync()

    await ben.sync()
    ben.edit(WORK_ORDERS, job, status="not done after all")
    await ben.sync()
    seen = await office.change(await office.get(WORK_ORDERS, job), WORK_ORDERS, status="closed")

    assert told(ben)["status"].verdict == seen.cells["status"].verdict == "applied"
    assert await office.conflicts(record_id=job) == {}


async def test_a_stale_page_leaves_one_conflict_that_can_be_undone(
    served: Served, office: Office, enrolled: Enrolled
) -> None:
    """A page saved after a device's edit is settled by the policy with one entry; one call puts its value back."""
    job = await job_for(office, served, ANA)
    ana = await enrolled(ANA)
    page = await office.get(WORK_ORDERS, job)
    ana.edit(WORK_ORDERS, job, status="no access")
    await ana.sync()

    saved = await office.change(page, WORK_ORDERS, status="customer opens at two")

    (conflict,) = await office.conflicts(record_id=job)
    assert (saved.verdict, saved.cells["status"].conflict) == ("superseded", conflict)
    assert saved.shown.fields["status"] == "no access"

    undone = await office.undo(await office.conflict(conflict))
    await ana.sync()

    assert undone.verdict == "applied"
    assert (ana.get(WORK_ORDERS, job) or {})["status"] == "customer opens at two"
    assert [entry.state for entry in (await office.conflicts(record_id=job)).values()] == ["undone"]


async def test_an_undo_of_what_moved_since_is_turned_away(served: Served, office: Office, enrolled: Enrolled) -> None:
    """An undo names the value that was shown; if a device replaced that one, nothing happens."""
    job = await job_for(office, served, ANA)
    ana = await enrolled(ANA)
    page = await office.get(WORK_ORDERS, job)
    ana.edit(WORK_ORDERS, job, status="no access")
    await ana.sync()
    saved = await office.change(page, WORK_ORDERS, status="customer opens at two")
    shown = await office.conflict(saved.cells["status"].conflict or "")
    ana.edit(WORK_ORDERS, job, status="inside")
    await ana.sync()

    with pytest.raises(errors.Refused) as refused:
        await office.undo(shown)

    assert (refused.value.status, refused.value.code) == (409, "state_moved")
    assert (await office.get(WORK_ORDERS, job)).fields["status"] == "inside"


async def test_two_accounts_of_one_visit_wait_for_a_person(served: Served, office: Office, enrolled: Enrolled) -> None:
    """Where ranks are equal and the tie is manual, one value is shown, the other kept, and a person settles it."""
    job = await job_for(office, served, ANA, BEN)
    ana, ben = await enrolled(ANA), await enrolled(BEN)
    ana.edit(WORK_ORDERS, job, summary="Seal replaced.")
    ben.edit(WORK_ORDERS, job, summary="Pump ordered.")
    await ana.sync()
    await ben.sync()
    conflict = told(ben)["summary"].conflict or ""
    assert told(ben)["summary"].verdict == "parked"
    assert (ben.get(WORK_ORDERS, job) or {})["summary"] == "Seal replaced."

    settled = await office.settle(await office.conflict(conflict), "loser")
    await ana.sync()

    assert settled.cells["summary"].verdict == "applied"
    assert (ana.get(WORK_ORDERS, job) or {})["summary"] == "Pump ordered."
    assert (await office.conflict(conflict)).conflict.state == "settled"


async def test_work_on_a_job_that_was_given_away_is_kept(served: Served, office: Office, enrolled: Enrolled) -> None:
    """A former assignee's hour is recorded and their status kept as what lost; the job leaves their device."""
    job = await job_for(office, served, ANA)
    ana = await enrolled(ANA)
    ana.edit(WORK_ORDERS, job, status="done")
    hour = ana.create("time_entries", {"work_order_id": job, "activity": "work", "remarks": "One hour."})
    await office.assign(await office.get(WORK_ORDERS, job), served.tenant.technicians[CLEO].id)
    cleo = await enrolled(CLEO)
    cleo.edit(WORK_ORDERS, job, status="travelling")
    await cleo.sync()

    await ana.sync()
    await cleo.sync()

    status, entry = (answered.verdict for answered in ana.verdicts)
    assert (status.verdict, entry.verdict) == ("superseded", "applied")
    assert ana.get(WORK_ORDERS, job) is None
    assert (ana.get("time_entries", hour) or {})["remarks"] == "One hour."
    assert cleo.get("time_entries", hour) == ana.get("time_entries", hour)
    (kept,) = (await office.conflicts(record_id=job)).values()
    assert (kept.loser.value, kept.loser.relation) == ("done", "former")


async def test_a_stranger_to_a_job_is_refused(served: Served, office: Office, enrolled: Enrolled) -> None:
    """A technician who never had a job cannot write it, and what they sent is answered all the same."""
    job = await job_for(office, served, ANA)
    cleo = await enrolled(CLEO)
    assert cleo.get(WORK_ORDERS, job) is None

    cleo.create(WORK_ORDERS, {"status": "mine now"}, job)
    await cleo.sync()

    assert told(cleo)["status"].code == "out_of_scope"
    assert (await office.get(WORK_ORDERS, job)).fields["status"] == "planned"
    assert cleo.get(WORK_ORDERS, job) is None


async def test_a_page_that_was_never_shown_is_no_base(office: Office) -> None:
    """A write that names a rev which the record never had is turned away, and nothing of it is done."""
    made = await office.create(WORK_ORDERS, {"title": "Once"})
    ahead = msgspec.structs.replace(made.shown, rev=made.rev + 1_000_000)

    with pytest.raises(errors.Refused) as refused:
        await office.change(ahead, WORK_ORDERS, title="From the future")

    assert (refused.value.status, refused.value.code) == (409, "rev_ahead")
    assert (await office.get(WORK_ORDERS, made.id)).rev == made.rev
