"""What the service counts, in the form that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from replication.verdict import MutationVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    import msgspec

    from replication import wire

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
OTHER: Final = "other"
"""What a method is counted as that nobody here knows: a caller may think of any word."""
SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0)


class Metrics:
    """The counters of one server process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._stored = CollectorRegistry()
        """What only the database knows."""
        self._mutations = self._counter("push_mutations", "Mutations settled, by verdict.", "verdict")
        self._records = self._counter("pull_records", "Changes of records sent to devices.")
        self._conflicts = self._counter(
            "conflicts", "Concurrent writes that needed the policy.", "collection", "field", "rule"
        )
        self._hooks = self._counter("hook_events", "Vendors' events: new, repeated, or calls refused.", "outcome")
        self._lag = Gauge(
            "fieldsync_device_lag_seconds",
            "Age of the oldest change that a device which still calls has not pulled; the largest of all devices.",
            registry=self._stored,
        )
        self._requests = Histogram(
            "fieldsync_http_request_seconds",
            "Time to answer, by route and status.",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=self._registry,
        )

    def settled(self, verdicts: Iterable[MutationVerdict | msgspec.Raw]) -> None:
        """Count what was judged. A verdict given again comes as stored bytes and was counted before."""
        for verdict in verdicts:
            if isinstance(verdict, MutationVerdict):
                self._mutations.labels(verdict.verdict).inc()
                self.met(verdict)

    def met(self, verdict: MutationVerdict) -> None:
        """Count the conflicts that one mutation met, a device's or the office's."""
        for cell, told in verdict.cells.items():
            if told.conflict is not None:
                self._conflicts.labels(verdict.collection, cell, told.rule or "").inc()

    def pulled(self, commits: Iterable[wire.Commit]) -> None:
        """Count the changes of a page."""
        self._records.inc(sum(len(commit.changes) for commit in commits))

    def hooked(self, outcome: str, events: int) -> None:
        """Count what a vendor's call brought."""
        self._hooks.labels(outcome).inc(events)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request by the pattern of its route, never by its path."""
        self._requests.labels(method if method in METHODS else OTHER, route, str(status)).observe(seconds)

    def page(self, lag_seconds: float | None) -> bytes:
        """Return everything as text; the lag, asked for only when somebody looks, is left out if nobody knows it."""
        if lag_seconds is None:
            return generate_latest(self._registry)
        self._lag.set(lag_seconds)
        return generate_latest(self._registry) + generate_latest(self._stored)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"fieldsync_{name}", text, labels, registry=self._registry)
