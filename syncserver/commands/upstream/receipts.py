"""The receipt of a record: received, applied, told to which system when, or waiting, and why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from syncserver.commands.upstream.told import told
from upstream import connections, receipts
from upstream.receipts import Arrival

if TYPE_CHECKING:
    from syncserver.commands.access import Principal
    from syncserver.commands.office import Office
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.db import Database

PARTS_MAX: Final = 200
TECHNICIAN: Final = "technician"

_FIELDS: Final = msgspec.json.Decoder(dict[str, Any])


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a record. `applied` is the rev that holds; `received_at` when its last change came here.

    `is_settled`: nothing of it waits, and nothing needs a person. `parts` are the records that belong to it
    and are told to a system themselves; more of them than are shown are said to be by `more`.
    """

    collection: str
    id: str
    applied: int
    alive: bool
    received_at: datetime | None
    systems: tuple[Arrival, ...]
    parts: tuple[Receipt, ...] = ()
    more: bool = False
    is_settled: bool = True


class Receipts:
    """What people, in the field too, can find out about the arrival of their work."""

    def __init__(self, database: Database, office: Office, systems: Systems) -> None:
        self._database = database
        self._office = office
        self._systems = systems

    async def of(self, who: Principal, collection: str, record_id: str) -> Receipt:
        """Return the receipt of a record that the person may see, with those of what belongs to it."""
        whole = await self._one(who, collection, record_id)
        parts, more = await self._parts(who, collection, record_id)
        is_settled = _is_settled(whole.systems) and all(part.is_settled for part in parts)
        return msgspec.structs.replace(whole, parts=tuple(parts), more=more, is_settled=is_settled)

    async def _one(self, who: Principal, collection: str, record_id: str) -> Receipt:
        record = await self._office.record(who, collection, record_id)
        fields = _FIELDS.decode(record.fields)
        wanted = receipts.Record(collection=collection, id=record_id, fields=fields)
        systems = await self._arrivals(who, wanted)
        last = await self._office.history(who, collection, record_id, before=None, limit=1)
        return Receipt(
            collection=collection,
            id=record_id,
            applied=record.rev,
            alive=record.alive,
            received_at=last[0].received_at if last else None,
            systems=systems,
            is_settled=_is_settled(systems),
        )

    async def _parts(self, who: Principal, collection: str, record_id: str) -> tuple[list[Receipt], bool]:
        """Return the receipts of the records that name this one, and are told to a system."""
        catalog = await self._office.catalog(who.tenant_id)
        wanted = await connections.all_interests(self._database, who.tenant_id)
        found: list[Receipt] = []
        for name, each in catalog.collections.items():
            field = next((f for f, known in each.fields.items() if known.to == collection), None)
            if name not in wanted or field is None or name == collection:
                continue
            room = PARTS_MAX - len(found)
            rows = await self._office.records(who, name, {field: record_id}, after=None, limit=room + 1)
            found += [await self._one(who, name, row.id) for row in rows[:room]]
            if len(rows) > room:
                return found, True
        return found, False

    async def _arrivals(self, who: Principal, record: receipts.Record) -> tuple[Arrival, ...]:
        found: list[Arrival] = []
        for connection_id in await receipts.connections_of(self._database, who.tenant_id, record.collection, record.id):
            with told():
                connection = await connections.get(self._database, who.tenant_id, connection_id)
                _, mappings = await self._systems.mapping(connection)
            found += await receipts.arrivals(self._database, connection, mappings, record)
        if who.role == TECHNICIAN:
            return tuple(msgspec.structs.replace(each, detail="", delivery="", key="") for each in found)
        return tuple(found)


def _is_settled(systems: tuple[Arrival, ...]) -> bool:
    return all(each.stage in ("delivered", "not_told", "skipped", "recorded") for each in systems)
