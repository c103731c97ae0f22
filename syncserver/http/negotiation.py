"""Which form a body has and which one is wanted: Content-Type, Accept, Content-Encoding, Accept-Encoding.

JSON is what nobody has to ask for. What cannot be answered in a form that the caller reads is
refused before anything is done.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.datastructures import Headers
from litestar.handlers.base import BaseRouteHandler

from replication.forms import Form
from replication.packing import CODINGS, Coding
from syncserver.http.operation import OPT, Operation
from syncserver.http.problems import Problem

JSON: Final = "application/json"
FORMS: Final[dict[str, Form]] = {
    JSON: "json",
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
}
"""The media types that are taken and given, the one that is given unasked first."""

_NAMES: Final[dict[str, Coding]] = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
_CHARSETS: Final = frozenset({"", "utf-8", "utf8", "us-ascii"})
_QUALITY: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?", re.ASCII)
_REMEMBERED: Final = 256
"""Headers that are remembered: there are few, and every request has some."""


def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Turn away who reads none of the forms that the route answers in, before anything is done."""
    operation = handler.opt.get(OPT)
    if isinstance(operation, Operation) and operation.is_negotiated and _answered(connection.headers) is None:
        raise Problem("not_acceptable", f"Accept names no form that is given; {', '.join(FORMS)} are")


def media_type(headers: Headers) -> str:
    """Return the media type of the answer."""
    return _answered(headers) or JSON


def coding(headers: Headers) -> Coding | None:
    """Return how the answer is to be compressed; None to send it as it is."""
    return _wanted_coding(_all(headers, "accept-encoding"))


def form_sent(headers: Headers) -> Form:
    """Return the form of a body; without a Content-Type it is JSON."""
    name, *parameters = [part.strip().lower() for part in headers.get("content-type", JSON).split(";")]
    charset = next((part[8:].strip('"') for part in parameters if part.startswith("charset=")), "")
    found = FORMS.get(name)
    if found is None or charset not in _CHARSETS:
        given = name if found is None else f"{name} in {charset}"
        raise Problem("unsupported_media_type", f"a body of {given[:80]!r} is not taken; {', '.join(FORMS)} are")
    return found


def coding_sent(headers: Headers) -> Coding | None:
    """Return how a body is compressed; several codings one over the other are not taken."""
    named = [name.strip().lower() for name in _all(headers, "content-encoding").split(",")]
    codings = [name for name in named if name not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _NAMES:
        taken = ", ".join((*CODINGS, "identity"))
        raise Problem("unsupported_encoding", f"content-encoding {', '.join(codings)[:80]!r} is not taken; {taken} are")
    return _NAMES[codings[0]]


def _answered(headers: Headers) -> str | None:
    return _wanted_type(_all(headers, "accept"))


def _all(headers: Headers, name: str) -> str:
    """Return what a header says, also one that is sent in several lines."""
    return ", ".join(headers.getall(name, []))


@lru_cache(_REMEMBERED)
def _wanted_type(accept: str) -> str | None:
    """Return the media type of the greatest weight; of equal ones that which is named, in the order named."""
    if not accept.strip():
        return JSON
    ranges = _weighed(accept)
    best: tuple[float, int, int] = (0.0, 0, 0)
    chosen = None
    for name in FORMS:
        fits = [(_exactness(span, name), -place, weight) for place, (span, weight) in enumerate(ranges)]
        exactness, place, weight = max((fit for fit in fits if fit[0]), default=(0, 0, 0.0))
        if weight > 0 and (weight, exactness, place) > best:
            best, chosen = (weight, exactness, place), name
    return chosen


def _exactness(span: str, name: str) -> int:
    """Return how exactly a range of Accept names a media type; 0 if it does not."""
    return {name: 3, "application/*": 2, "*/*": 1}.get(span, 0)


@lru_cache(_REMEMBERED)
def _wanted_coding(accept: str) -> Coding | None:
    """Return the coding of the greatest weight if it is not less than that of none at all."""
    weights = dict(_weighed(accept))
    rest = weights.get("*", 0.0)
    plain = weights.get("identity", rest)
    given = {name: max(weights.get(each, -1.0) for each in _NAMES if _NAMES[each] == name) for name in CODINGS}
    found = {name: rest if weight < 0 else weight for name, weight in given.items()}
    best = max(CODINGS, key=lambda name: found[name])
    return best if found[best] > 0 and found[best] >= plain else None


def _weighed(header: str) -> list[tuple[str, float]]:
    """Return what a header names and the weight of each; what cannot be read counts for nothing."""
    found = []
    for part in header.split(","):
        name, *parameters = [each.strip().lower() for each in part.split(";")]
        quality = next((each[2:].strip() for each in parameters if each.startswith("q=")), "1")
        if name and _QUALITY.fullmatch(quality):
            found.append((name, float(quality)))
    return found
