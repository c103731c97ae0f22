"""The schema: made by numbered files, each once, and the same as the tables that are declared."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from syncserver.store import migrate, tables
from syncserver.store.errors import MigrationChanged, MigrationUnknown
from syncserver.store.migrate import Migration

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECT = postgresql.dialect()


def described(table: Table) -> dict[str, Any]:
    """Return what of a table both its declaration and the database know."""
    return {
        "columns": [
            (column.name, column.type.compile(DIALECT), column.nullable, column.server_default is not None)
            for column in table.columns
        ],
        "primary key": [column.name for column in table.primary_key],
        "others": sorted(constraints(table)),
        "indexes": sorted((index.name, *(column.name for column in index.columns)) for index in table.indexes),
        "partial": sorted(
            index.name for index in table.indexes if index.dialect_kwargs.get("postgresql_where") is not None
        ),
    }


def constraints(table: Table) -> Iterator[tuple[str, ...]]:
    """Yield foreign keys, and unique and check constraints by what they say."""
    for constraint in table.constraints:
        kind = type(constraint).__name__
        if kind == "ForeignKeyConstraint":
            yield kind, *constraint.column_keys, *(element.target_fullname for element in constraint.elements)
        elif kind == "UniqueConstraint":
            yield kind, *(column.name for column in constraint.columns)


async def reflected(url: str) -> MetaData:
    """Return the tables as the database has them."""
    found = MetaData()
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url))
    async with engine.connect() as connection:
        await connection.run_sync(found.reflect)
    await engine.dispose()
    return found


async def test_tables_that_are_declared_are_those_that_the_migrations_make(database_url):
    """A query is composed from the same columns, keys and indexes that the database has."""
    there = await reflected(database_url)

    assert sorted(there.tables) == sorted(tables.METADATA.tables)
    for name, table in tables.METADATA.tables.items():
        assert described(there.tables[name].to_metadata(MetaData())) == described(table), name


async def test_tenant_comes_first_in_every_key(database_url):
    """Every key of a tenant's table begins with the tenant, so that tenants can be moved apart."""
    connection = await asyncpg.connect(database_url)
    found = await connection.fetch(
        "SELECT c.relname, i.relname AS key, a.attname FROM pg_index AS x"
        " JOIN pg_class AS c ON c.oid = x.indrelid JOIN pg_class AS i ON i.oid = x.indexrelid"
        " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]"
        " WHERE c.relnamespace = 'public'::regnamespace"
    )
    await connection.close()

    first = {row["key"]: row["attname"] for row in found if row["relname"] not in ("epochs", "migrations")}

    assert len(first) > 20
    assert set(first.values()) == {"tenant_id"}


async def test_every_table_of_a_tenant_is_behind_the_wall(database_url):
    """Row-level security is forced on all tables but the two that know of no tenant."""
    connection = await asyncpg.connect(database_url)
    found = await connection.fetch(
        "SELECT relname, relrowsecurity AND relforcerowsecurity AS walled FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    await connection.close()

    assert {row["relname"] for row in found if not row["walled"]} == {"epochs", "migrations"}
    assert len(found) == len(tables.METADATA.tables)


async def test_a_second_run_applies_nothing(database_url):
    """Migrations are applied once."""
    assert await migrate.migrate(database_url) == []


async def test_two_at_once_apply_each_file_once(bare_url):
    """Servers that start together do not migrate twice."""
    applied = await asyncio.gather(*(migrate.migrate(bare_url) for _ in range(4)))

    assert sorted(map(len, applied)) == [0, 0, 0, len(migrate.known())]


async def test_a_file_that_was_changed_afterwards_is_refused(database_url):
    """What was applied never changes its meaning."""
    changed = [Migration(each.name, each.phase, each.script + "-- later thought\n") for each in migrate.known()]

    with pytest.raises(MigrationChanged):
        await migrate.migrate(database_url, migrations=changed)


async def test_a_database_of_a_newer_release_is_refused(database_url):
    """An old server does not touch what it does not know."""
    with pytest.raises(MigrationUnknown):
        await migrate.migrate(database_url, migrations=[])


async def test_a_file_that_fails_leaves_nothing_behind(database_url):
    """A migration is applied whole or not at all, and those before it stay."""
    good = Migration("9001_before_good.sql", "before", "CREATE TABLE good (a integer);")
    bad = Migration("9002_before_bad.sql", "before", "CREATE TABLE half (a integer); SELECT 1 / 0;")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.migrate(database_url, migrations=[*migrate.known(), good, bad])

    there = await reflected(database_url)
    assert "good" in there.tables
    assert "half" not in there.tables


async def test_what_must_come_after_waits_for_its_phase(database_url):
    """A migration that the previous release would not survive is not applied before it is gone."""
    after = Migration("9001_after_old.sql", "after", "CREATE TABLE late (a integer);")
    known = [*migrate.known(), after]

    assert await migrate.migrate(database_url, phases=["before"], migrations=known) == []
    assert await migrate.migrate(database_url, migrations=known) == [after.name]
