"""Polling over real HTTP: nothing is lost between pages, ticks and crashes, and nothing is written twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from tests.integration.crm_trial import CrmTrial
from tests.integration.test_inbound import made_here, trial, vendor
from tests.integration.world import seen
from tests.peers.crm import Crm, changed
from tests.peers.vendor.server import Drop, Request, Response
from upstream import connections, polling
from upstream.connector import Connector
from upstream.replies import Reply

__all__ = ["trial", "vendor"]  # fixtures of the folder


async def names(made: CrmTrial) -> list[str]:
    """Return the names of all customers here."""
    return sorted(record["name"] for record in (await made.records()).values())


async def test_all_pages_are_taken_in_and_the_position_is_the_newest_time(trial, vendor):
    """Customers that share a time of change are all taken in, whatever page they stand on."""
    for number in range(8):
        vendor.put(f"c{number}", name=f"n{number}")
    await trial.poll()
    await trial.take_in()

    assert await names(trial) == [f"n{number}" for number in range(8)]
    assert await trial.since() == vendor.now
    assert sum("page=" in asked for asked in vendor.asked) == 2


async def test_reading_again_writes_nothing(trial, vendor):
    """A poll that overlaps the last one finds the same records in the same states: no events, no changes."""
    for number in range(4):
        vendor.put(f"c{number}", name=f"n{number}")
    await trial.poll()
    await trial.take_in()
    before = (await trial.changes(), len(await trial.ends()))
    for _ in range(3):
        await trial.poll()
        await trial.take_in()

    assert (await trial.changes(), len(await trial.ends())) == before


async def test_a_record_that_changes_twice_in_one_tick_is_not_missed(trial, vendor):
    """The second change has the time, and at this vendor the version, of the first; what it says is another."""
    row = vendor.put("c1", name="first")
    await trial.poll()
    await trial.take_in()
    row["name"] = "second"  # neither version nor time of change move
    await trial.poll()
    await trial.take_in()

    assert await names(trial) == ["second"]


async def test_a_state_that_comes_back_is_taken_in_again(trial, vendor):
    """A system without versions, as files are: what it had, has not, and has again holds."""
    unversioned(trial)
    row = vendor.put("c1", name="first")
    for name in ("first", "second", "first"):
        row["name"] = name
        await trial.poll()
        await trial.take_in()

    assert await names(trial) == ["first"]


@pytest.mark.parametrize("told", [["second", "first"], ["first", "second", "first"], ["second", "first", "first"]])
async def test_the_last_of_several_states_in_one_list_holds(trial, vendor, monkeypatch, told):
    """A record that stands in a list more than once is what is said of it last, however often that was said before."""
    unversioned(trial)
    row = vendor.put("c1", name="first")
    await trial.poll()
    await trial.take_in()
    between(monkeypatch, items=[{**row, "name": name} for name in told])
    for _ in range(2):
        await trial.poll()
        await trial.take_in()

    assert await names(trial) == ["first"]


async def test_a_page_that_was_asked_for_before_a_confirmation_is_no_edit(trial, vendor, monkeypatch):
    """What stood there when the page was read, and was told otherwise before it was kept, is no edit of theirs."""
    unversioned(trial)
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    [row] = vendor.rows["customers"].values()
    await trial.tell(changed(row, "e0"))
    await trial.take_in()
    rev = (await trial.records())[record_id]["rev"]
    await trial.world.submit(trial.world.office(seen("customers", record_id, set={"phone": "2"}, base=rev, rev=rev)))
    between(monkeypatch, then=trial.worker().drain, items=[dict(row)])
    await trial.poll()
    await trial.take_in()

    assert row["phone"] == (await trial.records())[record_id]["phone"] == "2"


def unversioned(made: CrmTrial) -> None:
    """Have the list say nothing of which state of a record is newer."""
    source = msgspec.structs.replace(made.manifest.sources["customer"], version="", modified="")
    made.manifest = msgspec.structs.replace(made.manifest, sources={"customer": source})


def between(monkeypatch: pytest.MonkeyPatch, *, items: list[dict[str, Any]], then: Any = None) -> None:
    """Have each page show these records, and something happen before it is kept."""
    original = Connector.pages

    async def pages(self: Connector, operation: str, values: Any, **how: Any) -> AsyncIterator[Reply]:
        async for reply in original(self, operation, values, **how):
            if then is not None:
                await then()
            yield msgspec.structs.replace(reply, items=items)

    monkeypatch.setattr(Connector, "pages", pages)


async def test_a_record_that_becomes_visible_late_is_found_in_the_overlap(trial, vendor):
    """What got its time before the last poll, and could be read only after it, is asked for again."""
    vendor.put("c1", name="early")
    await trial.poll()
    late = vendor.put("c2", name="late")
    late["modified"] = vendor.now.replace(minute=59, hour=7, second=55).isoformat()
    await trial.poll()
    await trial.take_in()

    assert await names(trial) == ["early", "late"]


async def test_a_break_between_two_pages_leaves_the_position(trial, vendor):
    """The page that came is stored, the position stays, and the next poll reads all of it again."""
    for number in range(8):
        vendor.put(f"c{number}", name=f"n{number}")
    vendor.broken_page = 2
    await trial.poll()
    stored, since = len(await trial.ends()), await trial.since()
    vendor.broken_page = 0
    await trial.poll()
    await trial.take_in()

    assert (stored, since) == (3, None)
    assert await names(trial) == [f"n{number}" for number in range(8)]


async def test_a_poll_from_an_instant_that_is_asked_for_during_a_poll_is_done(trial, vendor):
    """A person asks for all since January while a poll is under way: the next poll is due, and begins there."""
    vendor.put("c1", name="a")
    await trial.poll()
    before, wanted = await trial.since(), datetime(2026, 1, 1, tzinfo=UTC)
    during_a_poll(trial, vendor, wanted)
    await trial.poll()
    [row] = await trial.ask("SELECT since, due_at <= now() AS due FROM polls WHERE object = 'customer'")
    await trial.polling.turn([trial.world.tenant])

    assert (row["since"], row["due"]) == (wanted, True)
    assert vendor.asked[-1].startswith("GET /customers?since=2025-12-31T23")
    assert await trial.since() == before


async def test_a_poll_that_is_asked_for_during_a_poll_is_done(trial, vendor):
    """A person asks for what is new while a poll is under way: it moves on, and the next one is due at once."""
    vendor.put("c1", name="a")
    during_a_poll(trial, vendor, None)
    await trial.poll()

    found = await trial.ask("SELECT since, due_at <= now() AS due FROM polls WHERE object = 'customer'")
    assert found == [{"since": vendor.now, "due": True}]


def during_a_poll(made: CrmTrial, vendor: Crm, since: datetime | None) -> None:
    """Have a person ask for a poll while the vendor answers the next one."""
    handler = vendor.server._handler

    async def meanwhile(request: Request) -> Response | Drop:
        vendor.server._handler = handler
        async with made.database.transaction(made.world.tenant) as session:
            await polling.now(session, made.world.tenant, made.connection.connection, "customer", since)
        return await handler(request)

    vendor.server._handler = meanwhile


async def test_a_time_that_is_yet_to_come_does_not_end_polling(trial, vendor):
    """One record there bears a time of the year 2099: what changes after that is found all the same."""
    vendor.put("c1", name="odd")["modified"] = "2099-01-01T00:00:00+00:00"
    await trial.poll()
    vendor.now += timedelta(hours=1)
    vendor.put("c2", name="new")
    await trial.poll()
    await trial.take_in()

    assert await names(trial) == ["new", "odd"]
    assert await trial.since() == vendor.now


async def test_nobody_has_polling_begin_at_a_time_that_is_yet_to_come(trial):
    """Asked for from the year 2099 on, it begins now: else nothing would be found till then."""
    await trial.polling.begin([trial.world.tenant])
    async with trial.database.transaction(trial.world.tenant) as session:
        late = datetime(2099, 1, 1, tzinfo=UTC)
        await polling.now(session, trial.world.tenant, trial.connection.connection, None, late)

    assert await trial.ask("SELECT since <= now() AS is_past FROM polls") == [{"is_past": True}]


async def test_a_worker_that_dies_between_two_pages_loses_nothing(trial, vendor, monkeypatch):
    """Killed after a page is stored and before the position moves: another one begins where it stood."""
    for number in range(8):
        vendor.put(f"c{number}", name=f"n{number}")

    class Killed(BaseException):
        pass

    async def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trial.polling, "_move_on", killed)
        with pytest.raises(Killed):
            await trial.poll()
    since = await trial.since()
    await trial.run("UPDATE polls SET leased_until = now() - interval '1 second'")
    await trial.poll()
    await trial.take_in()

    assert since is None
    assert await names(trial) == [f"n{number}" for number in range(8)]
    assert len(await trial.ends()) == 8


async def test_a_list_that_takes_long_keeps_no_other_waiting(trial, vendor, monkeypatch):
    """While one system is still at its first page another one is polled again and again."""
    new = connections.New(system="crm", name="slow", manifest="crm", authority="crm", base_url=vendor.url, mode="live")
    slow = await connections.make(trial.database, trial.world.tenant, str(uuid4()), new)
    await trial.keeper.put(trial.world.tenant, slow.connection, {"token": "t"})
    await trial.publish(slow)
    original, released, polled, stop = Connector.pages, asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def pages(self: Connector, *asked: Any, **how: Any) -> AsyncIterator[Reply]:
        if self.place[1] == slow.connection:
            await released.wait()
        else:
            polled.set()
        async for reply in original(self, *asked, **how):
            yield reply

    async def tenants() -> list[int]:
        return [trial.world.tenant]

    monkeypatch.setattr(Connector, "pages", pages)
    monkeypatch.setattr(polling, "LOOK_SECONDS", 0.02)
    running = asyncio.create_task(trial.polling.run(tenants, stop))
    async with asyncio.timeout(30):
        for number in range(3):
            vendor.put(f"c{number}", name=f"n{number}")
            polled.clear()
            while not polled.is_set():
                await trial.run("UPDATE polls SET due_at = now() WHERE connection <> $1", slow.connection)
                await asyncio.sleep(0.02)
        stop.set()
        released.set()
        await running
    await trial.take_in()

    assert set(await names(trial)) == {"n0", "n1", "n2"}


async def test_what_a_webhook_brought_is_no_news_to_a_poll(trial, vendor):
    """Both ways bring the same state: it is written once, and webhooks do not count as quiet."""
    row = vendor.put("c1", name="Meier")
    await trial.poll()
    await trial.take_in()
    vendor.put("c1", name="Meier AG")
    await trial.tell(changed(row, "e2"))
    await trial.take_in()
    before = await trial.changes()
    for _ in range(3):
        await trial.poll()
        await trial.take_in()

    assert await trial.changes() == before
    assert await trial.ask("SELECT misses, is_quiet FROM polls") == [{"misses": 0, "is_quiet": False}]


async def test_polling_takes_over_when_webhooks_go_quiet_and_gives_back(trial, vendor):
    """Changes that no webhook brings make polling look often, and say so; the next webhook lets it rest."""
    vendor.put("c1", name="a")
    await trial.poll()
    pauses = [await pause(trial)]
    for name in ("b", "c"):
        vendor.put("c1", name=name)
        await trial.poll()
        pauses.append(await pause(trial))
    quiet = await trial.ask("SELECT is_quiet FROM polls")
    row = vendor.put("c1", name="d")
    await trial.tell(changed(row, "e1"))
    await trial.take_in()
    await trial.poll()

    assert pauses == [3_600, 3_600, 60]
    assert quiet == [{"is_quiet": True}]
    assert await trial.ask("SELECT is_quiet FROM polls") == [{"is_quiet": False}]
    assert await pause(trial) == 3_600


async def pause(made: CrmTrial) -> int:
    """Return in how many seconds it is polled again."""
    found = await made.ask("SELECT round(extract(epoch FROM due_at - polled_at))::integer AS n FROM polls")
    return found[0]["n"]
