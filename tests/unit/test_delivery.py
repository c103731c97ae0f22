"""What becomes of a delivery: the table of next steps, keys and marks, and whether what was sent stands there."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream import delivery
from upstream.delivery import Next, Tries
from upstream.manifest import ReplyKind, Target, WriteClass

CLASSES: tuple[WriteClass, ...] = get_args(WriteClass)
KINDS: tuple[ReplyKind, ...] = get_args(ReplyKind)
FEW = Tries(sends=1)


@pytest.mark.parametrize("write", CLASSES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_has_a_next_step(write: WriteClass, kind: ReplyKind) -> None:
    """No class of write and kind of reply is without one, to a write, a void and a look."""
    assert delivery.after_write(write, kind, FEW, jitter=0.5).next in Next
    assert delivery.after_void(write, kind, FEW, jitter=0.5).next in Next
    for found in (True, False, None):
        assert delivery.after_read(write, kind, FEW, found=found, jitter=0.5).next in Next


@pytest.mark.parametrize("write", CLASSES)
@pytest.mark.parametrize("kind", ["unknown", "duplicate"])
def test_what_may_have_happened_is_never_sent_again_blindly(write: WriteClass, kind: ReplyKind) -> None:
    """Without proof it is looked first, or a person is asked where nothing can be looked up."""
    step = delivery.after_write(write, kind, FEW, jitter=0.5)

    assert step.next is (Next.ASK if write == "none" else Next.READ)
    assert delivery.after_void(write, kind, FEW, jitter=0.5).next is not Next.SEND


@given(
    write=st.sampled_from(CLASSES),
    kind=st.sampled_from(KINDS),
    tries=st.builds(
        Tries,
        sends=st.integers(0, 99),
        reads=st.integers(0, 99),
        conflicts=st.integers(0, 99),
        age_ms=st.integers(0, 10**9),
    ),
    asked=st.integers(0, 10**6),
    jitter=st.floats(0, 1),
)
def test_every_wait_has_an_end_and_every_try_too(
    write: WriteClass, kind: ReplyKind, tries: Tries, asked: int, jitter: float
) -> None:
    """A pause is at least what the vendor asked for, and else a quarter of an hour at most; then a person is asked."""
    step = delivery.after_write(write, kind, tries, asked_ms=asked, jitter=jitter)

    assert 0 <= step.wait_ms <= max(asked, delivery.WAIT_MS_MAX)
    if kind in ("throttled", "transient") and step.next is Next.SEND:
        assert step.wait_ms >= asked
    if tries.age_ms > delivery.AGE_MS_MAX:
        assert step.next is not Next.SEND
    if tries.reads >= delivery.READS_MAX:
        assert kind != "unknown" or step.next is Next.ASK


def test_what_is_closed_there_is_told_otherwise() -> None:
    """It is no rejection and no retry."""
    assert delivery.after_write("versioned", "locked", FEW, jitter=0.5).next is Next.LATE


def test_a_version_that_moves_on_and_on_ends_with_a_person() -> None:
    """A conflict is resolved by looking, a few times."""
    steps = [delivery.after_write("versioned", "conflict", Tries(conflicts=n), jitter=0.5).next for n in range(5)]

    assert steps == [Next.READ, Next.READ, Next.READ, Next.REJECT, Next.REJECT]


@given(first=st.lists(st.text(), min_size=1, max_size=4), second=st.lists(st.text(), min_size=1, max_size=4))
def test_keys_and_marks_tell_intents_apart(first: list[str], second: list[str]) -> None:
    """The same parts give the same key and mark, and no others do, however the parts are cut."""
    for made in (delivery.idempotency_key, delivery.marker):
        assert (made(*first) == made(*second)) is (first == second)


def test_a_mark_fits_where_marks_are_put() -> None:
    """Capital letters and digits, short enough for the shortest document number in use."""
    mark = delivery.marker(1, "c", "invoice", "k", 0)

    assert mark.isalnum()
    assert mark.isupper()
    assert len(mark) == 18


@pytest.mark.parametrize(
    ("sent", "found", "paths", "stands"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, (), True),
        ({"a": "7.50"}, {"a": 7.5}, (), True),
        ({"a": 1}, {"a": 2}, (), False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ("a",), True),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2], "c": 0}}, (), True),
        ({"a": [1, 2]}, {"a": [1, 2, 3]}, (), False),
        ({"a": [{"x": 1}]}, {"a": [{"x": "1", "y": 2}]}, (), True),
        ({"a": True}, {"a": 1}, (), True),
        ({"a": "nan"}, {"a": "NaN"}, (), False),
        ({"a": 1}, None, (), False),
        ({"a": None}, {}, (), True),
    ],
)
def test_what_was_sent_stands_there_or_not(sent: Any, found: Any, paths: tuple[str, ...], stands: bool) -> None:
    """All that was sent is compared, or what the manifest names; what the vendor adds does not matter."""
    assert delivery.stands(sent, found, paths) is stands


@pytest.mark.parametrize(
    ("write", "remote_id", "update", "found"),
    [
        ("search", "", "change", "make"),
        ("search", "7", "change", "change"),
        ("search", "7", "", ""),
        ("native", "7", "", ""),
        ("upsert", "7", "", "make"),
        ("none", "7", "", "make"),
    ],
)
def test_what_stands_there_is_changed_or_left_alone(write: WriteClass, remote_id: str, update: str, found: str) -> None:
    """Making it again would be a second one, except where it is addressed by our own key or has no handle."""
    target = Target(write=write, create="make", update=update, void="void")

    assert delivery.operation(target, "upsert", remote_id) == found
    assert delivery.operation(target, "void", remote_id) == "void"


@pytest.mark.parametrize("kind", delivery.UNANSWERED)
def test_a_look_that_nobody_answers_is_repeated_for_days(kind: ReplyKind) -> None:
    """Only time ends it, and then a person is asked."""
    often = Tries(sends=99, reads=delivery.READS_MAX)
    late = Tries(age_ms=delivery.AGE_MS_MAX + 1)

    assert delivery.after_read("search", kind, often, found=None, jitter=0.5).next is Next.READ
    assert delivery.after_read("search", kind, late, found=None, jitter=0.5).next is Next.ASK


def test_a_sign_in_that_one_operation_does_not_accept_ends_with_a_person() -> None:
    """It is waited for as long as a vendor that is away, and no longer."""
    late = Tries(age_ms=delivery.AGE_MS_MAX + 1)

    assert delivery.after_write("upsert", "auth", FEW, jitter=0.5).next is Next.PAUSE
    assert delivery.after_write("upsert", "auth", late, jitter=0.5).next is Next.REJECT
    assert delivery.after_read("search", "auth", FEW, found=None, jitter=0.5).next is Next.PAUSE
    assert delivery.after_read("search", "auth", late, found=None, jitter=0.5).next is Next.ASK
