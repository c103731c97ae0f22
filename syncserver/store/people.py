"""Tenants, and the people of a tenant: who is known, in which role, and who has left."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from syncserver.store import audit, statements, tokens
from syncserver.store.audit import Actor, Entry
from syncserver.store.errors import NoSuchPerson, NoSuchTenant, PersonDiffers

if TYPE_CHECKING:
    from syncserver.store.db import Connection, Database

_SQL: Final = statements.of("people")

Kind = Literal["access", "refresh", "session"]

OPENS: Final[dict[Kind, tuple[Kind, ...]]] = {
    "access": ("access", "session"),
    "refresh": ("refresh",),
    "session": ("session",),
}
"""Which kinds of token are good where one kind is asked for: whoever has signed in may call the API."""


class Tenant(msgspec.Struct, frozen=True):
    """A tenant: one business, with a number line of its own."""

    tenant_id: int
    name: str


class Person(msgspec.Struct, frozen=True):
    """Somebody who acts. The id is that of their technician record, if they are one."""

    person: str
    name: str
    role: str
    removed_at: datetime | None = None


class Principal(msgspec.Struct, frozen=True):
    """Who showed a token, and from which replica, if it was given to one."""

    tenant_id: int
    person: str
    role: str
    rid: int | None = None
    fenced: bool = False
    expires_at: datetime | None = None
    kind: str = "access"


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a new token stands for. Without a role it is the person's, without an end it has none."""

    person: str
    kind: Kind = "access"
    role: str | None = None
    rid: int | None = None
    seconds: float | None = None


async def require_tenant(database: Database, tenant_id: int) -> None:
    """Raise `NoSuchTenant` with what to look at if there is no tenant of this number."""
    if tenant_id not in {tenant.tenant_id for tenant in await tenants(database)}:
        raise NoSuchTenant(f"there is no tenant {tenant_id}; `fieldsync tenant list` prints those there are")


async def tenants(database: Database) -> list[Tenant]:
    """Return all tenants."""
    async with database.transaction() as connection:
        return [Tenant(row["tenant_id"], row["name"]) for row in await connection.fetch(_SQL["tenants"])]


async def put_person(
    database: Database, tenant_id: int, person: Person, *, may_change: bool = True, by: Actor = audit.OPERATOR
) -> None:
    """Make a person known, or change name and role. Somebody who had left is back.

    Raises `PersonDiffers` where that would be a change and none may be.
    """
    async with database.transaction(tenant_id) as connection:
        put = (person.person, person.name, person.role, may_change)
        if await connection.fetchval(_SQL["put_person"], tenant_id, *put) is None:
            known = await person_in(connection, tenant_id, person.person)
            assert known is not None, "only somebody who is known can differ"
            raise PersonDiffers(
                f"{person.person} is {known.name!r} in the role {known.role}; add --change to make them "
                f"{person.name!r} in the role {person.role}"
            )
        await _note(connection, tenant_id, by, "person_put", f"person:{person.person}")


async def greet(connection: Connection, tenant_id: int, person: Person) -> bool:
    """Note name and role of somebody who signed in; False if they were removed, and stay so."""
    known = await connection.fetchval(_SQL["greet"], tenant_id, person.person, person.name, person.role)
    return known is not None


async def person(database: Database, tenant_id: int, person_id: str) -> Person | None:
    """Return a person of a tenant, also one that has left."""
    async with database.transaction(tenant_id) as connection:
        return await person_in(connection, tenant_id, person_id)


async def person_in(connection: Connection, tenant_id: int, person_id: str) -> Person | None:
    """Return a person of a tenant, also one that has left, as the caller's transaction sees them."""
    row = await connection.fetchrow(_SQL["person"], tenant_id, person_id)
    return None if row is None else Person(row["person"], row["name"], row["role"], row["removed_at"])


async def persons(database: Database, tenant_id: int) -> list[Person]:
    """Return all people of a tenant, by name, those who left among them."""
    async with database.transaction(tenant_id) as connection:
        found = await connection.fetch(_SQL["persons"], tenant_id)
    return [Person(row["person"], row["name"], row["role"], row["removed_at"]) for row in found]


async def remove_person(
    database: Database, tenant_id: int, person_id: str, *, by: Actor = audit.OPERATOR
) -> tuple[str, ...]:
    """Let nothing stand for a person any more, and return the devices that were shut out by that.

    Tokens, sessions and codes are void at once. A device is told that it was revoked and keeps what it
    has not sent. Raises `NoSuchPerson`, also for somebody who was removed before.
    """
    async with database.transaction(tenant_id) as connection:
        if await connection.fetchval(_SQL["remove_person"], tenant_id, person_id) is None:
            raise NoSuchPerson(f"tenant {tenant_id} has no person {person_id}")
        await connection.execute(_SQL["void_tokens"], tenant_id, person_id)
        await connection.execute(_SQL["void_codes"], tenant_id, person_id)
        shut = [row["replica"] for row in await connection.fetch(_SQL["shut_out"], tenant_id, person_id)]
        await _note(connection, tenant_id, by, "person_removed", f"person:{person_id}")
        for replica in shut:
            await _note(connection, tenant_id, by, "device_revoked", f"device:{replica}")
    return tuple(shut)


async def create_token(database: Database, tenant_id: int, grant: Grant, *, by: Actor = audit.OPERATOR) -> str:
    """Return a new token."""
    async with database.transaction(tenant_id) as connection:
        token = await token_for(connection, tenant_id, grant)
        await _note(connection, tenant_id, by, "token_created", f"token:{tokens.shown(tokens.digest(token))}")
    return token


async def token_for(connection: Connection, tenant_id: int, grant: Grant) -> str:
    """Return a new token, made in the caller's transaction."""
    token = tokens.mint(tenant_id)
    place = (grant.kind, grant.person, grant.role, grant.rid, grant.seconds)
    role = await connection.fetchval(_SQL["create_token"], tenant_id, tokens.digest(token), *place)
    if role is None:
        raise NoSuchPerson(f"tenant {tenant_id} has no person {grant.person}")
    return token


async def find_token(database: Database, token: str, kind: Kind = "access") -> Principal | None:
    """Return who the token stands for; None if it is unknown, revoked or too old."""
    tenant_id = tokens.tenant_of(token)
    if tenant_id is None:
        return None
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["find_token"], tenant_id, tokens.digest(token), OPENS[kind])
    if row is None:
        return None
    place = (row["person"], row["role"], row["rid"], row["fenced"], row["expires_at"], row["kind"])
    return Principal(tenant_id, *place)


async def _note(connection: Connection, tenant_id: int, by: Actor, action: audit.Action, what: str) -> None:
    await audit.record(connection, Entry(tenant_id=tenant_id, by=by, action=action, object=what))
