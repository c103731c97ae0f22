"""Reading the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias, get_args

import msgspec

from syncserver.commands.errors import BadFilter
from syncserver.store import audit

if TYPE_CHECKING:
    from syncserver.store.db import Database

LIMIT: Final = 100
LIMIT_MAX: Final = 1_000
ACTIONS: Final[tuple[str, ...]] = get_args(audit.Action)

Row: TypeAlias = audit.Row
Sought: TypeAlias = audit.Sought


class Found(msgspec.Struct, frozen=True):
    """A page of entries, newest first; `before` leads to the next one."""

    rows: list[Row]
    before: str | None


class AuditLog:
    """The audit log as one server process reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant_id: int, sought: Sought) -> Found:
        """Return a page of entries of a tenant."""
        return await page(self._database, tenant_id, sought)


async def page(database: Database, tenant_id: int, sought: Sought) -> Found:
    """Return a page of entries; raise `BadFilter` for an action that there is not."""
    if sought.action is not None and sought.action not in ACTIONS:
        raise BadFilter(f"action is {sought.action[:40]!r}; allowed: {', '.join(ACTIONS)}")
    more = msgspec.structs.replace(sought, limit=sought.limit + 1)
    found = await audit.listed(database, tenant_id, more)
    rows = found[: sought.limit]
    return Found(rows, rows[-1].id if len(found) > len(rows) else None)
