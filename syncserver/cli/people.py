"""`fieldsync tenant`, `person`, `token` and `device`: who may use the service, from the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import cyclopts
from uuid_utils.compat import uuid7

from syncserver import settings
from syncserver.cli import aligned, outcome
from syncserver.cli import catalog as catalog_command
from syncserver.commands import catalog as catalogs
from syncserver.store import db, devices, handed, people
from syncserver.store.catalogs import Catalogs

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED: Final = 1
CODE_HOURS: Final = 72.0
HOURS_MAX: Final = 8_760
"""A year: a code is for somebody who is about to enrol."""
DAYS_MAX: Final = 36_500
NAME_CHARACTERS_MAX: Final = 200

TOKEN_ID: Final = re.compile(r"[0-9a-fA-F]{6,64}")


def _token_id(_kind: object, value: str) -> None:
    """Refuse anything else than an id, so that a token which is given by mistake is not looked for."""
    if TOKEN_ID.fullmatch(value) is None:
        raise ValueError("an id has 6 to 64 of the letters 0-9 and a-f, as `fieldsync token list` prints it")


def _name(_kind: object, value: str) -> None:
    """Refuse what could not be shown in a list, or not be told from nothing."""
    if not value.strip() or len(value) > NAME_CHARACTERS_MAX or not value.isprintable():
        raise ValueError(f"a name has 1 to {NAME_CHARACTERS_MAX} printable characters")


def _above_zero(most: int) -> Callable[[Any, float | None], None]:
    """Return what refuses a time that is not ahead, or too far; and what is no number, which is neither."""

    def check(_type: Any, value: float | None) -> None:
        if value is not None and not 0 < value <= most:
            raise ValueError(f"must be above 0 and at most {most}")

    return check


Role = Literal["technician", "dispatcher", "integrator", "admin", "readonly", "worker"]
TokenId = Annotated[str, cyclopts.Parameter(validator=_token_id)]
Name = Annotated[str, cyclopts.Parameter(validator=_name)]
Days = Annotated[float, cyclopts.Parameter(validator=_above_zero(DAYS_MAX))]
Hours = Annotated[float, cyclopts.Parameter(validator=_above_zero(HOURS_MAX))]

tenant_app = cyclopts.App(name="tenant", help="Tenants: the businesses this service works for.")
person_app = cyclopts.App(name="person", help="The people of a tenant.")
token_app = cyclopts.App(name="token", help="Tokens of people and programs.")
device_app = cyclopts.App(name="device", help="Devices of technicians.")


@tenant_app.command(name="create")
def create_tenant(name: Name, *, catalog: Path | None = None) -> int:
    """Make a tenant and print its number and name. Without a catalogue it gets the one for field service."""
    read = catalog_command.read(catalog)
    return FAILED if read is None else outcome.tell(_create_tenant(name, read.text))


@tenant_app.command(name="list")
def list_tenants() -> int:
    """Print the number and name of each tenant."""
    return outcome.tell(outcome.asked(_list_tenants))


@person_app.command(name="list")
def list_persons(*, tenant: int = 1) -> int:
    """Print the people of a tenant by name, with their ids; those who were removed stay listed.

    Parameters
    ----------
    tenant
        Number of the tenant.
    """
    return outcome.tell(outcome.asked(lambda database: _list_persons(database, tenant), tenant))


@person_app.command(name="remove")
def remove_person(person: str, *, tenant: int = 1) -> int:
    """End all that stands for a person: tokens, sessions and codes are void, their devices are shut out.

    What the person did stays, under their name. A device that is shut out keeps what it has not sent.
    A new token for the same person lets them in again; their devices stay shut out.

    Parameters
    ----------
    person
        The person's id, as `fieldsync person list` prints it.
    tenant
        Number of the tenant.
    """
    return outcome.tell(outcome.asked(lambda database: _remove_person(database, tenant, person), tenant))


@token_app.command(name="list")
def list_tokens(*, tenant: int = 1) -> int:
    """Print the tokens of a tenant, with ids that open nothing; those that ended lately stay listed.

    Parameters
    ----------
    tenant
        Number of the tenant.
    """
    return outcome.tell(outcome.asked(lambda database: _list_tokens(database, tenant), tenant))


@token_app.command(name="revoke")
def revoke_token(token_id: TokenId, *, tenant: int = 1) -> int:
    """End a token. Servers that looked it up a moment ago take it for at most ten seconds more.

    Parameters
    ----------
    token_id
        The token's id, as `fieldsync token list` prints it; its beginning is enough. Not the token.
    tenant
        Number of the tenant.
    """
    return outcome.tell(outcome.asked(lambda database: _revoke_token(database, tenant, token_id), tenant))


@token_app.command(name="create")
def create_token(
    name: Name,
    *,
    role: Role,
    tenant: int = 1,
    person: UUID | None = None,
    days: Days | None = None,
    change: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Make a person known, if they are not, and print a token for them and their id.

    The token is shown this once. The id is what `fieldsync device code` asks for.

    Parameters
    ----------
    name
        What the person or program is called.
    role
        What the token allows.
    tenant
        Number of the tenant.
    person
        The person's id, for a technician that of their record; a new one if it is not given.
    days
        How long the token is good for; without it, until it is revoked.
    change
        Give a person who is known another name or role. Tokens that they have keep their role until they are revoked.
    """
    known = people.Person(str(person or uuid7()), name, role)
    return outcome.tell(_create_token(tenant, known, days, may_change=change))


