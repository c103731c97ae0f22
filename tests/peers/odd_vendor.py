"""A vendor over real HTTP that answers as it is told, and remembers every request; and one that breaks off."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from tests.peers.token_house import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Seen(msgspec.Struct, frozen=True):
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class Says(msgspec.Struct, frozen=True):
    """An answer to give. A body of bytes goes out as it is."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = {}


class Odd:
    """The vendor: `answers` are given one after the other, then `usual` for each path, or an empty 200."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Says] = []
        self.usual: dict[str, Says] = {}
        self.reacts: Callable[[Seen], Says] | None = None
        self.seen: list[Seen] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["raw_path"].decode() if scope.get("raw_path") else scope["path"]
        found = Seen(scope["method"], path, dict(parse_qsl(scope["query_string"].decode())), headers, body)
        self.seen.append(found)
        says = self._answer(found)
        content = says.body if isinstance(says.body, bytes) else json.dumps(says.body).encode()
        head = {"content-type": "application/json", **says.headers}
        pairs = [(name.encode(), value.encode()) for name, value in head.items()]
        await send({"type": "http.response.start", "status": says.status, "headers": pairs})
        await send({"type": "http.response.body", "body": content if says.body is not None else b""})

    def _answer(self, found: Seen) -> Says:
        if self.reacts is not None:
            return self.reacts(found)
        if self.answers:
            return self.answers.pop(0)
        return self.usual.get(found.path, Says())


@asynccontextmanager
async def running() -> AsyncIterator[Odd]:
    """Run a vendor on a free port until the block ends."""
    odd = Odd()
    async with serving(odd) as url:
        odd.url = url
        yield odd


@asynccontextmanager
async def breaking(says: bytes = b"", *, hangs: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Take a request whole, say what is given, and break off, or say no more; give address and requests."""
    taken: list[bytes] = []
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(says)
        await writer.drain()
        if hangs:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", taken
    over.set()
    server.close()
    await server.wait_closed()
