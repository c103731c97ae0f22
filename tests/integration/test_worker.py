"""`fieldsync work` as a process: it works beside others, tells how it is, and may be killed at any moment."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from tests import tied
from tests.integration.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROWS = 400
CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60


def free_port():
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def work(database_url: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker that looks every second, until the block ends."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIELDSYNC_")}
    given = {"FIELDSYNC_DATABASE_URL": database_url, "FIELDSYNC_SECRET_KEYS": "k" * 32, "FIELDSYNC_UPKEEP_SECONDS": "1"}
    process = await asyncio.create_subprocess_exec(
        *tied.command("syncserver", "work"),
        stderr=asyncio.subprocess.PIPE,
        cwd=CHECKOUT,
        env=own | given | settings,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until(question, *arguments):
    """Ask again and again until the answer is true, and return it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (answer := await question(*arguments)):  # noqa: ASYNC110  (another process cannot set an event)
            await asyncio.sleep(0.05)
        return answer


async def get(port, path):
    """Return status and body of what a worker says; nothing before it listens."""
    async with httpx.AsyncClient() as client:
        try:
            answer = await client.get(f"http://127.0.0.1:{port}{path}")
        except httpx.TransportError:
            return None
    return answer.status_code, answer.text


async def is_ready(port):
    """Tell whether a worker reaches its database."""
    return await get(port, "/ready") == (200, '{"status":"ready"}')


async def is_not_ready(port):
    """Tell whether a worker says that it does not reach its database."""
    return await get(port, "/ready") == (503, '{"status":"the database does not answer"}')


@pytest.fixture
async def operator(world):
    """Give a connection that works for the tenant."""
    connection = await asyncpg.connect(world.url, server_settings={"fieldsync.tenants": str(world.tenant)})
    yield connection
    await connection.close()


@pytest.fixture
async def heap(world, operator):
    """Leave many old answers, and one that is young."""
    await operator.execute(
        "INSERT INTO remembered (tenant_id, key, request_hash, verdict, made_at)"
        " SELECT $1, i::text, '', '', now() - interval '31 days' FROM generate_series(1, $2) AS i",
        world.tenant,
        ROWS,
    )
    await operator.execute("INSERT INTO remembered VALUES ($1, 'young', '', '', now())", world.tenant)


async def is_pruned(operator):
    """Tell whether only the young answer is left."""
    return [row["key"] for row in await operator.fetch("SELECT key FROM remembered")] == ["young"]


async def waits_for_a_lock(operator):
    """Tell whether a worker waits for a row that somebody else has."""
    return await operator.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )


@pytest.mark.usefixtures("heap")
async def test_it_does_its_work_and_stops_in_order(operator, database_url):
    """It prunes in bounded turns, tells what it did, and ends with 0 when it is told to stop."""
    port = free_port()
    async with work(database_url, FIELDSYNC_WORKER_PORT=str(port), FIELDSYNC_UPKEEP_ROWS_MAX="100") as process:
        await until(is_pruned, operator)
        await until(is_ready, port)
        status, metrics = await get(port, "/metrics")
        answers = {path: await get(port, path) for path in ("/health", "/docs")}

        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()

    assert (process.returncode, status) == (0, 200)
    assert f'fieldsync_upkeep_rows_total{{task="answers"}} {ROWS}.0' in metrics
    assert 'fieldsync_upkeep_turns_total{outcome="more",task="answers"} 4.0' in metrics
    assert answers["/health"] == (200, '{"status":"ok"}')
    assert answers["/docs"][0] == 404
    assert b"worker_stopped" in said
    assert all(line.startswith(b"{") for line in said.splitlines())


