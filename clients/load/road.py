"""The one road that all devices share: a pool of connections, measured, on which answers can get lost.

Each connection has a transport of its own. A pool of the library looks through all its connections
and all that wait at each request, which for hundreds of devices is dearer than the requests.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from clients.transport import TRANSIENT
from replication import wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from clients.load.figures import Meter

NAMES: Final = {wire.PATH_PUSH: "push", wire.PATH_PULL: "pull", wire.PATH_ENROL: "enrol"}
OTHER: Final = "rest"
ONE: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1)


class Road(httpx.AsyncBaseTransport):
    """Lends each request a connection, the one used last first, and times it from when it was asked for."""

    def __init__(self, meter: Meter, clock: Callable[[], float], *, connections: int) -> None:
        context = httpx.create_ssl_context()
        self._meter = meter
        self._clock = clock
        self._all = [httpx.AsyncHTTPTransport(verify=context, limits=ONE) for _ in range(connections)]
        self._free = [*self._all]
        self._gate = asyncio.Semaphore(connections)
        self._random: Random | None = None
        self._lost_share = 0.0

    def client(self) -> httpx.AsyncClient:
        """Return a client whose requests take this road; closing it closes all connections."""
        return httpx.AsyncClient(transport=self)

    def lose(self, random: Random, share: float) -> None:
        """From now on lose this share of the answers to pushes, after the server has given them."""
        self._random, self._lost_share = random, share

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request there and its whole answer back."""
        what, begin = NAMES.get(request.url.path, OTHER), self._clock()
        try:
            response = await self._carry(request)
        except httpx.TransportError as error:
            if isinstance(error, httpx.ConnectError):
                self._meter.unreachable(self._clock())
            self._meter.failed(what, type(error).__name__, self._clock())
            raise
        self._note(what, response, begin)
        self._may_lose(what, request)
        return response

    async def _carry(self, request: httpx.Request) -> httpx.Response:
        async with self._gate:
            connection = self._free.pop()
            try:
                response = await connection.handle_async_request(request)
                try:
                    body = b"".join([part async for part in response.aiter_raw()])
                finally:
                    await response.aclose()
            finally:
                self._free.append(connection)
        return httpx.Response(response.status_code, headers=response.headers, content=body)

    def _note(self, what: str, response: httpx.Response, begin: float) -> None:
        now = self._clock()
        if response.status_code in TRANSIENT:
            self._meter.failed(what, f"{response.status_code} {_code(response)}".rstrip(), now)
        else:
            self._meter.answered(what, (now - begin) * 1_000, now)

    def _may_lose(self, what: str, request: httpx.Request) -> None:
        if what == "push" and self._random is not None and self._random.random() < self._lost_share:
            self._meter.failed(what, "lost on purpose", self._clock())
            raise httpx.ReadError("the answer was lost on purpose", request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(connection.aclose() for connection in self._all))


def _code(response: httpx.Response) -> str:
    try:
        return str(msgspec.json.decode(response.content, type=dict[str, Any]).get("code", ""))
    except msgspec.DecodeError:
        return ""
