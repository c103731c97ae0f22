"""`fieldsync audit`: who did what to the service, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

import cyclopts
import msgspec
from cyclopts import validators

from syncserver.cli import aligned, outcome
from syncserver.commands import audit
from syncserver.store import db

NAMES: Final = ("at", "by", "action", "object", "outcome", "request")
Limit = Annotated[int, cyclopts.Parameter(validator=validators.Number(gte=1, lte=audit.LIMIT_MAX))]

app = cyclopts.App(name="audit", help="Print the audit log.")


@app.default
def listed(  # noqa: PLR0913  (each is an option of the command)
    *,
    tenant: int = 1,
    action: str | None = None,
    person: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: Limit = audit.LIMIT,
    json: bool = False,
) -> int:
    """Print entries of the audit log of a tenant, newest first.

    Parameters
    ----------
    tenant
        Number of the tenant.
    action
        Only entries of this action, like token_created.
    person
        Only what the person of this id did.
    since
        Only from this instant on, in UTC unless it names another zone.
    until
        Only before this instant.
    limit
        How many at most.
    json
        One JSON object a line.
    """
    sought = audit.Sought(limit=limit, action=action, person=person, since=_utc(since), until=_utc(until))
    return outcome.tell(outcome.asked(lambda database: _listed(database, tenant, sought, as_json=json), tenant))


async def _listed(database: db.Database, tenant_id: int, sought: audit.Sought, *, as_json: bool) -> str:
    found = (await audit.page(database, tenant_id, sought)).rows
    if as_json:
        return "\n".join(msgspec.json.encode(row).decode() for row in found)
    rows = ((row.at, row.person or row.system, row.action, row.object, row.outcome, row.request) for row in found)
    return aligned.table(NAMES, rows)


def _utc(given: datetime | None) -> datetime | None:
    return given.replace(tzinfo=UTC) if given is not None and given.tzinfo is None else given
