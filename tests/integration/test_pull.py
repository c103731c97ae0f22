"""What a device is told: scope, pages, order, waiting."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest

from syncserver.commands.errors import NoCatalogue, UnknownReplica
from syncserver.commands.page import Asked, Page, Reader
from syncserver.store import devices, group
from tests.integration.world import ANA, BEN, CUSTOMER, EPOCH, changes, job, seen

URGENT = str(UUID(int=0xAAA))


class Shelf:
    """A device that believes every word: it keeps what it is told, in the order in which it is told."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, Any]] = {}
        self.told: list[tuple[str, str, str]] = []

    def take(self, *pages: Page) -> None:
        """Apply pages."""
        self.told += changes(*pages)
        for change in (each for page in pages for commit in page.commits for each in commit.changes):
            key = (change.collection, change.id)
            if change.op in ("leave", "delete"):
                self.records.pop(key, None)
            else:
                assert change.op == "enter" or key in self.records, "a record's enter precedes its puts"
                self.records[key] = change.rev, msgspec.json.decode(msgspec.json.encode(change.fields))


async def fresh(world, person=ANA, **asked) -> Shelf:
    """Return what a device holds that begins now."""
    shelf = Shelf()
    shelf.take(*await world.pull_all(await world.phone(person), **asked))
    return shelf


async def busy_day(world) -> None:
    """Let the office arrange some jobs, and change its mind."""
    await world.submit(world.office(seen("customers", CUSTOMER, op="create", set={"name": "Mill Lane 4"})))
    for number in range(1, 7):
        await world.order(number, assignee_id=ANA if number % 2 else BEN, customer_id=CUSTOMER)
        await world.submit(
            world.office(
                seen(
                    "tasks", job(100 + number), op="create", set={"work_order_id": job(number), "title": "look"}, tx="t"
                ),
                seen("notes", job(200 + number), op="create", set={"work_order_id": job(number), "body": "hm"}, tx="t"),
            )
        )
    await world.submit(world.office(seen("work_orders", job(1), set={"assignee_id": BEN})))
    await world.submit(world.office(seen("work_orders", job(2), set={"assignee_id": ANA})))
    await world.submit(world.office(seen("work_orders", job(3), op="delete")))
    await world.submit(world.office(seen("price_items", job(9), op="create", set={"name": "Seal"})))


async def test_a_person_is_told_what_is_in_scope_and_nothing_else(world):
    """Records enter with what they refer to and what belongs to them; others stay unheard of."""
    await busy_day(world)

    ana = await fresh(world)

    orders = {record_id for collection, record_id in ana.records if collection == "work_orders"}
    assert orders == {job(2), job(5)}
    assert ("customers", CUSTOMER) in ana.records
    assert ("price_items", job(9)) in ana.records
    assert {record_id for collection, record_id in ana.records if collection == "tasks"} == {
        job(102),
        job(105),
        job(103),
    }


async def test_assigning_and_taking_away_is_entering_and_leaving(world):
    """A record that is taken away leaves, with all that was there for its sake, and is not deleted."""
    await world.submit(world.office(seen("customers", CUSTOMER, op="create", set={"name": "Mill Lane 4"})))
    await world.order(1, customer_id=CUSTOMER)
    ana, ben = await world.phone(ANA), await world.phone(BEN)
    for phone in (ana, ben):
        await world.pull_all(phone)

    await world.submit(world.office(seen("work_orders", job(1), set={"assignee_id": ANA})))
    entered = await world.pull_all(ana)
    await world.submit(world.office(seen("work_orders", job(1), set={"assignee_id": BEN})))
    left, handed_over = await world.pull_all(ana), await world.pull_all(ben)

    both = [("work_orders", job(1)), ("customers", CUSTOMER)]
    assert changes(*entered) == [("enter", *key) for key in both]
    assert changes(*left) == [("leave", *key) for key in both]
    assert changes(*handed_over) == [("enter", *key) for key in both]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1_000])
async def test_pages_of_any_size_lead_to_the_same(world, limit):
    """However small the pages, a device that follows the day holds what one holds that begins after it."""
    follower = await world.phone(ANA)
    shelf = Shelf()
    shelf.take(*await world.pull_all(follower, limit=limit))

    await busy_day(world)
    shelf.take(*await world.pull_all(follower, limit=limit))

    assert shelf.records == (await fresh(world, limit=limit)).records
    assert shelf.records


