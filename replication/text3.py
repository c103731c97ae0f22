"""Two edits of one text that did not know each other, made one: the three-way merge.

Both are compared with the text they started from, word by word; white space counts as words, so that
nothing is lost. What only one of them changed is taken from that one. Where both changed the same
words, or changes meet without a word between them, there is no right answer and none is given.

The way follows diff3 (Khanna, Kunal, Pierce: A Formal Investigation of Diff3, 2007), the comparison
is the greedy one of Myers (An O(ND) Difference Algorithm and Its Variations, 1986). It is given up
after `STEPS_MAX` steps, because texts come from anybody and everybody waits.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS_MAX: Final = 20_000
"""How many steps the comparison of two texts may take, some milliseconds; then it goes by lines, then not at all."""

_WORDS: Final = re.compile(r"\s+|[^\s]+")


class Change(NamedTuple):
    """Words from `start` up to `end` of the old text, and what stands in their place."""

    start: int
    end: int
    words: tuple[str, ...]


def merge(was: str, one: str, other: str) -> str | None:
    """Return the text with the changes of both, or None if they touch each other."""
    for cut in (_WORDS.findall, lambda text: text.splitlines(keepends=True)):
        old = cut(was)
        mine, theirs = changes(old, cut(one)), changes(old, cut(other))
        if mine is not None and theirs is not None:
            return _united(old, sorted({*mine, *theirs}))
    return None


def changes(old: Sequence[str], new: Sequence[str]) -> list[Change] | None:
    """Return what leads from one list of words to the other, as few words as possible; None if it is too much work."""
    head, tail = _alike(old, new)
    middle = _matches(old[head : len(old) - tail], new[head : len(new) - tail])
    if middle is None:
        return None
    ends = [(head + x, head + y) for x, y in middle] + [(len(old) - tail, len(new) - tail)]
    found, at = [], (head, head)
    for x, y in ends:
        if (x, y) != at:
            found.append(Change(at[0], x, tuple(new[at[1] : y])))
        at = (x + 1, y + 1)
    return found


def _united(old: Sequence[str], edits: list[Change]) -> str | None:
    if any(after.start <= before.end for before, after in pairwise(edits)):
        return None
    words, place = [], 0
    for edit in edits:
        words += [*old[place : edit.start], *edit.words]
        place = edit.end
    return "".join([*words, *old[place:]])


def _alike(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """Return how many words are the same at the beginning, and how many of the rest at the end."""
    least = min(len(old), len(new))
    head = next((i for i in range(least) if old[i] != new[i]), least)
    least -= head
    return head, next((i for i in range(least) if old[-1 - i] != new[-1 - i]), least)


def _matches(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]] | None:
    """Return the places of the words that stay, in order; None after too many steps."""
    reached: dict[int, int] = {1: 0}
    trail: list[dict[int, int]] = []
    steps = 0
    for edits in range(len(old) + len(new) + 1):
        trail.append(dict(reached))
        steps += edits
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and reached.get(diagonal - 1, -1) < reached.get(diagonal + 1, -1)
            )
            x = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            y = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y, steps = x + 1, y + 1, steps + 1
            reached[diagonal] = x
            if x >= len(old) and y >= len(new):
                return _walked_back(trail, len(old), len(new))
        if steps > STEPS_MAX:
            return None
    return []


def _walked_back(trail: list[dict[int, int]], x: int, y: int) -> list[tuple[int, int]]:
    """Return the words that stay on the way that led to the end."""
    kept: list[tuple[int, int]] = []
    for edits in range(len(trail) - 1, -1, -1):
        reached, diagonal = trail[edits], x - y
        down = diagonal == -edits or (
            diagonal != edits and reached.get(diagonal - 1, -1) < reached.get(diagonal + 1, -1)
        )
        before = diagonal + 1 if down else diagonal - 1
        start = reached[before] + (0 if down else 1)
        while x > start:
            x, y = x - 1, y - 1
            kept.append((x, y))
        x = reached[before]
        y = x - before
    return kept[::-1]
