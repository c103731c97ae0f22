"""What a vendor's system wrote and what did not stand: it is told what stands instead.

The outbox sends no echo: a change is not told to the system that made it, because that system has it
already. That holds only where all it wrote was taken as it is. Where the hub made another value of it
(`merged`), where it lost (`superseded`), waits (`parked`) or was not its to write (`not_owner`), the
system shows one thing and we another, and nothing later would bring the two together. A value that
cannot be ours at all is no such case: what it is in that system stays a matter of that system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from replication.state import State
    from replication.verdict import CellVerdict

CONNECTION: Final = "connection"
"""The kind of replica in whose name a vendor's system writes."""

ANOTHER_STANDS: Final = frozenset({"merged", "superseded", "parked"})


def columns_of(states: Mapping[int, State]) -> list[Sequence[Any]]:
    """Return the columns of what is told back: tenant, collection, id, rev, and the replica that wrote it."""
    return columns(_rows(states), 5)


def _rows(states: Mapping[int, State]) -> Iterator[tuple[Any, ...]]:
    for tenant, state in states.items():
        systems = {rid for rid, replica in state.replicas.items() if replica.kind == CONNECTION}
        for row in state.effects.ledger if systems else ():
            verdict = row.verdict
            if row.dot.rid in systems and any(map(_another_stands, verdict.cells.values())):
                yield tenant, verdict.collection, verdict.id, verdict.rev, row.dot.rid


def _another_stands(cell: CellVerdict) -> bool:
    return cell.verdict in ANOTHER_STANDS or cell.code == "not_owner"
