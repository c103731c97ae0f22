"""Cursor to page: what a replica has not been told yet.

A replica reads as its person: rows for that person, and rows for everybody. Without a cursor it
first gets a snapshot, everything in scope as it was at one fixed number, in as many pages as that
takes; then the feed from that number on. Where nothing is new it may wait for a while.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from replication.cursor import Cursor, Snapshot
from replication.scope import EVERYBODY
from syncserver.commands import page
from syncserver.commands.errors import UnknownReplica
from syncserver.store import db, feed

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncserver.commands.page import Asked, Page, Reader
    from syncserver.notify import Hints
    from syncserver.store.catalogs import Catalogs
    from syncserver.store.db import Database

WAIT_MS_MAX: Final = 25_000
FLUSH_SECONDS: Final = 2.0

log = structlog.get_logger()


class Pulls:
    """Answers pulls. It keeps where each replica stands, and stores that a little later."""

    def __init__(
        self,
        database: Database,
        hints: Hints,
        catalogs: Catalogs,
        *,
        clock: Callable[[], float] = time.time,
        sealed_by: str | None = None,
    ) -> None:
        self._database = database
        self._hints = hints
        self._catalogs = catalogs
        self._clock = clock
        self._sealed_by = sealed_by
        self._positions: dict[tuple[int, int], tuple[int, int]] = {}
        self._flusher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to store positions."""
        self._flusher = asyncio.create_task(self._flush_for_ever(), name="positions")

    async def stop(self) -> None:
        """Store the last positions."""
        if self._flusher is not None:
            self._flusher.cancel()
            with suppress(asyncio.CancelledError):
                await self._flusher
        await self.flush()

    async def pull(self, reader: Reader, at: Cursor | None, asked: Asked, *, epoch: str) -> Page:
        """Return the page that follows `at`; if there is nothing, wait a while for something.

        A hint may be lost, so the feed is read again at the end of the wait, too.
        """
        ends = time.monotonic() + min(asked.wait_ms, WAIT_MS_MAX) / 1_000
        with self._hints.waiting(reader.tenant_id, (reader.person, EVERYBODY)) as hint:
            while True:
                hint.clear()
                found = await self._page(reader, at, asked, epoch)
                left = ends - time.monotonic()
                if found.commits or found.more or left <= 0:
                    return found
                with suppress(TimeoutError):
                    await asyncio.wait_for(hint.wait(), left)

    async def flush(self) -> None:
        """Store where replicas stand."""
        noted, self._positions = self._positions, {}
        if not noted:
            return
        try:
            async with self._database.transaction(*{tenant for tenant, _ in noted}) as connection:
                rows = ((*place, *stand) for place, stand in noted.items())
                await feed.note_positions(connection, rows, sealed_by=self._sealed_by)
        except db.TRANSIENT as error:
            log.warning("positions_not_stored", replicas=len(noted), error=type(error).__name__)
            self._positions = noted | self._positions

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def _page(self, reader: Reader, at: Cursor | None, asked: Asked, epoch: str) -> Page:
        fixed = at.snapshot.seq if at is not None and at.snapshot is not None else None
        async with self._database.transaction(reader.tenant_id, snapshot=True) as connection:
            head = await feed.head(connection, reader.tenant_id, reader.rid, self._catalogs, at=fixed)
            if head is None:
                raise UnknownReplica(f"tenant {reader.tenant_id} has no replica {reader.rid}")
            if at is None:
                at = _beginning(reader, epoch, head.seq)
            else:
                self._note(reader, at)
            return await page.after(connection, reader, asked, head, at)

    def _note(self, reader: Reader, at: Cursor) -> None:
        """Keep how far the replica has come: what it sends back, it has stored."""
        seq = 0 if at.snapshot is not None else min(at.parts.values(), default=0)
        self._positions[reader.tenant_id, reader.rid] = seq, int(self._clock() * 1_000)


def _beginning(reader: Reader, epoch: str, seq: int) -> Cursor:
    """Return the cursor of somebody who has nothing yet: before a snapshot at this number."""
    return Cursor(tenant=reader.tenant_id, rid=reader.rid, epoch=epoch, person=reader.person, snapshot=Snapshot(seq))
