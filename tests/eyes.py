"""What was on a device's screen: explicit sets of writes, kept without any number line.

Each device of a history has a pair of eyes. They are told what the device is told, and say of each
edit which writes of its cells its person had been shown. While an edit of a cell has no verdict,
later edits of that cell had seen what the first one had: what came in between is kept beneath it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.oracle_cell import NOTHING, Key, Known

ALIVE: Final = "$alive"


@dataclass(frozen=True)
class Glance:
    """What an unanswered edit had seen, by cell. `cells` are those that it writes."""

    key: Key
    cells: frozenset[str]
    seen: Mapping[str, Known]


@dataclass
class Eyes:
    """The eyes of one device. `before` has what was seen of records of which the hub forgot what it had told."""

    shown: dict[Key, dict[str, Known]] = field(default_factory=dict)
    held: dict[Key, int] = field(default_factory=dict)
    waiting: dict[int, Glance] = field(default_factory=dict)
    before: dict[Key, dict[str, Known]] = field(default_factory=dict)

    def look(self, key: Key, state: Mapping[str, Known], moment: int) -> None:
        """Be shown a whole record as it was at a moment."""
        # What stands on the screen now is older than what stood there: that has gone again.
        self.before.pop(key, None)
        for cell, known in state.items():
            self.hear(key, cell, known)
        self.held[key] = max(moment, self.held.get(key, 0))

    def hear(self, key: Key, cell: str, known: Known) -> None:
        """Be told of one cell."""
        cells = self.shown.setdefault(key, {})
        cells[cell] = cells.get(cell, NOTHING) | known

    def doubt(self, key: Key) -> None:
        """Know that the hub may have forgotten what it had told of a record."""
        seen = {cell: self._saw(key, cell) for cell in {*self.shown.get(key, {}), *self.before.get(key, {})}}
        self.shown.pop(key, None)
        self.held.pop(key, None)
        self.before[key] = seen

    def forget(self, key: Key) -> None:
        """Lose a record out of sight."""
        self.shown.pop(key, None)
        self.held.pop(key, None)
        self.before.pop(key, None)

    def edit(self, n: int, key: Key, cells: frozenset[str]) -> tuple[Mapping[str, Known], int]:
        """Return what an edit of these cells has seen of each cell, and when the record was last shown whole."""
        waiting = (glance.cells for glance in self.waiting.values() if glance.key == key)
        known = {*self.shown.get(key, {}), *self.before.get(key, {})}.union(*waiting)
        seen = {cell: self._seen(key, cell) for cell in {*known, *cells, ALIVE}}
        self.waiting[n] = Glance(key, cells, seen)
        return seen, self.held.get(key, 0)

    def answered(self, n: int) -> None:
        """Know that an edit has its verdict."""
        self.waiting.pop(n, None)

    def _seen(self, key: Key, cell: str) -> Known:
        for n in sorted(self.waiting):
            glance = self.waiting[n]
            if glance.key == key and (cell == ALIVE or cell in glance.cells):
                return glance.seen.get(cell, NOTHING)
        return self._saw(key, cell)

    def _saw(self, key: Key, cell: str) -> Known:
        return self.shown.get(key, {}).get(cell, NOTHING) | self.before.get(key, {}).get(cell, NOTHING)
