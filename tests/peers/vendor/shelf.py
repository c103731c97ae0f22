"""What a vendor keeps: rows with ids and versions, seen by searches after a while.

A shelf takes what it is given, twice if it is given twice. Only where the vendor knows a repeated key
(`keyed`) is the second one the first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any


@dataclass
class Stored:
    """A row. `searchable_at` is when a search begins to show it."""

    id: str
    version: int
    fields: dict[str, Any]
    searchable_at: float
    voided: bool = False
    writes: int = 1

    @property
    def shown(self) -> dict[str, Any]:
        """The row as the vendor shows it."""
        return {**self.fields, "id": self.id, "version": str(self.version)}


class Shelf:
    """The rows of one kind of object."""

    def __init__(self, prefix: str, *, lag_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.rows: dict[str, Stored] = {}
        self.keyed: dict[str, tuple[str, dict[str, Any]]] = {}
        """For each repeated key that the vendor knows: the id, and what was answered."""
        self._prefix = prefix
        self._lag_seconds = lag_seconds
        self._clock = clock
        self._numbers = count(1)

    def add(self, fields: dict[str, Any], row_id: str | None = None) -> Stored:
        """Put a new row there, under an id of the vendor's own or a given one."""
        made = row_id or f"{self._prefix}{next(self._numbers)}"
        row = Stored(made, 1, fields, self._clock() + self._lag_seconds)
        self.rows[made] = row
        return row

    def change(self, row: Stored, fields: dict[str, Any]) -> Stored:
        """Write over what is in a row."""
        row.fields = {**row.fields, **fields}
        row.version += 1
        row.writes += 1
        row.voided = False
        return row

    def search(self, path: str, value: str) -> list[Stored]:
        """Return the rows that have this value, as far as the index knows them by now."""
        now = self._clock()
        return [
            row
            for row in self.rows.values()
            if row.searchable_at <= now and str(row.fields.get(path)) == value and not row.voided
        ]

    def counted(self, path: str) -> Counter[str]:
        """Return how many rows there are for each value: more than one for a business key is a duplicate."""
        return Counter(str(row.fields.get(path)) for row in self.rows.values() if not row.voided)
