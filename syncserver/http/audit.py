"""The audit log for administrators: who did what to the service itself."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec
from litestar import Response, Router, get

from syncserver.commands import audit
from syncserver.commands.audit import Sought
from syncserver.http import body, parts, query
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.problems import Problem

PERSON_CHARACTERS_MAX: Final = 200


class AuditItem(msgspec.Struct, frozen=True, kw_only=True):
    """An entry. Either a person acted or a part of the system; `outcome` is `done` or a code."""

    id: str
    at: datetime
    person: str | None
    system: str | None
    action: str
    object: str
    outcome: str
    request: str | None


class AuditPage(msgspec.Struct, frozen=True):
    """A page of entries, newest first."""

    items: list[AuditItem]
    cursor: str | None


_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
NAMES: Final = {
    "limit": "how many at most",
    "cursor": "the cursor of the answer before",
    "action": f"only one of {', '.join(audit.ACTIONS)}",
    "person": "only what this person did",
    "since": "only from this instant on, like 2026-01-31T08:00:00Z",
    "until": "only before this instant",
}
LIST: Final = Operation(
    summary="The audit log, newest first.", right="audit", gives=AuditPage, query=NAMES, problems=("bad_filter",)
)


@get("/v1/audit", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List entries."""
    asked = query.known(request, NAMES)
    sought = Sought(
        limit=query.number(asked.get("limit"), audit.LIMIT, audit.LIMIT_MAX),
        before=_cursor(asked.get("cursor")),
        action=asked.get("action") or None,
        person=_person(asked.get("person")),
        since=query.instant("since", asked.get("since")),
        until=query.instant("until", asked.get("until")),
    )
    found = await parts.found(request).audit.page(request.auth.tenant_id, sought)
    page = AuditPage([_listed(row) for row in found.rows], found.before)
    return body.answer(request, msgspec.json.encode(page))


def _cursor(text: str | None) -> str | None:
    if text and _UUID.fullmatch(text) is None:
        raise Problem("bad_filter", "the cursor is not one that a list has given")
    return text or None


def _person(text: str | None) -> str | None:
    if text and (len(text) > PERSON_CHARACTERS_MAX or not text.isprintable()):
        raise Problem("bad_filter", "person is no id")
    return text or None


def _listed(row: audit.Row) -> AuditItem:
    return AuditItem(**msgspec.structs.asdict(row))


ROUTER: Final = Router("/", route_handlers=[listed])
