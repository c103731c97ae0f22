"""Values by kind: the form each is kept in, and the sentence that refuses what has none."""

from __future__ import annotations

from typing import Any

import pytest

from replication import kinds
from replication.kinds import BadValue, Shape

ANA = "0190a4c2-0000-7000-8000-00000000000a"
BEN = "0190a4c2-0000-7000-8000-00000000000b"
WORDS = Shape(kind="choice", choices=("low", "high"))


def shape(kind: kinds.Kind, **more: Any) -> Shape:
    """Give the shape of a field of this kind."""
    return Shape(kind=kind, **more)


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        (shape("text"), "  Bucket won't open\n", "Bucket won't open"),
        (shape("text"), "Zu\u0308rich", "Zürich"),
        (shape("text"), "", ""),
        (WORDS, " high ", "high"),
        (shape("integer"), 3.0, 3),
        (shape("integer"), -(2**63), -(2**63)),
        (shape("decimal"), 183.05, "183.05"),
        (shape("decimal"), "+0450.00", "450"),
        (shape("decimal"), 450, "450"),
        (shape("decimal"), "-0.0", "0"),
        (shape("decimal"), "1.5e3", "1500"),
        (shape("decimal"), ".5", "0.5"),
        (shape("decimal"), "9" * 38, "9" * 38),
        (shape("boolean"), False, False),
        (shape("instant"), "2026-03-01T09:30:00+01:00", "2026-03-01T08:30:00.000Z"),
        (shape("instant"), "2026-03-01 08:30Z", "2026-03-01T08:30:00.000Z"),
        (shape("instant"), "2026-03-01T08:30:00.1239999z", "2026-03-01T08:30:00.123Z"),
        (shape("instant"), "2026-02-28T23:30:00-0530", "2026-03-01T05:00:00.000Z"),
        (shape("instant"), "0099-01-01T00:00:00Z", "0099-01-01T00:00:00.000Z"),
        (shape("date"), "2024-02-29", "2024-02-29"),
        (shape("zone"), "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        (shape("zone"), "UTC", "UTC"),
        (shape("reference"), ANA.upper(), ANA),
        (shape("person"), f" {ANA} ", ANA),
        (shape("set"), ["b", "a ", "b"], ["a", "b"]),
        (shape("set"), [], []),
        (shape("set", of="person"), [BEN, ANA.upper(), ANA], [ANA, BEN]),
        (shape("set", choices=("low", "high")), ["low", "high"], ["high", "low"]),
        (shape("json"), {"b": [1.0, 0.5, True], "a": None}, {"a": None, "b": [1, 0.5, True]}),
    ],
)
def test_a_value_is_kept_in_its_form(field: Shape, value: object, kept: object) -> None:
    """What means the same is kept the same."""
    assert kinds.same(kept, kinds.canonical(field, value))


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_a_field_of_any_kind_can_be_cleared(kind: kinds.Kind) -> None:
    """None is a value of its own, for each kind."""
    assert kinds.canonical(shape(kind), None) is None


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (shape("text"), 7, "must be text"),
        (shape("text"), "a\0b", "NUL"),
        (shape("text"), "\ud800", "surrogate"),
        (shape("text", limit=3), "four", "longer than 3 characters"),
        (WORDS, "middle", "must be one of low, high"),
        (WORDS, "High", "must be one of low, high"),
        (shape("integer"), True, "whole number"),
        (shape("integer"), 3.5, "whole number"),
        (shape("integer"), "3", "whole number"),
        (shape("integer"), 2**63, "64 bits"),
        (shape("integer"), float("inf"), "whole number"),
        (shape("decimal"), True, "decimal number"),
        (shape("decimal"), "1,000.00", "decimal number"),
        (shape("decimal"), "NaN", "decimal number"),
        (shape("decimal"), float("nan"), "decimal number"),
        (shape("decimal"), "Infinity", "decimal number"),
        (shape("decimal"), "١٢", "decimal number"),
        (shape("decimal"), "1_000", "decimal number"),
        (shape("decimal"), "1e999", "38 digits"),
        (shape("decimal"), "1e-999", "38 digits"),
        (shape("decimal"), "9" * 39, "38 digits"),
        (shape("decimal"), "9" * 101, "decimal number"),
        pytest.param(shape("decimal"), 10**5000, "64 bits", id="huge"),
        (shape("boolean"), 1, "true or false"),
        (shape("boolean"), "true", "true or false"),
        (shape("instant"), "2026-03-01T09:30:00", "needs an offset"),
        (shape("instant"), "2026-03-01", "must be an instant"),
        (shape("instant"), 1_770_000_000, "must be an instant"),
        (shape("instant"), "2026-02-30T09:30:00Z", "calendar"),
        (shape("instant"), "2026-03-01T25:00:00Z", "calendar"),
        (shape("instant"), "2026-03-01T09:30:00+24:00", "calendar"),
        (shape("instant"), "2026-03-01T09:30:00+01:60", "calendar"),
        (shape("instant"), "0001-01-01T00:00:00+01:00", "calendar"),
        (shape("date"), "01.03.2026", "must be a date"),
        (shape("date"), "2026-02-30", "calendar"),
        (shape("zone"), "+01:00", "zone name"),
        (shape("zone"), "Europe/Zu rich", "zone name"),
        (shape("zone"), "../etc/passwd", "zone name"),
        (shape("reference"), "7", "UUID"),
        (shape("person"), ANA.replace("-", ""), "UUID"),
        (shape("set"), "abc", "list of texts"),
        (shape("set"), [1], "must be text"),
        (shape("set"), [" "], "1 to 200 characters"),
        (shape("set", limit=1), ["a", "b"], "more than 1 members"),
        (shape("set", of="person"), ["ana"], "UUID"),
        (shape("json"), float("inf"), "64 bits"),
        (shape("json"), 2**64, "64 bits"),
        (shape("json"), {"a": "b\0"}, "NUL"),
        (shape("json", limit=10), "0123456789", "larger than 10 bytes"),
    ],
)
def test_a_value_without_a_form_is_refused_with_a_reason(field: Shape, value: object, reason: str) -> None:
    """The sentence tells the writer what would be right."""
    with pytest.raises(BadValue, match=reason):
        kinds.canonical(field, value)


