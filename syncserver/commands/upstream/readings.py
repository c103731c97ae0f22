"""The numbers of the back door, read from time to time and shown to those who watch the worker."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from syncserver.store import db
from upstream import readings
from upstream.gauges import SignIns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from upstream.credentials import Keeper

READ_SECONDS: Final = 15.0

log = structlog.get_logger()


class Shows(Protocol):
    """Whoever shows numbers."""

    registry: Any

    def show(self, readings: Iterable[Any]) -> None:
        """Show these from now on."""
        ...


class Readings:
    """Reads, and shows."""

    def __init__(
        self, database: db.Database, keeper: Keeper, shows: Shows, tenants: Callable[[], Awaitable[Sequence[int]]]
    ) -> None:
        self._database = database
        self._keeper = keeper
        self._shows = shows
        self._tenants = tenants
        self._signins = SignIns(shows.registry)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until told to stop; what cannot be read now keeps its last number."""
        while not stop.is_set():
            try:
                await self.read()
            except db.TRANSIENT as error:
                log.warning("readings_interrupted", error=type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), READ_SECONDS)

    async def read(self) -> None:
        """Read once."""
        mine = await self._tenants()
        read, ends = await readings.read(self._database, mine), await self._keeper.expiries(mine)
        troubles = await self._keeper.troubles(mine)
        # Nothing is awaited from here on, so no page of metrics is answered with half of it.
        self._shows.show(read)
        self._signins.show(ends, troubles)
