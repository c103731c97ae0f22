"""The folder of one server inside the state folder: its data, its log, its lock, its secrets.

The lock tells whether a server works here: guard and server hold it open for as long as they live, and the
kernel lets it go with the last of them, so nothing stale can be left by a crash. `running.json`, the pid
file, tells how to reach that server and who started it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from syncserver.services import account as accounts
from syncserver.services import errors, process
from syncserver.services.account import Account

LOCK_SECONDS_MAX: Final = 60.0
PAUSE_SECONDS: Final = 0.02
PATH_BYTES_MAX: Final = 800
"""PostgreSQL takes 1,023 bytes for a path and appends its own names, which need a good hundred."""

LOG_BYTES_MAX: Final = 5_000_000
SECRET_BYTES: Final = 24


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The pid file: a process is named by its number and when it began, since numbers are used again."""

    owner: int
    owner_born: str | None
    server: int
    server_born: str | None
    port: int
    version: str


class Folder(msgspec.Struct, frozen=True):
    """Where one server keeps what is its own; `account` owns `data`, the rest stays with the starter."""

    path: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """The server's own files."""
        return self.path / "data"

    @property
    def log(self) -> Path:
        """What guard and server have to say."""
        return self.path / "server.log"

    @property
    def pid_file(self) -> Path:
        """Who runs here, as `Running`."""
        return self.path / "running.json"


def prepare(state: Path, name: str) -> Folder:
    """Make the folder of the server `name`, closed to everybody but the starter and the server's account."""
    path = state.absolute().resolve() / name
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        message = f"{path} is longer than {PATH_BYTES_MAX} bytes: choose a shorter state folder with --data"
        raise errors.StatePathTooLong(message)
    folder = Folder(path, accounts.choose())
    try:
        state.mkdir(parents=True, exist_ok=True)
        _make(folder)
    except PermissionError as exc:
        raise _foreign(Path(exc.filename or state)) from exc
    return folder


def _make(folder: Folder) -> None:
    """Enter, but do not look: the account's group may pass through to the data folder."""
    path, account = folder.path, folder.account
    path.mkdir(exist_ok=True)
    if path.stat().st_uid != os.geteuid():
        raise _foreign(path)
    if account is not None:
        os.chown(path, 0, account.gid)
    path.chmod(0o700 if account is None else 0o710)


def _foreign(path: Path) -> errors.StateFolderForeign:
    return errors.StateFolderForeign(
        f"{path} is not ours to write to: start fieldsync as the user it belongs to, or choose another --data folder"
    )


def give_data(path: Path, account: Account | None) -> None:
    """An empty folder that belongs to the server's account and is closed to all others."""
    path.mkdir()
    if account is not None:
        os.chown(path, account.uid, account.gid)
    path.chmod(0o700)


def rotate(log: Path) -> None:
    """Keep one older log, so that a long life does not fill the disk; before a start, when nobody writes."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES_MAX:
            log.rename(log.with_suffix(".log.1"))


@contextmanager
def starting(folder: Folder) -> Iterator[None]:
    """One start at a time in this folder."""
    lock = _wait_for_lock(folder.path / "starting.lock")
    try:
        yield
    finally:
        os.close(lock)


def _wait_for_lock(path: Path) -> int:
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    while time.monotonic() < deadline:
        lock = _try_lock(path)
        if lock is not None:
            return lock
        time.sleep(PAUSE_SECONDS)
    raise errors.StateFolderInUse(f"another start is under way in {path.parent} and does not come to an end")


def take(folder: Folder) -> int | None:
    """The lock that says a server works here, as a descriptor to hand to it; None while one does."""
    return _try_lock(folder.path / "server.lock")


def _try_lock(path: Path) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def remember(folder: Folder, running: Running) -> None:
    """Write the pid file, whole or not at all."""
    _write_private(folder.pid_file, msgspec.json.encode(running))


def recall(folder: Folder) -> Running | None:
    """Read the pid file; one that cannot be read says as much as none."""
    try:
        return msgspec.json.decode(folder.pid_file.read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def forget(folder: Folder) -> None:
    """Nobody is to join the server of this folder any more."""
    folder.pid_file.unlink(missing_ok=True)


def owner_lives(running: Running) -> bool:
    """Whether the process that started the server is still there, and with it the server's purpose."""
    born = process.birth(running.owner)
    return born is not None and born == running.owner_born


def secret(folder: Folder, name: str) -> str:
    """The password `name`, made once; digits and small letters only, so that it needs no quoting anywhere."""
    path = folder.path / f"{name}.password"
    if not path.exists():
        _write_private(path, secrets.token_hex(SECRET_BYTES).encode())
    return path.read_text(encoding="ascii")


def _write_private(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.rename(path)
