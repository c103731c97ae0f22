"""Compressed bodies, both ways: gzip and zstd, under a bound that holds while a body is expanded.

A few bytes can stand for gigabytes, so nothing here makes more of them than the bound and one byte,
whatever the head of the compressed body promises. A body may consist of several members (gzip) or
frames (zstd) one after the other; anything else behind the last one is a mistake.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Coding: TypeAlias = Literal["gzip", "zstd"]

CODINGS: Final[tuple[Coding, ...]] = ("zstd", "gzip")
"""The codings there are, the one that is chosen first first."""

MEMBERS_MAX: Final = 64
"""Each member costs work however small it is, and no compressor makes many."""

WINDOW_LOG_MAX: Final = 23
"""Eight megabytes: the window that every reader of zstd over HTTP has room for (RFC 9659)."""

GZIP_LEVEL: Final = 1
ZSTD_LEVEL: Final = 3
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_GZIP_BEGINS: Final = b"\x1f\x8b"
_ZSTD_BEGINS: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPED: Final = b"\x2a\x4d\x18"


class Compression(msgspec.Struct, frozen=True, kw_only=True):
    """From how many bytes on an answer is compressed, and how wide a window of zstd is read."""

    bytes_min: int = 1_400
    """What fits into one packet is not worth the work."""

    window_log_max: int = WINDOW_LOG_MAX


class BadPacking(ValueError):
    """The bytes are not compressed as they are said to be, or are cut off."""


class TooLarge(ValueError):
    """Expanded, the bytes would be more than the bound."""


class _Expander(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def compress(body: bytes, coding: Coding) -> bytes:
    """Return the body compressed, the same bytes for the same body."""
    if coding == "gzip":
        return gzip.compress(body, GZIP_LEVEL, mtime=0)
    return zstd.compress(body, ZSTD_LEVEL)


def expand(packed: bytes, coding: Coding, bytes_max: int, window_log_max: int = WINDOW_LOG_MAX) -> bytes:
    """Return the body, which has at most `bytes_max` bytes; `TooLarge` or `BadPacking` if it cannot be."""
    make, begins = _members(coding, window_log_max)
    found = bytearray()
    for _ in range(MEMBERS_MAX):
        member = make()
        try:
            found += member.decompress(packed, bytes_max + 1 - len(found))
        except (zlib.error, zstd.ZstdError) as exc:
            raise BadPacking(f"the body is no {coding} that can be read: {exc}") from exc
        if len(found) > bytes_max:
            raise TooLarge(f"expanded, the body has more than {bytes_max} bytes")
        if not member.eof:
            raise BadPacking(f"the {coding} of the body is cut off")
        packed = member.unused_data
        if not packed:
            return bytes(found)
        if not begins(packed):
            raise BadPacking(f"the {coding} of the body is followed by something else")
    raise BadPacking(f"the {coding} of the body has more than {MEMBERS_MAX} parts")


def is_zstd(body: bytes) -> bool:
    """Tell whether a body is still compressed by zstd."""
    return body.startswith(_ZSTD_BEGINS)


def _members(coding: Coding, window_log_max: int) -> tuple[Callable[[], _Expander], Callable[[bytes], bool]]:
    """Return what expands one member, and what tells that another one begins."""
    if coding == "gzip":
        return lambda: zlib.decompressobj(_GZIP_WINDOW), lambda rest: rest.startswith(_GZIP_BEGINS)
    options = {int(zstd.DecompressionParameter.window_log_max): window_log_max}
    return (
        lambda: zstd.ZstdDecompressor(options=options),
        lambda rest: rest.startswith(_ZSTD_BEGINS) or rest[1:4] == _ZSTD_SKIPPED,
    )
