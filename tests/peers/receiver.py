"""Somebody who takes webhooks over real HTTP, and checks them with a library that is not ours."""

from __future__ import annotations

import json
from typing import Any

from standardwebhooks.webhooks import Webhook

from tests.peers.vendor.server import DROP, Drop, Request, Response, Server


class Receiver:
    """Keeps what it is told, and answers as it is set to."""

    def __init__(self) -> None:
        self.server = Server(self._answer)
        self.came: list[Request] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.drops = False

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.server.url}/told"

    @property
    def types(self) -> list[str]:
        """What kinds of messages came, in their order."""
        return [json.loads(request.body)["type"] for request in self.came]

    def verified(self, secret: str, place: int = -1) -> Any:
        """Return what a message says, once the library believes it."""
        request = self.came[place]
        return Webhook(secret).verify(request.body, request.headers)

    async def _answer(self, request: Request) -> Response | Drop:
        self.came.append(request)
        return DROP if self.drops else Response(self.status, {"ok": self.status == 200}, headers=self.headers)
