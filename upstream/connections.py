"""Connections: a tenant's tie to one system, and what that system wants to be told of.

A connection is a replica of the tenant: what the system itself changes is written in its name, and is
judged by the same rules as what a device or the office writes. What it wants to be told of (its
`interests`) follows from its published mapping, and is what the committers look at.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from upstream import store
from upstream.errors import UnknownConnection

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

    from upstream.store import Database, Session

Mode: TypeAlias = Literal["shadow", "live"]
State: TypeAlias = Literal["ok", "paused", "reauthorise", "broken"]

NO_RECORD: Final = "00000000-0000-0000-0000-000000000000"
"""Before all ids there are: where a walk through records begins."""
FILL_ROWS: Final = 2_000
"""Of so many records at once, or of so many changes, it is noted by which values they are looked up."""
_SQL: Final = store.statements("connections")
_TURNING_LOCK: Final = 1718839601
"""First half of the advisory locks of connections that go live or get another mapping."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A connection as it stands.

    `manifest` is the name of a shipped system, or "openapi" with `manifest_text`. At most
    `in_flight_max` deliveries are under way at once, of them `backfill_share` percent (at least one)
    for a backfill. In `shadow` everything is done but the request.
    """

    tenant_id: int
    connection: str
    system: str
    name: str
    rid: int
    manifest: str
    manifest_text: str | None = None
    base_url: str | None = None
    config: dict[str, str] = {}
    mapping_version: int | None = None
    mode: Mode = "shadow"
    state: State = "ok"
    state_reason: str = ""
    in_flight_max: int = 8
    backfill_share: int = 10
    backfill_paused: bool = False
    created_at: datetime | None = None


class New(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection is made of. `authority` is the class in which the system's own edits are judged."""

    system: str
    name: str
    manifest: str
    authority: str
    manifest_text: str | None = None
    base_url: str | None = None
    config: dict[str, str] = {}
    mode: Mode = "shadow"


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """When a connection last showed life. `oldest_at` is since when the longest waiting record waits."""

    connection: str
    confirmed_at: datetime | None = None
    read_at: datetime | None = None
    received_at: datetime | None = None
    oldest_at: datetime | None = None
    waiting: int = 0
    backfill: int = 0


async def make(database: Database, tenant_id: int, connection_id: str, new: New) -> Connection:
    """Make a connection with a replica of its own. `connection_id` is a UUID of the caller's making."""
    async with database.transaction(tenant_id) as session:
        return await add(session, tenant_id, connection_id, new)


async def add(session: Session, tenant_id: int, connection_id: str, new: New) -> Connection:
    """Make a connection in the caller's transaction."""
    rid: int = await session.fetchval(_SQL["next_rid"], tenant_id)
    handle = f"connection:{connection_id}"
    await session.execute(_SQL["make_replica"], tenant_id, rid, new.authority, handle, new.name)
    place = (new.manifest, new.manifest_text, new.base_url, store.as_json(new.config), new.mode)
    await session.execute(_SQL["make"], tenant_id, connection_id, new.system, new.name, rid, *place)
    return await held(session, tenant_id, connection_id)


async def held(session: Session, tenant_id: int, connection_id: str) -> Connection:
    """Return a connection and keep others from changing it until the caller's transaction ends."""
    return of_row(await session.fetchrow(_SQL["held"], tenant_id, connection_id), connection_id)


async def stands(session: Session, connection: Connection) -> bool:
    """Tell whether a connection is as it was read, and keep its mode and mapping so until the transaction ends.

    False: it went live or got another mapping meanwhile, so what was made for it is not what it should be told.
    """
    await session.execute(_SQL["hold_still"], _TURNING_LOCK, connection.connection)
    now = await read(session, connection.tenant_id, connection.connection)
    return now is not None and (now.mode, now.mapping_version) == (connection.mode, connection.mapping_version)


