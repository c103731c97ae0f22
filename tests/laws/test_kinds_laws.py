"""Laws of kinds: one form for each value, and operations that lead from one value to the next."""

from __future__ import annotations

import json
import math
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from replication import kinds
from replication.kinds import BadValue, Shape

CHOICES = ("open", "on_site", "done")
SHAPES: dict[str, Shape] = {
    **{kind: Shape(kind=kind) for kind in kinds.KINDS if kind != "choice"},
    "choice": Shape(kind="choice", choices=CHOICES),
    "set of persons": Shape(kind="set", of="person"),
    "set of choices": Shape(kind="set", choices=CHOICES),
}

ODD_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20)
# A float much nearer to zero has more places than a decimal keeps, and is refused.
FLOATS = st.floats(-1e15, 1e15).filter(lambda number: number == 0 or abs(number) > 1e-20)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001 - the offset is drawn apart
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e15, 1e15) | ODD_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXT, inner, max_size=3),
    max_leaves=8,
)
PERSONS = st.uuids().map(str)
ANYTHING = TREES | st.floats() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=5), max_size=4)

VALID: dict[str, st.SearchStrategy[Any]] = {
    "text": ODD_TEXT,
    "choice": st.sampled_from(CHOICES) | st.sampled_from(CHOICES).map(lambda word: f" {word}\n"),
    "integer": st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**53), 2**53).map(float),
    "decimal": DECIMALS.map(str) | st.integers(-(2**63), 2**63 - 1) | FLOATS,
    "boolean": st.booleans(),
    "instant": st.builds(lambda moment, zone: moment.replace(tzinfo=zone).isoformat(), MOMENTS, OFFSETS),
    "date": st.dates().map(lambda day: day.isoformat()),
    "zone": st.sampled_from(["UTC", "Europe/Zurich", "America/Argentina/Buenos_Aires", "Etc/GMT+5"]),
    "reference": PERSONS | PERSONS.map(str.upper),
    "person": PERSONS,
    "set": st.lists(ODD_TEXT.filter(lambda text: text.strip()), max_size=6),
    "json": TREES,
    "set of persons": st.lists(PERSONS, max_size=4),
    "set of choices": st.lists(st.sampled_from(CHOICES), max_size=4),
}
NAMED_VALUES = st.sampled_from(sorted(SHAPES)).flatmap(
    lambda name: st.tuples(st.just(name), VALID[name] | st.none(), VALID[name] | st.none())
)


def test_every_kind_is_among_those_drawn() -> None:
    """The laws below speak of each kind there is."""
    assert set(kinds.KINDS) <= SHAPES.keys()
    assert SHAPES.keys() == VALID.keys()


@given(NAMED_VALUES)
def test_every_well_meant_value_has_a_form_and_the_form_is_its_own(drawn: tuple[str, Any, Any]) -> None:
    """What a writer may rightly send is taken, and what was kept once is kept as it is."""
    name, value, _ = drawn

    kept = kinds.canonical(SHAPES[name], value)

    assert kinds.same(kept, kinds.canonical(SHAPES[name], kept))


@given(st.sampled_from(sorted(SHAPES)), ANYTHING)
def test_any_value_has_a_form_or_is_refused(name: str, value: object) -> None:
    """Whatever is sent: a value of the kind, stable, storable as JSON in UTF-8, or a refusal."""
    try:
        kept = kinds.canonical(SHAPES[name], value)
    except BadValue:
        event(f"{name} refused")
        return

    event(f"{name} kept")
    assert kinds.same(kept, kinds.canonical(SHAPES[name], kept))
    assert kinds.same(kept, msgspec.json.decode(msgspec.json.encode(kept)))
    assert kinds.same(kept, msgspec.msgpack.decode(msgspec.msgpack.encode(kept)))


@given(NAMED_VALUES)
def test_being_the_same_is_an_equivalence(drawn: tuple[str, Any, Any]) -> None:
    """Each is the same as itself, and neither of two is more the same than the other."""
    name, a, b = drawn
    one, other = kinds.canonical(SHAPES[name], a), kinds.canonical(SHAPES[name], b)

    assert kinds.same(one, one)
    assert kinds.same(one, other) == kinds.same(other, one)


@given(TREES, TREES)
@example(True, 1)
@example([True], [1])
@example({"a": {"b": False}}, {"a": {"b": 0}})
def test_two_trees_are_the_same_if_their_json_is(a: object, b: object) -> None:
    """True is not 1 and false is not 0, however deep; the order of keys means nothing."""
    one, other = (kinds.canonical(SHAPES["json"], tree) for tree in (a, b))

    written = [json.dumps(tree, sort_keys=True) for tree in (one, other)]

    assert kinds.same(one, other) == (written[0] == written[1])


@given(ODD_TEXT, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["", " ", "\n\t"]))
def test_text_is_the_same_however_its_letters_are_composed(text: str, form: Any, edge: str) -> None:
    """Composed or not, with or without white space at its ends, it is one text."""
    other = edge + unicodedata.normalize(form, text) + edge

    assert kinds.canonical(SHAPES["text"], text) == kinds.canonical(SHAPES["text"], other)


@given(DECIMALS, st.integers(0, 9))
def test_a_decimal_is_the_same_however_it_is_written(number: Decimal, zeros: int) -> None:
    """Zeros at the end, a plus sign, an exponent: the number counts."""
    kept = str(kinds.canonical(SHAPES["decimal"], str(number)))

    point = "" if "." in str(number) else "."
    padded = f"{number:f}{point}{'0' * zeros}"
    assert Decimal(kept) == number
    assert kept == kinds.canonical(SHAPES["decimal"], padded)
    assert kept == kinds.canonical(SHAPES["decimal"], f"{number:E}")
    assert "E" not in kept
    assert not ("." in kept and kept.endswith("0"))


