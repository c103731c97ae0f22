"""The Jsonnet rows of mappings, evaluated by a few child processes that can be killed.

Code that somebody else wrote may loop, eat memory, or look for files. It is run where none of that
hurts: in a child without imports, environment or files, with limits on memory, processor time, input
and output. A child that does not keep to them is killed and replaced, and the row has a problem like
any other. The same code and context give the same value, so what was found is kept for a while.

`Pool.evaluate` waits for the answer and may be called from several threads; a planner with such rows
runs in one (`asyncio.to_thread`).
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import mapping
from upstream.errors import CodeUnavailable

if TYPE_CHECKING:
    from typing import Self

PROGRAM: Final = Path(__file__).with_name("jsonnet_child.py")
TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
START_SECONDS: Final = 20.0
ENDING_SECONDS: Final = 5.0
KEPT_VALUE_CHARACTERS_MAX: Final = 20_000
ROOTS: Final = tuple(dict.fromkeys((*mapping.ROOTS_OUT, *mapping.ROOTS_INTO)))
"""Names of the context that a snippet can use; one that is not there is null."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a snippet may take. Its time is that of the processor; a busy machine may let it wait longer."""

    processor_ms: int = 250
    waiting_ms: int = 5_000
    """How long an evaluation may take by the clock on the wall, and how long is waited for a free child."""
    memory_bytes: int = 384 * 1_048_576
    input_bytes: int = 262_144
    output_bytes: int = 262_144
    code_bytes: int = 65_536
    children: int = 2
    evaluations_per_child: int = 2_000
    kept_values: int = 500


class CodeFailed(ValueError):
    """The snippet came to no value; the message says why."""


