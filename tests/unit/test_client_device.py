"""The reference device against a hub in memory: what a technician does, with and without a network."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from clients import errors, parcel
from tests.peers.field import JOB
from tests.peers.hub import ANA, BEN, CODE

if TYPE_CHECKING:
    from tests.peers.field import Field


async def test_first_sync_brings_what_is_in_scope(new_field: Field) -> None:
    """A new device shows the jobs of its person and what everybody reads, and nothing else."""
    new_field.hub.office("create", JOB[:-1] + "2", title="Ben's", assignee_id=BEN)
    new_field.hub.office("create", JOB[:-1] + "3", "parts", name="Seal")

    device = await new_field.enrol(page=1)

    assert list(device.list("jobs")) == [JOB]
    assert device.list("parts") == {JOB[:-1] + "3": {"name": "Seal"}}
    assert device.get("jobs", JOB) == {"title": "Pump", "notes": "old", "meter": 5, "assignee_id": ANA}


async def test_sync_before_enrolment_is_refused(new_field: Field) -> None:
    """A device without a replica says so, and keeps what was made on it for the replica it becomes."""
    made = new_field.device.create("jobs", {"title": "Found on the way"})

    with pytest.raises(errors.NotEnrolled):
        await new_field.device.sync()
    await new_field.enrol()

    assert new_field.hub.value(made, "title") == "Found on the way"


async def test_edits_are_shown_at_once_and_settled_later(field: Field) -> None:
    """Offline work is on the screen at once; the sync sends it and tells what became of it."""
    device = field.device
    device.edit("jobs", JOB, title="Pump 2", starts_at="2026-03-01T08:00:00Z")
    device.do("jobs", JOB, "meter", {"inc": 3})
    shown = device.get("jobs", JOB)
    field.hub.office("set", JOB, title="Office pump", notes="old!")

    await device.sync()

    assert shown is not None
    assert (shown["title"], shown["meter"], shown["starts_at"]) == ("Pump 2", 8, "2026-03-01T08:00:00Z")
    assert [answered.verdict.verdict for answered in device.verdicts] == ["superseded", "applied"]
    assert list(device.unsent) == []
    assert device.get("jobs", JOB) == {
        "title": "Office pump",
        "notes": "old!",
        "meter": 8,
        "assignee_id": ANA,
        "starts_at": "2026-03-01T08:00:00.000Z",
        "ends_at": None,
    }


async def test_lost_answer_is_asked_for_again(field: Field) -> None:
    """A push whose answer is lost is sent again and has one effect."""
    field.device.do("jobs", JOB, "meter", {"inc": 3})
    field.hub.faults.append("lost_answer")

    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 8
    assert len(field.pushes()) == 2
    assert list(field.device.unsent) == []


async def test_no_network_keeps_everything(field: Field) -> None:
    """After all attempts the device gives up for now; nothing unsent is gone."""
    field.device.do("jobs", JOB, "meter", {"inc": 3})
    field.hub.faults.extend(["lost_request"] * 6)

    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    kept = list(field.device.unsent)
    await field.device.sync()

    assert len(kept) == 1
    assert field.hub.value(JOB, "meter") == 8


async def test_transaction_is_one_tx(field: Field) -> None:
    """Edits made together share a tx and consecutive numbers."""
    with field.device.transaction():
        made = field.device.create("jobs", {"title": "New"})
        with field.device.transaction():
            field.device.edit("jobs", made, notes="n")
    field.device.edit("jobs", JOB, title="alone")

    first, second, third = field.device.unsent
    assert first.tx == second.tx is not None
    assert third.tx is None
    assert [first.n, second.n, third.n] == [1, 2, 3]


async def test_failed_transaction_leaves_nothing(field: Field) -> None:
    """If one edit of a transaction raises, none was made and no number was used up."""
    with suppress(errors.NotShown), field.device.transaction():
        field.device.edit("jobs", JOB, title="x")
        field.device.edit("jobs", JOB[:-1] + "9", title="y")
    assert list(field.device.unsent) == []
    field.device.edit("jobs", JOB, title="z")

    assert [mutation.n for mutation in field.device.unsent] == [1]
    shown = field.device.get("jobs", JOB)
    assert shown is not None
    assert shown["title"] == "z"


@pytest.mark.parametrize("limits", [{"tx": 2}, {"bytes": parcel.HEAD_BYTES + 300}], ids=["count", "bytes"])
async def test_what_no_push_could_carry_is_refused_at_once(new_field: Field, limits: dict[str, int]) -> None:
    """An edit that would block everything behind it is not made."""
    device = await new_field.enrol(**limits)

    def three_edits() -> None:
        with device.transaction():
            for title in "abc":
                device.edit("jobs", JOB, title=title * 100)

    with pytest.raises(errors.TooLarge):
        three_edits()

    assert list(device.unsent) == []


async def test_record_given_to_another_leaves_after_its_verdicts(field: Field) -> None:
    """Work on a job that was given to somebody else is judged first; then the job goes."""
    field.device.edit("jobs", JOB, title="done by Ana")
    field.hub.office("set", JOB, assignee_id=BEN)
    field.hub.faults.extend(["lost_request"] * 6)
    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    before = field.device.get("jobs", JOB)

    await field.device.sync()

    assert before is not None
    assert field.hub.value(JOB, "title") == "done by Ana"
    assert field.device.list("jobs") == {}
    with pytest.raises(errors.NotShown):
        field.device.edit("jobs", JOB, title="too late")


async def test_deleted_record_goes(field: Field) -> None:
    """A record deleted in the office goes from the screen; one deleted here is deleted there."""
    other = field.device.create("jobs", {"title": "Mistake"})
    await field.device.sync()
    field.device.delete("jobs", other)
    field.hub.office("delete", JOB)

    await field.device.sync()

    assert field.device.list("jobs") == {}
    assert not field.hub.state.records["jobs", other].alive


async def test_reopened_device_goes_on(field: Field) -> None:
    """All that a device knows is in its file."""
    field.device.edit("jobs", JOB, title="before the battery died")
    await field.device.close()

    async with field.another("phone.db") as device:
        shown = device.get("jobs", JOB)
        await device.sync()

    assert shown is not None
    assert shown["title"] == "before the battery died"
    assert field.hub.value(JOB, "title") == "before the battery died"


async def test_two_devices_end_alike(field: Field) -> None:
    """Two devices of one person that worked offline show the same in the end."""
    other = field.another("tablet.db")
    await other.enrol(CODE, "Ana's tablet")
    await other.sync()
    for device, mark in ((field.device, "phone"), (other, "tablet")):
        device.edit("jobs", JOB, title=mark, notes=f"old {mark}")
        device.do("jobs", JOB, "tags", {"add": [mark]})
        device.do("jobs", JOB, "meter", {"inc": 1})

    await field.device.sync()
    await other.sync()
    await field.device.sync()

    assert field.device.list("jobs") == other.list("jobs")
    assert field.hub.value(JOB, "meter") == 7
    assert field.hub.value(JOB, "tags") == ["phone", "tablet"]
    assert field.hub.value(JOB, "notes") == "old phone tablet"


async def test_open_transaction_is_never_awaited_in(field: Field) -> None:
    """A sync inside a transaction of edits would keep half of it; it is refused."""

    async def sync_inside() -> None:
        with field.device.transaction():
            field.device.edit("jobs", JOB, title="a")
            await field.device.sync()

    with pytest.raises(AssertionError, match="transaction"):
        await sync_inside()

    assert field.pushes() == [], "a number that is taken back must never have been sent"
    assert list(field.device.unsent) == []
