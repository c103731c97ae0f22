"""Laws of times: what is written in a vendor's way is read as it was, in every zone, at both jumps of the clock."""

from __future__ import annotations

import bisect
import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream import time_formats, times
from upstream.manifest import TimeRule
from upstream.time_formats import FORMATS, BadTime

ZONES = sorted(name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/"))
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
KEEPS_MILLISECONDS = {"iso", "iso_millis", "iso_offset", "iso_basic", "epoch_millis", "odata"}

MOMENTS = st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - made UTC in the next line
    lambda moment: moment.replace(tzinfo=UTC, microsecond=moment.microsecond // 1000 * 1000)
)


def rule(kind: str, form: str, **rest: str) -> TimeRule:
    """Give a rule of a manifest."""
    return TimeRule(kind=kind, format=form, **rest)  # type: ignore[arg-type]  # the words are drawn from the types


@cache
def jumps(name: str) -> tuple[datetime, ...]:
    """Give the instants of a year at which a zone's clocks jump."""
    zone = ZoneInfo(name)
    days = [YEAR + DAY * number for number in range(367)]
    found = []
    for day, next_day in pairwise(days):
        if day.astimezone(zone).utcoffset() != next_day.astimezone(zone).utcoffset():
            offset = day.astimezone(zone).utcoffset()
            moved = bisect.bisect_left(
                range(86_401), 1, key=lambda second: (day + SECOND * second).astimezone(zone).utcoffset() != offset
            )
            found.append(day + SECOND * moved)
    return tuple(found)


def around(jump: datetime) -> list[datetime]:
    """Give instants on both sides of a jump, near it and further off."""
    steps = [timedelta(0), SECOND, timedelta(minutes=29), timedelta(minutes=59, seconds=59), HOUR, 2 * HOUR]
    return [jump + sign * step for step in steps for sign in (-1, 1)]


def is_twice(moment: datetime, zone: ZoneInfo) -> bool:
    """Tell whether clocks show the time of this instant twice."""
    wall = moment.astimezone(zone).replace(tzinfo=None)
    return len({wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}) == 2


def test_there_are_zones_that_jump():
    """The search for jumps finds those that everybody knows, so that the laws below look at something."""
    assert [jump.isoformat() for jump in jumps("Europe/Zurich")] == [
        "2026-03-29T01:00:00+00:00",
        "2026-10-25T01:00:00+00:00",
    ]
    assert sum(len(jumps(name)) == 2 for name in ZONES) > 100
    assert any(jumps(name)[0].astimezone(ZoneInfo(name)).minute == 30 for name in ZONES if jumps(name))


@pytest.mark.parametrize("form", FORMATS["instant"])
def test_an_instant_comes_back_at_every_jump_of_every_zone(form):
    """An instant is the same after it was written and read, in each form, before, at and after each jump."""
    for name in ZONES:
        zone = ZoneInfo(name)
        for moment in (each for jump in jumps(name) for each in around(jump)):
            ours = time_formats.written_here(moment)
            assert (
                times.from_wire(times.to_wire(ours, rule("instant", form), zone), rule("instant", form), zone) == ours
            )


@given(moment=MOMENTS, name=st.sampled_from(ZONES), form=st.sampled_from(FORMATS["instant"]))
def test_any_instant_comes_back(moment, name, form):
    """An instant is the same after it was written and read; forms without milliseconds lose only those."""
    zone = ZoneInfo(name)
    kept = moment if form in KEEPS_MILLISECONDS else moment.replace(microsecond=0)

    found = times.from_wire(
        times.to_wire(time_formats.written_here(moment), rule("instant", form), zone), rule("instant", form), zone
    )

    assert found == time_formats.written_here(kept)


@pytest.mark.parametrize("form", FORMATS["local"])
@pytest.mark.parametrize("fold", ["first", "second"])
def test_a_local_time_comes_back_but_for_the_hour_that_is_there_twice(form, fold):
    """A wall-clock time means its instant; one that was shown twice means the first or second, as the rule says."""
    for name in ZONES:
        zone, told = ZoneInfo(name), rule("local", form, fold=fold)
        for moment in (each for jump in jumps(name) for each in around(jump)):
            wire = times.to_wire(time_formats.written_here(moment), told, zone)
            found = time_formats.moment_of(times.from_wire(wire, told, zone))
            assert times.to_wire(time_formats.written_here(found), told, zone) == wire
            if not is_twice(moment, zone):
                assert found == moment
            else:
                other = found != moment
                assert (found > moment if fold == "second" else found < moment) if other else True


@pytest.mark.parametrize("gap", ["later", "earlier"])
def test_a_time_that_no_clock_showed_moves_as_the_rule_says(gap):
    """A wall-clock time in a gap becomes the instant as far behind, or before, as the gap is long."""
    looked_at = 0
    for name in ZONES:
        zone = ZoneInfo(name)
        for jump in jumps(name):
            before, after = ((jump + step).astimezone(zone).utcoffset() for step in (-SECOND, timedelta(0)))
            assert before is not None
            assert after is not None
            if after <= before:
                continue
            missing = jump.astimezone(UTC).replace(tzinfo=None) + before + (after - before) / 2
            found = time_formats.moment_of(
                times.from_wire(missing.isoformat(timespec="seconds"), rule("local", "iso", gap=gap), zone)
            )
            assert found - jump == (after - before) / 2 * (1 if gap == "later" else -1)
            looked_at += 1
    assert looked_at > 100


@given(day=st.dates(), form=st.sampled_from(FORMATS["date"]))
def test_a_date_comes_back_in_any_form(day, form):
    """A date is the same after it was written and read, and no zone can move it."""
    if day.year < 1000:
        day = day.replace(year=day.year + 1000, day=1)
    wire = times.to_wire(day.isoformat(), rule("date", form), ZoneInfo("Pacific/Kiritimati"))

    assert times.from_wire(wire, rule("date", form), ZoneInfo("Pacific/Pago_Pago")) == day.isoformat()


@given(seconds=st.integers(-(10**8), 10**8), form=st.sampled_from(FORMATS["duration"]))
def test_a_duration_comes_back_in_any_form(seconds, form):
    """Whole seconds are the same after they were written and read, also where they make no whole hours."""
    zone = ZoneInfo("UTC")

    assert (
        times.from_wire(times.to_wire(seconds, rule("duration", form), zone), rule("duration", form), zone) == seconds
    )


def said_of(change: Any, value: Any, told: TimeRule) -> str | None:
    """Give the sentence with which a value is refused, or None if it is taken."""
    try:
        change(value, told, ZoneInfo("America/St_Johns"))
    except BadTime as exc:
        return str(exc)
    return None


@given(
    kind=st.sampled_from(sorted(FORMATS)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.sampled_from(FORMATS[kind]))
    ),
    value=st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:?\d\d)?\Z")
    | st.from_regex(r"\A-?P(\d{1,5}D)?(T(\d{1,6}H)?(\d{1,8}M)?)?\Z")
    | st.lists(st.integers(), max_size=2),
)
def test_nonsense_is_refused_with_a_sentence_and_nothing_else(kind, value):
    """Whatever a vendor sends in place of a time, it is read or refused; nothing else is raised."""
    for change in (times.to_wire, times.from_wire):
        assert said_of(change, value, rule(*kind)) != ""


