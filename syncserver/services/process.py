"""A server under its guard, seen from the starter: start it, look whether it lives, stop it.

Why there is a guard at all is told in `guard.py`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from syncserver.services import guard

INHERITED: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""All that a server gets of our environment: secrets of the service are none of its business."""

GUARD_SLACK_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 10.0
LOG_TAIL_BYTES: Final = 4_000
PROC: Final = Path("/proc") if Path("/proc/self/stat").exists() else None
"""Where the kernel tells about processes; elsewhere `ps` is asked."""

PF_EXITING: Final = 0x4
"""The kernel's flag of a process that is being taken down, which a large one is for a while."""


class GuardFailed(Exception):
    """The server could not even be begun; `step` says whether folder or program was the obstacle."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.reason = reason


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the guard is to run, as whom, and which signals end it after how much patience."""

    command: list[str]
    env: dict[str, str]
    cwd: str
    user: int | None
    group: int | None
    cover: str | None
    reveal: str | None
    stops: list[tuple[int, float]]
    parent: int


class _Begun(msgspec.Struct, frozen=True):
    """The guard's one line of answer."""

    pid: int | None = None
    step: str = "guard"
    error: str = "the guard ended without a word"


class Guarded:
    """A running server; letting go of this object stops it."""

    def __init__(self, guarding: subprocess.Popen[bytes], pid: int, patience_seconds: float) -> None:
        self._guarding = guarding
        self._patience_seconds = patience_seconds
        self.pid = pid

    def alive(self) -> bool:
        """Whether the server has not ended."""
        return self._guarding.poll() is None

    def wait(self, timeout_seconds: float) -> int:
        """The exit code of a program that ends by itself; one that takes too long is stopped first."""
        with suppress(subprocess.TimeoutExpired):
            self._guarding.wait(timeout_seconds)
        return self.stop()

    def stop(self) -> int:
        """End the server in order and give its exit code; a second call changes nothing."""
        assert self._guarding.stdin is not None
        self._guarding.stdin.close()
        return self._guarding.wait(self._patience_seconds)


def environment() -> dict[str, str]:
    """The environment of a server: English messages, and little else."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def start(order: Order, *, log: Path, keep: int | None = None) -> Guarded:
    """Run the order under a guard of its own session, so that a hang-up or Ctrl-C does not reach the server.

    `keep` is a file descriptor that guard and server hold open as long as they live.
    """
    guarding = _guarding(log, () if keep is None else (keep,))
    begun = _hand_over(guarding, order)
    if begun.pid is None:
        with guarding:
            raise GuardFailed(begun.step, begun.error)
    seconds = sum(patience for _, patience in order.stops) + guard.KILL_SECONDS
    return Guarded(guarding, begun.pid, seconds + GUARD_SLACK_SECONDS)


def _guarding(log: Path, keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd="/",
            start_new_session=True,
            pass_fds=keep,
        )


def _hand_over(guarding: subprocess.Popen[bytes], order: Order) -> _Begun:
    assert guarding.stdin is not None
    assert guarding.stdout is not None
    with suppress(BrokenPipeError):
        guarding.stdin.write(msgspec.json.encode(order) + b"\n")
        guarding.stdin.flush()
    with guarding.stdout as answer:
        line = answer.readline()
    return msgspec.json.decode(line, type=_Begun) if line else _Begun()


def tail(log: Path, *, begin: int) -> str:
    """The end of what was logged since byte `begin`, for the message of an error."""
    with log.open("rb") as lines:
        lines.seek(max(begin, log.stat().st_size - LOG_TAIL_BYTES))
        return lines.read().decode(errors="replace").strip()


def birth(pid: int) -> str | None:
    """When a process began, as a word to compare with; None when there is none, or it is on its way out.

    Process numbers are used again: a number kept in a file means something only together with this.
    """
    return _birth_by_ps(pid) if PROC is None else _birth_by_kernel(PROC, pid)


def _birth_by_kernel(proc: Path, pid: int) -> str | None:
    try:
        line = (proc / f"{pid}" / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name stands in parentheses and may hold any character; state and times follow it.
    state, *numbers = line.rpartition(")")[2].split()
    gone = state in "ZX" or int(numbers[5]) & PF_EXITING
    return None if gone else numbers[18]


def _birth_by_ps(pid: int) -> str | None:
    state, _, since = _ps(pid, "stat=,lstart=").partition(" ")
    return None if not state or state.startswith("Z") else since.strip()


def works_in(pid: int, folder: Path) -> bool:
    """Whether the process lives and has `folder` as its working directory, as a postmaster has its data folder.

    Without /proc the working directory is not to be had cheaply; there a living PostgreSQL counts.
    """
    if birth(pid) is None:
        return False
    if PROC is None:
        return "postgres" in _ps(pid, "comm=")
    with suppress(OSError):
        return (PROC / f"{pid}" / "cwd").samefile(folder)
    return False


def _ps(pid: int, columns: str) -> str:
    command = ["ps", "-o", columns, "-p", str(pid)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=LOOK_SECONDS, check=False, env=environment()
    ).stdout.strip()


def end_stranger(pid: int, born: str) -> None:
    """Ask a server that is not our child to end, if it still is the one that was meant.

    On SIGINT a Valkey ends as it does on SIGTERM, and a PostgreSQL does not wait for its sessions.
    """
    if birth(pid) == born:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGINT)
