"""What a run is asked to do, and what follows from its seed: when edits are due, and who is away when.

Edits are due by the clock and never wait for the server (an open loop), so that a server which is
slow for a moment is charged for everything that should have happened meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import msgspec

DEVICES_MAX: Final = 5_000
SECONDS_MAX: Final = 86_400
EDITS_PER_SECOND_MAX: Final = 5_000
CONNECTIONS_MAX: Final = 1_000

AWAY_SHARE_MIN: Final = 0.2
AWAY_SHARE_MAX: Final = 0.6
"""An absence takes this much of the run, and falls anywhere inside it."""

Span = tuple[float, float]
"""From and to, in seconds since the work began."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. Shares are of 1; times are seconds."""

    ready_file: Path
    url: str | None = None
    devices: int = 500
    seconds: float = 60
    edits_per_second: float = 50
    dispatcher_share: float = 0.1
    """Writes of the dispatchers for each edit of a device, on what devices have just worked on."""
    away_share: float = 0.1
    """How many of the devices are out of reach for a part of the run."""
    lost_share: float = 0.005
    """How many answers to pushes get lost after the server has carried them out."""
    pull_every: float = 10
    """How often a device that does nothing looks for news."""
    batch_seconds: float = 0.2
    """How long a device waits for more before it pushes."""
    connections: int = 64
    drain_seconds: float = 180
    seed: int = 1
    json: Path | None = None


def chance(seed: int, purpose: str) -> Random:
    """Return a source of chance for one purpose, so that using one more often moves no other."""
    return Random(f"{seed}/{purpose}")  # noqa: S311  (a schedule that can be repeated, no secret)


def arrivals(random: Random, rate: float, seconds: float) -> Iterator[float]:
    """Yield when edits are due, in seconds from the start: at random, `rate` a second on average."""
    due = random.expovariate(rate) if rate > 0 else seconds
    while due < seconds:
        yield due
        due += random.expovariate(rate)


def absences(random: Random, options: Options) -> dict[int, Span]:
    """Return which devices, by their place, are out of reach, and when."""
    away = random.sample(range(options.devices), round(options.devices * options.away_share))
    return {place: _absence(random, options.seconds) for place in sorted(away)}


def _absence(random: Random, seconds: float) -> Span:
    length = seconds * random.uniform(AWAY_SHARE_MIN, AWAY_SHARE_MAX)
    begin = random.uniform(0, seconds - length)
    return begin, begin + length


def overlap(one: Span, other: Span) -> bool:
    """Tell whether two spans have a moment in common."""
    return one[0] < other[1] and other[0] < one[1]
