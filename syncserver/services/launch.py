"""Run a program in a server's folder, in the hands of the account the folder is for."""

from __future__ import annotations

import os
import sys
from typing import Final

from syncserver.services import account, errors, process
from syncserver.services.folder import Folder
from syncserver.services.process import Guarded, Order

Stops = list[tuple[int, float]]

NOWHERE: Final = "/"


def begin(
    place: Folder,
    command: list[str],
    *,
    stops: Stops,
    failed: type[errors.ServiceError],
    keep: int | None = None,
    cwd: str = NOWHERE,
) -> Guarded:
    """Start the program under a guard; `failed` is the error for a program that cannot be run."""
    order = _order(place, command, stops, cwd)
    try:
        return process.start(order, log=place.log, keep=keep)
    except process.GuardFailed as exc:
        if exc.step == "reveal":
            raise _blocked(place, order.cover, exc.reason) from exc
        raise failed(f"{command[0]} could not be run: {exc.reason}; its log is {place.log}") from exc


def _order(place: Folder, command: list[str], stops: Stops, cwd: str) -> Order:
    """A closed parent folder is no obstacle on Linux, where the guard can reveal what lies below it."""
    blocker = account.blocker(place.path, place.account)
    if blocker and sys.platform != "linux":
        raise _blocked(place, str(blocker), "it can be passed by on Linux only")
    return Order(
        command=command,
        env=process.environment(),
        cwd=cwd,
        user=place.account.uid if place.account else None,
        group=place.account.gid if place.account else None,
        cover=str(blocker) if blocker else None,
        reveal=str(place.path) if blocker else None,
        stops=stops,
        parent=os.getpid(),
    )


def _blocked(place: Folder, cover: str | None, reason: str) -> errors.StateFolderBlocked:
    return errors.StateFolderBlocked(
        f"started by root, the database servers run as {account.NAME!r}, who may not enter {cover} on the way to "
        f"{place.path} ({reason}): choose a state folder that others may pass into with --data, "
        "such as /var/lib/fieldsync, or start fieldsync as an ordinary user"
    )
