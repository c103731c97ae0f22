"""`fieldsync tenant`, `token` and `device`: who may use the service, from the command line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, Literal

import asyncpg
import cyclopts
from uuid_utils.compat import uuid7

from replication.catalog_file import BadCatalog
from syncserver import settings
from syncserver.catalogs import source
from syncserver.commands import catalog as catalogs
from syncserver.commands.errors import CommandError
from syncserver.store import db, devices, people
from syncserver.store.catalogs import Catalogs
from syncserver.store.errors import StoreError

DONE, FAILED = 0, 1
CODE_HOURS: Final = 72.0

Role = Literal["technician", "dispatcher", "integrator", "admin", "readonly", "worker"]

tenant_app = cyclopts.App(name="tenant", help="Tenants: the businesses this service works for.")
token_app = cyclopts.App(name="token", help="Tokens of people and programs.")
device_app = cyclopts.App(name="device", help="Devices of technicians.")


@tenant_app.command(name="create")
def create_tenant(name: str, *, catalog: Path | None = None) -> int:
    """Make a tenant and print its number. Without a catalogue it gets the one for field service."""
    return _run(_create_tenant(name, catalog))


@token_app.command(name="create")
def create_token(
    name: str, *, role: Role, tenant: int = 1, person: str | None = None, days: float | None = None
) -> int:
    """Make a person known, if they are not, and print a token for them. It is shown this once.

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
    known = people.Person(person or str(uuid7()), name, role)
    return _run(_create_token(tenant, known, days))


@device_app.command(name="code")
def create_code(person: str, *, tenant: int = 1, reusable: bool = False, hours: float = CODE_HOURS) -> int:
    """Print a code with which a device of this person can be enrolled.

    Parameters
    ----------
    person
        The person's id.
    tenant
        Number of the tenant.
    reusable
        Good for any number of devices.
    hours
        How long the code is good for.
    """
    return _run(_create_code(tenant, person, reusable=reusable, seconds=hours * 3_600))


async def _create_tenant(name: str, catalog: Path | None) -> str:
    text = source.text(catalog)
    database = await db.connect(settings.database_url())
    try:
        made = await devices.create_tenant(database, name)
        await catalogs.publish(database, Catalogs(), made.tenant_id, text)
    finally:
        await database.close()
    return str(made.tenant_id)


async def _create_token(tenant_id: int, person: people.Person, days: float | None) -> str:
    database = await db.connect(settings.database_url())
    try:
        await people.put_person(database, tenant_id, person)
        seconds = None if days is None else days * 86_400
        return await people.create_token(database, tenant_id, people.Grant(person=person.person, seconds=seconds))
    finally:
        await database.close()


async def _create_code(tenant_id: int, person: str, *, reusable: bool, seconds: float) -> str:
    database = await db.connect(settings.database_url())
    try:
        return await devices.create_code(database, tenant_id, person, reusable=reusable, lifetime_seconds=seconds)
    finally:
        await database.close()


def _run(work: Coroutine[Any, Any, str]) -> int:
    try:
        made = asyncio.run(work)
    except (settings.SettingsInvalid, StoreError, CommandError, BadCatalog, OSError, asyncpg.InterfaceError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    except asyncpg.ForeignKeyViolationError:
        sys.stderr.write("there is no such tenant, or no such person in it\n")
        return FAILED
    sys.stdout.write(f"{made}\n")
    return DONE
