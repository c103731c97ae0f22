"""Token to principal, and role to rights: the one place where it is said who may do what."""

from __future__ import annotations

from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from syncserver.http import parts
from syncserver.http.operation import OPT, Operation, Right
from syncserver.http.problems import Problem

RIGHTS: Final[dict[str, frozenset[Right]]] = {
    "technician": frozenset({"sync", "read"}),
    "dispatcher": frozenset({"read", "write", "review", "decide", "watch", "revoke"}),
    "integrator": frozenset({"read", "review"}),
    "admin": frozenset({"read", "write", "review", "decide", "watch", "revoke"}),
    "readonly": frozenset({"read", "review", "watch"}),
    "worker": frozenset({"read"}),
}
"""What each role may do. A technician reads only what they hold, and edits through sync alone.

An integrator reads only: what a vendor's system writes comes by its connection, under that system's class.
"""

SCHEMES: Final = ("bearer", "token")
TOKEN_CHARACTERS_MAX: Final = 500


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
    principal = await parts.of(connection.app).access.principal(_token(connection))
    if principal is None:
        raise Problem("unauthenticated", "the token is unknown, revoked or too old")
    if principal.fenced:
        raise Problem("fenced", "this device was revoked")
    if operation.right not in RIGHTS.get(principal.role, frozenset()):
        raise Problem("forbidden", f"the role {principal.role} may not do this", {"role": principal.role})
    connection.scope["auth"] = principal


def _token(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return the token of the Authorization header; some libraries write `Token` for `Bearer`."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in SCHEMES or not 0 < len(token) <= TOKEN_CHARACTERS_MAX:
        raise Problem("unauthenticated", "send the header Authorization: Bearer TOKEN")
    return token.strip()
