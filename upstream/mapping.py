"""Mappings as data: how records of ours become an object of theirs.

A mapping names the object, the records it is made of, and a row for each field there: where the
value comes from and what is done to it. The same mapping and the same records give the same fields,
so that a mapping can be tried on samples, compared with another version, and pinned while a delivery
is under way.

A row takes its value from the *context*: `record` is the one the object is made from, `rows.<name>`
are those gathered beside it, `ref.<field>` is the record that a reference names, `remote.<field>` the
vendor's id of that record, `config` the connection's settings, `period` the pay period.
"""

from __future__ import annotations

import bisect
import tomllib
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from upstream import holes
from upstream.errors import BadMapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TEXT_BYTES_MAX: Final = 131_072
ROWS_MAX: Final = 500
ITEMS_MAX: Final = 5_000

Action: TypeAlias = Literal["copy", "static", "map", "range", "date", "concat", "sum", "each", "jsonnet"]
Jsonnet: TypeAlias = "Callable[[str, Any], Any]"


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a key that nobody knows is refused."""


class Condition(_Table, frozen=True, kw_only=True):
    """What must be so: a path into the context, and what may stand there."""

    path: str
    equals: tuple[Any, ...] = ()
    present: bool = True


class Step(_Table, frozen=True, kw_only=True):
    """Up to (and not including) `below` the value is this one; without it: from there on."""

    value: Any
    below: str | None = None


class Row(_Table, frozen=True, kw_only=True):
    """One field there. `default` is taken where nothing is found, `required` refuses that."""

    target: str
    action: Action = "copy"
    source: str = ""
    sources: tuple[str, ...] = ()
    value: Any = None
    values: dict[str, Any] = {}
    steps: tuple[Step, ...] = ()
    separator: str = " "
    to: Literal["date", "time", "local", "instant"] = "instant"
    zone: str = "UTC"
    scale: str = "1"
    code: str = ""
    when: tuple[Condition, ...] = ()
    where: tuple[Condition, ...] = ()
    """Which items of a list count, for `sum` and `each`: paths begin with `item`."""
    rows: tuple[Row, ...] = ()
    default: Any = None
    required: bool = False
    number: bool = False


class Gather(_Table, frozen=True, kw_only=True):
    """Records beside the one that the object is made of: those whose field names the same."""

    collection: str
    match: dict[str, str]
    """Field of the gathered record -> path in the context that it must equal."""
    where: tuple[Condition, ...] = ()
    period_field: str = ""
    """The gathered record's instant that must lie in the period."""


class Period(_Table, frozen=True, kw_only=True):
    """Stretches of so many days, counted from a first day, in a time zone."""

    field: str
    days: int
    first: date
    zone: str = "UTC"


class ObjectMapping(_Table, frozen=True, kw_only=True):
    """How one object is made: from which collection, when, under which key, and its rows."""

    object: str
    collection: str
    key: str = "${record.id}"
    when: tuple[Condition, ...] = ()
    void_when: tuple[Condition, ...] = ()
    triggers: dict[str, str] = {}
    """Other collections whose records belong to it -> the field that names the record it is made of."""
    gather: dict[str, Gather] = {}
    period: Period | None = None
    rows: tuple[Row, ...]


class MappingSet(_Table, frozen=True, kw_only=True):
    """All mappings of a connection: what goes out, and what comes in by (object -> collection)."""

    out: tuple[ObjectMapping, ...] = ()
    into: tuple[IntoMapping, ...] = ()


class IntoMapping(_Table, frozen=True, kw_only=True):
    """How a record of theirs becomes fields of ours; `rows` name our fields as targets."""

    object: str
    collection: str
    when: tuple[Condition, ...] = ()
    rows: tuple[Row, ...]


class Problem(msgspec.Struct, frozen=True):
    """Why an object could not be made: the field there, and what is wrong."""

    target: str
    message: str


class Made(msgspec.Struct, frozen=True):
    """The fields that a mapping made of a context, and what kept it from making more."""

    fields: dict[str, Any]
    problems: tuple[Problem, ...] = ()


def parse(text: str) -> MappingSet:
    """Return the mappings that the TOML says, or raise `BadMapping`."""
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise BadMapping([f"the mapping is larger than {TEXT_BYTES_MAX} bytes"])
    try:
        found = msgspec.convert(tomllib.loads(text), MappingSet)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        raise BadMapping([str(exc)]) from exc
    every: tuple[ObjectMapping | IntoMapping, ...] = (*found.out, *found.into)
    problems = [said for each in every for said in _check(each)]
    if problems:
        raise BadMapping(problems)
    return found


def holds(conditions: tuple[Condition, ...], context: Mapping[str, Any]) -> bool:
    """Tell whether all of the conditions are so."""
    return all(_holds(condition, holes.at(dict(context), condition.path)) for condition in conditions)


def make(rows: tuple[Row, ...], context: Mapping[str, Any], jsonnet: Jsonnet | None = None) -> Made:
    """Return the fields that the rows make of the context."""
    fields: dict[str, Any] = {}
    problems: list[Problem] = []
    for row in rows:
        if not holds(row.when, context):
            continue
        try:
            value = _value(row, context, jsonnet)
        except (ValueError, ArithmeticError, LookupError, TypeError) as exc:
            problems.append(Problem(row.target, str(exc)))
            continue
        if value is None:
            value = row.default
        if value is None and row.required:
            problems.append(Problem(row.target, f"nothing is found at {row.source or row.sources}, and it is required"))
        elif value is not None:
            holes.put(fields, row.target, value)
    return Made(fields, tuple(problems))


