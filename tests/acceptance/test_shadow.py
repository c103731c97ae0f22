"""A new system is first only watched: what it would be told is recorded, compared with what it has, then promoted.

The whole service as processes, a stand-in of the books that holds every request to its contract, and the
administrator at the API and at the command line.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from clients.office import Office
from syncserver import settings
from tests.acceptance.business import BACK, Firm, Open, until
from upstream import vendors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECONDS_MAX = 40
HUBER = {"name": "Huber AG", "phone": "+41 44 555 01 00"}
MEIER = {"name": "Meier AG", "phone": "+41 44 555 02 00"}
THEIR_PHONE = "044 555 99 99"


class Trial:
    """The business, its office, and an administrator who connects the books in shadow mode."""

    def __init__(self, firm: Firm, office: Office) -> None:
        self.firm, self.office, self.id = firm, office, ""

    async def connect(self) -> None:
        """Make the connection and sign in. It begins in shadow mode."""
        books = self.firm.books
        config = {"labour_item": books.stock("Labour", "95", "L-1"), "labour_rate": "95"}
        config["token_url"] = f"{books.url}/oauth2/v1/tokens/bearer"
        auth = dict(zip(("client_id", "client_secret"), books.client, strict=True))
        new = {"system": "quickbooks", "base_url": books.url, "config": config, "auth": auth}
        self.id = (await self.ask("POST", json=new))["id"]
        begun = await self.ask("POST", f"/{self.id}/authorize", json={"redirect_uri": BACK})
        await self.ask("GET", "/callback", params=books.consent(begun["url"]))

    async def ask(self, method: str, path: str = "", **more: Any) -> Any:
        """Ask the API about connections."""
        return await self.firm.ask(method, f"/v1/connections{path}", **more)

    async def recorded(self, **query: str) -> dict[str, tuple[str, list[str]]]:
        """Give for each customer, by record, what would come of telling it: verdict, and the fields that differ."""
        page = await self.ask("GET", f"/{self.id}/shadow", params=query)
        return {
            each["record_id"]: (each["verdict"], [at["path"] for at in each["differences"]])
            for each in page["items"]
            if each["object"] == "customer"
        }

    async def cli(self, *words: str) -> str:
        """Run a command beside the database, and return what it says; fail if it does."""
        served = self.firm.served
        environment = served.environment | {
            "FIELDSYNC_DATABASE_URL": served.facts["database_url"],
            "FIELDSYNC_SECRET_KEYS": settings.keep_secret_keys(served.folder / "data"),
        }
        command = [sys.executable, "-m", "syncserver", *words, "--tenant", str(served.facts["tenants"][0]["id"])]
        # In a thread: the books, which the command asks, answer in this one.
        done = await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
async def trial() -> AsyncIterator[Trial]:
    """Give the business, with one customer that the books know already."""
    with Open() as served:
        async with httpx.AsyncClient(base_url=served.ready.url, timeout=30) as http:
            firm = Firm(served, http)
            async with firm.books, Office.open(served.ready.url, served.tenant.office_token) as office:
                firm.books.meet(HUBER["name"], THEIR_PHONE)
                yield Trial(firm, office)
                firm.books.assert_kept()


async def test_a_new_system_is_watched_compared_and_then_promoted(trial: Trial, tmp_path: Path) -> None:
    """Nothing is sent before the promotion; it is told what is new there and what is other, and then just that."""
    books = trial.firm.books
    await trial.connect()
    file = tmp_path / "mapping.toml"
    file.write_text(vendors.mappings("quickbooks")["standard"])
    assert await trial.cli("mappings", "draft", trial.id, str(file), "--note", "as shipped") == "version 1 (draft)\n"
    assert "version 1 may be published" in await trial.cli("mappings", "validate", trial.id, "1")
    assert await trial.cli("mappings", "publish", trial.id, "1") == "version 1 holds\n"

    huber = (await trial.office.create("customers", HUBER)).id
    meier = (await trial.office.create("customers", MEIER)).id

    async def both() -> bool:
        return {huber, meier} <= (await trial.recorded()).keys()

    await until(both, SECONDS_MAX)
    there = await trial.recorded(there="true")
    assert there[huber] == ("other", ["PrimaryPhone.FreeFormNumber"])
    assert there[meier] == ("new", [])
    assert (await trial.ask("GET", f"/{trial.id}"))["mode"] == "shadow"
    assert books.calls["put_customer"] == 0
    told = await trial.cli("connections", "shadow", trial.id, "--there")
    assert f'PrimaryPhone.FreeFormNumber: "{THEIR_PHONE}" -> "{HUBER["phone"]}"' in told
    assert re.search(r"recorded +open", told)

    promoted = await trial.cli("connections", "promote", trial.id, "--least", "2")
    assert promoted.startswith(f"{trial.id} is live")

    def rows() -> dict[str, str]:
        return {row["DisplayName"]: row["PrimaryPhone"]["FreeFormNumber"] for row in books.listed("Customer")}

    async def arrived() -> bool:
        return rows() == {each["name"]: each["phone"] for each in (HUBER, MEIER)}

    await until(arrived, SECONDS_MAX)
    assert len(books.listed("Customer")) == 2
    receipt = await trial.firm.ask("GET", f"/v1/receipts/customers/{huber}")
    assert [each["stage"] for each in receipt["systems"]] == ["delivered"]
