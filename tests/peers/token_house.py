"""An issuer and a vendor in one over real HTTP: tokens that rotate, are good once, and come slowly.

It remembers all that it was asked, and holds whoever sends a spent refresh token to account, as issuers
do that rotate: the whole family is void.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENT, SECRET = "fieldsync", "house-client-secret-55c1"


class House:
    """The issuer and vendor. Its attributes are the ways in which it can be told to misbehave."""

    def __init__(self) -> None:
        self.url = ""
        self.seconds = 3_600
        self.slow_seconds = 0.3
        self.forgives = False
        """Whether a refresh token that was used is accepted once more."""
        self.fails: list[int] = []
        """Statuses that the next token requests are answered with instead."""
        self.access = "access-0"
        self.refresh = "refresh-0"
        self.spent: set[str] = set()
        self.renewals = 0
        self.refused: list[str] = []
        self.calls: list[str] = []
        self.arrivals = 0
        self.asked = asyncio.Event()
        """Set by the first request for a token."""

    def expire(self) -> None:
        """Stop accepting the access token that is out there."""
        self.access = secrets.token_hex(8)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        if scope["path"] == "/token":
            status, said = await self._token(parse_qs(body.decode()), headers)
        else:
            status, said = self._thing(headers)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": json.dumps(said).encode()})

    async def _token(self, form: dict[str, list[str]], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.arrivals += 1
        self.asked.set()
        given = form.get("refresh_token", [""])[0]
        expected = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if headers.get("authorization") != f"Basic {expected}":
            return self._no("invalid_client")
        if self.fails:
            return self.fails.pop(0), {"sorry": "not now"}
        await asyncio.sleep(self.slow_seconds)
        if given != self.refresh and not (self.forgives and given in self.spent):
            return self._no("invalid_grant")
        self.spent.add(given)
        self.renewals += 1
        self.access, self.refresh = f"access-{secrets.token_hex(8)}", f"refresh-{secrets.token_hex(8)}"
        return 200, {"access_token": self.access, "refresh_token": self.refresh, "expires_in": self.seconds}

    def _no(self, error: str) -> tuple[int, dict[str, Any]]:
        self.refused.append(error)
        return 400, {"error": error}

    def _thing(self, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        shown = headers.get("authorization", "").removeprefix("Bearer ")
        self.calls.append(shown)
        return (200, {"id": "7"}) if shown == self.access else (401, {"error": "expired"})


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """Serve an ASGI application on a free port, and give its address."""
    quiet: dict[str, Any] = {"lifespan": "off", "log_config": None, "date_header": False}
    config = uvicorn.Config(app, timeout_graceful_shutdown=1, **quiet, **options)
    server, listener = uvicorn.Server(config), socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as on the sockets that asyncio itself opens
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        assert not task.done(), "the peer did not start"
        await asyncio.sleep(0.01)
    yield f"http{'s' if options else ''}://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    await task
    listener.close()


@asynccontextmanager
async def running() -> AsyncIterator[House]:
    """Run a house on a free port until the block ends."""
    house = House()
    async with serving(house) as url:
        house.url = url
        yield house
