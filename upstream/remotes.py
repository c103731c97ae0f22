"""What a system is known to have: its ids for our objects, what was confirmed last, what is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg

    from upstream.store import Session

_SQL: Final = store.statements("remotes")


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """An object there. `fields` were confirmed last; `lives` counts how often it was voided."""

    object: str
    key: str
    remote_id: str | None = None
    remote_version: str | None = None
    fields: dict[str, Any] | None = None
    confirmed_seq: int = 0
    voided: bool = False
    lives: int = 0
    locked: bool = False


async def get(
    session: Session, tenant_id: int, connection_id: str, places: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Remote]:
    """Return what is known of these objects (object, key)."""
    found = await session.fetch(_SQL["get"], tenant_id, connection_id, *store.columns(places, 2))
    return {(row["object"], row["key"]): _remote(row) for row in found}


async def ids(
    session: Session, tenant_id: int, connection_id: str, records: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return for records of ours the ids that they have there, by object."""
    known: dict[str, dict[str, str]] = {}
    for row in await session.fetch(_SQL["ids"], tenant_id, connection_id, records):
        known.setdefault(row["key"], {})[row["object"]] = row["remote_id"]
    return known


async def by_remote_id(
    session: Session, tenant_id: int, connection_id: str, name: str, remote_id: str
) -> Remote | None:
    """Return which object of ours has this id there."""
    row = await session.fetchrow(_SQL["by_remote_id"], tenant_id, connection_id, name, remote_id)
    return None if row is None else _remote(row)


async def link(
    session: Session, tenant_id: int, connection_id: str, place: tuple[str, str], remote_id: str, version: str = ""
) -> bool:
    """Note which id, and which version of it we have seen, an object (object, key) of ours has there.

    False if another id is known for it.
    """
    done = await session.fetchval(_SQL["link"], tenant_id, connection_id, *place, remote_id, version)
    return done is not None


async def lock(session: Session, tenant_id: int, connection_id: str, place: tuple[str, str], reason: str) -> None:
    """Note that an object (object, key) is closed there: later facts go into objects of their own."""
    await session.execute(_SQL["lock"], tenant_id, connection_id, *place, reason)


async def close(session: Session, tenant_id: int, connection_id: str, name: str, period: str, reason: str = "") -> None:
    """Note that a period is closed for an object: payroll has run. `period` is its first day, as ISO 8601."""
    await session.execute(_SQL["close"], tenant_id, connection_id, name, period, reason)


async def is_closed(session: Session, tenant_id: int, connection_id: str, name: str, period: str) -> bool:
    """Tell whether a period is closed for an object."""
    return bool(await session.fetch(_SQL["closed"], tenant_id, connection_id, name, [period]))


async def next_open(
    session: Session, tenant_id: int, connection_id: str, name: str, periods: Sequence[str]
) -> str | None:
    """Return the first of these periods that is not closed."""
    found: str | None = await session.fetchval(_SQL["next_open"], tenant_id, connection_id, name, periods)
    return found


def _remote(row: asyncpg.Record) -> Remote:
    return msgspec.convert({**dict(row), "fields": store.from_json(row["fields"])}, Remote)
