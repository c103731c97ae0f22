"""Whether to join the server that works in a folder, or to start one.

A server is joined only while the process that started it lives: the server of a starter that was killed is
about to be ended by its guard, however well it still answers at this moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from syncserver.services import errors, folder, process
from syncserver.services.folder import Folder, Running

WAIT_SECONDS_MAX: Final = 45.0
"""Longer than the guard's whole patience with a server that does not want to end."""

ORPHAN_SECONDS: Final = 5.0
"""After this time a server without its starter has lost its guard as well, and is ended from here."""

PAUSE_SECONDS: Final = 0.02


def settle(place: Folder, answers: Callable[[Running], bool]) -> Running | int:
    """A server to join, or the lock of the folder for a server to be started."""
    begun, orphan_asked = time.monotonic(), False
    while (waited := time.monotonic() - begun) < WAIT_SECONDS_MAX:
        lock = folder.take(place)
        if lock is not None:
            folder.forget(place)
            return lock
        running = folder.recall(place)
        if running and _is_to_be_joined(running, answers):
            return running
        if running and waited > ORPHAN_SECONDS and not orphan_asked:
            # Once, since Valkey takes a second request for impatience and leaves without writing.
            orphan_asked = _end_orphan(running)
        time.sleep(PAUSE_SECONDS)
    raise errors.StateFolderInUse(_in_use(place))


def _is_to_be_joined(running: Running, answers: Callable[[Running], bool]) -> bool:
    """Ask for the starter again after the server has answered: one that was just killed takes its time to go."""
    return folder.owner_lives(running) and answers(running) and folder.owner_lives(running)


def _end_orphan(running: Running) -> bool:
    if folder.owner_lives(running) or running.server_born is None:
        return False
    process.end_stranger(running.server, running.server_born)
    return True


def _in_use(place: Folder) -> str:
    running = folder.recall(place)
    who = f"process {running.server}, started by process {running.owner}," if running else "a server"
    return f"{who} works in {place.path}, does not answer and does not end: end it, or choose another --data folder"


def record(server: int, port: int, version: str) -> Running:
    """The pid file of a server that this process has just started."""
    return Running(
        owner=os.getpid(),
        owner_born=process.birth(os.getpid()),
        server=server,
        server_born=process.birth(server),
        port=port,
        version=version,
    )
