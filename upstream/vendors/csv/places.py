"""Where files are put and fetched: a folder of this machine, or a server over SFTP. No other module knows either."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

import asyncssh
import msgspec

from upstream import transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

CONNECT_SECONDS: Final = 15.0
STEP_SECONDS: Final = 60.0
"""How long one step may take: a listing, a file, a renaming."""
SFTP_PORT: Final = 22
FILES_MAX: Final = 10_000
PART: Final = ".part"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is there: its name, size, and when it was changed last, in seconds since 1970."""

    name: str
    bytes: int
    changed: float


class Refused(Exception):
    """It is not let in, or the place is none that may be used: a person has to put that right."""


class Unreachable(Exception):
    """It is not there for now. `done` may have happened nevertheless."""

    def __init__(self, message: str, *, done: bool = False) -> None:
        self.done = done
        super().__init__(message)


class Place(Protocol):
    """A folder with folders in it."""

    async def entries(self, folder: str) -> list[Entry]:
        """Return the files of a folder that is made if it is not there, in order of their names."""
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

    async def entries(self, folder: str) -> list[Entry]:
        """Return the files of a folder."""
        return await asyncio.to_thread(self._entries, folder)

    async def read(self, path: str, bytes_max: int) -> bytes:
        """Return what is in a file."""
        return await asyncio.to_thread(self._read, path, bytes_max)

    async def write(self, path: str, content: bytes) -> None:
        """Put a file there when it is whole."""
        await asyncio.to_thread(self._write, path, content)

    async def move(self, path: str, to: str) -> None:
        """Give a file another place."""
        await asyncio.to_thread(self._move, path, to)

    def _entries(self, folder: str) -> list[Entry]:
        there = self._root / folder
        there.mkdir(parents=True, exist_ok=True)
        found = []
        for each in os.scandir(there):
            if each.is_file(follow_symlinks=False) and not _is_hidden(each.name):
                state = each.stat(follow_symlinks=False)
                found.append(Entry(name=each.name, bytes=state.st_size, changed=state.st_mtime))
        return sorted(found, key=lambda entry: entry.name)[:FILES_MAX]

    def _read(self, path: str, bytes_max: int) -> bytes:
        with (self._root / path).open("rb") as file:
            return file.read(bytes_max + 1)

    def _write(self, path: str, content: bytes) -> None:
        whole = self._root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        part = whole.with_name(_hidden(whole.name))
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


class Sftp:
    """A server over SFTP, in one conversation."""

    def __init__(self, client: asyncssh.SFTPClient, root: str) -> None:
        self._client = client
        self._root = root

    async def entries(self, folder: str) -> list[Entry]:
        """Return the files of a folder."""
        async with _step(f"the folder {folder}"):
            await self._client.makedirs(self._at(folder), exist_ok=True)
            found = []
            async for each in self._client.scandir(self._at(folder)):
                name, state = str(each.filename), each.attrs
                if not _is_hidden(name) and stat.S_ISREG(state.permissions or stat.S_IFREG):
                    found.append(Entry(name=name, bytes=state.size or 0, changed=float(state.mtime or 0)))
                if len(found) == FILES_MAX:
                    break
        return sorted(found, key=lambda entry: entry.name)

    async def read(self, path: str, bytes_max: int) -> bytes:
        """Return what is in a file."""
        async with _step(path), self._client.open(self._at(path), "rb") as file:
            found: Any = await file.read(bytes_max + 1)
        return bytes(found)

    async def write(self, path: str, content: bytes) -> None:
        """Put a file there when it is whole."""
        folder, _, name = path.rpartition("/")
        part = self._at(f"{folder}/{_hidden(name)}")
        async with _step(path):
            await self._client.makedirs(self._at(folder), exist_ok=True)
            async with self._client.open(part, "wb") as file:
                await file.write(content)
        async with _step(path, done=True):
            await self._rename(part, self._at(path))

    async def move(self, path: str, to: str) -> None:
        """Give a file another place."""
        async with _step(path):
            await self._client.makedirs(self._at(to.rpartition("/")[0]), exist_ok=True)
            await self._rename(self._at(path), self._at(to))

    async def _rename(self, path: str, to: str) -> None:
        """Give a file another name. A server that cannot replace what has it is asked to take that away first."""
        try:
            await self._client.posix_rename(path, to)
        except asyncssh.SFTPOpUnsupported:
            with suppress(asyncssh.SFTPNoSuchFile):
                await self._client.remove(to)
            await self._client.rename(path, to)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


