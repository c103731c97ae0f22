"""How polling goes on: from when it asks, where it stands afterwards, and how often it looks.

Three things would lose records, and none of them happens here. A time of change that two records share:
what is asked for begins with the last time that was seen, not after it. A record that gets its time
before it can be read: what is asked for overlaps what was read by as much as the manifest says. A crash
between two pages: where polling stands moves only when all pages are stored.

Reading again costs nothing: the same record in the same state is the same event.

Pure: times are arguments, in seconds since 1970.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upstream.manifest import Incremental

MISSES_MAX: Final = 2
"""After so many polls in a row that found what no webhook had brought, webhooks count as quiet."""
FAILURE_SECONDS: Final = 30.0
FAILURE_SECONDS_MAX: Final = 3_600.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where polling of an object stands. `since`: all that changed before it is stored, if the overlap is enough."""

    since: float | None = None
    misses: int = 0
    is_quiet: bool = False


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a poll found: the newest time of change, and whether any of it was news."""

    newest: float | None = None
    is_news: bool = False


def begins(standing: Standing, source: Incremental) -> float:
    """Return from when on changes are asked for: the beginning of time at first."""
    return 0.0 if standing.since is None else max(0.0, standing.since - source.overlap_seconds)


def after(standing: Standing, found: Found, *, has_hooks: bool, was_hooked: bool) -> Standing:
    """Return where polling stands once all that it found is stored.

    `has_hooks`: the vendor has been told to call; `was_hooked`: it has, since the last poll. A first poll
    shows the state of things, of which no webhook could have told.
    """
    times = [time for time in (standing.since, found.newest) if time is not None]
    missed = found.is_news and standing.since is not None
    misses = 0 if was_hooked or not has_hooks else standing.misses + missed
    return Standing(since=max(times, default=None), misses=misses, is_quiet=misses >= MISSES_MAX)


def pause(standing: Standing, source: Incremental, *, has_hooks: bool) -> float:
    """Return in how many seconds it is looked again."""
    return float(source.calm_seconds if has_hooks and not standing.is_quiet else source.seconds)


def pause_after_failure(failures: int, asked_ms: int) -> float:
    """Return in how many seconds it is tried again, after so many failures in a row."""
    return max(asked_ms / 1_000, min(FAILURE_SECONDS_MAX, FAILURE_SECONDS * float(2 ** min(failures, 10))))


def newest(times: Iterable[float | None], asked_at: float) -> float | None:
    """Return the newest of the times that are known and were not yet to come when it was asked.

    Of a vendor that errs once, and dates a record in years ahead, nothing else would be found till then.
    """
    return max((time for time in times if time is not None and time <= asked_at), default=None)
