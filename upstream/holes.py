"""Texts with holes, and paths into bodies: the two small languages of manifests and mappings.

A hole is `${kind.name}`, or `${kind.name:default}` where there may be nothing. A path has names with
dots between them, a number being a place in a list; an empty path means the whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NO_STEPS: Final = ("", ".", "..")
"""What is no name of a thing in a path, but leads to its parent."""

_PLACE: Final = re.compile(r"-?\d{1,9}", re.ASCII)
_HOLE: Final = re.compile(r"\$\{(\w+)(?:\.([\w.-]+))?(?::([^{}]*))?\}")


class NothingThere(LookupError):
    """Nothing was given for a hole; the message names it."""


class NoPlace(ValueError):
    """Something else stands where a table would have to be; the message names it."""


def named(text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and name of each hole."""
    for match in _HOLE.finditer(text):
        yield match[1], match[2] or ""


def texts(value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield each text in a value, however deep it is, with its place."""
    if isinstance(value, str):
        yield (), value
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    for key, each in inner:
        yield from (((key, *place), text) for place, text in texts(each))


def filled(text: str, values: Mapping[str, Any], *, in_path: bool = False, quotes: str = "") -> str:
    """Return the text with its holes filled; raises `NothingThere`. In a path each value is one step.

    Where `quotes` is given, single quotes of a value are escaped, so that it cannot end those that it
    stands in: by a `backslash`, or `doubled`.
    """

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1])
        if match[2] is not None:
            found = at(found, match[2])
        found = match[3] if found is None else found
        if found is None:
            raise NothingThere(f"nothing is given for {match[0]}")
        said = str(found).lower() if isinstance(found, bool) else str(found)
        if in_path and said in NO_STEPS:
            raise NothingThere(f"{said!r} is given for {match[0]}, which would name another place")
        return quote(said, safe="") if in_path else _escaped(said, quotes)

    return _HOLE.sub(value, text)


def _escaped(said: str, quotes: str) -> str:
    if quotes == "backslash":
        return said.replace("\\", "\\\\").replace("'", "\\'")
    return said.replace("'", "''") if quotes else said


def filled_deep(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill the holes of all texts in a value; a text that is one hole becomes what fills it, whatever its type."""
    if isinstance(template, str):
        whole = _HOLE.fullmatch(template)
        if whole is None:
            return filled(template, values)
        found = values.get(whole[1])
        found = at(found, whole[2]) if whole[2] is not None else found
        return whole[3] if found is None else found
    if isinstance(template, dict):
        return {key: filled_deep(part, values) for key, part in template.items()}
    if isinstance(template, list):
        return [filled_deep(part, values) for part in template]
    return template


def at(body: Any, path: str) -> Any:
    """Return what stands at the path, or None."""
    for step in path.split(".") if path else ():
        if isinstance(body, list) and _PLACE.fullmatch(step):
            body = body[int(step)] if -len(body) <= int(step) < len(body) else None
        elif isinstance(body, dict):
            body = body.get(step)
        else:
            return None
    return body


def put(body: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a path, making the tables on the way; raises `NoPlace` where something else is in it."""
    *way, last = path.split(".")
    for step in way:
        body = body.setdefault(step, {})
        if not isinstance(body, dict):
            raise NoPlace(f"{path}: has no place, since {step} is no table")
    body[last] = value
