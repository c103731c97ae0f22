"""The second wall: a transaction that names one tenant sees and writes nothing of another."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from syncserver.store import db, devices, migrate, people, tables
from syncserver.store.errors import WallMissing
from syncserver.store.people import Grant
from tests.integration.world import ANA, DORA, World, job, seen
from tests.services import create_database, drop_database, postgres_server
from upstream import connections, discovery, mapping_file, mappings
from upstream.connections import New
from upstream.credentials import Keeper
from upstream.schema import Field, made_of
from upstream.trial import Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

MAPPING = "[[out]]\nobject = 'bill'\ncollection = 'work_orders'\nrows = [{ target = 'text', source = 'record.title' }]"
WALLED = sorted(set(tables.METADATA.tables) - {"tenants", "epochs", "migrations"})


@pytest.fixture(scope="module")
def admin_url() -> Iterator[str]:
    """Give the address of a server as its superuser."""
    with postgres_server() as server:
        yield server.admin_url or server.url


@asynccontextmanager
async def fresh(server_url: str) -> AsyncIterator[str]:
    """Give the address of an empty database of whoever the address names."""
    url = await create_database(server_url)
    try:
        yield url
    finally:
        await drop_database(url, server_url=server_url)


@asynccontextmanager
async def inhabited(url: str) -> AsyncIterator[tuple[World, int]]:
    """Give two tenants with rows in every table that is behind the wall."""
    await migrate.migrate(url)
    database = await db.connect(url)
    world = await World.make(url, database)
    other, office = await world.add_tenant("Southwind Heating")
    for tenant, rid in ((world.tenant, world.office_rid), (other, office)):
        await fill(world, tenant, rid)
    try:
        yield world, other
    finally:
        await world.stop()
        await database.close()


async def fill(world: World, tenant: int, office_rid: int) -> None:
    """Leave at least one row in every table."""
    made = seen("work_orders", job(1), op="create", set={"title": "Boiler", "assignee_id": ANA})
    task = seen("tasks", job(2), op="create", set={"work_order_id": job(1)})
    await world.submit(world.office(made, task, rid=office_rid, idempotency="once"), tenant)
    phone = await world.phone(ANA, tenant)
    await world.submit(phone.push(phone.edit(job(1), set={"title": "mine"}, base=0)), tenant)
    await people.create_token(world.database, tenant, Grant(person=DORA))
    await devices.share(world.database, tenant, phone.rid, DORA)
    async with world.database.transaction(tenant) as connection:
        await connection.execute("INSERT INTO positions VALUES ($1, $2, 1, now())", tenant, phone.rid)
        await connection.execute(
            "INSERT INTO signins VALUES ($1, 'https://issuer.example', 'c', '\\x00', '{}')", tenant
        )
        await connection.execute("INSERT INTO proofs VALUES ($1, '\\x80')", tenant)
        await connection.execute("INSERT INTO seen_verdicts VALUES ($1, $2, 1)", tenant, phone.rid)
        await connection.execute("INSERT INTO upkeep VALUES ($1, 'marks', now())", tenant)
        noted = "INSERT INTO interventions (tenant_id, delivery_id, n, person, action) VALUES ($1, $2, 1, 'p', 'skip')"
        await connection.execute(noted, tenant, uuid.uuid4())
    new = New(system="house", name="House", manifest="house", authority="erp")
    made_at = await connections.make(world.database, tenant, str(uuid.uuid4()), new)
    await Keeper(world.database, (b"k" * 40,)).put(tenant, made_at.connection, {"key": "abcd"})
    await mappings.save(world.database, tenant, made_at.connection, MAPPING, by="p")
    text = made_of("bill", "describe", [Field(path="text")])
    await discovery.keep(world.database, tenant, made_at.connection, text, mapping_file.parse(MAPPING))
    async with world.database.transaction(tenant) as connection:
        sample = Sample(way="out", object="bill", key="1", collection="work_orders", context={})
        await mappings.take_sample(connection, tenant, made_at.connection, sample)
    await fill_inbox(world, tenant, made_at.connection)
    await fill_outbox(world, tenant, made_at.connection)
    await devices.fence(world.database, tenant, phone.rid)
    rescue = msgspec.structs.replace(phone.push(phone.edit(job(1), set={"title": "late"})), rescue=True)
    await world.submit(rescue, tenant)


async def fill_outbox(world: World, tenant: int, connection_id: str) -> None:
    """Leave a row in every table of what goes to vendors."""
    one = str(uuid.uuid4())
    rows: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("interests (tenant_id, connection, collection, rid) VALUES ($1, $2, 'sites', $3)", (99,)),
        ("lookups (tenant_id, record_id, collection, field, value) VALUES ($1, $2, 'sites', 'name', 'x')", ()),
        (
            (
                "outbox (tenant_id, connection, collection, record_id, seq, from_seq, cause_rid)"
                " VALUES ($1, $2, 'sites', $3, 1, 1, 1)"
            ),
            (one,),
        ),
        (
            (
                "deliveries (tenant_id, connection, delivery_id, object, key, collection, record_id, cause_seq,"
                " seen_seq, action, state, mode, idempotency_key, marker, fields, mapping_version, marked_at)"
                " VALUES ($1, $2, $3, 'o', 'k', 'sites', $3, 1, 1, 'upsert', 'confirmed', 'live', $3, 'm', '{}', 1,"
                " now())"
            ),
            (one,),
        ),
        (
            (
                "attempts (tenant_id, delivery_id, n, operation, request, status, reply, outcome, took_ms)"
                " VALUES ($1, $2, 1, 'create', '', 200, '', 'ok', 1)"
            ),
            (),
        ),
        ("remotes (tenant_id, connection, object, key) VALUES ($1, $2, 'o', 'k')", ()),
        ("closures (tenant_id, connection, object, period) VALUES ($1, $2, 'o', '2026-01-05')", ()),
        (
            (
                "canaries (tenant_id, connection, object, remote_id, writes, every_seconds)"
                " VALUES ($1, $2, 'o', 'r', true, 60)"
            ),
            (),
        ),
    )
    async with world.database.transaction(tenant) as connection:
        for row, more in rows:
            await connection.execute(f"INSERT INTO {row}", tenant, connection_id, *more)


async def fill_inbox(world: World, tenant: int, connection_id: str) -> None:
    """Leave a row in every table of what comes from vendors, and of what leaves by webhook and as an alert."""
    one = str(uuid.uuid4())
    connected = (tenant, connection_id)
    rows: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("hook_secrets (tenant_id, connection, secret_id, secret, state) VALUES ($1, $2, $3, '', 'active')", (one,)),
        (
            (
                "inbox (tenant_id, connection, inbox_id, event, source, object, remote_id, remote_version, is_whole,"
                " body) VALUES ($1, $2, $3, 'e', 'hook', 'o', 'r', '1', false, '{}')"
            ),
            (one,),
        ),
        (
            (
                "sightings (tenant_id, connection, object, remote_id, collection, record_id)"
                " VALUES ($1, $2, 'o', 'r', 'customers', $3)"
            ),
            (one,),
        ),
        ("polls (tenant_id, connection, object) VALUES ($1, $2, 'o')", ()),
        (
            (
                "documents (tenant_id, connection, version, digest, content, bytes, put_by)"
                " VALUES ($1, $2, 1, 'd', '', 0, 'p')"
            ),
            (),
        ),
        (
            (
                "alerts (tenant_id, alert_id, rule, subject, severity, message)"
                " VALUES ($1, $2, 'lag', 's', 'warning', 'm')"
            ),
            (),
        ),
        ("message_positions (tenant_id, changes_seq, conflict_seq) VALUES ($1, length($2), 0)", ()),
        ("endpoints (tenant_id, endpoint_id, url, types, secret) VALUES ($1, $2, 'https://a', '{*}', '')", ()),
        ("messages (tenant_id, message_id, type, body) VALUES ($1, $2, 'ping', '{}')", ()),
        ("postings (tenant_id, endpoint_id, message_id) VALUES ($1, $2, $2)", ()),
        (
            (
                "message_attempts (tenant_id, endpoint_id, message_id, n, status, reply, took_ms)"
                " VALUES ($1, $2, $2, 1, 200, '', 1)"
            ),
            (),
        ),
    )
    async with world.database.transaction(tenant) as connection:
        for row, more in rows:
            await connection.execute(f"INSERT INTO {row}", *connected, *more)


async def check_the_wall(world: World, other: int) -> None:
    """Look for a row of the other tenant, and try to change and to add one, in every table."""
    async with world.database.transaction(world.tenant, other) as connection:
        there = {
            name: await connection.fetchval(f"SELECT count(*) FROM {name} WHERE tenant_id = $1", other)
            for name in WALLED
        }
    assert all(there.values()), there
    for name in WALLED:
        async with world.database.transaction(world.tenant) as connection:
            assert await connection.fetchval(f"SELECT count(*) FROM {name} WHERE tenant_id = $1", world.tenant), name
            assert not await connection.fetchval(f"SELECT count(*) FROM {name} WHERE tenant_id = $1", other), name
        for statement in (
            f"DELETE FROM {name} WHERE tenant_id = $1",
            f"UPDATE {name} SET tenant_id = -1 WHERE tenant_id = $1",
        ):
            assert await untouched(world, name, statement, other), statement
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with world.database.transaction(world.tenant) as connection:
                await connection.execute(f"UPDATE {name} SET tenant_id = $1 WHERE tenant_id = $2", other, world.tenant)
        async with world.database.transaction() as connection:
            assert not await connection.fetchval(f"SELECT count(*) FROM {name}"), name


async def untouched(world: World, name: str, statement: str, other: int) -> bool:
    """Tell whether a statement touches nothing of the other tenant. Rows of the audit log nobody may touch at all."""
    try:
        async with world.database.transaction(world.tenant) as connection:
            return (await connection.execute(statement, other)).endswith(" 0") and name != "audit"
    except asyncpg.InsufficientPrivilegeError:
        return name == "audit"


async def test_a_superuser_steps_down_to_a_role_that_the_wall_binds(admin_url):
    """Whoever installs as superuser is protected all the same."""
    async with fresh(admin_url) as url, inhabited(url) as (world, other):
        await check_the_wall(world, other)

        async with world.database.transaction() as connection:
            assert await connection.fetchval("SELECT current_user") == "fieldsync_app"


async def test_the_wall_binds_the_owner_of_the_tables(admin_url):
    """An ordinary user who owns the tables, and may make no roles, is bound by them."""
    connection = await asyncpg.connect(admin_url)
    await connection.execute("DROP ROLE IF EXISTS plain_owner")
    await connection.execute("CREATE ROLE plain_owner LOGIN CREATEDB PASSWORD 'plain'")
    await connection.close()
    there = urlsplit(admin_url)
    plain_url = there._replace(netloc=f"plain_owner:plain@{there.netloc.rpartition('@')[2]}").geturl()

    async with fresh(plain_url) as url, inhabited(url) as (world, other):
        await check_the_wall(world, other)

        async with world.database.transaction() as connection:
            assert await connection.fetchval("SELECT current_user") == "plain_owner"


async def test_a_user_whom_no_wall_binds_is_refused(admin_url):
    """A server that would see all tenants in every statement does not start."""
    connection = await asyncpg.connect(admin_url)
    await connection.execute("DROP ROLE IF EXISTS too_mighty")
    await connection.execute("CREATE ROLE too_mighty LOGIN BYPASSRLS PASSWORD 'mighty'")
    await connection.close()
    there = urlsplit(admin_url)
    mighty_url = there._replace(netloc=f"too_mighty:mighty@{there.netloc.rpartition('@')[2]}").geturl()

    with pytest.raises(WallMissing):
        await db.connect(mighty_url)


async def test_a_token_opens_its_own_tenant_only(world):
    """A token whose tenant was changed by hand leads nowhere."""
    other, _ = await world.add_tenant("Southwind Heating")
    token = await people.create_token(world.database, world.tenant, Grant(person=DORA))
    forged = f"{other}.{token.partition('.')[2]}"

    found = await people.find_token(world.database, token)

    assert (found.tenant_id, found.person, found.role) == (world.tenant, DORA, "dispatcher")
    assert await people.find_token(world.database, forged) is None
    assert await people.find_token(world.database, "no token") is None


async def test_the_directory_is_whole_for_whoever_names_nobody_and_for_nobody_else(admin_url: str) -> None:
    """A tenant's transaction sees and changes its own row; a new tenant is made where none is named."""
    async with fresh(admin_url) as url, inhabited(url) as (world, other):
        names = "SELECT tenant_id FROM tenants ORDER BY tenant_id"
        async with world.database.transaction() as connection:
            listed = [row["tenant_id"] for row in await connection.fetch(names)]
        async with world.database.transaction(world.tenant) as connection:
            own = [row["tenant_id"] for row in await connection.fetch(names)]
            changed = await connection.execute("UPDATE tenants SET name = 'x' WHERE tenant_id = $1", other)
            removed = await connection.execute("DELETE FROM tenants WHERE tenant_id = $1", other)
        async with world.database.transaction() as connection:
            unnamed = await connection.execute("UPDATE tenants SET name = 'x'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with world.database.transaction(world.tenant) as connection:
                await connection.execute("INSERT INTO tenants (name) VALUES ('Ours too')")

    assert {world.tenant, other} <= set(listed)
    assert own == [world.tenant]
    assert (changed, removed, unnamed) == ("UPDATE 0", "DELETE 0", "UPDATE 0")


async def test_the_epoch_is_nobody_s_to_write(admin_url: str) -> None:
    """It is of no tenant and so behind no wall; the server's role can read it and nothing else."""
    async with fresh(admin_url) as url, inhabited(url) as (world, _):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with world.database.transaction(world.tenant) as connection:
                await connection.execute("UPDATE epochs SET epoch = epoch + 1")
