"""`fieldsync load`: a small fleet through a kill of its server, and a check that finds what is missing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from clients.load import check
from clients.load.course import Course
from clients.load.plan import Options
from tests.acceptance.served import CHECKOUT, Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

SECONDS_MAX = 150
DEVICES = 20
TRIES = 4
"""So many runs are enough for a superseded edit on any machine."""


@pytest.fixture(scope="module")
def ours() -> Iterator[Served]:
    """Give a server of our own: runs leave many records behind, and tables are tampered with."""
    with Served("--no-seed") as server:
        yield server


def start(served: Served, report: Path, *options: str) -> subprocess.Popen[str]:
    """Start a run as somebody at a terminal would."""
    command = [sys.executable, "-m", "syncserver", "load", "--ready-file", str(served.ready_file)]
    command += ["--devices", str(DEVICES), "--pull-every", "2", "--json", str(report), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT, stdin=subprocess.DEVNULL
    )


def wait_for_step(run: subprocess.Popen[str], step: str) -> None:
    """Wait until the run says that a step begins."""
    assert run.stderr is not None
    said = []
    while not (line := run.stderr.readline()).startswith(step):
        said.append(line)
        assert line, "".join(said)


def test_a_killed_server_loses_nothing(ours: Served, tmp_path: Path) -> None:
    """A fleet whose server is killed with -9 in the middle finds all its edits again, and agrees with the server."""
    options = ("--seconds", "10", "--edits-per-second", "15", "--lost-share", "0.1", "--dispatcher-share", "0.3")
    run = start(ours, tmp_path / "report.json", *options)
    wait_for_step(run, "working")
    ours.wait_for_server_after(ours.kill_server())
    said, complaints = run.communicate(timeout=SECONDS_MAX)

    assert run.returncode == 0, said + complaints
    assert "All is well: 0 differences" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["well"], report["check"]["difference_count"], report["failure"]) == (True, 0, None)
    assert report["check"]["devices"] == DEVICES
    assert report["check"]["edits"] == report["counts"]["acknowledged"] == report["counts"]["edits"] > 0
    assert [restart["pid"] for restart in report["restarts"]] == [ours.facts["server_pid"]]
    assert report["phases"]["work"]["failures"]["push: lost on purpose"] > 0
    online, backlog = report["edit_to_verdict_online"], report["edit_to_verdict_backlog"]
    assert online["count"] + backlog["count"] == report["counts"]["edits"]
    assert sum(report["by_second"]["acknowledged"]) == report["counts"]["edits"]


def test_an_interrupt_ends_the_work_and_checks_it(ours: Served, tmp_path: Path) -> None:
    """Ctrl-C ends the work early; what was done until then is checked and reported."""
    run = start(ours, tmp_path / "report.json", "--seconds", "3600", "--edits-per-second", "20")
    wait_for_step(run, "working")
    run.send_signal(signal.SIGINT)
    said, complaints = run.communicate(timeout=SECONDS_MAX)

    assert run.returncode == 0, said + complaints
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["stopped_early"], report["well"]) == (True, True)
    assert report["check"]["devices"] == DEVICES


def test_a_run_says_what_it_needs(tmp_path: Path) -> None:
    """Without people, without a server, or with a number that cannot be meant, the run says so and ends."""
    command = [sys.executable, "-m", "syncserver", "load"]

    def said(*options: str) -> tuple[int, str]:
        told = subprocess.run([*command, *options], capture_output=True, text=True, cwd=CHECKOUT, check=False)
        return told.returncode, told.stderr + told.stdout

    assert said() == (2, "A run needs people with codes: name the --ready-file of `fieldsync dev`.\n")
    assert said("--ready-file", str(tmp_path / "none.json"))[0] == 1
    code, sentence = said("--ready-file", "any", "--devices", "0")
    assert code != 0
    assert "--devices" in sentence
    assert ">= 1" in sentence


# The check can fail.


@pytest.fixture(scope="module")
async def course(ours: Served) -> AsyncIterator[Course]:
    """Give a run that is over and drained, with all that the tests look for: what happens in one is chance."""
    for seed in range(1, TRIES + 1):
        options = Options(
            ready_file=ours.ready_file,
            devices=8,
            seconds=6,
            edits_per_second=40,
            dispatcher_share=1,
            pull_every=2,
            seed=seed,
        )
        async with Course(options, ours.ready, lambda _: None) as made:
            await made.set_up()
            await made.work()
            await made.drain()
            if all(own(made).values()) or seed == TRIES:
                yield made
                return


@pytest.fixture
async def database(ours: Served) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection that sees all tenants."""
    connection = await asyncpg.connect(ours.facts["database_url"])
    await connection.execute("SELECT set_config('fieldsync.tenants', '1,2', false)")
    yield connection
    await connection.close()


@asynccontextmanager
async def tampered(database: asyncpg.Connection, table: str, where: str, change: str) -> AsyncIterator[None]:
    """Change a row behind the server's back, and put it back."""
    await database.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM {table} WHERE {where} LIMIT 1")
    keys = await database.fetch(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
        "WHERE i.indrelid = $1::regclass AND i.indisprimary",
        table,
    )
    same = " AND ".join(f"t.{key[0]} = k.{key[0]}" for key in keys)
    assert await database.fetchval("SELECT count(*) FROM kept") == 1, "there is something to tamper with"
    if change == "delete":
        await database.execute(f"DELETE FROM {table} t USING kept k WHERE {same}")
    else:
        await database.execute(f"UPDATE {table} t SET {change} FROM kept k WHERE {same}")
    try:
        yield
    finally:
        await database.execute(f"DELETE FROM {table} t USING kept k WHERE {same}")
        await database.execute(f"INSERT INTO {table} SELECT * FROM kept")
        await database.execute("DROP TABLE kept")


