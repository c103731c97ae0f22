"""A migrated database for each test: copied from a template that is made once a session."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from replication import catalog_file
from syncserver.store import db, migrate
from tests.integration.service import Service, serving
from tests.integration.signing import browser, issuer
from tests.integration.world import World
from tests.services import create_database, drop_database, postgres_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["browser", "issuer", "postgres_url"]  # fixtures for all tests of this folder


@pytest.fixture(scope="session", autouse=True)
def parsed_once() -> Iterator[None]:
    """Let each catalogue be parsed once: nearly every test publishes the same, and it is most of making a tenant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog_file, "parse", lru_cache(maxsize=64)(catalog_file.parse))
        yield


@pytest.fixture(scope="session")
async def template(postgres_url: str) -> AsyncIterator[str]:
    """Give the name of a database with all migrations applied, which nobody is connected to."""
    url = await create_database(postgres_url)
    await migrate.migrate(url)
    yield urlsplit(url).path.lstrip("/")
    await drop_database(url, server_url=postgres_url)


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """Give the address of a fresh migrated database."""
    url = await create_database(postgres_url, template=template)
    yield url
    await drop_database(url, server_url=postgres_url)


@pytest.fixture
async def bare_url(postgres_url: str) -> AsyncIterator[str]:
    """Give the address of an empty database."""
    url = await create_database(postgres_url)
    yield url
    await drop_database(url, server_url=postgres_url)


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
    address = await create_database(postgres_url, template=template)
    opened = await db.connect(address)
    async with serving(address) as url:
        yield url, opened
    await opened.close()
    await drop_database(address, server_url=postgres_url)


@pytest.fixture
async def service(served: tuple[str, db.Database]) -> AsyncIterator[Service]:
    """Give the running service with a tenant of its own."""
    made = Service(*served)
    await made.add_tenant()
    yield made
    await made.close()