@given(st.floats())
def test_a_float_is_the_decimal_it_shows_or_none(number: float) -> None:
    """A float is taken as the digits that a person sees, never as its binary expansion."""
    if not math.isfinite(number):
        with pytest.raises(BadValue):
            kinds.canonical(SHAPES["decimal"], number)
    elif number == 0 or 1e-20 < abs(number) < 1e20:
        assert Decimal(str(kinds.canonical(SHAPES["decimal"], number))) == Decimal(repr(number))


@given(MOMENTS, OFFSETS, OFFSETS)
def test_an_instant_is_the_same_from_wherever_it_is_told(moment: datetime, here: timezone, there: timezone) -> None:
    """One moment told in two zones is kept once, cut to the millisecond."""
    told_here = moment.replace(tzinfo=here)
    told_there = told_here.astimezone(there)

    kept = str(kinds.canonical(SHAPES["instant"], told_here.isoformat()))

    assert kept == kinds.canonical(SHAPES["instant"], told_there.isoformat())
    assert kept.endswith("Z")
    assert timedelta(0) <= told_here - datetime.fromisoformat(kept) < timedelta(milliseconds=1)


@given(MOMENTS, MOMENTS)
def test_instants_sort_as_their_texts(one: datetime, other: datetime) -> None:
    """Instants can be compared and indexed as they are kept."""
    kept = [str(kinds.canonical(SHAPES["instant"], m.replace(tzinfo=UTC).isoformat())) for m in (one, other)]

    assert (kept[0] < kept[1]) == (datetime.fromisoformat(kept[0]) < datetime.fromisoformat(kept[1]))


@given(st.data(), VALID["set"])
def test_a_set_has_no_order_and_no_doubles(data: st.DataObject, members: list[str]) -> None:
    """Shuffled and with members said twice, it is the same set."""
    again = data.draw(st.permutations(members + members[:2]))

    assert kinds.canonical(SHAPES["set"], members) == kinds.canonical(SHAPES["set"], again)


@given(st.sampled_from(["text", "integer", "decimal", "set"]), st.data())
def test_a_difference_leads_to_the_value(name: str, data: st.DataObject) -> None:
    """What was done to a value, done to it again, gives what came out."""
    shape = SHAPES[name]
    was, value = (kinds.canonical(shape, data.draw(VALID[name] | st.none())) for _ in range(2))
    operation = kinds.difference(shape.kind, was, value)

    if operation is None:
        assert value is None or (name == "text" and not str(value).startswith(str(was or "")))
    else:
        assert kinds.same(value, kinds.apply_op(shape, was, operation))


@given(ODD_TEXT, ODD_TEXT, ODD_TEXT)
def test_what_two_people_appended_is_all_there(was: str, ana: str, ben: str) -> None:
    """Two ends added to one text are both in it, in the order of the hub, up to the form of the letters."""
    shape, start = SHAPES["text"], kinds.canonical(SHAPES["text"], was)
    ends = [kinds.canonical_op(shape, {"append": end}) for end in (ana, ben)]

    merged = kinds.apply_op(shape, kinds.apply_op(shape, start, ends[0]), ends[1])

    letters = [letter for letter in unicodedata.normalize("NFD", f"{start}{ana}{ben}") if not letter.isspace()]
    kept = [letter for letter in unicodedata.normalize("NFD", str(merged)) if not letter.isspace()]
    assert sorted(letters) == sorted(kept)


@given(DECIMALS, DECIMALS, DECIMALS)
def test_counting_is_exact_and_has_no_order(start: Decimal, a: Decimal, b: Decimal) -> None:
    """Steps add up to the last digit, whichever is heard of first."""
    shape = SHAPES["decimal"]
    at = kinds.canonical(shape, str(start))
    one, other = ({"inc": kinds.canonical(shape, str(step))} for step in (a, b))

    counted = kinds.apply_op(shape, kinds.apply_op(shape, at, one), other)

    with localcontext(prec=100):
        assert Decimal(str(counted)) == start + a + b
    assert counted == kinds.apply_op(shape, kinds.apply_op(shape, at, other), one)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_a_count_never_leaves_its_range_unseen(start: int, step: int) -> None:
    """A sum is exact or refused; it never wraps around."""
    if -(2**63) <= start + step < 2**63:
        assert start + step == kinds.apply_op(SHAPES["integer"], start, {"inc": step})
    else:
        with pytest.raises(BadValue):
            kinds.apply_op(SHAPES["integer"], start, {"inc": step})


@given(VALID["set"], VALID["set"], VALID["set"])
def test_members_added_and_removed_are_so(was: list[str], added: list[str], removed: list[str]) -> None:
    """After the operation the added are in, the removed are out, and nobody else moved."""
    shape = SHAPES["set"]
    before, plus, minus = (set(_members(kinds.canonical(shape, each))) for each in (was, added, removed))
    assume(plus or minus)
    assume(not plus & minus)

    after = kinds.apply_op(shape, sorted(before), kinds.canonical_op(shape, {"add": added, "remove": removed}))

    assert (before | plus) - minus == set(_members(after))


def _members(value: object) -> list[str]:
    assert isinstance(value, list)
    return value