async def test_a_run_that_went_well_has_no_difference(course: Course) -> None:
    """Where nobody tampers the check finds every edit, every sum and every copy."""
    found = await course.compare()

    assert found.differences == []
    assert found.devices == 8
    assert found.edits == course.meter.counts["edits"] > 0
    assert min(found.lines, found.counts, found.copies, found.dispatcher_writes) > 0
    assert {"applied", "superseded"} <= found.verdicts.keys()


def quoted(values: Iterable[object]) -> str:
    """Write values as a list of SQL."""
    return ", ".join(f"'{value}'" for value in sorted({str(value) for value in values}))


def own(course: Course) -> dict[str, str]:
    """Name what this run has left in the tables, for other runs were there before."""
    answered = [(member, one) for member in course.members for one in member.answered]
    told = [(member.tenant, cell) for member, one in answered for cell in one.verdict.cells.values()]
    return {
        "made": quoted(one.mutation.id for _, one in answered if one.mutation.op == "create"),
        "noted": quoted(one.mutation.id for _, one in answered if "notes" in one.mutation.do),
        "replicas": ", ".join(sorted({f"({member.tenant}, {member.device.rid})" for member, _ in answered})),
        "conflicts": quoted(f"{tenant}/{cell.conflict}" for tenant, cell in told if cell.verdict == "superseded"),
    }


HOUR = "collection = 'time_entries' AND record_id IN ({made})"
PART = "collection = 'parts_used' AND record_id IN ({made})"
NOTED = "collection = 'work_orders' AND record_id IN ({noted})"
KEPT_APART = "tenant_id || '/' || conflict_id IN ({conflicts})"
OVERWRITTEN = """
collection = 'work_orders' AND (tenant_id, rid) IN ({replicas}) AND EXISTS (
  SELECT FROM changes AS later
  WHERE (later.tenant_id, later.collection, later.record_id)
        = (changes.tenant_id, changes.collection, changes.record_id) AND later.seq > changes.seq)
"""


@pytest.mark.parametrize(
    ("table", "where", "change", "finding"),
    [
        ("records", HOUR, "delete", "the record is gone from the server"),
        ("records", HOUR, "delete", "is on the device alone"),
        ("records", NOTED, """fields = t.fields || '{"notes": ""}'""", "stands 0 times in notes"),
        ("records", HOUR, """fields = t.fields || '{"remarks": "?"}'""", "remarks is None"),
        (
            "records",
            NOTED,
            "fields = t.fields || jsonb_build_object('notes', (t.fields->>'notes') || (t.fields->>'notes'))",
            "stands 2 times in notes",
        ),
        ("records", PART, """fields = t.fields || '{"quantity": "99"}'""", "steps add up to"),
        ("changes", OVERWRITTEN, "delete", "is in its history"),
        ("conflicts", KEPT_APART, "delete", "is not there"),
    ],
)
async def test_the_check_names_what_is_lost(
    course: Course, database: asyncpg.Connection, table: str, where: str, change: str, finding: str
) -> None:
    """An acknowledged edit that is missing on the server, counted twice, or kept no longer, is named."""
    async with tampered(database, table, where.format(**own(course)), change):
        found = await course.compare()

    assert any(finding in difference for difference in found.differences), found.differences
    assert not course.report(found, None).well


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("DELETE FROM acknowledged WHERE n = 1", "without a verdict: [1]"),
        ("DELETE FROM view WHERE collection = 'teams'", "is missing on the device"),
        ("""UPDATE view SET fields = '{"name":"Other"}' WHERE collection = 'teams'""", "reads otherwise on the device"),
    ],
)
async def test_the_check_names_a_device_that_differs(course: Course, tampering: str, finding: str) -> None:
    """An edit without a verdict, or a copy that is not what the server has, is named with its device."""
    member = next(member for member in course.members if member.made)
    with member.store.transaction():
        member.store._db.execute("SAVEPOINT before")
        member.store._db.execute(tampering)
        found = await course.compare()
        member.store._db.execute("ROLLBACK TO before")

    assert any(finding in difference and member.name in difference for difference in found.differences)


async def test_the_check_names_what_a_device_was_told(course: Course) -> None:
    """What the server should never have said to a device, and a write the office was refused, are differences."""
    course.members[0].faults["Refused: 400 bad_request: no"] += 1
    course.desk.faults.append("the dispatcher was refused a job: 400")
    try:
        found = await course.compare()
    finally:
        course.members[0].faults.clear()
        course.desk.faults.clear()

    assert found.difference_count == 2
    assert found.differences == [
        "the dispatcher was refused a job: 400",
        f"{course.members[0].name}: Refused: 400 bad_request: no (1 times)",
    ]


def test_only_the_first_differences_are_kept() -> None:
    """However much differs, all of it is counted and the first of it told."""
    found = check.Found()
    for number in range(2 * check.DIFFERENCES_KEPT):
        found.differ(str(number))

    assert (found.difference_count, len(found.differences)) == (2 * check.DIFFERENCES_KEPT, check.DIFFERENCES_KEPT)
