"""A cursor comes back as it was, and only from the hub that sealed it."""

from __future__ import annotations

import base64

import msgspec
import pytest

from replication import cursor

OLD, NEW = b"o" * 32, b"n" * 32

WHOLE = cursor.Cursor(
    tenant=3,
    rid=17,
    epoch="e1",
    person="ana",
    served=40,
    parts={cursor.part("job", cursor.PRIVATE): 40, cursor.part("bulk", cursor.SHARED): 12},
    snapshot=cursor.Snapshot(50, ("work_orders", "0b6f")),
)


def test_comes_back_as_it_was() -> None:
    """Sealing and unsealing loses nothing."""
    assert cursor.unseal(cursor.seal(WHOLE, [OLD]), [OLD]) == WHOLE


def test_is_the_same_text_for_the_same_position() -> None:
    """Two ways to build one position give one cursor, so a device can compare them."""
    turned = msgspec.structs.replace(WHOLE, parts=dict(reversed(WHOLE.parts.items())))

    assert cursor.seal(turned, [OLD]) == cursor.seal(WHOLE, [OLD])


def test_survives_a_change_of_keys() -> None:
    """The first key seals and all of them open, so that keys can be changed without a new first sync."""
    assert cursor.unseal(cursor.seal(WHOLE, [OLD]), [NEW, OLD]) == WHOLE
    assert cursor.seal(WHOLE, [NEW, OLD]) == cursor.seal(WHOLE, [NEW])


def test_is_refused_under_a_key_that_was_taken_away() -> None:
    """Without the key that sealed it a cursor means nothing."""
    with pytest.raises(cursor.BadCursor):
        cursor.unseal(cursor.seal(WHOLE, [OLD]), [NEW])


def test_cannot_be_altered() -> None:
    """Every single flipped bit is noticed."""
    text = cursor.seal(WHOLE, [OLD])
    sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    for place in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(cursor.BadCursor):
            cursor.unseal(base64.urlsafe_b64encode(altered).rstrip(b"=").decode(), [OLD])


@pytest.mark.parametrize("text", ["", "a", "not a cursor", "ÄÖÜ", "A" * 100, "A" * 5_000])
def test_nonsense_is_refused(text: str) -> None:
    """Whatever a client sends in place of a cursor gets one kind of answer."""
    with pytest.raises(cursor.BadCursor):
        cursor.unseal(text, [OLD])


def test_sealed_bytes_of_another_form_are_refused() -> None:
    """A seal over something that is no cursor (an older form, say) is an answer, not a crash."""
    with pytest.raises(cursor.BadCursor):
        cursor.decode(msgspec.msgpack.encode(["no", "cursor"]))
