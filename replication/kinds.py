"""Kinds of fields: the one form in which each value is kept, and the operations on it.

Two writers who mean the same must not be told that they are in conflict. So every value
is brought into its canonical form before it is compared or stored: `"183.050"` and
`183.05` are one decimal, 9 o'clock in Zurich and 7 o'clock UTC are one instant. A value
that has no canonical form is refused with a sentence that the writer can act on.

`None` is an explicit clear and is canonical for each kind.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast, get_args

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Value: TypeAlias = object
"""Anything that JSON can say. A value is narrowed by its kind, never trusted by its type."""

Kind: TypeAlias = Literal[
    "text",
    "choice",
    "integer",
    "decimal",
    "boolean",
    "instant",
    "date",
    "zone",
    "reference",
    "person",
    "set",
    "json",
]
Op: TypeAlias = dict[str, Value]
"""What to do to a value: `inc`, `append`, or `add` and `remove`."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

TEXT_CHARACTERS_MAX: Final = 20_000
SET_MEMBERS_MAX: Final = 200
MEMBER_CHARACTERS_MAX: Final = 200
JSON_BYTES_MAX: Final = 65_536
JSON_DEPTH_MAX: Final = 32
INTEGER_MAX: Final = 2**63 - 1
INTEGER_MIN: Final = -(2**63)
DECIMAL_DIGITS_MAX: Final = 38
DECIMAL_CHARACTERS_MAX: Final = 100
LIMIT_OF_KIND: Final[dict[Kind, int]] = {
    "text": TEXT_CHARACTERS_MAX,
    "set": SET_MEMBERS_MAX,
    "json": JSON_BYTES_MAX,
}
"""The kinds whose size a catalogue may limit, and their limit where it says nothing."""

OPS_OF_KIND: Final[dict[Kind, frozenset[str]]] = {
    "text": frozenset({"append"}),
    "integer": frozenset({"inc"}),
    "decimal": frozenset({"inc"}),
    "set": frozenset({"add", "remove"}),
}

