"""Who wrote each cell of the records of a page, for whoever judges cell by cell what it has seen.

The cells are read as they are now. One that was installed after the rev that is told is left out: its
value is told later, and its version with it. Of the others the winner is the one whose value is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from replication import wire
from replication.record import ALIVE
from syncserver.store import feed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from replication.catalog import Catalog
    from replication.record import Cell
    from replication.rows import Key
    from syncserver.store.db import Connection


class Versions:
    """The versions of some records. Each can be told, and how many bytes telling it takes."""

    def __init__(self, catalog: Catalog | None) -> None:
        self._catalog = catalog
        self._known: dict[Key, dict[str, Cell]] = {}

    async def read(self, connection: Connection, tenant_id: int, keys: Iterable[Key]) -> None:
        """Read the cells of these records, too."""
        missing = set(keys) - self._known.keys()
        if missing:
            self._known |= await feed.cells(connection, tenant_id, missing)

    def of(self, key: Key, rev: int) -> dict[str, wire.CellVersion]:
        """Return the version of each cell as it stood at this rev, groups under their own name."""
        collection = self._catalog.collections.get(key[0]) if self._catalog else None
        names = {ALIVE, *(collection.cells if collection else ())}
        cells = self._known.get(key, {})
        return {name: _version(cell, rev) for name, cell in cells.items() if cell.seq <= rev and name in names}

    def size(self, key: Key, rev: int) -> int:
        """Return how many bytes the versions take in a page."""
        return len(msgspec.json.encode(self.of(key, rev)))

    def dressed(self, commit: wire.Commit) -> wire.Commit:
        """Return the commit with the versions beside the fields of each record."""
        changes = (
            each
            if each.fields is msgspec.UNSET
            else msgspec.structs.replace(each, versions=self.of((each.collection, each.id), each.rev))
            for each in commit.changes
        )
        return msgspec.structs.replace(commit, changes=tuple(changes))


def _version(cell: Cell, rev: int) -> wire.CellVersion:
    waiting = tuple(wire.SiblingVersion(each.stamp.dot, each.value) for each in cell.siblings if each.seq <= rev)
    return wire.CellVersion(dot=cell.stamp.dot, seq=cell.seq, vv=cell.vv, siblings=waiting)
