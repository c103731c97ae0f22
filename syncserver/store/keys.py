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
from upstream import credentials, inbox, sealing, webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of sealed secret: the statements that read and write it, its key, and what it is sealed for."""

    read: str
    write: str
    place: tuple[str, ...]
    purpose: Callable[..., str]


SEALED: Final = (
    Sealed(read="secrets", write="put_secret", place=("tenant_id",), purpose=signins.purpose),
    Sealed(
        read="credentials",
        write="put_credentials",
        place=("tenant_id", "connection"),
        purpose=credentials.purpose,
    ),
    Sealed(
        read="hook_secrets",
        write="put_hook_secret",
        place=("tenant_id", "connection", "secret_id"),
        purpose=lambda tenant_id, connection, _secret_id: inbox.purpose(tenant_id, connection),
    ),
    Sealed(read="endpoints", write="put_endpoint", place=("tenant_id", "endpoint_id"), purpose=webhooks.purpose),
    Sealed(
        read="old_endpoints", write="put_old_endpoint", place=("tenant_id", "endpoint_id"), purpose=webhooks.purpose
    ),
)
"""All that is sealed in the database."""


async def uses(database: Database, tenants: Sequence[int]) -> Uses:
    """Return what depends on each key."""
    async with database.transaction(*tenants) as connection:
        held = [row for kind in SEALED for row in await connection.fetch(_SQL[kind.read], tenants)]
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
    newest, count = sealing.key_id(keys[0]), 0
    async with database.transaction(*tenants) as connection:
        for kind in SEALED:
            old = [row for row in await connection.fetch(_SQL[kind.read], tenants) if not _is_by(row, newest)]
            for row in old:
                place = tuple(row[name] for name in kind.place)
                wrapped = sealing.rewrap(row["secret"], keys, kind.purpose(*place))
                await connection.execute(_SQL[kind.write], *place, wrapped)
            count += len(old)
        await audit.record_all(connection, [_rotated(tenant, newest, by) for tenant in tenants])
    return count


def _is_by(row: Record, key: str) -> bool:
    return sealing.sealed_by(row["secret"]) == key


def _rotated(tenant_id: int, newest: str, by: Actor) -> Entry:
    return Entry(tenant_id=tenant_id, by=by, action="keys_rotated", object=f"key:{newest}")
