"""Records: what is known now. Read and written whole by groups, queried by the office."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication.record import Cell, Record, fields
from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from replication.state import State

Row = tuple[Any, ...]

_CELLS: Final = msgspec.msgpack.Decoder(dict[str, Cell])


def decode_cells(packed: bytes) -> dict[str, Cell]:
    """Return the cells of a record from the form in which they are stored."""
    return _CELLS.decode(packed)


def load(states: Mapping[int, State], rows: Iterable[Row]) -> None:
    """Give each state the records that were read for its tenant."""
    for tenant, collection, record_id, rev, cells in rows:
        record = Record(collection, record_id, rev, decode_cells(cells))
        states[tenant].records[collection, record_id] = record


def columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of the records that a group changed."""
    return columns(_rows(states), 7)


def _rows(states: Mapping[int, State]) -> Iterator[Row]:
    for tenant, state in states.items():
        for (collection, record_id), record in state.effects.records.items():
            visible = msgspec.json.encode(fields(record, state.catalog.collections[collection])).decode()
            cells = msgspec.msgpack.encode(record.cells)
            yield tenant, collection, record_id, record.rev, record.alive, visible, cells