def test_a_time_without_an_offset_is_never_guessed():
    """An instant needs its offset and a local time must have none: the wrong rule is noticed, not obeyed."""
    zone = ZoneInfo("Europe/Zurich")

    with pytest.raises(BadTime, match="has no offset"):
        times.from_wire("2026-03-01T08:00:00", rule("instant", "iso"), zone)
    with pytest.raises(BadTime, match="has an offset"):
        times.from_wire("2026-03-01T08:00:00Z", rule("local", "iso"), zone)


def test_the_fields_of_an_object_are_written_by_their_rules_and_read_back():
    """Rules reach into tables and lists, leave alone what is not there, and name the field that they cannot write."""
    rules = times.rules_of(
        {
            "visit.start": rule("local", "iso", zone="site"),
            "visit.lines.*.on": rule("date", "us"),
            "visit.gone": rule("instant", "epoch"),
            "other.start": rule("instant", "epoch"),
        },
        "visit",
    )
    zones = times.Zones(site="America/Denver")
    fields = {"start": "2026-11-01T07:30:00.000Z", "lines": [{"on": "2026-11-01"}, {"no": 1}], "keep": 1}

    written = times.outward(fields, rules, zones)

    assert written == {"start": "2026-11-01T01:30:00", "lines": [{"on": "11/01/2026"}, {"no": 1}], "keep": 1}
    assert times.inward(written, rules, zones) == fields
    with pytest.raises(BadTime, match=r"^start: the site's time zone is needed"):
        times.outward(fields, rules, times.Zones())
    with pytest.raises(BadTime, match=r"^start: 'Mars/Phobos' is no time zone"):
        times.outward(fields, rules, times.Zones(site="Mars/Phobos"))
