"""Whoever is slow keeps only places of their own: lists, fetches and messages of all others go on beside them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest

from tests.integration.crm_trial import CrmTrial
from tests.integration.test_inbound import trial, vendor
from tests.integration.test_webhooks import office, receiver
from tests.integration.test_worker import until
from tests.peers.crm import changed
from tests.peers.vendor.server import Response, Server
from upstream import inbound, places, polling, posting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["office", "receiver", "trial", "vendor"]  # fixtures of the folder


@asynccontextmanager
async def working(work: Any, *mine: int) -> AsyncIterator[asyncio.Event]:
    """Have something work for these tenants; at the end it is told to stop, and waited for."""
    stop = asyncio.Event()

    async def tenants() -> list[int]:
        return list(mine)

    more = (asyncio.Event(),) if isinstance(work, inbound.Inbound) else ()
    running = asyncio.create_task(work.run(tenants, stop, *more))
    try:
        yield stop
    finally:
        stop.set()
        await running


def said(is_so: Callable[[], Any]) -> Callable[[], Awaitable[Any]]:
    """Return a question out of what can be seen at once."""

    async def question() -> Any:
        return is_so()

    return question


async def more_connections(made: CrmTrial, many: int) -> None:
    """Make connections beside the one that there is, each with a list that is due."""
    await made.run(
        "INSERT INTO connections (tenant_id, connection, system, name, rid, manifest, mode, mapping_version) "
        "SELECT tenant_id, gen_random_uuid(), system, 'slow ' || n, rid, manifest, mode, mapping_version "
        "FROM connections, generate_series(1, $1) AS n",
        many,
    )
    await made.run(
        "INSERT INTO polls (tenant_id, connection, object, due_at) SELECT tenant_id, connection, 'customer',"
        " now() - interval '1 minute' FROM connections WHERE name LIKE 'slow%'"
    )


@pytest.fixture
def slow_lists(trial: CrmTrial, monkeypatch: pytest.MonkeyPatch) -> list[polling.Due]:
    """Have every list of a slow connection take hours; give the list of what is polled."""
    polled: list[polling.Due] = []

    async def one(due: polling.Due) -> None:
        polled.append(due)
        if due.connection != trial.connection.connection and due.tenant_id == trial.world.tenant:
            await asyncio.Event().wait()

    monkeypatch.setattr(trial.polling, "_one", one)
    monkeypatch.setattr(polling, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(places, "STOP_SECONDS", 0.05)
    return polled


async def test_the_lists_of_some_connections_keep_no_other_waiting(trial, slow_lists):
    """Somebody whose system lists slowly has five connections; the sixth is polled all the same."""
    await trial.polling.begin([trial.world.tenant])
    await more_connections(trial, 5)
    async with working(trial.polling, trial.world.tenant):
        await until(said(lambda: trial.connection.connection in {due.connection for due in slow_lists}))


async def test_the_lists_of_one_tenant_keep_no_other_tenant_waiting(trial, vendor, slow_lists):
    """However many long lists somebody has, they have so many places; another tenant's system is polled beside them."""
    await trial.polling.begin([trial.world.tenant])
    await more_connections(trial, 40)
    tenant, _ = await trial.world.add_tenant("Harbour Lifts")
    other = await trial.connect(tenant, vendor.url)
    async with working(trial.polling, trial.world.tenant, tenant):
        await until(said(lambda: other.connection in {due.connection for due in slow_lists}))
        await until(said(lambda: len(slow_lists) >= polling.LIMITS.tenant + 1))
    slow = [due for due in slow_lists if due.tenant_id == trial.world.tenant]

    assert len([due for due in slow if due.connection != trial.connection.connection]) <= polling.LIMITS.tenant


