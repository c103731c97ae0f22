"""What an answer means: the manifest's rules first, then what statuses mean anywhere.

Two things are never guessed. A write whose answer is missing, cut off or a failure without words of
its own is `unknown`, not failed. And an answer that says yes in its status and no in its body is
read by its body.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import holes, redaction
from upstream.calls import Answer, Exchange, Lost, Unsent
from upstream.manifest import ErrorRule, Manifest, Operation, ReplyKind

if TYPE_CHECKING:
    from collections.abc import Mapping

WAIT_MS_MAX: Final = 24 * 3_600_000
"""A vendor that names a longer wait is asked again after this."""
MESSAGE_CHARACTERS_MAX: Final = 2_000
DEPTH_MAX: Final = 200
"""How deep tables and lists of what comes from outside may lie within each other."""

UNREACHABLE: Final = "unreachable"
NO_ROOM: Final = "no_room"
BUDGET_USED: Final = "budget_used"
CODES: Final[dict[str, ReplyKind]] = {
    "unreachable": "transient",
    "no_room": "transient",
    "forbidden_address": "config",
    "unwritable": "config",
    "setting_missing": "config",
    "value_missing": "data",
    "does_not_fit": "config",
    "endless_list": "config",
    "budget_used": "throttled",
    "breaker_open": "transient",
    "no_credentials": "auth",
    "reauthorise": "auth",
    "credentials_sealed": "auth",
    "token_unavailable": "transient",
}
"""What ends an operation before anything is sent, and what kind of reply that is."""

NO_ANSWER: Final = "no_answer"

BY_STATUS: Final[dict[int, ReplyKind]] = {
    400: "data",
    401: "auth",
    402: "config",
    403: "config",
    404: "not_found",
    405: "config",
    406: "config",
    408: "transient",
    409: "conflict",
    410: "gone",
    412: "conflict",
    413: "data",
    415: "config",
    422: "data",
    423: "data",
    425: "transient",
    429: "throttled",
}
"""What a status means where no rule of the manifest says otherwise."""

LED_AWAY: Final = (302, 303)
"""Statuses by which a web page leads on after it has done what a form asked for (RFC 9110, 15.4.3 and 15.4.4)."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What a vendor said, or what is known when it said nothing.

    `sent` is false where no request left: nothing was tried, so nothing is counted as a try.
    `request` and `raw` are for people: redacted and cut.
    """

    kind: ReplyKind
    status: int = 0
    body: Any = None
    item: Any = None
    items: list[Any] = []
    id: str = ""
    version: str = ""
    code: str = ""
    message: str = ""
    fields: dict[str, Any] = {}
    retry_after_ms: int = 0
    headers: dict[str, str] = {}
    request: str = ""
    raw: str = ""
    took_ms: int = 0
    sent: bool = True


def unsent(kind: ReplyKind, code: str, message: str, *, retry_after_ms: int = 0) -> Reply:
    """Return the reply where no request left this machine."""
    return Reply(kind=kind, code=code, message=message, retry_after_ms=retry_after_ms, sent=False)


def stopped(code: str, message: str, *, retry_after_ms: int = 0) -> Reply:
    """Return the reply where one of `CODES` kept a request from being sent."""
    return unsent(CODES[code], code, message, retry_after_ms=retry_after_ms)


def read(manifest: Manifest, operation: Operation, exchange: Exchange, now_ms: int) -> Reply:
    """Return what an exchange came to."""
    match exchange:
        case Unsent():
            return stopped(_UNSENT[exchange.why], exchange.reason)
        case Lost():
            return Reply(kind=_unproved(operation), code=NO_ANSWER, message=exchange.reason)
        case Answer():
            return _answered(manifest, operation, exchange, now_ms)


def wait_ms(headers: Mapping[str, str], now_ms: int) -> int:
    """Return how long `Retry-After` says to wait: seconds, or a date by the vendor's own clock; 0 if it is silent."""
    said = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", said):
        return round(min(WAIT_MS_MAX, float(said) * 1_000))
    then = _date_ms(said)
    if then is None:
        return 0
    now = _date_ms(headers.get("date", ""))
    return max(0, min(WAIT_MS_MAX, then - (now_ms if now is None else now)))


