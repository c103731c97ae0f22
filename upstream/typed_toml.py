"""A TOML text as a typed table, or all that is wrong with it: file, line, key, and what is allowed.

The tables of manifests, contracts and mappings are msgspec structs. The decoder would stop at the
first mistake and would not say what may stand there, so the text is held against the types here,
to the end, before it is converted.
"""

from __future__ import annotations

import math
import tomllib
from datetime import date, datetime, time
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import inspect

from replication import toml_lines
from replication.catalog_sheet import did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from replication.toml_lines import Path

T = TypeVar("T", bound=msgspec.Struct)

INTEGER_MAX: Final = 2**63 - 1
PROBLEMS_MAX: Final = 100
"""How many problems are told at a time."""


class BadText(ValueError):
    """The text is no such table; `problems` has a sentence for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems[:PROBLEMS_MAX])
        super().__init__("\n".join(self.problems))


class Page(msgspec.Struct, frozen=True):
    """A text that is TOML: its name, its values, and on which line each of them stands."""

    name: str
    values: dict[str, Any]
    lines: dict[toml_lines.Path, int]

    def said(self, path: Path, message: str) -> str:
        """Return a sentence about what stands at a path, or would stand there."""
        there = path
        while there not in self.lines:
            there = there[:-1]
        return f"{self.name}, line {self.lines[there]}: {'.'.join(map(str, path)) or 'top'}: {message}"


def read(text: str, name: str, *, bytes_max: int) -> Page:
    """Return the values of a text with their places, or raise `BadText`."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise BadText([f"{name}: has a character that is none: {exc.reason}"]) from exc
    if size > bytes_max:
        raise BadText([f"{name}: is larger than {bytes_max} bytes"])
    try:
        return Page(name, tomllib.loads(text), toml_lines.key_lines(text))
    except RecursionError as exc:
        raise BadText([f"{name}: is nested too deeply to be read"]) from exc
    except ValueError as exc:  # not only the parser's own: a number of 5,000 digits is one too
        raise BadText([f"{name}: {exc}"]) from exc


def fit(page: Page, table: type[T]) -> T:
    """Return the page as this table, or raise `BadText` with all that does not fit."""
    found = (*_unstorable(page.values, ()), *misfits(page.values, table))
    problems = [page.said(path, message) for path, message in found]
    if problems:
        raise BadText(problems)
    return msgspec.convert(page.values, table)