async def test_the_lists_of_one_connection_leave_places_to_its_neighbours(trial, slow_lists, monkeypatch):
    """Ten objects of one system are listed for long: of that connection so many are begun, and no more."""
    await trial.polling.begin([trial.world.tenant])
    await more_connections(trial, 1)
    # Objects that no mapping takes in are not polled any more as soon as that is looked at.
    monkeypatch.setattr(trial.polling, "begin", AsyncMock())
    await trial.run(
        "INSERT INTO polls (tenant_id, connection, object, due_at) SELECT tenant_id, connection, 'o' || n,"
        " now() - interval '1 minute' FROM connections, generate_series(1, 10) AS n WHERE name LIKE 'slow%'"
    )
    async with working(trial.polling, trial.world.tenant):
        await until(said(lambda: trial.connection.connection in {due.connection for due in slow_lists}))
        await asyncio.sleep(0.3)
    slow = [due for due in slow_lists if due.connection != trial.connection.connection]

    assert len(slow) == polling.LIMITS.each


async def test_a_worker_that_is_told_to_stop_waits_for_no_list_of_hours(trial, slow_lists):
    """A list is given as long at the end as all other work; another worker begins it again."""
    await more_connections(trial, 1)
    async with working(trial.polling, trial.world.tenant):
        await until(said(lambda: slow_lists))
        begun = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - begun < 5.0


async def test_a_slow_fetch_of_one_connection_keeps_no_other_event_waiting(trial, vendor, monkeypatch):
    """More records of one vendor than have places are fetched for long; what another one says is taken in meanwhile."""
    monkeypatch.setattr(inbound, "LOOK_SECONDS", 0.05)
    await trial.run(
        "INSERT INTO connections (tenant_id, connection, system, name, rid, manifest, mode, mapping_version, base_url) "
        "SELECT tenant_id, gen_random_uuid(), system, 'other', rid, manifest, mode, mapping_version, base_url "
        "FROM connections"
    )
    [other] = await trial.ask("SELECT connection::text FROM connections WHERE name = 'other'")
    await trial.keeper.put(trial.world.tenant, other["connection"], {"token": "t"})
    for number in range(inbound.LIMITS.each + 2):
        await trial.tell(changed(vendor.put(f"c{number}", name="Meier"), f"e{number}"))
    handler, asked, released = vendor.server._handler, [], asyncio.Event()

    async def slow(request):
        if request.path[0] == "customers" and request.path[1] != "fast":
            asked.append(request.target)
            await released.wait()
        return await handler(request)

    async def ended() -> list[str]:
        found = await trial.ask("SELECT state FROM inbox WHERE event = 'x' AND state <> 'waiting'")
        return [row["state"] for row in found]

    vendor.server._handler = slow
    async with working(trial.inbound, trial.world.tenant):
        await until(said(lambda: asked))
        vendor.put("fast", name="Quick")
        await trial.run(
            "INSERT INTO inbox (tenant_id, inbox_id, connection, event, source, object, remote_id, remote_version,"
            " is_whole, body) SELECT tenant_id, gen_random_uuid(), connection, 'x', 'hook', 'customer', 'fast', '',"
            " false, '{}' FROM connections WHERE name = 'other'"
        )
        ends = await until(ended)
        begun = len(asked)
        released.set()

    assert ends == ["absorbed"]
    assert begun == inbound.LIMITS.each


async def test_a_slow_endpoint_keeps_no_other_waiting(office, receiver, monkeypatch):
    """While one endpoint takes its time, what is new for another is told."""
    monkeypatch.setattr(posting, "LOOK_SECONDS", 0.05)
    asked, released = [], asyncio.Event()

    async def answer(request):
        asked.append(request)
        await released.wait()
        return Response(200, {})

    async with Server(answer) as slow:
        await office.add(slow.url, "ping")
        for _ in range(posting.LIMITS.each + 2):
            await office.admin.post(f"/v1/webhooks/{office.id}/ping")
        async with working(office.posting, office.service.tenant):
            await until(said(lambda: len(asked) == posting.LIMITS.each))
            await office.add(receiver.url, "ping")
            await office.admin.post(f"/v1/webhooks/{office.id}/ping")
            await until(said(lambda: receiver.came))
            begun = len(asked)
            released.set()

    assert (receiver.types, begun) == (["ping"], posting.LIMITS.each)
