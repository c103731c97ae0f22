"""What a route is for: who may use it, what it takes and answers.

Every route carries one. The guard reads the right from it and the OpenAPI document the rest, so that
neither can speak of a route that is not there, or leave one out.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

Right = Literal[
    "sync",
    "read",
    "write",
    "review",
    "decide",
    "watch",
    "revoke",
    "audit",
    "inspect",
    "integrate",
    "webhooks",
    "self",
]

OWN_MEDIA_TYPES: Final = {
    "text": "text/plain",
    "html": "text/html",
    "any": "application/json",
    "events": "text/event-stream",
    "redirect": "text/html",
}
"""Answers that have one form alone, by what a route says that it gives."""

PROBLEMS_OF_BODIES: Final = ("bad_request", "too_slow", "too_large", "unsupported_encoding", "unsupported_media_type")

WRITING: Final = frozenset({"write", "decide", "revoke", "integrate", "webhooks"})
"""Rights to change something, if only by the address."""

OPT: Final = "operation"
"""The key under which a route carries its operation."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One route. Without a right it is open to everybody; `only` names the one collection it serves.

    One that `rescues` lets a revoked device through as well, and sees itself what it takes of it.
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
    rescues: bool = False

    @property
    def all_problems(self) -> frozenset[str]:
        """Return every code that the route can answer with: its own, and those that follow from what it is."""
        of_right = ("unauthenticated", "forbidden", "fenced") if self.right is not None else ()
        of_write = ("csrf_refused",) if self.right in WRITING or (self.right and self.takes is not None) else ()
        of_body = PROBLEMS_OF_BODIES if self.takes is not None else ()
        of_form = ("not_acceptable", "unavailable") if self.is_negotiated else ()
        return frozenset({*self.problems, *of_right, *of_write, *of_body, *of_form, "internal"})

    @property
    def is_negotiated(self) -> bool:
        """Whether the answer is a message, in the form that the caller asks for."""
        return self.own_media_type is None and (self.right is not None or self.takes is not None)

    @property
    def own_media_type(self) -> str | None:
        """Return the media type of an answer that has one form alone."""
        return OWN_MEDIA_TYPES.get(self.gives) if isinstance(self.gives, str) else None


def opt(operation: Operation) -> dict[str, Operation]:
    """Return the operation in the form in which a route carries it."""
    return {OPT: operation}
