"""Figures of a run: how long things took, how often they happened, second by second.

Times are counted in buckets that grow by a twentieth, so that a quantile is exact to that, however
many there are, and two runs can be added.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import msgspec

BUCKET_GROWTH: Final = 1.05
SHORTEST_MS: Final = 0.1

PHASES: Final = ("set_up", "work", "drain")


class Spread(msgspec.Struct, frozen=True):
    """How long something took, in milliseconds. Buckets: upper end, and how many fell into it."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    buckets: tuple[tuple[float, int], ...]


class Histogram:
    """Counts how long something took."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._sum = 0.0
        self._max = 0.0

    def add(self, ms: float) -> None:
        """Count one."""
        place = math.ceil(math.log(max(ms, SHORTEST_MS) / SHORTEST_MS, BUCKET_GROWTH))
        self._buckets[place] += 1
        self._sum += ms
        self._max = max(self._max, ms)

    @property
    def count(self) -> int:
        """How many were counted."""
        return self._buckets.total()

    def quantile(self, share: float) -> float:
        """Return the time within which this share of all stayed; 0 if there are none."""
        rank, seen = math.ceil(self.count * share), 0
        for place in sorted(self._buckets):
            seen += self._buckets[place]
            if seen >= rank:
                return min(_upper(place), self._max)
        return 0.0

    def spread(self) -> Spread:
        """Return what was counted."""
        count = self.count
        return Spread(
            count=count,
            mean_ms=round(self._sum / count, 2) if count else 0.0,
            p50_ms=round(self.quantile(0.5), 2),
            p95_ms=round(self.quantile(0.95), 2),
            p99_ms=round(self.quantile(0.99), 2),
            max_ms=round(self._max, 2),
            buckets=tuple((round(_upper(place), 2), self._buckets[place]) for place in sorted(self._buckets)),
        )


def _upper(place: int) -> float:
    return SHORTEST_MS * float(BUCKET_GROWTH**place)


class Phase:
    """What one phase of a run counts."""

    def __init__(self) -> None:
        self.answers: dict[str, Histogram] = {}
        self.failures: Counter[str] = Counter()


class Outage(msgspec.Struct, frozen=True):
    """A time in which nobody could connect, in seconds since the run began."""

    since: float
    until: float


class Meter:
    """Counts what happens. `now` is in seconds since the run began."""

    def __init__(self) -> None:
        self.phases = {name: Phase() for name in PHASES}
        self.phase = self.phases["set_up"]
        self.online = Histogram()
        self.backlog = Histogram()
        self.late = Histogram()
        self.counts: Counter[str] = Counter()
        self.by_second: dict[str, Counter[int]] = {}
        self.outages: list[Outage] = []
        self._down_since: float | None = None

    def begin(self, phase: str) -> None:
        """Count for this phase from now on."""
        self.phase = self.phases[phase]

    def happened(self, what: str, now: float) -> None:
        """Count something, in all and in its second."""
        self.counts[what] += 1
        self.by_second.setdefault(what, Counter())[int(now)] += 1

    def answered(self, what: str, ms: float, now: float) -> None:
        """Count an answer."""
        self.phase.answers.setdefault(what, Histogram()).add(ms)
        self.happened(what, now)
        if self._down_since is not None:
            self.outages.append(Outage(round(self._down_since, 2), round(now, 2)))
            self._down_since = None

    def failed(self, what: str, why: str, now: float) -> None:
        """Count a request that got no answer, or one that says no more than `not now`."""
        self.phase.failures[f"{what}: {why}"] += 1
        self.happened("failures", now)

    def unreachable(self, now: float) -> None:
        """Note that nobody listens; the next answer ends that."""
        if self._down_since is None:
            self._down_since = now

    def acknowledged(self, ms: float, now: float, *, away: bool) -> None:
        """Count an edit that got its verdict this long after it was due."""
        (self.backlog if away else self.online).add(ms)
        self.happened("acknowledged", now)

    def seconds(self) -> dict[str, list[int]]:
        """Return what happened in each second of the run."""
        last = max((second for counted in self.by_second.values() for second in counted), default=-1)
        return {
            what: [counted[second] for second in range(last + 1)] for what, counted in sorted(self.by_second.items())
        }
