"""Files of rows from end to end: a server, a worker process, a folder or an SFTP server, who fetches and brings."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from tests.integration.service import ANA, DORA, Service, uid
from tests.integration.test_metrics import address
from tests.integration.test_worker import until, work
from tests.peers import sftp_house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MAPPING = """
[[out]]
object = "jobs"
collection = "work_orders"
rows = [
  { target = "id", source = "record.id" },
  { target = "title", source = "record.title", default = "" },
]

[[into]]
object = "customers"
collection = "customers"
rows = [
  { target = "name", source = "record.name", required = true },
  { target = "number", source = "record.number" },
]
"""
CUSTOMERS = "id,name,number\n1,Meier,K1\n,Nobody,K2\n3,Short\n4,Kunz,K4\n"
TITLES = {1: 'Boiler, "the big one"', 2: "=HYPERLINK(1)", 3: "Pump\nin the cellar"}


@asynccontextmanager
async def place(way: str, root: Path) -> AsyncIterator[dict[str, Any]]:
    """Give what a connection says of a folder, or of an SFTP server that serves it."""
    if way == "folder":
        yield {"config": {"folder": "firm"}}
        return
    await asyncio.to_thread(root.mkdir)
    async with sftp_house.serving(root) as house:
        yield {"config": house.settings, "auth": {"user": sftp_house.USER, "password": sftp_house.PASSWORD}}


async def connected(client: Any, where: dict[str, Any]) -> str:
    """Make the connection, let a mapping hold, and go live; return its path."""
    made = await asked(client, "post", "/v1/connections", system="csv", **where)
    drafted = await asked(client, "post", "/v1/mappings", connection=made["id"], content=MAPPING)
    await asked(client, "post", f"/v1/mappings/{made['id']}/{drafted['version']}/publish")
    await asked(client, "post", f"/v1/connections/{made['id']}/promote", least=0)
    return f"/v1/connections/{made['id']}"


async def asked(client: Any, method: str, path: str, /, **body: Any) -> Any:
    """Ask for what has to go well, and return the answer."""
    answer = await client.request(method, path, json=body or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def verified(client: Any, here: str, config: dict[str, str]) -> None:
    """Look at the server as the one that it is, and as one that shows another key."""
    seen = await asked(client, "post", f"{here}/verify")
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    await asked(client, "patch", here, config=config | {"host_key": other})
    stranger = await asked(client, "post", f"{here}/verify")

    assert (seen["kind"], seen["message"]) == ("ok", "0 files wait in in/, 1 lie in bad/ for a person")
    assert (stranger["kind"], "not accepted" in stranger["message"]) == ("config", True)


async def as_if_later(service: Service) -> None:
    """Let it be ten minutes later: leases have ended, and no writer can still be at what was sent."""
    async with service.database.transaction(service.tenant) as session:
        await session.execute("UPDATE polls SET leased_until = now(), due_at = now()")
        await session.execute("UPDATE outbox SET leased_until = now(), due_at = now()")
        await session.execute("UPDATE deliveries SET leased_until = now(), due_at = now() WHERE state <> 'confirmed'")
        await session.execute("UPDATE deliveries SET last_sent_at = now() - interval '10 minutes' WHERE state = 'sent'")


def fetched(folder: Path) -> list[dict[str, str]]:
    """Take what is vouched for, checked as whoever fetches would."""
    found: list[dict[str, str]] = []
    for file in sorted(folder.glob("*.manifest.json")):
        told = json.loads(file.read_text())
        content = file.with_name(told["file"]).read_bytes()
        rows = list(csv.DictReader(read(file.with_name(told["file"]))))
        assert (hashlib.sha256(content).hexdigest(), len(rows)) == (told["sha256"], told["rows"])
        found += rows
    return found


def read(file: Path) -> list[str]:
    """Return a file's lines with their ends, as a reader of rows wants them."""
    return file.read_bytes().decode().splitlines(keepends=True)


def bring(folder: Path, name: str, text: str) -> None:
    """Put a file there, and then what vouches for it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    rows = sum(1 for _ in csv.reader(text.splitlines())) - 1
    (folder / name).write_bytes(content)
    told = {"file": name, "rows": rows, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / f"{name}.manifest.json").write_text(json.dumps(told))


@pytest.mark.parametrize("way", ["sftp", "folder"])
async def test_rows_go_out_and_come_in_and_a_killed_worker_writes_no_second_file(
    service: Service, postgres_url: str, tmp_path: Path, way: str
) -> None:
    """Work orders into files, each once, though the worker is killed; customers from a file, bad rows beside it."""
    firm = tmp_path / str(service.tenant) / "firm"
    settings = {"FIELDSYNC_ALLOW_LOOPBACK_VENDORS": "1", "FIELDSYNC_EXCHANGE_DIR": str(tmp_path)}
    database_url = await address(service, postgres_url)
    client = service.client(await service.token(DORA, "integrator"))
    office = service.client(await service.token(DORA, "admin"))
    desk = await service.office()
    async with place(way, firm.parent) as where:
        here = await connected(client, where)
        for number, title in TITLES.items():
            await desk.create(number, title=title, assignee_id=ANA)

        async def vouched() -> list[Any]:
            return list((firm / "out").glob("*.manifest.json"))

        async with work(database_url, **settings) as process:
            await until(vouched)
            process.kill()
            await process.communicate()
        await as_if_later(service)
        bring(firm / "in", "customers-1.csv", CUSTOMERS)

        async def delivered() -> bool:
            return (await asked(client, "get", here))["deliveries"] == {"confirmed": 3}

        async def customers() -> list[Any]:
            items = (await office.get("/v1/customers")).json()["items"]
            return items if len(items) == 2 else []

        async with work(database_url, **settings) as process:
            await until(delivered)
            came = await until(customers)
            receipt = await asked(client, "get", f"/v1/receipts/work_orders/{uid(1)}")
            bring(firm / "in", "customers-1.csv", CUSTOMERS)

            async def again() -> list[Any]:
                (await client.post(f"{here}/poll", json={})).raise_for_status()
                return list((firm / "again").glob("*.reason.txt"))

            await until(again)
            process.terminate()
            await process.communicate()
        if way == "sftp":
            await verified(client, here, where["config"])

    titles = {row["id"]: row["title"] for row in fetched(firm / "out")}
    assert titles == {uid(1): TITLES[1], uid(2): f"'{TITLES[2]}", uid(3): TITLES[3]}
    every = [row for file in (firm / "out").glob("[!.]*.csv") for row in csv.DictReader(read(file))]
    assert sorted(row["id"] for row in every) == [uid(number) for number in TITLES]
    assert receipt["systems"][0]["stage"] == "delivered"
    assert sorted((row["name"], row["number"]) for row in came) == [("Kunz", "K4"), ("Meier", "K1")]
    bad = list(csv.reader(read(firm / "bad" / "customers-1.csv.rows.csv")))
    assert [row[:2] for row in bad[1:]] == [
        ["3", "has nothing in id"],
        ["4", "has 2 cells, and the heading has 3"],
    ]
    assert (firm / "done" / "customers-1.csv").exists()
