"""The two forms in which a message travels: JSON, and MessagePack with the same names.

JSON is the model: whatever is sent or kept can be said in it. MessagePack can say more (bytes,
extensions, keys that are no text, NaN), and what JSON cannot say is no value of any field. An
answer is made once, as JSON, and carried over; so both forms always tell the same.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Collection, Iterator
from typing import Any, Final, Literal, TypeAlias

import msgspec

Form: TypeAlias = Literal["json", "msgpack"]

VALUE_DEPTH_MAX: Final = 64
"""Deeper than any field allows; it keeps a value from exhausting the stack where it is encoded."""

SHOWN_CHARACTERS_MAX: Final = 60
"""As much of a name that somebody sent stands in a message."""

BODY_DEPTH_MAX: Final = VALUE_DEPTH_MAX + 8
"""Depth of a value plus that of what a push wraps around it."""

WIDE_MIN: Final = -(2**63)
WIDE_MAX: Final = 2**64 - 1
"""The whole numbers that MessagePack has room for."""

_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_NO_JSON_VALUE: Final = b"NaN"
_NO_MSGPACK_VALUE: Final = b"\xcb\x7f\xf8\0\0\0\0\0\0"
"""Stands for a part that was cut out: no field takes it, so that its mutation is refused."""

_TOO_DEEP: Final = f"a value is nested deeper than {VALUE_DEPTH_MAX}; no field holds one that is"
_KEY_NO_TEXT: Final = "a map has a key that is no text; send the names of fields as texts"
_UNREADABLE: Final = "it has a key or a time that cannot be read; send only what JSON can say"

_SCALARS: Final = frozenset({str, int, bool, type(None)})
_TEXT: Final = frozenset({str})
_TREE: Final = msgspec.msgpack.Decoder()
_PARTS: Final = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])

# By the first byte of a MessagePack value: how many bytes follow it, how many values it holds, or how
# many digits say so (and how many bytes more there are, how many values each counts for).
_FIXED: Final = (
    dict.fromkeys((*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3), 0)
    | {0xA0 + size: size for size in range(32)}
    | {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
    | {0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}
)
_SMALL: Final = {0x80 + size: 2 * size for size in range(16)} | {0x90 + size: size for size in range(16)}
_MAPS: Final = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})
_COUNTED: Final = (
    {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0)}
    | {0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)}
    | {0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0)}
)
_HOLDING: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


class NotSaid(ValueError):
    """The bytes are no message in this form, or say something that JSON cannot say."""


def to_json(body: bytes) -> bytes:
    """Return a MessagePack message as JSON. `NotSaid` names what JSON has no word for."""
    try:
        tree = _TREE.decode(body)
    except (ValueError, RecursionError) as exc:
        raise NotSaid(f"the body is no MessagePack that can be read: {exc}") from exc
    found = oddity(tree, VALUE_DEPTH_MAX)
    if found is not None:
        raise NotSaid(found)
    return msgspec.json.encode(tree)


def to_msgpack(body: bytes) -> bytes:
    """Return a JSON message as MessagePack; keys stay texts, in vectors too."""
    tree = msgspec.json.decode(body)
    try:
        return msgspec.msgpack.encode(tree)
    except OverflowError:
        return msgspec.msgpack.encode(_narrow(tree))


def oddity(value: Any, depth: int) -> str | None:
    """Return what keeps a decoded value from being said in JSON, or from being nested this deep; never the value."""
    kind = type(value)
    if kind is dict or kind is list:
        return _oddity_within(value, depth - 1) if depth > 0 else _TOO_DEEP
    if kind in _SCALARS or (kind is float and math.isfinite(value)):
        return None
    if kind is float:
        return "a number is infinite or none at all; send one that JSON can say, or null"
    return f"a value is {_called(value)}; send only what JSON can say"


def _oddity_within(holding: dict[Any, Any] | list[Any], depth: int) -> str | None:
    if isinstance(holding, dict) and not _TEXT.issuperset(map(type, holding)):
        return _KEY_NO_TEXT
    for part in holding.values() if isinstance(holding, dict) else holding:
        found = None if type(part) in _SCALARS else oddity(part, depth)
        if found is not None:
            return found
    return None


def odd_part(parts: dict[str, Any]) -> str | None:
    """Return what is odd about any of these parts, after the part's name and, where it is of fields, the field's."""
    for name, part in parts.items():
        if oddity(part, VALUE_DEPTH_MAX) is None:
            continue
        if isinstance(part, dict) and _TEXT.issuperset(map(type, part)):
            for field, value in part.items():
                found = oddity(value, VALUE_DEPTH_MAX - 1)
                if found is not None:
                    return f"{name}.{shown(field)}: {found}"
        return f"{name}: {oddity(part, VALUE_DEPTH_MAX)}"
    return None


def shown(name: str) -> str:
    """Return a name that somebody sent as it can stand in a message: short, and nothing that cannot be printed."""
    fits = len(name) <= SHOWN_CHARACTERS_MAX and name.isprintable()
    return name if fits else f"{ascii(name[:SHOWN_CHARACTERS_MAX])[1:-1]}..."


def parts_of(packed: bytes, known: Collection[str]) -> tuple[dict[str, Any], str | None]:
    """Return the parts of a map in MessagePack, each read alone, and what was odd about those that are known.

    An odd part is replaced by something that JSON can say, so that it can be kept and shown. Of a key
    that stands twice the last counts, as in JSON.
    """
    parts: dict[str, Any] = {}
    oddities = []
    for key, raw in _pairs(packed):
        name, is_text = (key, True) if type(key) is str else (f"{key!r}", False)
        parts[name], odd = _part(raw, name)
        if not is_text:
            oddities.append(f"a key is no text; a mutation has {', '.join(known)}")
        elif odd is not None and name in known:
            oddities.append(odd)
    return parts, next(iter(oddities), None)


def _pairs(packed: bytes) -> Iterator[tuple[Any, bytes]]:
    """Yield the keys of a map, and its values unread. What cannot be read of a key is given as bytes."""
    try:
        read = [(key, bytes(raw)) for key, raw in _PARTS.decode(packed).items()]
    except (ValueError, RecursionError):
        read = list(_walked(packed))
    yield from read


def _walked(packed: bytes) -> Iterator[tuple[Any, bytes]]:
    """Go over a map of which some key is nothing that can be looked up."""
    if not packed or packed[0] not in _MAPS:
        raise NotSaid("it is no map")
    at, inner = _step(packed, 0)
    for _ in range(inner // 2):
        middle = _end(packed, at, 1)
        end = _end(packed, middle, 1)
        try:
            key = _TREE.decode(packed[at:middle])
        except (ValueError, RecursionError):
            key = packed[at:middle]
        yield key, packed[middle:end]
        at = end


def _part(raw: bytes, name: str) -> tuple[Any, str | None]:
    try:
        part = _TREE.decode(raw)
    except RecursionError:
        return text_of(raw), f"{name}: {_TOO_DEEP}"
    except ValueError:
        return text_of(raw), f"{name}: {_UNREADABLE}"
    part = _keyed(part) if name == "context" else part
    odd = odd_part({name: part})
    return (part, None) if odd is None else (sayable(part, BODY_DEPTH_MAX), odd)


def shallow(body: bytes, form: Form) -> bytes:
    """Cut out what is nested too deeply to be read, so that it spoils its own mutation alone."""
    return _shallow_json(body) if form == "json" else _shallow_msgpack(body)


def _shallow_json(body: bytes) -> bytes:
    kept: list[bytes] = []
    depth, begin = 0, 0
    for token in _TOKENS.finditer(body):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth == BODY_DEPTH_MAX + 1:
                kept += [body[begin : token.start()], _NO_JSON_VALUE]
        elif token[0] in (b"]", b"}"):
            if depth == BODY_DEPTH_MAX + 1:
                begin = token.end()
            depth -= 1
    return b"".join([*kept, body[begin:]]) if depth <= BODY_DEPTH_MAX else body


def _shallow_msgpack(body: bytes) -> bytes:
    """Walk over the values; `left` counts what each open list or map still lacks."""
    kept: list[bytes] = []
    left, at, begin = [1], 0, 0
    while left and at < len(body):
        start = at
        at, inner = _step(body, at)
        left[-1] -= 1
        if inner and len(left) > BODY_DEPTH_MAX:
            at = _end(body, at, inner)
            kept += [body[begin:start], _NO_MSGPACK_VALUE]
            begin = at
        elif inner:
            left.append(inner)
        while left and left[-1] == 0:
            left.pop()
    return b"".join([*kept, body[begin:]])


def _end(body: bytes, at: int, missing: int) -> int:
    """Return where so many values, and all that is in them, end."""
    while missing and at < len(body):
        at, inner = _step(body, at)
        missing += inner - 1
    return at


def _step(body: bytes, at: int) -> tuple[int, int]:
    """Return where the head of the value at this place ends, and how many values it holds."""
    first = body[at]
    at += 1
    if first in _FIXED:
        return at + _FIXED[first], 0
    if first in _SMALL:
        return at, _SMALL[first]
    if first in _COUNTED:
        digits, more = _COUNTED[first]
        return at + digits + more + int.from_bytes(body[at : at + digits]), 0
    if first in _HOLDING:
        digits, each = _HOLDING[first]
        return at + digits, each * int.from_bytes(body[at : at + digits])
    raise NotSaid("the body is no MessagePack: it has a byte that begins no value")


def _narrow(value: Any) -> Any:
    """Give numbers that MessagePack has no room for the form that most readers of JSON give them."""
    if isinstance(value, dict):
        return {name: _narrow(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_narrow(part) for part in value]
    if not isinstance(value, int) or WIDE_MIN <= value <= WIDE_MAX:
        return value
    try:
        return float(value)
    except OverflowError:
        return str(value)


def _keyed(contexts: Any) -> Any:
    """Give vectors the keys they have in JSON; in MessagePack the number of a replica may be a number."""
    if not isinstance(contexts, dict):
        return contexts
    return {cell: _vector(vector) if isinstance(vector, dict) else vector for cell, vector in contexts.items()}


def _vector(vector: dict[Any, Any]) -> dict[Any, Any]:
    return {str(rid) if type(rid) is int else rid: n for rid, n in vector.items()}


def sayable(value: Any, depth: int) -> Any:
    """Return the value with a text in place of whatever JSON cannot say."""
    if isinstance(value, dict | list) and depth <= 0:
        return "nested too deeply"
    if isinstance(value, dict):
        return {str(key): sayable(part, depth - 1) for key, part in value.items()}
    if isinstance(value, list):
        return [sayable(part, depth - 1) for part in value]
    if type(value) in _SCALARS or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, bytes):
        return text_of(value)
    return (
        f"extension {value.code} {text_of(bytes(value.data))}" if isinstance(value, msgspec.msgpack.Ext) else str(value)
    )


def text_of(packed: bytes) -> str:
    """Return bytes as a text that JSON can say."""
    return "base64:" + base64.b64encode(packed).decode()


def _called(value: Any) -> str:
    if isinstance(value, bytes):
        return "binary"
    return f"the extension {value.code}" if isinstance(value, msgspec.msgpack.Ext) else "a timestamp"
