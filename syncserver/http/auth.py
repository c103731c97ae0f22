"""Token to principal, and role to rights: the one place where it is said who may do what."""

from __future__ import annotations

import hmac
from typing import Any, Final

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from syncserver.commands import signin
from syncserver.http import parts
from syncserver.http.operation import OPT, Operation, Right
from syncserver.http.problems import Problem

RIGHTS: Final[dict[str, frozenset[Right]]] = {
    "technician": frozenset({"sync", "read", "self"}),
    "dispatcher": frozenset({"read", "write", "review", "decide", "watch", "revoke", "self"}),
    "integrator": frozenset({"read", "review", "inspect", "integrate", "self"}),
    "admin": frozenset(
        {"read", "write", "review", "decide", "watch", "revoke", "audit", "inspect", "integrate", "webhooks", "self"}
    ),
    "readonly": frozenset({"read", "review", "watch", "inspect", "self"}),
    "worker": frozenset({"read", "self"}),
}
"""What each role may do. A technician reads only what they hold, and edits through sync alone.

An integrator reads records only, and sees to connections, mappings and dead letters: what a vendor's system
writes comes by its connection, under that system's class.
"""

SCHEMES: Final = ("bearer", "token")
TOKEN_CHARACTERS_MAX: Final = 500
COOKIES: Final = ("__Host-fieldsync", "fieldsync")
"""The session's cookie: the first over https, where no neighbour can set it; the second on loopback."""

CSRF_HEADER: Final = "X-CSRF-Token"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Shown(msgspec.Struct, frozen=True):
    """The token that a request shows. A browser sends a cookie by itself, whoever made the page.

    `is_plain` is a cookie that a neighbouring host may have set.
    """

    token: str
    by_cookie: bool
    is_plain: bool = False


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through to a route if its token's role has the right, and note who asks."""
    operation = handler.opt.get(OPT)
    if operation is None:
        # The framework's own answer to OPTIONS, which tells the methods of a route and nothing else.
        assert connection.scope.get("method") == "OPTIONS", "a route carries its operation"
        return
    assert isinstance(operation, Operation)
    if operation.right is None:
        return
    given = shown(connection)
    principal = await parts.of(connection.app).access.principal(given.token)
    if principal is None or (given.by_cookie and principal.kind != "session"):
        raise Problem("unauthenticated", "the token is unknown, revoked or too old")
    if given.is_plain and not await parts.of(connection.app).signins.takes_plain_cookies(principal.tenant_id):
        raise Problem("unauthenticated", f"over https a session's cookie is named {COOKIES[0]}; sign in again")
    if principal.fenced and not operation.rescues:
        raise Problem("fenced", "this device was revoked")
    if operation.right not in RIGHTS.get(principal.role, frozenset()):
        raise Problem("forbidden", f"the role {principal.role} may not do this", {"role": principal.role})
    if given.by_cookie:
        _check_meant(connection, given.token)
    connection.scope["auth"] = principal


def shown(connection: ASGIConnection[Any, Any, Any, Any]) -> Shown:
    """Return the token of the Authorization header or, without one, that of the session's cookie.

    Some libraries write `Token` for `Bearer`.
    """
    header = connection.headers.get("authorization")
    if header is None:
        name = next((name for name in COOKIES if name in connection.cookies), COOKIES[0])
        cookie = connection.cookies.get(name)
        if cookie and len(cookie) <= TOKEN_CHARACTERS_MAX:
            return Shown(cookie, by_cookie=True, is_plain=name != COOKIES[0])
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() not in SCHEMES or not 0 < len(token) <= TOKEN_CHARACTERS_MAX:
        raise Problem("unauthenticated", "send the header Authorization: Bearer TOKEN")
    return Shown(token.strip(), by_cookie=False)


def _check_meant(connection: ASGIConnection[Any, Any, Any, Any], token: str) -> None:
    """Refuse a write that a page of somebody else may have had the browser send."""
    method = str(connection.scope.get("method"))
    given = connection.headers.get(CSRF_HEADER, "")
    if method not in SAFE and not hmac.compare_digest(given.encode(), signin.csrf(token).encode()):
        raise Problem("csrf_refused", f"send {CSRF_HEADER} as GET /v1/auth/session gives it")
