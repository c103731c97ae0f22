"""A mail server that is not ours, on a free port of loopback; it keeps what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class PostOffice:
    """Takes mail; refuses it while `closed`."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.closed = False
        self.port = 0

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  (the library's name)
        """Keep a mail."""
        if self.closed:
            return "451 try again later"
        made = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(made, EmailMessage)
        self.mails.append(made)
        return "250 kept"


@asynccontextmanager
async def post_office(user: str = "", password: str = "", tls: Any = None) -> AsyncIterator[PostOffice]:
    """Run a mail server until the block ends; with a user it wants to know who sends, over TLS."""
    office = PostOffice()

    def knows(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        right = isinstance(given, LoginPassword) and (given.login, given.password) == (user.encode(), password.encode())
        return AuthResult(success=right)

    options: dict[str, Any] = {"hostname": "post.example", "tls_context": tls, "require_starttls": bool(tls)}
    if user:
        options |= {"authenticator": knows, "auth_required": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(office, loop=loop, **options), "127.0.0.1", 0)
    office.port = server.sockets[0].getsockname()[1]
    try:
        yield office
    finally:
        server.close()
        await server.wait_closed()
