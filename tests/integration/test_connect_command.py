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
        choice.write_text('system = "trees"\n' + CHOICE)
        strange = cli(*words, "--choice", str(choice))
        left = (tmp_path / "jobs").exists()
        choice.write_text(CHOICE)
        made = cli(*words, "--choice", str(choice))
        checked = cli("connections", "check", place)
        connected = cli("connections", "connect", place, "--given", str(given), *tenant)
        listed = cli("connections", "list", *tenant)
        client = service.client(await service.token(role="integrator"))
        versions(connected.stdout.split()[0], tmp_path, tenant)
        place = f"/v1/connections/{connected.stdout.splitlines()[-1].split()[0]}"
        fields, verified = await client.get(f"{place}/fields/job"), await client.post(f"{place}/verify")
        await service.close()

    assert (len(connected.stdout.splitlines()), connected.stderr) == (1, "")
    assert (unsaid.returncode, "prints what is on offer" in unsaid.stderr) == (1, True)
    assert (strange.returncode, "'trees'" in strange.stderr, "'jobs'" in strange.stderr, left) == (1, True, True, False)
    assert made.returncode == 0, made.stderr
    assert (checked.returncode, checked.stdout) == (0, "jobs: Described jobs (grade C, *assumed*): fine\n"), checked
    assert "By hand" in listed.stdout
    assert "C *assumed*" in listed.stdout
    assert {each["path"] for each in fields.json()["fields"]} == {"number", "title", "status", "reference"}
    assert verified.json()["kind"] == "ok"


MAPPING = """
[[out]]
object = "job"
collection = "work_orders"
rows = [
  { target = "number", source = "record.id" },
  { target = "title", source = "record.title" },
]
"""


def versions(connection: str, folder: Path, tenant: tuple[str, str]) -> None:
    """Draft, validate, compare, publish, show, list and roll back; what must not hold is said by the exit code too."""
    texts = {"first": MAPPING, "second": MAPPING.replace("record.title", "record.summary"), "wrong": MAPPING + "x = 1"}
    texts["unfit"] = MAPPING.replace("record.title", "record.nope")
    for name, text in texts.items():
        (folder / name).write_text(text)

    def mappings(verb: str, *words: str) -> tuple[int, str, str]:
        done = cli("mappings", verb, connection, *words, *tenant)
        return done.returncode, done.stdout, done.stderr

    assert mappings("draft", str(folder / "wrong"))[0] == 1
    for number, name in enumerate(("first", "second", "unfit"), 1):
        assert mappings("draft", str(folder / name), "--note", name) == (0, f"version {number} (draft)\n", "")
    validated = [mappings("validate", str(number)) for number in (1, 2, 3)]
    refused = mappings("publish", "3")
    assert [code for code, _, _ in validated] == [0, 0, 1]
    assert "no field 'nope'" in validated[2][1]
    assert (refused[0], "no field 'nope'" in refused[2]) == (1, True)

    assert mappings("publish", "1") == (0, "version 1 holds\n", "")
    changed = 'out job of work_orders.title.source  changed  "record.title"  "record.summary"'
    assert changed in mappings("diff", "2")[1]
    assert changed in mappings("diff", "2", "--against", "1")[1]
    assert mappings("diff", "1", "--against", "0")[1].splitlines()[:-1] == [
        "out job of work_orders.number  added",
        '  source  "record.id"',
        "out job of work_orders.title  added",
        '  source  "record.title"',
        "out job of work_orders, itself  added",
    ]
    assert mappings("publish", "2") == (0, "version 2 holds\n", "")
    assert changed not in mappings("diff", "2")[1]
    assert mappings("show", "1")[1].strip() == MAPPING.strip()

    assert mappings("roll-back", "3") == (1, "", "version 3 never held; publish it instead\n")
    assert mappings("roll-back", "1", "--note", "better") == (
        0,
        "version 4 holds, which says what version 1 said\n",
        "",
    )
    assert mappings("show", "4")[1] == mappings("show", "1")[1]
    listed = mappings("list")[1].splitlines()
    assert [line.split()[:2] for line in listed[1:]] == [
        ["4", "published"],
        ["3", "draft"],
        ["2", "published"],
        ["1", "published"],
    ]
    assert listed[1].endswith("better")
    assert mappings("show", "9")[0] == mappings("diff", "9")[0] == 1
