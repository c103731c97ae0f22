"""What can go wrong on the way to a vendor and back, as errors with codes of docs/errors.md.

    UpstreamError
    ├── BadManifest          a system's description cannot be used
    ├── BadContract          what we say that a vendor takes and gives cannot be read
    ├── BadMapping           a mapping cannot be used
    ├── UnknownMapping       a connection has no such version of its mapping
    ├── MappingRefused       a version with problems was to be published
    ├── NotReady             a connection was to go live that has something open
    ├── NotDiscovered        it could not be found out which fields an object has there
    ├── CodeUnavailable      nobody is there to run the Jsonnet of a mapping
    ├── BadConnection        what was given for a connection cannot work
    ├── UnknownConnection    no connection has this id
    ├── UnknownDelivery      no delivery has this id
    ├── NotDead              a delivery that waits for nobody was to be acted on
    ├── Overtaken            a delivery was to be sent whose successor was sent already
    ├── StillInDoubt         nobody knows whether it stands there, and what was asked for needs that
    ├── BadPayload           fields were to be sent that cannot be
    ├── BadEndpoint          what was given for an endpoint cannot work
    └── UnknownEndpoint      no endpoint has this id

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


class BadContract(UpstreamError):
    """What we say that a vendor takes and gives cannot be read; `problems` says all that is wrong, by line."""

    code = "bad_contract"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class BadMapping(UpstreamError):
    """A mapping cannot be used; `problems` says all that is wrong."""

    code = "mapping_unusable"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class UnknownMapping(UpstreamError):
    """The connection has no such version of its mapping."""

    code = "unknown_mapping"


class MappingRefused(UpstreamError):
    """A version with problems was to be published; `problems` names them, by row."""

    code = "mapping_refused"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class NotReady(UpstreamError):
    """A connection was to go live that has something open; `problems` says what."""

    code = "not_ready"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class NotDiscovered(UpstreamError):
    """It could not be found out which fields an object has there."""

    code = "not_discovered"


class CodeUnavailable(UpstreamError):
    """Nobody is there to run the Jsonnet of a mapping, or all who are there are busy; later may be better."""

    code = "code_unavailable"


class BadConnection(UpstreamError):
    """What was given for a connection cannot work."""

    code = "bad_connection"


class UnknownConnection(UpstreamError):
    """No connection of the tenant has this id."""

    code = "unknown_connection"


class UnknownDelivery(UpstreamError):
    """No delivery of the tenant has this id."""

    code = "unknown_delivery"


class NotDead(UpstreamError):
    """The delivery waits for nobody: it is on its way, has arrived, or was decided on before."""

    code = "not_dead"


class Overtaken(UpstreamError):
    """A newer state of the same object is on its way or there; an old one is never sent over it."""

    code = "overtaken"


class StillInDoubt(UpstreamError):
    """Nobody knows whether it stands there, and what was asked for could make it twice."""

    code = "still_in_doubt"


class BadPayload(UpstreamError):
    """Fields were to be sent that the vendor will not take, or that lack the mark; `problems` names them."""

    code = "bad_payload"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class BadEndpoint(UpstreamError):
    """What was given for an endpoint of webhooks cannot work; the message names the part."""

    code = "bad_endpoint"


class UnknownEndpoint(UpstreamError):
    """No endpoint of the tenant has this id."""

    code = "unknown_endpoint"
