"""What one value is made of two that did not know each other, by the merge of their cell.

Some merges take two values and need no more: the greater, the lesser, the least one above both in a
lattice. The others have to know what was done: an operation, or the value from which the writer
started. Which it is decides what a vector may take in (`replication.merge`).
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication import kinds, text3

if TYPE_CHECKING:
    from collections.abc import Iterable

    from replication.catalog import Field, Merge

MISSING: Final = msgspec.UNSET


def joined(field: Field, merge: Merge, current: Any, value: Any) -> Any:
    """Return what `max`, `min` or `lattice` make of two values. Nothing at all is below everything."""
    if current is None or value is None:
        return value if current is None else current
    try:
        current = kinds.canonical(field, current)
    except kinds.BadValue:
        return MISSING  # the field had another kind when this was stored
    if merge == "lattice":
        return least_above(field.order, current, value)
    first, second = sorted((current, value), key=lambda each: Decimal(each) if field.kind == "decimal" else each)
    return second if merge == "max" else first


def worked_in(field: Field, current: Any, value: Any, was: Any) -> Any:
    """Return the text with what the writer changed since `was`; MISSING where that cannot be told."""
    if was is MISSING or value is None:
        return MISSING
    text = text3.merge(str(was or ""), str(value), str(current or ""))
    return MISSING if text is None else kinds.canonical(field, text)


def least_above(order: Iterable[Iterable[str]], one: str, other: str) -> Any:
    """Return the least choice that is above both; MISSING if the chains have none, or several."""
    ups = above(order)
    both = ups.get(one, {one}) & ups.get(other, {other})
    least = [each for each in both if both <= ups.get(each, {each})]
    return least[0] if len(least) == 1 else MISSING


def above(order: Iterable[Iterable[str]]) -> dict[str, set[str]]:
    """Return for each choice those at or above it, by all chains together."""
    ups: dict[str, set[str]] = {}
    for chain in order:
        steps = list(chain)
        for step in steps:
            ups.setdefault(step, {step})
        for low, high in pairwise(steps):
            ups[low].add(high)
    for _ in ups:
        for step, known in ups.items():
            ups[step] = known.union(*(ups[each] for each in known))
    return ups