async def turn(session: Session, connection_id: str) -> None:
    """Wait for what is being planned for a connection, and keep others from planning until the transaction ends."""
    await session.execute(_SQL["turn"], _TURNING_LOCK, connection_id)


async def put(session: Session, connection: Connection) -> None:
    """Store what of a connection people may change, in the caller's transaction."""
    await session.execute(
        _SQL["put"],
        connection.tenant_id,
        connection.connection,
        connection.name,
        connection.base_url,
        store.as_json(connection.config),
        connection.in_flight_max,
        connection.backfill_share,
        connection.backfill_paused,
        connection.state,
        connection.state_reason,
        connection.mode,
    )


async def remove(session: Session, tenant_id: int, connection_id: str) -> None:
    """Forget a connection, in the caller's transaction. What it was told stays, as the history of the records.

    What was not told is not told any more; that which may stand there without anybody knowing stays `unknown`.
    """
    await session.execute(_SQL["end_deliveries"], tenant_id, connection_id)
    await session.execute(_SQL["drop_outbox"], tenant_id, connection_id)
    await session.execute(_SQL["drop_remotes"], tenant_id, connection_id)
    await session.execute(_SQL["remove"], tenant_id, connection_id)


async def pulses(database: Database, tenant_id: int) -> dict[str, Pulse]:
    """Return when each connection of a tenant last showed life, and what waits for it."""
    async with database.transaction(tenant_id) as session:
        return {
            row["connection"]: msgspec.convert(dict(row), Pulse)
            for row in await session.fetch(_SQL["pulses"], tenant_id)
        }


async def get(database: Database, tenant_id: int, connection_id: str) -> Connection:
    """Return a connection, or raise `UnknownConnection`."""
    async with database.transaction(tenant_id) as session:
        return of_row(await session.fetchrow(_SQL["get"], tenant_id, connection_id), connection_id)


async def read(session: Session, tenant_id: int, connection_id: str) -> Connection | None:
    """Return a connection in the caller's transaction; None if there is none of this id."""
    row = await session.fetchrow(_SQL["get"], tenant_id, connection_id)
    return None if row is None else of_row(row, connection_id)


async def listed(database: Database, tenant_id: int) -> list[Connection]:
    """Return all connections of a tenant, by name."""
    async with database.transaction(tenant_id) as session:
        return [of_row(row) for row in await session.fetch(_SQL["listed"], tenant_id)]


async def set_state(database: Database, tenant_id: int, connection_id: str, state: State, reason: str = "") -> None:
    """Let a connection rest, or go on. While it is not `ok` nothing is sent and no attempt is used up."""
    await _change(database, tenant_id, connection_id, "set_state", state, reason)


async def set_mode(database: Database, tenant_id: int, connection_id: str, mode: Mode) -> None:
    """Go live, or back to recording only."""
    await _change(database, tenant_id, connection_id, "set_mode", mode)


async def set_place(
    database: Database, tenant_id: int, connection_id: str, base_url: str | None, config: Mapping[str, str]
) -> None:
    """Say anew where the system is, and what the manifest's settings are."""
    await _change(database, tenant_id, connection_id, "set_place", base_url, store.as_json(dict(config)))


async def set_pace(
    database: Database,
    tenant_id: int,
    connection_id: str,
    *,
    in_flight_max: int,
    backfill_share: int,
    backfill_paused: bool,
) -> None:
    """Say how much may be under way at once, how much of that a backfill may take, and whether it rests."""
    await _change(database, tenant_id, connection_id, "set_pace", in_flight_max, backfill_share, backfill_paused)


async def publish(
    database: Database,
    tenant_id: int,
    connection_id: str,
    *,
    mapping_version: int,
    interests: Mapping[str, tuple[str, ...]],
) -> None:
    """Let a version of the mapping hold, and be told of these collections from now on.

    `interests` has for each collection the fields by which its records are looked up. No change slips
    through: groups that began under the former interests have committed when the new ones are written,
    so a backfill that begins after this returns finds all that was settled before. Records of before
    are not told by this; `outbox.backfill` tells them.
    """
    filled = await fill_lookups(database, tenant_id, interests)
    async with database.transaction(tenant_id) as session:
        await put_in_force(
            session, tenant_id, connection_id, mapping_version=mapping_version, interests=interests, filled=filled
        )


