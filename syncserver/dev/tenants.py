"""The tenants of a development server: made once, and their tokens kept to be shown again.

The database keeps only digests, so what is handed out is kept in the state folder as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from syncserver.commands import catalog as catalog_command
from syncserver.commands.bulk import Hub
from syncserver.commands.commit import Committers
from syncserver.dev import folder, seed
from syncserver.dev.people import Company, companies
from syncserver.importer.load import Writer
from syncserver.store import db, devices, migrate, people
from syncserver.store.catalogs import Catalogs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from replication.catalog import Catalog
    from syncserver.dev.people import Person
    from syncserver.store.db import Database

Handed = list[dict[str, Any]]

SEED_SOURCE: Final = "import:maintenance"
OFFICE: Final = devices.Source(kind="office", authority="office", handle=devices.OFFICE, person="", label="the office")
IMPORT: Final = devices.Source(
    kind="import", authority="office", handle=SEED_SOURCE, person="", label="maintenance work orders"
)


async def prepare(
    database_url: str, kept: Path, catalog: str, *, work: bool, progress: Callable[[int], None]
) -> Handed:
    """Bring the database up to date and return the tenants with their tokens, as `--ready-file` has them.

    The same people get the same tokens again. `work` also brings the first tenant its work orders,
    those that it does not have yet.
    """
    await migrate.migrate(database_url)
    database = await db.connect(database_url)
    catalogs = Catalogs()
    try:
        handed: Handed = folder.read_json(kept) or []
        for company in companies()[len(handed) :]:
            handed.append(await _tenant(database, company))
            folder.write(kept, json.dumps(handed, indent=2))
        for company, tenant in zip(companies(), handed, strict=True):
            held = await catalog_command.publish(database, catalogs, tenant["id"], catalog)
            await _fill(database, company, tenant, held, work=work, progress=progress)
            work = False
    finally:
        await database.close()
    return handed


async def _tenant(database: Database, company: Company) -> dict[str, Any]:
    tenant_id = (await devices.create_tenant(database, company.name)).tenant_id
    return {
        "id": tenant_id,
        "name": company.name,
        "office_token": await _token(database, tenant_id, company.dispatcher),
        "admin_token": await _token(database, tenant_id, company.admin),
        "technicians": [
            {
                "id": person.id,
                "name": person.name,
                "token": await _token(database, tenant_id, person),
                "enrolment_code": await devices.create_code(database, tenant_id, person.id, reusable=True),
            }
            for person in company.technicians
        ],
    }


async def _token(database: Database, tenant_id: int, person: Person) -> str:
    known = people.Person(person.id, person.name, person.role)
    await people.put_person(database, tenant_id, known)
    return await people.create_token(database, tenant_id, people.Grant(person=person.id))


async def _fill(
    database: Database,
    company: Company,
    tenant: dict[str, Any],
    catalog: Catalog,
    *,
    work: bool,
    progress: Callable[[int], None],
) -> None:
    """Write the records, unless they are there; a second start writes nothing."""
    tenant_id = tenant["id"]
    committers = Committers(database)
    await committers.start()
    try:
        hub = Hub(database, committers, tenant_id)
        office = Writer(await devices.replica(database, tenant_id, OFFICE), company.dispatcher.id)
        if await hub.known("technicians", [company.technicians[-1].id]) == set():
            await seed.people(company, hub, office)
        if work:
            importer = Writer(await devices.replica(database, tenant_id, IMPORT), company.admin.id)
            await seed.jobs(company, catalog, hub, office, importer, progress=progress)
    finally:
        await committers.stop()
