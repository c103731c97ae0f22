"""Gathering: all that belongs to an object is counted, however much else there is and however often it changed."""

from __future__ import annotations

import pytest

from tests.integration.test_planning import ANA, BEN, HOURS, entry, hours, put, trial
from tests.integration.world import DORA, job
from tests.peers.vendor.demo import Demo
from upstream import contexts, deliveries, making, outbox

JANUARY = f"{ANA}|2026-01-05"
ALL = 'action = "sum", source = "rows.entries:started_at..ended_at", scale = "1/3600"'


async def earlier(world, many):
    """Let the office write entries of an earlier period, whose ids come before the others."""
    for number in range(many):
        await entry(world, number, "08:00", "09:00", day=f"2025-11-{1 + number:02d}")


async def dead_letters(world):
    """Give what waits for a person."""
    return await deliveries.listed(world.database, world.tenant, deliveries.Filter(dead=True))


async def test_the_hours_of_somebody_with_many_entries_are_all_counted(world, monkeypatch):
    """More entries of earlier periods than may be gathered: those of this period are counted all the same."""
    monkeypatch.setattr(making, "ITEMS_MAX", 5)
    demo = Demo(lag_seconds=0.0)
    await earlier(world, 8)
    async with trial(world, HOURS, demo) as (_, _connection, worker):
        await entry(world, 20, "08:00", "10:00")
        await entry(world, 21, "10:00", "13:00")
        await worker.drain()

    assert hours(demo) == {JANUARY: "5"}


async def test_hours_that_were_told_stay_when_more_entries_come(world, monkeypatch):
    """Entries of another period, with lower ids, come in: nothing of this period changes."""
    monkeypatch.setattr(making, "ITEMS_MAX", 5)
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (_, _connection, worker):
        await entry(world, 20, "08:00", "10:00")
        await entry(world, 21, "10:00", "13:00")
        await worker.drain()
        await earlier(world, 8)
        await worker.drain()
        await put(world, "time_entries", job(20), remarks="nothing about hours")
        await worker.drain()

    assert hours(demo)[JANUARY] == "5"


async def test_what_does_not_count_takes_no_place(world, monkeypatch):
    """Entries that are not approved are left out, page by page, before it is looked whether there are too many."""
    monkeypatch.setattr(making, "ITEMS_MAX", 3)
    monkeypatch.setattr(contexts, "PAGE_ROWS", 2)
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (_, _connection, worker):
        for number in range(10):
            await entry(world, number, "08:00", "09:00", approved=number in (0, 5, 9))
        await worker.drain()

    assert (hours(demo), await dead_letters(world)) == ({JANUARY: "3"}, [])


@pytest.mark.parametrize("takes", [ALL, 'source = "rows.entries.0.ended_at"'], ids=["the sum", "the first one"])
async def test_more_than_may_be_is_a_dead_letter_and_no_part_of_it(world, monkeypatch, takes):
    """Whatever a mapping takes of too many records, what was told stays and a person is told."""
    monkeypatch.setattr(making, "ITEMS_MAX", 2)
    monkeypatch.setattr(contexts, "PAGE_ROWS", 3)
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS.replace(ALL, takes), demo) as (_, _connection, worker):
        for number in range(2):
            await entry(world, number, "08:00", "09:00")
        await worker.drain()
        told = hours(demo)
        for number in range(2, 9):
            await entry(world, number, "08:00", "09:00")
            await worker.drain()
        [dead] = await dead_letters(world)

    assert list(told) == [JANUARY]
    assert hours(demo) == told
    assert (dead.error_class, dead.error_code) == ("data", "mapping")
    assert "rows.entries: more than 2 records belong to it" in dead.error_message


@pytest.mark.parametrize(
    ("zone", "first", "last"),
    [
        ("Pacific/Auckland", "2026-01-04T11:00", "2026-01-18T10:59"),
        ("Pacific/Honolulu", "2026-01-05T10:00", "2026-01-19T09:59"),
    ],
)
async def test_a_period_begins_and_ends_with_the_days_of_its_zone(world, zone, first, last):
    """The first and the last minute of a period count, though they have other days by UTC; those beside it do not."""
    demo = Demo(lag_seconds=0.0)
    mapping = HOURS.replace("first = 2026-01-05 }", f'first = 2026-01-05, zone = "{zone}" }}')
    async with trial(world, mapping, demo) as (_, _connection, worker):
        for number, (day, minute) in enumerate(end.split("T") for end in (first, last)):
            await entry(world, number, minute, "23:59", day=day)
        await worker.drain()
        told = hours(demo)
        outside = [end.replace(*change) for end, change in ((first, (":00", ":59")), (last, (":59", ":00")))]
        for number, (day, minute) in enumerate(end.split("T") for end in outside):
            hour = int(minute[:2]) + (1 if number else -1)
            await entry(world, 10 + number, f"{hour:02d}{minute[2:]}", "23:59", day=day)
        await worker.drain()

    assert list(told) == [JANUARY]
    assert hours(demo)[JANUARY] == told[JANUARY]
    assert len(hours(demo)) == 3


async def test_what_lies_at_the_end_of_the_calendar_is_in_no_period(world):
    """A period that would reach beyond the calendar is none: the entry belongs to nothing, and plans go on."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (_, connection, worker):
        await entry(world, 1, "08:00", "10:00", day="9999-12-31")
        await entry(world, 2, "08:00", "10:00")
        await worker.drain()
        left = await outbox.waiting(world.database, world.tenant, connection.connection, limit=9)

    assert (hours(demo), left) == ({JANUARY: "2"}, [])


async def test_records_are_found_by_a_value_that_is_no_text(world):
    """A gathered record may be looked up by true and false as well."""
    demo = Demo(lag_seconds=0.0)
    mapping = HOURS.replace("match = {", 'match = { approved = "record.approved",')
    async with trial(world, mapping, demo) as (_, _connection, worker):
        await entry(world, 1, "08:00", "10:00")
        await entry(world, 2, "10:00", "13:00")
        await worker.drain()

    assert hours(demo) == {JANUARY: "5"}


async def test_hours_that_moved_to_somebody_else_are_paid_once(world, monkeypatch):
    """Told for Ana; before it is looked at again it is Dora's and then Ben's, and was changed a hundred times more."""
    monkeypatch.setattr(contexts, "PAGE_ROWS", 10)
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (_, _connection, worker):
        await entry(world, 1, "08:00", "10:00")
        await entry(world, 2, "10:00", "11:00")
        await worker.drain()
        await put(world, "time_entries", job(1), technician_id=DORA)
        await put(world, "time_entries", job(1), technician_id=BEN)
        for number in range(101):
            await put(world, "time_entries", job(1), remarks=f"note {number}")
        await worker.drain()

    assert hours(demo) == {JANUARY: "1", f"{BEN}|2026-01-05": "2"}
