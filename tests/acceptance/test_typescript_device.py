"""A device that shares no line with ours and goes by docs/protocol.md, against a real server.

Whatever it can do is what the page says, and at each end its copy is the reference device's and the office's.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from random import Random
from string import ascii_letters
from typing import TYPE_CHECKING, Any

import pytest

from clients.office import WORK_ORDERS
from clients.relay import Relay
from replication import wire
from tests import typescript, vector_cases
from tests.peers import hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from clients.device import Device
    from clients.office import Office, Shown
    from tests.acceptance.served import Served
    from tests.typescript import Peer

MANY = 1_200
"""More changes than a page of a pull has."""


@pytest.fixture(scope="session")
def programs() -> Path:
    """Give the folder of the compiled programs."""
    return typescript.compiled()


@pytest.fixture
async def road(served: Served) -> AsyncIterator[Relay]:
    """Give a way to the server that can lose answers."""
    async with Relay(served.ready.url) as relay:
        yield relay


@pytest.fixture
async def ana(served: Served, road: Relay, programs: Path, tmp_path: Path) -> AsyncIterator[Peer]:
    """Give the first technician's device, enrolled and synced."""
    async with typescript.peer(programs, tmp_path / "ana.json", road.url) as device:
        await device.ask("enrol", served.tenant.technicians[0].enrolment_code, "device in TypeScript")
        await device.sync()
        yield device


@pytest.fixture
async def job(served: Served, office: Office) -> Callable[..., Awaitable[Shown]]:
    """Give new work orders of the first technician."""

    async def make(**fields: Any) -> Shown:
        made = await office.create(WORK_ORDERS, {"title": "Pump", **fields})
        return (await office.assign(made.shown, served.tenant.technicians[0].id)).shown

    return make


async def verdicts(device: Peer) -> list[str]:
    """Return what became of each mutation."""
    return [each["verdict"] for each in await device.ask("verdicts")]


async def parts_of(device: Peer, job: Shown) -> dict[str, Any]:
    """Return what the device shows of the parts that were used on a job."""
    shown = await device.ask("list", "parts_used")
    return {name: fields for name, fields in shown.items() if fields.get("work_order_id") == job.id}


