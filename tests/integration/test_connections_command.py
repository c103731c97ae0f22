"""`fieldsync connections` and `fieldsync dead-letters`: what an operator does beside the database."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from syncserver.commands.upstream import folder
from tests.integration.backdoor import rows
from tests.integration.front import MAPPING, Front, front, new
from tests.integration.service import ANA, Service, serving, uid
from tests.peers.odd_vendor import Says
from upstream import vendors

if TYPE_CHECKING:
    from pathlib import Path

    from syncserver.store.db import Database

KEY = "k" * 32


def test_the_folder_of_a_new_system_is_accepted_and_says_that_it_is_assumed(tmp_path: Path) -> None:
    """What `new` makes `check` accepts; a name that is none, and a folder that is there, are refused."""
    made = cli("connections", "new", "acme", "--title", "Acme Works", "--into", str(tmp_path))
    checked = cli("connections", "check", str(tmp_path / "acme"))
    again = cli("connections", "new", "acme", "--into", str(tmp_path))
    bad = cli("connections", "new", "Acme!", "--into", str(tmp_path))

    assert made.returncode == 0, made.stderr
    assert (checked.returncode, checked.stdout) == (0, "acme: Acme Works (grade D, *assumed*): fine\n")
    assert (again.returncode, "exists" in again.stderr) == (1, True)
    assert (bad.returncode, "no name of a system" in bad.stderr) == (1, True)


@pytest.mark.parametrize(
    ("file", "find", "put", "named"),
    [
        ("connector.toml", 'kind = "bearer"', 'kind = "bearer"\ncolour = 1', "colour"),
        ("connector.toml", 'system = "acme"', 'system = "other"', "the folder is 'acme'"),
        ("contract.toml", 'path = "/me"', 'path = "/you"', "GET /me"),
        ("contract.toml", 'grade = "D"\nchecked', 'grade = "A"\nchecked', "grade is A"),
        ("mappings/standard.toml", 'object = "job"', 'object = "unicorn"', "unicorn"),
        ("README.md", None, None, "README.md: is missing"),
    ],
)
def test_check_names_what_is_wrong(tmp_path: Path, file: str, find: str | None, put: str, named: str) -> None:
    """Each file alone, and whether they speak of the same system."""
    cli("connections", "new", "acme", "--into", str(tmp_path))
    place = tmp_path / "acme" / file
    if find is None:
        place.unlink()
    else:
        place.write_text(place.read_text().replace(find, put, 1))

    checked = folder.check(tmp_path / "acme")

    assert any(named in problem for problem in checked.problems), checked.problems


def test_all_that_is_shipped_is_fine() -> None:
    """Every system that comes with the service passes its own check."""
    checked = cli("connections", "check")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(checked.stdout.splitlines()) == len(vendors.names())


async def test_an_operator_sees_connections_and_decides_on_dead_letters(
    database_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """List, dry run, show, edit, retry and skip, each noted as the operator's in the audit log."""
    monkeypatch.setenv("FIELDSYNC_DATABASE_URL", database_url)
    monkeypatch.setenv("FIELDSYNC_SECRET_KEYS", KEY)
    monkeypatch.setenv("FIELDSYNC_ALLOW_LOOPBACK_VENDORS", "1")
    async with serving(database_url) as url:
        service = Service(url, database)
        tenant = ("--tenant", str(await service.add_tenant()))
        await decided(service, tenant, tmp_path)
        await counted(service, ("--tenant", str(await service.add_tenant())))
        await service.close()


async def counted(service: Service, tenant: tuple[str, str]) -> None:
    """The list shows as much waiting as the API does, each lane apart."""
    async with front(service) as door:
        bare = await door.ask("post", "/v1/connections", **new(door.vendor.url) | {"name": "Bare"})
        unmapped = cli("connections", "dry-run", bare["id"], *tenant)
        assert unmapped.stderr.startswith("mapping: none holds yet"), unmapped.stdout
        await door.ask("delete", f"/v1/connections/{bare['id']}")
        await door.connect()
        await door.ask("post", f"/v1/connections/{door.id}/pause")
        desk = await service.office()
        await desk.create(1, title="Boiler", assignee_id=ANA)
        await door.worker.drain()
        await desk.create(2, title="Pump", assignee_id=ANA)

        listed = cli("connections", "list", *tenant)
        told = await door.ask("get", f"/v1/connections/{door.id}")

        names, row = (re.split("  +", line) for line in listed.stdout.splitlines()[-2:])
        shown = dict(zip(names, row, strict=False))
        assert (shown["waiting"], shown["backfill"]) == (str(told["waiting"]), str(told["backfill"])) == ("2", "0")


