"""`fieldsync connections`: from an OpenAPI file to a folder, to a connection, to fields, on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.integration.service import Service, serving
from tests.integration.test_connections_command import KEY, cli
from tests.integration.test_described_system import BEARER, JOBS
from tests.peers import described
from tests.peers.described import Described

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from syncserver.store.db import Database

CHOICE = f"""
verify = "GET /me"
grade = "C"
[written.job]
create = "POST {JOBS}"
find = "GET {JOBS}"
find_by = "reference"
marker = "reference"
"""
GIVEN = f"""
name = "By hand"
[auth]
token = "{described.TOKEN}"
[config]
account = "a1"
"""


async def test_a_file_becomes_a_folder_and_the_folder_a_connection(
    database_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder passes its check as assumed, the connection is listed so, and its fields come from the file."""
    for name, value in {"DATABASE_URL": database_url, "SECRET_KEYS": KEY, "ALLOW_LOOPBACK_VENDORS": "1"}.items():
        monkeypatch.setenv(f"FIELDSYNC_{name}", value)
    system = Described(BEARER)
    async with system.server, serving(database_url) as url:
        service = Service(url, database)
        tenant = ("--tenant", str(await service.add_tenant()))
        document, choice, given = (tmp_path / name for name in ("jobs.json", "choice.toml", "given.toml"))
        document.write_text(json.dumps(system.document))
        choice.write_text(CHOICE)
        given.write_text(GIVEN)
        place = str(tmp_path / "jobs")
        words = ("connections", "new", "jobs", "--into", str(tmp_path), "--openapi", str(document))

        unsaid = cli(*words)
        made = cli(*words, "--choice", str(choice))
        checked = cli("connections", "check", place)
        connected = cli("connections", "connect", place, "--given", str(given), *tenant)
        listed = cli("connections", "list", *tenant)
        client = service.client(await service.token(role="integrator"))
        place = f"/v1/connections/{connected.stdout.splitlines()[-1].split()[0]}"
        fields, verified = await client.get(f"{place}/fields/job"), await client.post(f"{place}/verify")
        await service.close()

    assert (unsaid.returncode, "prints what is on offer" in unsaid.stderr) == (1, True)
    assert made.returncode == 0, made.stderr
    assert (checked.returncode, checked.stdout) == (0, "jobs: Described jobs (grade C, *assumed*): fine\n"), checked
    assert "By hand" in listed.stdout
    assert "C *assumed*" in listed.stdout
    assert {each["path"] for each in fields.json()["fields"]} == {"number", "title", "status", "reference"}
    assert verified.json()["kind"] == "ok"
