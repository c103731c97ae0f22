"""A vendor's server over real HTTP on loopback: reads whole requests, and can misbehave on the wire.

A handler returns what is answered: a `Response`, perhaps late, or `DROP`, which ends the connection without
a word. What the handler did before that has happened.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote, urlsplit

BODY_BYTES_MAX: Final = 1_048_576


@dataclass(frozen=True)
class Request:
    """A request, decoded. `path` is in steps, without empty ones."""

    method: str
    target: str
    path: tuple[str, ...]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; None if there is none."""
        return json.loads(self.body) if self.body else None

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode()))


@dataclass(frozen=True)
class Response:
    """An answer. `delay_seconds` is how late it comes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0


class Drop:
    """The connection ends without an answer."""


DROP: Final = Drop()
Handler = Callable[[Request], Awaitable[Response | Drop]]


class Server:
    """Listens on a free port of loopback while it is entered."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self.requests = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening, and end all talks."""
        assert self._server is not None
        self._server.close()
        for task in self._talks:
            task.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (request := await _read(reader)) is not None:
                    self.requests += 1
                    answer = await self._handler(request)
                    if isinstance(answer, Drop):
                        writer.transport.abort()
                        return
                    if answer.delay_seconds:
                        await asyncio.sleep(answer.delay_seconds)
                    writer.write(_written(answer))
                    await writer.drain()
        finally:
            writer.close()
            self._talks.discard(task)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """Read one request; None at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    length = int(headers.get("content-length", "0"))
    assert length <= BODY_BYTES_MAX, "a vendor takes no endless bodies"
    parts = urlsplit(target)
    return Request(
        method=method,
        target=target,
        path=tuple(unquote(step) for step in parts.path.split("/") if step),
        query=dict(parse_qsl(parts.query)),
        headers=headers,
        body=await reader.readexactly(length) if length else b"",
    )


def _written(answer: Response) -> bytes:
    body = b"" if answer.body is None else json.dumps(answer.body).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
