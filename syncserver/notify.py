"""Hints that something changed: one listening connection a process, fanned out in memory.

A hint is never the truth. Whoever waits for one reads the feed again when it comes, and also when
it does not; so a lost hint costs time and nothing else. While the listening connection is away all
waiters are woken at once when it is back, because their hints may have gone by.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import asyncpg
import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHANNEL: Final = "fieldsync"
HINT_BYTES_MAX: Final = 7_900
"""PostgreSQL takes payloads below 8,000 bytes."""

CONNECT_SECONDS: Final = 10
RETRY_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 15

log = structlog.get_logger()


class Hint(msgspec.Struct, frozen=True, array_like=True):
    """Up to which number a tenant's feed has grown, and for whom; without readers, for anyone."""

    tenant_id: int
    seq: int
    readers: tuple[str, ...] | None


_HINTS: Final = msgspec.json.Decoder(tuple[Hint, ...])


def encode(hints: Iterable[Hint]) -> str:
    """Return the payload of one NOTIFY; readers are left out where they would not fit."""
    given = tuple(hints)
    payload = msgspec.json.encode(given)
    if len(payload) > HINT_BYTES_MAX:
        payload = msgspec.json.encode([Hint(hint.tenant_id, hint.seq, None) for hint in given])
    return payload.decode() if given else ""


class Hints:
    """The hints that reach this process. Made once, started and stopped by the app."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._waiting: dict[tuple[int, str], set[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    async def start(self) -> None:
        """Begin to listen. Returns when hints come in, or without them after a while."""
        self._listener = asyncio.create_task(self._listen(), name="hints")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._listening.wait(), CONNECT_SECONDS)

    async def stop(self) -> None:
        """Stop listening, and let everybody who waits go on."""
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        self._wake_all()

    @contextmanager
    def waiting(self, tenant_id: int, readers: Iterable[str]) -> Iterator[asyncio.Event]:
        """Give an event that is set when one of these readers may have something new.

        Begin to wait before reading: what is written in between has then set the event.
        """
        event = asyncio.Event()
        places = [(tenant_id, reader) for reader in readers]
        for place in places:
            self._waiting.setdefault(place, set()).add(event)
        try:
            yield event
        finally:
            for place in places:
                self._waiting[place].discard(event)
                if not self._waiting[place]:
                    del self._waiting[place]

    async def _listen(self) -> None:
        """Hold one connection and come back after each loss of it, until cancelled."""
        while True:
            try:
                await self._listen_once()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("hints_interrupted", error=type(error).__name__)
            self._wake_all()
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(self._database_url, timeout=CONNECT_SECONDS, command_timeout=CONNECT_SECONDS)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            await connection.add_listener(CHANNEL, lambda *heard: self._hear(str(heard[-1])))
            self._listening.set()
            self._wake_all()
            while not lost.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(lost.wait(), PROBE_SECONDS)
                # A peer that vanished without a word is noticed by asking.
                await connection.execute("SELECT 1")
        finally:
            connection.terminate()

    def _hear(self, payload: str) -> None:
        for hint in _HINTS.decode(payload):
            if hint.readers is None:
                self._wake(place for place in self._waiting if place[0] == hint.tenant_id)
            else:
                self._wake((hint.tenant_id, reader) for reader in hint.readers)

    def _wake_all(self) -> None:
        self._wake(self._waiting)

    def _wake(self, places: Iterable[tuple[int, str]]) -> None:
        for place in places:
            for event in self._waiting.get(place, ()):
                event.set()
