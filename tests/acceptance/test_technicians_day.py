"""A technician's day ends once at payroll, ERP and CRM, and the device has the receipt.

The whole service as processes, the reference device, and stand-ins of the three systems that hold every
request to their contracts.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from joserfc.jwk import RSAKey

from clients.device import Device
from clients.office import WORK_ORDERS, Office
from tests.acceptance.served import Served
from tests.peers.gusto import Gusto
from tests.peers.quickbooks import QuickBooks
from tests.peers.salesforce import Salesforce
from tests.peers.vendor.faults import Faults
from upstream import vendors

SECONDS_MAX = 90
BACK = "https://office.example/back"
OCTOBER, NOVEMBER = date(2026, 10, 26), date(2026, 11, 9)
"""First days of the pay period with the night on which clocks go back, and of the next."""


class Open(Served):
    """A server that may speak to systems on this machine."""

    @property
    def environment(self) -> dict[str, str]:
        """Ours, and that."""
        return {**super().environment, "FIELDSYNC_ALLOW_LOOPBACK_VENDORS": "1"}


class Firm:
    """The business: its server, its systems, whoever administers it."""

    def __init__(self, served: Served, http: httpx.AsyncClient) -> None:
        self.served, self.http = served, http
        self.gusto, self.books, self.crm = Gusto(), QuickBooks(), Salesforce()

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        """Have the administrator ask, and return the answer, which has to be good."""
        headers = {
            "authorization": f"Bearer {self.served.facts['tenants'][0]['admin_token']}",
            "idempotency-key": str(uuid4()),
        }
        answer = await self.http.request(method, path, headers=headers, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def connect(self, system: str, company: Any, config: dict[str, str], auth: dict[str, str]) -> str:
        """Make a live connection with the mapping that comes with the system, and sign in; return its id."""
        new = {"system": system, "base_url": company.url, "config": config, "auth": auth}
        made = (await self.ask("POST", "/v1/connections", json=new))["id"]
        if vendors.manifest(system).auth.__struct_config__.tag == "oauth2_code":
            begun = await self.ask("POST", f"/v1/connections/{made}/authorize", json={"redirect_uri": BACK})
            await self.ask("GET", "/v1/connections/callback", params=company.consent(begun["url"]))
        text = vendors.mappings(system)["standard"]
        draft = await self.ask("POST", "/v1/mappings", json={"connection": made, "content": text})
        await self.ask("POST", f"/v1/mappings/{made}/{draft['version']}/publish")
        assert (await self.ask("POST", f"/v1/connections/{made}/verify"))["kind"] == "ok"
        await self.ask("POST", f"/v1/connections/{made}/promote", json={"least": 0})
        return str(made)

    async def connect_all(self) -> None:
        """Connect all three, with an employee for the first technician, a part and a customer."""
        technician = self.served.tenant.technicians[0]
        self.gusto.hire(technician.name, "ana@firm.example")
        self.books.stock("Gasket", "4.10", "G-1")
        self.crm.account("Huber GmbH", Phone="+1 303 555 01 00")
        labour = self.books.stock("Labour", "95", "L-1")
        client = dict(zip(("client_id", "client_secret"), Gusto.client, strict=True))
        await self.connect("gusto", self.gusto, {"company_id": self.gusto.company, "auth_url": self.gusto.url}, client)
        tokens = f"{self.books.url}/oauth2/v1/tokens/bearer"
        billing = {"labour_item": labour, "labour_rate": "95", "realm_id": self.books.realm, "token_url": tokens}
        await self.connect("quickbooks", self.books, billing, client)
        key = RSAKey.generate_key(2048)
        self.crm.public_key = key
        signed = {"client_id": Salesforce.client[0], "user": self.crm.user}
        signed["private_key"] = key.as_pem(private=True).decode()
        await self.connect("salesforce", self.crm, {"login_url": self.crm.url}, signed)

    def misbehave(self, rate: float) -> None:
        """Let all three do what they are asked and then say nothing, or say it late, at this rate."""
        for seed, company in enumerate((self.gusto, self.books, self.crm), 1):
            company.faults = Faults({"drop": rate, "fail": rate / 2}, seed=seed)

    def hours(self) -> dict[str, Decimal]:
        """Return the hours at payroll by the first day of the period."""
        return {period: total for (_, period, _, _), total in self.gusto.slots().items()}

    def assert_kept(self) -> None:
        """Fail if a request did not keep to a contract, or a refresh token was shown twice."""
        for company in (self.gusto, self.books, self.crm):
            company.assert_kept()
            assert company.reused == 0


@asynccontextmanager
async def business():
    """Give the business with its server and its systems running."""
    with Open() as served:
        async with httpx.AsyncClient(base_url=served.ready.url, timeout=30) as http:
            firm = Firm(served, http)
            async with firm.gusto, firm.books, firm.crm:
                yield firm
                firm.assert_kept()


async def until(come_true) -> Any:
    """Wait until something is so, and return it."""
    async with asyncio.timeout(SECONDS_MAX):
        while not (found := await come_true()):  # noqa: ASYNC110  (other processes do the work)
            await asyncio.sleep(0.1)
    return found


async def named(office: Office, collection: str, name: str) -> str | None:
    """Return the id of the record with a name, if it is there."""
    listed = await office.list(collection)
    return next((record for record, row in listed.items() if row.fields.get("name") == name), None)


@pytest.fixture
async def firm():
    """Give the business."""
    async with business() as made:
        yield made


async def approve(office: Office, entry: str, **fields: Any) -> None:
    """Have the office approve an entry."""
    page = await until(lambda: _there(office, "time_entries", entry))
    await office.change(page, "time_entries", approved=True, pay_code="Regular Hours", **fields)


async def _there(office: Office, collection: str, record: str) -> Any:
    try:
        return await office.get(collection, record)
    except Exception:  # noqa: BLE001  (whatever the reason, it is asked again)
        return None


async def settled(device: Device, collection: str, record: str, systems: set[str]) -> Any:
    """Wait until the device's receipt says that a record has arrived at these systems; return it."""

    async def look() -> Any:
        receipt = await device.receipt(collection, record)
        arrived = {each.system for each in receipt.systems if each.stage == "delivered"}
        return receipt if systems <= arrived and receipt.is_settled else None

    return await until(look)


