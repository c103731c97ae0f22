"""What is taken away once nobody needs it any more, a bounded number of rows at a time.

Each function works in the caller's transaction and returns how many rows it took.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from syncserver.store import statements
from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from syncserver.store.db import Connection

_SQL: Final = statements.of("upkeep")


async def due(
    connection: Connection, tenants: Sequence[int], tasks: Sequence[str], *, seconds: float, limit: int
) -> list[tuple[int, str]]:
    """Return the tasks of these tenants that were not done for so many seconds, the longest waiting first."""
    found = await connection.fetch(_SQL["due"], list(tenants), list(tasks), seconds, limit)
    return [(row["tenant_id"], row["task"]) for row in found]


async def claim(connection: Connection, lock: int, tenant_id: int) -> bool:
    """Take the lock of a task for one tenant until the transaction ends; False if another worker has it."""
    return bool(await connection.fetchval(_SQL["claim"], lock, tenant_id))


async def is_due(connection: Connection, tenant_id: int, task: str, *, seconds: float) -> bool:
    """Tell whether nobody did the task in these seconds; asked with its lock in hand."""
    return bool(await connection.fetchval(_SQL["is_due"], tenant_id, task, seconds))


async def done(connection: Connection, tenant_id: int, task: str) -> None:
    """Note that the task was done to its end."""
    await connection.execute(_SQL["done"], tenant_id, task)


async def prune_answers(connection: Connection, tenant_id: int, *, days: int, limit: int) -> int:
    """Forget answers that were kept under an idempotency key for so many days."""
    return int(await connection.fetchval(_SQL["prune_answers"], tenant_id, days, limit))


async def prune_marks(connection: Connection, tenant_id: int, *, oldest: str, limit: int) -> int:
    """Forget the marks of submissions below this one; a mark is a UUID in order of time."""
    return int(await connection.fetchval(_SQL["prune_marks"], tenant_id, oldest, limit))


async def prune_credentials(connection: Connection, tenant_id: int, *, days: int, limit: int) -> int:
    """Forget enrolment codes and tokens that have been good for nothing for so many days."""
    codes = int(await connection.fetchval(_SQL["prune_codes"], tenant_id, days, limit))
    if codes >= limit:
        return codes
    return codes + int(await connection.fetchval(_SQL["prune_tokens"], tenant_id, days, limit - codes))


async def trim_ledger(connection: Connection, tenant_id: int, *, limit: int) -> int:
    """Forget verdicts that their device has and that are in every backup offered for restore."""
    return int(await connection.fetchval(_SQL["trim_ledger"], tenant_id, limit))


async def note_seen(connection: Connection, rows: Iterable[tuple[int, int, int]]) -> None:
    """Store up to which n replicas have their verdicts: tenant, rid, n."""
    await connection.execute(_SQL["note_seen"], *columns(rows, 3))
