"""What a connection had seen: which of a vendor's fields are an edit, and of which state of ours.

A vendor tells states, not edits. What it changed is the difference to what it is known to have had
before: its own last state that was taken in, or what we told it and it confirmed, whichever is the
later. A field that does not differ from that is no edit and is never written: neither the echo of
what was sent, nor a poll that finds the same again, writes anything.

The base of each cell follows from the same: up to which of our states this vendor knew it. It is never
"the present one"; a vendor that knows nothing of a cell has base 0, and the policy decides.

Pure: states go in, an edit comes out.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from upstream import holes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from replication.verdict import MutationVerdict
    from upstream.mapping import IntoMapping, Row

ALIVE: Final = "$alive"
HELD: Final = frozenset({"applied", "converged", "absorbed"})
"""Verdicts after which the vendor has what stands here, and knows it."""

_NUMBER: Final = re.compile(r"-?\d{1,30}(\.\d{1,15})?([eE][+-]?\d{1,3})?", re.ASCII)

Order: TypeAlias = Literal["older", "same", "newer", "unknown"]


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's record as it was last taken in: its version, what it made of our fields, what it knew of ours.

    `confirmed_seq` is the confirmation that was looked at then.
    """

    version: str = ""
    fields: dict[str, Any] = {}
    base: dict[str, int] = {}
    confirmed_seq: int = 0


class Confirmed(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor confirmed last: the fields in its own shape, and of which state of ours they were made."""

    fields: dict[str, Any] = {}
    seq: int = 0
    version: str = ""


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """What the vendor changed, and what it had seen: the fields, the values before, the base of each cell."""

    set: dict[str, Any]
    was: dict[str, Any]
    base: dict[str, int]


def order(version: str, known: str) -> Order:
    """Return how old a version is, measured against a known one.

    Versions that are numbers, and instants, have an order; of others only equality can be told.
    """
    if not version or not known:
        return "unknown"
    if version == known:
        return "same"
    numbers = _numbers(version, known)
    if numbers is not None:
        return "same" if numbers[0] == numbers[1] else "newer" if numbers[0] > numbers[1] else "older"
    instants = _instants(version, known)
    if instants is not None:
        return "same" if instants[0] == instants[1] else "newer" if instants[0] > instants[1] else "older"
    return "unknown"


def edit(
    now: Mapping[str, Any],
    before: Mapping[str, Any],
    cells: Mapping[str, str],
    *,
    sighting: Sighting,
    confirmed: Confirmed,
    told: frozenset[str],
) -> Edit:
    """Return what the vendor changed.

    `now` are its fields as ours; `before` the same as it was last told them, for the fields `told`. `cells`
    names the cell of each field.
    """
    is_news = confirmed.seq > sighting.confirmed_seq
    shown = {**sighting.fields, **{name: before[name] for name in told if name in before and is_news}}
    changed = {name: value for name, value in now.items() if name not in shown or not same(shown[name], value)}
    base = {cells.get(name, name): sighting.base.get(cells.get(name, name), 0) for name in changed}
    for name in told & changed.keys():
        cell = cells.get(name, name)
        base[cell] = max(base[cell], confirmed.seq)
    base[ALIVE] = max(sighting.base.get(ALIVE, 0), confirmed.seq)
    # A group is judged whole: what the vendor had of its other members is said too.
    touched = {cells.get(name, name) for name in changed}
    was = {name: value for name, value in shown.items() if cells.get(name, name) in touched}
    return Edit(set=changed, was=was, base=base)


def after(
    now: Mapping[str, Any], version: str, verdict: MutationVerdict | None, *, before: Sighting, confirmed: Confirmed
) -> Sighting:
    """Return what the vendor is known to have seen once its edit was judged; without an edit, as before.

    What stood as it was written the vendor knows; what lost or was merged it has yet to be told.
    """
    base = dict(before.base)
    for cell, told in (verdict.cells if verdict else {}).items():
        if told.verdict in HELD:
            base[cell] = max(base.get(cell, 0), told.seq)
    return Sighting(
        version=version or before.version,
        fields={**before.fields, **now},
        base=base,
        confirmed_seq=max(before.confirmed_seq, confirmed.seq),
    )


def overlaid(record: Any, told: Any) -> Any:
    """Return the vendor's record with what it was told in place of what it has there now."""
    if isinstance(record, dict) and isinstance(told, dict):
        return {**record, **{key: overlaid(record.get(key), value) for key, value in told.items()}}
    if isinstance(record, list) and isinstance(told, list) and len(record) == len(told):
        return [overlaid(mine, theirs) for mine, theirs in zip(record, told, strict=True)]
    return told


def told_fields(into: IntoMapping, sent: Mapping[str, Any]) -> frozenset[str]:
    """Return which of our fields are read from places of the vendor's record that were sent to it."""
    leaves = tuple(_leaves(sent))
    return frozenset(row.target for row in into.rows if _reads(row, leaves))


def same(left: Any, right: Any) -> bool:
    """Tell whether two values mean the same: a number may be written as text, an instant in another zone."""
    if left == right and isinstance(left, bool) is isinstance(right, bool):
        return True
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    pair = _numbers(str(left), str(right)) if _is_number(left) or _is_number(right) else None
    return pair is not None and pair[0] == pair[1]


def _reads(row: Row, leaves: tuple[str, ...]) -> bool:
    if row.action == "static":
        return False
    if row.action == "jsonnet":
        return True
    places = [row.source.partition(":")[0], *row.sources]
    paths = [place.removeprefix("record.") for place in places if place.startswith("record.")]
    paths += [
        path.removeprefix("record.") for text in row.sources for kind, path in holes.named(text) if kind == "record"
    ]
    return any(_touch(path, leaf) for path in paths for leaf in leaves)


def _touch(path: str, leaf: str) -> bool:
    """Tell whether one of two paths leads to the other."""
    return path == leaf or path.startswith(f"{leaf}.") or leaf.startswith(f"{path}.")


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else key)
    elif path:
        yield path


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(left: str, right: str) -> tuple[Decimal, Decimal] | None:
    if _NUMBER.fullmatch(left) and _NUMBER.fullmatch(right):
        return Decimal(left), Decimal(right)
    return None


def _instants(left: str, right: str) -> tuple[datetime, datetime] | None:
    try:
        found = datetime.fromisoformat(left), datetime.fromisoformat(right)
    except ValueError:
        return None
    return found if (found[0].tzinfo is None) is (found[1].tzinfo is None) else None
