"""The audit log: who did what to the service itself, to which object, with what outcome, by which request.

A row is written in the transaction of what it tells of: both stand, or neither. It never holds a
secret, a name or a value of a record; an object is a kind and an id, an outcome is `done` or a code.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec
import structlog
from uuid_utils.compat import uuid7

from syncserver.store import statements
from syncserver.store.columns import columns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncserver.store.db import Connection, Database

Action: TypeAlias = Literal[
    "backfill_paused",
    "backfill_resumed",
    "backfill_started",
    "canary_named",
    "canary_removed",
    "catalog_published",
    "code_created",
    "conflict_settled",
    "conflict_undone",
    "connection_changed",
    "connection_made",
    "connection_paused",
    "connection_promoted",
    "connection_removed",
    "connection_resumed",
    "credentials_put",
    "dead_letter_done",
    "dead_letter_edited",
    "dead_letter_replanned",
    "dead_letter_retried",
    "dead_letter_skipped",
    "device_enrolled",
    "device_readmitted",
    "device_revoked",
    "device_wiped",
    "document_put",
    "endpoint_added",
    "endpoint_changed",
    "endpoint_pinged",
    "endpoint_removed",
    "endpoint_rotated",
    "held_discarded",
    "held_released",
    "hook_secret_put",
    "hook_secret_vouched",
    "inbox_replayed",
    "keys_rotated",
    "mapping_drafted",
    "mapping_published",
    "mapping_rolled_back",
    "messages_replayed",
    "person_put",
    "person_removed",
    "poll_asked",
    "sign_in",
    "sign_out",
    "signin_configured",
    "signin_removed",
    "tenant_created",
    "token_created",
    "token_revoked",
]

DONE: Final = "done"
REQUEST: Final = "request"
"""The key under which the id of a request stands in the context of the log."""

_SQL: Final = statements.of("audit")


class Actor(msgspec.Struct, frozen=True):
    """Who acted: a person of the tenant by their id, or else a part of the system by its name."""

    person: str | None = None
    system: str | None = None


OPERATOR: Final = Actor(system="operator")
"""Whoever runs commands beside the database: at the command line nobody shows a token."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be remembered. `object` is a kind and an id: `token:5f0e12ab44cd`.

    `request` is the id of the HTTP request; without it, the one that is being answered now.
    """

    tenant_id: int
    by: Actor
    action: Action
    object: str
    outcome: str = DONE
    request: str | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it is shown."""

    id: str
    at: datetime
    person: str | None
    system: str | None
    action: str
    object: str
    outcome: str
    request: str | None


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted: the newest `limit` that fit, before the entry `before`."""

    limit: int
    before: str | None = None
    action: str | None = None
    person: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def person(person_id: str) -> Actor:
    """Return a person of the tenant as the one who acted."""
    return Actor(person=person_id)


def request_id() -> str | None:
    """Return the id of the request that is being answered, if there is one."""
    return structlog.contextvars.get_contextvars().get(REQUEST)


async def record(connection: Connection, entry: Entry) -> None:
    """Write an entry in the caller's transaction, which must have named the tenant."""
    await record_all(connection, [entry])


async def record_all(connection: Connection, entries: Iterable[Entry]) -> None:
    """Write entries in the caller's transaction, which must have named their tenants."""
    await connection.execute(_SQL["add"], *columns(map(_row, entries), 8))


async def listed(database: Database, tenant_id: int, sought: Sought) -> list[Row]:
    """Return entries, newest first."""
    bounds = (sought.before, sought.action, sought.person, sought.since, sought.until)
    async with database.transaction(tenant_id) as connection:
        found = await connection.fetch(_SQL["listed"], tenant_id, *bounds, sought.limit)
    return [Row(id=row["entry_id"], **{name: row[name] for name in Row.__struct_fields__[1:]}) for row in found]


def _row(entry: Entry) -> tuple[int | str | None, ...]:
    return (
        entry.tenant_id,
        str(uuid7()),
        entry.by.person,
        entry.by.system,
        entry.action,
        entry.object,
        entry.outcome,
        entry.request or request_id(),
    )
