"""Valkey for one start of the service, or a Redis: the user's own, one that is started here, or none.

None is a good answer. Nothing that must not be lost is ever kept there, and a service of one process does the
same within itself.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import redis

from syncserver.services import binaries, claim, errors, folder, launch, loopback, process
from syncserver.services.binaries import Valkey
from syncserver.services.folder import Folder, Running
from syncserver.services.process import Guarded

READY_SECONDS_MAX: Final = 60.0
ANSWER_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.01
READY: Final = "Ready to accept connections"
STOPS: Final = [(int(signal.SIGTERM), 10.0)]
"""On this signal it writes what it holds, then ends."""

CONFIGURATION: Final = """\
bind {host}
port {port}
requirepass {password}
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory 256mb
maxmemory-policy allkeys-lru
"""
"""Old keys go before memory does: whatever is kept here can be had again from PostgreSQL."""


@dataclass(frozen=True, slots=True)
class RunningValkey:
    """A Valkey or Redis to work with. Letting go of the object stops a server that it owns."""

    url: str = field(repr=False)
    version: str
    pid: int | None
    _guarded: Guarded | None = None
    _place: Folder | None = None

    @property
    def owned(self) -> bool:
        """Whether this start of the service runs the server, and so ends it."""
        return self._guarded is not None

    def alive(self) -> bool:
        """Whether an owned server still runs; what another runs is not ours to judge."""
        return self._guarded is None or self._guarded.alive()

    def stop(self) -> None:
        """End the server if it is ours; a second call changes nothing."""
        if self._guarded and self._place:
            folder.forget(self._place)
            self._guarded.stop()

    def __enter__(self) -> Self:
        """The server itself; it is stopped at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server, however the block ended."""
        self.stop()


def start(state_dir: Path, *, url: str | None = None) -> RunningValkey | None:
    """The user's server if `url` names one; else that of this state folder, joined or started; None if none is here."""
    if url:
        return _given(url)
    place = folder.prepare(state_dir, "valkey")
    with folder.starting(place):
        joined = claim.settle(place, lambda running: _version(_url(place, running.port)) is not None)
        if isinstance(joined, Running):
            return RunningValkey(_url(place, joined.port), joined.version, joined.server)
        try:
            program = binaries.valkey(place)
            return _launch(place, program, joined) if program else None
        finally:
            # Guard and server hold the lock by descriptors of their own.
            os.close(joined)


def _given(url: str) -> RunningValkey:
    version = _version(url)
    if version is None:
        server = urlsplit(url).netloc.rpartition("@")[2]
        message = f"the Redis at {server or 'the given URL'} does not let us in: check the URL and the server"
        raise errors.RedisUnreachable(message)
    return RunningValkey(url, version, pid=None)


def _url(place: Folder, port: int) -> str:
    return f"redis://:{folder.secret(place, 'valkey')}@{loopback.HOST}:{port}/0"


def _version(url: str) -> str | None:
    """The version of a server that answers and takes the password of the URL."""
    try:
        with redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS) as asking:
            about = asking.info("server")
    except (redis.RedisError, ValueError):
        return None
    return str(about.get("valkey_version", about["redis_version"]))


def _launch(place: Folder, program: Valkey, lock: int) -> RunningValkey:
    folder.rotate(place.log)
    if not place.data.exists():
        folder.give_data(place.data, place.account)
    guarded, port = _come_up(place, program, lock)
    try:
        folder.remember(place, claim.record(guarded.pid, port, program.version))
    except BaseException:
        guarded.stop()
        raise
    return RunningValkey(_url(place, port), program.version, guarded.pid, guarded, place)


def _come_up(place: Folder, program: Valkey, lock: int) -> tuple[Guarded, int]:
    """Start the server on a free port, and on another one if that was lost in the meantime."""
    said = ""
    for _ in range(loopback.ATTEMPTS_MAX):
        port, begin = loopback.free_port(), place.log.stat().st_size if place.log.exists() else 0
        command = [str(program.program), str(_configured(place, port))]
        guarded = launch.begin(
            place, command, stops=STOPS, failed=errors.RedisStartFailed, keep=lock, cwd=str(place.data)
        )
        if _ready(place, guarded, begin):
            return guarded, port
        guarded.stop()
        said = process.tail(place.log, begin=begin)
        if "Could not create server TCP listening socket" not in said:
            break
    raise errors.RedisStartFailed(f"{program.program} did not come up: {said}; its log is {place.log}")


def _configured(place: Folder, port: int) -> Path:
    """The configuration file: on the command line everybody on the machine could read the password."""
    path = place.path / "valkey.conf"
    path.touch(mode=0o600)
    if place.account is not None:
        os.chown(path, place.account.uid, place.account.gid)
    filled = CONFIGURATION.format(host=loopback.HOST, port=port, password=folder.secret(place, "valkey"))
    path.write_text(filled, encoding="utf-8")
    return path


def _ready(place: Folder, guarded: Guarded, begin: int) -> bool:
    """Wait for the server's own word in its log; false when it ended or took too long.

    It is not asked, because whoever else may have got the port first would be sent our password.
    """
    deadline = time.monotonic() + READY_SECONDS_MAX
    while guarded.alive() and time.monotonic() < deadline:
        if READY in process.tail(place.log, begin=begin):
            return True
        time.sleep(PAUSE_SECONDS)
    return False
