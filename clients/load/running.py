"""A run from its begin to its report, whatever comes between.

An interrupt ends the work early, and all that follows is done as usual; a second one ends the run
with a report that says that nothing was checked.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from clients import errors
from clients.load import report
from clients.load.course import Course
from clients.transport import Call, Transport, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.cast import Ready
    from clients.load.check import Found
    from clients.load.plan import Options
    from clients.load.progress import Progress

HEALTH: Final = "/health"
INTERRUPTS: Final = (signal.SIGINT, signal.SIGTERM)


async def require_server(url: str) -> None:
    """Look whether the server answers, so that nobody waits for a run that cannot begin."""
    transport = Transport(url, Waiting(lambda: 0, asyncio.sleep, lambda: 0.0, attempts_max=1))
    try:
        await transport.send(Call(method="GET", path=HEALTH))
    except errors.ClientError as error:
        told = f"no server answers at {url}: {error}. Is it running, and is its address right (`--url` names another)?"
        raise errors.Unreachable(told) from error
    finally:
        await transport.close()


async def run(options: Options, ready: Ready, progress: Progress) -> bool:
    """Run everything, write and tell the report, and return whether all was well."""
    await require_server(options.url or ready.url)
    async with Course(options, ready, progress.tell) as course:
        with progress.of(course.meter, course.clock):
            steps = asyncio.create_task(_steps(course))
            with _interrupts(course, steps):
                found, failure = await _outcome(steps)
        made = course.report(found, failure)
    if options.json is not None:
        options.json.write_text(report.text(made), encoding="utf-8")
    for line in report.lines(made):
        progress.say(line)
    return made.well


async def _steps(course: Course) -> Found:
    await course.set_up()
    await course.work()
    await course.drain()
    return await course.compare()


async def _outcome(steps: asyncio.Task[Found]) -> tuple[Found | None, str | None]:
    """Return what was found, or why nothing was checked."""
    try:
        return await steps, None
    except asyncio.CancelledError:
        return None, "the run was interrupted twice"
    except errors.ClientError as error:
        return None, str(error)
    except ExceptionGroup as several:
        expected, others = several.split(errors.ClientError)
        if expected is None or others is not None:
            raise
        return None, "; ".join(sorted({str(error) for error in expected.exceptions}))


@contextmanager
def _interrupts(course: Course, steps: asyncio.Task[Found]) -> Iterator[None]:
    """Let the first interrupt end the work, and the second one everything."""

    def interrupt() -> None:
        if course.stop.is_set():
            steps.cancel()
        course.stop.set()

    loop = asyncio.get_running_loop()
    for number in INTERRUPTS:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in INTERRUPTS:
            loop.remove_signal_handler(number)