def test_json_has_a_bottom() -> None:
    """A tree deeper than the limit is refused before it can exhaust anybody's stack."""
    tree: object = 0
    for _ in range(kinds.JSON_DEPTH_MAX):
        tree = [tree]

    with pytest.raises(BadValue, match="nested deeper"):
        kinds.canonical(shape("json"), tree)


@pytest.mark.parametrize(
    ("kind", "current", "op", "after"),
    [
        ("text", "seal worn", {"append": "; replaced"}, "seal worn; replaced"),
        ("text", None, {"append": "first"}, "first"),
        ("integer", None, {"inc": 2}, 2),
        ("integer", 5, {"inc": -7}, -2),
        ("decimal", "0.1", {"inc": "0.2"}, "0.3"),
        ("decimal", None, {"inc": "-1.50"}, "-1.5"),
        ("set", ["a"], {"add": ["c", "b"]}, ["a", "b", "c"]),
        ("set", ["a", "b"], {"remove": ["b", "x"]}, ["a"]),
        ("set", None, {"add": ["a"], "remove": ["b"]}, ["a"]),
    ],
)
def test_an_operation_is_done_to_the_current_value(
    kind: kinds.Kind, current: object, op: kinds.Op, after: object
) -> None:
    """An operation says what to do, whatever the value is by then."""
    field = shape(kind)

    assert kinds.same(after, kinds.apply_op(field, current, kinds.canonical_op(field, op)))


@pytest.mark.parametrize(
    ("kind", "op", "reason"),
    [
        ("boolean", {"inc": 1}, "no operations"),
        ("text", {"inc": 1}, "knows only append"),
        ("set", {"append": "a"}, "knows only add, remove"),
        ("integer", {}, "knows only inc"),
        ("integer", {"inc": None}, "needs a number"),
        ("integer", {"inc": 1.5}, "whole number"),
        ("text", {"append": None}, "must be text"),
        ("set", {"add": ["a"], "remove": ["a"]}, "same member"),
        ("set", {"add": None}, "list of texts"),
    ],
)
def test_an_operation_that_the_kind_has_not_is_refused(kind: kinds.Kind, op: kinds.Op, reason: str) -> None:
    """Each kind has its own operations, and they take its own values."""
    with pytest.raises(BadValue, match=reason):
        kinds.canonical_op(shape(kind), op)


@pytest.mark.parametrize(
    ("field", "current", "op", "reason"),
    [
        (shape("text", limit=5), "12345", {"append": "6"}, "longer than 5"),
        (shape("decimal"), "9" * 38, {"inc": "1"}, "38 digits"),
        (shape("decimal"), "1" + "0" * 37, {"inc": "0." + "0" * 36 + "1"}, "38 digits"),
        (shape("set", limit=1), ["a"], {"add": ["b"]}, "more than 1"),
    ],
)
def test_an_operation_keeps_the_limits_of_its_field(field: Shape, current: object, op: kinds.Op, reason: str) -> None:
    """A value never grows past its limit by being added to, and never loses digits."""
    with pytest.raises(BadValue, match=reason):
        kinds.apply_op(field, current, kinds.canonical_op(field, op))


@pytest.mark.parametrize(
    ("kind", "op"),
    [("decimal", {"inc": "1"}), ("integer", {"inc": 1}), ("set", {"add": ["a"]})],
)
def test_an_operation_on_a_value_of_another_kind_is_refused(kind: kinds.Kind, op: kinds.Op) -> None:
    """A field that changed its kind keeps its old value until somebody sets a new one."""
    with pytest.raises(BadValue, match="no longer fits"):
        kinds.apply_op(shape(kind), "two or three", op)


@pytest.mark.parametrize(
    ("kind", "was", "value", "op"),
    [
        ("text", "seal worn", "seal worn, replaced", {"append": ", replaced"}),
        ("text", None, "new", {"append": "new"}),
        ("text", "seal worn", "worn seal", None),
        ("text", "seal worn", None, None),
        ("integer", 5, 3, {"inc": -2}),
        ("decimal", "10.5", "8", {"inc": "-2.5"}),
        ("decimal", None, "8", {"inc": "8"}),
        ("set", ["a", "b"], ["b", "c"], {"add": ["c"], "remove": ["a"]}),
        ("boolean", True, False, None),
    ],
)
def test_what_was_done_is_read_off_two_values(kind: kinds.Kind, was: object, value: object, op: object) -> None:
    """A value and the one before it tell the operation, where the kind has one."""
    assert op == kinds.difference(kind, was, value)
