"""A mapping tried on real records: what it would make of them, with nothing recorded and nothing sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from syncserver.commands.errors import BadConnection
from syncserver.commands.upstream.told import told
from upstream import connections, contexts, making, mapping_file, plan, store
from upstream.contexts import Catalogues, Reading

if TYPE_CHECKING:
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.db import Database
    from upstream.jsonnet import Pool
    from upstream.mapping import MappingSet, ObjectMapping

RECORDS_MAX: Final = 1_000

_SQL: Final = store.statements("planning")


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What would be made of a record. `applies`: the mapping wants it as it is."""

    object: str
    key: str
    collection: str
    record_id: str
    applies: bool
    fields: dict[str, Any]
    problems: tuple[str, ...]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be tried: the mapping that holds, or the text of another one; which records, how many at most."""

    tenant_id: int
    connection: str
    text: str | None = None
    collection: str = ""
    records: int = 20


async def run(database: Database, systems: Systems, jsonnet: Pool, wanted: Wanted) -> list[Tried]:
    """Return what would be made of the newest records, object by object."""
    with told():
        connection = await connections.get(database, wanted.tenant_id, wanted.connection)
        _, mappings = await systems.mapping(connection)
        if wanted.text is not None:
            mappings = mapping_file.parse(wanted.text)
        elif connection.mapping_version is None:
            raise BadConnection("mapping: none holds yet; publish one, or give the file of one to try")
    _check(mappings, wanted.collection)
    found: list[Tried] = []
    lates = {name for each in mappings.out for name in each.late}
    async with database.transaction(wanted.tenant_id, snapshot=True) as session:
        head = await session.fetchrow(_SQL["head"], wanted.tenant_id)
        assert head is not None, "a tenant has counters"
        catalog = await Catalogues().get(session, wanted.tenant_id, head["catalog_version"])
        reading = Reading(session, connection, mappings, catalog, head["seq"])
        for each in mappings.out:
            if each.object in lates or wanted.collection not in ("", each.collection):
                continue
            rows = await session.fetch(
                _SQL["newest"], wanted.tenant_id, each.collection, min(wanted.records, RECORDS_MAX)
            )
            for row in rows:
                fields = {"id": row["record_id"], **store.from_json(row["fields"])}
                key = plan.key_of(each, contexts.light(each, fields, connection)) or ""
                context = {**await reading.context(each, fields), "key": key}
                found.append(await _tried(each, context, key, jsonnet))
    return found


def _check(mappings: MappingSet, collection: str) -> None:
    """Raise `BadConnection` if the mapping makes nothing of what is asked for, which no record would change."""
    known = sorted({each.collection for each in mappings.out})
    if not known or collection not in ("", *known):
        asked = f"nothing of {collection[:40]!r}" if collection else "nothing"
        raise BadConnection(f"collection: the mapping makes {asked} of ours ({', '.join(known) or 'it has no out'})")


async def _tried(each: ObjectMapping, context: dict[str, Any], key: str, jsonnet: Pool) -> Tried:
    applies = bool(key) and making.holds(each.when, context)
    made = await asyncio.to_thread(making.make, each.rows, context, jsonnet.evaluate)
    return Tried(
        object=each.object,
        key=key,
        collection=each.collection,
        record_id=context["record"]["id"],
        applies=applies,
        fields=made.fields,
        problems=tuple(f"{problem.target}: {problem.message}" for problem in made.problems),
    )
