"""The database as `upstream` sees it, and its SQL files, read once.

Whoever puts a process together gives the pools; `syncserver.store.db.Database` is such a one. Each
transaction names its tenants, and sees the rows of no other. No statement is ever built from strings.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    Session = PoolConnectionProxy[asyncpg.Record]

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

COMMITTERS_LOCK: Final = 1718839411
"""First half of each tenant's advisory lock under which groups are settled; the second is the tenant."""


class Database(Protocol):
    """Transactions that name their tenants."""

    def transaction(self, *tenants: int, snapshot: bool = False) -> AbstractAsyncContextManager[Session]:
        """Open a transaction for these tenants; as a `snapshot` it only reads, and one moment."""
        ...


@cache
def statements(topic: str) -> dict[str, str]:
    """Return the statements of `sql/<topic>.sql` by name: each stands after a line `-- name: …`."""
    text = (resources.files("upstream") / "sql" / f"{topic}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    assert len(set(names)) == len(names), f"{topic}.sql names a statement twice"
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


def columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    """Return rows turned into `width` columns, which `unnest` makes rows of again."""
    return list(zip(*rows, strict=True)) or [()] * width


def as_json(value: Any) -> str:
    """Return a value as the text that a `jsonb` argument takes; keys in order, so that equal is equal."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def from_json(text: str | None) -> Any:
    """Return what a `jsonb` column holds, or None."""
    return None if text is None else json.loads(text)
