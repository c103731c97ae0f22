"""The reference device against a hub in memory: what a technician does, with and without a network."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from clients import errors, parcel
from clients.device import Device
from clients.machine import this_machine, zone_of
from replication import wire
from replication.mutation import Mutation
from tests.peers.hub import ANA, BEN, CODE, Clockwork, Hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JOB = "20000000-0000-4000-8000-000000000001"


class Field:
    """A hub, and Ana's device in its reach."""

    def __init__(self, folder: Path) -> None:
        """Begin with one job of Ana's, and her device not enrolled."""
        self.folder = folder
        self.clock = Clockwork()
        self.hub = Hub()
        self.hub.office("create", JOB, title="Pump", notes="old", meter=5, assignee_id=ANA)
        self.opened: list[Device] = []
        self.device = self.another("phone.db")

    def another(self, name: str) -> Device:
        """Another installation of Ana's, or the same one opened again."""
        path = self.folder / name
        device = Device.open(path, "http://hub", client=self.hub.client(), machine=self.clock.machine())
        self.opened.append(device)
        return device

    async def enrol(self, **limits: int) -> Device:
        """Enrol and sync Ana's device, under these limits."""
        self.hub.limits = wire.Limits(**limits)
        await self.device.enrol(CODE, "Ana's phone")
        await self.device.sync()
        return self.device

    def pushes(self) -> list[dict[str, Any]]:
        """The bodies of all pushes that the hub has read."""
        return [body for _, path, body in self.hub.requests if path == wire.PATH_PUSH]


@pytest_asyncio.fixture
async def new_field(tmp_path: Path) -> AsyncIterator[Field]:
    """A device that was never enrolled."""
    made = Field(tmp_path)
    yield made
    for device in made.opened:
        await device.close()


@pytest_asyncio.fixture
async def field(new_field: Field) -> Field:
    """Ana's device, enrolled and in sync."""
    await new_field.enrol()
    return new_field


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
    }


