"""When something is, in each way that systems have of writing it down.

With us an instant is UTC text with milliseconds, a date is a date, a duration is whole seconds. A
manifest says for each field that tells a time how it is written there, and in which zone a time
without an offset is. The two hours of a year at which clocks jump are the two at which money is lost,
so what happens there is said by the rule and not by chance: `gap` for a time that no clock showed,
`fold` for one that clocks showed twice.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from upstream import time_formats
from upstream.time_formats import BadTime, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from upstream.manifest import TimeRule

EVERY: Final = "*"
"""In a path: each item of a list."""


class Zones(msgspec.Struct, frozen=True, kw_only=True):
    """The zones that rules can name: that of the connection's settings, and that of the site."""

    config: str = ""
    site: str = ""


def to_wire(value: Any, rule: TimeRule, zone: ZoneInfo) -> Wire:
    """Return one of our times as the vendor writes it, or raise `BadTime`."""
    match rule.kind:
        case "instant" | "local":
            return time_formats.WRITE[rule.kind][rule.format](time_formats.moment_of(value).astimezone(zone))
        case "date":
            return time_formats.WRITE["date"][rule.format](time_formats.day_of(value, zone))
        case "duration":
            return time_formats.WRITE["duration"][rule.format](time_formats.seconds_of(value))


def from_wire(value: Any, rule: TimeRule, zone: ZoneInfo) -> str | int:
    """Return what the vendor wrote as one of our times, or raise `BadTime`.

    A local time in a gap moves later or earlier by the length of the gap, as the rule says; one that
    there was twice is the first or the second.
    """
    try:
        found = time_formats.READ[rule.kind][rule.format](value)
        if rule.kind == "local":
            found = placed(found, rule, zone)
    except (ValueError, OverflowError, InvalidOperation) as exc:
        if isinstance(exc, BadTime):
            raise
        raise BadTime(f"{value!r} is no {rule.kind} written as {rule.format}") from exc
    if isinstance(found, datetime):
        return time_formats.written_here(found)
    return found.isoformat() if isinstance(found, date) else found


def placed(wall: datetime, rule: TimeRule, zone: ZoneInfo) -> datetime:
    """Return the instant of a wall-clock time in a zone, by the rule where there is none or are two."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first > second:  # A gap: the offset before it leads past it, the one after it to before it.
        return first if rule.gap == "later" else second
    return first if rule.fold == "first" else second


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

        def changed(value: Any, rule: TimeRule = rule) -> Any:
            return change(value, rule, zone_of(rule, zones))

        fields = _at(fields, path.split("."), changed, path)
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


def unknown_formats(rules: Mapping[str, TimeRule]) -> Iterator[tuple[str, str]]:
    """Yield the rules whose format is none of their kind, with what it may be."""
    for path, rule in rules.items():
        allowed = time_formats.FORMATS[rule.kind]
        if rule.format not in allowed:
            yield path, f"{rule.format!r} is no way to write a {rule.kind} (allowed: {', '.join(allowed)})"
