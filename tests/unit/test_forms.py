"""The two forms of a message say the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from replication import forms


def test_an_answer_says_the_same_in_both_forms() -> None:
    """Keys, texts, numbers and nesting arrive as they are, also where stored bytes are carried on."""
    kept = msgspec.Raw(b'{"title":"\\u00e4","cost":1.50,"n":-7,"huge":18446744073709551615,"gone":null}')
    told = msgspec.json.encode({"fields": kept, "vv": {3: 9}, "more": True, "seen": []})

    packed = forms.to_msgpack(told)

    assert msgspec.msgpack.decode(packed) == msgspec.json.decode(told)
    assert forms.to_json(packed) == msgspec.json.encode(msgspec.json.decode(told))


@pytest.mark.parametrize(("kept", "carried"), [(2**64, float(2**64)), (-(2**63) - 1, -(2.0**63)), (10**25, 1e25)])
def test_a_number_without_room_is_carried_as_most_readers_of_json_read_it(kept: int, carried: float) -> None:
    """MessagePack has no whole numbers beyond 64 bits: they come as the nearest float."""
    packed = forms.to_msgpack(msgspec.json.encode({"a": [kept, 5]}))

    assert msgspec.msgpack.decode(packed) == {"a": [carried, 5]}


def test_a_number_beyond_all_floats_is_carried_as_text() -> None:
    """Nothing that is stored can keep an answer from being given."""
    packed = forms.to_msgpack(b'{"a": 1' + b"0" * 390 + b"}")

    assert msgspec.msgpack.decode(packed) == {"a": "1" + "0" * 390}


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"a": b"x"}, "binary"),
        ({"a": [datetime(2026, 1, 1, tzinfo=UTC)]}, "timestamp"),
        ({"a": msgspec.msgpack.Ext(9, b"")}, "extension 9"),
        ({"a": float("inf")}, "infinite"),
        ({1: 2}, "key"),
        (msgspec.Raw(b"\xc1"), "MessagePack"),
        (msgspec.Raw(b"\x91" * 100 + b"\xc0"), "deeper"),
        (msgspec.Raw(b"\x91" * 100_000 + b"\xc0"), "MessagePack"),
    ],
)
def test_what_json_cannot_say_is_named(said: Any, named: str) -> None:
    """A body that cannot be carried over is refused with what is wrong about it."""
    with pytest.raises(forms.NotSaid, match=named):
        forms.to_json(msgspec.msgpack.encode(said))


VALUES: list[Any] = [
    *(0, 127, -32, 128, 2**16, 2**32, 2**63, -(2**7), -(2**15), -(2**31), -(2**63), 1.5, None, True),
    *("a" * size for size in (0, 1, 40, 300, 70_000)),
    *(b"a" * size for size in (0, 1, 300, 70_000)),
    *([1] * size for size in (0, 10, 20, 70_000)),
    *({str(n): n for n in range(size)} for size in (0, 10, 20, 70_000)),
    *(msgspec.msgpack.Ext(5, b"a" * size) for size in (0, 1, 2, 4, 8, 16, 17, 300, 70_000)),
    datetime(2026, 1, 1, tzinfo=UTC),
]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_what_is_too_deep_is_cut_out_and_nothing_else(value: Any) -> None:
    """Every kind of value is stepped over, before and behind a nest, and within it."""
    packed = msgspec.msgpack.encode(value)
    nest = b"\x92" * 5_000 + b"\xc0" + packed + b"\xc0" * 4_999

    cut = forms.shallow(b"\x93" + packed + nest + packed, "msgpack")

    before, _, after = msgspec.msgpack.decode(cut)
    assert msgspec.msgpack.encode([before, after]) == msgspec.msgpack.encode([value, value])
