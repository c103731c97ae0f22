"""What keeps a mutation from being judged, and how one that cannot be read is kept.

It is kept whole, in one order of keys, so that the office can see what was sent and a repeat is
known as such.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from replication.forms import VALUE_DEPTH_MAX, oddity
from replication.mutation import Mutation, with_plain_numbers
from replication.verdict import Malformed

COUNTER_MAX: Final = 2**63 - 1
NAME_CHARACTERS_MAX: Final = 200

_ASKED: Final[dict[str, Any]] = {
    "n": None,
    "tx": None,
    "op": None,
    "collection": None,
    "id": None,
    "set": {},
    "do": {},
    "was": {},
    "closes": {},
    "at": None,
}
"""What a mutation is known by, as in `mutation.digest`, and what a missing part stands for."""

_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


def fault(mutation: Mutation, fields_max: int) -> str | None:
    """Return what keeps a well-typed mutation from being judged or stored."""
    if len(mutation.set) + len(mutation.do) > fields_max:
        return f"more than {fields_max} fields"
    if not all(map(_is_name, _names(mutation))):
        return f"a name is longer than {NAME_CHARACTERS_MAX} characters or cannot be printed"
    if not all(0 <= number <= COUNTER_MAX for number in _numbers(mutation)):
        return "a number is negative or does not fit into 64 bits"
    if mutation.at is not None and not -COUNTER_MAX <= mutation.at <= COUNTER_MAX:
        return "`at` does not fit into 64 bits"
    parts = (mutation.set, mutation.do, mutation.was)
    return next(filter(None, (oddity(part, VALUE_DEPTH_MAX) for part in parts)), None)


def made(n: int, parts: dict[str, Any], found: str) -> Malformed:
    """Return the mutation of this number as one that is refused, with all that was sent."""
    collection, record_id, tx = (_name(parts.get(key)) for key in ("collection", "id", "tx"))
    message = found.encode(errors="replace").decode()
    return Malformed(n, collection or "", record_id or "", message, _payload(parts), tx, _asked(parts))


def _asked(parts: dict[str, Any]) -> bytes:
    """Return what the mutation is known by when it is sent again, whole or with other neighbours.

    For one that is well-typed this is what `mutation.digest` hashes.
    """
    asked = [parts.get(name, missing) for name, missing in _ASKED.items()]
    try:
        asked = with_plain_numbers(asked)
        return _CANONICAL.encode(asked)
    except (ValueError, TypeError, RecursionError):
        return _payload(dict(zip(_ASKED, asked, strict=True)))


def _payload(parts: dict[str, Any]) -> bytes:
    try:
        return json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()
    except RecursionError:
        shallow = {key: value for key, value in parts.items() if not isinstance(value, dict | list)}
        return _CANONICAL.encode(shallow)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and _is_name(value) else None


def _is_name(text: str) -> bool:
    return len(text) <= NAME_CHARACTERS_MAX and text.isprintable()


def _names(mutation: Mutation) -> list[str]:
    names = [mutation.op, mutation.collection, mutation.id, *mutation.set, *mutation.do, *mutation.was]
    if mutation.tx is not None:
        names.append(mutation.tx)
    if mutation.by is not None:
        names.append(mutation.by)
    if isinstance(mutation.base, dict):
        names += mutation.base
    return [*names, *mutation.context, *mutation.closes]


def _numbers(mutation: Mutation) -> list[int]:
    numbers = [mutation.rev]
    if isinstance(mutation.base, int):
        numbers.append(mutation.base)
    else:
        numbers += mutation.base.values()
    for vector in mutation.context.values():
        numbers += [*vector, *vector.values()]
    for dots in mutation.closes.values():
        numbers += [number for dot in dots for number in dot]
    return numbers
