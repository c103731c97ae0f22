"""What is looked at from outside while a run goes on: is it still the same server, what does it use, what do we."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_SECONDS: Final = 1.0
PROCESSES: Final = Path("/proc")
MEGABYTE: Final = 1_048_576
RSS_UNIT_BYTES: Final = 1 if sys.platform == "darwin" else 1_024
"""What the highest memory of a process is counted in."""


class Restart(msgspec.Struct, frozen=True):
    """Another server process was ready, so many seconds after the run began."""

    at: float
    pid: int


class Use(msgspec.Struct, frozen=True):
    """What a process used: CPU seconds of the run, and its highest memory."""

    cpu_seconds: float
    rss_mb_max: float


class _Facts(msgspec.Struct, frozen=True):
    server_pid: int | None = None


class Watch:
    """Looks at the ready file and, where the server runs on this machine, at its processes."""

    def __init__(self, ready_file: Path, clock: Callable[[], float]) -> None:
        self._ready_file = ready_file
        self._clock = clock
        self._pid: int | None = None
        self._seen: dict[int, tuple[float, float]] = {}
        self._rss_max = 0.0
        self._own_from = own_cpu_seconds()
        self.restarts: list[Restart] = []

    def look(self) -> None:
        """Take note of the server as it is now."""
        pid = self._read_pid()
        if pid is None:
            return
        if self._pid is not None and pid != self._pid:
            self.restarts.append(Restart(round(self._clock(), 1), pid))
        self._pid = pid
        if (used := _process(pid)) is not None:
            cpu, rss = used
            first, _ = self._seen.get(pid, (cpu, cpu))
            self._seen[pid] = first, cpu
            self._rss_max = max(self._rss_max, rss)

    def _read_pid(self) -> int | None:
        """Return whom the ready file names; while a server is away there may be no such file."""
        try:
            return msgspec.json.decode(self._ready_file.read_bytes(), type=_Facts).server_pid
        except (OSError, msgspec.DecodeError):
            return self._pid

    def server(self) -> Use | None:
        """Return what the server used in all its lives, where that can be known."""
        if not self._seen:
            return None
        return Use(round(sum(last - first for first, last in self._seen.values()), 1), round(self._rss_max, 1))

    def own(self) -> Use:
        """Return what this process used."""
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT_BYTES / MEGABYTE
        return Use(round(own_cpu_seconds() - self._own_from, 1), round(rss, 1))


def own_cpu_seconds() -> float:
    """Return the CPU time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _process(pid: int) -> tuple[float, float] | None:
    """Return a process's CPU seconds and megabytes; None where the system does not show them."""
    try:
        stat = (PROCESSES / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        pages = (PROCESSES / str(pid) / "statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    # The name of the program stands in parentheses and may contain anything.
    user, system = stat.rpartition(")")[2].split()[11:13]
    cpu = (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return cpu, int(pages) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
