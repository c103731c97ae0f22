"""What is sealed opens with the key and for the purpose that it was sealed with, and in no other way."""

from __future__ import annotations

import pytest

from upstream import sealing

OLD, NEW = b"o" * 32, b"n" * 32
SECRET = b"the client's secret"


def test_what_was_sealed_opens_again() -> None:
    """Any of the keys opens it, wherever it stands in the list; two seals of one secret differ."""
    sealed = sealing.seal(SECRET, [OLD], "signin/1")

    assert sealing.unseal(sealed, [NEW, OLD], "signin/1") == SECRET
    assert sealed != sealing.seal(SECRET, [OLD], "signin/1")
    assert SECRET not in sealed
    assert sealing.sealed_by(sealed) == sealing.key_id(OLD)


def test_a_rewrapped_secret_needs_the_new_key_alone() -> None:
    """After a rotation the old key opens nothing, and what was sealed stays the same."""
    sealed = sealing.seal(SECRET, [OLD], "signin/1")

    again = sealing.rewrap(sealed, [NEW, OLD], "signin/1")

    assert sealing.unseal(again, [NEW], "signin/1") == SECRET
    assert sealing.sealed_by(again) == sealing.key_id(NEW)
    with pytest.raises(sealing.Unopened, match=sealing.key_id(NEW)):
        sealing.unseal(again, [OLD], "signin/1")


def test_a_secret_is_bound_to_its_purpose() -> None:
    """Moved to another tenant it does not open, nor can it be wrapped anew there."""
    sealed = sealing.seal(SECRET, [OLD], "signin/1")

    for use in (sealing.unseal, sealing.rewrap):
        with pytest.raises(sealing.Unopened):
            use(sealed, [OLD], "signin/2")


def test_every_changed_byte_is_noticed() -> None:
    """Whatever part is altered, cut or added to: it does not open."""
    sealed = sealing.seal(SECRET, [OLD], "signin/1")
    altered = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]

    for wrong in (*altered, *(sealed[:i] for i in range(len(sealed))), sealed + b"x", b""):
        with pytest.raises(sealing.Unopened):
            sealing.unseal(wrong, [OLD, NEW], "signin/1")
