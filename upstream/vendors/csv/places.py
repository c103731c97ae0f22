"""Where files are put and fetched, and a folder of this machine; `sftp` is the other kind of place."""

from __future__ import annotations

import asyncio
import heapq
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

FILES_MAX: Final = 10_000
"""Of a folder with more files than this, some are not seen; `Listing` says so."""
PART: Final = ".part"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is there: its name, size, and when it was changed last, in seconds since 1970."""

    name: str
    bytes: int
    changed: float


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a folder in order of their names. `is_cut`: there are more."""

    entries: list[Entry]
    is_cut: bool


class Refused(Exception):
    """It is not let in, or the place is none that may be used: a person has to put that right."""


class Unreachable(Exception):
    """It is not there for now. `done` may have happened nevertheless."""

    def __init__(self, message: str, *, done: bool = False) -> None:
        self.done = done
        super().__init__(message)


class Place(Protocol):
    """A folder with folders in it."""

    async def entries(self, folder: str, *, newest: bool = False) -> Listing:
        """Return the files of a folder, made if it is not there: of too many the first by name, or the newest."""
        ...

    async def read(self, path: str, bytes_max: int) -> bytes:
        """Return what is in a file; raises FileNotFoundError."""
        ...

    async def write(self, path: str, content: bytes) -> None:
        """Put a file there under a name of its own until it is whole: nobody sees half of it."""
        ...

    async def move(self, path: str, to: str) -> None:
        """Give a file another place. What is there already is replaced."""
        ...


class Folder:
    """A folder of this machine, below the one that the operator set aside for that."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def entries(self, folder: str, *, newest: bool = False) -> Listing:
        """Return the files of a folder."""
        return await asyncio.to_thread(self._entries, folder, newest)

    async def read(self, path: str, bytes_max: int) -> bytes:
        """Return what is in a file."""
        return await asyncio.to_thread(self._read, path, bytes_max)

    async def write(self, path: str, content: bytes) -> None:
        """Put a file there when it is whole."""
        await asyncio.to_thread(self._write, path, content)

    async def move(self, path: str, to: str) -> None:
        """Give a file another place."""
        await asyncio.to_thread(self._move, path, to)

    def _entries(self, folder: str, newest: bool) -> Listing:  # noqa: FBT001  (as the port has it)
        there = self._root / folder
        there.mkdir(parents=True, exist_ok=True)
        with os.scandir(there) as every:
            return listed((_entry(each) for each in every if _is_whole(each)), newest=newest)

    def _read(self, path: str, bytes_max: int) -> bytes:
        with (self._root / path).open("rb") as file:
            return file.read(bytes_max + 1)

    def _write(self, path: str, content: bytes) -> None:
        whole = self._root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        part = whole.with_name(hidden(whole.name))
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(whole)
        _sync_folder(whole.parent)

    def _move(self, path: str, to: str) -> None:
        there = self._root / to
        there.parent.mkdir(parents=True, exist_ok=True)
        (self._root / path).replace(there)


@asynccontextmanager
async def folder(name: str, *, exchange_dir: str) -> AsyncIterator[Place]:
    """Give a folder of this machine. Raises `Refused` and `Unreachable`."""
    if not exchange_dir:
        raise Refused("this server has set no folder aside for files; name a host, or ask its operator")
    found = await asyncio.to_thread(_below, exchange_dir, name)
    try:
        yield Folder(found)
    except FileNotFoundError:
        raise
    except PermissionError as exc:
        raise Refused(f"the folder does not let us: {exc.strerror}") from exc
    except OSError as exc:
        raise Unreachable(f"the folder cannot be used: {exc.strerror}", done=True) from exc


def _below(exchange_dir: str, name: str) -> Path:
    """Return a folder, links followed, that lies below the one that was set aside."""
    root = Path(exchange_dir).resolve()
    folder = (root / name).resolve()
    if not name or root not in folder.parents:
        raise Refused("folder must be the name of a folder below the one that is set aside for files")
    return folder


def listed(found: Iterable[Entry], *, newest: bool) -> Listing:
    """Return what is kept of the files of a folder, however many there are: the first by name, or the newest."""
    if newest:
        most = heapq.nlargest(FILES_MAX + 1, found, key=lambda entry: (entry.changed, entry.name))
    else:
        most = heapq.nsmallest(FILES_MAX + 1, found, key=lambda entry: entry.name)
    kept = sorted(most[:FILES_MAX], key=lambda entry: entry.name)
    return Listing(entries=kept, is_cut=len(most) > FILES_MAX)


def hidden(name: str) -> str:
    """Return the name under which a file becomes whole; two who write the same file do not meet there."""
    return f".{name}.{uuid4().hex[:8]}{PART}"


def is_hidden(name: str) -> bool:
    """Whether a file is not whole yet, or not meant to be taken."""
    return name.startswith(".") or name.endswith((PART, ".tmp", ".filepart"))


def _is_whole(each: os.DirEntry[str]) -> bool:
    return each.is_file(follow_symlinks=False) and not is_hidden(each.name)


def _entry(each: os.DirEntry[str]) -> Entry:
    state = each.stat(follow_symlinks=False)
    return Entry(name=each.name, bytes=state.st_size, changed=state.st_mtime)


def _sync_folder(folder: Path) -> None:
    """Let the new name itself be on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
