"""Replicas: the installations people carry, and the writers that exist once."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from syncserver.store import audit, people, statements, tokens
from syncserver.store.audit import Actor, Entry
from syncserver.store.errors import EnrolmentRefused, NoSuchPerson, NotATechnician, StoreError
from syncserver.store.people import Grant, Principal, Tenant

if TYPE_CHECKING:
    from syncserver.store.db import Connection, Database

ACCESS_SECONDS: Final = 30 * 24 * 3_600
ROLE: Final = "technician"
"""What every device acts as, whatever becomes of its person: who gets another role gets no further by an old phone."""

REFRESH_SECONDS: Final = 400 * 24 * 3_600
"""A device that was away for longer than a year enrols again."""

HUB: Final = "hub"
OFFICE: Final = "office"
HUB_RID: Final = 1

_FENCED: Final = True
_FENCING: Final[dict[bool, audit.Action]] = {True: "device_revoked", False: "device_readmitted"}

_SQL: Final = statements.of("devices")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A writer that exists once and is known by its handle: the office, an import, a connection."""

    kind: str
    authority: str
    handle: str
    person: str
    label: str


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """A new installation: its replica and its secrets, which are given this once."""

    tenant_id: int
    rid: int
    replica: str
    person: str
    role: str
    token: str
    refresh: str


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A replica as people are shown it. `lag` is how many numbers it has not pulled yet."""

    rid: int
    replica: str
    kind: str
    authority: str
    person: str
    person_name: str | None
    label: str
    platform: str | None
    applied: int
    fenced: bool
    created_at: datetime
    pushed_at: datetime | None
    pulled_at: datetime | None
    lag: int


async def create_tenant(database: Database, name: str, *, by: Actor = audit.OPERATOR) -> Tenant:
    """Make a tenant with its number line and the replicas of hub and office."""
    async with database.transaction() as connection:
        tenant_id: int = await connection.fetchval(_SQL["create_tenant"], name)
        await database.name_tenants(connection, tenant_id)
        await connection.execute(_SQL["create_counters"], tenant_id, HUB_RID)
        hub = Source(kind=HUB, authority=HUB, handle=HUB, person="", label="the hub")
        await _insert(connection, tenant_id, HUB_RID, hub)
        office = Source(kind=OFFICE, authority=OFFICE, handle=OFFICE, person="", label="the office")
        await _find_or_make(connection, tenant_id, office)
        await _note(connection, tenant_id, by, "tenant_created", f"tenant:{tenant_id}")
    return Tenant(tenant_id, name)


async def replica(database: Database, tenant_id: int, source: Source) -> int:
    """Return the rid of the replica with this handle; it is made when first asked for."""
    async with database.transaction(tenant_id) as connection:
        return await _find_or_make(connection, tenant_id, source)


async def create_code(
    database: Database,
    tenant_id: int,
    person: str,
    *,
    reusable: bool = False,
    lifetime_seconds: float | None = None,
    by: Actor = audit.OPERATOR,
) -> str:
    """Return a new enrolment code for a device of this person, who has to be a technician."""
    code = tokens.mint_code(tenant_id)
    async with database.transaction(tenant_id) as connection:
        place = (tokens.digest(code), person, reusable, lifetime_seconds)
        if await connection.fetchval(_SQL["create_code"], tenant_id, *place) is None:
            raise await _no_code(connection, tenant_id, person)
        await _note(connection, tenant_id, by, "code_created", f"person:{person}")
    return code


async def _no_code(connection: Connection, tenant_id: int, person: str) -> StoreError:
    """Return why somebody gets no code for a device."""
    known = await people.person_in(connection, tenant_id, person)
    if known is None or known.removed_at is not None:
        return NoSuchPerson(f"tenant {tenant_id} has no person {person}")
    return NotATechnician(f"{person} is in the role {known.role}; only a technician enrols devices")


async def enrol(database: Database, code: str, *, name: str, platform: str | None) -> Enrolled:
    """Make a replica for the device that shows the code, with new counters."""
    code = tokens.same_code(code)
    tenant_id = tokens.tenant_of(code)
    if tenant_id is None:
        raise EnrolmentRefused("this is no enrolment code")
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["use_code"], tenant_id, tokens.digest(code))
        if row is None:
            raise EnrolmentRefused("the enrolment code is unknown, used up or too old")
        rid: int = await connection.fetchval(_SQL["next_rid"], tenant_id)
        source = Source(kind="device", authority="device", handle="", person=row["person"], label=name)
        replica_id = await _insert(connection, tenant_id, rid, source, platform)
        assert replica_id is not None, "an installation has no handle that could be taken"
        await _note(connection, tenant_id, audit.person(row["person"]), "device_enrolled", f"device:{replica_id}")
        return Enrolled(
            tenant_id=tenant_id,
            rid=rid,
            replica=replica_id,
            person=row["person"],
            role=ROLE,
            token=await people.token_for(connection, tenant_id, access(row["person"], rid)),
            refresh=await people.token_for(connection, tenant_id, _refresh(row["person"], rid)),
        )


async def refresh(database: Database, secret: str, *, rescue: bool = False) -> tuple[Principal, str] | None:
    """Return a new access token for the device that shows its refresh token; None if it is not good.

    A fenced device gets one for the `rescue` of its work alone.

    The refresh token stays the same: an answer that was lost must not lock a device out.
    """
    principal = await people.find_token(database, secret, "refresh")
    if principal is None or principal.rid is None or (principal.fenced and not rescue):
        return None
    async with database.transaction(principal.tenant_id) as connection:
        return principal, await people.token_for(
            connection, principal.tenant_id, access(principal.person, principal.rid)
        )


def access(person: str, rid: int) -> Grant:
    """Return what the access token of a device stands for."""
    return Grant(person=person, role=ROLE, rid=rid, seconds=ACCESS_SECONDS)


def _refresh(person: str, rid: int) -> Grant:
    return Grant(person=person, role=ROLE, rid=rid, seconds=REFRESH_SECONDS, kind="refresh")


async def share(database: Database, tenant_id: int, rid: int, person: str) -> None:
    """Let another person act from a replica."""
    async with database.transaction(tenant_id) as connection:
        await connection.execute(_SQL["share"], tenant_id, rid, person)


async def persons_of(database: Database, tenant_id: int, rid: int) -> frozenset[str]:
    """Return who may act from a replica."""
    async with database.transaction(tenant_id) as connection:
        return frozenset(row["person"] for row in await connection.fetch(_SQL["persons_of"], tenant_id, rid))


async def fence(
    database: Database, tenant_id: int, rid: int, *, fenced: bool = True, by: Actor = audit.OPERATOR
) -> bool:
    """Shut a replica out, or let it in again; False if there is none of this number."""
    async with database.transaction(tenant_id) as connection:
        replica: str | None = await connection.fetchval(_SQL["fence"], tenant_id, rid, fenced)
        if replica is not None:
            await _note(connection, tenant_id, by, _FENCING[fenced], f"device:{replica}")
    return replica is not None


async def revoke(database: Database, tenant_id: int, rid: int, *, by: Actor = audit.OPERATOR) -> bool:
    """Shut a replica out for good: it is fenced and its tokens are void."""
    async with database.transaction(tenant_id) as connection:
        replica: str | None = await connection.fetchval(_SQL["fence"], tenant_id, rid, _FENCED)
        await connection.execute(_SQL["revoke_tokens"], tenant_id, rid)
        if replica is not None:
            await _note(connection, tenant_id, by, "device_revoked", f"device:{replica}")
    return replica is not None


async def listed(database: Database, tenant_id: int) -> list[Device]:
    """Return all replicas of a tenant, with how far behind each of them is."""
    async with database.transaction(tenant_id) as connection:
        found = await connection.fetch(_SQL["listed"], tenant_id)
    return [_device(dict(row)) for row in found]


def _device(row: dict[str, object]) -> Device:
    newest, position = row.pop("newest"), row.pop("position") or 0
    return msgspec.convert({**row, "lag": int(str(newest)) - int(str(position))}, Device)


async def _find_or_make(connection: Connection, tenant_id: int, source: Source) -> int:
    known: int | None = await connection.fetchval(_SQL["find_replica"], tenant_id, source.handle)
    if known is not None:
        return known
    rid: int = await connection.fetchval(_SQL["next_rid"], tenant_id)
    if await _insert(connection, tenant_id, rid, source) is not None:
        return rid
    made: int = await connection.fetchval(_SQL["find_replica"], tenant_id, source.handle)
    return made


async def _insert(
    connection: Connection, tenant_id: int, rid: int, source: Source, platform: str | None = None
) -> str | None:
    place = (source.kind, source.authority, source.handle or None, source.person, source.label, platform)
    made: str | None = await connection.fetchval(_SQL["create_replica"], tenant_id, rid, *place)
    return made


async def _note(connection: Connection, tenant_id: int, by: Actor, action: audit.Action, what: str) -> None:
    await audit.record(connection, Entry(tenant_id=tenant_id, by=by, action=action, object=what))
