"""Reading the query of a list: each name once, numbers within their range."""

from __future__ import annotations

from collections.abc import Container
from datetime import UTC, datetime
from typing import Final

import msgspec

from syncserver.http.parts import Asking
from syncserver.http.problems import Problem

SHOWN_CHARACTERS: Final = 40


def given(request: Asking) -> dict[str, str]:
    """Return the query; a name that comes twice says two things, of which none can be chosen."""
    found: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        if name in found:
            raise Problem("bad_filter", f"{name[:SHOWN_CHARACTERS]!r} is given twice")
        found[name] = str(text)
    return found


def number(text: str | None, default: int, largest: int) -> int:
    """Return a number of the query, brought into range."""
    if not text:
        return default
    if not text.isascii() or not text.isdecimal():
        raise Problem("bad_filter", f"{text[:SHOWN_CHARACTERS]!r} is no number that can stand here")
    digits = text.lstrip("0")
    # Longer than the largest is larger: what has thousands of digits is never counted out.
    return largest if len(digits) > len(str(largest)) else min(max(1, int(digits or "0")), largest)


def known(request: Asking, names: Container[str]) -> dict[str, str]:
    """Return the query, all of whose names are among these."""
    asked = given(request)
    strange = next((name for name in sorted(asked) if name not in names), None)
    if strange is not None:
        raise Problem("bad_filter", f"{strange[:SHOWN_CHARACTERS]!r} is no filter here")
    return asked


def instant(name: str, text: str | None) -> datetime | None:
    """Return an instant of the query; one without a time zone is none."""
    if not text:
        return None
    try:
        found = msgspec.convert(text, datetime)
    except msgspec.ValidationError as exc:
        raise Problem("bad_filter", f"{name} is no instant; write one like 2026-01-31T08:00:00Z") from exc
    if found.tzinfo is None:
        raise Problem("bad_filter", f"{name} has no time zone; write one like 2026-01-31T08:00:00Z")
    try:
        return found.astimezone(UTC)
    except OverflowError as exc:
        raise Problem("bad_filter", f"{name} is before the year 1 or after 9999 in UTC") from exc


def switch(name: str, text: str | None, *, default: bool) -> bool:
    """Return a yes or no of the query."""
    if not text:
        return default
    if text not in ("true", "false"):
        raise Problem("bad_filter", f"{name} is {text[:SHOWN_CHARACTERS]!r}; allowed: true, false")
    return text == "true"