_UNSENT: Final = {"peer": UNREACHABLE, "forbidden": "forbidden_address", "ours": NO_ROOM, "unwritable": "unwritable"}


def _unproved(operation: Operation) -> ReplyKind:
    return "unknown" if operation.effect == "write" else "transient"


def _answered(manifest: Manifest, operation: Operation, answer: Answer, now_ms: int) -> Reply:
    body = decoded(answer.body)
    rule = next((rule for rule in manifest.errors if _fits(rule, operation, answer, body)), None)
    kind = rule.kind if rule is not None else _by_status(operation, answer.status)
    if kind == "ok" and _is_unreadable(operation, body):
        kind = _unproved(operation)
    reply = Reply(kind=kind, status=answer.status, body=body, headers=answer.headers)
    if kind == "ok":
        return _with_places(reply, operation)
    asked = wait_ms(answer.headers, now_ms) or round((rule.wait_seconds if rule else 0) * 1_000)
    return msgspec.structs.replace(reply, retry_after_ms=asked, **_error(manifest, body))


def _fits(rule: ErrorRule, operation: Operation, answer: Answer, body: Any) -> bool:
    if rule.status and answer.status not in rule.status:
        return False
    if not rule.status and not rule.path and not rule.contains:
        return answer.status not in operation.success
    if rule.path:
        found = holes.at(body, rule.path)
        return found not in (None, "", [], {}) and _says(rule, found)
    return not rule.contains or rule.contains in answer.body.decode("utf-8", "replace")


def _says(rule: ErrorRule, found: Any) -> bool:
    if rule.equals and str(found) not in rule.equals:
        return False
    return rule.contains in str(found)


def _by_status(operation: Operation, status: int) -> ReplyKind:
    if status in operation.success:
        return "ok"
    if status in BY_STATUS:
        return BY_STATUS[status]
    if 200 <= status < 300 or status >= 500:
        return _unproved(operation)
    return "unknown" if status in LED_AWAY and operation.effect == "write" else "config"


def _is_unreadable(operation: Operation, body: Any) -> bool:
    """Whether an answer that should have something in it is none that can be read."""
    places = operation.answer
    return bool(places.id or places.items or places.item or places.version) and not isinstance(body, dict | list)


def _with_places(reply: Reply, operation: Operation) -> Reply:
    places = operation.answer
    item = holes.at(reply.body, places.item)
    items = holes.at(reply.body, places.items)
    version = holes.at(item, places.version) if places.version else reply.headers.get(places.version_header.lower())
    return msgspec.structs.replace(
        reply,
        item=item,
        items=items if isinstance(items, list) else [],
        id=_word(holes.at(item, places.id)) if places.id else "",
        version=_word(version),
    )


def _error(manifest: Manifest, body: Any) -> dict[str, Any]:
    places = manifest.error
    fields = holes.at(body, places.fields) if places.fields else None
    message = holes.at(body, places.message) if places.message else body if isinstance(body, str) else None
    return {
        "code": _word(holes.at(body, places.code)) if places.code else "",
        "message": _word(message)[:MESSAGE_CHARACTERS_MAX],
        "fields": fields if isinstance(fields, dict) else {"": fields} if fields else {},
    }


def decoded(body: bytes) -> Any:
    """Return what a body says as JSON; its text if it is none, or goes deeper than anything that is meant."""
    if not body.strip():
        return None
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode("utf-8", "replace")
    return said if depth(said) <= DEPTH_MAX else body.decode("utf-8", "replace")


def depth(value: Any) -> int:
    """Return how deep tables and lists lie within each other, as far as one more than is allowed."""
    level, deep = [value], 0
    while level and deep <= DEPTH_MAX:
        level = [inner for each in level for inner in within(each)]
        deep += 1
    return deep


def within(value: Any) -> list[Any]:
    """Return the tables and lists that lie directly within a value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inner if isinstance(each, dict | list)]


def _word(value: Any) -> str:
    """Return a value as text that can be stored."""
    return "" if value is None else redaction.storable(str(value))


def _date_ms(text: str) -> int | None:
    try:
        then = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return round((then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() * 1_000)
