"""An SFTP server that is not of the library that we speak with: one folder, one user, on a thread of its own.

It can be told to hang up in the middle of a conversation: `drops_after` is how many more changes it does before.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import paramiko

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "fieldsync", "a-password"
CHANGES = ("open", "rename", "posix_rename", "mkdir")


class Server:
    """The server. `key_line` is its public key, as a list of known hosts has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = paramiko.RSAKey.generate(2048)
        self.client_key = paramiko.RSAKey.generate(2048)
        self.drops_after: int | None = None
        self.logins = 0
        self.port = 0

    @property
    def key_line(self) -> str:
        """The type and the key."""
        return f"{self.key.get_name()} {self.key.get_base64()}"


class _Doorman(paramiko.ServerInterface):
    def __init__(self, server: Server) -> None:
        self.server = server

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002  (the library's own names)
        return "password,publickey"

    def check_auth_password(self, username: str, password: str) -> int:
        return self._let_in(username == USER and password == PASSWORD)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._let_in(username == USER and key == self.server.client_key)

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002  (the library's own names)
        return paramiko.OPEN_SUCCEEDED

    def _let_in(self, good: bool) -> int:
        self.server.logins += good
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED


class _File(paramiko.SFTPHandle):
    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class _Folder(paramiko.SFTPServerInterface):
    """Answers from a folder of the disk."""

    def __init__(self, doorman: _Doorman, *args: Any, **more: Any) -> None:
        super().__init__(doorman, *args, **more)
        self.server = doorman.server

    def list_folder(self, path: str) -> Any:
        try:
            names = sorted(each.name for each in self._at(path).iterdir())
        except OSError as exc:
            return paramiko.SFTPServer.convert_errno(exc.errno)
        return [self._shown(f"{path}/{name}", name) for name in names]

    def stat(self, path: str) -> Any:
        try:
            return self._shown(path, self._at(path).name)
        except OSError as exc:
            return paramiko.SFTPServer.convert_errno(exc.errno)

    lstat = stat

    def open(self, path: str, flags: int, attr: Any) -> Any:  # noqa: ARG002  (the library's own names)
        self._count("open" if flags & os.O_CREAT else "")
        try:
            handle = os.open(self._at(path), flags, 0o644)
        except OSError as exc:
            return paramiko.SFTPServer.convert_errno(exc.errno)
        file = os.fdopen(handle, "wb" if flags & os.O_WRONLY else "r+b" if flags & os.O_RDWR else "rb")
        found = _File(flags)
        found.readfile = found.writefile = file  # type: ignore[attr-defined]  # the library asks for them by name
        return found

    def mkdir(self, path: str, attr: Any) -> int:  # noqa: ARG002  (the library's own names)
        return self._try(os.mkdir, self._at(path))

    def remove(self, path: str) -> int:
        return self._try(os.remove, self._at(path))

    def rename(self, oldpath: str, newpath: str) -> int:
        self._count("rename")
        return self._try(os.rename, self._at(oldpath), self._at(newpath))

    posix_rename = rename

    def _count(self, what: str) -> None:
        left = self.server.drops_after
        if left is None or what not in CHANGES:
            return
        if left == 0:
            raise EOFError("the line is cut")
        self.server.drops_after = left - 1

    def _try(self, step: Any, *args: Any) -> int:
        try:
            step(*args)
        except OSError as exc:
            return int(paramiko.SFTPServer.convert_errno(exc.errno))
        return int(paramiko.SFTP_OK)

    def _shown(self, path: str, name: str) -> Any:
        found = paramiko.SFTPAttributes.from_stat(self._at(path).stat(), name)
        found.filename = name
        return found

    def _at(self, path: str) -> Path:
        return self.server.root / self.canonicalize(path).lstrip("/")


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    """Serve a folder until the end."""
    server, stop = Server(root), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    server.port = listener.getsockname()[1]
    transports: list[paramiko.Transport] = []

    def answer() -> None:
        while not stop.is_set():
            try:
                talk, _ = listener.accept()
            except TimeoutError:
                continue
            transport = paramiko.Transport(talk)
            transport.add_server_key(server.key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Folder)
            transports.append(transport)
            try:
                transport.start_server(server=_Doorman(server), event=threading.Event())
            except (paramiko.SSHException, EOFError):
                continue

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield server
    finally:
        stop.set()
        thread.join()
        listener.close()
        for transport in transports:
            transport.close()
