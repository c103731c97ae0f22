"""When something is, in each way that systems have of writing it down.

With us an instant is UTC text with milliseconds, a date is a date, a duration is whole seconds. A
manifest says for each field that tells a time how it is written there, and in which zone a time
without an offset is. The two hours of a year at which clocks jump are the two at which money is lost,
so what happens there is said by the rule and not by chance: `gap` for a time that no clock showed,
`fold` for one that clocks showed twice.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from upstream.manifest import TimeRule

Kind: TypeAlias = Literal["instant", "local", "date", "duration"]
Wire: TypeAlias = "str | int | float"

EVERY: Final = "*"
"""In a path: each item of a list."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND: Final = timedelta(seconds=1)
MILLISECOND: Final = timedelta(milliseconds=1)

_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?\s?([Zz]|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_ODATA: Final = re.compile(r"/Date\((-?\d{1,15})(?:[+-]\d{1,4})?\)/", re.ASCII)
_DURATION: Final = re.compile(
    r"(-)?P(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})(?:\.0+)?S)?)?", re.ASCII
)
_CLOCK: Final = re.compile(r"(-)?(\d{1,6}):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


class BadTime(ValueError):
    """This is no time in the form that the rule names; the message says what would be."""


class Zones(msgspec.Struct, frozen=True, kw_only=True):
    """The zones that rules can name: that of the connection's settings, and that of the site."""

    config: str = ""
    site: str = ""


def to_wire(value: Any, rule: TimeRule, zone: ZoneInfo) -> Wire:
    """Return one of our times as the vendor writes it, or raise `BadTime`."""
    match rule.kind:
        case "instant" | "local":
            return _WRITE[rule.kind][rule.format](moment_of(value).astimezone(zone))
        case "date":
            return _WRITE["date"][rule.format](day_of(value, zone))
        case "duration":
            return _WRITE["duration"][rule.format](_seconds(value))


def from_wire(value: Any, rule: TimeRule, zone: ZoneInfo) -> str | int:
    """Return what the vendor wrote as one of our times, or raise `BadTime`.

    A local time in a gap moves later or earlier by the length of the gap, as the rule says; one that
    there was twice is the first or the second.
    """
    try:
        found = _READ[rule.kind][rule.format](value)
        if rule.kind == "local":
            found = placed(found, rule, zone)
    except (ValueError, OverflowError, InvalidOperation) as exc:
        if isinstance(exc, BadTime):
            raise
        raise BadTime(f"{value!r} is no {rule.kind} written as {rule.format}") from exc
    if isinstance(found, datetime):
        return written_here(found)
    return found.isoformat() if isinstance(found, date) else found


def placed(wall: datetime, rule: TimeRule, zone: ZoneInfo) -> datetime:
    """Return the instant of a wall-clock time in a zone, by the rule where there is none or are two."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first > second:  # A gap: the offset before it leads past it, the one after it to before it.
        return first if rule.gap == "later" else second
    return first if rule.fold == "first" else second


def written_here(moment: datetime) -> str:
    """Return an instant as it is kept here."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def zone_of(rule: TimeRule, zones: Zones) -> ZoneInfo:
    """Return the zone that a rule means; `BadTime` if the connection or the site does not say it."""
    if rule.zone == "utc":
        return ZoneInfo("UTC")
    name = zones.config if rule.zone == "config" else zones.site
    if not name:
        whose = "the connection's setting time_zone" if rule.zone == "config" else "the site's time zone"
        raise BadTime(f"{whose} is needed and is not there")
    return named(name)


def named(name: str) -> ZoneInfo:
    """Return the zone of this name, or raise `BadTime`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise BadTime(f"{name!r} is no time zone; name one like Europe/Zurich") from exc


def rules_of(rules: Mapping[str, TimeRule], object_name: str) -> dict[str, TimeRule]:
    """Return the rules of one object, by the path of the field in it."""
    begins = f"{object_name}."
    return {path.removeprefix(begins): rule for path, rule in rules.items() if path.startswith(begins)}


def outward(fields: Any, rules: Mapping[str, TimeRule], zones: Zones) -> Any:
    """Return the fields of an object with its times as the vendor writes them; raises `BadTime`."""
    return _changed(fields, rules, zones, to_wire)


def inward(fields: Any, rules: Mapping[str, TimeRule], zones: Zones) -> Any:
    """Return the fields of a vendor's object with its times as they are kept here; raises `BadTime`."""
    return _changed(fields, rules, zones, from_wire)


def _changed(
    fields: Any, rules: Mapping[str, TimeRule], zones: Zones, change: Callable[[Any, TimeRule, ZoneInfo], Any]
) -> Any:
    for path, rule in rules.items():
        fields = _at(fields, path.split("."), lambda value, rule=rule: change(value, rule, zone_of(rule, zones)), path)
    return fields


def _at(value: Any, way: list[str], change: Callable[[Any], Any], path: str) -> Any:
    """Return a value with what stands at the way changed; where there is nothing, nothing happens."""
    if value is None:
        return None
    if not way:
        try:
            return change(value)
        except BadTime as exc:
            raise BadTime(f"{path}: {exc}") from exc
    step, rest = way[0], way[1:]
    if step == EVERY and isinstance(value, list):
        return [_at(item, rest, change, path) for item in value]
    if isinstance(value, dict) and step in value:
        return {**value, step: _at(value[step], rest, change, path)}
    return value


# From ours.


def moment_of(value: Any) -> datetime:
    """Return one of our instants, or raise `BadTime`. A time without an offset is none: it is never guessed."""
    match = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if match is None or not match[5]:
        raise BadTime(f"{value!r} is no instant like 2026-03-01T08:00:00.000Z")
    try:
        return _moment(match)
    except ValueError as exc:
        raise BadTime(f"{value!r} is no instant of the calendar") from exc


def _day(value: Any, zone: ZoneInfo) -> date:
    """Return a date, or the one that an instant falls on in the zone."""
    text = str(value)
    try:
        return date.fromisoformat(text) if len(text) == 10 else moment_of(value).astimezone(zone).date()
    except ValueError as exc:
        raise BadTime(f"{value!r} is neither a date like 2026-03-01 nor an instant") from exc


def _seconds(value: Any) -> int:
    try:
        number = Decimal(str(value))
        if isinstance(value, bool) or not number.is_finite() or abs(number) >= 10**12:
            raise BadTime(f"{value!r} is no number of seconds")
    except InvalidOperation as exc:
        raise BadTime(f"{value!r} is no number of seconds") from exc
    return int(number.to_integral_value())


# To theirs.


def _iso(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def _iso_basic(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000"


def _millis(moment: datetime) -> int:
    return (moment - EPOCH) // MILLISECOND


def _midnight_millis(day: date) -> int:
    return (day - EPOCH.date()) // MILLISECOND


def _iso_duration(seconds: int) -> str:
    minutes, rest = divmod(abs(seconds), 60)
    parts = {"H": minutes // 60, "M": minutes % 60, "S": rest}
    said = "".join(f"{count}{unit}" for unit, count in parts.items() if count)
    return f"{'-' if seconds < 0 else ''}PT{said or '0S'}"


def _clock(seconds: int) -> str:
    minutes, rest = divmod(abs(seconds), 60)
    tail = f":{rest:02d}" if rest else ""
    return f"{'-' if seconds < 0 else ''}{minutes // 60:02d}:{minutes % 60:02d}{tail}"


def _in_units(unit_seconds: int) -> Callable[[int], int | float]:
    def write(seconds: int) -> int | float:
        return seconds // unit_seconds if seconds % unit_seconds == 0 else seconds / unit_seconds

    return write


_WRITE: Final[dict[Kind, dict[str, Callable[[Any], Wire]]]] = {
    "instant": {
        "iso": _iso,
        "iso_millis": written_here,
        "iso_offset": lambda moment: moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds"),
        "iso_basic": _iso_basic,
        "epoch": lambda moment: (moment - EPOCH) // SECOND,
        "epoch_millis": _millis,
        "odata": lambda moment: f"/Date({_millis(moment)})/",
    },
    "local": {
        "iso": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S"),
        "space": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"),
        "us": lambda moment: moment.strftime("%m/%d/%Y %H:%M:%S"),
    },
    "date": {
        "iso": date.isoformat,
        "us": lambda day: day.strftime("%m/%d/%Y"),
        "eu": lambda day: day.strftime("%d.%m.%Y"),
        "compact": lambda day: day.strftime("%Y%m%d"),
        "epoch_millis": _midnight_millis,
        "odata": lambda day: f"/Date({_midnight_millis(day)})/",
    },
    "duration": {
        "iso": _iso_duration,
        "hours": _in_units(3_600),
        "minutes": _in_units(60),
        "seconds": int,
        "millis": lambda seconds: seconds * 1_000,
        "clock": _clock,
    },
}

FORMATS: Final[dict[Kind, tuple[str, ...]]] = {kind: tuple(formats) for kind, formats in _WRITE.items()}
"""The ways of writing each kind down."""


# From theirs.


def _moment(match: re.Match[str]) -> datetime:
    """Return the moment that the parts say; finer than a millisecond is cut."""
    offset = (match[5] or "").upper().replace("Z", "+00:00")
    if offset and ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:] or '00'}"
    millis = (match[4] or "")[:3].ljust(3, "0")
    return datetime.fromisoformat(f"{match[1]}T{match[2]}{match[3] or ':00'}.{millis}{offset}")


def _read_instant(value: Any) -> datetime:
    match = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise BadTime(f"{value!r} is no instant like 2026-03-01T08:00:00Z")
    if not match[5]:
        raise BadTime(f"{value!r} has no offset, so it is no instant; the rule would have to be local")
    return _moment(match)


def _read_local(value: Any) -> datetime:
    match = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise BadTime(f"{value!r} is no local time like 2026-03-01T08:00:00")
    if match[5]:
        raise BadTime(f"{value!r} has an offset, so it is no local time; the rule would have to be instant")
    return _moment(match)


def _by_pattern(pattern: str) -> Callable[[Any], datetime]:
    return lambda value: datetime.strptime(str(value).strip(), pattern)  # noqa: DTZ007  (a local time has no zone yet)


def _by_day(pattern: str) -> Callable[[Any], date]:
    return lambda value: _by_pattern(pattern)(value).date()


def _since_epoch(unit: timedelta) -> Callable[[Any], datetime]:
    return lambda value: EPOCH + unit * _whole(value)


def _whole(value: Any) -> int:
    number = Decimal(str(value))
    if isinstance(value, bool) or not number.is_finite() or abs(number) >= 10**18:
        raise BadTime(f"{value!r} is no number")
    return int(number)


def _odata(value: Any) -> datetime:
    match = _ODATA.fullmatch(str(value))
    if match is None:
        raise BadTime(f"{value!r} is no time like /Date(1772352000000)/")
    return EPOCH + MILLISECOND * int(match[1])


def _read_iso_duration(value: Any) -> int:
    match = _DURATION.fullmatch(str(value))
    if match is None or not any(match.groups()[1:]):
        raise BadTime(f"{value!r} is no duration like PT7H30M")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:])
    return _signed(match[1], (days * 24 + hours) * 3_600 + minutes * 60 + seconds)


def _read_clock(value: Any) -> int:
    match = _CLOCK.fullmatch(str(value))
    if match is None:
        raise BadTime(f"{value!r} is no duration like 07:30")
    return _signed(match[1], int(match[2]) * 3_600 + int(match[3]) * 60 + int(match[4] or 0))


def _signed(sign: str | None, seconds: int) -> int:
    return -seconds if sign else seconds


def _units(unit_seconds: Decimal) -> Callable[[Any], int]:
    return lambda value: _seconds(Decimal(str(value)) * unit_seconds)


_READ: Final[dict[Kind, dict[str, Callable[[Any], Any]]]] = {
    "instant": {
        **dict.fromkeys(("iso", "iso_millis", "iso_offset", "iso_basic"), _read_instant),
        "epoch": _since_epoch(SECOND),
        "epoch_millis": _since_epoch(MILLISECOND),
        "odata": _odata,
    },
    "local": {**dict.fromkeys(("iso", "space"), _read_local), "us": _by_pattern("%m/%d/%Y %H:%M:%S")},
    "date": {
        "iso": lambda value: date.fromisoformat(str(value).strip()[:10]),
        "us": _by_day("%m/%d/%Y"),
        "eu": _by_day("%d.%m.%Y"),
        "compact": _by_day("%Y%m%d"),
        "epoch_millis": lambda value: _since_epoch(MILLISECOND)(value).date(),
        "odata": lambda value: _odata(value).date(),
    },
    "duration": {
        "iso": _read_iso_duration,
        "hours": _units(Decimal(3_600)),
        "minutes": _units(Decimal(60)),
        "seconds": _units(Decimal(1)),
        "millis": _units(Decimal("0.001")),
        "clock": _read_clock,
    },
}


def unknown_formats(rules: Mapping[str, TimeRule]) -> Iterator[tuple[str, str]]:
    """Yield the rules whose format is none of their kind, with what it may be."""
    for path, rule in rules.items():
        if rule.format not in FORMATS[rule.kind]:
            yield path, f"{rule.format!r} is no way to write a {rule.kind} (allowed: {', '.join(FORMATS[rule.kind])})"
