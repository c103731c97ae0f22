"""Compressed bodies come back as they were, and no bomb goes off."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from replication import packing
from replication.packing import BadPacking, TooLarge

BOUND = 200_000
TEXT = b'{"title": "Boiler"}' * 500
RLE_BLOCK = 128 * 1024
CODINGS = packing.CODINGS


def zeros(size: int, claimed: int | None = None) -> bytes:
    """A zstd frame of so many zeros, four bytes for each 128 kB; its head may claim another size."""
    count = size // RLE_BLOCK
    head = b"\x28\xb5\x2f\xfd" + bytes([0xC0, 0x38]) + (claimed or size).to_bytes(8, "little")
    blocks = [(RLE_BLOCK << 3 | 1 << 1 | (place == count - 1)).to_bytes(3, "little") + b"\0" for place in range(count)]
    return head + b"".join(blocks)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("body", [b"", b"a", TEXT])
def test_comes_back_as_it_was(coding: packing.Coding, body: bytes) -> None:
    """Compressing and expanding loses nothing, and is the same each time."""
    packed = packing.compress(body, coding)

    assert packing.expand(packed, coding, len(body)) == body
    assert packed == packing.compress(body, coding)


@pytest.mark.parametrize("coding", CODINGS)
def test_the_bound_is_exact(coding: packing.Coding) -> None:
    """What just fits is taken, one byte more is not."""
    packed = packing.compress(TEXT, coding)

    assert packing.expand(packed, coding, len(TEXT)) == TEXT
    with pytest.raises(TooLarge, match=str(len(TEXT) - 1)):
        packing.expand(packed, coding, len(TEXT) - 1)


def deflated(size: int) -> bytes:
    """A gzip of so many zeros, made piece by piece."""
    making = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [making.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join(pieces) + making.flush()


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [
        ("zstd", zeros(10 * 2**30)),
        ("zstd", zeros(2**25, claimed=10 * 2**30)),
        ("gzip", deflated(2**28)),
        ("zstd", packing.compress(bytes(BOUND), "zstd") * 2),
        ("gzip", packing.compress(bytes(BOUND), "gzip") * 2),
    ],
    ids=["ten gigabytes", "a kilobyte that claims ten gigabytes", "gzip", "two frames", "two members"],
)
def test_a_bomb_does_not_go_off(coding: packing.Coding, bomb: bytes) -> None:
    """Nothing is expanded beyond the bound, whatever the body holds and claims."""
    tracemalloc.start()
    with pytest.raises(TooLarge):
        packing.expand(bomb, coding, BOUND)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4 * BOUND + len(bomb)


def test_the_bombs_are_bombs() -> None:
    """A frame as it is made here is one that expands to what it says."""
    assert packing.expand(zeros(RLE_BLOCK * 3), "zstd", BOUND * 3) == bytes(RLE_BLOCK * 3)
    assert len(zeros(2**25, claimed=10 * 2**30)) < 1_100
    assert len(zeros(10 * 2**30)) < 400_000


@pytest.mark.parametrize("coding", CODINGS)
def test_several_members_are_one_body(coding: packing.Coding) -> None:
    """Whoever compresses in pieces sends the pieces one after the other."""
    packed = b"".join(packing.compress(piece, coding) for piece in (TEXT, b"", b"end"))

    assert packing.expand(packed, coding, BOUND) == TEXT + b"end"


def test_a_frame_that_is_to_be_skipped_is_skipped() -> None:
    """Zstd lets programs put notes between the frames."""
    note = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"

    assert packing.expand(note + packing.compress(TEXT, "zstd") + note, "zstd", BOUND) == TEXT


@pytest.mark.parametrize("coding", CODINGS)
def test_members_are_counted(coding: packing.Coding) -> None:
    """A great many empty members are refused: each costs work and says nothing."""
    empty = packing.compress(b"", coding)

    assert packing.expand(empty * packing.MEMBERS_MAX, coding, BOUND) == b""
    with pytest.raises(BadPacking, match=str(packing.MEMBERS_MAX)):
        packing.expand(empty * 100_000, coding, BOUND)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("spoil", ["cut", "no end", "followed", "zeros", "none", "text", "altered"])
def test_what_is_not_compressed_right_is_refused(coding: packing.Coding, spoil: str) -> None:
    """Cut off, followed by something else, altered, or no such thing at all."""
    packed = packing.compress(TEXT, coding)
    spoiled = {
        "cut": packed[: len(packed) // 2],
        "no end": packed[:-1],
        "followed": packed + b"more",
        "zeros": packed + bytes(8),
        "none": b"",
        "text": TEXT,
        "altered": packed[:3] + bytes(each ^ 255 for each in packed[3:]),
    }[spoil]

    with pytest.raises(BadPacking):
        packing.expand(spoiled, coding, BOUND)


def test_one_coding_is_not_the_other() -> None:
    """A body is read as what it is said to be."""
    with pytest.raises(BadPacking, match="zstd"):
        packing.expand(gzip.compress(TEXT), "zstd", BOUND)


def test_a_window_that_is_too_wide_is_refused() -> None:
    """A frame that needs much memory to be read is not read, however short it is."""
    wide = b"\x28\xb5\x2f\xfd" + bytes([0x00, (26 - 10) << 3]) + b"\x01\x00\x00"

    assert packing.expand(wide, "zstd", BOUND, window_log_max=26) == b""
    with pytest.raises(BadPacking):
        packing.expand(wide, "zstd", BOUND)
