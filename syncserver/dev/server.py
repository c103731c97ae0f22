"""The server of a development start: a process of its own, begun again when it dies."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Final
from urllib.error import URLError
from urllib.request import urlopen

from syncserver.dev.errors import ServerDied
from syncserver.services import process

if TYPE_CHECKING:
    from pathlib import Path

    from syncserver.services.process import Guarded

READY_SECONDS_MAX: Final = 60.0
LOOK_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 2.0
STOPS: Final = [(int(signal.SIGTERM), 15.0)]


def start(url: str, settings: dict[str, str], log: Path) -> Guarded:
    """Start `fieldsync serve` with these settings and wait until it is ready."""
    begin = log.stat().st_size if log.exists() else 0
    order = process.Order(
        command=[sys.executable, "-m", "syncserver", "serve"],
        env={**os.environ, **settings},
        cwd=os.getcwd(),  # noqa: PTH109  (the guard takes text)
        user=None,
        group=None,
        cover=None,
        reveal=None,
        stops=STOPS,
        parent=os.getpid(),
    )
    server = process.start(order, log=log)
    _wait(server, url, log, begin)
    return server


def _wait(server: Guarded, url: str, log: Path, begin: int) -> None:
    patience = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < patience:
        if not server.alive():
            break
        if _ready(url):
            return
        time.sleep(LOOK_SECONDS)
    server.stop()
    raise ServerDied(f"the server did not become ready; its log ends with:\n{process.tail(log, begin=begin)}")


def _ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/ready", timeout=ANSWER_SECONDS) as answer:  # noqa: S310  (our own loopback address)
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
