"""A server over SFTP, as a place for files. Only what opens one loads this: its library takes long to load."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import stat
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from upstream import transport
from upstream.vendors.csv import places
from upstream.vendors.csv.places import Entry, Listing, Refused, Unreachable, hidden, is_hidden

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

CONNECT_SECONDS: Final = 15.0
STEP_SECONDS: Final = 60.0
"""How long one step may take: a listing, a file, a renaming."""
SFTP_PORT: Final = 22
PORT_MAX: Final = 65_535


class Sftp:
    """A server over SFTP, in one conversation."""

    def __init__(self, client: asyncssh.SFTPClient, root: str) -> None:
        self._client = client
        self._root = root

    async def entries(self, folder: str, *, newest: bool = False) -> Listing:
        """Return the files of a folder."""
        found: list[Entry] = []
        is_cut = False
        async with _step(f"the folder {folder}"):
            await self._client.makedirs(self._at(folder), exist_ok=True)
            async for each in self._client.scandir(self._at(folder)):
                name, state = str(each.filename), each.attrs
                if not is_hidden(name) and stat.S_ISREG(state.permissions or stat.S_IFREG):
                    found.append(Entry(name=name, bytes=state.size or 0, changed=float(state.mtime or 0)))
                # A server lists in any order, and may never come to an end.
                if len(found) > 2 * places.FILES_MAX:
                    found, is_cut = places.listed(found, newest=newest).entries, True
        last = places.listed(found, newest=newest)
        return Listing(entries=last.entries, is_cut=is_cut or last.is_cut)

    async def read(self, path: str, bytes_max: int) -> bytes:
        """Return what is in a file."""
        async with _step(path), self._client.open(self._at(path), "rb") as file:
            found: Any = await file.read(bytes_max + 1)
        return bytes(found)

    async def write(self, path: str, content: bytes) -> None:
        """Put a file there when it is whole."""
        folder, _, name = path.rpartition("/")
        part = self._at(f"{folder}/{hidden(name)}")
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
async def opened(config: Mapping[str, str], given: Mapping[str, str], *, allow_loopback: bool) -> AsyncIterator[Sftp]:
    """Give the server that a connection's settings name. Raises `Refused` and `Unreachable`."""
    host, port = config["host"], _port(config.get("port") or str(SFTP_PORT))
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


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdecimal() else 0
    if not 0 < port <= PORT_MAX:
        raise Refused(f"port must be a number from 1 to {PORT_MAX}")
    return port


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
