"""The outbox: which record is newer than what which connection was told.

**Who fills it.** `enqueue` is no function here: its SQL stands in the committers' one write statement
(`syncserver/store/sql/group.sql`, `newer` and `queued`), because what has to be told must be known
exactly if the change is, and a group stays one statement. It means:

- one row for each record and each connection that has an interest in its collection; newer versions
  fall together in it (`seq` grows, `from_seq` stays), so that however long a system is away, it is told
  the last state once;
- no row for the connection whose replica made the change: that would be an echo. But where what it
  wrote did not stand as it was written (it lost, was merged, or was not its to write), it gets a row
  with `correct`, and is told what stands even if it was told the same before;
- a change takes the row out of the backfill lane, and lets it wait no longer.

**Who empties it.** A worker leases a row for a time, plans what has to be sent, and takes the row out
in the transaction that stores the plan, unless a newer version came meanwhile: then the row stays and
is due at once. A worker that dies says nothing; its rows are leased by another when their time is up.

The channel `CHANNEL` wakes workers. It is never needed: they also look by themselves.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from upstream import connections, store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg

    from upstream.store import Database, Session

Lane: TypeAlias = Literal["live", "backfill"]

CHANNEL: Final = "fieldsync_work"
"""NOTIFY with the tenants that have something new, separated by commas; `INWARD` before them: in their inboxes."""
INWARD: Final = "in,"

BACKFILL_ROWS: Final = 1_000

_SQL: Final = store.statements("outbox")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A record that a connection has to be told of, leased. `attempts` counts the leases since it is newest."""

    tenant_id: int
    connection: str
    collection: str
    record_id: str
    seq: int
    from_seq: int
    cause_rid: int
    correct: bool
    lane: Lane
    marked_at: datetime
    attempts: int
    leased_at: datetime


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A row as people are shown it: since when it waits, until when, and what for."""

    connection: str = ""
    collection: str = ""
    record_id: str = ""
    seq: int
    lane: Lane
    marked_at: datetime
    due_at: datetime
    attempts: int
    waits_on: str | None
    reason: str


class Portion(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one lane of a connection a worker takes."""

    tenant_id: int
    connection: str
    lane: Lane
    most: int


async def lease(session: Session, portions: Iterable[Portion], *, worker: str, seconds: float) -> list[Row]:
    """Take rows that are due, oldest first, for so many seconds. `worker` is a UUID."""
    wanted = store.columns(((each.tenant_id, each.connection, each.lane, each.most) for each in portions), 4)
    found = await session.fetch(_SQL["lease"], *wanted, worker, seconds)
    rows = [msgspec.convert(dict(row), Row) for row in found]
    return sorted(rows, key=lambda row: row.marked_at)


async def done(session: Session, row: Row, *, worker: str) -> bool:
    """Take a row out, in the transaction that stores what came of it; False if the lease had been lost.

    If a newer version came meanwhile, the row stays and is due at once.
    """
    now = await session.fetchrow(_SQL["hold"], *_place(row), worker)
    if now is None:
        return False
    is_same = (now["seq"], now["correct"]) == (row.seq, row.correct)
    await session.execute(_SQL["take_out" if is_same else "renew"], *_place(row))
    return True


async def put_off(
    session: Session, row: Row, *, worker: str, seconds: float, waits_on: str | None = None, reason: str = ""
) -> None:
    """Give a row back, to be looked at again after so long, or when the record that it waits for is there."""
    await session.execute(_SQL["put_off"], *_place(row), worker, row.seq, seconds, waits_on, reason, row.leased_at)


async def wake(session: Session, tenant_id: int, connection_id: str, record_id: str) -> None:
    """Let all that waited for this record be due."""
    await session.execute(_SQL["wake"], tenant_id, connection_id, record_id)


async def mark(
    session: Session,
    tenant_id: int,
    connection_id: str,
    keys: Sequence[tuple[str, str]],
    *,
    lane: Lane = "live",
    correct: bool = False,
) -> int:
    """Let a connection be told of these records (collection, id) as they stand; return how many there are."""
    marked = await session.fetch(_SQL["mark"], tenant_id, connection_id, *store.columns(keys, 2), lane, correct)
    if marked:
        await session.execute(_SQL["notify"], str(tenant_id))
    return len(marked)


async def backfill(database: Database, tenant_id: int, connection_id: str, collection: str) -> int:
    """Let a connection be told of all living records of a collection, in the backfill lane; return how many.

    Goes through them in order of their ids, some at a time; begun again it marks nothing twice.
    """
    last, rows = connections.NO_RECORD, 0
    while True:
        async with database.transaction(tenant_id) as session:
            page = await session.fetchrow(_SQL["backfill"], tenant_id, connection_id, collection, last, BACKFILL_ROWS)
            assert page is not None, "an aggregate without groups gives one row"
            if page["rows"]:
                await session.execute(_SQL["notify"], str(tenant_id))
        rows += int(page["rows"])
        if page["rows"] < BACKFILL_ROWS:
            return rows
        last = page["last"]


async def waiting(database: Database, tenant_id: int, connection_id: str, *, limit: int) -> list[Waiting]:
    """Return what waits for a connection, the longest waiting first."""
    async with database.transaction(tenant_id) as session:
        return _shown(await session.fetch(_SQL["waiting"], tenant_id, connection_id, limit))


async def of_record(database: Database, tenant_id: int, collection: str, record_id: str) -> list[Waiting]:
    """Return for which connections a record waits."""
    async with database.transaction(tenant_id) as session:
        return _shown(await session.fetch(_SQL["of_record"], tenant_id, collection, record_id))


def _shown(rows: Iterable[asyncpg.Record]) -> list[Waiting]:
    return [msgspec.convert(dict(row), Waiting) for row in rows]


def _place(row: Row) -> tuple[int, str, str, str]:
    return row.tenant_id, row.connection, row.collection, row.record_id