# Wide enough for any sum of two canonical decimals; a rounded sum must never pass unseen.
_EXACT: Final = Context(prec=4 * DECIMAL_DIGITS_MAX, traps=[Inexact])
_DECIMAL: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_INSTANT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r"\s?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?",
    re.ASCII,
)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ZONE: Final = re.compile(r"(?=.{1,64}\Z)[A-Za-z][\w+-]*(/[A-Za-z0-9][\w+-]*){0,2}", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class BadValue(ValueError):
    """The value has no canonical form in its kind; the message says what would be right."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a value must look like: all that canonicalising needs to know of a field."""

    kind: Kind
    limit: int = 0
    choices: tuple[str, ...] = ()
    of: Literal["text", "person"] = "text"
    """What the members of a set are."""

    keeps_space: bool = False
    """Whether white space at the ends of a text counts: where others append, it parts their additions."""

    @property
    def size_max(self) -> int:
        """Characters of a text, members of a set, bytes of JSON."""
        return self.limit or LIMIT_OF_KIND.get(self.kind, 0)


def canonical(shape: Shape, value: Value) -> Value:
    """Return the one form of this value, or raise `BadValue`."""
    return None if value is None else _CANONICAL[shape.kind](shape, value)


def same(one: Value, other: Value) -> bool:
    """Tell whether two canonical values are one. Unlike `==`, true is not 1, however deep."""
    if type(one) is not type(other) or one != other:
        return False
    if isinstance(one, dict):
        return all(same(one[key], cast("dict[str, Value]", other)[key]) for key in one)
    if isinstance(one, list):
        return all(map(same, one, cast("list[Value]", other)))
    return True


def canonical_op(shape: Shape, op: Op) -> Op:
    """Return the one form of an operation on such a field, or raise `BadValue`."""
    known = OPS_OF_KIND.get(shape.kind, frozenset())
    if not op or not op.keys() <= known:
        raise BadValue(_op_message(shape.kind, known))
    if "append" in op:
        return {"append": _tail(shape, op["append"])}
    if "inc" in op:
        return {"inc": _required(shape, op["inc"])}
    return _canonical_set_op(shape, op)


def apply_op(shape: Shape, current: Value, op: Op) -> Value:
    """Return the value after a canonical operation; `BadValue` if it outgrows the field's limits."""
    before = _still_fitting(shape, current)
    if "append" in op:
        return canonical(shape, str(before or "") + str(op["append"]))
    if "inc" in op:
        return canonical(shape, _sum(before, op["inc"]))
    members = set(_members(before)) | set(_members(op.get("add")))
    return canonical(shape, list(members - set(_members(op.get("remove")))))


def difference(kind: Kind, was: Value, value: Value) -> Op | None:
    """Return the operation that leads from one canonical value to another, if there is one.

    A cleared value, or a text that does not begin with what it was, is a replacement and
    no operation: `None`.
    """
    if value is None:
        return None
    if kind == "text":
        before, after = str(was or ""), str(value)
        return {"append": after[len(before) :]} if after.startswith(before) else None
    if kind in ("integer", "decimal"):
        return {"inc": _delta(was, value)}
    if kind == "set":
        before_set, after_set = set(_members(was)), set(_members(value))
        return {"add": sorted(after_set - before_set), "remove": sorted(before_set - after_set)}
    return None


def _text(shape: Shape, value: Value) -> str:
    text = _clean(value) if shape.keeps_space else _clean(value).strip()
    if len(text) > shape.size_max:
        raise BadValue(f"text is longer than {shape.size_max} characters")
    return text


def _choice(shape: Shape, value: Value) -> str:
    text = _clean(value).strip()
    if text not in shape.choices:
        raise BadValue(f"must be one of {', '.join(shape.choices)}")
    return text


def _integer(_: Shape, value: Value) -> int:
    # Some writers have one type for all numbers and send 3 as 3.0.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValue("must be a whole number")
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise BadValue("must fit into 64 bits")
    return value


def _decimal(_: Shape, value: Value) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadValue("must be a decimal number, as a number or as text")
    text = _digits_of(value)
    if len(text) > DECIMAL_CHARACTERS_MAX or not _DECIMAL.fullmatch(text):
        raise BadValue("must be a decimal number like 183.05")
    return _plain(Decimal(text))


def _digits_of(value: float | str) -> str:
    if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
        # Printing a huge number costs more than reading it; nobody means one.
        raise BadValue("must fit into 64 bits, or come as text")
    return str(value).strip()


def _plain(number: Decimal) -> str:
    # The exponent is bounded before anything is written out: 1E+999 is short, its digits are not.
    if number and not -DECIMAL_DIGITS_MAX <= number.adjusted() < DECIMAL_DIGITS_MAX:
        raise BadValue(f"must have at most {DECIMAL_DIGITS_MAX} digits")
    text = _written(number)
    if len(text.lstrip("-").replace(".", "").lstrip("0")) > DECIMAL_DIGITS_MAX:
        raise BadValue(f"must have at most {DECIMAL_DIGITS_MAX} digits")
    return text


def _written(number: Decimal) -> str:
    text = format(number, "f") if number else "0"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _boolean(_: Shape, value: Value) -> bool:
    if not isinstance(value, bool):
        raise BadValue("must be true or false")
    return value


def _instant(_: Shape, value: Value) -> str:
    match = _INSTANT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise BadValue("must be an instant like 2026-03-01T08:30:00Z")
    if not match[6] and not match[7]:
        raise BadValue("needs an offset: end it with Z or with one like +01:00")
    try:
        moment = _local(match).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise BadValue("is no instant of the calendar") from exc
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _local(match: re.Match[str]) -> datetime:
    """Return the moment as its writer put it. Finer than a millisecond is cut, never rounded up."""
    minutes = int(match[8] or 0) * 60 + int(match[9] or 0)
    if int(match[9] or 0) > 59:
        raise ValueError("offset")
    zone = timezone(timedelta(minutes=-minutes if match[7] == "-" else minutes))
    day = date.fromisoformat(match[1])
    micros = int((match[5] or "0")[:3].ljust(3, "0")) * 1000
    hour, minute, second = int(match[2]), int(match[3]), int(match[4] or 0)
    return datetime(day.year, day.month, day.day, hour, minute, second, micros, zone)


def _date(_: Shape, value: Value) -> str:
    if not isinstance(value, str) or not _DATE.fullmatch(value.strip()):
        raise BadValue("must be a date like 2026-03-01")
    try:
        return date.fromisoformat(value.strip()).isoformat()
    except ValueError as exc:
        raise BadValue("is no date of the calendar") from exc


def _zone(_: Shape, value: Value) -> str:
    # By pattern only: the zone files of this machine are not those of the device.
    if not isinstance(value, str) or not _ZONE.fullmatch(value.strip()):
        raise BadValue("must be a zone name like Europe/Zurich")
    return value.strip()


def _uuid(_: Shape, value: Value) -> str:
    text = value.strip().lower() if isinstance(value, str) else ""
    if not _UUID.fullmatch(text):
        raise BadValue("must be a UUID")
    return text


def _set(shape: Shape, value: Value) -> list[str]:
    if not isinstance(value, list | tuple):
        raise BadValue("must be a list of texts")
    members = sorted({_member(shape, member) for member in cast("list[Value]", value)})
    if len(members) > shape.size_max:
        raise BadValue(f"has more than {shape.size_max} members")
    return members


def _member(shape: Shape, value: Value) -> str:
    if shape.of == "person":
        return _uuid(shape, value)
    if shape.choices:
        return _choice(shape, value)
    text = _clean(value).strip()
    if not 0 < len(text) <= MEMBER_CHARACTERS_MAX:
        raise BadValue(f"each member must have 1 to {MEMBER_CHARACTERS_MAX} characters")
    return text


def _json(shape: Shape, value: Value) -> Value:
    tree = _tree(value, JSON_DEPTH_MAX)
    if len(msgspec.json.encode(tree)) > shape.size_max:
        raise BadValue(f"is larger than {shape.size_max} bytes")
    return tree


def _tree(value: Value, depth: int) -> Value:
    if depth == 0:
        raise BadValue(f"is nested deeper than {JSON_DEPTH_MAX}")
    if isinstance(value, dict):
        return {_storable(key): _tree(part, depth - 1) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_tree(part, depth - 1) for part in cast("list[Value]", value)]
    if value is None or isinstance(value, bool):
        return value
    return _number(value) if isinstance(value, int | float) else _storable(value)


def _number(value: float) -> float:
    if not math.isfinite(value) or not INTEGER_MIN <= value <= INTEGER_MAX:
        raise BadValue("holds a number beyond 64 bits")
    return int(value) if value == int(value) else value


def _clean(value: Value) -> str:
    return unicodedata.normalize("NFC", _storable(value))


def _storable(value: Value) -> str:
    if not isinstance(value, str):
        raise BadValue("must be text")
    if _UNSTORABLE.search(value):
        raise BadValue("holds a NUL or half a surrogate pair, which no store can keep")
    return value


def _op_message(kind: Kind, known: Collection[str]) -> str:
    if not known:
        return f"a field of kind {kind} has no operations"
    return f"a field of kind {kind} knows only {', '.join(sorted(known))}"


def _canonical_set_op(shape: Shape, op: Op) -> Op:
    parts = {name: _set(shape, members) for name, members in op.items()}
    if set(parts.get("add", ())) & set(parts.get("remove", ())):
        raise BadValue("adds and removes the same member")
    return dict(parts)


def _tail(shape: Shape, value: Value) -> str:
    # Not stripped: the white space in front of a tail is what parts it from the rest.
    tail = _clean(value)
    if len(tail) > shape.size_max:
        raise BadValue(f"text is longer than {shape.size_max} characters")
    return tail


def _still_fitting(shape: Shape, current: Value) -> Value:
    # The catalogue may have given the field another kind since the value was stored.
    try:
        return canonical(shape, current)
    except BadValue as exc:
        raise BadValue(f"what is stored no longer fits the field, set it instead: {exc}") from exc


def _required(shape: Shape, value: Value) -> Value:
    if value is None:
        raise BadValue("inc needs a number")
    return canonical(shape, value)


def _members(value: Value) -> list[str]:
    return cast("list[str]", value) if isinstance(value, list) else []


def _sum(current: Value, step: Value) -> Value:
    if isinstance(step, int):
        return (current if isinstance(current, int) else 0) + step
    return _plain(_EXACT.add(Decimal(str(current or "0")), Decimal(str(step))))


def _delta(was: Value, value: Value) -> Value:
    # A difference may have more digits than either end, so it is written without the bound.
    if isinstance(value, int):
        return value - (was if isinstance(was, int) else 0)
    return _written(_EXACT.subtract(Decimal(str(value)), Decimal(str(was or "0"))))


_CANONICAL: Final[dict[Kind, Callable[[Shape, Value], Value]]] = {
    "text": _text,
    "choice": _choice,
    "integer": _integer,
    "decimal": _decimal,
    "boolean": _boolean,
    "instant": _instant,
    "date": _date,
    "zone": _zone,
    "reference": _uuid,
    "person": _uuid,
    "set": _set,
    "json": _json,
}
