"""The feed as a replica reads it: rows after its positions, or a snapshot at a fixed number.

All functions read within one snapshot transaction of the caller. Numbers are given under the
tenant's lock and become visible by the commit that releases it; so whatever a snapshot shows up to
its newest number is all there will ever be up to it, and a position can safely be moved there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from replication.record import Cell
from replication.scope import EVERYBODY
from syncserver.store import records, statements
from syncserver.store.catalogs import NO_VERSION, Catalogs
from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg

    from replication.catalog import Catalog
    from replication.rows import Key
    from syncserver.store.db import Connection

_SQL: Final = statements.of("pull")


class Head(msgspec.Struct, frozen=True):
    """Where a tenant stands, how far one of its replicas was settled, and the catalogue that holds."""

    seq: int
    applied: int
    catalog: Catalog | None


class Part(msgspec.Struct, frozen=True):
    """One part of the feed and the position in it."""

    reader: str
    priority: int
    position: int


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the feed. `state` is the visible record at `rev`, as JSON, of a put or an enter."""

    priority: int
    seq: int
    commit_seq: int
    op: str
    key: Key
    lifted: bool
    overtaken: bool
    rev: int
    state: bytes | None
    tx: str | None


class Stretch(msgspec.Struct, frozen=True):
    """Which part of a snapshot: of a collection, after an id, as at a number, so many records."""

    collection: str
    after: str
    seq: int
    limit: int


class Held(msgspec.Struct, frozen=True):
    """A record in a snapshot; without state it was deleted, or was not there yet."""

    key: Key
    rev: int
    state: bytes | None


async def head(
    connection: Connection, tenant_id: int, rid: int, catalogs: Catalogs, *, at: int | None = None
) -> Head | None:
    """Return where things stand, with the catalogue of the number `at`; None for an unknown replica."""
    row = await connection.fetchrow(_SQL["head"], tenant_id, rid, at, catalogs.held(tenant_id))
    if row is None:
        return None
    version = row["version"] or NO_VERSION
    known = None if version == NO_VERSION else catalogs.take(tenant_id, version, row["content"])
    return Head(row["seq"], row["applied"], known)


async def page(connection: Connection, tenant_id: int, parts: Sequence[Part], limit: int) -> list[Row]:
    """Return the first rows after the positions, most urgent class first, then in commit order."""
    places = columns(((part.reader, part.priority, part.position) for part in parts), 3)
    return [
        Row(
            priority=row["class"],
            seq=row["seq"],
            commit_seq=row["commit_seq"],
            op=row["op"],
            key=(row["collection"], row["record_id"]),
            lifted=row["lifted"],
            overtaken=row["overtaken"],
            rev=row["rev"],
            state=row["state"],
            tx=row["tx"] if row["state_commit_seq"] == row["commit_seq"] else None,
        )
        for row in await connection.fetch(_SQL["page"], tenant_id, *places, limit)
    ]


async def snapshot(connection: Connection, tenant_id: int, reader: str, stretch: Stretch) -> list[Held]:
    """Return records that the reader held at that number, in order of id.

    For `all` these are the records of a collection that everybody reads.
    """
    place = (stretch.collection, _following(stretch.after), stretch.seq, stretch.limit)
    if reader == EVERYBODY:
        found = await connection.fetch(_SQL["snapshot_shared"], tenant_id, *place)
    else:
        found = await connection.fetch(_SQL["snapshot_private"], tenant_id, reader, *place)
    return [_held(stretch.collection, row) for row in found]


async def cells(connection: Connection, tenant_id: int, keys: Iterable[Key]) -> dict[Key, dict[str, Cell]]:
    """Return the cells of these records as they are now."""
    found = await connection.fetch(_SQL["cells"], tenant_id, *columns(keys, 2))
    return {(row["collection"], row["record_id"]): records.decode_cells(row["cells"]) for row in found}


async def note_positions(
    connection: Connection, rows: Iterable[tuple[int, int, int, int]], *, sealed_by: str | None = None
) -> None:
    """Store how far replicas have pulled: tenant, rid, seq, milliseconds since 1970.

    `sealed_by` is the id of the secret key that sealed the cursors which they were given.
    """
    await connection.execute(_SQL["positions"], *columns(rows, 4), sealed_by)


def _following(record_id: str) -> str:
    """Return the least id after this one, or of all."""
    return str(UUID(int=UUID(record_id).int + 1 if record_id else 0))


def _held(collection: str, row: asyncpg.Record) -> Held:
    gone = row["op"] is None or row["op"] == "delete"
    return Held((collection, row["record_id"]), row["rev"] or 0, None if gone else row["state"])