async def test_push_says_what_the_protocol_asks(field: Field) -> None:
    """Epoch, schema, cursor, verdicts seen, clocks; per mutation the base by cell, `was` and time."""
    field.device.edit("jobs", JOB, title="Pump 2")

    await field.device.sync()

    (push,) = field.pushes()
    (mutation,) = push["mutations"]
    assert (push["epoch"], push["schema"], push.get("verdicts_seen", 0)) == ("e1", 1, 0)
    assert push["cursor"]
    assert push["clock"] == {"wall_ms": field.clock.now, "mono_ms": field.clock.now, "zone": "Europe/Zurich"}
    rev = mutation["rev"]
    assert mutation == {
        "n": 1,
        "op": "set",
        "collection": "jobs",
        "id": JOB,
        "base": {"title": rev, "$alive": rev},
        "rev": rev,
        "set": {"title": "Pump 2"},
        "was": {"title": "Pump"},
        "at": field.clock.now,
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


async def test_pushes_are_cut_by_the_limits(new_field: Field) -> None:
    """More edits than a push may carry go out in several, and no tx in two."""
    device = await new_field.enrol(mutations=3)
    device.edit("jobs", JOB, title="1")
    device.edit("jobs", JOB, title="2")
    with device.transaction():
        device.edit("jobs", JOB, title="3")
        device.edit("jobs", JOB, title="4")
    device.edit("jobs", JOB, title="5")

    await device.sync()

    assert [[m["n"] for m in push["mutations"]] for push in new_field.pushes()] == [[1, 2], [3, 4, 5]]


def test_cut_respects_bytes_and_never_parts_a_tx() -> None:
    """A push holds what fits; a tx that alone is larger goes alone."""
    mutations = [
        Mutation(n=n, op="set", collection="c", id="i", tx=tx, set={"f": "x" * 100})
        for n, tx in enumerate(["t", "t", None, "u", "u", "u"], start=1)
    ]

    def numbers(size: int, start: int = 0) -> list[int]:
        limits = wire.Limits(bytes=parcel.HEAD_BYTES + size)
        return [mutation.n for mutation in parcel.cut(mutations[start:], limits)]

    assert numbers(10) == [1, 2]
    assert numbers(600) == [1, 2, 3]
    assert numbers(10, 3) == [4, 5, 6]
    assert numbers(10_000) == [1, 2, 3, 4, 5, 6]
    assert parcel.cut([], wire.Limits()) == []


async def test_hub_that_takes_a_part_gets_the_rest(field: Field) -> None:
    """Verdicts for the first mutations only are taken, and the rest is sent after the pause asked for."""
    for title in "abc":
        field.device.edit("jobs", JOB, title=title)
    field.hub.judged_at_once = 2
    field.hub.retry_after_ms = 1500

    await field.device.sync()

    assert [[m["n"] for m in push["mutations"]] for push in field.pushes()] == [[1, 2, 3], [3]]
    assert field.clock.slept.count(1.5) == 2


async def test_hub_that_answers_nothing_is_given_up(field: Field) -> None:
    """A hub that gives no verdict, time after time, is an error and no endless loop."""
    field.device.edit("jobs", JOB, title="a")
    field.hub.judged_at_once = 0

    with pytest.raises(errors.NoProgress):
        await field.device.sync()

    assert len(field.device.unsent) == 1


async def test_gap_is_filled_from_the_acknowledged(field: Field) -> None:
    """A hub that asks for a number it had acknowledged gets it again."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    backup = field.hub.backup()
    await field.device.sync()
    field.hub.state = backup
    field.device.do("jobs", JOB, "meter", {"inc": 2})

    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 8
    assert [answered.mutation.n for answered in field.device.verdicts] == [1, 2]


async def test_gap_that_cannot_be_filled_is_told(field: Field) -> None:
    """If the hub lost what it had called durable, the device says so and keeps the rest."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    backup = field.hub.backup()
    field.hub.durable = 1
    await field.device.sync()
    field.hub.state = backup
    field.device.do("jobs", JOB, "meter", {"inc": 2})

    with pytest.raises(errors.HistoryLost):
        await field.device.sync()

    assert [mutation.n for mutation in field.device.unsent] == [2]


async def test_acknowledged_is_kept_until_durable(field: Field) -> None:
    """Verdicts are kept until every backup of the hub has the mutation."""
    for title in "abc":
        field.device.edit("jobs", JOB, title=title)
    await field.device.sync()
    kept = len(field.device.verdicts)
    field.hub.durable = 2

    await field.device.sync()

    assert kept == 3
    assert [answered.mutation.n for answered in field.device.verdicts] == [3]


async def test_restored_hub_gets_back_what_it_lost(field: Field) -> None:
    """After a restore the device sends again what the hub no longer knows, and loses nothing of its own."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    await field.device.sync()
    backup = field.hub.backup()
    field.device.do("jobs", JOB, "meter", {"inc": 10})
    field.hub.office("create", JOB[:-1] + "7", title="lost in the crash", assignee_id=ANA)
    await field.device.sync()
    field.device.do("jobs", JOB, "meter", {"inc": 100})

    position = field.hub.restore(backup)
    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 116
    shown = field.device.get("jobs", JOB)
    assert shown is not None
    assert shown["meter"] == 116
    assert list(field.device.list("jobs")) == [JOB], "what the hub lost is no longer in scope"
    resent = field.pushes()[-1]["mutations"]
    assert [m["n"] for m in resent] == [2, 3]
    assert all(seq <= position for m in resent for seq in m["base"].values())


async def test_epoch_that_never_settles_is_given_up(field: Field) -> None:
    """A hub that changes its epoch on each request is an error and no endless loop."""
    document = b'{"code": "epoch_changed", "epoch": "x", "applied": 0, "position": 0}'
    field.hub.faults.extend([(409, {}, document)] * 10)

    with pytest.raises(errors.NoProgress):
        await field.device.sync()


async def test_idle_device_hears_of_a_restore_too(field: Field) -> None:
    """A pull tells only that the epoch changed; the device asks for the rest and sends what was lost."""
    backup = field.hub.backup()
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    await field.device.sync()
    field.hub.restore(backup)

    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 6
    assert field.device.list("jobs") == {JOB: {"title": "Pump", "notes": "old", "meter": 6, "assignee_id": ANA}}


@pytest.mark.parametrize("document", [b'{"code": "epoch_changed"}', b'{"code": "epoch_changed", "applied": "many"}'])
async def test_epoch_problem_without_its_parts_is_unintelligible(field: Field, document: bytes) -> None:
    """An answer that is not of the protocol is named as such and changes nothing."""
    field.hub.faults.append((409, {}, document))

    with pytest.raises(errors.Unintelligible):
        await field.device.sync()


async def test_cursor_that_the_hub_disowns_is_given_up(field: Field) -> None:
    """A hub that no longer knows its own cursor is read anew; nothing unsent waits for that."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    field.hub.faults.append((400, {}, b'{"code": "bad_cursor"}'))

    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 6
    assert field.device.list("jobs")[JOB]["meter"] == 6


async def test_forked_replica_is_told_and_can_enrol_anew(field: Field) -> None:
    """Two copies of one installation: the second is told, keeps its work and sends it as a new replica."""
    await field.device.close()
    (field.folder / "clone.db").write_bytes((field.folder / "phone.db").read_bytes())
    one, other = field.another("phone.db"), field.another("clone.db")
    one.edit("jobs", JOB, title="from one")
    await one.sync()
    other.do("jobs", JOB, "meter", {"inc": 2})

    with pytest.raises(errors.ReplicaForked):
        await other.sync()
    kept = list(other.unsent)
    await other.enrol(CODE, "Ana's phone, again")
    await other.sync()
    await one.sync()

    assert [mutation.n for mutation in kept] == [1]
    assert other.rid != one.rid
    assert field.hub.value(JOB, "meter") == 7
    assert other.list("jobs") == one.list("jobs")


async def test_fenced_device_keeps_its_work(field: Field) -> None:
    """A revoked device is told and keeps its outbox."""
    field.device.edit("jobs", JOB, title="a")
    assert field.device.rid is not None
    field.hub.state.replicas[field.device.rid].fenced = True

    with pytest.raises(errors.Fenced):
        await field.device.sync()

    assert len(field.device.unsent) == 1


async def test_expired_token_is_renewed(field: Field) -> None:
    """A token that ran out is renewed on the way, and the push goes through."""
    field.device.edit("jobs", JOB, title="a")
    field.hub.tokens.clear()

    await field.device.sync()

    assert list(field.device.unsent) == []


async def test_device_that_cannot_renew_is_told(field: Field) -> None:
    """Where the renewal is refused too, the person has to enrol again."""
    field.hub.tokens.clear()
    field.hub.refreshes.clear()

    with pytest.raises(errors.NotAuthorised):
        await field.device.sync()


async def test_new_catalogue_is_fetched(field: Field) -> None:
    """A verdict under another catalogue version makes the device fetch it."""
    state = field.hub.state
    state.catalog = type(state.catalog)(collections=state.catalog.collections, version=2)
    field.device.edit("jobs", JOB, title="a")
    await field.device.sync()
    field.device.edit("jobs", JOB, title="b")

    await field.device.sync()

    assert [push["schema"] for push in field.pushes()] == [1, 2]


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


def test_zone_is_read_off_the_system() -> None:
    """The zone is the name under which the system's own clock setting lies."""
    assert zone_of(Path("/usr/share/zoneinfo/Europe/Zurich")) == "Europe/Zurich"
    assert zone_of(Path("/etc/localtime")) == "UTC"


def test_this_machine_has_clocks_and_ids() -> None:
    """The real machine gives a time, a steady clock, chance and fresh ids."""
    real = this_machine()

    assert real.now_ms() > 1_700_000_000_000
    assert real.mono_ms() <= real.mono_ms()
    assert 0 <= real.jitter() < 1
    assert real.new_id() != real.new_id()