def period_of(period: Period, record: Mapping[str, Any]) -> tuple[date, date]:
    """Return first and last day of the period in which the record's instant lies."""
    moment = datetime.fromisoformat(str(record[period.field]))
    day = moment.astimezone(ZoneInfo(period.zone)).date()
    first = period.first + timedelta(days=(day - period.first).days // period.days * period.days)
    return first, first + timedelta(days=period.days - 1)


def _holds(condition: Condition, found: Any) -> bool:
    if condition.equals:
        return found in condition.equals
    return (found is not None) is condition.present


def _check(mapping: ObjectMapping | IntoMapping) -> Iterator[str]:
    if len(mapping.rows) > ROWS_MAX:
        yield f"{mapping.object}: has more than {ROWS_MAX} rows"
    for row in mapping.rows:
        yield from (f"{mapping.object}.{row.target}: {said}" for said in _check_row(row))
    period = getattr(mapping, "period", None)
    if period is not None:
        try:
            ZoneInfo(period.zone)
        except (ZoneInfoNotFoundError, ValueError):
            yield f"{mapping.object}.period: {period.zone!r} is no time zone"


def _check_row(row: Row) -> Iterator[str]:
    needs: dict[Action, str] = {
        "copy": "source",
        "static": "value",
        "map": "values",
        "range": "steps",
        "date": "source",
        "concat": "sources",
        "sum": "source",
        "each": "rows",
        "jsonnet": "code",
    }
    need = needs[row.action]
    if getattr(row, need) in ("", None, (), {}):
        yield f"{row.action} needs {need}"
    if row.action == "each":
        for inner in row.rows:
            yield from (f"{inner.target}: {said}" for said in _check_row(inner))


def _value(row: Row, context: Mapping[str, Any], jsonnet: Jsonnet | None) -> Any:
    """Return what a row makes; what cannot be made is raised with a sentence."""
    value = _ACTIONS[row.action](row, dict(context), jsonnet)
    return _as_number(value) if row.number and value is not None else value


def _as_number(value: Any) -> int | float:
    number = Decimal(str(value))
    return int(number) if number == number.to_integral_value() else float(number)


def _copy(row: Row, context: dict[str, Any], _: Jsonnet | None) -> Any:
    return holes.at(context, row.source)


def _static(row: Row, context: dict[str, Any], _: Jsonnet | None) -> Any:
    return holes.filled_deep(row.value, context)


def _map(row: Row, context: dict[str, Any], _: Jsonnet | None) -> Any:
    found = holes.at(context, row.source)
    if found is None:
        return None
    word = str(found).lower() if isinstance(found, bool) else str(found)
    if word not in row.values and row.default is None:
        raise ValueError(f"{word!r} has no value in the map (there are: {', '.join(row.values)})")
    return row.values.get(word)


def _range(row: Row, context: dict[str, Any], _: Jsonnet | None) -> Any:
    found = holes.at(context, row.source)
    if found is None:
        return None
    try:
        ends = [Decimal(step.below) for step in row.steps if step.below is not None]
        place = bisect.bisect_right(ends, Decimal(str(found)))
    except InvalidOperation as exc:
        raise ValueError(f"{found!r} is no number") from exc
    return row.steps[place].value if place < len(row.steps) else None


def _date(row: Row, context: dict[str, Any], _: Jsonnet | None) -> Any:
    found = holes.at(context, row.source)
    if found is None:
        return None
    zone = ZoneInfo(holes.filled(row.zone, context))
    moment = datetime.fromisoformat(str(found)).astimezone(zone)
    match row.to:
        case "date":
            return moment.date().isoformat()
        case "time":
            return moment.time().isoformat("seconds")
        case "local":
            return moment.replace(tzinfo=None).isoformat("seconds")
        case "instant":
            return moment.isoformat("seconds")


def _concat(row: Row, context: dict[str, Any], _: Jsonnet | None) -> Any:
    parts = [holes.filled(part, context) if "${" in part else holes.at(context, part) for part in row.sources]
    return row.separator.join(str(part) for part in parts if part not in (None, "")) or None


def _sum(row: Row, context: dict[str, Any], _: Jsonnet | None) -> Any:
    """Add up a field of many rows, exactly: `source` is the list and, after a colon, the field."""
    place, _colon, field = row.source.partition(":")
    items = [item for item in _items(holes.at(context, place)) if holds(row.where, {"item": item})]
    total = sum((Decimal(str(holes.at(item, field) or 0)) for item in items), Decimal(0)) * Decimal(row.scale)
    return format(total.normalize(), "f") if total else "0"


def _each(row: Row, context: dict[str, Any], jsonnet: Jsonnet | None) -> Any:
    made = []
    for item in _items(holes.at(context, row.source)):
        inner = {**context, "item": item}
        if not holds(row.where, inner):
            continue
        line = make(row.rows, inner, jsonnet)
        if line.problems:
            raise ValueError(f"{line.problems[0].target}: {line.problems[0].message}")
        made.append(line.fields)
    return made


def _jsonnet(row: Row, context: dict[str, Any], jsonnet: Jsonnet | None) -> Any:
    if jsonnet is None:
        raise ValueError("no Jsonnet can be run here")
    return jsonnet(row.code, context)


def _items(found: Any) -> list[Any]:
    items = found if isinstance(found, list) else [] if found is None else [found]
    if len(items) > ITEMS_MAX:
        raise ValueError(f"has {len(items)} items, more than {ITEMS_MAX}")
    return items


_ACTIONS: Final[dict[Action, Callable[[Row, dict[str, Any], Jsonnet | None], Any]]] = {
    "copy": _copy,
    "static": _static,
    "map": _map,
    "range": _range,
    "date": _date,
    "concat": _concat,
    "sum": _sum,
    "each": _each,
    "jsonnet": _jsonnet,
}