async def put_in_force(
    session: Session,
    tenant_id: int,
    connection_id: str,
    *,
    mapping_version: int,
    interests: Mapping[str, tuple[str, ...]],
    filled: int,
) -> None:
    """Do what `publish` does in a transaction of the caller's, who has `filled` the lookups up to a change.

    What changed since becomes findable here, while nothing else can change: so no plan by this version finds a part.
    """
    await session.execute(_SQL["wait_for_groups"], store.COMMITTERS_LOCK, tenant_id)
    await turn(session, connection_id)
    await _fill_changed(session, tenant_id, interests, filled)
    rid = await session.fetchval(_SQL["set_mapping"], tenant_id, connection_id, mapping_version)
    if rid is None:
        raise UnknownConnection(f"tenant {tenant_id} has no connection {connection_id}")
    await session.execute(_SQL["drop_interests"], tenant_id, connection_id)
    told = [(collection, ",".join(fields)) for collection, fields in interests.items()]
    await session.execute(_SQL["add_interests"], tenant_id, connection_id, rid, *store.columns(told, 2))


async def fill_lookups(database: Database, tenant_id: int, interests: Mapping[str, tuple[str, ...]]) -> int:
    """Make what is there findable by the fields that interests name; return up to which change it is.

    This may take long, so it goes before the interests hold, some records at a time, and keeps nobody waiting. What it
    has done when it dies are hints that nobody follows yet; begun again it does nothing twice.
    """
    async with database.transaction(tenant_id) as session:
        filled: int = await session.fetchval(_SQL["settled"], tenant_id)
    for collection, fields in interests.items():
        last = NO_RECORD if fields else None
        while last is not None:
            async with database.transaction(tenant_id) as session:
                last = await session.fetchval(_SQL["fill_lookups"], tenant_id, collection, fields, last, FILL_ROWS)
    async with database.transaction(tenant_id) as session:
        return await _fill_changed(session, tenant_id, interests, filled)


async def _fill_changed(session: Session, tenant_id: int, interests: Mapping[str, tuple[str, ...]], filled: int) -> int:
    """Make what changed after `filled` findable too; return up to which change it is now."""
    pairs = store.columns(((collection, field) for collection, fields in interests.items() for field in fields), 2)
    while (last := await session.fetchval(_SQL["fill_changed"], tenant_id, *pairs, filled, FILL_ROWS)) is not None:
        filled = last
    return filled


async def interests(database: Database, tenant_id: int, connection_id: str) -> tuple[str, ...]:
    """Return of which collections a connection is told."""
    async with database.transaction(tenant_id) as session:
        return tuple(row["collection"] for row in await session.fetch(_SQL["interests"], tenant_id, connection_id))


async def all_interests(database: Database, tenant_id: int) -> frozenset[str]:
    """Return of which collections any connection of a tenant is told."""
    async with database.transaction(tenant_id) as session:
        return frozenset(row["collection"] for row in await session.fetch(_SQL["all_interests"], tenant_id))


async def _change(database: Database, tenant_id: int, connection_id: str, statement: str, *values: Any) -> None:
    async with database.transaction(tenant_id) as session:
        if await session.fetchval(_SQL[statement], tenant_id, connection_id, *values) is None:
            raise UnknownConnection(f"tenant {tenant_id} has no connection {connection_id}")


def of_row(row: asyncpg.Record | None, connection_id: str = "") -> Connection:
    """Return the connection that a row has, which may have more columns; without one raise `UnknownConnection`."""
    if row is None:
        raise UnknownConnection(f"there is no connection {connection_id}")
    return msgspec.convert({**dict(row), "config": store.from_json(row["config"])}, Connection)
