"""What can go wrong on the way to a vendor and back, as errors with codes of docs/errors.md.

    UpstreamError
    ├── BadManifest          a system's description cannot be used
    ├── BadMapping           a mapping cannot be used
    ├── BadConnection        what was given for a connection cannot work
    └── UnknownConnection    no connection has this id

What a vendor answers is no exception: it is a `Reply` with a kind, which happens every working day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class UpstreamError(Exception):
    """The family: each leaf has a code that docs/errors.md explains."""

    code: ClassVar[str]


class BadManifest(UpstreamError):
    """A system's description cannot be used; `problems` says all that is wrong, by line."""

    code = "bad_manifest"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class BadMapping(UpstreamError):
    """A mapping cannot be used; `problems` says all that is wrong."""

    code = "bad_mapping"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class BadConnection(UpstreamError):
    """What was given for a connection cannot work."""

    code = "bad_connection"


class UnknownConnection(UpstreamError):
    """No connection of the tenant has this id."""

    code = "unknown_connection"
