"""Laws of what has to be said: nothing twice, nothing left out, and differences that add up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream import mapping_file, plan
from upstream.plan import GOING, Known, Wish

NUMBERS = st.decimals(min_value=-1_000, max_value=1_000, places=2).map(str)
INNER = st.dictionaries(st.sampled_from("xy"), NUMBERS, max_size=2)
FIELDS = st.fixed_dictionaries({}, optional={"a": NUMBERS, "b": NUMBERS, "c": INNER})
WISHES = st.builds(
    Wish,
    object=st.just("o"),
    key=st.just("k"),
    collection=st.just("c"),
    record_id=st.just("r"),
    action=st.sampled_from(["upsert", "void"]),
    fields=FIELDS,
)
KNOWN = st.builds(
    Known,
    seen_seq=st.integers(-1, 10),
    state=st.sampled_from(["", "planned", "leased", "sent", "unknown", "confirmed"]),
    mode=st.sampled_from(["live", "shadow"]),
    action=st.sampled_from(["upsert", "void"]),
    fields=st.none() | FIELDS,
    told=st.none() | FIELDS,
    is_there=st.booleans(),
    voided=st.booleans(),
    closed=st.booleans(),
    moved=st.booleans(),
    late_open=st.booleans(),
)


def wish(fields: dict[str, Any], action: Any = "upsert", **rest: Any) -> Wish:
    """Return a wish for the one object of these tests."""
    return Wish(object="o", key="k", collection="c", record_id="r", action=action, fields=fields, **rest)


@given(wished=WISHES, known=KNOWN, seq=st.integers(0, 10), correct=st.booleans())
def test_what_knows_less_says_nothing(wished: Wish, known: Known, seq: int, correct: bool) -> None:
    """A plan made of an older state than the newest delivery is dropped, whatever it says."""
    verdict = plan.decide(wished, known, seen_seq=seq, mode="live", correct=correct)

    assert known.seen_seq <= seq or verdict.next == "nothing"


@given(wished=WISHES, known=KNOWN, correct=st.booleans())
def test_a_closed_object_is_never_written_to(wished: Wish, known: Known, correct: bool) -> None:
    """What is closed is told by another object, or not at all; and not before the last word on it is known."""
    verdict = plan.decide(wished, known, seen_seq=20, mode="live", correct=correct)

    if known.closed:
        assert verdict.next != "say"
        assert verdict.next != "late" or (known.state not in GOING and not known.late_open)


@given(fields=FIELDS, state=st.sampled_from(["planned", "leased", "sent", "unknown"]))
def test_what_is_being_said_is_not_said_again(fields: dict[str, Any], state: str) -> None:
    """An equal wish over a delivery under way adds nothing, unless the system changed it itself or is corrected."""
    known = Known(seen_seq=1, state=state, mode="live", action="upsert", fields=fields)

    assert plan.decide(wish(fields), known, seen_seq=2, mode="live", correct=False).next == "nothing"
    said = plan.decide(wish(fields), known, seen_seq=2, mode="live", correct=True).next
    assert said == ("nothing" if state == "planned" else "say")
    assert plan.decide(wish(fields), known, seen_seq=2, mode="shadow", correct=False).next == "say"


@given(told=FIELDS, fields=FIELDS)
def test_what_differs_is_said_and_what_is_equal_is_not(told: dict[str, Any], fields: dict[str, Any]) -> None:
    """Over a confirmed object exactly the differences are told."""
    known = Known(seen_seq=1, state="confirmed", mode="live", action="upsert", told=told, is_there=True)

    said = plan.decide(wish(fields), known, seen_seq=2, mode="live", correct=False).next

    assert said == ("nothing" if told == fields else "say")


def test_what_was_never_told_is_not_taken_back() -> None:
    """A void needs something to void; what the mapping does not want is told only where it was told before."""
    nothing, there = Known(), Known(is_there=True, told={})

    assert plan.decide(wish({}, "void"), nothing, seen_seq=1, mode="live", correct=False).next == "nothing"
    assert plan.decide(wish({}, "void"), there, seen_seq=1, mode="live", correct=False).next == "say"
    assert (
        plan.decide(wish({"a": "1"}, if_told=True), nothing, seen_seq=1, mode="live", correct=False).next == "nothing"
    )
    assert plan.decide(wish({"a": "1"}, if_told=True), there, seen_seq=1, mode="live", correct=False).next == "say"


@given(before=FIELDS, now=FIELDS)
def test_a_difference_added_to_what_was_told_gives_what_should_be(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Of numbers: told and difference add up to the wish, at every place, and nothing else is in it."""
    told, wished, gap = amounts(before), amounts(now), amounts(plan.difference(before, now) or {})

    for place in told.keys() | wished.keys() | gap.keys():
        assert told.get(place, Decimal(0)) + gap.get(place, Decimal(0)) == wished.get(place, Decimal(0)), place
    assert (plan.difference(before, before)) is None


@given(before=st.lists(st.integers(0, 4)), now=st.lists(st.integers(0, 4)))
def test_a_difference_of_lists_is_what_came_and_what_went(before: list[int], now: list[int]) -> None:
    """Taking away what went and adding what came makes the one list of the other, in whatever order."""
    gap = plan.difference(before, now) or {"added": [], "removed": []}

    left = list(before)
    for item in gap["removed"]:
        left.remove(item)
    assert sorted(left + gap["added"]) == sorted(now)


@pytest.mark.parametrize(("now", "sign", "amount"), [("5", "more", "3"), ("1.5", "less", "0.5"), ("2", None, None)])
def test_a_late_object_knows_whether_it_is_more_or_less(now: str, sign: str | None, amount: str | None) -> None:
    """Its mapping chooses by the sign between a supplement and a credit."""
    gap = plan.late({"hours": "2"}, wish({"hours": now}), "hours")

    assert (gap and gap["sign"], gap and gap["amount"]) == (sign, amount)


def test_what_is_gone_from_a_closed_object_is_its_negative() -> None:
    """Taking back what is closed carries all that was told, with the sign turned round."""
    gap = plan.late({"hours": "2", "who": "Ana"}, wish({"hours": "9"}, "void"), "hours")

    assert gap is not None
    assert (gap["difference"], gap["sign"], gap["now"]) == ({"hours": "-2"}, "less", {})


def test_interests_are_what_a_mapping_reads() -> None:
    """A connection is told of what objects are made of, what triggers them, and what is gathered, and no more."""
    found = plan.interests(
        mapping_file.parse(
            """
[[out]]
object = "invoice"
collection = "work_orders"
late = ["credit"]
triggers = { parts_used = "work_order_id" }
gather.hours = { collection = "time_entries", match = { work_order_id = "record.id" } }
rows = [{ target = "number", source = "record.id" }]

[[out]]
object = "credit"
collection = "work_orders"
rows = [{ target = "number", source = "late.key" }]
"""
        )
    )

    assert found == {"parts_used": (), "time_entries": ("work_order_id",), "work_orders": ()}


def amounts(fields: Any, place: str = "") -> dict[str, Decimal]:
    """Return the numbers in a value by their place."""
    if isinstance(fields, dict):
        found: dict[str, Decimal] = {}
        for name, value in fields.items():
            found |= amounts(value, f"{place}.{name}")
        return found
    return {place: Decimal(fields)}
