"""A road to PostgreSQL that breaks at a chosen statement, before it arrives or after it was done."""

from __future__ import annotations

import asyncio
import struct
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

Moment = Literal["before", "after"]

EXECUTES: Final = (b"Q", b"E")
"""The messages of a client that run a statement: a simple query, and Execute of a prepared one."""

READY: Final = b"Z"


class Proxy:
    """Forwards connections. Counts statements; at one of them it cuts the connection it came by.

    `before`: the statement never reaches the server. `after`: it was done, and nobody hears of it.
    """

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.statements = 0
        self.cut_at = 0
        self.moment: Moment = "before"
        self.cuts = 0

    async def start(self, port: int = 0) -> str:
        """Begin to forward, at a free port or at a given one, and return the address to use instead."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        port = self._server.sockets[0].getsockname()[1]
        user = self._there.netloc.rpartition("@")[0]
        return urlunsplit(self._there._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable"))

    async def stop(self) -> None:
        """End all that was forwarded."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self, statement: int, moment: Moment) -> None:
        """Cut at this statement, counted from now on, once."""
        self.statements, self.cut_at, self.moment, self.cuts = 0, statement, moment, 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection, both ways, until either end closes it or it is cut."""
        there_reader, there_writer = await asyncio.open_connection(self._there.hostname, self._there.port)
        done = asyncio.Event()
        ways = {
            asyncio.create_task(self._questions(reader, there_writer, done)),
            asyncio.create_task(self._answers(there_reader, writer, done)),
        }
        self._tasks |= ways
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._tasks -= ways
            writer.transport.abort()
            there_writer.transport.abort()

    async def _questions(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, done: asyncio.Event) -> None:
        """Pass on what the client asks, up to the statement at which the connection is cut."""
        there.write(await _startup(reader))
        while True:
            kind, message = await _message(reader)
            if kind in EXECUTES and self._is_due():
                if self.moment == "before":
                    return
                done.set()
            there.write(message)

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, done: asyncio.Event) -> None:
        """Pass answers on; after the cut swallow them, up to the one that says all is done."""
        while True:
            kind, message = await _message(there)
            if not done.is_set():
                writer.write(message)
            elif kind == READY:
                return

    def _is_due(self) -> bool:
        self.statements += 1
        due = self.statements == self.cut_at
        self.cuts += due
        return due


async def _startup(reader: asyncio.StreamReader) -> bytes:
    """Read the message that has no type. The address says that SSL is not to be asked for."""
    length = await reader.readexactly(4)
    return length + await reader.readexactly(struct.unpack(">i", length)[0] - 4)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    length = await reader.readexactly(4)
    return kind, kind + length + await reader.readexactly(struct.unpack(">i", length)[0] - 4)