async def test_a_day_ends_once_at_payroll_erp_and_crm(firm, tmp_path):
    """Hours, invoice and outcome are each there once, across the night on which clocks go back, with receipts."""
    person = firm.served.tenant.technicians[0]
    url = firm.served.ready.url
    async with (
        Office.open(url, firm.served.tenant.office_token) as office,
        Device.open(tmp_path / "ana.db", url) as device,
    ):
        page = await office.get("technicians", person.id)
        await office.change(page, "technicians", email="ana@firm.example")
        await firm.connect_all()
        customer = await until(lambda: named(office, "customers", "Huber GmbH"))
        gasket = await until(lambda: named(office, "price_items", "Gasket"))
        fields = {"title": "Boiler", "customer_id": customer, "status": "planned"}
        made = await office.create(WORK_ORDERS, fields)
        page = await office.get(WORK_ORDERS, made.id)
        window = {"window_start": "2026-11-01T02:00:00Z", "window_end": "2026-11-01T12:00:00Z"}
        await office.change(page, WORK_ORDERS, **window, time_zone="America/Denver")
        await office.assign((await office.get(WORK_ORDERS, made.id)).shown, person.id, [])
        await device.enrol(person.enrolment_code, "Ana's phone")
        await device.sync()

        firm.misbehave(0.25)
        # Through the night on which clocks go back: eight hours on the clock, nine of work.
        night = {"started_at": "2026-11-01T02:00:00.000Z", "ended_at": "2026-11-01T11:00:00.000Z"}
        entry = device.create(
            "time_entries",
            {
                "work_order_id": made.id,
                "technician_id": person.id,
                "activity": "work",
                "time_zone": "America/Denver",
                **night,
            },
        )
        device.create("parts_used", {"work_order_id": made.id, "price_item_id": gasket, "quantity": "2"})
        device.edit(
            WORK_ORDERS, made.id, status="completed", completed_at="2026-11-01T11:00:00.000Z", summary="Descaled."
        )
        await device.sync()
        await approve(office, entry)

        receipt = await settled(device, WORK_ORDERS, made.id, {"quickbooks", "salesforce"})
        await settled(device, "time_entries", entry, {"gusto"})

        assert {each.name for each in receipt.systems} >= {"quickbooks", "salesforce"}
        assert firm.hours() == {OCTOBER.isoformat(): Decimal(9)}
        [invoice] = firm.books.listed("Invoice")
        assert (invoice["TotalAmt"], invoice["TxnDate"]) == (863.2, "2026-11-01")
        [outcome] = firm.crm.rows["WorkOrder"].values()
        assert (outcome["Status"], outcome["Description"]) == ("Completed", "Descaled.")
        assert [row["DisplayName"] for row in firm.books.listed("Customer")] == ["Huber GmbH"]

        # Fifteen days later payroll has run and the customer has the invoice; only now the phone finds a network.
        firm.gusto.run(OCTOBER)
        firm.books.send(invoice["Id"])
        forgotten = {"started_at": "2026-10-31T15:00:00.000Z", "ended_at": "2026-10-31T17:00:00.000Z"}
        later = device.create(
            "time_entries",
            {
                "work_order_id": made.id,
                "technician_id": person.id,
                "activity": "work",
                "time_zone": "America/Denver",
                **forgotten,
            },
        )
        await device.sync()
        await approve(office, later)
        late = await settled(device, "time_entries", later, {"gusto"})
        await settled(device, WORK_ORDERS, made.id, {"quickbooks", "salesforce"})

        assert firm.hours() == {OCTOBER.isoformat(): Decimal(9), NOVEMBER.isoformat(): Decimal(2)}
        assert [row["TotalAmt"] for row in firm.books.listed("Invoice")] == [863.2, 190]
        assert any(each.late for each in late.systems)
        assert len(firm.crm.rows["WorkOrder"]) == 1
