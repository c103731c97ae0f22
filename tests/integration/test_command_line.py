"""What an operator types: a database is made ready, people get tokens, and a start that cannot be says why."""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg
import httpx

from tests.integration.service import ANA, LIMITS, serving

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
    _, tenant, _ = await fieldsync(bare_url, "tenant", "create", "Acme")
    who = ("--tenant", tenant)
    _, token, _ = await fieldsync(bare_url, "token", "create", "Ana", "--role", "technician", "--person", ANA, *who)
    _, enrolment, _ = await fieldsync(bare_url, "device", "code", ANA, *who)

    async with serving(bare_url, LIMITS) as url, httpx.AsyncClient(base_url=url) as client:
        enrolled = await client.post("/v1/devices/enrol", json={"code": enrolment, "name": "phone"})
        for shown in (token, enrolled.json()["token"]):
            answer = await client.get("/v1/sync/pull", headers={"authorization": f"Bearer {shown}"})
            assert answer.status_code == 200
    connection = await asyncpg.connect(bare_url)
    assert await connection.fetchval("SELECT count(*) FROM tenants") == 1
    await connection.close()


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
        await fieldsync(bare_url, "token", "create", "Ana", "--role", "admin", "--tenant", "77"),
    ]

    assert {code for code, _, _ in answers} == {1}
    assert all(told and "Traceback" not in told for _, _, told in answers)
    assert "FIELDSYNC_SECRET_KEYS" in answers[0][2]
