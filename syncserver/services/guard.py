"""The small process between whoever starts a server and the server, so that neither outlives the other.

A starter that is killed with -9 cannot clean up, and the kernel's parent-death signal alone does not do: it
fires when the *thread* that forked ends, and a change of user clears it. So each server gets a guard, a bare
interpreter with one thread. The guard's standard input is a pipe whose other end only the starter holds: the
end of that pipe, however it came about, is the order to stop. The server in turn is tied to the guard by the
parent-death signal, set after the change of user, for the case that the guard itself is killed.

This file is run by its path, without site-packages: it imports the standard library and nothing else. The
order comes as one line of JSON on standard input, the outcome goes as one line of JSON to standard output.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, TypedDict

LOOK_SECONDS: Final = 1.0
"""How often the guard looks whether its parent is still the starter: a forked child of the starter could
hold the pipe open after the starter has gone."""

KILL_SECONDS: Final = 5.0
NOT_STARTED: Final = 127

PR_SET_PDEATHSIG: Final = 1
CLONE_NEWNS: Final = 0x00020000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18


class Order(TypedDict):
    """What to run; the same names as in `process.Order`, which writes it."""

    command: list[str]
    env: dict[str, str]
    cwd: str
    user: int | None
    group: int | None
    cover: str | None
    reveal: str | None
    stops: list[tuple[int, float]]
    parent: int


def main() -> int:
    """Read the order, run the server, end it when the starter is gone; exit as the server did."""
    line = sys.stdin.buffer.readline()
    if not line:
        return NOT_STARTED
    order: Order = json.loads(line)
    wake = _listen()
    pid, failure = _spawn(order)
    if failure:
        os.waitpid(pid, 0)
        _report(failure)
        return NOT_STARTED
    _report(json.dumps({"pid": pid}))
    return _watch(pid, order, wake)


def _report(outcome: str) -> None:
    """One line to the starter, who may be gone already; then nothing more is ever said."""
    with suppress(BrokenPipeError):
        os.write(1, outcome.encode() + b"\n")
    os.dup2(2, 1)


def _listen() -> int:
    """Turn signals into bytes on a pipe, so that one `select` waits for all that can happen."""
    wake, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    # A handler and not SIG_IGN, because the server would inherit an ignored signal.
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    return wake


def _spawn(order: Order) -> tuple[int, str]:
    """Fork and become the server; what stopped it, if anything, comes back on a pipe that exec closes."""
    guard = os.getpid()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(order, guard, write)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as pipe:
        return pid, pipe.read()


def _become(order: Order, guard: int, failures: int) -> NoReturn:
    """The child's half: see the state folder, change the user, be tied to the guard, exec."""
    step = "reveal"
    try:
        if order["cover"] and order["reveal"]:
            _reveal(order["cover"], order["reveal"])
        step = "exec"
        os.setpgid(0, 0)
        os.chdir(order["cwd"])
        _drop_to(order["user"], order["group"])
        tie_to(guard, order["stops"][0][0])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        os.execve(order["command"][0], order["command"], order["env"])
    except OSError as exc:
        os.write(failures, json.dumps({"step": step, "error": str(exc)}).encode())
    finally:
        os._exit(NOT_STARTED)


def _drop_to(user: int | None, group: int | None) -> None:
    """Give up root for good; in this order, since a group can no longer be set once the user is gone."""
    if user is None or group is None:
        return
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)


def tie_to(parent: int, number: int) -> None:
    """Have the kernel send us a signal when our parent goes. After a change of user, which clears the tie."""
    if sys.platform != "linux":
        return
    _call("prctl", PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        raise OSError(0, "whoever started this ended before it began")


def _reveal(cover: str, folder: str) -> None:
    """Make `folder` reachable under its own path, though its parent `cover` is closed to the server's account.

    In a mount namespace that only this process and the server live in, an empty file system is laid over
    `cover`, and `folder` alone is put back. Nobody else sees a change, and no permission is touched.
    """
    _call("unshare", CLONE_NEWNS)
    _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    _call("mount", b"tmpfs", os.fsencode(cover), b"tmpfs", flags, b"size=64k,mode=755")
    os.umask(0o022)
    Path(folder).mkdir(parents=True)
    _call("mount", b"/proc/self/fd/%d" % inside, os.fsencode(folder), None, MS_BIND, None)
    os.close(inside)


def _call(name: str, *arguments: int | bytes | None) -> None:
    """A call of the C library that Python has no name for; its failure is an OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    # Plain ints would be passed as 32 bits, which is not the width of a flags argument.
    wide = [ctypes.c_ulong(it) if isinstance(it, int) else it for it in arguments]
    if getattr(library, name)(*wide) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _watch(pid: int, order: Order, wake: int) -> int:
    """Wait until the server ends by itself or has to be ended."""
    while True:
        code = _ended(pid)
        if code is not None:
            return code
        if _must_stop(order["parent"], wake):
            return _end(pid, order["stops"])


def _must_stop(parent: int, wake: int) -> bool:
    """The starter let go of the pipe, is no longer our parent, or somebody asked the guard to stop."""
    ready, _, _ = select.select([0, wake], [], [], LOOK_SECONDS)
    heard = set(os.read(wake, 64)) if wake in ready else set()
    return bool(heard & {signal.SIGINT, signal.SIGTERM}) or 0 in ready or os.getppid() != parent


def _end(pid: int, stops: list[tuple[int, float]]) -> int:
    """Ask politely, then less so; at the very end kill the server and what it has started."""
    for number, seconds in stops:
        os.kill(pid, number)
        code = _ended_within(pid, seconds)
        if code is not None:
            return code
    os.killpg(pid, signal.SIGKILL)
    return _ended_within(pid, KILL_SECONDS) or NOT_STARTED


def _ended_within(pid: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        code = _ended(pid)
        if code is not None:
            return code
        time.sleep(0.005)
    return None


def _ended(pid: int) -> int | None:
    """The exit code in the way of shells, where a signal counts from 128; None while the server runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
