"""Tenants, their people, and the tokens by which people and devices are known again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from syncserver.store import statements, tokens
from syncserver.store.errors import NoSuchPerson

if TYPE_CHECKING:
    from syncserver.store.db import Connection, Database

_SQL: Final = statements.of("people")


class Tenant(msgspec.Struct, frozen=True):
    """A tenant: one business, with a number line of its own."""

    tenant_id: int
    name: str


class Person(msgspec.Struct, frozen=True):
    """Somebody who acts. The id is that of their technician record, if they are one."""

    person: str
    name: str
    role: str


class Principal(msgspec.Struct, frozen=True):
    """Who showed a token, and from which replica, if it was given to one."""

    tenant_id: int
    person: str
    role: str
    rid: int | None = None
    fenced: bool = False
    expires_at: datetime | None = None


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a new token stands for. Without a role it is the person's, without an end it has none."""

    person: str
    kind: Literal["access", "refresh"] = "access"
    role: str | None = None
    rid: int | None = None
    seconds: float | None = None


async def tenants(database: Database) -> list[Tenant]:
    """Return all tenants."""
    async with database.transaction() as connection:
        return [Tenant(row["tenant_id"], row["name"]) for row in await connection.fetch(_SQL["tenants"])]


async def put_person(database: Database, tenant_id: int, person: Person) -> None:
    """Make a person known, or change name and role."""
    async with database.transaction(tenant_id) as connection:
        await connection.execute(_SQL["put_person"], tenant_id, person.person, person.name, person.role)


async def persons(database: Database, tenant_id: int) -> list[Person]:
    """Return all people of a tenant, by name."""
    async with database.transaction(tenant_id) as connection:
        found = await connection.fetch(_SQL["persons"], tenant_id)
    return [Person(row["person"], row["name"], row["role"]) for row in found]


async def create_token(database: Database, tenant_id: int, grant: Grant) -> str:
    """Return a new token."""
    async with database.transaction(tenant_id) as connection:
        return await token_for(connection, tenant_id, grant)


async def token_for(connection: Connection, tenant_id: int, grant: Grant) -> str:
    """Return a new token, made in the caller's transaction."""
    token = tokens.mint(tenant_id)
    place = (grant.kind, grant.person, grant.role, grant.rid, grant.seconds)
    role = await connection.fetchval(_SQL["create_token"], tenant_id, tokens.digest(token), *place)
    if role is None:
        raise NoSuchPerson(f"tenant {tenant_id} has no person {grant.person}")
    return token


async def find_token(database: Database, token: str, kind: Literal["access", "refresh"] = "access") -> Principal | None:
    """Return who the token stands for; None if it is unknown, revoked or too old."""
    tenant_id = tokens.tenant_of(token)
    if tenant_id is None:
        return None
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["find_token"], tenant_id, tokens.digest(token), kind)
    if row is None:
        return None
    return Principal(tenant_id, row["person"], row["role"], row["rid"], row["fenced"], row["expires_at"])
