"""The worker of a development start: a process beside the server, begun again when it dies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from syncserver.dev import server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from syncserver.dev.server import Lives


class Worker:
    """One worker as long as the server beside it lives. Its log and its lives outlast it."""

    def __init__(self, settings: Mapping[str, str], log: Path, lives: Lives) -> None:
        self._settings = settings
        self._log = log
        self._lives = lives
        self._begin()

    def _begin(self) -> None:
        self._running = server.begin("work", self._settings, self._log)
        self._begun = time.monotonic()

    @property
    def pid(self) -> int:
        """The process that works at present."""
        return self._running.pid

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._running.alive()

    def again(self) -> None:
        """Begin another one; `ServerDied` if too many in a row ended soon."""
        self._running.stop()
        self._lives.ended(time.monotonic() - self._begun)
        self._begin()

    def __enter__(self) -> Self:
        """Give the worker; it is ended in order at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it in order, however the block ended."""
        self._running.stop()
