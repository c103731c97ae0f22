"""Writes to dictionaries that can be taken back: what a tx is carried out on.

A tx is judged on the state itself, each of its mutations after those before it. If one of them
cannot be meant, these put back whatever stood there before, so that nothing of it is left.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_ABSENT: Final = object()


class Tentative:
    """What stood in the dictionaries before, in the order in which it was written over."""

    def __init__(self) -> None:
        self._old: list[tuple[dict[Any, Any], Any, Any]] = []

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Write an entry."""
        self._old.append((table, key, table.get(key, _ABSENT)))
        table[key] = value

    def drop(self, table: dict[K, V], key: K) -> V | None:
        """Remove an entry, and return it if there was one."""
        if key not in table:
            return None
        self._old.append((table, key, table[key]))
        return table.pop(key)

    def begin(self) -> None:
        """Forget what was written before: from here on it can be taken back."""
        self._old.clear()

    def undo(self) -> None:
        """Put back all that was written over since it began."""
        for table, key, old in reversed(self._old):
            if old is _ABSENT:
                del table[key]
            else:
                table[key] = old
        self._old.clear()
