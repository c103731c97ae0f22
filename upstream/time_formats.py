"""The ways of writing an instant, a local time, a date and a duration down, each as a pair of functions.

With us an instant is UTC text with milliseconds, a date is ISO text, a duration is whole seconds.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

Kind: TypeAlias = Literal["instant", "local", "date", "duration"]
Wire: TypeAlias = "str | int | float"

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


def day_of(value: Any, zone: ZoneInfo) -> date:
    """Return a date, or the one that an instant falls on in the zone."""
    text = str(value)
    try:
        return date.fromisoformat(text) if len(text) == 10 else moment_of(value).astimezone(zone).date()
    except ValueError as exc:
        raise BadTime(f"{value!r} is neither a date like 2026-03-01 nor an instant") from exc


def seconds_of(value: Any) -> int:
    """Return whole seconds, or raise `BadTime`."""
    try:
        number = Decimal(str(value))
        if isinstance(value, bool) or not number.is_finite() or abs(number) >= 10**12:
            raise BadTime(f"{value!r} is no number of seconds")
    except InvalidOperation as exc:
        raise BadTime(f"{value!r} is no number of seconds") from exc
    return int(number.to_integral_value())


# To theirs.


def written_here(moment: datetime) -> str:
    """Return an instant as it is kept here."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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


WRITE: Final[dict[Kind, dict[str, Callable[[Any], Wire]]]] = {
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

FORMATS: Final[dict[Kind, tuple[str, ...]]] = {kind: tuple(formats) for kind, formats in WRITE.items()}
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
    return lambda value: seconds_of(Decimal(str(value)) * unit_seconds)


READ: Final[dict[Kind, dict[str, Callable[[Any], Any]]]] = {
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
