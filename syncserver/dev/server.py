"""The server of a development start: a process of its own, begun again when it dies."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Final
from urllib.error import URLError
from urllib.request import urlopen

from syncserver.dev.errors import PortTaken, ServerDied
from syncserver.services import process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from syncserver.services.process import Guarded

HOST: Final = "127.0.0.1"
READY_SECONDS_MAX: Final = 60.0
LOOK_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 2.0
STOPS: Final = [(int(signal.SIGTERM), 15.0)]

SHORT_LIVES_MAX: Final = 5
SHORT_LIFE_SECONDS: Final = 3.0
"""A server that ends this soon after it was ready has a cause that a restart does not mend."""


def free_port(wanted: int) -> int:
    """Return the port that is wanted, or any free one for 0; `PortTaken` if nobody could listen there.

    What answers at an address need not be the server that was just started, so this is asked first.
    """
    with socket.socket() as probe:
        # As the server does it: the last connections of one that just ended are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise PortTaken(f"port {wanted} {why}; choose another with --port, or 0 for a free one") from error
        return int(probe.getsockname()[1])


def start(port: int, settings: Mapping[str, str], log: Path) -> Guarded:
    """Start `fieldsync serve` with these settings and wait until it is ready."""
    free_port(port)
    end = log.stat().st_size if log.exists() else 0
    server = begin("serve", settings, log)
    _wait(server, f"http://{HOST}:{port}/ready", log, end)
    return server


def begin(verb: str, settings: Mapping[str, str], log: Path) -> Guarded:
    """Start a command of ours under a guard, with these settings."""
    order = process.Order(
        command=[sys.executable, "-m", "syncserver", verb],
        env={**os.environ, **settings},
        cwd=os.getcwd(),  # noqa: PTH109  (the guard takes text)
        user=None,
        group=None,
        cover=None,
        reveal=None,
        stops=STOPS,
        parent=os.getpid(),
    )
    return process.start(order, log=log)


def _wait(server: Guarded, address: str, log: Path, begin: int) -> None:
    patience = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < patience:
        if not server.alive():
            break
        if _ready(address):
            return
        time.sleep(LOOK_SECONDS)
    server.stop()
    raise ServerDied(f"the server did not become ready; its log ends with:\n{process.tail(log, begin=begin)}")


def _ready(address: str) -> bool:
    try:
        with urlopen(address, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  (our own loopback address)
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


class Lives:
    """Counts processes that ended soon, by themselves or with their database, until one lives longer."""

    def __init__(self, log: Path, name: str = "server") -> None:
        self._log = log
        self._name = name
        self._short = 0

    def ended(self, seconds: float) -> None:
        """Note how long a server lived; raise `ServerDied` if too many in a row ended soon."""
        self._short = self._short + 1 if seconds < SHORT_LIFE_SECONDS else 0
        if self._short >= SHORT_LIVES_MAX:
            tail = process.tail(self._log, begin=0)
            raise ServerDied(
                f"the {self._name} ended {self._short} times soon after its start; its log ends with:\n{tail}"
            )
