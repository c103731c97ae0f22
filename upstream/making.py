"""What the rows of a mapping make of a context. The same rows and context make the same fields.

Pure, but for the Jsonnet rows, whose evaluation is an argument. What cannot be made is a `Problem` that
names the row; no context makes this raise, except where Jsonnet cannot be run at all.
"""

from __future__ import annotations

import bisect
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from replication import kinds
from upstream import holes, time_formats, times
from upstream.mapping import Action, Condition, Made, Period, Problem, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from upstream.manifest import TimeRule

    Values = Mapping[str, Any]

ITEMS_MAX: Final = 5_000
PROBLEMS_MAX: Final = 50
TEXT_CHARACTERS_MAX: Final = 100_000
DIGITS_MAX: Final = 30
PLACES_DEFAULT: Final = 6
"""To how many places a sum is rounded that has no end."""

Jsonnet: TypeAlias = "Callable[[str, Any], Any]"
"""Evaluates code with a context, or raises ValueError; see `upstream.jsonnet`."""

_WIDE: Final = Context(prec=200)


class CannotMake(ValueError):
    """A row came to no value. `problems` has what is wrong within it, where it has rows of its own."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        self.problems = problems
        super().__init__(message)


def make(rows: tuple[Row, ...], context: Values, jsonnet: Jsonnet | None = None) -> Made:
    """Return the fields that the rows make of the context, and what kept them from making more.

    Of more records than may be nothing whole is made, whatever a row takes of them: there may be more still.
    """
    made = _made(rows, context, jsonnet)
    return Made(made.fields, (*_crowded(context), *made.problems)[:PROBLEMS_MAX])


def _crowded(context: Values) -> Iterator[Problem]:
    """Yield what is wrong where more records belong beside this one than may be."""
    gathered = context.get("rows")
    for name, rows in gathered.items() if isinstance(gathered, dict) else ():
        if isinstance(rows, list) and len(rows) > ITEMS_MAX:
            yield Problem(f"rows.{name}", f"more than {ITEMS_MAX} records belong to it")


def _made(rows: tuple[Row, ...], context: Values, jsonnet: Jsonnet | None) -> Made:
    fields: dict[str, Any] = {}
    problems: list[Problem] = []
    context = {**context, "made": fields}
    for row in rows:
        try:
            value = value_of(row, context, jsonnet) if holds(row.when, context) else None
            _check_text(value)
            if value is not None:
                before = holes.at(fields, row.target) if row.action == "each" else None
                holes.put(fields, row.target, [*before, *value] if isinstance(before, list) else value)
        except (ValueError, ArithmeticError, LookupError, RecursionError) as exc:
            inner = getattr(exc, "problems", ())
            problems += inner or [Problem(row.target, str(exc))]
            continue
        if value is None and row.required and holds(row.when, context):
            problems.append(Problem(row.target, f"nothing is found at {_where(row)}, and it is required"))
    return Made(fields, tuple(problems[:PROBLEMS_MAX]))


def as_written(made: Made, object_name: str, rules: Mapping[str, TimeRule], context: Values) -> Made:
    """Return what was made with its times as the vendor writes them, by the manifest's rules."""
    try:
        return Made(times.outward(made.fields, times.rules_of(rules, object_name), zones_of(context)), made.problems)
    except time_formats.BadTime as exc:
        path, _, said = str(exc).partition(": ")
        return Made(made.fields, (*made.problems, Problem(path, said)))


def zones_of(context: Values) -> times.Zones:
    """Return the zones of a context: of the settings, and of the record or what it belongs to."""
    places = ("record.time_zone", *(f"ref.{name}.time_zone" for name in ("work_order_id", "site_id", "appointment_id")))
    site = next((str(zone) for place in places if (zone := holes.at(context, place))), "")
    return times.Zones(config=str(holes.at(context, "config.time_zone") or ""), site=site)