@asynccontextmanager
async def opened(
    config: Mapping[str, str], given: Mapping[str, str], *, exchange_dir: str, allow_loopback: bool
) -> AsyncIterator[Place]:
    """Give the place that a connection's settings name. Raises `Refused` and `Unreachable`."""
    if config.get("host"):
        async with _sftp(config, given, allow_loopback=allow_loopback) as place:
            yield place
        return
    if not exchange_dir:
        raise Refused("this server has set no folder aside for files; name a host, or ask its operator")
    folder = await asyncio.to_thread(_below, exchange_dir, config.get("folder", ""))
    try:
        yield Folder(folder)
    except FileNotFoundError:
        raise
    except PermissionError as exc:
        raise Refused(f"the folder does not let us: {exc.strerror}") from exc
    except OSError as exc:
        raise Unreachable(f"the folder cannot be used: {exc.strerror}", done=True) from exc


@asynccontextmanager
async def _sftp(config: Mapping[str, str], given: Mapping[str, str], *, allow_loopback: bool) -> AsyncIterator[Sftp]:
    host, port = config["host"], int(config.get("port") or SFTP_PORT)
    if not config.get("host_key"):
        raise Refused("host_key must be given: without it anybody could say that they are this server")
    address = await _address(host, port, allow_loopback=allow_loopback)
    try:
        key = config["host_key"]
        known = asyncssh.import_known_hosts(f"{address} {key}\n[{address}]:{port} {key}\n")
        keys = [asyncssh.import_private_key(given["private_key"])] if given.get("private_key") else None
    except (ValueError, asyncssh.KeyImportError) as exc:
        raise Refused(f"host_key or private_key cannot be read: {exc}") from exc
    options = asyncssh.SSHClientConnectionOptions(
        known_hosts=known,
        username=given.get("user", ""),
        password=given.get("password"),
        client_keys=keys,
        agent_path=None,
        config=None,
        connect_timeout=CONNECT_SECONDS,
        login_timeout=CONNECT_SECONDS,
    )
    try:
        talk = await asyncssh.connect(address, port, options=options)
    except (asyncssh.PermissionDenied, asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as exc:
        raise Refused(f"the server was not accepted, or does not let us in: {exc}") from exc
    except (OSError, asyncssh.Error, TimeoutError) as exc:
        raise Unreachable(f"the server cannot be reached: {exc}") from exc
    async with talk, talk.start_sftp_client() as client:
        yield Sftp(client, (config.get("folder") or ".").rstrip("/"))


def _below(exchange_dir: str, name: str) -> Path:
    """Return a folder, links followed, that lies below the one that was set aside."""
    root = Path(exchange_dir).resolve()
    folder = (root / name).resolve()
    if not name or root not in folder.parents:
        raise Refused("folder must be the name of a folder below the one that is set aside for files")
    return folder


async def _address(host: str, port: int, *, allow_loopback: bool) -> str:
    """Return where a name leads, if that may be called."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise Unreachable(f"{host} leads nowhere: {exc}") from exc
    for each in found:
        address = str(each[4][0])
        if transport.may_call(ipaddress.ip_address(address), allow_loopback=allow_loopback):
            return address
    raise Refused(f"{host} leads to an address that is not called")


@asynccontextmanager
async def _step(what: str, *, done: bool = False) -> AsyncIterator[None]:
    """One step of a conversation, with an end. `done`: it may have happened although no word of it came."""
    try:
        async with asyncio.timeout(STEP_SECONDS):
            yield
    except asyncssh.SFTPNoSuchFile as exc:
        raise FileNotFoundError(what) from exc
    except asyncssh.SFTPPermissionDenied as exc:
        raise Refused(f"{what}: the server does not let us") from exc
    except (OSError, asyncssh.Error, TimeoutError) as exc:
        raise Unreachable(f"{what}: {str(exc) or type(exc).__name__}", done=done) from exc


def _hidden(name: str) -> str:
    """Return the name under which a file becomes whole; two who write the same file do not meet there."""
    return f".{name}.{uuid4().hex[:8]}{PART}"


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.endswith((PART, ".tmp", ".filepart"))


def _sync_folder(folder: Path) -> None:
    """Let the new name itself be on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
