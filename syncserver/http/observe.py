"""Around every request: one line in the log and one count, without anything personal.

It stands outside the framework, so that requests which match no route are seen too.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

import structlog
from litestar.enums import ScopeType

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from syncserver.http.metrics import Metrics

NO_ROUTE: Final = "none"
QUIET: Final = frozenset({"/health", "/ready", "/metrics"})
"""Routes that machines ask every few seconds: counted, and logged only when they fail."""

REQUEST: Final = "request"
REQUEST_BYTES: Final = 8
HEADER: Final = b"x-request-id"
"""Tells the caller under which id a request stands in the log and in the audit log."""

log = structlog.get_logger()


class Observed:
    """The application, observed."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note what came of it."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        status, begun, name = 500, time.perf_counter(), secrets.token_hex(REQUEST_BYTES)

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (HEADER, name.encode())]
            await send(message)

        try:
            with structlog.contextvars.bound_contextvars(**{REQUEST: name}):
                await self.app(scope, receive, noting)
        finally:
            self._note(scope, status, time.perf_counter() - begun, name)

    def _note(self, scope: Scope, status: int, seconds: float, name: str) -> None:
        # The path itself holds ids of records; its pattern does not.
        route, method = str(scope.get("path_template") or NO_ROUTE), str(scope.get("method"))
        self._metrics.answered(method, route, status, seconds)
        if route not in QUIET or status >= 400:
            log.info("request", method=method, route=route, status=status, ms=round(seconds * 1_000, 1), request=name)
