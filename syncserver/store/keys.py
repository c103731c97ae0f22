"""What depends on which of the secret keys: sealed secrets, and the cursors that devices hold.

A sealed secret says so itself. Cursors are with the devices; but each pull notes which key sealed
the cursor that it gave out.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from syncserver.store import audit, signins, statements
from syncserver.store.audit import Actor, Entry
from upstream import credentials, sealing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg import Record

    from syncserver.store.db import Database

_SQL: Final = statements.of("keys")


class Cursors(msgspec.Struct, frozen=True, kw_only=True):
    """Devices whose cursor one key sealed; `key` is None for those of which that was not noted."""

    key: str | None
    devices: int
    pulled_at: datetime


class Uses(msgspec.Struct, frozen=True, kw_only=True):
    """What depends on the keys, of all tenants: the key of each sealed secret, and the cursors."""

    secrets: tuple[str, ...]
    cursors: tuple[Cursors, ...]


async def uses(database: Database, tenants: Sequence[int]) -> Uses:
    """Return what depends on each key."""
    async with database.transaction(*tenants) as connection:
        held = await connection.fetch(_SQL["secrets"], tenants)
        held += await connection.fetch(_SQL["credentials"], tenants)
        found = await connection.fetch(_SQL["cursors"], tenants)
    return Uses(
        secrets=tuple(sealing.sealed_by(row["secret"]) for row in held),
        cursors=tuple(
            Cursors(key=row["sealed_by"], devices=row["devices"], pulled_at=row["pulled_at"]) for row in found
        ),
    )


async def rewrap(
    database: Database, tenants: Sequence[int], keys: Sequence[bytes], *, by: Actor = audit.OPERATOR
) -> int:
    """Have every sealed secret depend on the first key, and return how many did not yet.

    All or none: raises `sealing.Unopened` if one of them was sealed with a key that is not there.
    """
    newest = sealing.key_id(keys[0])
    async with database.transaction(*tenants) as connection:
        old = [row for row in await connection.fetch(_SQL["secrets"], tenants) if not _is_by(row, newest)]
        for row in old:
            purpose = signins.purpose(row["tenant_id"])
            await connection.execute(_SQL["put_secret"], row["tenant_id"], sealing.rewrap(row["secret"], keys, purpose))
        theirs = [row for row in await connection.fetch(_SQL["credentials"], tenants) if not _is_by(row, newest)]
        for row in theirs:
            place = (row["tenant_id"], row["connection"])
            wrapped = sealing.rewrap(row["secret"], keys, credentials.purpose(*place))
            await connection.execute(_SQL["put_credentials"], *place, wrapped)
        await audit.record_all(connection, [_rotated(tenant, newest, by) for tenant in tenants])
    return len(old) + len(theirs)


def _is_by(row: Record, key: str) -> bool:
    return sealing.sealed_by(row["secret"]) == key


def _rotated(tenant_id: int, newest: str, by: Actor) -> Entry:
    return Entry(tenant_id=tenant_id, by=by, action="keys_rotated", object=f"key:{newest}")
