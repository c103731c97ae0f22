"""The few questions to a PostgreSQL before the service begins: which one is it, is our database there.

Each function is synchronous and works inside and outside of an event loop: it asks from a thread of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg

from syncserver.services import errors

NAME: Final = "fieldsync"
"""The database, and the role that owns it."""

CONNECT_SECONDS: Final = 10.0
SERVER_VERSION_MIN: Final = 150_000

Failure = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""All that says: this server is not there, or does not let us in. The last of them is what the client
says when the server ends between its greeting and our first question."""

T = TypeVar("T")


def _wait_for(asking: Coroutine[Any, Any, T]) -> T:
    with ThreadPoolExecutor(max_workers=1) as own_thread:
        return own_thread.submit(asyncio.run, asking).result()


def serves(url: str, data: Path) -> bool:
    """Whether a server answers there, takes our password and works on this data folder."""
    try:
        return Path(_wait_for(_ask(url, "SHOW data_directory"))).samefile(data)
    except Failure:
        return False


def version(url: str) -> str:
    """The version of the user's own server, which must be new enough for the schema."""
    number = int(_wait_for(_ask(url, "SHOW server_version_num")))
    if number < SERVER_VERSION_MIN:
        message = f"PostgreSQL {number // 10_000} is too old, the schema needs {SERVER_VERSION_MIN // 10_000} or newer"
        raise errors.PostgresTooOld(message)
    return f"{number // 10_000}.{number % 10_000}"


async def _ask(url: str, question: str) -> str:
    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    try:
        answer: str = await connection.fetchval(question, timeout=CONNECT_SECONDS)
    finally:
        await connection.close(timeout=CONNECT_SECONDS)
    return answer


def ensure(admin_url: str, password: str) -> None:
    """See to it that there is a database `fieldsync`, owned by a role `fieldsync` that is no superuser.

    Row-level security does not bind a superuser; a service that ran as one would never feel it.
    """
    _wait_for(_ensure(admin_url, password))


async def _ensure(admin_url: str, password: str) -> None:
    connection = await asyncpg.connect(admin_url, timeout=CONNECT_SECONDS)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", NAME):
            assert password.isalnum(), "it stands in a statement that takes no parameters"
            await connection.execute(f"CREATE ROLE {NAME} LOGIN CREATEDB PASSWORD '{password}'")
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", NAME):
            await connection.execute(f"CREATE DATABASE {NAME} OWNER {NAME}")
    finally:
        await connection.close(timeout=CONNECT_SECONDS)
