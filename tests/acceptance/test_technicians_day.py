"""A technician's day ends once at payroll, ERP and CRM, and the device has the receipt.

The whole service as processes, the reference device, and stand-ins of the three systems that hold every
request to their contracts, lose answers and fail. The worker is killed while all three have done what it asked
and it does not know.
"""

from __future__ import annotations

import re
import time
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from clients.device import Device
from clients.machine import this_machine
from clients.office import WORK_ORDERS, Office
from tests.acceptance.business import EMAIL, Firm, business, until
from tests.peers.salesforce import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from clients.receipt import Receipt

SECONDS_MAX = 45
ZONE = "America/Denver"
AWAY_DAYS = 15
OCTOBER, NOVEMBER = date(2026, 10, 26), date(2026, 11, 9)
"""First days of the pay period with the night on which clocks go back, and of the next."""
NIGHT = (("2026-11-01T05:40", "2026-11-01T07:50"), ("2026-11-01T07:55", "2026-11-01T08:20"))
"""23:40 to 1:50, and 1:55 to 1:20: over midnight, and over the hour that comes twice."""
NIGHT_MINUTES = 130 + 25
FORGOTTEN = ("2026-11-09T05:30", "2026-11-09T06:45")
"""The evening of the last day of the period there, and the next period in UTC."""
FORGOTTEN_MINUTES = 75


def instant(text: str) -> str:
    """Give an instant as a device writes it."""
    return f"{text}:00.000Z"


class Clock:
    """The clock of the phone, which can be put."""

    def __init__(self, text: str) -> None:
        self.put(text)

    def put(self, text: str) -> None:
        """Let it be this instant on the phone."""
        there = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        self._ahead_ms = round(there * 1_000) - time.time_ns() // 1_000_000

    def now_ms(self) -> int:
        """Return what the phone shows."""
        return time.time_ns() // 1_000_000 + self._ahead_ms


