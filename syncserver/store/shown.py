"""What the office is shown: records, lists, the history of a record, conflict entries."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication.record import Cell
from replication.rows import CellChange
from replication.verdict import Conflict
from syncserver.store import statements

if TYPE_CHECKING:
    import asyncpg

    from syncserver.store.db import Database

_SQL: Final = statements.of("office")
_CELLS: Final = msgspec.msgpack.Decoder(dict[str, Cell])
_CHANGES: Final = msgspec.json.Decoder(dict[str, CellChange])
_CONFLICT: Final = msgspec.json.Decoder(Conflict)

SEQ_MAX: Final = 2**63 - 1


class Shown(msgspec.Struct, frozen=True):
    """A record as it stands: its visible fields as JSON, and its cells with their causality."""

    id: str
    rev: int
    alive: bool
    fields: msgspec.Raw
    cells: dict[str, Cell]


class Item(msgspec.Struct, frozen=True):
    """A record in a list."""

    id: str
    rev: int
    fields: msgspec.Raw


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a list is wanted: equal fields, after an id, moved after a rev, held by one.

    A field that must equal null may also be one that was never written.
    """

    limit: int
    equal: dict[str, Any] = {}
    after: str | None = None
    moved_after: int = 0
    person: str | None = None


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a record: who did what to which cell, under which seq."""

    seq: int
    op: str
    dot: tuple[int, int]
    tx: str | None
    person: str
    authority: str
    at: int | None
    received_at: datetime
    cells: dict[str, CellChange]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict entry with what became of it since."""

    seq: int
    state: str
    conflict: Conflict
    made_at: datetime
    ended_at: datetime | None
    ended_by: tuple[int, int] | None


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """Which conflicts are wanted, newest first; `before` is the place after which to go on."""

    limit: int
    before: tuple[int, str] = (SEQ_MAX, "")
    state: str | None = None
    collection: str | None = None
    record_id: str | None = None


async def record(database: Database, tenant_id: int, collection: str, record_id: str) -> Shown | None:
    """Return the record, alive or deleted; None if nothing is known of it."""
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["record"], tenant_id, collection, record_id)
    if row is None:
        return None
    fields = msgspec.Raw(row["fields"].encode())
    return Shown(row["record_id"], row["rev"], row["alive"], fields, _CELLS.decode(row["cells"]))


async def holds(database: Database, tenant_id: int, collection: str, record_id: str, person: str) -> bool:
    """Return whether the person holds the record now."""
    async with database.transaction(tenant_id) as connection:
        return bool(await connection.fetchval(_SQL["holds"], tenant_id, collection, record_id, person))


async def records(database: Database, tenant_id: int, collection: str, page: Page) -> list[Item]:
    """Return a page of living records in order of id."""
    equal = {name: value for name, value in page.equal.items() if value is not None}
    wanted = msgspec.json.encode(equal).decode()
    place = (page.limit, wanted, page.after, page.moved_after, page.person, sorted(page.equal.keys() - equal))
    async with database.transaction(tenant_id) as connection:
        found = await connection.fetch(_SQL["records"], tenant_id, collection, *place)
    return [Item(row["record_id"], row["rev"], msgspec.Raw(row["fields"].encode())) for row in found]


async def history(
    database: Database, tenant_id: int, collection: str, record_id: str, before: int, limit: int
) -> list[Past]:
    """Return the changes of a record, newest first, those before a seq."""
    async with database.transaction(tenant_id) as connection:
        found = await connection.fetch(_SQL["history"], tenant_id, collection, record_id, before, limit)
    return [_past(row) for row in found]


def _past(row: asyncpg.Record) -> Past:
    return Past(
        seq=row["seq"],
        op=row["op"],
        dot=(row["rid"], row["n"]),
        tx=row["tx"],
        person=row["person"],
        authority=row["authority"],
        at=row["at"],
        received_at=row["received_at"],
        cells=_CHANGES.decode(row["cells"]),
    )


async def conflicts(database: Database, tenant_id: int, sought: Sought) -> list[Entry]:
    """Return conflict entries, newest first."""
    place = (*sought.before, sought.state, sought.collection, sought.record_id, sought.limit)
    async with database.transaction(tenant_id) as connection:
        return [_entry(row) for row in await connection.fetch(_SQL["conflicts"], tenant_id, *place)]


async def conflict(database: Database, tenant_id: int, conflict_id: str) -> Entry | None:
    """Return one conflict entry; None if there is none of this id."""
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["conflict"], tenant_id, conflict_id)
    return None if row is None else _entry(row)


async def is_answered(database: Database, tenant_id: int, key: str) -> bool:
    """Return whether an answer is kept under this idempotency key."""
    async with database.transaction(tenant_id) as connection:
        return bool(await connection.fetchval(_SQL["is_answered"], tenant_id, key))


def _entry(row: asyncpg.Record) -> Entry:
    ended = None if row["ended_rid"] is None else (row["ended_rid"], row["ended_n"])
    return Entry(
        seq=row["seq"],
        state=row["state"],
        conflict=_CONFLICT.decode(row["entry"]),
        made_at=row["made_at"],
        ended_at=row["ended_at"],
        ended_by=ended,
    )
