"""A call as a value: what an operation of a manifest becomes before it is sent, and how an exchange can end.

Whether anything was sent is the difference that everything else hangs on: of what never left, nothing
has to be found out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import quote_plus, urlencode, urljoin, urlsplit

import msgspec

from upstream import holes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.manifest import Body, Handle, Operation

CONTENT_TYPE: Final = {"json": "application/json", "form": "application/x-www-form-urlencoded"}

HEADER_VALUE: Final = re.compile(r"|[!-~]|[!-~][ -~\t]*[!-~]")
"""What a header can be, which the library refuses otherwise, quoting it: and that may be a credential."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `form` is kept apart from other bodies because some signatures cover it."""

    method: str
    url: str
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = {}
    body: bytes = b""
    form: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> str:
        """The URL with its query."""
        return f"{self.url}?{urlencode(self.query)}" if self.query else self.url

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        return urlencode(self.form).encode() if self.form else self.body


class Identity(msgspec.Struct, frozen=True):
    """Who we are in TLS, and whom we believe besides the usual authorities; texts in PEM."""

    certificate: str = ""
    private_key: str = ""
    authority: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What came back. Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Unsent(msgspec.Struct, frozen=True):
    """Nothing left this machine. `why`: the peer, a place that is not called, no room here, or what HTTP cannot say."""

    reason: str
    why: Literal["peer", "forbidden", "ours", "unwritable"] = "peer"


class Lost(msgspec.Struct, frozen=True):
    """It went out, at least in part, and no whole answer came."""

    reason: str


Exchange: TypeAlias = Answer | Unsent | Lost


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Which page of a list: the cursor or number that is asked for, or the address of the page."""

    at: str = ""
    size: int = 0
    url: str = ""


class Unfit(holes.NoPlace):
    """What was given cannot be put into this operation."""


def build(operation: Operation, url: str, names: Mapping[str, Any], *, key: str | None = None) -> Call:
    """Return the call of an operation. `names` are the namespaces of its holes; `value` is its body too.

    Raises `holes.NothingThere` for a hole that nothing fills, and `Unfit` for a value that has no place.
    """
    query = {name: holes.filled(text, names, quotes=operation.quotes) for name, text in operation.query.items()}
    headers = {name.lower(): holes.filled(text, names) for name, text in operation.headers.items()}
    body = _body(operation.body, names)
    if operation.handle is not None and key is not None:
        _handle(operation.handle, key, query, headers, body)
    form = _form(body) if operation.body.kind == "form" else ()
    if operation.body.kind != "none":
        headers = {"content-type": CONTENT_TYPE[operation.body.kind], **headers}
    return Call(
        method=operation.method,
        url=url.rstrip("/") + holes.filled(operation.path, names, in_path=True),
        query=tuple(query.items()),
        headers={"accept": "application/json", **headers},
        body=msgspec.json.encode(body) if operation.body.kind == "json" else b"",
        form=form,
    )


def form_word(text: str) -> str:
    """Return a text as forms write it."""
    return quote_plus(text)


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port: to another one, nothing goes that is meant for this one."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def elsewhere(call: Call, url: str) -> Call:
    """Return the call at another address of the same origin; raises `Unfit` for a foreign one."""
    there = urljoin(call.url, url)
    if origin(there) != origin(call.url):
        raise Unfit(f"the next page is said to be at {origin(there)[1]!r}, which is not the host that was asked")
    return msgspec.structs.replace(call, url=there, query=())


def _body(body: Body, names: Mapping[str, Any]) -> Any:
    if body.kind == "none":
        return {}
    given = names.get("value") or {}
    item = {name: value for name, value in given.items() if name not in body.leave_out}
    _add(item, body.item_add, names)
    stands = [item] if body.in_list else item
    whole: Any = stands
    if body.under:
        whole = {}
        holes.put(whole, body.under, stands)
    if isinstance(whole, dict):
        _add(whole, body.add, names)
    elif body.add:
        raise Unfit("`add` has no place in a body that is a list")
    return whole


def _add(body: dict[str, Any], added: Mapping[str, Any], names: Mapping[str, Any]) -> None:
    for path, template in added.items():
        holes.put(body, path, holes.filled_deep(template, names))


def _handle(handle: Handle, key: str, query: dict[str, str], headers: dict[str, str], body: Any) -> None:
    match handle.place:
        case "header":
            headers[handle.name.lower()] = key
        case "query":
            query[handle.name] = key
        case "body":
            if not isinstance(body, dict):
                raise Unfit("the key has no place in a body that is a list")
            holes.put(body, handle.name, key)


def _form(body: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(body, dict):
        raise Unfit("a form cannot be a list")
    for name, value in body.items():
        if isinstance(value, dict | list):
            raise Unfit(f"{name}: a form has no place for tables and lists")
    return tuple((name, _word(value)) for name, value in body.items() if value is not None)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