async def decided(service: Service, tenant: tuple[str, str], tmp_path: Path) -> None:
    """Give up two deliveries, and do something about both."""
    async with front(service) as door:
        await door.connect()
        desk = await service.office()
        door.vendor.answers = [Says(422, {"why": "too short"})] * 2
        await desk.create(1, title="Boiler", assignee_id=ANA)
        await desk.create(2, title="Pump", assignee_id=ANA)
        await door.work()
        letters = {each["record_id"]: each["id"] for each in await door.letters()}
        fields = tmp_path / "fields.json"
        told = await door.ask("get", f"/v1/dead_letters/{letters[uid(1)]}")
        fields.write_text(json.dumps(told["fields"] | {"name": "Boiler, cellar"}))
        other = tmp_path / "mapping.toml"
        other.write_text(MAPPING.replace("record.title", "record.summary", 2))

        listed = cli("connections", "list", *tenant)
        tried = cli("connections", "dry-run", door.id, "--mapping", str(other), *tenant)
        strange = cli("connections", "dry-run", door.id, "--collection", "trees", *tenant)
        waiting = cli("dead-letters", "list", *tenant)
        shown = cli("dead-letters", "show", letters[uid(1)], *tenant)
        place = (letters[uid(1)], str(fields))
        edited = cli("dead-letters", "edit", *place, "--reason", "short", "--retry", *tenant)
        skipped = cli("dead-letters", "skip", letters[uid(2)], "--reason", "by hand", *tenant)
        again = cli("dead-letters", "retry", letters[uid(2)], *tenant)
        await door.work()

        assert "C *assumed*" in listed.stdout, listed.stderr
        assert door.id in listed.stdout
        assert "2 records, 0 would be told" in tried.stdout, tried.stderr
        assert strange.stderr.startswith("collection: ")
        assert all(name in strange.stderr for name in ("trees", "work_orders"))
        assert letters[uid(1)] in waiting.stdout
        assert "helps     correct the record" in shown.stdout, shown.stderr
        assert all(line.split()[1] == "Books" for line in waiting.stdout.splitlines()[1:]), waiting.stdout
        assert f"system    Books ({door.id})" in shown.stdout
        assert 'answer    {"why":"too short"}' in shown.stdout
        assert "Boiler, cellar" in edited.stdout, edited.stderr
        assert skipped.stdout == f"{letters[uid(2)]} is superseded\n", skipped.stderr
        assert (again.returncode, "waits for nobody" in again.stderr) == (1, True)
        assert door.made()[-1]["name"] == "Boiler, cellar"
        by = await rows(
            service.database,
            service.tenant,
            "SELECT DISTINCT system FROM audit WHERE action LIKE 'dead_letter_%'",
        )
        assert by == [{"system": "operator"}]
        await by_filter(door, tenant)


async def by_filter(door: Front, tenant: tuple[str, str]) -> None:
    """Give up two more, and let one word hold for those of a filter and a time; name a canary and forget it."""
    door.vendor.answers = [Says(422, {}), Says(422, {})]
    desk = await door.service.office()
    for number in (3, 4):
        await desk.create(number, title=f"Job {number}", assignee_id=ANA)
    await door.work()
    of_these = ("--connection", door.id, "--error-class", "data", "--reason", "mended", *tenant)

    none = cli("dead-letters", "bulk", "retry", "--until", "2020-01-01T00:00:00", *of_these)
    dry = cli("dead-letters", "bulk", "retry", "--dry-run", *of_these)
    retried = cli("dead-letters", "bulk", "retry", "--since", "2020-01-01T00:00:00", *of_these)
    await door.work()
    made = [f"J{n}" for n, seen in enumerate(door.vendor.seen, 1) if seen.method == "POST"]
    named = cli("connections", "canary", "put", door.id, "job", made[-1], *tenant)
    shown = cli("connections", "canary", "list", door.id, *tenant)
    gone = cli("connections", "canary", "remove", door.id, "job", *tenant)
    refused = cli("connections", "canary", "put", door.id, "job", "J999", *tenant)

    assert none.stdout == "0 found, retry holds for 0\n", none.stderr
    assert dry.stdout == "2 found, retry holds for 0\n", dry.stderr
    assert retried.stdout == "2 found, retry holds for 2\n", retried.stderr
    assert await door.letters() == []
    assert named.stdout == f"job {made[-1]} is read every 3600 seconds\n", named.stderr
    assert made[-1] in shown.stdout, shown.stderr
    assert gone.stdout == "job has no canary any more\n", gone.stderr
    assert (refused.returncode, "remote_id: job J999" in refused.stderr) == (1, True)


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    command = [sys.executable, "-m", "syncserver", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
