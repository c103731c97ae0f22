"""Reading the query of a list: each name once, numbers within their range."""

from __future__ import annotations

from typing import Final

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
