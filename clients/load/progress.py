"""What a person at the terminal sees while a run goes on: one line that moves. Elsewhere: the steps alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from clients.load.report import short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clients.load.figures import Meter

REFRESHES_PER_SECOND: Final = 2


class Progress:
    """Tells on standard error what goes on, and on standard output what came out."""

    def __init__(self) -> None:
        self._moving = Console(stderr=True, highlight=False)
        self._said = Console(highlight=False, markup=False, soft_wrap=True)
        self._step = "beginning"

    def tell(self, step: str) -> None:
        """Say which step begins."""
        self._step = step
        if not self._moving.is_terminal:
            self._moving.print(step, markup=False, soft_wrap=True)

    def say(self, line: str) -> None:
        """Say what came out."""
        self._said.print(line)

    @contextmanager
    def of(self, meter: Meter, clock: Callable[[], float]) -> Iterator[None]:
        """Show what the meter counts, as long as the block runs."""
        if not self._moving.is_terminal:
            yield
            return

        def line() -> Text:
            counts = meter.counts
            return Text(
                f"{clock():6.0f} s  {self._step}: {counts['edits']} edits, {counts['acknowledged']} answered "
                f"({short(meter.online)}), {counts['failures']} failures",
                overflow="ellipsis",
                no_wrap=True,
            )

        with Live(get_renderable=line, console=self._moving, refresh_per_second=REFRESHES_PER_SECOND, transient=True):
            yield
