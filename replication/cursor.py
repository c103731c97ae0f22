"""How far a replica has read: a small map of positions, sealed so that only the hub can make it.

The feed is cut into parts, one for each class of priority and each of shared and private, and a
cursor holds a position in each. To a device it is an opaque text. The seal binds it to tenant,
replica and epoch: positions of another number line would silently skip changes. It names the person
whose scope was read, too: on a shared tablet each has their own, and the place of one says nothing
of what the other was shown.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT_CHARACTERS_MAX: Final = 4_096
SEAL_BYTES: Final = 16

PRIVATE: Final = "private"
SHARED: Final = "shared"


class BadCursor(ValueError):
    """The text is no cursor that this hub has sealed."""


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """A first reading that takes several pages: fixed at `seq`, and done up to the record `after`."""

    seq: int
    after: tuple[str, str] = ("", "")


class Cursor(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Whose position it is, in which number line, and how far each part was read.

    `served` is the highest seq that the replica was ever handed in a page; a base above it is
    none that the replica can have.
    """

    tenant: int
    rid: int
    epoch: str
    person: str
    served: int = 0
    parts: dict[str, int] = {}
    snapshot: Snapshot | None = None


_DECODER: Final = msgspec.msgpack.Decoder(Cursor)


def part(priority: str, share: str) -> str:
    """Return the name of a part: `job/private`."""
    return f"{priority}/{share}"


def encode(cursor: Cursor) -> bytes:
    """Return the cursor as bytes, the same bytes for the same cursor."""
    return msgspec.msgpack.encode(cursor, order="deterministic")


def decode(packed: bytes) -> Cursor:
    """Return the cursor from its bytes."""
    try:
        return _DECODER.decode(packed)
    except ValueError as exc:
        raise BadCursor("the cursor cannot be read") from exc


def seal(cursor: Cursor, keys: Sequence[bytes]) -> str:
    """Return the cursor as the text that a device keeps, sealed with the first key."""
    packed = encode(cursor)
    return base64.urlsafe_b64encode(_seal(packed, keys[0]) + packed).rstrip(b"=").decode()


def unseal(text: str, keys: Sequence[bytes]) -> Cursor:
    """Return the cursor if one of the keys sealed it; keys change, cursors are kept for weeks."""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise BadCursor("the cursor is longer than any that was given out")
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as exc:
        raise BadCursor("the cursor cannot be read") from exc
    seal_, packed = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
    if not any(hmac.compare_digest(seal_, _seal(packed, key)) for key in keys):
        raise BadCursor("the cursor was not sealed here")
    return decode(packed)


def _seal(packed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"cursor" + packed, hashlib.sha256)[:SEAL_BYTES]
