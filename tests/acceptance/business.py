"""A business with its systems: the whole service as processes, and stand-ins that hold it to their contracts."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import httpx
from joserfc.jwk import RSAKey

from tests.acceptance.served import Served
from tests.peers.gusto import Gusto
from tests.peers.quickbooks import QuickBooks
from tests.peers.salesforce import Salesforce
from tests.peers.vendor.faults import Faults, Script
from upstream import vendors
from upstream.worker import LEASE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from decimal import Decimal

BACK = "https://office.example/back"
EMAIL = "ana@firm.example"
RATE = "95"
HELD_SECONDS = 600.0
"""How long an answer is late that is not to come before whoever waits for it has ended."""
LEASED = ("outbox", "deliveries", "inbox", "polls", "credentials")


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
        self.systems = (self.gusto, self.books, self.crm)

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        """Have the administrator ask, and return the answer, which has to be good."""
        headers = {
            "authorization": f"Bearer {self.served.facts['tenants'][0]['admin_token']}",
            "idempotency-key": str(uuid4()),
        }
        answer = await self.http.request(method, path, headers=headers, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def connect(self, company: Any, config: dict[str, str], auth: dict[str, str]) -> None:
        """Make a live connection with the mapping that comes with the system, and sign in."""
        new = {"system": company.system, "base_url": company.url, "config": config, "auth": auth}
        made = (await self.ask("POST", "/v1/connections", json=new))["id"]
        if vendors.manifest(company.system).auth.__struct_config__.tag == "oauth2_code":
            begun = await self.ask("POST", f"/v1/connections/{made}/authorize", json={"redirect_uri": BACK})
            await self.ask("GET", "/v1/connections/callback", params=company.consent(begun["url"]))
        text = vendors.mappings(company.system)["standard"]
        draft = await self.ask("POST", "/v1/mappings", json={"connection": made, "content": text})
        await self.ask("POST", f"/v1/mappings/{made}/{draft['version']}/publish")
        assert (await self.ask("POST", f"/v1/connections/{made}/verify"))["kind"] == "ok"
        await self.ask("POST", f"/v1/connections/{made}/promote", json={"least": 0})

    async def connect_all(self) -> None:
        """Connect all three, with an employee for the first technician, a part and a customer."""
        self.gusto.hire(self.served.tenant.technicians[0].name, EMAIL)
        self.misbehave()
        self.books.stock("Gasket", "4.10", "G-1")
        self.crm.account("Huber GmbH", Phone="+1 303 555 01 00")
        labour = self.books.stock("Labour", RATE, "L-1")
        client = dict(zip(("client_id", "client_secret"), Gusto.client, strict=True))
        await self.connect(self.gusto, {"company_id": self.gusto.company, "auth_url": self.gusto.url}, client)
        tokens = f"{self.books.url}/oauth2/v1/tokens/bearer"
        # Which company it is, nobody types: whoever signs in brings it along.
        await self.connect(self.books, {"labour_item": labour, "labour_rate": RATE, "token_url": tokens}, client)
        self.crm.public_key = RSAKey.generate_key(2048)
        signed = {"client_id": Salesforce.client[0], "user": self.crm.user}
        signed["private_key"] = self.crm.public_key.as_pem(private=True).decode()
        await self.connect(self.crm, {"login_url": self.crm.url}, signed)

    def hold_answers(self) -> None:
        """Let all three do what they are asked from now on, and not answer before somebody has given up."""
        for company in self.systems:
            company.faults, company.late_seconds = Faults({"late": 1.0}), HELD_SECONDS
            company.unanswered.clear()

    def misbehave(self) -> None:
        """Let all three do what the next two writes ask, and then say nothing to the one and 502 to the other."""
        for company in self.systems:
            company.faults = Script("drop", "fail")

    async def lose_worker(self) -> None:
        """Kill the worker with -9, let the time pass for which it had leases, and have another begin."""
        pid = self.served.kill_worker()
        ago = f"interval '{LEASE_SECONDS} seconds'"
        await self._run(
            *(f"UPDATE {table} SET leased_until = leased_until - {ago}" for table in LEASED),
            f"UPDATE deliveries SET last_sent_at = last_sent_at - {ago}",
        )
        await asyncio.to_thread(self.served.wait_for_worker_after, pid)

    async def let_days_pass(self, days: int) -> None:
        """Let every token of devices and systems be that much older, and the server have been killed meanwhile."""
        ago = f"interval '{days} days'"
        ends = ", ".join(f"{end} = {end} - {ago}" for end in ("token_expires_at", "renew_at", "refresh_expires_at"))
        await self._run(
            f"UPDATE tokens SET expires_at = expires_at - {ago} WHERE rid IS NOT NULL",
            f"UPDATE credentials SET {ends}",
        )
        for company in self.systems:
            company.expire()
        pid = self.served.kill_server()
        await asyncio.to_thread(self.served.wait_for_server_after, pid)

    async def _run(self, *statements: str) -> None:
        database = await asyncpg.connect(self.served.facts["database_url"])
        try:
            async with database.transaction():
                tenant = str(self.served.facts["tenants"][0]["id"])
                await database.execute("SELECT set_config('fieldsync.tenants', $1, true)", tenant)
                for statement in statements:
                    await database.execute(statement)
        finally:
            await database.close()

    def hours(self, first: date) -> Decimal:
        """Return the hours at payroll in the period with this first day; fail if there is more than one slot."""
        (found,) = [hours for (_, start, _, _), hours in self.gusto.slots().items() if start == first.isoformat()]
        return found

    def assert_kept(self) -> None:
        """Fail if a request did not keep to a contract, or a refresh token was shown twice."""
        for company in self.systems:
            company.assert_kept()
            assert company.reused == 0


@asynccontextmanager
async def business() -> AsyncIterator[Firm]:
    """Give the business with its server and its systems running."""
    with Open() as served:
        async with httpx.AsyncClient(base_url=served.ready.url, timeout=30) as http:
            firm = Firm(served, http)
            async with firm.gusto, firm.books, firm.crm:
                yield firm
                firm.assert_kept()


async def until(come_true: Any, seconds: float) -> Any:
    """Wait until something is so, and return it."""
    async with asyncio.timeout(seconds):
        while not (found := await come_true()):  # noqa: ASYNC110  (other processes do the work)
            await asyncio.sleep(0.1)
    return found
