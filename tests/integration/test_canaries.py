"""Canaries: a record there that shows what nobody announced, against stand-ins that drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.firm import Firm
from tests.integration.front import front
from tests.integration.service import ANA, DORA, problem
from tests.integration.world import job, seen
from tests.peers.quickbooks import QuickBooks
from tests.peers.vendor.company import Drift
from upstream import alerts, canaries, connector, drift, readings
from upstream.canaries import Wanted
from upstream.errors import BadConnection
from upstream.noticing import Noticing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.service import Service
    from tests.integration.world import World
    from upstream.connections import Connection

CUSTOMER = job(800_000)


class Watched:
    """A business whose books have a canary, and a worker that looks at it."""

    def __init__(self, firm: Firm, books: QuickBooks, tied: Connection) -> None:
        self.firm, self.books, self.tied = firm, books, tied
        self.world = firm.world
        self.noticing = Noticing(firm.database, firm)

    @property
    def row(self) -> dict[str, Any]:
        """The one customer in the books."""
        (found,) = self.books.listed("Customer")
        return found

    async def put(self, **more: Any) -> None:
        """Name the customer as canary."""
        wanted = Wanted(object="customer", remote_id=self.row["Id"], **more)
        manifest = self.firm.manifest("quickbooks")
        await canaries.put(self.firm.database, self.tied, manifest, wanted)

    async def look(self) -> list[tuple[str, str, str]]:
        """Let the time of the canary come, look, and give rule, severity and sentence of each open alert."""
        async with self.firm.database.transaction(self.world.tenant) as session:
            await session.execute("UPDATE canaries SET due_at = now()")
            await session.execute("UPDATE schemas SET seen_at = now()")
        await self.noticing.look(self.world.tenant)
        await alerts.look(self.firm.database, self.world.tenant, alerts.Limits())
        found = await alerts.listed(self.firm.database, self.world.tenant, is_open=True)
        return [(each.rule, each.severity, each.message) for each in found]

    async def shown(self) -> canaries.Shown:
        """Give the canary as people are shown it."""
        (found,) = await canaries.listed(self.firm.database, self.world.tenant, self.tied.connection)
        return found


@pytest.fixture
async def watched(world: World) -> AsyncIterator[Watched]:
    """Give a business that has told its books of a customer."""
    async with QuickBooks() as books:
        firm = Firm(world)
        tied = await firm.tie(books)
        fields = {"name": "Meier AG", "phone": "+41 44 555 01 00", "billing_city": "Zug"}
        await world.submit(world.office(seen("customers", CUSTOMER, op="create", set=fields)))
        assert await firm.work()
        yield Watched(firm, books, tied)
        await firm.close()
        books.assert_kept()


async def test_a_drift_that_nobody_announced_is_told_with_field_was_and_is_until_it_is_over(watched: Watched) -> None:
    """Another type, a field that went: one alert names both; nothing is written, and the time of a change is none."""
    await watched.put()
    assert await watched.look() == []
    assert (await watched.shown()).kept_at is not None
    before, ours = dict(watched.row), await watched.firm.records("customers")

    watched.books.drifts = [
        Drift("customer", "retyped", "Customer.DisplayName"),
        Drift("customer", "removed", "Customer.PrimaryPhone.FreeFormNumber"),
        Drift("customer", "unzoned", "Customer.MetaData.LastUpdatedTime"),
    ]
    told = await watched.look()

    assert told == [
        (
            "canary",
            "critical",
            (
                f"the canary {before['Id']} of quickbooks is not what it was: "
                "customer.PrimaryPhone.FreeFormNumber: is not there any more (was text)"
                "; hits out customer PrimaryPhone.FreeFormNumber, into customers phone; "
                "customer.DisplayName: was text, is object; hits out customer DisplayName, into customers name"
            ),
        )
    ]
    found = (await watched.shown()).findings
    assert [each.field for each in found] == ["PrimaryPhone.FreeFormNumber", "DisplayName"]
    assert (watched.row, await watched.firm.records("customers")) == (before, ours)
    watched.books.drifts = []
    assert await watched.look() == []


async def test_who_has_looked_names_it_again_and_takes_what_stands_there_for_right(watched: Watched) -> None:
    """Named again, the canary is held against what it is now."""
    await watched.put()
    await watched.look()
    watched.books.drifts = [Drift("customer", "renamed", "Customer.PrimaryPhone", "Phone")]
    assert len(await watched.look()) == 1

    await watched.put()

    assert await watched.look() == []
    watched.books.drifts = []
    assert ["Phone" in said for _, _, said in await watched.look()] == [True]


async def test_a_canary_that_cannot_be_compared_says_so_and_keeps_nothing_else_from_its_look(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record on which our own reading breaks off is unread, with the reason, and is read later again."""
    await watched.put()

    def broken(*_: Any, **__: Any) -> None:
        raise RecursionError

    with monkeypatch.context() as patched:
        patched.setattr(drift, "canary", broken)
        await watched.look()
    unread = await watched.shown()
    await watched.look()

    assert (unread.reason, unread.kept_at) == ("a mistake on our side: RecursionError", None)
    assert (await watched.shown()).kept_at is not None