def value_of(row: Row, context: Values, jsonnet: Jsonnet | None = None) -> Any:
    """Return what one row makes, its default where it makes nothing; raises what is wrong as a sentence."""
    value = _ACTIONS[row.action](row, context, jsonnet)
    if value is None:
        return row.default
    return as_number(value) if row.number else value


def holds(conditions: tuple[Condition, ...], context: Values) -> bool:
    """Tell whether all of the conditions are so. What stands there is compared as a value: true is not 1."""
    return all(_holds(condition, holes.at(context, condition.path)) for condition in conditions)


def has_code(rows: tuple[Row, ...]) -> bool:
    """Tell whether some row, or one within it, is Jsonnet, so that making them may take a while."""
    return any(row.action == "jsonnet" for row in all_rows(rows))


def all_rows(rows: tuple[Row, ...]) -> Iterator[Row]:
    """Yield rows and the rows within them."""
    for row in rows:
        yield row
        yield from all_rows(row.rows)


def period_of(period: Period, record: Values) -> tuple[date, date]:
    """Return first and last day of the period in which the record's instant lies; raises `time_formats.BadTime`."""
    day = time_formats.day_of(record.get(period.field), times.named(period.zone))
    first = period.first + timedelta(days=(day - period.first).days // period.days * period.days)
    return first, first + timedelta(days=period.days - 1)


def as_number(value: Any) -> int | float:
    """Return a number for a text or number; raises ValueError for what is none that could be sent."""
    number = _decimal(value)
    return int(number) if number == number.to_integral_value() else float(number)


def _holds(condition: Condition, found: Any) -> bool:
    if condition.equals:
        return any(kinds.same(found, each) for each in condition.equals)
    if condition.begins:
        return isinstance(found, str) and found.startswith(condition.begins)
    return (found is not None) is condition.present


def _check_text(value: Any) -> None:
    """Refuse a text that no system takes, and that cannot be stored: with U+0000, or half a character."""
    if isinstance(value, str) and ("\0" in value or not _is_whole(value)):
        raise CannotMake("has a character that no system takes: U+0000, or half of one")
    for part in (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_text(part)


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _where(row: Row) -> str:
    return row.source or ", ".join(row.sources) or f"this {row.action}"


def _decimal(value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation as exc:
        raise CannotMake(f"{str(value)[:60]!r} is no number") from exc
    if isinstance(value, bool) or not number.is_finite() or abs(number.adjusted()) > DIGITS_MAX:
        raise CannotMake(f"{str(value)[:60]!r} is no number of at most {DIGITS_MAX} digits")
    return number


def _word(value: Any) -> str:
    """Return a single value as text; a list or a table is none."""
    if isinstance(value, dict | list):
        raise CannotMake("is a list or a table, not a single value")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _copy(row: Row, context: Values, _: Jsonnet | None) -> Any:
    return holes.at(context, row.source)


def _static(row: Row, context: Values, _: Jsonnet | None) -> Any:
    return holes.filled_deep(row.value, context)


def _map(row: Row, context: Values, _: Jsonnet | None) -> Any:
    found = holes.at(context, row.source)
    if found is None:
        return None
    word = _word(found)
    if word not in row.values and row.default is None:
        raise CannotMake(f"{word[:60]!r} has no value in the map (there are: {', '.join(row.values)})")
    return row.values.get(word)


def _range(row: Row, context: Values, _: Jsonnet | None) -> Any:
    found = holes.at(context, row.source)
    if found is None:
        return None
    ends = [Decimal(step.below) for step in row.steps if step.below is not None]
    place = bisect.bisect_right(ends, _decimal(found))
    return row.steps[place].value if place < len(row.steps) else None


def _date(row: Row, context: Values, _: Jsonnet | None) -> Any:
    found = holes.at(context, row.source)
    if found is None:
        return None
    zone = times.named(holes.filled(row.zone, context))
    if row.to == "date":
        return time_formats.day_of(found, zone).isoformat()
    moment = time_formats.moment_of(found).astimezone(zone)
    match row.to:
        case "time":
            return moment.time().isoformat("seconds")
        case "local":
            return moment.replace(tzinfo=None).isoformat(timespec="seconds")
        case "instant":
            return moment.isoformat(timespec="seconds")


def _concat(row: Row, context: Values, _: Jsonnet | None) -> Any:
    parts = [holes.filled(part, context) if "${" in part else holes.at(context, part) for part in row.sources]
    said = row.separator.join(_word(part) for part in parts if part not in (None, ""))
    if len(said) > TEXT_CHARACTERS_MAX:
        raise CannotMake(f"has {len(said)} characters, more than {TEXT_CHARACTERS_MAX}")
    return said or None


def _sum(row: Row, context: Values, _: Jsonnet | None) -> Any:
    """Add up a product of many rows, exactly: `source` is the list and, after a colon, the factors."""
    place, _colon, product = row.source.partition(":")
    counted = [item for item in items_at(context, place) if holds(row.where, {**context, "item": item})]
    total = sum((_product(product, item, context) for item in counted), Fraction(0)) * Fraction(row.scale)
    return _rounded(total, row.places)


def _product(product: str, item: Any, context: Values) -> Fraction:
    found = Fraction(1)
    for factor in product.split("*"):
        found *= _factor(factor.strip(), item, context)
    return found


def factors(product: str) -> list[str]:
    """Return the paths that a product of a sum names: of the item, or of the settings."""
    return [path.strip() for factor in product.split("*") for path in factor.split("..")]


def _factor(factor: str, item: Any, context: Values) -> Fraction:
    """Return a number of an item, a setting, or the seconds between two of its instants. What is not there is 0."""
    start, span, end = factor.partition("..")
    if span:
        moments = [holes.at(item, path) for path in (start, end)]
        return Fraction(0) if None in moments else _seconds_between(*moments)
    found = holes.at(context if factor.startswith("config.") else item, factor)
    return Fraction(_decimal(found or 0))


def _seconds_between(start: Any, end: Any) -> Fraction:
    passed = time_formats.moment_of(end) - time_formats.moment_of(start)
    if passed < timedelta(0):
        raise CannotMake(f"ends at {end}, before it begins at {start}")
    return Fraction(passed // timedelta(microseconds=1), 1_000_000)


def _rounded(total: Fraction, places: int | None) -> str:
    """Return a number as decimal text, rounded half up (away from zero): so that a minute is never lost for ever."""
    number = _WIDE.divide(Decimal(total.numerator), Decimal(total.denominator))
    if places is not None:
        return format(number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _WIDE), "f")
    number = number.quantize(Decimal(1).scaleb(-PLACES_DEFAULT), ROUND_HALF_UP, _WIDE)
    return format(number.normalize(_WIDE), "f") if number else "0"


def _each(row: Row, context: Values, jsonnet: Jsonnet | None) -> Any:
    made: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for item in items_at(context, row.source):
        inner = {**context, "item": item}
        if not holds(row.where, inner):
            continue
        line = _made(row.rows, inner, jsonnet)
        problems += (Problem(f"{row.target}.{len(made)}.{each.target}", each.message) for each in line.problems)
        made.append(line.fields)
    if problems:
        raise CannotMake("an item could not be made", tuple(problems[:PROBLEMS_MAX]))
    return made


def _jsonnet(row: Row, context: Values, jsonnet: Jsonnet | None) -> Any:
    if jsonnet is None:
        raise CannotMake("no Jsonnet can be run here")
    return jsonnet(row.code, context)


def items_at(context: Values, place: str) -> list[Any]:
    """Return the list at a place: a single value is a list of one, nothing is an empty one."""
    found = holes.at(context, place)
    items = found if isinstance(found, list) else [] if found is None else [found]
    if len(items) > ITEMS_MAX:
        raise CannotMake(f"{place} has {len(items)} items, more than {ITEMS_MAX}")
    return items


_ACTIONS: Final[dict[Action, Callable[[Row, Values, Jsonnet | None], Any]]] = {
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