def _unstorable(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield where the one character stands that nothing which is stored or sent can have."""
    if isinstance(value, str) and "\0" in value:
        yield path, "has the character U+0000, which cannot be stored"
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        yield from ((path, f"the key {key!r} has the character U+0000") for key in value if "\0" in key)
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, each in inner:
        yield from _unstorable(each, (*path, key))


def misfits(value: Any, table: type) -> Iterator[tuple[Path, str]]:
    """Yield where a value is not what the type says, and what would be right."""
    yield from _misfits(value, _shape(table), ())


@cache
def _shape(table: type) -> inspect.Type:
    return inspect.type_info(table)


def _misfits(value: Any, shape: inspect.Type, path: Path) -> Iterator[tuple[Path, str]]:
    match shape:
        case inspect.AnyType():
            yield from _no_json(value, path)
        case inspect.StructType():
            yield from _in_struct(value, shape, path)
        case inspect.UnionType():
            yield from _in_union(value, shape, path)
        case inspect.DictType(value_type=inner):
            yield from _in_entries(value, inner, path)
        case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner):
            yield from _in_items(value, inner, path)
        case inspect.LiteralType(values=allowed):
            yield from _one_of(value, [str(word) for word in allowed], path)
        case _:
            yield from _plain(value, shape, path)


def _one_of(value: Any, words: list[str], path: Path) -> Iterator[tuple[Path, str]]:
    if value not in words:
        yield path, f"{shown(value)} is not allowed here{did_you_mean(value, words)} {_allowed(words)}"


def _in_struct(value: Any, shape: inspect.StructType, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, dict):
        yield path, "must be a table"
        return
    known = {field.encode_name: field for field in shape.fields}
    names = [*known, shape.tag_field] if shape.tag_field else list(known)
    for key, inner in value.items():
        if key in known:
            yield from _misfits(inner, known[key].type, (*path, key))
        elif key not in names:
            yield (*path, key), f"is no key of this table{did_you_mean(key, names)} {_allowed(names)}"
    for name, field in known.items():
        if field.required and name not in value:
            yield (*path, name), f"is missing; it must be {_wanted(field.type)}"


def _in_union(value: Any, shape: inspect.UnionType, path: Path) -> Iterator[tuple[Path, str]]:
    structs = [each for each in shape.types if isinstance(each, inspect.StructType)]
    tagged = {str(each.tag): each for each in structs if each.tag is not None}
    if len(structs) > 1 and isinstance(value, dict):
        tag_field = str(structs[0].tag_field)
        tag = value.get(tag_field)
        if isinstance(tag, str) and tag in tagged:
            yield from _in_struct(value, tagged[tag], path)
        else:
            said = "is missing" if tag is None else f"{shown(tag)} is not allowed here{did_you_mean(tag, [*tagged])}"
            yield (*path, tag_field), f"{said} {_allowed([*tagged])}"
        return
    # TOML has no null: what may be left out is there or it is not.
    others = [each for each in shape.types if not isinstance(each, inspect.NoneType)]
    found = [list(_misfits(value, each, path)) for each in others]
    if all(found):
        yield from min(found, key=len)


def _in_entries(value: Any, inner: inspect.Type, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, dict):
        yield path, "must be a table"
        return
    for key, each in value.items():
        yield from _misfits(each, inner, (*path, key))


def _in_items(value: Any, inner: inspect.Type, path: Path) -> Iterator[tuple[Path, str]]:
    if not isinstance(value, list):
        yield path, f"must be a list, each of it {_wanted(inner)}"
        return
    for place, each in enumerate(value):
        yield from _misfits(each, inner, (*path, place))


def _no_json(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield what could not be sent to anybody."""
    match value:
        case dict():
            for key, each in value.items():
                yield from _no_json(each, (*path, key))
        case list():
            for place, each in enumerate(value):
                yield from _no_json(each, (*path, place))
        case datetime() | date() | time():
            yield path, "is a time; write it as text in quotes"
        case float() if not math.isfinite(value):
            yield path, f"{value} is no number that could be sent"
        case int() if abs(value) > INTEGER_MAX:
            yield path, "is a number of more than 64 bits; write it as text in quotes"


def _plain(value: Any, shape: inspect.Type, path: Path) -> Iterator[tuple[Path, str]]:
    match shape:
        case inspect.StrType():
            fits = isinstance(value, str)
        case inspect.BoolType():
            fits = isinstance(value, bool)
        case inspect.IntType():
            fits = type(value) is int and abs(value) <= INTEGER_MAX
        case inspect.FloatType():
            fits = type(value) in (int, float) and math.isfinite(value) and abs(value) <= INTEGER_MAX
        case inspect.DateType():
            fits = type(value) is date or (isinstance(value, str) and _is_date(value))
        case _:  # pragma: no cover
            raise AssertionError(f"no table has a {shape} yet")
    if not (fits and _in_bounds(value, shape)):
        yield path, f"{shown(value)} is not allowed here: it must be {_wanted(shape)}"


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and date.fromisoformat(text) is not None
    except ValueError:
        return False


def _in_bounds(value: Any, shape: inspect.Type) -> bool:
    if not isinstance(shape, inspect.IntType | inspect.FloatType):
        return True
    least, above, most = shape.ge, shape.gt, shape.le
    return (least is None or value >= least) and (above is None or value > above) and (most is None or value <= most)


def _wanted(shape: inspect.Type) -> str:
    """Return in words what must stand at a place."""
    match shape:
        case inspect.IntType() | inspect.FloatType():
            return ("a whole number" if isinstance(shape, inspect.IntType) else "a number") + _bounds(shape)
        case inspect.LiteralType(values=allowed):
            return f"one of {', '.join(map(str, allowed))}"
        case inspect.UnionType(types=kinds):
            return _wanted(next(each for each in kinds if not isinstance(each, inspect.NoneType)))
        case _:
            return _WORDS.get(type(shape), "a table")


def _bounds(shape: inspect.IntType | inspect.FloatType) -> str:
    ends = {"at least": shape.ge, "above": shape.gt, "at most": shape.le}
    return "".join(f" {word} {end:g}" for word, end in ends.items() if end is not None)


def _allowed(words: Sequence[str]) -> str:
    return f"(allowed: {', '.join(words)})"


_WORDS: Final[dict[type, str]] = {
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.DateType: "a date like 2026-03-01",
    inspect.AnyType: "a value",
    inspect.ListType: "a list",
    inspect.VarTupleType: "a list",
}
