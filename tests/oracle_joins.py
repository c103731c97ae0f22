"""What one value two become, as dumbly as it can be worked out. Shares no code with `replication`."""

from __future__ import annotations

import re
from decimal import Decimal
from difflib import SequenceMatcher
from itertools import pairwise, product
from typing import Any, Final

from tests.oracle_values import Table, difference, done, tidy

NOT_ONE: Final = object()
"""Stands for: there is no one value that says both."""

BY_VALUE: Final = frozenset({"max", "min", "lattice"})


def united(rule: Table, current: Any, value: Any, op: Table | None, was: Any, missing: object) -> Any:
    """Return the one value of both, by the merge of the field; NOT_ONE if there is none."""
    merge = rule.get("merge")
    if merge is None:
        return NOT_ONE
    if merge in BY_VALUE:
        return of_two(rule, current, value)
    if op is None and (was is missing or value is None):
        return NOT_ONE
    if merge == "text3":
        return of_three(rule, was or "", value, current or "")
    step = op if op is not None else difference(rule["kind"], was, value)
    return NOT_ONE if step is None else done(rule, current, step)


def of_two(rule: Table, one: Any, other: Any) -> Any:
    """Return what needs no more than the two values: nothing at all is below everything."""
    if one is None or other is None:
        return other if one is None else one
    if rule["merge"] == "lattice":
        return lowest_above(rule["order"], one, other)
    first, last = (other, one) if size(rule, one) > size(rule, other) else (one, other)
    return last if rule["merge"] == "max" else first


def size(rule: Table, value: Any) -> Any:
    """Return what can be compared: days and moments sort as they are written."""
    return Decimal(value) if rule["kind"] == "decimal" else value


def lowest_above(chains: list[list[str]], one: str, other: str) -> Any:
    """Try every choice: which are above both, and which of these is below all the others."""
    names = {name for chain in chains for name in chain} | {one, other}
    above = [each for each in sorted(names) if climbs(chains, one, each) and climbs(chains, other, each)]
    lowest = [each for each in above if all(climbs(chains, each, more) for more in above)]
    return lowest[0] if len(lowest) == 1 else NOT_ONE


def climbs(chains: list[list[str]], low: str, high: str) -> bool:
    """Tell whether there is a way up from one choice to another."""
    reached = {low}
    for _, chain in product(range(len(chains) + 1), chains):
        for step, following in pairwise(chain):
            if step in reached:
                reached.add(following)
    return high in reached


def of_three(rule: Table, was: str, one: str, other: str) -> Any:
    """Return a text with what two writers changed of the old one, if they changed it in different places.

    The old text is laid out in words, with a gap before each and one at the end. Each writer leaves
    a word, takes it away or puts others into a gap. Two who touch one place, or two neighbouring ones,
    without doing the very same, are in each other's way.
    """
    old = re.findall(r"\s+|\S+", was)
    mine, theirs = (edits(old, re.findall(r"\s+|\S+", text)) for text in (one, other))
    for edit, against in product(mine, theirs):
        if edit != against and touches(edit, against):
            return NOT_ONE
    words = list(old)
    for start, end, new in sorted({*mine, *theirs}, reverse=True):
        words[start:end] = new
    return tidy(rule, "".join(words))


def edits(old: list[str], new: list[str]) -> list[tuple[int, int, tuple[str, ...]]]:
    """Return which words were taken out, from where to where, and what was put there.

    Where a word stands twice there are several right answers; the texts of histories have each word once.
    """
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    found, at, to = [], 0, 0
    for start, place, size_of in blocks:
        if (at, to) != (start, place):
            found.append((at, start, tuple(new[to:place])))
        at, to = start + size_of, place + size_of
    return found


def touches(one: tuple[int, int, tuple[str, ...]], other: tuple[int, int, tuple[str, ...]]) -> bool:
    """Tell whether no old word stands between two edits."""
    return max(one[0], other[0]) <= min(one[1], other[1])