@pytest.mark.usefixtures("heap")
async def test_two_at_once_take_each_row_once(operator, database_url):
    """Two workers share a heap: what both count is what there was."""
    ports = [free_port(), free_port()]
    settings = [{"FIELDSYNC_WORKER_PORT": str(port), "FIELDSYNC_UPKEEP_ROWS_MAX": "10"} for port in ports]
    async with work(database_url, **settings[0]), work(database_url, **settings[1]):
        await until(is_pruned, operator)
        for port in ports:
            await until(is_ready, port)
        pages = [(await get(port, "/metrics"))[1] for port in ports]

    counted = [
        float(line.split()[1])
        for page in pages
        for line in page.splitlines()
        if line.startswith('fieldsync_upkeep_rows_total{task="answers"}')
    ]
    assert sum(counted) == ROWS


@pytest.mark.usefixtures("heap")
async def test_a_kill_in_the_middle_of_a_turn_leaves_nothing_half_done(world, operator, database_url):
    """Killed with -9 while a turn is under way, nothing of the turn happened; the next worker does it whole."""
    async with operator.transaction():
        # The turn stops at its end, where it would note that it was done.
        await operator.execute(
            "INSERT INTO upkeep SELECT $1, task, now() FROM unnest($2::text[]) AS task",
            world.tenant,
            ["answers", "credentials", "marks", "verdicts", "proofs"],
        )
        async with work(database_url) as process:
            watcher = await asyncpg.connect(database_url, server_settings={"fieldsync.tenants": str(world.tenant)})
            await until(waits_for_a_lock, watcher)
            process.kill()
            await process.wait()
        half = await watcher.fetchval("SELECT count(*) FROM remembered")
        await operator.execute("DELETE FROM upkeep")
    await watcher.close()

    async with work(database_url):
        await until(is_pruned, operator)

    assert half == ROWS + 1


async def test_it_outlives_its_connections(world, operator, database_url):
    """When the database ends all its connections, it says that it is not ready at most for a while, and goes on."""
    port = free_port()
    async with work(database_url, FIELDSYNC_WORKER_PORT=str(port)) as process:
        await until(is_ready, port)
        ended = await operator.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'fieldsync' AND datname = current_database()"
        )
        await operator.execute(
            "INSERT INTO remembered"
            " VALUES ($1, 'old', '', '', now() - interval '31 days'), ($1, 'young', '', '', now())",
            world.tenant,
        )
        await until(is_pruned, operator)
        await until(is_ready, port)

        assert process.returncode is None
    assert ended


async def test_it_waits_for_a_database_that_is_gone(world, operator, database_url):
    """While nobody listens at the database's address the worker lives on and is not ready; then it works again."""
    port, proxy = free_port(), Proxy(database_url)
    address = await proxy.start()
    async with work(address, FIELDSYNC_WORKER_PORT=str(port)) as process:
        await until(is_ready, port)

        await proxy.stop()
        await until(is_not_ready, port)
        alive = await get(port, "/health")
        await operator.execute(
            "INSERT INTO remembered"
            " VALUES ($1, 'old', '', '', now() - interval '31 days'), ($1, 'young', '', '', now())",
            world.tenant,
        )
        await proxy.start(urlsplit(address).port)
        await until(is_pruned, operator)
        await until(is_ready, port)

        assert process.returncode is None
        process.terminate()
        await process.communicate()
    await proxy.stop()
    assert alive == (200, '{"status":"ok"}')


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"FIELDSYNC_SECRET_KEYS": ""}, b"FIELDSYNC_SECRET_KEYS is not set\n"),
        ({"FIELDSYNC_WORKER_PORT": "x"}, b"FIELDSYNC_WORKER_PORT must be a port, 0 to 65535\n"),
        (
            {"FIELDSYNC_ANSWERS_KEPT_DAYS": "0"},
            b"FIELDSYNC_ANSWERS_KEPT_DAYS must be a whole number from 1 to 100000\n",
        ),
        ({}, b"the database lacks tables of this release: run `fieldsync migrate`\n"),
    ],
)
async def test_a_start_that_cannot_be_says_why(bare_url, settings, told):
    """One sentence that names what is wrong, and exit code 1."""
    async with work(bare_url, **settings) as process:
        _, said = await process.communicate()

    assert (process.returncode, said) == (1, told)
