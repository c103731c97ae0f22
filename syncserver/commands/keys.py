"""The secret keys: making a new one, and telling when an old one may go.

The first key of FIELDSYNC_SECRET_KEYS seals, all of them open. So a new key is put first, the
servers are started again, what is sealed at rest is wrapped anew, and an old key goes when nothing
depends on it any more. A device that comes back later than that reads everything anew; what it has
not sent does not depend on any key.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from syncserver.commands.errors import KeysMissing
from syncserver.store import keys as stored
from syncserver.store import people
from upstream import sealing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from syncserver.store.db import Database

KEY_BYTES: Final = 32
UNKNOWN: Final = "?"
"""Stands for the key of cursors that were given out before keys were noted."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What depends on one key. `is_set`: it is one of the keys that the settings have; `seals`: the first."""

    key: str
    is_set: bool
    seals: bool
    secrets: int
    devices: int
    pulled_at: datetime | None

    @property
    def is_free(self) -> bool:
        """Whether the key is set and nothing depends on it any more."""
        return self.is_set and not self.seals and not self.secrets and not self.devices


def fresh(keys: Sequence[bytes]) -> tuple[str, ...]:
    """Return the keys with a new one in front."""
    return (secrets.token_hex(KEY_BYTES), *(key.decode() for key in keys))


async def check(database: Database, keys: Sequence[bytes]) -> list[Use]:
    """Return what depends on each key, those that are set first, in their order."""
    found = await stored.uses(database, await _tenants(database))
    cursors = {row.key or UNKNOWN: row for row in found.cursors}
    ours = [sealing.key_id(key) for key in keys]
    strangers = sorted({*found.secrets, *cursors} - {*ours})
    return [
        Use(
            key=key,
            is_set=key in ours,
            seals=key == ours[0],
            secrets=found.secrets.count(key),
            devices=cursors[key].devices if key in cursors else 0,
            pulled_at=cursors[key].pulled_at if key in cursors else None,
        )
        for key in (*ours, *strangers)
    ]


async def rewrap(database: Database, keys: Sequence[bytes]) -> int:
    """Have all that is sealed at rest depend on the first key; return how much did not."""
    try:
        return await stored.rewrap(database, await _tenants(database), keys)
    except sealing.Unopened as exc:
        raise KeysMissing(f"{exc}; nothing was changed") from exc


async def _tenants(database: Database) -> list[int]:
    return [tenant.tenant_id for tenant in await people.tenants(database)]