def test_it_passes_the_vectors(programs: Path) -> None:
    """Its values, hashes and copies are those of the vectors, all but the numbers that its language cannot read."""
    done = subprocess.run(
        ["node", programs / "vectors.js", vector_cases.FOLDER], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    passed, of = (int(word) for word in done.stdout.split() if word.isdigit())
    assert passed == of > 200


async def test_offline_edits_arrive_once_though_answers_are_lost(
    office: Office, road: Relay, ana: Peer, job: Callable[..., Awaitable[Shown]]
) -> None:
    """Edits of two records made without a network count once, with every answer lost once and the device restarted."""
    one, two = await job(notes="a"), await job(status="open")
    await ana.sync()
    await ana.ask("do", WORK_ORDERS, one.id, {"notes": {"append": " b"}})
    # More than fits into one packet, so that it travels compressed.
    await ana.ask("set", WORK_ORDERS, two.id, {"status": "on site", "summary": "é" * 5_000})
    await ana.ask("set", WORK_ORDERS, two.id, {"status": "done"})
    await ana.ask("again")
    assert len(await ana.ask("unsent")) == 3

    for path in (wire.PATH_PUSH, wire.PATH_PULL):
        road.lose_answer(path)
        await ana.sync()

    assert len(road.lost) == 2
    assert await verdicts(ana) == ["applied"] * 3
    for shown in (one, two):
        assert await ana.ask("get", WORK_ORDERS, shown.id) == (await office.get(WORK_ORDERS, shown.id)).fields
    assert (await office.get(WORK_ORDERS, one.id)).fields["notes"] == "a b"
    past = await office.history(WORK_ORDERS, two.id)
    assert [each.value for each in past["status"]] == ["done", "on site", "open"]


async def test_a_conflict_with_the_dispatcher_is_told_and_shown(
    office: Office, ana: Peer, job: Callable[..., Awaitable[Shown]]
) -> None:
    """What the dispatcher wrote meanwhile outranks the device's title and yields to its status."""
    shown = await job(status="open")
    await ana.sync()
    await ana.ask("set", WORK_ORDERS, shown.id, {"title": "Pump in the cellar", "status": "done"})
    await office.change(shown, WORK_ORDERS, title="Pump 7", status="waiting")

    await ana.sync()

    (told,) = await ana.ask("verdicts")
    assert {name: (cell["verdict"], cell.get("rule")) for name, cell in told["cells"].items()} == {
        "title": ("superseded", "rank"),
        "status": ("applied", "rank"),
    }
    there = await office.get(WORK_ORDERS, shown.id)
    assert (there.fields["title"], there.fields["status"]) == ("Pump 7", "done")
    assert await ana.ask("get", WORK_ORDERS, shown.id) == there.fields
    assert len(await office.conflicts(record_id=shown.id)) == 2


async def test_a_transaction_stands_or_falls_whole(
    office: Office, ana: Peer, job: Callable[..., Awaitable[Shown]]
) -> None:
    """A visit of three edits is one commit; one that cannot be meant takes the rest of its visit with it."""
    shown = await job(notes="")
    await ana.sync()
    good = {"ask": "create", "with": ["parts_used", {"work_order_id": shown.id, "quantity": "2.50"}]}
    done = {"ask": "set", "with": [WORK_ORDERS, shown.id, {"status": "done"}]}
    bad = {"ask": "create", "with": ["parts_used", {"work_order_id": shown.id, "quantity": "a few"}]}

    await ana.ask("transaction", good, done)
    await ana.ask("transaction", {"ask": "do", "with": [WORK_ORDERS, shown.id, {"notes": {"append": "no"}}]}, bad)
    await ana.sync()

    assert await verdicts(ana) == ["applied", "applied", "refused", "refused"]
    assert [each.get("code") for each in await ana.ask("verdicts")] == [None, None, "tx_refused", "invalid"]
    there = await office.get(WORK_ORDERS, shown.id)
    assert (there.fields["status"], there.fields["notes"]) == ("done", "")
    parts = await office.list("parts_used", work_order_id=shown.id)
    assert await parts_of(ana, shown) == {each.id: each.fields for each in parts.values()}
    assert [each.fields["quantity"] for each in parts.values()] == ["2.5"]


async def test_what_is_deleted_is_gone_on_both_sides(
    office: Office, ana: Peer, job: Callable[..., Awaitable[Shown]]
) -> None:
    """A delete from either side takes the record away, and one that had not seen an edit does not."""
    shown = await job()
    await ana.sync()
    mine, theirs, edited = [
        await ana.ask("create", "parts_used", {"work_order_id": shown.id, "quantity": "1"}) for _ in range(3)
    ]
    await ana.sync()
    await ana.ask("delete", "parts_used", mine)
    await ana.ask("delete", "parts_used", edited)
    await office.delete(await office.get("parts_used", theirs), "parts_used")
    await office.change(await office.get("parts_used", edited), "parts_used", quantity="7")

    await ana.sync()

    parts = await office.list("parts_used", work_order_id=shown.id)
    assert await parts_of(ana, shown) == {each.id: each.fields for each in parts.values()}
    assert list(parts) == [edited]


async def test_after_a_long_absence_its_copy_is_the_reference_devices(
    ana: Peer, enrolled: Callable[..., Awaitable[Device]], job: Callable[..., Awaitable[Shown]]
) -> None:
    """It catches up over several pages, and then holds in every collection what the reference device holds."""
    shown = await job()
    reference = await enrolled(0)
    for number in range(MANY):
        reference.create("parts_used", {"work_order_id": shown.id, "description": f"part {number}"})
    await reference.sync()

    await ana.sync()
    await reference.sync()

    for collection in ("parts_used", WORK_ORDERS, "customers", "technicians", "sites", "price_items"):
        assert await ana.ask("list", collection) == reference.list(collection)
    assert len(await ana.ask("list", "parts_used")) >= MANY
    assert len(await ana.ask("list", WORK_ORDERS)) > 1


async def test_work_survives_a_server_restored_from_a_backup(programs: Path, tmp_path: Path) -> None:
    """What the restored server no longer knows is sent again under its numbers, and counts once."""
    server = hub.Hub()
    job = "20000000-0000-4000-8000-000000000001"
    server.office("create", job, title="Pump", notes="old", meter=5, assignee_id=hub.ANA)
    with server.serving() as url:
        async with typescript.peer(programs, tmp_path / "ana.json", url) as device:
            await device.ask("enrol", hub.CODE, "phone")
            await device.sync()
            await device.ask("do", "jobs", job, {"meter": {"inc": 1}})
            await device.sync()
            backup = server.backup()
            await device.ask("do", "jobs", job, {"meter": {"inc": 10}})
            await device.sync()
            server.office("set", job, notes="will be lost")
            await device.sync()
            await device.ask("set", "jobs", job, {"title": "Pump 2"})

            server.restore(backup)
            await device.sync()
            shown = await device.ask("get", "jobs", job)

    record = {name: cell.value for name, cell in server.state.records["jobs", job].cells.items()}
    assert (record["meter"], record["title"], record["notes"]) == (16, "Pump 2", "old")
    assert (shown["meter"], shown["title"], shown["notes"]) == (16, "Pump 2", "old")


async def test_a_new_replica_says_nothing_twice_and_makes_no_false_conflict(programs: Path, tmp_path: Path) -> None:
    """Enrolling again, it learns what was settled, leaves the unknown to the person, and pulls before it pushes."""
    server = hub.Hub()
    job = "20000000-0000-4000-8000-000000000001"
    server.office("create", job, title="Pump", meter=5, assignee_id=hub.ANA)
    with server.serving() as url:
        async with typescript.peer(programs, tmp_path / "ana.json", url) as device:
            offline = await device.ask("create", "jobs", {"title": "made before any enrolment"})
            await device.ask("enrol", hub.CODE, "phone")
            await device.sync()
            server.office("set", job, title="Pump 7")
            await device.sync()
            await device.ask("do", "jobs", job, {"meter": {"inc": 1}})
            await device.ask("set", "jobs", job, {"title": "Ana corrects what she sees"})
            server.judged_at_once = 1
            await lose_answer(server, device)
            server.judged_at_once = None

            await device.ask("enrol", hub.CODE, "phone, again")
            await device.sync()
            told = await verdicts(device)
            aside = await device.ask("setAside")

            await device.ask("do", "jobs", job, {"meter": {"inc": 10}})
            await lose_answer(server, device)
            server.tokens.clear()
            server.refreshes.clear()
            await device.ask("enrol", hub.CODE, "phone, once more")
            await device.sync()
            unknown = await device.ask("setAside")
            shown = await device.ask("get", "jobs", job)

    assert (told, aside) == (["applied"], [])
    assert server.value(offline, "title") == "made before any enrolment"
    assert (server.value(job, "title"), server.value(job, "meter")) == ("Ana corrects what she sees", 16)
    assert [(each["mutation"]["do"], each["verdict"]) for each in unknown] == [({"meter": {"inc": 10}}, None)]
    assert shown["meter"] == 16


async def test_what_is_too_slow_or_too_large_is_parted_and_stops_nothing(programs: Path, tmp_path: Path) -> None:
    """A slow road gets smaller pushes; what a lowered limit stops is kept back, and the rest arrives."""
    server = hub.Hub()
    job = "20000000-0000-4000-8000-000000000001"
    server.office("create", job, title="Pump", meter=5, assignee_id=hub.ANA)
    with server.serving() as url:
        async with typescript.peer(programs, tmp_path / "ana.json", url) as device:
            await device.ask("enrol", hub.CODE, "phone")
            await device.sync()
            for place in range(12):
                await device.ask("set", "jobs", job, {"title": f"{place}" * 200})
            server.bytes_in_time = 4_000
            await device.sync()
            slow = [len(body["mutations"]) for _, path, body in server.requests if path == wire.PATH_PUSH]
            server.bytes_in_time = None
            await device.ask("set", "jobs", job, {"title": "x" * 20_000})
            await device.ask("do", "jobs", job, {"meter": {"inc": 1}})
            server.limits = wire.Limits(bytes=12_000)
            await device.sync()
            told = await device.ask("verdicts")

    assert sum(slow) == 12
    assert max(slow) < 12
    assert [(each["verdict"], each.get("code")) for each in told[12:]] == [("refused", "withheld"), ("applied", None)]
    assert (server.value(job, "title"), server.value(job, "meter")) == ("11" * 200, 6)


async def test_a_new_replica_asks_in_parts_where_a_proxy_takes_little(programs: Path, tmp_path: Path) -> None:
    """A 413 without a document halves what is asked, so that enrolling again leaves nothing in doubt."""
    server = hub.Hub()
    job = "20000000-0000-4000-8000-000000000001"
    server.office("create", job, title="Pump", meter=5, assignee_id=hub.ANA)
    with server.serving() as url:
        async with typescript.peer(programs, tmp_path / "ana.json", url) as device:
            await device.ask("enrol", hub.CODE, "phone")
            await device.sync()
            for place in range(4):
                await device.ask("set", "jobs", job, {"title": "".join(Random(place).choices(ascii_letters, k=400))})
            await lose_answer(server, device)
            with small_proxy(server, 1_300) as turned_away:
                await device.ask("enrol", hub.CODE, "phone, again")
                aside = await device.ask("setAside")
                await device.ask("set", "jobs", job, {"title": "x" * 200})
                await device.ask("set", "jobs", job, {"notes": "y" * 200})
                await device.sync()

    assert turned_away
    assert aside == []
    assert (server.value(job, "title"), server.value(job, "notes")) == ("x" * 200, "y" * 200)


@contextmanager
def small_proxy(server: hub.Hub, bytes_max: int) -> Iterator[list[int]]:
    """Have a proxy turn away larger bodies, in words of its own; give their sizes."""
    there, sizes = server.answer, list[int]()

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> hub.Answer:
        if len(body) <= bytes_max:
            return there(method, path, headers, body)
        sizes.append(len(body))
        return 413, {}, b"<html>"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "answer", answer)
        yield sizes


async def lose_answer(server: hub.Hub, device: Peer) -> None:
    """Have a push arrive, and a proxy answer it in the server's place."""
    there = server.answer

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> hub.Answer:
        told = there(method, path, headers, body)
        return (404, {}, b"gone") if path == wire.PATH_PUSH else told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "answer", answer)
        with pytest.raises(typescript.DeviceFailed):
            await device.sync()
