"""What a call that is believed says: the events in it, or a handshake that wants something back.

Pure: the rule and the request go in, values come out. What cannot be read is an event all the same,
so that a person sees it; nothing that a vendor has signed is thrown away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from upstream import holes, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upstream.manifest import Webhook
    from upstream.verify import Incoming

EVENTS_MAX: Final = 5_000
"""Events that one request may bring."""
KEY_CHARACTERS_MAX: Final = 512
"""The longest id, version or name that is taken as one; a longer one is known by its hash."""
ECHO_CHARACTERS_MAX: Final = 1_024
SECRET_CHARACTERS_MAX: Final = 1_024
EVERY: Final = "*"
FORM: Final = "application/x-www-form-urlencoded"


class TooMany(ValueError):
    """The request has more events than are taken."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a vendor said. `id` is the vendor's, or a hash of what it says (`is_named` False).

    `record` is there where the event brings the whole record; a thin one only names it.
    """

    id: str
    is_named: bool
    object: str = ""
    remote_id: str = ""
    version: str = ""
    body: bytes
    record: bytes | None = None


class Echo(msgspec.Struct, frozen=True):
    """What a vendor wants to get back, and where: a header's name, a path in a body, or nothing for plain text."""

    value: str
    place: str


class Secret(msgspec.Struct, frozen=True):
    """The secret that a vendor will sign with, as it says itself; nobody has vouched for it yet."""

    value: str
    body: bytes


def events(rule: Webhook, request: Incoming) -> tuple[Event, ...]:
    """Return the events of a request; raises `TooMany`."""
    body = _decoded(request)
    if body is None:
        raw = msgspec.json.encode(request.body.decode("utf-8", "replace"))
        return (Event(id=verify.digest(request.body), is_named=False, body=raw),)
    found: list[Any] = list(every(body, rule.items)) if rule.items else [body]
    if len(found) > EVENTS_MAX:
        raise TooMany(f"a request may bring {EVENTS_MAX} events, this one has {len(found)}")
    return tuple(_event(rule, request, body, item) for item in found)


def handshake(rule: Webhook, request: Incoming) -> Echo | Secret | None:
    """Return what a vendor wants at the beginning; None if the request is no handshake."""
    if rule.handshake == "none":
        return None
    value = _at_place(rule.handshake_path, request)
    if not isinstance(value, str) or not value or not value.isprintable() or not value.isascii():
        return None
    if rule.handshake == "token":
        return Secret(value, request.body) if len(value) <= SECRET_CHARACTERS_MAX else None
    return Echo(value, rule.handshake_answer) if len(value) <= ECHO_CHARACTERS_MAX else None


def every(body: Any, path: str) -> Iterator[Any]:
    """Yield what stands at the path; `*` is each item on the way, and a list at the end is all of its items."""
    before, star, after = path.partition(EVERY)
    found = holes.at(body, before.strip("."))
    if not star:
        yield from found if isinstance(found, list) else [] if found is None else [found]
        return
    for item in found if isinstance(found, list) else []:
        yield from every(item, after.lstrip("."))


def record_key(name: str, remote_id: str, version: str, record: bytes) -> str:
    """Return the id of what a poll found: the same record in the same state is the same event.

    What the record says counts beside its version: two changes in one tick of a vendor's clock have
    the same time, and the second must not be taken for the first.
    """
    return f"poll:{verify.digest(name.encode(), remote_id.encode(), version.encode(), record)}"


def _event(rule: Webhook, request: Incoming, body: Any, item: Any) -> Event:
    content = msgspec.json.encode(item)
    name = _word(_named(rule.object, request, body, item))
    given = _word(_named(rule.event_id, request, body, item))
    record = holes.at(item, rule.record) if rule.record else None
    return Event(
        id=_short(given) if given else verify.digest(content),
        is_named=bool(given),
        object=rule.objects.get(name, name)[:KEY_CHARACTERS_MAX],
        remote_id=_short(_word(_named(rule.remote_id, request, body, item))),
        version=_short(_word(_named(rule.version, request, body, item))),
        body=content,
        record=None if record is None else msgspec.json.encode(record),
    )


def _named(path: str, request: Incoming, body: Any, item: Any) -> Any:
    """Return what stands at a path of the event, else of the whole body, or in a header."""
    if not path:
        return None
    if path.startswith("header:"):
        return request.headers.get(path[7:].lower())
    found = holes.at(item, path)
    return holes.at(body, path) if found is None else found


def _at_place(place: str, request: Incoming) -> Any:
    kind, colon, name = place.partition(":")
    if colon and kind == "header":
        return request.headers.get(name.lower())
    if colon and kind == "query":
        return dict(parse_qsl(urlsplit(request.url).query)).get(name)
    return holes.at(_decoded(request), place)


def _decoded(request: Incoming) -> Any:
    if request.headers.get("content-type", "").startswith(FORM):
        return dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _word(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= KEY_CHARACTERS_MAX and "\0" not in text else verify.digest(text.encode())
