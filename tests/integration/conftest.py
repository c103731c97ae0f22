"""A migrated database for each test: copied from a template that is made once a session."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from syncserver.store import db, migrate
from tests.integration.service import Service, serving
from tests.integration.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NUMBERS = count(1)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """Give the address of a server on which databases may be made."""
    return os.environ["FIELDSYNC_TEST_POSTGRES"]


def named(url: str, database: str) -> str:
    """Return the address of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def run(url: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def template(postgres_url: str) -> AsyncIterator[str]:
    """Give the name of a database with all migrations applied, which nobody is connected to."""
    name = f"fieldsync_template_{os.getpid()}"
    await run(postgres_url, f"CREATE DATABASE {name}")
    await migrate.migrate(named(postgres_url, name))
    yield name
    await run(postgres_url, f"DROP DATABASE {name}")


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """Give the address of a fresh migrated database."""
    name = f"fieldsync_test_{os.getpid()}_{next(NUMBERS)}"
    await run(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield named(postgres_url, name)
    await run(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def bare_url(postgres_url: str) -> AsyncIterator[str]:
    """Give the address of an empty database."""
    name = f"fieldsync_bare_{os.getpid()}_{next(NUMBERS)}"
    await run(postgres_url, f"CREATE DATABASE {name}")
    yield named(postgres_url, name)
    await run(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[db.Database]:
    """Give the pools on a fresh database."""
    opened = await db.connect(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def world(database_url: str, database: db.Database) -> AsyncIterator[World]:
    """Give a tenant with people, devices and running committers."""
    made = await World.make(database_url, database)
    yield made
    await made.stop()


@pytest.fixture(scope="session")
async def served(postgres_url: str, template: str) -> AsyncIterator[tuple[str, db.Database]]:
    """Give the address of a service that runs for the whole session, and its database."""
    name = f"fieldsync_served_{os.getpid()}"
    await run(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    address = named(postgres_url, name)
    opened = await db.connect(address)
    async with serving(address) as url:
        yield url, opened
    await opened.close()
    await run(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def service(served: tuple[str, db.Database]) -> AsyncIterator[Service]:
    """Give the running service with a tenant of its own."""
    made = Service(*served)
    await made.add_tenant()
    yield made
    await made.close()
