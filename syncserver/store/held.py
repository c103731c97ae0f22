"""Mutations that wait for a person, or waited: written by groups, listed and ended by the office."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication.versions import Dot
from syncserver.store import statements
from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import asyncpg

    from replication.state import State
    from syncserver.store.db import Connection, Database

Row = tuple[Any, ...]

_SQL: Final = statements.of("held")

SEQ_MAX: Final = 2**63 - 1


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A held mutation, and what became of it since.

    `schema` is the catalogue version that its writer went by (0: not known), `time` when it was
    written as far as the hub can tell (ms since 1970), `kind` that of the replica it came from.
    `members` are the mutations of its tx, in order, itself among them: they end together.
    """

    dot: Dot
    members: tuple[Dot, ...]
    seq: int
    person: str
    collection: str
    record_id: str
    op: str
    code: str
    schema: int
    time: int
    kind: str
    authority: str
    state: str
    made_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    ended_dot: Dot | None
    reason: str | None


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """Which ones are wanted, newest first; `before` is the place after which to go on: seq, rid, n."""

    limit: int
    before: tuple[int, int, int] = (SEQ_MAX, 0, 0)
    state: str | None = None
    collection: str | None = None


def columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of what a group holds back. Number line and person are those of its ledger row."""
    return columns(_kept_back(states), 13)


def released_columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of what a group released."""
    ended = ((tenant, each) for tenant, state in states.items() for each in state.effects.released)
    return columns(((tenant, *each.dot, each.person, *each.by) for tenant, each in ended), 6)


async def listed(database: Database, tenant_id: int, sought: Sought) -> list[Entry]:
    """Return held mutations, newest first."""
    place = (*sought.before, sought.state, sought.collection, sought.limit)
    async with database.transaction(tenant_id) as connection:
        return [_entry(row) for row in await connection.fetch(_SQL["listed"], tenant_id, *place)]


async def found(database: Database, tenant_id: int, dot: Dot) -> list[tuple[Entry, bytes]]:
    """Return the held mutations of the tx of this one, in order, with their payloads as JSON."""
    async with database.transaction(tenant_id) as connection:
        return [(_entry(row), row["payload"]) for row in await connection.fetch(_SQL["together"], tenant_id, *dot)]


async def discard(connection: Connection, tenant_id: int, dot: Dot, person: str, reason: str) -> list[Dot]:
    """End its whole tx without judging it; return what waited. The caller has the tenant's lock."""
    ended = await connection.fetch(_SQL["discard"], tenant_id, *dot, person, reason)
    return sorted(Dot(row["rid"], row["n"]) for row in ended)


def id_of(dot: Dot) -> str:
    """Return the id under which the office knows a held mutation."""
    return f"{dot.rid}-{dot.n}"


def _kept_back(states: Mapping[int, State]) -> Iterator[Row]:
    for tenant, state in states.items():
        if not state.effects.held:
            continue
        noted = {row.dot: row for row in state.effects.ledger}
        for each in state.effects.held:
            row = noted[each.dot]
            named = (each.collection, each.record_id, each.op, each.code)
            yield tenant, *each.dot, row.seq, row.person, *named, each.schema, each.time, each.first, each.size


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(
        dot=Dot(row["rid"], row["n"]),
        members=tuple(Dot(row["rid"], row["first"] + place) for place in range(row["size"])),
        seq=row["seq"],
        person=row["person"],
        collection=row["collection"],
        record_id=row["record_id"],
        op=row["op"],
        code=row["code"],
        schema=row["schema"],
        time=row["time"],
        kind=row["kind"],
        authority=row["authority"],
        state=row["state"],
        made_at=row["made_at"],
        ended_at=row["ended_at"],
        ended_by=row["ended_by"],
        ended_dot=None if row["ended_rid"] is None else Dot(row["ended_rid"], row["ended_n"]),
        reason=row["reason"],
    )
