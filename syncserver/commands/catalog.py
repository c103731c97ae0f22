"""The catalogue of a tenant: which one holds, and a new one put in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from replication import catalog_file
from syncserver.commands.errors import NoCatalogue, ScopeChanged
from syncserver.store import audit, group, statements
from syncserver.store.audit import Actor, Entry

if TYPE_CHECKING:
    from replication.catalog import Catalog, Collection
    from syncserver.store.catalogs import Catalogs
    from syncserver.store.db import Connection, Database

_SQL: Final = statements.of("catalogs")


async def current(database: Database, catalogs: Catalogs, tenant_id: int) -> Catalog:
    """Return the catalogue that holds now."""
    async with database.transaction(tenant_id) as connection:
        found = await connection.fetchrow(_SQL["current"], tenant_id, catalogs.held(tenant_id))
    if found is None or found["hash"] is None:
        raise NoCatalogue(f"tenant {tenant_id} has no catalogue")
    return catalogs.take(tenant_id, found["version"], found["content"])


async def publish(
    database: Database, catalogs: Catalogs, tenant_id: int, content: str, *, by: Actor = audit.OPERATOR
) -> Catalog:
    """Put a catalogue in force, if it says something else than the one that holds.

    Raises `BadCatalog` with all that is wrong with the text, `ScopeChanged` if it changes who holds
    what. The tenant's lock is taken as a group takes it: each commit is judged by one catalogue, and
    the change falls between two of them.
    """
    wanted = catalog_file.parse(content)
    async with database.transaction(tenant_id) as connection:
        await group.lock(connection, [tenant_id])
        found = await connection.fetchrow(_SQL["current"], tenant_id, [])
        if found is None:
            raise NoCatalogue(f"there is no tenant {tenant_id}")
        if found["hash"] == wanted.hash:
            return catalogs.take(tenant_id, found["version"], found["content"])
        if found["content"] is not None:
            _keep_scope(catalog_file.parse(found["content"]), wanted)
        version = await _add(connection, tenant_id, wanted.hash, content)
        published = Entry(tenant_id=tenant_id, by=by, action="catalog_published", object=f"catalog:{version}")
        await audit.record(connection, published)
        return catalogs.take(tenant_id, version, content)


def _keep_scope(held: Catalog, wanted: Catalog) -> None:
    """Refuse a catalogue by which records that are there would be held by others than now.

    Who holds a record is kept up as records change, and a new rule would need all of it counted anew.
    """
    for name, before in held.collections.items():
        after = wanted.collections.get(name)
        if after is None:
            raise ScopeChanged(f"collections.{name}: a collection cannot be taken away; leave it and stop using it")
        for field in before.fields.keys() & after.fields.keys():
            if before.cell_of(field) != after.cell_of(field):
                raise ScopeChanged(
                    f"collections.{name}.groups: {field} has values and cannot go into a group or out of it"
                )
        _keep_references(name, before, after, dict(wanted.carried(name)))
        kept = (before.scope, before.assignee_field, before.crew_field, held.parents(name))
        if kept != (after.scope, after.assignee_field, after.crew_field, wanted.parents(name)):
            raise ScopeChanged(f"collections.{name}.scope: who holds its records cannot be changed afterwards")
        if not set(held.carried(name)) <= set(wanted.carried(name)):
            raise ScopeChanged(f"collections.{name}: a reference that brings records along cannot be taken away")


def _keep_references(name: str, before: Collection, after: Collection, carried: dict[str, str]) -> None:
    """Refuse a field that is there already and would bring other records along from now on, or other ones."""
    for field in before.fields.keys() & carried.keys():
        old, new = before.fields[field], after.fields[field]
        if (old.kind, old.to) != (new.kind, new.to):
            raise ScopeChanged(f"collections.{name}.fields.{field}: what it names cannot come into scope afterwards")


async def _add(connection: Connection, tenant_id: int, digest: str, content: str) -> int:
    version: int = await connection.fetchval(_SQL["add"], tenant_id, digest, content)
    await connection.execute(_SQL["choose"], tenant_id, version)
    return version
