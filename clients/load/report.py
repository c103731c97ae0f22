"""The report of a run: as JSON for machines, and in a few lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from clients.load.check import Found
from clients.load.figures import Outage, Spread
from clients.load.watch import Restart, Use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.load.figures import Histogram, Meter

DIFFERENCES_SHOWN: Final = 20
LATE_MS_WORTH_TELLING: Final = 100


class PhaseReport(msgspec.Struct, frozen=True):
    """How long requests of each kind took in a phase, from when they were asked for, and what failed."""

    answers: dict[str, Spread]
    failures: dict[str, int]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known after a run. Times are seconds since its begin, unless a name says otherwise.

    `edit_to_verdict_online` and `..._backlog` count from the moment an edit was due, not from when it
    was sent; the second are those whose device was out of reach at some time in between. Where
    `edit_made_late` is long, it was this process that could not keep up.
    """

    options: dict[str, Any]
    began_at: str
    durations: dict[str, float]
    stopped_early: bool
    counts: dict[str, int]
    edits_per_second: float
    verdicts_per_second: float
    phases: dict[str, PhaseReport]
    edit_to_verdict_online: Spread
    edit_to_verdict_backlog: Spread
    edit_made_late: Spread
    by_second: dict[str, list[int]]
    restarts: tuple[Restart, ...]
    outages: tuple[Outage, ...]
    server: Use | None
    load: Use
    check: Found | None
    failure: str | None
    well: bool


def phases(meter: Meter) -> dict[str, PhaseReport]:
    """Return what each phase counted."""
    return {
        name: PhaseReport({what: taken.spread() for what, taken in phase.answers.items()}, dict(phase.failures))
        for name, phase in meter.phases.items()
    }


def text(report: Report) -> str:
    """Return the report as JSON with a line for each of its parts."""
    parts = msgspec.json.decode(msgspec.json.encode(report), type=dict[str, msgspec.Raw])
    return "{\n" + ",\n".join(f'"{name}": {bytes(part).decode()}' for name, part in parts.items()) + "\n}\n"


def lines(report: Report) -> Iterator[str]:
    """Yield the report in words. Of a run that ended before any work there is only why."""
    if "work" not in report.durations or "work" not in report.phases:
        yield from _verdict(report)
        return
    counts, work = report.counts, report.phases["work"]
    yield (
        f"{counts.get('edits', 0)} edits and {counts.get('saved', 0)} dispatchers' writes in "
        f"{report.durations['work']:.1f} s ({report.edits_per_second:.1f} edits a second)"
    )
    yield f"edit to verdict  {_times(report.edit_to_verdict_online)}"
    if report.edit_to_verdict_backlog.count:
        yield f"  after absence  {_times(report.edit_to_verdict_backlog)}"
    if report.edit_made_late.p99_ms > LATE_MS_WORTH_TELLING:
        yield f"made too late    {_times(report.edit_made_late)}: this machine could not keep up with the schedule"
    for what, taken in sorted(work.answers.items()):
        yield f"{what:<16} {_times(taken)}"
    yield from _disturbances(report)
    used = f"{report.load.cpu_seconds} s of CPU, {report.load.rss_mb_max} MB here"
    if report.server is not None:
        used += f"; {report.server.cpu_seconds} s of CPU, {report.server.rss_mb_max} MB in the server's process"
    yield used
    yield from _verdict(report)


def _disturbances(report: Report) -> Iterator[str]:
    failures = ", ".join(
        f"{times} {why}" for phase in report.phases.values() for why, times in sorted(phase.failures.items())
    )
    yield (
        f"{len(report.restarts)} restarts of the server noticed; {report.counts.get('back-offs', 0)} waits before "
        f"another attempt; failures: {failures or 'none'}"
    )


def _verdict(report: Report) -> Iterator[str]:
    found = report.check
    if found is None:
        yield f"NOT CHECKED: {report.failure}"
        return
    kinds = ", ".join(f"{times} {verdict}" for verdict, times in sorted(found.verdicts.items()))
    yield f"{found.edits} edits and {found.dispatcher_writes} writes of dispatchers, {found.cells} cells: {kinds}"
    yield (
        f"{found.devices} devices with {found.copies} copies were compared with the server; {found.lines} lines and "
        f"{found.counts} counts were added up"
    )
    for difference in found.differences[:DIFFERENCES_SHOWN]:
        yield f"DIFFERENT: {difference}"
    yield f"{'All is well' if report.well else 'NOT all is well'}: {found.difference_count} differences"


def _times(spread: Spread) -> str:
    return (
        f"{spread.count:>7} times, p50 {spread.p50_ms:.0f} ms, p95 {spread.p95_ms:.0f} ms, p99 {spread.p99_ms:.0f} ms, "
        f"longest {spread.max_ms:.0f} ms"
    )


def short(taken: Histogram) -> str:
    """Return the heart of a histogram for a line that moves."""
    return f"p50 {taken.quantile(0.5):.0f} ms, p99 {taken.quantile(0.99):.0f} ms"
