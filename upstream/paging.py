"""Which page comes next: one function for each kind of pagination, from what the last page said."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import calls, holes
from upstream.calls import Page
from upstream.manifest import ByCursor, ByLink, ByOffset, ByPage, ByUrl, Pagination, Single

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.calls import Call

PAGES_MAX: Final = 10_000
"""No list is read further in one go; what is left is asked for by its time of change."""
DIGITS_MAX: Final = 9
"""A number of the last page that has more digits is none."""

_LINK: Final = re.compile(r"<([^>]*)>([^<]*)")
_RELATION: Final = re.compile(r""";\s*rel\s*=\s*("?)([^";,]*)\1""", re.IGNORECASE)


def first(pagination: Pagination) -> Page:
    """Return the page that a list begins with."""
    match pagination:
        case ByOffset() | ByPage():
            return Page(at=str(pagination.first), size=pagination.size)
        case Single() | ByCursor() | ByUrl() | ByLink():
            return Page()


def placed(call: Call, pagination: Pagination, page: Page) -> Call:
    """Return the call for a page; raises `calls.Unfit` if its address is another host's."""
    if page.url:
        return calls.elsewhere(call, page.url)
    match pagination:
        case ByCursor(place="body") if page.at:
            body = msgspec.json.decode(call.body)
            holes.put(body, pagination.param, page.at)
            return msgspec.structs.replace(call, body=msgspec.json.encode(body))
        case ByCursor() if page.at:
            return _asked(call, {pagination.param: page.at})
        case ByOffset() | ByPage():
            return _asked(call, {pagination.param: page.at, pagination.size_param: str(page.size)})
        case _:
            return call


def following(pagination: Pagination, page: Page, body: Any, headers: Mapping[str, str], count: int) -> Page | None:
    """Return the page after this one, which had `count` items; None if it was the last."""
    match pagination:
        case Single():
            return None
        case ByCursor():
            cursor = holes.at(body, pagination.next)
            return Page(at=str(cursor)) if cursor else None
        case ByUrl():
            url = holes.at(body, pagination.next)
            return Page(url=str(url)) if url else None
        case ByLink():
            url = linked(headers.get("link", ""), "next")
            return Page(url=url) if url else None
        case ByOffset():
            return _counted(page, pagination.size - pagination.overlap) if count >= pagination.size else None
        case ByPage():
            return _counted(page, 1) if _has_more(pagination, page, headers, count) else None


def linked(header: str, relation: str) -> str:
    """Return the address that a `Link` header gives for a relation (RFC 8288), or nothing."""
    for url, params in _LINK.findall(header):
        if any(relation in name.lower().split() for _quote, name in _RELATION.findall(params)):
            return str(url)
    return ""


def _has_more(pagination: ByPage, page: Page, headers: Mapping[str, str], count: int) -> bool:
    last = headers.get(pagination.last_header.lower(), "") if pagination.last_header else ""
    is_told = last.isdecimal() and len(last) <= DIGITS_MAX
    return int(page.at) < int(last) if is_told else count >= pagination.size


def _counted(page: Page, step: int) -> Page:
    return msgspec.structs.replace(page, at=str(int(page.at) + step))


def _asked(call: Call, added: Mapping[str, str]) -> Call:
    kept = [(name, value) for name, value in call.query if name not in added]
    new = [(name, value) for name, value in added.items() if name]
    return msgspec.structs.replace(call, query=(*kept, *new))
