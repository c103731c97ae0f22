"""What keeps a mutation from being judged, and how one that cannot be read is kept.

It is kept whole, in one order of keys, so that the office can see what was sent and a repeat is
known as such.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication.forms import BODY_DEPTH_MAX, VALUE_DEPTH_MAX, odd_part, oddity, sayable, shown
from replication.mutation import Mutation, with_plain_numbers
from replication.verdict import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNTER_MAX: Final = 2**63 - 1
NAME_CHARACTERS_MAX: Final = 200

_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_EXPECTED: Final = re.compile(r"(.*) - at `(?:key` in `)?\$\.?(.*)`", re.DOTALL)
_KEPT_BACK: Final = (
    "its device kept it back, because it is larger than is taken at once; it is shown on the device, "
    "and what is still wanted of it has to be written anew in smaller parts"
)
_NO_UNICODE: Final = "half of a character that takes two, or no text at all; send whole texts"

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
    """Return what keeps a well-typed mutation from being judged or stored: the part, the limit, what to do."""
    written = len(mutation.set) + len(mutation.do)
    if written > fields_max:
        return f"set, do: {written} fields, and at most {fields_max} are taken; write the rest in another mutation"
    if not all(map(_is_name, _names(mutation))):
        return _bad_name(mutation)
    if not all(0 <= number <= COUNTER_MAX for number in _numbers(mutation)):
        return _bad_number(mutation)
    if mutation.at is not None and not -COUNTER_MAX <= mutation.at <= COUNTER_MAX:
        return "at: it does not fit into 64 bits; send milliseconds since 1970"
    parts = (mutation.set, mutation.do, mutation.was)
    if not any(oddity(part, VALUE_DEPTH_MAX) for part in parts):
        return None
    return odd_part({"set": mutation.set, "do": mutation.do, "was": mutation.was})


def unfit(exc: Exception, parts: dict[str, Any]) -> str:
    """Return why parts cannot be taken as a mutation, by the part and without any of its values."""
    if isinstance(exc, msgspec.ValidationError):
        return _mistyped(str(exc))
    return odd_part(parts) or next(filter(None, map(_unsayable, parts.items())), "it cannot be kept as JSON")


def is_withheld(parts: dict[str, Any]) -> bool:
    """Whether a device tells by this that it gives up the number, because the mutation is too large to be sent."""
    return parts.get("withheld") is True and "op" not in parts


def withheld(n: int, parts: dict[str, Any]) -> Malformed:
    """Return the mutation of this number as one that its device keeps back."""
    return msgspec.structs.replace(made(n, parts, _KEPT_BACK), code="withheld")


def made(n: int, parts: dict[str, Any], found: str) -> Malformed:
    """Return the mutation of this number as one that is refused, with all that was sent."""
    parts = sayable(parts, BODY_DEPTH_MAX + 1)
    collection, record_id, tx = (_name(parts.get(key)) for key in ("collection", "id", "tx"))
    message = f"mutation {n}: {found}".encode(errors="replace").decode()
    return Malformed(n, collection or "", record_id or "", message, _payload(parts), tx, _asked(parts))


def _mistyped(said: str) -> str:
    """Put the part first in what msgspec says of a type that is not the one expected."""
    missing = _MISSING.fullmatch(said)
    if missing is not None:
        return f"{missing[1]}: it is missing; send it with each mutation"
    told = _EXPECTED.fullmatch(said)
    part, what = (told[2], told[1]) if told is not None else ("it", said)
    return f"{part}: {what[0].lower()}{what[1:]}; send it as the protocol's table of a mutation says"


def _unsayable(part: tuple[str, Any]) -> str | None:
    name, value = part
    if not isinstance(value, dict):
        return None if _is_sayable(value) else f"{name}: {_NO_UNICODE}"
    bad = next((shown(field) for field, each in value.items() if not _is_sayable((field, each))), None)
    return None if bad is None else f"{name}.{bad}: {_NO_UNICODE}"


def _is_sayable(value: Any) -> bool:
    try:
        _CANONICAL.encode(value)
    except (ValueError, TypeError):
        return False
    return True


def _bad_name(mutation: Mutation) -> str:
    part, alone = next((part, m) for part, m in _apart(mutation) if not all(map(_is_name, _names(m))))
    name = next(name for name in _names(alone) if not _is_name(name))
    if len(name) > NAME_CHARACTERS_MAX:
        return f"{part}: a name has {len(name)} characters, and at most {NAME_CHARACTERS_MAX} are taken; shorten it"
    return f"{part}: {shown(name)} has characters that cannot be printed; leave them out"


def _bad_number(mutation: Mutation) -> str:
    part = next(part for part, m in _apart(mutation) if not all(0 <= number <= COUNTER_MAX for number in _numbers(m)))
    return f"{part}: a number is negative or does not fit into 64 bits; send those that the hub gave"


def _apart(mutation: Mutation) -> Iterator[tuple[str, Mutation]]:
    """Yield each part of the mutation in one that has nothing else."""
    nothing = Mutation(n=1, op="", collection="", id="")
    for part in Mutation.__struct_fields__:
        yield part, msgspec.structs.replace(nothing, **{part: getattr(mutation, part)})


def _asked(parts: dict[str, Any]) -> bytes:
    """Return what the mutation is known by when it is sent again, whole or with other neighbours.

    For one that is well-typed this is what `mutation.digest` hashes.
    """
    asked = [parts.get(name, missing) for name, missing in _ASKED.items()]
    try:
        asked = with_plain_numbers(asked)
        return _CANONICAL.encode(asked)
    except (ValueError, TypeError):
        return _payload(dict(zip(_ASKED, asked, strict=True)))


def _payload(parts: dict[str, Any]) -> bytes:
    return json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()


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