class Day:
    """A technician's day on orders of the office: what is done on the phone, and what comes of it."""

    def __init__(self, firm: Firm, office: Office, device: Device) -> None:
        self.firm, self.office, self.device = firm, office, device
        self.person = firm.served.tenant.technicians[0]
        self.gasket = ""

    async def begin(self) -> list[str]:
        """Connect the systems, and give two of the technician's orders to a customer of the CRM; return their ids."""
        page = await self.office.get("technicians", self.person.id)
        await self.office.change(page, "technicians", email=EMAIL)
        await self.firm.connect_all()
        customer = await until(lambda: self._named("customers", "Huber GmbH"), SECONDS_MAX)
        self.gasket = await until(lambda: self._named("price_items", "Gasket"), SECONDS_MAX)
        await until(self._is_passed_on, SECONDS_MAX)
        mine = sorted(await self.office.list(WORK_ORDERS, assignee_id=self.person.id))[:2]
        for order in mine:
            page = await self.office.get(WORK_ORDERS, order)
            window = {"window_start": "2026-11-01T02:00:00Z", "window_end": "2026-11-01T20:00:00Z"}
            await self.office.change(page, WORK_ORDERS, customer_id=customer, **window, time_zone=ZONE)
        await self.device.enrol(self.person.enrolment_code, "Ana's phone")
        await self.device.sync()
        return mine

    async def _named(self, collection: str, name: str) -> str | None:
        listed = await self.office.list(collection)
        return next((record for record, row in listed.items() if row.fields.get("name") == name), None)

    async def _is_passed_on(self) -> bool:
        """Tell whether the customer of the CRM is known to be at the ERP: what bears its id there waits for it."""
        listed = await self.firm.ask("GET", "/v1/deliveries", params={"object": "customer"})
        return [each["state"] for each in listed["items"]] == ["confirmed"]

    def work(self, order: str, span: tuple[str, str]) -> str:
        """Write hours down for an order, without a network; return the id."""
        when = {"started_at": instant(span[0]), "ended_at": instant(span[1]), "time_zone": ZONE}
        told = {"work_order_id": order, "technician_id": self.person.id, "activity": "work", **when}
        return self.device.create("time_entries", told)

    def use(self, order: str, quantity: str) -> None:
        """Write gaskets down for an order, without a network."""
        self.device.create("parts_used", {"work_order_id": order, "price_item_id": self.gasket, "quantity": quantity})

    def complete(self, order: str, end: str) -> None:
        """Say that an order is done, without a network."""
        self.device.edit(WORK_ORDERS, order, status="completed", completed_at=instant(end), summary="Descaled.")

    async def approve(self, *entries: str) -> None:
        """Have the office approve hours, and say what they are paid as."""
        for entry in entries:
            page = await self.office.get("time_entries", entry)
            await self.office.change(page, "time_entries", approved=True, pay_code="Regular Hours")

    async def seen(self, collection: str, record: str, **stages: str) -> None:
        """Wait until the phone's receipt of a record has objects, or whole systems, in these stages."""
        found: dict[str, str] = {}

        async def look() -> bool:
            receipt = await self.device.receipt(collection, record)
            found.clear()
            found.update({each.object or each.system: each.stage for each in receipt.systems})
            return stages.items() <= found.items()

        try:
            await until(look, SECONDS_MAX)
        except TimeoutError as error:
            raise AssertionError(f"{collection}: {found} instead of {stages}") from error

    async def arrived(self, collection: str, record: str, *objects: str) -> Receipt:
        """Wait until the phone's receipt says that a record has arrived as these objects; return it."""
        seen: list[Receipt] = []

        async def look() -> Receipt | None:
            seen[:] = [await self.device.receipt(collection, record)]
            there = {each.object for each in seen[0].systems if each.stage == "delivered"}
            return seen[0] if {*objects} <= there and seen[0].is_settled else None

        try:
            found: Receipt = await until(look, SECONDS_MAX)
        except TimeoutError as error:
            raise AssertionError(f"{collection} has not arrived as {objects}: {seen}") from error
        return found

    async def lose_worker_amid(self, *expected: tuple[Any, str]) -> None:
        """Kill the worker with -9 as soon as these operations were done and not answered; let answers fail later."""

        async def all_done() -> bool:
            return all(operation in company.unanswered for company, operation in expected)

        await until(all_done, SECONDS_MAX)
        await self.firm.lose_worker()
        self.firm.misbehave()


@asynccontextmanager
async def working(firm: Firm, folder: Path, clock: Clock) -> AsyncIterator[Day]:
    """Give the day, with an office and a phone that is opened anew after each time away."""
    url, machine = firm.served.ready.url, msgspec.structs.replace(this_machine(), now_ms=clock.now_ms, zone=ZONE)
    async with (
        Office.open(url, firm.served.tenant.office_token) as office,
        Device.open(folder / "ana.db", url, machine=machine) as device,
    ):
        yield Day(firm, office, device)


@pytest.fixture
async def firm() -> AsyncIterator[Firm]:
    """Give the business."""
    async with business() as made:
        yield made


async def test_a_day_ends_once_at_payroll_erp_and_crm(firm: Firm, tmp_path: Path) -> None:
    """Hours, invoices, outcomes are there once, over the night on which clocks go back, and late ones on top."""
    clock = Clock("2026-11-01T05:30")
    async with working(firm, tmp_path, clock) as day:
        orders = await day.begin()
        entries = [day.work(order, span) for order, span in zip(orders, NIGHT, strict=True)]
        day.use(orders[0], "2")
        for order, span in zip(orders, NIGHT, strict=True):
            day.complete(order, span[1])
        # Whether an hour may be paid is not for the phone to say.
        day.device.edit("time_entries", entries[0], approved=True)
        firm.hold_answers()
        await day.device.sync()

        refused = [cell for each in day.device.verdicts for cell in each.verdict.cells.values() if cell.code]
        assert [cell.code for cell in refused] == ["not_owner"]
        await day.seen("time_entries", entries[0], gusto="not_told")
        await day.approve(*entries)
        done = ((firm.gusto, "update_payroll"), (firm.books, "put_invoice"), (firm.crm, "upsert_work_order"))
        await day.seen("time_entries", entries[0], hours="on_its_way")
        await day.seen(WORK_ORDERS, orders[0], work_order="on_its_way", invoice="on_its_way")
        await day.lose_worker_amid(*done)
        for order, entry in zip(orders, entries, strict=True):
            await day.arrived(WORK_ORDERS, order, "invoice", "work_order")
            await day.arrived("time_entries", entry, "hours")
        _assert_the_day_is_there_once(firm, orders)

        forgotten = day.work(orders[0], FORGOTTEN)
        day.use(orders[0], "1")
    clock.put("2026-11-24T06:45")
    await _payroll_has_run(firm)
    async with working(firm, tmp_path, clock) as day:
        await _assert_what_came_late_is_on_top(day, orders[0], forgotten)


