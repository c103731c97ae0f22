"""The services of docker-compose.yml without an engine: its commands and settings, on the tests' own databases."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from tests import compose, tied
from tests.integration.test_worker import free_port, until
from tests.services import redis_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["redis_url"]  # a fixture

SECRETS = dict.fromkeys(("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "FIELDSYNC_SECRET_KEYS"), "0123456789abcdef" * 4)
PORTS = ("FIELDSYNC_PORT", "FIELDSYNC_WORKER_PORT")


def moved(url: str, there: str) -> str:
    """Return where the tests have what the URL of the file leads to, once both are seen to be of one kind."""
    assert urlsplit(url).scheme == urlsplit(there).scheme
    return there


@pytest.fixture
def environments(bare_url, redis_url):
    """Give each service its environment from the file; only places are other ones, as the tests have them."""
    found = {}
    for name in compose.OURS:
        given = compose.services(SECRETS)[name]["environment"]
        given["FIELDSYNC_DATABASE_URL"] = moved(given["FIELDSYNC_DATABASE_URL"], bare_url)
        given["FIELDSYNC_REDIS_URL"] = moved(given["FIELDSYNC_REDIS_URL"], redis_url)
        given |= {port: str(free_port()) for port in PORTS if port in given}
        found[name] = {"PATH": os.environ["PATH"], **given}
    return found


@asynccontextmanager
async def running(name: str, environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command of a service as the image would, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *tied.command("syncserver", *compose.services(SECRETS)[name]["command"]),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=compose.CHECKOUT,
        env=environment,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def health(name: str, environment: dict[str, str]) -> list[str]:
    """Return the check of a service, asking at the port where the tests have it."""
    command = compose.services(SECRETS)[name]["healthcheck"]["test"][1:]
    file_port = next(port for port in ("8080", "8081") if port in command[-1])
    port = next(environment[variable] for variable in PORTS if variable in environment)
    return [sys.executable, *command[1:-1], command[-1].replace(file_port, port)]


async def is_healthy(name: str, environment: dict[str, str]) -> bool:
    """Tell what the check of a service would tell the engine."""
    check = await asyncio.create_subprocess_exec(*health(name, environment), stderr=asyncio.subprocess.DEVNULL)
    return await check.wait() == 0


async def test_a_service_comes_up_as_the_file_says(environments):
    """Migrated once, server and worker become healthy by their own checks, work together, and stop in order."""
    async with running("migrate", environments["migrate"]) as migrate:
        said, _ = await migrate.communicate()
        assert (migrate.returncode, said.splitlines()[-1].endswith(b"migrations applied")) == (0, True)

    assert not await is_healthy("server", environments["server"])
    async with (
        running("server", environments["server"]) as server,
        running("worker", environments["worker"]) as worker,
    ):
        for name in ("server", "worker"):
            await until(is_healthy, name, environments[name])
        places = {"server": "FIELDSYNC_PORT", "worker": "FIELDSYNC_WORKER_PORT"}
        async with httpx.AsyncClient() as client:
            answers = {
                name: await client.get(f"http://127.0.0.1:{environments[name][port]}/ready")
                for name, port in places.items()
            }
        for process in (server, worker):
            process.send_signal(signal.SIGTERM)
        ends = [await process.communicate() for process in (server, worker)]

    assert {name: (answer.status_code, answer.json()) for name, answer in answers.items()} == dict.fromkeys(
        places, (200, {"status": "ready"})
    )
    assert worker.returncode == 0
    assert server.returncode in (0, -signal.SIGTERM)
    assert all(json.loads(line) for _, errors in ends for line in errors.splitlines())


@pytest.mark.parametrize("name", ["server", "worker"])
async def test_without_the_migration_a_service_says_what_to_do(environments, name):
    """A start before the tables are there ends with a sentence, and the engine tries again."""
    async with running(name, environments[name]) as process:
        _, said = await process.communicate()

    assert process.returncode == 1
    assert b"run `fieldsync migrate`" in said
