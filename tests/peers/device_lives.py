"""A program that lives the lives of a device: each in a process of its own, ended when it is told to.

A line of standard input is one life: where the file is, where the hub is, and before which SQLite
statement to die (0: not at all). The answer is a line with the exit status and the number of
statements that were begun.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import msgspec

from clients.device import Device
from tests.peers.hub import CODE

if TYPE_CHECKING:
    from collections.abc import Callable

JOB: Final = "20000000-0000-4000-8000-000000000001"
NEW: Final = "20000000-0000-4000-8000-000000000002"
KILLED: Final = 9


class Life(msgspec.Struct):
    """One life of a device."""

    path: str
    url: str
    killed_at: int = 0


class End(msgspec.Struct):
    """How it ended, and after how many statements."""

    status: int
    statements: int


def visit(device: Device) -> None:
    """A new job is found on site, described and measured: three edits that belong together."""
    with device.transaction():
        device.create("jobs", {"title": "Leak", "notes": "a"}, NEW)
        device.edit("jobs", NEW, notes="ab")
        device.do("jobs", NEW, "meter", {"inc": 2})


STEPS: Final[list[tuple[int, Callable[[Device], None]]]] = [
    (1, lambda device: device.do("jobs", JOB, "meter", {"inc": 1})),
    (3, visit),
    (1, lambda device: device.edit("jobs", JOB, title="Pump 2", starts_at="2026-03-01T08:00:00Z")),
    (1, lambda device: device.do("jobs", JOB, "notes", {"append": " x"})),
    (1, lambda device: device.edit("jobs", NEW, title="Leak, mended")),
]
"""What the person does, with the number of mutations of each step."""

EDITS: Final = sum(count for count, _ in STEPS)


async def live(life: Life, trace: Callable[[str], None]) -> None:
    """Go on from wherever the last life ended, with a sync in the middle and one at the end."""
    client = httpx.AsyncClient(verify=False)
    async with client, Device.open(life.path, life.url, client=client, trace=trace) as device:
        if device.rid is None:
            await device.enrol(CODE, "Ana's phone")
        await device.sync()
        begun = 0
        for place, (count, step) in enumerate(STEPS):
            if begun >= made(device):
                step(device)
                if place == 1:
                    await device.sync()
            begun += count
        await device.sync()


def made(device: Device) -> int:
    """How many edits the device remembers to have made."""
    answered = (answered.mutation for answered in device.verdicts)
    return max((mutation.n for mutation in [*answered, *device.unsent]), default=0)


def end(life: Life) -> None:
    """Live the life in this process, which ends with it."""
    begun = 0

    def trace(_: str) -> None:
        nonlocal begun
        begun += 1
        Path(life.path + ".count").write_text(str(begun), encoding="ascii")
        if begun == life.killed_at:
            os._exit(KILLED)

    asyncio.run(live(life, trace))


def main() -> None:
    """Live one life after the other. The first is lived here, so that the forked ones find all modules loaded."""
    for place, line in enumerate(sys.stdin.buffer):
        life = msgspec.json.decode(line, type=Life)
        ended = forked(life) if place else here(life)
        sys.stdout.buffer.write(msgspec.json.encode(ended) + b"\n")
        sys.stdout.buffer.flush()


def here(life: Life) -> End:
    """Live the life in this process."""
    statements: list[str] = []
    asyncio.run(live(life, statements.append))
    return End(0, len(statements))


def forked(life: Life) -> End:
    """Live the life in a process of its own, and wait for its end."""
    pid = os.fork()
    if pid == 0:
        end(life)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return End(status, int(Path(life.path + ".count").read_text(encoding="ascii")))


if __name__ == "__main__":
    main()
