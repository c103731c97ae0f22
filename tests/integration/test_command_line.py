"""What an operator types: a database is made ready, people get tokens, and a start that cannot be says why."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import asyncpg
import httpx
import structlog

from syncserver.catalogs import source
from syncserver.cli import serving as serving_command
from syncserver.importer import sample
from tests.integration.service import ANA, LIMITS, serving

USAGE = 2
SCOPE = '"creator_until_assigned"]'
KEY = "0123456789abcdef0123456789abcdef"


async def fieldsync(database_url: str, *words: str, **settings: str) -> tuple[int, str, str]:
    """Run a command; return its exit code and what it said on each stream."""
    given = {"FIELDSYNC_DATABASE_URL": database_url, "FIELDSYNC_SECRET_KEYS": KEY, **settings}
    ran = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "syncserver",
        *words,
        env={**os.environ, **given},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(ran.communicate(), 60)
    assert ran.returncode is not None
    return ran.returncode, out.decode().strip(), err.decode().strip()


async def test_from_an_empty_database_to_a_technician_who_pulls(bare_url: str) -> None:
    """Migrate, make a tenant, a person, a token and a code: each is one command, and all of them work."""
    code, _, told = await fieldsync(bare_url, "serve")
    assert (code, told) == (1, "the database has no tables yet: run `fieldsync migrate` with the same settings")

    assert (await fieldsync(bare_url, "migrate"))[0] == 0
    assert (await fieldsync(bare_url, "migrate"))[1] == "0 migrations applied"
    tenant, name = (await fieldsync(bare_url, "tenant", "create", "Acme"))[1].split()
    who = ("--tenant", tenant)
    _, told, _ = await fieldsync(bare_url, "token", "create", "Ana", "--role", "technician", *who)
    _, token, _, person = told.split()
    _, enrolment, _ = await fieldsync(bare_url, "device", "code", person, *who)

    async with serving(bare_url, LIMITS) as url, httpx.AsyncClient(base_url=url) as client:
        enrolled = await client.post("/v1/devices/enrol", json={"code": enrolment, "name": "phone"})
        for shown in (token, enrolled.json()["token"]):
            answer = await client.get("/v1/sync/pull", headers={"authorization": f"Bearer {shown}"})
            assert answer.status_code == 200
    assert name == "Acme"
    connection = await asyncpg.connect(bare_url)
    assert await connection.fetchval("SELECT count(*) FROM tenants") == 1
    await connection.close()


async def test_a_token_names_its_person(bare_url: str) -> None:
    """The person that was named is the one that is told."""
    await fieldsync(bare_url, "migrate")
    await fieldsync(bare_url, "tenant", "create", "Acme")

    _, told, _ = await fieldsync(bare_url, "token", "create", "Ana", "--role", "technician", "--person", ANA)

    assert told.splitlines()[1] == f"person  {ANA}"


async def test_a_catalogue_is_put_in_force(bare_url: str, tmp_path: Path) -> None:
    """The version is told; the same content keeps it, and a catalogue that moves records is refused in a sentence."""
    await fieldsync(bare_url, "migrate")
    await fieldsync(bare_url, "tenant", "create", "Acme")
    same, new, moved, wrong = (tmp_path / name for name in ("same", "new", "moved", "wrong"))
    same.write_text(source.text(None))
    new.write_text(source.text(None).replace("limit = 500", "limit = 400"))
    moved.write_text(source.text(None).replace(SCOPE, '"creator"]'))
    wrong.write_text(source.text(None).replace('"manual"', '"person"', 1).replace('"bulk"', '"slow"', 1))

    answers = [await fieldsync(bare_url, "catalog", "publish", str(path)) for path in (same, new, moved, wrong)]
    stranger = await fieldsync(bare_url, "catalog", "publish", str(new), "--tenant", "77")

    assert answers[0] == (0, "version 1 is in force for tenant 1", "")
    assert answers[1] == (0, "version 2 is in force for tenant 1", "")
    assert (answers[2][0], answers[2][2].partition(":")[0]) == (1, "collections.work_orders.scope")
    assert (answers[3][0], len(answers[3][2].splitlines())) == (1, 3)
    assert stranger == (1, "", "there is no tenant 77")


async def test_an_import_that_cannot_begin_says_why(bare_url: str, tmp_path: Path) -> None:
    """A folder, a missing file, a collection that is not there, a tenant that is not there: a sentence each."""
    await fieldsync(bare_url, "migrate")
    await fieldsync(bare_url, "tenant", "create", "Acme")
    file = tmp_path / "orders.csv"
    file.write_text(f"{sample.HEADER}\n")
    missing = tmp_path / "none.csv"

    answers = [
        await fieldsync(bare_url, "import", "work-orders", str(tmp_path)),
        await fieldsync(bare_url, "import", "work-orders", str(missing)),
        await fieldsync(bare_url, "import", "work-oders", str(file)),
        await fieldsync(bare_url, "import", "work-orders", str(file), "--tenant", "77"),
    ]

    assert {(code, len(told.splitlines())) for code, _, told in answers} == {(1, 1)}
    told = [told for _, _, told in answers]
    assert told[0] == f"{tmp_path} is a folder or device, not a file"
    assert told[1] == f"there is no file {missing}"
    assert told[2].startswith("there is no collection work_oders; there are ")
    assert "work_orders" in told[2]
    assert "77" in told[3]


async def test_a_list_of_a_tenant_that_is_not_there_is_no_empty_list(bare_url: str) -> None:
    """Whoever mistypes the number is told so, and where the right ones are, and is not told that there is nothing."""
    await fieldsync(bare_url, "migrate")
    await fieldsync(bare_url, "tenant", "create", "Acme")
    lists = ("person list", "token list", "audit", "signin show", "connections list", "dead-letters list")
    of_one = ("mappings list x", "connections canary list x")

    strangers = [await fieldsync(bare_url, *words.split(), "--tenant", "77") for words in (*lists, *of_one)]
    known = [await fieldsync(bare_url, *words.split(), "--tenant", "1") for words in lists]

    told = "there is no tenant 77; `fieldsync tenant list` prints those there are"
    assert strangers == [(1, "", told)] * len(strangers)
    assert all("no tenant" not in answer[2] for answer in known)


async def test_words_that_cannot_be_meant_are_refused_before_anything_is_done(bare_url: str) -> None:
    """A person that is no UUID and a time that is not ahead are told by name; the database is not asked."""
    role = ("--role", "technician")

    answers = {
        "--person": await fieldsync(bare_url, "token", "create", "Ana", *role, "--person", "ana"),
        "--days": await fieldsync(bare_url, "token", "create", "Ana", *role, "--days", "0"),
        "PERSON": await fieldsync(bare_url, "device", "code", "ana"),
        "--hours": await fieldsync(bare_url, "device", "code", ANA, "--hours", "-1"),
        "at most 36500": await fieldsync(bare_url, "token", "create", "Ana", *role, "--days", "99999999999"),
        "at most 8760": await fieldsync(bare_url, "device", "code", ANA, "--hours", "nan"),
        "--port": await fieldsync(bare_url, "dev", "--port", "99999"),
    }

    assert {code for code, _, _ in answers.values()} == {USAGE}
    assert all(option in told and "Traceback" not in told for option, (_, _, told) in answers.items())


async def test_a_start_that_cannot_be_says_why(bare_url: str) -> None:
    """One sentence on the error stream and exit code 1, for every reason that an operator can mend."""
    await fieldsync(bare_url, "migrate")
    nowhere = "postgresql://u:p@127.0.0.1:1/d"

    answers = [
        await fieldsync(bare_url, "serve", FIELDSYNC_SECRET_KEYS="short"),
        await fieldsync(bare_url, "serve", FIELDSYNC_CATALOG=__file__),
        await fieldsync(nowhere, "serve"),
        await fieldsync(nowhere, "migrate"),
        await fieldsync(bare_url, "device", "code", ANA, "--tenant", "77"),
        await fieldsync(bare_url, "device", "code", ANA),
        await fieldsync(bare_url, "token", "create", "Ana", "--role", "admin", "--tenant", "77"),
    ]

    assert {code for code, _, _ in answers} == {1}
    assert all(told and "Traceback" not in told for _, _, told in answers)
    assert "FIELDSYNC_SECRET_KEYS" in answers[0][2]
    assert all(told.startswith("the database cannot be reached") for _, _, told in (answers[2], answers[3]))


async def test_a_database_that_lets_nobody_in_is_named_as_the_trouble(bare_url: str) -> None:
    """Not there, of another name, or asked for a number that it has no room for: the operator reads what to look at."""
    await fieldsync(bare_url, "migrate")
    nowhere, strange = "postgresql://u:p@127.0.0.1:1/d", bare_url.rpartition("/")[0] + "/no_such_database"

    _, _, away = await fieldsync(nowhere, "tenant", "list")
    _, _, unnamed = await fieldsync(strange, "tenant", "list")
    _, _, large = await fieldsync(bare_url, "device", "code", ANA, "--tenant", "99999999999")

    assert away.startswith("the database cannot be reached")
    assert unnamed.startswith("the database does not let us in")
    assert all("FIELDSYNC_DATABASE_URL" in told for told in (away, unnamed))
    assert large.startswith("something that was given is too large")


async def test_a_setting_that_nobody_reads_is_told_of_at_the_start() -> None:
    """A name that was mistyped is warned of, without its value, which may be a secret."""
    with structlog.testing.capture_logs() as events:
        serving_command.warn(
            {"FIELDSYNC_PORTT": "s3cret", "FIELDSYNC_PORT": "1", "FIELDSYNC_CACHE_DIR": "x", "HOME": "h"}
        )
        serving_command.warn({"FIELDSYNC_PORT": "1"})

    assert events == [{"event": "settings_unknown", "names": ["FIELDSYNC_PORTT"], "log_level": "warning"}]