class Pool:
    """The children. They are started when they are needed, and ended by `close`."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._free: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(self.limits.children):
            self._free.put(None)
        self._kept: OrderedDict[bytes, str] = OrderedDict()
        self._keeping = threading.Lock()

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the children."""
        self.close()

    def close(self) -> None:
        """End the children. Must not be called while something is evaluated."""
        taken = [self._free.get(timeout=self.limits.waiting_ms / 1_000) for _ in range(self.limits.children)]
        for child in taken:
            if child is not None:
                child.end()
            self._free.put(None)

    def evaluate(self, code: str, context: Any) -> Any:
        """Return what the code makes of the context.

        Raises `CodeFailed` where the code is to blame, `CodeUnavailable` where it is not.
        """
        try:
            text = json.dumps(context, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
        except (ValueError, TypeError, RecursionError) as exc:
            raise CodeFailed(f"what it is given cannot be written as JSON: {exc}") from exc
        self._weigh(code, text)
        digest = hashlib.sha256(code.encode()).hexdigest()
        asked = hashlib.sha256(f"{digest}{text}".encode()).digest()
        if (made := self._recalled(asked)) is None:
            made = self._made(digest, code, text)
            self._keep(asked, made)
        try:
            return json.loads(made)
        except RecursionError as exc:
            raise CodeFailed("what it makes is nested too deeply") from exc

    def _weigh(self, code: str, text: str) -> None:
        if len(code.encode()) > self.limits.code_bytes:
            raise CodeFailed(f"the code is longer than {self.limits.code_bytes} bytes")
        if len(text.encode("utf-8", "replace")) > self.limits.input_bytes:
            raise CodeFailed(f"what it is given is larger than {self.limits.input_bytes} bytes")

    def _made(self, digest: str, code: str, text: str) -> str:
        try:
            child = self._free.get(timeout=self.limits.waiting_ms / 1_000)
        except queue.Empty as exc:
            raise CodeUnavailable("all who could run it are busy") from exc
        healthy = None
        try:
            if child is not None and not child.is_running:  # somebody else has ended it while it waited
                child.end()
                child = None
            child = child or _Child(self.limits)
            said = child.ask(digest, code, text)
            healthy = child if child.evaluations < self.limits.evaluations_per_child else None
        finally:
            if healthy is None and child is not None:
                child.end()
            self._free.put(healthy)
        return _value(said, self.limits)

    def _recalled(self, asked: bytes) -> str | None:
        with self._keeping:
            if asked in self._kept:
                self._kept.move_to_end(asked)
            return self._kept.get(asked)

    def _keep(self, asked: bytes, made: str) -> None:
        if len(made) > KEPT_VALUE_CHARACTERS_MAX:
            return
        with self._keeping:
            self._kept[asked] = made
            while len(self._kept) > self.limits.kept_values:
                self._kept.popitem(last=False)


def _value(said: str, limits: Limits) -> str:
    match said[:1]:
        case "v":
            return said[1:]
        case "b":
            raise CodeFailed(f"what it makes is larger than {limits.output_bytes} bytes")
        case _:
            raise CodeFailed(said[1:] or "it came to nothing")


class _Child:
    """One process. Whoever holds it is the only one who talks to it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.evaluations = 0
        self._sent: set[str] = set()
        rest = [limits.memory_bytes, 2 + limits.processor_ms // 1_000, limits.output_bytes, *ROOTS]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(PROGRAM), *map(str, rest)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"GOMAXPROCS": "1", "GOTRACEBACK": "none"},
                cwd="/",
                start_new_session=True,  # a Ctrl-C at the terminal is for the parent
            )
        except OSError as exc:
            raise CodeUnavailable(f"no process to run it can be started: {exc}") from exc
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        self._warm_up()

    def _warm_up(self) -> None:
        """Wait until it can work: starting is not the author's time."""
        try:
            self._exchange({"hash": "", "code": "null", "context": "{}"}, START_SECONDS, None)
        except CodeFailed as exc:
            self.end()
            raise CodeUnavailable("a process to run it does not start") from exc

    def ask(self, digest: str, code: str, text: str) -> str:
        """Return what the child says of a snippet, which it is sent once; `CodeFailed` if it has to be killed."""
        self.evaluations += 1
        asked = {"hash": digest, "context": text}
        if digest not in self._sent:
            asked["code"] = code
            self._sent.add(digest)
        said = self._exchange(asked, self.limits.waiting_ms / 1_000, self.limits.processor_ms)
        if said == "u":  # it has forgotten it for newer ones
            said = self._exchange({**asked, "code": code}, self.limits.waiting_ms / 1_000, self.limits.processor_ms)
        return said

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def end(self) -> None:
        """Kill it. It keeps nothing that could be lost."""
        self._process.kill()
        with self._process:  # closes the pipes and waits
            pass

    def _exchange(self, asked: dict[str, str], seconds: float, processor_ms: int | None) -> str:
        clock = _Clock(self._process.pid, seconds, processor_ms)
        body = json.dumps(asked).encode()
        try:
            self._send(struct.pack(">I", len(body)) + body, clock)
            size = struct.unpack(">I", self._receive(4, clock))[0]
            if size > self.limits.output_bytes + 4_096:
                raise CodeFailed(f"what it makes is larger than {self.limits.output_bytes} bytes")
            return self._receive(size, clock).decode("utf-8", "replace")
        except (BrokenPipeError, ConnectionResetError, EOFError) as exc:
            raise CodeFailed(f"it broke off: {self._how_it_ended()}") from exc

    def _send(self, frame: bytes, clock: _Clock) -> None:
        while frame:
            clock.wait(None, self._to)
            frame = frame[os.write(self._to, frame) :]

    def _receive(self, size: int, clock: _Clock) -> bytes:
        found = b""
        while len(found) < size:
            clock.wait(self._from, None)
            piece = os.read(self._from, size - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found

    def _how_it_ended(self) -> str:
        """Return what became of it: a process that is given no memory exits or aborts."""
        try:
            ended = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            return "it does not answer any more"
        if ended == -signal.SIGXCPU:
            return f"it took longer than {self.limits.processor_ms} ms"
        return (
            "it took more memory than it may" if ended in (1, 2, -signal.SIGABRT) else "it could not be run to its end"
        )


class _Clock:
    """How long a child may still be waited for: by its own processor time, and by the clock on the wall."""

    def __init__(self, pid: int, seconds: float, processor_ms: int | None) -> None:
        self._pid = pid
        self._began = time.monotonic()
        self._seconds = seconds
        self._processor_ms = processor_ms
        self._worked_before = _processor_ms(pid)

    def wait(self, readable: int | None, writable: int | None) -> None:
        """Return when the pipe is ready; raise `CodeFailed` when the time is over."""
        while True:
            pause = self._left_seconds()
            if pause <= 0:
                raise CodeFailed(f"it took longer than {self._processor_ms or round(self._seconds * 1_000)} ms")
            reading = [] if readable is None else [readable]
            writing = [] if writable is None else [writable]
            ready, free, _ = select.select(reading, writing, [], pause)
            if ready or free:
                return

    def _left_seconds(self) -> float:
        waited = time.monotonic() - self._began
        left = self._seconds - waited
        if self._processor_ms is None:
            return left
        now = _processor_ms(self._pid)
        # Where the system does not tell, the clock on the wall has to do.
        worked = waited * 1_000 if now is None or self._worked_before is None else now - self._worked_before
        return min(left, (self._processor_ms - worked) / 1_000)


def _processor_ms(pid: int) -> float | None:
    """Return how long a process has worked, if the system tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) * 1_000 / TICKS_PER_SECOND
