"""`fieldsync tenant`, `token` and `device`: who may use the service, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal
from uuid import UUID

import cyclopts
from cyclopts import validators
from uuid_utils.compat import uuid7

from syncserver import settings
from syncserver.cli import catalog as catalog_command
from syncserver.cli import outcome
from syncserver.commands import catalog as catalogs
from syncserver.store import db, devices, people
from syncserver.store.catalogs import Catalogs

FAILED: Final = 1
CODE_HOURS: Final = 72.0

Role = Literal["technician", "dispatcher", "integrator", "admin", "readonly", "worker"]
Positive = Annotated[float, cyclopts.Parameter(validator=validators.Number(gt=0))]

tenant_app = cyclopts.App(name="tenant", help="Tenants: the businesses this service works for.")
token_app = cyclopts.App(name="token", help="Tokens of people and programs.")
device_app = cyclopts.App(name="device", help="Devices of technicians.")


@tenant_app.command(name="create")
def create_tenant(name: str, *, catalog: Path | None = None) -> int:
    """Make a tenant and print its number and name. Without a catalogue it gets the one for field service."""
    read = catalog_command.read(catalog)
    return FAILED if read is None else outcome.tell(_create_tenant(name, read.text))


@token_app.command(name="create")
def create_token(
    name: str, *, role: Role, tenant: int = 1, person: UUID | None = None, days: Positive | None = None
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
    """
    known = people.Person(str(person or uuid7()), name, role)
    return outcome.tell(_create_token(tenant, known, days))


@device_app.command(name="code")
def create_code(person: UUID, *, tenant: int = 1, reusable: bool = False, hours: Positive = CODE_HOURS) -> int:
    """Print a code with which a device of this person can be enrolled.

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


async def _create_token(tenant_id: int, person: people.Person, days: float | None) -> str:
    database = await db.connect(settings.database_url())
    try:
        await people.put_person(database, tenant_id, person)
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
