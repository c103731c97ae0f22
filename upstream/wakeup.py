"""Being woken: one connection that listens, for a worker that looks by itself anyway.

A lost notification costs the time until the next look, and nothing else. While the connection is away
the worker is not woken; when it is back it is woken once, because notifications may have gone by.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_SECONDS: Final = 10
RETRY_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 15

log = structlog.get_logger()


class Wakeup:
    """Listens on a channel and hands on what is said there. Started and stopped by the worker's owner."""

    def __init__(self, database_url: str, channel: str, heard: Callable[[str], None]) -> None:
        self._database_url = database_url
        self._channel = channel
        self._heard = heard
        self._listener: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._listener = asyncio.create_task(self._listen(), name="wakeup")

    async def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("wakeup_interrupted", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(self._database_url, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            await connection.add_listener(self._channel, lambda *said: self._heard(str(said[-1])))
            self._heard("")
            while not lost.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), PROBE_SECONDS)
                # A peer that vanished without a word is noticed by asking.
                await connection.execute("SELECT 1")
        finally:
            connection.terminate()
