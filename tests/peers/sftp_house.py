"""An SFTP server in this process, by another library than the peer beside it: one folder, one user, one key."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

USER, PASSWORD = "bureau", "its-password"


class _Doorman(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:  # noqa: ARG002  (the library's own name)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)


class House:
    """Where the server is, and by which key it is known."""

    def __init__(self, port: int, key_line: str) -> None:
        self.port = port
        self.key_line = key_line

    @property
    def settings(self) -> dict[str, str]:
        """What a connection says of it."""
        return {"host": "127.0.0.1", "port": str(self.port), "host_key": self.key_line, "folder": "firm"}


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[House]:
    """Serve a folder until the end."""
    key = asyncssh.generate_private_key("ssh-ed25519")

    def served(channel: Any) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(root).encode())

    listener = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=_Doorman, server_host_keys=[key], sftp_factory=served
    )
    try:
        yield House(listener.get_port(), key.export_public_key().decode().strip())
    finally:
        listener.close()
        await listener.wait_closed()
