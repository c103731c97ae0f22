"""Receipts: what became of a record at each system, told from the ledger and from what still waits.

Several records may make one object there (the hours of a week), so a receipt does not ask which delivery
a record caused, but which objects it belongs to, by the mapping that holds, and what became of those.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from upstream import contexts, plan, store

if TYPE_CHECKING:
    import asyncpg

    from upstream.connections import Connection
    from upstream.mapping import MappingSet
    from upstream.store import Database, Session

Stage: TypeAlias = Literal[
    "not_told", "waiting", "on_its_way", "delivered", "recorded", "rejected", "unknown", "skipped"
]

LATES_MAX: Final = 20
OBJECTS_MAX: Final = 100

_SQL: Final = store.statements("receipts")

REASONS: Final[dict[str, str]] = {
    "auth": "the system does not accept the sign-in; the office has to sign in again",
    "config": "the connection has to be put right by the office",
    "data": "the system does not take it as it is; the office has to look at it",
    "conflict": "the system has another version; the office has to look at it",
    "duplicate": "the system says that it has it already; the office has to look at it",
    "not_found": "what should be changed is not there any more; the office has to look at it",
    "gone": "what should be changed is not there any more; the office has to look at it",
    "locked": "it is closed there; it goes into an object of its own",
    "transient": "the system cannot be reached just now; it is tried again",
    "throttled": "the system takes no more for the moment; it is tried again",
    "unknown": "no answer came; it is being found out whether the system has it",
}
"""Why something has not arrived, in words that tell nothing of its content."""
STAGES: Final[dict[str, Stage]] = {
    "planned": "on_its_way",
    "leased": "on_its_way",
    "sent": "on_its_way",
    "confirmed": "delivered",
    "rejected": "rejected",
    "unknown": "unknown",
    "superseded": "skipped",
}
RESTS: Final[dict[str, str]] = {
    "paused": "the connection is paused",
    "reauthorise": "the connection waits for somebody to sign in again",
    "broken": "the connection has to be put right by the office",
}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The record that a receipt is for."""

    collection: str
    id: str
    fields: dict[str, Any]


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one object at one system.

    `recorded`: the connection is in shadow mode, so it is not sent. `late`: it came after the object was
    closed there, and was told in one of its own. `detail` is what the system said, for those who see to it.
    """

    connection: str
    system: str
    name: str
    stage: Stage
    object: str = ""
    key: str = ""
    delivery: str = ""
    reason: str = ""
    detail: str = ""
    since: datetime | None = None
    delivered_at: datetime | None = None
    remote_id: str = ""
    late: bool = False
    voided: bool = False


async def connections_of(database: Database, tenant_id: int, collection: str, record_id: str) -> list[str]:
    """Return the ids of the connections that are, or were, told of a record."""
    async with database.transaction(tenant_id) as session:
        return [row["connection"] for row in await session.fetch(_SQL["connections"], tenant_id, collection, record_id)]


async def arrivals(database: Database, connection: Connection, mappings: MappingSet, record: Record) -> list[Arrival]:
    """Return what became of a record at one system: one entry for each object that it belongs to."""
    place = (connection.tenant_id, connection.connection)
    async with database.transaction(connection.tenant_id) as session:
        objects = set(_places(connection, mappings, record))
        own = await session.fetch(_SQL["own"], *place, record.collection, record.id, OBJECTS_MAX)
        objects |= {(row["object"], row["key"]) for row in own}
        columns = store.columns(sorted(objects), 2)
        told = [_arrival(connection, row) for row in await session.fetch(_SQL["objects"], *place, *columns, LATES_MAX)]
        waits = await _waits(session, connection, record)
    if waits is not None:
        return [waits, *told]
    return told or [_arrival_of_none(connection, bool(objects))]


def _places(connection: Connection, mappings: MappingSet, record: Record) -> list[tuple[str, str]]:
    """Return the objects that a record belongs to: those made of it, and those of the record that it names."""
    found = []
    for each in mappings.out:
        whole = None
        if each.collection == record.collection:
            whole = {**record.fields, "id": record.id}
        elif isinstance(parent := record.fields.get(each.triggers.get(record.collection, "")), str):
            whole = {"id": parent}
        if whole is not None:
            key = plan.key_of(each, contexts.light(each, whole, connection))
            found += [(each.object, key)] if key is not None else []
    return found


async def _waits(session: Session, connection: Connection, record: Record) -> Arrival | None:
    row = await session.fetchrow(
        _SQL["waits"], connection.tenant_id, connection.connection, record.collection, record.id
    )
    if row is None:
        return None
    reason = RESTS.get(connection.state) or row["reason"] or "it is next to be planned"
    return _made(connection, stage="waiting", reason=reason, since=row["marked_at"])


def _arrival_of_none(connection: Connection, belongs: bool) -> Arrival:  # noqa: FBT001  (the one thing that it depends on)
    reason = "the mapping does not ask for it as it stands" if belongs else "the mapping makes nothing of it"
    return _made(connection, stage="not_told", reason=reason)


def _arrival(connection: Connection, row: asyncpg.Record) -> Arrival:
    stage = STAGES[row["state"]]
    if row["mode"] == "shadow" and stage == "on_its_way":
        stage = "recorded"
    is_there = stage == "delivered"
    return _made(
        connection,
        stage=stage,
        object=row["object"],
        key=row["key"],
        delivery=row["delivery_id"],
        reason="" if is_there else _reason(connection, row, stage),
        detail=row["error_message"],
        since=row["marked_at"],
        delivered_at=row["ended_at"] if is_there else None,
        remote_id=row["remote_id"] or "",
        late=row["late"],
        voided=row["action"] == "void",
    )


def _reason(connection: Connection, row: asyncpg.Record, stage: Stage) -> str:
    if stage == "recorded":
        return "the connection is tried out: it is recorded and not sent"
    if stage == "skipped":
        return "it was decided not to tell it, or it was overtaken"
    if stage == "unknown" and row["due_at"] is None:
        return "no answer came, and the office has to find out whether the system has it"
    if connection.state in RESTS and stage == "on_its_way":
        return RESTS[connection.state]
    if row["error_code"] == "mapping":
        return "a field could not be made; the office has to look at it"
    return REASONS.get(row["error_class"], "it is next to be sent" if stage == "on_its_way" else "")


def _made(connection: Connection, **known: Any) -> Arrival:
    return Arrival(connection=connection.connection, system=connection.system, name=connection.name, **known)
