"""A road between a client and the server that can lose an answer.

The request arrives and is carried out; what comes back is thrown away and the connection cut. This
is what a train entering a tunnel does to an app, and the case that exactly-once effect is about.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES: int = 65_536
CONNECT_SECONDS_MAX: float = 5.0


class Relay:
    """Forwards connections to one server as they are."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._path: bytes | None = None
        self.lost: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._serving.values():
            writer.transport.abort()
        await asyncio.gather(*self._serving)

    @property
    def url(self) -> str:
        """The address to use in place of the server's own."""
        assert self._server is not None, "the relay has to be entered first"
        port = self._server.sockets[0].getsockname()[1]
        return urlunsplit(self._there._replace(netloc=f"127.0.0.1:{port}"))

    def lose_answer(self, path: str) -> None:
        """Lose the answer to the next request of this path, once."""
        self._path = f" {path} ".encode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = writer
        try:
            with suppress(OSError, TimeoutError):
                await self._join(reader, writer)
        finally:
            del self._serving[task]
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            there_reader, there_writer = await asyncio.open_connection(self._there.hostname, self._there.port)
        road = _Road()
        back = asyncio.create_task(self._answers(there_reader, writer, road))
        forth = asyncio.create_task(self._requests(reader, there_writer, road))
        try:
            await asyncio.wait({back, forth}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in (back, forth):
                direction.cancel()
            await asyncio.gather(back, forth, return_exceptions=True)
            there_writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, road: _Road) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            # A client that waits for each answer begins a request with a chunk of its own.
            if self._path is not None and self._path in chunk.split(b"\r\n", 1)[0]:
                self._path, road.breaks = None, True
            there.write(chunk)
            await there.drain()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, road: _Road) -> None:
        while chunk := await there.read(CHUNK_BYTES):
            if road.breaks:
                self.lost.append(chunk)
                return
            writer.write(chunk)
            await writer.drain()


class _Road:
    """One connection; `breaks` says that what comes back on it is lost."""

    breaks = False
