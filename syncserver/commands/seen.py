"""Up to where devices have their verdicts, by their own word: noted at each push, stored a little later.

It stands beside the committers because it may lag: a number that is too low only keeps rows of the
ledger for longer.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from syncserver.store import db, upkeep

if TYPE_CHECKING:
    from syncserver.store.db import Database

FLUSH_SECONDS: Final = 5.0

log = structlog.get_logger()


class SeenVerdicts:
    """Collects what devices say they have, and stores it. Started and stopped by the app."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[tuple[int, int], int] = {}
        self._flusher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to store what is noted."""
        self._flusher = asyncio.create_task(self._flush_for_ever(), name="seen verdicts")

    async def stop(self) -> None:
        """Store what was noted last."""
        if self._flusher is not None:
            self._flusher.cancel()
            with suppress(asyncio.CancelledError):
                await self._flusher
        await self.flush()

    def note(self, tenant_id: int, rid: int, n: int, *, applied: int) -> None:
        """Note that a replica has its verdicts up to `n`; it cannot have those that were never given."""
        place, have = (tenant_id, rid), min(n, applied)
        if have > self._noted.get(place, 0):
            self._noted[place] = have

    async def flush(self) -> None:
        """Store what was noted; what cannot be stored now is kept for the next time."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            async with self._database.transaction(*{tenant for tenant, _ in noted}) as connection:
                await upkeep.note_seen(connection, ((*place, n) for place, n in noted.items()))
        except db.TRANSIENT as error:
            log.warning("seen_verdicts_not_stored", replicas=len(noted), error=type(error).__name__)
            self._noted = noted | self._noted

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()
