"""How a worker is, for those who watch it: `/health`, `/ready` and `/metrics`, and nothing else.

A worker serves nobody, so this is no framework: three answers, made in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from litestar.enums import ScopeType
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from syncserver.http.metrics import MEDIA_TYPE, SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from litestar.types import Receive, Scope, Send
    from prometheus_client.metrics_core import Metric

    from syncserver.commands.upkeep import Turn

ROUTES: Final = ("/health", "/ready", "/metrics")
JSON: Final = "application/json"
METHODS: Final = ("GET", "HEAD")
LAG_SECONDS: Final = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400)
"""From at once to a day: a vendor may be away."""


class Reading(Protocol):
    """One metric that is read rather than counted: a number for each value of its labels."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def text(self) -> str:
        """What it means."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """What its labels are called."""
        ...

    @property
    def samples(self) -> tuple[tuple[tuple[str, ...], float], ...]:
        """The numbers, each with the values of its labels."""
        ...


class _Readings(Collector):
    """Gives what was read last."""

    def __init__(self) -> None:
        self.held: list[Reading] = []

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its numbers."""
        for reading in self.held:
            family = GaugeMetricFamily(reading.name, reading.text, labels=reading.labels)
            for values, number in reading.samples:
                family.add_metric(values, number)
            yield family


class Work(Protocol):
    """A piece of work for vendors that ended; `upstream.worker.Done` is one."""

    @property
    def kind(self) -> str:
        """What was done: plan or carry."""
        ...

    @property
    def connection(self) -> str:
        """For which connection."""
        ...

    @property
    def lane(self) -> str:
        """In which lane."""
        ...

    @property
    def came(self) -> str:
        """What came of it."""
        ...

    @property
    def lag_seconds(self) -> float:
        """How old the change is."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...


class WorkerMetrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._readings = _Readings()
        self._registry.register(self._readings)
        self.registry = self._registry
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

        self._work = Counter(
            "fieldsync_work",
            "Pieces of work for vendors: plan or carry, and what came of them.",
            ("kind", "connection", "lane", "came"),
            registry=self._registry,
        )
        self._lag = Histogram(
            "fieldsync_delivery_lag_seconds",
            "From a change to the vendor's confirmation of it.",
            ("connection",),
            buckets=LAG_SECONDS,
            registry=self._registry,
        )
        self._working = Histogram(
            "fieldsync_work_seconds",
            "How long a piece of work for vendors took.",
            ("kind",),
            buckets=SECONDS,
            registry=self._registry,
        )

        self._failures = Counter(
            "fieldsync_inward_failures",
            "Mistakes on our side while vendors were looked at or asked; the log has each.",
            ("task",),
            registry=self._registry,
        )

    def failed(self, task: str) -> None:
        """Count one mistake on our side."""
        self._failures.labels(task).inc()

    def worked(self, done: Work) -> None:
        """Count one piece of work for vendors."""
        self._work.labels(done.kind, done.connection, done.lane, done.came).inc()
        self._working.labels(done.kind).observe(done.seconds)
        if done.came == "confirmed":
            self._lag.labels(done.connection).observe(done.lag_seconds)

    def turned(self, turn: Turn) -> None:
        """Count one turn."""
        self._turns.labels(turn.task, turn.outcome).inc()
        self._rows.labels(turn.task).inc(turn.rows)
        self._seconds.labels(turn.task).observe(turn.seconds)

    def show(self, readings: Iterable[Reading]) -> None:
        """Show these numbers from now on, in place of those of before."""
        self._readings.held = list(readings)

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