def _assert_the_day_is_there_once(firm: Firm, orders: list[str]) -> None:
    """Fail unless each system has the day as it was, once."""
    first, second = orders
    assert round(firm.hours(OCTOBER) * 60) == NIGHT_MINUTES
    assert len(firm.gusto.slots()) == 1
    invoices = firm.books.listed("Invoice")
    assert sorted((row["TotalAmt"], row["TxnDate"], len(row["Line"])) for row in invoices) == [
        (39.58, "2026-11-01", 1),
        (214.03, "2026-11-01", 2),
    ]
    labour = [
        line["SalesItemLineDetail"] for row in invoices for line in row["Line"] if line.get("Description") == "Work"
    ]
    assert sorted((line["ServiceDate"], round(line["Qty"] * 60)) for line in labour) == [
        ("2026-10-31", 130),
        ("2026-11-01", 25),
    ]
    assert [row["DisplayName"] for row in firm.books.listed("Customer")] == ["Huber GmbH"]
    outcomes = [(row[EXTERNAL], row["Status"], row["Description"]) for row in firm.crm.rows["WorkOrder"].values()]
    assert sorted(outcomes) == sorted((order, "Completed", "Descaled.") for order in (first, second))


async def _payroll_has_run(firm: Firm) -> None:
    """Let the days pass on which the phone has no network: hours are paid, and the customer has the invoices."""
    firm.gusto.run(OCTOBER)
    for invoice in firm.books.listed("Invoice"):
        firm.books.send(invoice["Id"])
    await firm.let_days_pass(AWAY_DAYS)


async def _assert_what_came_late_is_on_top(day: Day, order: str, forgotten: str) -> None:
    """Fail unless what the phone had kept is told beside what was closed, once, and its receipt says so."""
    firm = day.firm
    posted = [dict(row) for row in firm.books.listed("Invoice")]
    firm.hold_answers()
    await day.device.sync()
    await day.approve(forgotten)
    await day.lose_worker_amid((firm.gusto, "update_payroll"), (firm.books, "put_invoice"))
    paid = await day.arrived("time_entries", forgotten, "late_hours")
    billed = await day.arrived(WORK_ORDERS, order, "supplementary_invoice", "work_order")

    assert round(firm.hours(OCTOBER) * 60) == NIGHT_MINUTES
    assert round(firm.hours(NOVEMBER) * 60) == FORGOTTEN_MINUTES
    (memo,) = firm.gusto.payrolls[NOVEMBER].memos.values()
    assert re.fullmatch(rf"Late \+1\.250 h Regular Hours for {OCTOBER} \(\S+ \S+\)", memo)
    *before, supplement = firm.books.listed("Invoice")
    assert before == posted
    assert Decimal(str(supplement["TotalAmt"])) == Decimal("122.85")
    assert firm.books.listed("CreditMemo") == []
    assert len(firm.crm.rows["WorkOrder"]) == 2
    assert _late(paid) == {"late_hours", "supplementary_invoice"}
    assert _late(billed) == {"supplementary_invoice"}


def _late(receipt: Receipt) -> set[str]:
    """Return as which objects a record was told after the books were closed."""
    return {each.object for each in receipt.systems if each.late and each.delivered_at}