async def test_a_tx_is_never_split(world):
    """A commit travels whole, also where it is larger than the page."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await world.pull_all(phone)
    tasks = [
        seen("tasks", job(100 + i), op="create", set={"work_order_id": job(1), "title": f"step {i}"}, tx="plan")
        for i in range(40)
    ]
    await world.submit(world.office(*tasks))

    page = await world.pull(phone, limit=3)

    assert [(commit.tx, len(commit.changes)) for commit in page.commits] == [("plan", 40)]
    assert not page.more


async def test_a_page_ends_where_its_bytes_do(world):
    """A page that would be too large ends earlier, at a commit, and says that there is more."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await world.pull_all(phone)
    for i in range(6):
        body = {"work_order_id": job(1), "body": "x" * 10_000}
        await world.submit(world.office(seen("notes", job(100 + i), op="create", set=body)))

    pages = await world.pull_all(phone, max_bytes=25_000)

    assert [len(page.commits) for page in pages] == [2, 2, 2]
    first_reading = await world.pull_all(await world.phone(ANA), max_bytes=25_000)
    assert [len(page.commits[0].changes) for page in first_reading] == [2, 2, 3]


async def test_of_a_record_only_the_last_put_of_a_page_is_told(world):
    """A record that changed often is told once a page, as it is at the end."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await world.pull_all(phone)
    for i in range(5):
        await world.submit(world.office(seen("work_orders", job(1), set={"status": f"step {i}"})))

    page = await world.pull(phone)

    assert [(each.op, each.rev) for commit in page.commits for each in commit.changes] == [("put", page.cursor.served)]
    assert b'"status":"step 4"' in msgspec.json.encode(page.commits[0].changes[0].fields)


async def test_what_is_urgent_is_told_first(world):
    """Within a page and over pages the most urgent class comes first, whenever it was written."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await world.pull_all(phone)
    files = [seen("files", job(100 + i), op="create", set={"work_order_id": job(1)}) for i in range(3)]
    await world.submit(world.office(*files))
    await world.submit(world.office(seen("work_orders", job(1), set={"status": "moved"})))
    visit = {"technician_id": ANA, "work_order_id": job(1)}
    await world.submit(world.office(seen("appointments", URGENT, op="create", set=visit)))

    pages = await world.pull_all(phone, limit=1)

    assert [collection for _, collection, _ in changes(*pages)] == ["appointments", "work_orders", *["files"] * 3]
    assert [sum(page.complete.values()) for page in pages] == [1, 3, 3, 3, 4]


async def test_a_tx_in_an_urgent_class_does_not_overtake_a_records_enter(world):
    """A change that travels with an urgent tx brings the record along if it was not told yet."""
    await world.order(1, assignee_id=ANA)
    phone, shelf = await world.phone(ANA), Shelf()
    shelf.take(*await world.pull_all(phone))
    await world.submit(world.office(seen("files", job(7), op="create", set={"work_order_id": job(1), "name": "old"})))
    message = {"work_order_id": job(1), "body": "see the file"}
    await world.submit(
        world.office(
            seen("files", job(7), set={"name": "new"}, tx="t"),
            seen("messages", URGENT, op="create", set=message, tx="t"),
        )
    )

    shelf.take(*await world.pull_all(phone, limit=2))

    assert shelf.records["files", job(7)][1]["name"] == "new"
    assert shelf.told.count(("enter", "files", job(7))) == 1


async def test_an_old_leave_does_not_undo_an_enter_that_travelled_faster(world):
    """What was told in a more urgent class is not taken back by an older row of a less urgent one."""
    await world.order(1, assignee_id=ANA)
    await world.order(2, assignee_id=ANA)
    await world.submit(world.office(seen("files", job(7), op="create", set={"work_order_id": job(1), "name": "plan"})))
    phone, shelf = await world.phone(ANA), Shelf()
    shelf.take(*await world.pull_all(phone))
    await world.submit(world.office(seen("files", job(7), set={"work_order_id": None})))
    message = {"work_order_id": job(2), "body": "see the file"}
    await world.submit(
        world.office(
            seen("files", job(7), set={"work_order_id": job(2)}, tx="t"),
            seen("messages", URGENT, op="create", set=message, tx="t"),
        )
    )

    shelf.take(*await world.pull_all(phone, limit=1))

    assert shelf.records == (await fresh(world)).records
    assert ("files", job(7)) in shelf.records


async def test_a_snapshot_is_of_one_moment(world):
    """A first reading in many pages shows everything as it was when it began, then what came after."""
    await busy_day(world)
    expected = (await fresh(world)).records
    phone, shelf = await world.phone(ANA), Shelf()
    shelf.take(await world.pull(phone, limit=2))
    assert phone.at.snapshot is not None
    await world.submit(world.office(seen("work_orders", job(5), set={"status": "later"})))
    await world.submit(world.office(seen("work_orders", job(2), op="delete")))
    await world.submit(world.office(seen("work_orders", job(4), set={"assignee_id": ANA})))

    while phone.at.snapshot is not None:
        shelf.take(await world.pull(phone, limit=2))
    assert shelf.records == expected
    shelf.take(*await world.pull_all(phone, limit=2))

    assert shelf.records == (await fresh(world)).records


