"""Two edits of one text that did not know each other, made one: the three-way merge.

Both are compared with the text they started from, word by word; white space counts as words, so that
nothing is lost. What only one of them changed is taken from that one. Where both changed the same
words, or changes meet without a word between them, there is no right answer and none is given.

The way follows diff3 (Khanna, Kunal, Pierce: A Formal Investigation of Diff3, 2007).
"""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPARISONS_MAX: Final = 250_000
"""How many pairs of equal words a comparison may have to look at; longer texts go by lines."""

_WORDS: Final = re.compile(r"\s+|[^\s]+")


class Change(NamedTuple):
    """Words from `start` up to `end` of the old text, and what stands in their place."""

    start: int
    end: int
    words: tuple[str, ...]


def merge(was: str, one: str, other: str) -> str | None:
    """Return the text with the changes of both, or None if they touch each other."""
    parts = _parts(was, one, other)
    if parts is None:
        return None
    old, mine, theirs = parts
    changes = sorted({*_changes(old, mine), *_changes(old, theirs)})
    if any(_touch(before, after) for before, after in pairwise(changes)):
        return None
    words, place = [], 0
    for change in changes:
        words += [*old[place : change.start], *change.words]
        place = change.end
    return "".join([*words, *old[place:]])


def _parts(*texts: str) -> list[list[str]] | None:
    """Cut the texts into words, or into lines where words would be too many to compare."""
    for cut in (_WORDS.findall, lambda text: text.splitlines(keepends=True)):
        old, *edited = [cut(text) for text in texts]
        if all(_comparisons(old, each) <= COMPARISONS_MAX for each in edited):
            return [old, *edited]
    return None


def _comparisons(old: Sequence[str], new: Sequence[str]) -> int:
    counts = Counter(old)
    return sum(counts[word] for word in new)


def _changes(old: Sequence[str], new: Sequence[str]) -> list[Change]:
    steps = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [Change(a, b, tuple(new[c:d])) for how, a, b, c, d in steps if how != "equal"]


def _touch(before: Change, after: Change) -> bool:
    """Whether two different changes share words, or meet with no old word between them."""
    return after.start <= before.end
