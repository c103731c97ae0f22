"""The state folder of a development start: what is in it, and how it is emptied."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from syncserver.dev.errors import AlreadyRuns, NotOurFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK: Final = "fieldsync-dev"
TOKENS: Final = "dev-tokens.json"
EXCHANGE: Final = "exchange"
PRIVATE: Final = 0o600


def default() -> Path:
    """Return where the state lies if nobody says otherwise."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(os.environ.get("FIELDSYNC_STATE_DIR") or Path(home) / "fieldsync" / "dev")


@contextmanager
def claimed(folder: Path, *, fresh: bool) -> Iterator[None]:
    """Hold the folder for one development start; `fresh` empties it first, if such a start has made it."""
    if fresh and folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise NotOurFolder(f"{folder} was not made by `fieldsync dev`; empty it yourself or choose another --data")
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (folder / MARK).open("a", encoding="utf-8") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRuns(f"another `fieldsync dev` works in {folder}; end it or choose another --data") from None
        if fresh:
            _empty(folder)
        yield


def exchange(folder: Path) -> Path:
    """Return the folder below which connections may put files and fetch them; it is made the first time."""
    (folder / EXCHANGE).mkdir(mode=0o700, exist_ok=True)
    return folder / EXCHANGE


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != MARK:
            entry.unlink()


def read_json(path: Path) -> Any:
    """Return what the file holds, None if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