async def test_a_change_that_commits_late_is_not_skipped(world, monkeypatch):
    """While a writer holds the lock and has not committed, nobody's later change is told before."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await world.pull_all(phone)
    written, go_on = asyncio.Event(), asyncio.Event()
    write = group.write

    async def slow(*arguments, **named):
        await write(*arguments, **named)
        if not written.is_set():
            written.set()
            await go_on.wait()

    monkeypatch.setattr(group, "write", slow)
    edits = [world.office(seen("work_orders", job(1), set={"status": status})) for status in ("first", "second")]
    one = asyncio.create_task(world.submit(edits[0]))
    await written.wait()
    two = asyncio.create_task(world.submit(edits[1]))
    await asyncio.sleep(0.1)

    nothing = await world.pull(phone)
    go_on.set()
    await asyncio.gather(one, two)
    both = await world.pull(phone)

    assert (nothing.commits, nothing.more) == ((), False)
    assert [commit.seq - nothing.cursor.served for commit in both.commits] == [2]


async def test_a_waiting_pull_is_woken_by_a_change(world):
    """A device that waits hears of a change at once, and not only when its time is up."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await world.pull_all(phone)

    waiting = asyncio.create_task(world.pull(phone, wait_ms=20_000))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await world.submit(world.office(seen("work_orders", job(1), set={"status": "now"})))

    page = await asyncio.wait_for(waiting, 5)
    assert changes(page) == [("put", "work_orders", job(1))]


async def test_a_lost_hint_costs_time_and_nothing_else(world):
    """Without hints a waiting pull reads again when its time is up."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await world.pull_all(phone)
    await world.hints.stop()

    waiting = asyncio.create_task(world.pull(phone, wait_ms=500))
    await asyncio.sleep(0.1)
    await world.submit(world.office(seen("work_orders", job(1), set={"status": "now"})))

    assert changes(await waiting) == [("put", "work_orders", job(1))]


async def test_waiting_for_others_changes_wakes_nobody_for_long(world):
    """A pull whose time is up without news returns an empty page and a cursor that has moved on."""
    phone = await world.phone(ANA)
    await world.pull_all(phone)
    before = phone.at.parts
    await world.order(1, assignee_id=BEN)

    page = await world.pull(phone, wait_ms=50)

    assert page.commits == ()
    assert min(page.cursor.parts.values()) > max(before.values())


async def test_versions_name_who_wrote_what_is_told(world):
    """A device that asks for them learns dot, vector and waiting siblings of each cell."""
    await world.order(1, assignee_id=ANA)
    ana, other = await world.phone(ANA), await world.phone(ANA)
    await world.submit(ana.push(ana.edit(job(1), set={"summary": "tight"}, base=1)))
    await world.submit(other.push(other.edit(job(1), set={"summary": "leaks"}, base=1)))

    page = await world.pull(await world.phone(ANA), versions=True)

    (change,) = [each for each in page.commits[0].changes if each.collection == "work_orders"]
    summary = change.versions["summary"]
    assert summary.dot == (ana.rid, 1)
    assert summary.vv[ana.rid] == 1
    assert [(each.dot, each.value) for each in summary.siblings] == [((other.rid, 1), "leaks")]
    assert change.versions["$alive"].dot.rid == world.office_rid


async def test_how_far_a_device_is_behind(world):
    """The office sees how many numbers a device has not confirmed yet."""
    await world.order(1, assignee_id=ANA)
    phone = await world.phone(ANA)
    await world.pull_all(phone)
    await world.pull(phone)
    await world.pulls.flush()
    await world.order(2, assignee_id=ANA)

    (device,) = [each for each in await devices.listed(world.database, world.tenant) if each.rid == phone.rid]

    assert (device.lag, device.person_name) == (2, "Ana")
    assert device.pulled_at is not None


async def test_who_cannot_pull(world):
    """A replica that is not there, and a tenant without a catalogue, are named as such."""
    bare = (await devices.create_tenant(world.database, "Nobody yet")).tenant_id

    with pytest.raises(UnknownReplica):
        await world.pulls.pull(Reader(world.tenant, 999, ANA), None, Asked(), epoch=EPOCH)
    with pytest.raises(NoCatalogue):
        await world.pulls.pull(Reader(bare, 1, ANA), None, Asked(), epoch=EPOCH)
