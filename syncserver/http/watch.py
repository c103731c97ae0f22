"""How a worker is, for those who watch it: `/health`, `/ready` and `/metrics`, and nothing else.

A worker serves nobody, so this is no framework: three answers, made in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from litestar.enums import ScopeType
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from syncserver.http.metrics import MEDIA_TYPE, SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar.types import Receive, Scope, Send

    from syncserver.commands.upkeep import Turn

ROUTES: Final = ("/health", "/ready", "/metrics")
JSON: Final = "application/json"
METHODS: Final = ("GET", "HEAD")


class WorkerMetrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._turns = Counter(
            "fieldsync_upkeep_turns",
            "Turns of tasks: done, more to do, taken by another worker, database away, or failed.",
            ("task", "outcome"),
            registry=self._registry,
        )
        self._rows = Counter("fieldsync_upkeep_rows", "Rows that a task took away.", ("task",), registry=self._registry)
        self._seconds = Histogram(
            "fieldsync_upkeep_turn_seconds",
            "How long a turn of a task took.",
            ("task",),
            buckets=SECONDS,
            registry=self._registry,
        )

    def turned(self, turn: Turn) -> None:
        """Count one turn."""
        self._turns.labels(turn.task, turn.outcome).inc()
        self._rows.labels(turn.task).inc(turn.rows)
        self._seconds.labels(turn.task).observe(turn.seconds)

    def page(self) -> bytes:
        """Return everything as text."""
        return generate_latest(self._registry)


class Watch:
    """Answers those who watch. `is_alive`: the worker goes round; `is_ready`: it reaches the database."""

    def __init__(self, metrics: WorkerMetrics, is_alive: Callable[[], bool], is_ready: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._is_alive = is_alive
        self._is_ready = is_ready

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] == ScopeType.HTTP, "the server was told to offer nothing else"
        status, media_type, content = self._answer(scope["method"], scope["path"])
        headers = [(b"content-type", media_type.encode()), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else content
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _answer(self, method: str, path: str) -> tuple[int, str, bytes]:
        if path not in ROUTES:
            return 404, JSON, _said(f"there are {', '.join(ROUTES)}")
        if method not in METHODS:
            return 405, JSON, _said("GET it")
        if path == "/metrics":
            return 200, MEDIA_TYPE, self._metrics.page()
        good, well, ill = (
            (self._is_alive(), "ok", "the worker does not go round")
            if path == "/health"
            else (self._is_ready(), "ready", "the database does not answer")
        )
        return (200, JSON, _said(well)) if good else (503, JSON, _said(ill))


def _said(status: str) -> bytes:
    return msgspec.json.encode({"status": status})
