"""Every failure as a problem document (RFC 9457). This is the only table of HTTP statuses.

What a mutation met is a verdict and comes with status 200; a problem says why there is no verdict.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from replication.cursor import BadCursor
from replication.wire import BadRequest
from syncserver.commands.commit import RETRY_AFTER_MS
from syncserver.commands.errors import CommandError, Unavailable

MEDIA_TYPE: Final = "application/problem+json"

log = structlog.get_logger()


class Kind(msgspec.Struct, frozen=True):
    """A kind of problem: its status, and what it is called whatever the case."""

    status: int
    title: str


CODES: Final = {
    "bad_request": Kind(400, "The request cannot be read"),
    "bad_cursor": Kind(400, "The cursor is not one of this person on this replica"),
    "bad_filter": Kind(400, "The list cannot be filtered like that"),
    "signin_broken": Kind(400, "The sign-in was not begun here, or took too long"),
    "authorization_broken": Kind(400, "The sign-in at the system was not begun by this person, or took too long"),
    "unauthenticated": Kind(401, "A valid token is needed"),
    "enrolment_refused": Kind(401, "The enrolment code is not valid"),
    "refresh_refused": Kind(401, "The refresh token is not valid"),
    "hook_refused": Kind(401, "The call is not one of a vendor that is known here"),
    "signin_untrusted": Kind(401, "What the issuer gave for the sign-in is not believed"),
    "signin_denied": Kind(403, "The issuer did not let the person in"),
    "signin_not_allowed": Kind(403, "The person has no place here"),
    "csrf_refused": Kind(403, "A write by cookie has to say that it is meant"),
    "forbidden": Kind(403, "The token's role does not allow this"),
    "fenced": Kind(403, "The device was revoked"),
    "not_found": Kind(404, "There is nothing here"),
    "unknown_collection": Kind(404, "The catalogue has no such collection"),
    "unknown_record": Kind(404, "The record is not known"),
    "unknown_replica": Kind(404, "The replica is not known"),
    "unknown_conflict": Kind(404, "The conflict is not known"),
    "unknown_endpoint": Kind(404, "The endpoint is not known"),
    "unknown_held": Kind(404, "The held mutation is not known"),
    "unknown_connection": Kind(404, "The connection is not known"),
    "unknown_delivery": Kind(404, "The delivery is not known"),
    "unknown_mapping": Kind(404, "The connection has no such version of its mapping"),
    "signin_not_configured": Kind(404, "The tenant has no sign-in"),
    "method_not_allowed": Kind(405, "This method is not offered here"),
    "not_acceptable": Kind(406, "The answer has no form that the caller reads"),
    "too_slow": Kind(408, "The body did not come in time"),
    "no_session": Kind(409, "The token is of no session"),
    "epoch_changed": Kind(409, "The server was restored and counts anew"),
    "replica_forked": Kind(409, "One number stands for two mutations"),
    "rev_ahead": Kind(409, "If-Match names a rev that the record never had"),
    "state_moved": Kind(409, "The cell is no longer as it was shown"),
    "conflict_open": Kind(409, "The conflict waits for a person: settle it"),
    "scope_changed": Kind(409, "The catalogue changes who holds records"),
    "nothing_to_restore": Kind(409, "Nothing was lost in this conflict"),
    "not_waiting": Kind(409, "The held mutation was released or discarded before"),
    "conflict_decided": Kind(409, "The conflict was decided: undo it"),
    "connection_in_use": Kind(409, "Something was told by this connection"),
    "not_dead": Kind(409, "The delivery waits for nobody"),
    "not_ready": Kind(409, "The connection cannot go live yet"),
    "overtaken": Kind(409, "A newer state is on its way or there"),
    "still_in_doubt": Kind(409, "Nobody knows whether it stands there"),
    "record_deleted": Kind(410, "The record is deleted"),
    "too_many_events": Kind(413, "The call brings too many events"),
    "too_large": Kind(413, "The body is larger than the limit"),
    "unsupported_encoding": Kind(415, "The body is compressed in a way that is not taken"),
    "unsupported_media_type": Kind(415, "The body has a form that is not taken"),
    "bad_endpoint": Kind(422, "The endpoint cannot be like that"),
    "bad_id": Kind(422, "The id is no UUID in lower case"),
    "bad_mutation": Kind(422, "The write does not have the shape it should have"),
    "bad_connection": Kind(422, "The connection cannot work like that"),
    "bad_manifest": Kind(422, "The description of the system cannot be used"),
    "mapping_unusable": Kind(422, "The mapping cannot be used"),
    "bad_payload": Kind(422, "This cannot be sent"),
    "mapping_refused": Kind(422, "The version of the mapping cannot hold"),
    "missing_parent": Kind(422, "The record that this one belongs to is not known"),
    "refused": Kind(422, "Nothing of the write was carried out"),
    "unknown_technician": Kind(422, "The work order is given to nobody who is known"),
    "idempotency_key_reused": Kind(422, "The Idempotency-Key stands for another request"),
    "base_required": Kind(428, "The write has to say what was shown"),
    "internal": Kind(500, "The server made a mistake"),
    "submission_failed": Kind(500, "The server could not settle this one submission"),
    "signin_issuer_failed": Kind(502, "The issuer could not be asked"),
    "authorization_refused": Kind(502, "The system did not let the person in"),
    "not_discovered": Kind(502, "The fields there could not be found out"),
    "keys_missing": Kind(503, "A secret key is missing in the settings"),
    "code_unavailable": Kind(503, "The code of a mapping cannot be run just now"),
    "overloaded": Kind(503, "Too much work is waiting"),
    "unavailable": Kind(503, "The database did not answer"),
    "no_catalogue": Kind(503, "The tenant has no catalogue yet"),
}

_OF_STATUS: Final = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}


class Problem(Exception):
    """A request that gets no answer, by its code in `CODES`; `members` stand beside the standard ones."""

    def __init__(
        self,
        name: str,
        detail: str,
        members: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.members = members or {}
        self.headers = headers or {}


def document(problem: Problem) -> Response[bytes]:
    """Return the problem as an answer."""
    kind = CODES[problem.name]
    body = {
        "type": f"/docs#{problem.name}",
        "title": kind.title,
        "status": kind.status,
        "code": problem.name,
        "detail": str(problem),
        **problem.members,
    }
    headers = dict(problem.headers)
    if kind.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), status_code=kind.status, media_type=MEDIA_TYPE, headers=headers)


def on_problem(_: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    """Answer a problem that a handler raised."""
    return document(problem)


def on_bad_request(_: Request[Any, Any, Any], error: BadRequest) -> Response[bytes]:
    """Answer a message that cannot be read."""
    return document(Problem("bad_request", str(error)))


def on_bad_cursor(_: Request[Any, Any, Any], error: BadCursor) -> Response[bytes]:
    """Answer a cursor that was not sealed here."""
    return document(Problem("bad_cursor", str(error)))


def on_command_error(_: Request[Any, Any, Any], error: CommandError) -> Response[bytes]:
    """Answer a command that gave no answer; whoever may try again is told when."""
    if error.retry_after_ms is None:
        return document(Problem(error.code, str(error), error.members))
    headers = {"retry-after": str(-(-error.retry_after_ms // 1_000))}
    members = {**error.members, "retry_after_ms": error.retry_after_ms}
    return document(Problem(error.code, str(error), members, headers=headers))


def on_database_away(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a database that could not be asked just now. Nobody's mistake: a restart, a broken road."""
    if isinstance(error, ValueError):
        # The driver puts an argument that does not fit its type into the same family; that one lasts.
        return on_mistake(request, error)
    log.warning("database_away", error=type(error).__name__)
    return on_command_error(request, Unavailable("the database did not answer", retry_after_ms=RETRY_AFTER_MS))


def on_http_exception(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer what the framework refused before a handler saw it."""
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    name = _OF_STATUS.get(error.status_code, "bad_request" if error.status_code < 500 else "internal")
    return document(Problem(name, error.detail or CODES[name].title, headers=headers))


def on_mistake(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a mistake of ours. Its message is not logged: a database error quotes the row in it."""
    where = traceback.format_tb(error.__traceback__)
    log.critical("request_failed", error=type(error).__name__, where=where)
    return document(Problem("internal", "the mistake was logged; the same request may succeed later"))


HANDLERS: Final[dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[bytes]]]] = {
    Problem: on_problem,
    BadRequest: on_bad_request,
    BadCursor: on_bad_cursor,
    CommandError: on_command_error,
    HTTPException: on_http_exception,
    Exception: on_mistake,
}
"""Which function answers which exception; the nearest class in its family counts."""
