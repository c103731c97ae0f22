"""What is closed, refused or gone back from: nothing is told beside what stands there, and nobody kept busy."""

from __future__ import annotations

from decimal import Decimal

from tests.integration import backdoor
from tests.integration.test_planning import HOURS, entry, put, rows_of, trial
from tests.integration.test_writing import again_and_again
from tests.integration.world import job
from tests.peers.vendor.demo import Demo
from tests.peers.vendor.faults import Script
from tests.peers.vendor.server import Response
from tests.peers.vendor.shelf import Shelf
from upstream import deliveries

CLOSED = Response(409, {"error": {"code": "closed", "message": "it is posted"}})
BUSY = Response(503, {"error": {"code": "slow", "message": "later"}})
REFUSED = Response(422, {"error": {"code": "bad", "message": "not today"}})


class Readable(Demo):
    """The vendor, which shows what stands under our own key as well."""

    @property
    def manifest(self) -> str:
        """What a connection to it needs to know."""
        read = super().manifest.partition("[operations.native_read]")[2].partition("[operations.")[0]
        read = f"[operations.upsert_read]{read.replace('/native/', '/upsert/')}[targets.native]"
        found = super().manifest.replace("[targets.native]", read, 1)
        return found.replace('create = "upsert_put"\n', 'create = "upsert_put"\nread = "upsert_read"\n')


def closes(demo: Demo, kind: str) -> None:
    """Let the vendor refuse all that is written to a kind of which a row is closed."""
    write = demo._write

    def written(name, rest, request):
        is_closed = name == kind and any(row.id in demo.closed for row in demo.shelves[kind].rows.values())
        return CLOSED if is_closed else write(name, rest, request)

    demo._write = written


async def dead(world):
    """Return the deliveries that wait for a person."""
    return await deliveries.listed(world.database, world.tenant, deliveries.Filter(dead=True))


async def both_told_and_lost(world, demo, worker, kind):
    """Have hours told whose answer is lost, then have what took them closed; return what is there, and what is late."""
    demo.faults = Script("drop")
    closes(demo, kind)
    await entry(world, 2, "10:00", "13:00")
    await worker.drain()
    demo.closed.update(demo.shelves[kind].rows)
    await again_and_again(world, worker, times=4)
    return [Decimal(row["hours"]) for row in rows_of(demo, kind)], [row["hours"] for row in rows_of(demo, "search")]


async def test_hours_that_were_taken_before_it_was_closed_are_not_told_late_too(world):
    """The repeat is refused as closed, and what is looked at then has them: it is confirmed."""
    demo = Readable(lag_seconds=0.0)
    async with trial(world, HOURS.replace('object = "versioned"', 'object = "upsert"'), demo) as (_, _c, worker):
        await entry(world, 1, "08:00", "10:00")
        await worker.drain()
        there, late = await both_told_and_lost(world, demo, worker, "upsert")
        newest = (await deliveries.listed(world.database, world.tenant))[0]

    assert (there, late, newest.state) == ([5], [], "confirmed")


async def test_hours_that_were_lost_before_it_was_closed_are_told_late(world):
    """The write never arrived: what is looked at then lacks them, and the late object carries them."""
    demo = Readable(lag_seconds=0.0)
    async with trial(world, HOURS.replace('object = "versioned"', 'object = "upsert"'), demo) as (_, _c, worker):
        await entry(world, 1, "08:00", "10:00")
        await worker.drain()
        write, lost = demo._write, []

        def losing(name, rest, request):
            if name == "upsert" and not lost:
                lost.append(request)
                demo.closed.update(demo.shelves["upsert"].rows)
                return Response(500, {})
            return write(name, rest, request)

        demo._write = losing
        closes(demo, "upsert")
        await entry(world, 2, "10:00", "13:00")
        await again_and_again(world, worker, times=5)
        late = [row["hours"] for row in rows_of(demo, "search")]

    assert (len(lost), [Decimal(row["hours"]) for row in rows_of(demo, "upsert")], late) == (1, [2], ["3"])


async def test_where_it_cannot_be_seen_whether_they_were_taken_a_person_is_asked(world):
    """The vendor's index does not show it: neither late nor told again, it waits as unknown."""
    demo = Demo(lag_seconds=0.0)
    demo.shelves["native"] = Shelf("n-", lag_seconds=3_600.0)
    async with trial(world, HOURS.replace('object = "versioned"', 'object = "native"'), demo) as (_, _c, worker):
        there, late = await both_told_and_lost(world, demo, worker, "native")
        [waits] = await dead(world)

    assert (there, late, waits.state) == ([3], [], "unknown")
    assert "it cannot be found out whether this was taken before" in waits.error_message


async def test_a_late_object_whose_difference_is_gone_is_not_told(world):
    """Three hours come late and wait, since the vendor is busy; they are taken back: nothing is left to tell."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (_, _c, worker):
        await entry(world, 1, "08:00", "10:00")
        await worker.drain()
        demo.closed.update(demo.shelves["versioned"].rows)
        closes(demo, "versioned")
        write = demo._write
        demo._write = lambda name, rest, request: BUSY if name == "search" else write(name, rest, request)
        await entry(world, 2, "10:00", "13:00")
        await worker.drain()
        await backdoor.rows(
            world.database,
            world.tenant,
            "UPDATE deliveries SET due_at = now() + interval '1 hour' WHERE due_at IS NOT NULL RETURNING 1",
        )
        await put(world, "time_entries", job(2), approved=False)
        await worker.drain()
        demo._write = write
        await again_and_again(world, worker)

    assert [row["hours"] for row in rows_of(demo, "versioned")] == ["2"]
    assert rows_of(demo, "search") == []


async def test_a_dead_letter_that_the_record_went_back_from_waits_for_nobody(world):
    """Told A, refused B, back at A: nothing is left to decide, and nobody can send B over A any more."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, backdoor.told("upsert"), demo) as (_, _c, worker):
        await world.order(1)
        await worker.drain()
        [before] = rows_of(demo, "upsert")
        write = demo._write
        demo._write = lambda *_: REFUSED
        await put(world, "work_orders", job(1), title="Pump")
        await worker.drain()
        refused = await dead(world)
        demo._write = write
        await put(world, "work_orders", job(1), title=before["title"])
        await worker.drain()

    assert len(refused) == 1
    assert await dead(world) == []
    assert rows_of(demo, "upsert") == [before]