@device_app.command(name="code")
def create_code(person: UUID, *, tenant: int = 1, reusable: bool = False, hours: Hours = CODE_HOURS) -> int:
    """Print a code with which a device of this person, a technician, can be enrolled.

    Parameters
    ----------
    person
        The person's id, as `fieldsync token create` prints it.
    tenant
        Number of the tenant.
    reusable
        Good for any number of devices.
    hours
        How long the code is good for.
    """
    return outcome.tell(_create_code(tenant, str(person), reusable=reusable, seconds=hours * 3_600))


async def _create_tenant(name: str, catalog: str) -> str:
    database = await db.connect(settings.database_url())
    try:
        made = await devices.create_tenant(database, name)
        await catalogs.publish(database, Catalogs(), made.tenant_id, catalog)
    finally:
        await database.close()
    return f"{made.tenant_id}  {made.name}"


async def _create_token(tenant_id: int, person: people.Person, days: float | None, *, may_change: bool) -> str:
    database = await db.connect(settings.database_url())
    try:
        await people.put_person(database, tenant_id, person, may_change=may_change)
        seconds = None if days is None else days * 86_400
        grant = people.Grant(person=person.person, seconds=seconds)
        token = await people.create_token(database, tenant_id, grant)
    finally:
        await database.close()
    return f"token   {token}\nperson  {person.person}"


async def _create_code(tenant_id: int, person: str, *, reusable: bool, seconds: float) -> str:
    database = await db.connect(settings.database_url())
    try:
        return await devices.create_code(database, tenant_id, person, reusable=reusable, lifetime_seconds=seconds)
    finally:
        await database.close()


async def _list_tenants(database: db.Database) -> str:
    known = await people.tenants(database)
    return aligned.table(("tenant", "name"), ((tenant.tenant_id, tenant.name) for tenant in known))


async def _list_persons(database: db.Database, tenant_id: int) -> str:
    known = await people.persons(database, tenant_id)
    rows = ((person.person, person.role, person.removed_at, person.name) for person in known)
    return aligned.table(("person", "role", "removed", "name"), rows)


async def _remove_person(database: db.Database, tenant_id: int, person: str) -> str:
    shut = await people.remove_person(database, tenant_id, person)
    return "\n".join([f"person  {person} is removed", *(f"device  {replica} is shut out" for replica in shut)])


async def _list_tokens(database: db.Database, tenant_id: int) -> str:
    names = ("id", "kind", "role", "device", "created", "expires", "revoked", "person", "name")
    rows = (
        (
            each.id,
            each.kind,
            each.role,
            each.rid,
            each.created_at,
            each.expires_at,
            each.revoked_at,
            each.person,
            each.name,
        )
        for each in await handed.listed(database, tenant_id)
    )
    return aligned.table(names, rows)


async def _revoke_token(database: db.Database, tenant_id: int, token_id: str) -> str:
    return f"token   {await handed.revoke(database, tenant_id, token_id)} is revoked"
