"""A write under an idempotency key: a repeat gets the first answer, and nothing is done twice.

The answer is kept once the work is done. Whoever died between the two left work that is done and no
answer; the repeat then does it again, which every command here takes for what it is: what is done
already is told as that, and what is made has an id that follows from the key.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import msgspec
from uuid_utils.compat import uuid7

from syncserver.commands.errors import KeyReused
from syncserver.store import kept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncserver.commands.access import Principal
    from syncserver.store.db import Database

_NAMES: Final = UUID("4f0f3f0e-6a2c-5d1b-8a43-5f0d6f6f8d52")
"""Ids of what is made under a key are derived from it."""
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


class Once:
    """What was answered under which key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def answered(
        self, who: Principal, key: str | None, asked: Any, work: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Return the answer of the work, or the one that is kept for this request of this person."""
        if key is None:
            return await work()
        place, digest = f"upstream:{who.person}:{key}", hashlib.sha256(_CANONICAL.encode(asked)).digest()
        known = await kept.found(self._database, who.tenant_id, place)
        if known is not None:
            if known[0] != digest:
                raise KeyReused("this Idempotency-Key was used for another request")
            return known[1]
        answer = await work()
        async with self._database.transaction(who.tenant_id) as connection:
            await kept.keep(connection, who.tenant_id, place, digest, answer)
        return answer


def new_id(who: Principal, key: str | None) -> str:
    """Return the id of something to be made; a repeat of the request gives the same."""
    if key is None:
        return str(uuid7())
    return str(uuid5(_NAMES, f"{who.tenant_id}/{who.person}/{key}"))