async def test_what_is_told_once_more_and_comes_back_otherwise_is_drift(watched: Watched) -> None:
    """The record goes out by the way of all changes, once each time, and what comes back is compared."""
    await watched.put(writes=True)

    async def trip() -> list[tuple[str, str, str]]:
        await watched.look()
        assert await watched.firm.work()
        return await watched.look()

    assert await watched.look() == []
    first = watched.books.calls["put_customer"]
    assert await trip() == []
    watched.books.drifts = [Drift("customer", "widened", "Customer.PrimaryPhone.FreeFormNumber", "044 555 01 00")]
    told = await trip()

    assert [(rule, severity) for rule, severity, _ in told] == [("canary", "critical")]
    assert "customer.PrimaryPhone.FreeFormNumber: was told +41 44 555 01 00, gives back 044 555 01 00" in told[0][2]
    assert watched.books.calls["put_customer"] == first + 2
    assert watched.row["SyncToken"] == "2"


async def test_a_canary_that_is_gone_or_cannot_be_read_is_told_of(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gone is drift; no answer is none, and is told only after the canary was not read three times over."""
    monkeypatch.setattr(connector, "PAGE_WAIT_MS_MAX", 0)
    await watched.put(every_seconds=60)
    await watched.look()
    number = watched.row["Id"]
    kept = watched.books.rows["Customer"].pop(number)
    assert [said.partition(": ")[2] for _, _, said in await watched.look()] == [
        f"customer.*: is not there any more (was {number})"
    ]
    watched.books.rows["Customer"][number] = kept
    assert await watched.look() == []

    watched.books.throttled_calls = 1
    assert await watched.look() == []
    assert "throttled" in (await watched.shown()).reason
    async with watched.firm.database.transaction(watched.world.tenant) as session:
        await session.execute("UPDATE canaries SET read_at = now() - interval '4 minutes'")
    await alerts.look(watched.firm.database, watched.world.tenant, alerts.Limits())
    found = await alerts.listed(watched.firm.database, watched.world.tenant, is_open=True)
    assert [each.rule for each in found] == ["canary_unread"]


async def test_what_cannot_be_a_canary_is_refused_with_the_field_named(watched: Watched) -> None:
    """An object that cannot be read, one that was never told, a pause that is none."""
    manifest = watched.firm.manifest("quickbooks")
    wrong = {
        "object": Wanted(object="unicorn", remote_id="1"),
        "remote_id": Wanted(object="customer", remote_id=""),
        "every_seconds": Wanted(object="customer", remote_id="1", every_seconds=1),
        "writes": Wanted(object="customer", remote_id="no-such", writes=True),
    }

    for field, wanted in wrong.items():
        with pytest.raises(BadConnection, match=f"^{field}: "):
            await canaries.put(watched.firm.database, watched.tied, manifest, wanted)


async def test_the_numbers_of_a_canary_are_shown(watched: Watched) -> None:
    """In how much it is not what it was, and when it was read, by connection and object."""
    await watched.put()
    await watched.look()
    watched.books.drifts = [Drift("customer", "removed", "Customer.PrimaryPhone")]
    await watched.look()

    shown = {
        each.name: dict(each.samples) for each in await readings.read(watched.firm.database, [watched.world.tenant])
    }

    place = (watched.tied.connection, "customer")
    assert shown["fieldsync_canary_findings"] == {place: 2.0}
    assert shown["fieldsync_canary_read_seconds"][place] < 60


async def test_canaries_are_named_seen_and_forgotten_over_http(service: Service) -> None:
    """A record that was told is named, listed and forgotten, each noted; what cannot be is refused with the part."""
    async with front(service) as door:
        await door.connect()
        place = f"/v1/connections/{door.id}/canaries"
        await (await service.office()).create(1, title="Boiler", assignee_id=ANA)
        await door.work()
        remote_id = f"J{next(n for n, each in enumerate(door.vendor.seen, 1) if each.method == 'POST')}"
        refused = await door.client.put(f"{place}/unicorn", json={"remote_id": "J1"})
        never_told = await door.client.put(f"{place}/job", json={"remote_id": "J999"})
        nobody = await door.client.put("/v1/connections/none/canaries/job", json={"remote_id": "J1"})

        named = await door.ask("put", f"{place}/job", remote_id=remote_id, every_seconds=600)
        listed = await door.ask("get", place)
        gone = [await door.ask("delete", f"{place}/job") for _ in range(2)]

        assert problem(refused) == (422, "bad_connection")
        assert "there are: job" in refused.json()["detail"]
        assert (problem(never_told), problem(nobody)) == ((422, "bad_connection"), (404, "unknown_connection"))
        assert (named["remote_id"], named["writes"], named["every_seconds"]) == (remote_id, False, 600)
        assert listed == {"items": [named]}
        assert [each["removed"] for each in gone] == [True, False]
        entries = (await service.client(await service.token(DORA, "admin")).get("/v1/audit")).json()["items"]
        canaries_only = [each["action"] for each in entries if each["action"].startswith("canary")]
        assert canaries_only == ["canary_removed", "canary_named"]
