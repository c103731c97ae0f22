"""What a route is for: who may use it, what it takes and answers.

Every route carries one. The guard reads the right from it and the OpenAPI document the rest, so that
neither can speak of a route that is not there, or leave one out.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Right = Literal["sync", "read", "write", "review", "decide", "watch", "revoke"]

OPT: Final = "operation"
"""The key under which a route carries its operation."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One route. Without a right it is open to everybody; `only` names the one collection it serves.

    `takes` and `gives` are types of which a schema is made, or names of schemas.
    """

    summary: str
    right: Right | None
    takes: Any = None
    gives: Any = None
    query: dict[str, str] = {}
    headers: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    only: str | None = None


def opt(operation: Operation) -> dict[str, Operation]:
    """Return the operation in the form in which a route carries it."""
    return {OPT: operation}
