"""The office's records: lists, one record, writes, history, and the three verbs of a work order."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath

from syncserver.commands.office import HISTORY_LIMIT_MAX, LIST_LIMIT, LIST_LIMIT_MAX, MOVED_AFTER, Ask
from syncserver.commands.office import assign as assigned
from syncserver.commands.office import cancel as cancelled
from syncserver.http import body, parts, query, writing
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.problems import Problem
from syncserver.http.writing import PROBLEMS_OF_WRITES, WRITE_HEADERS, Written

WORK_ORDERS: Final = "work_orders"
READING: Final = ("unknown_collection", "unknown_record", "not_found", "no_catalogue")
PAGING: Final = {"limit": "how many at most", "cursor": "the cursor of the answer before"}


class Assign(msgspec.Struct, frozen=True):
    """Who is to do it; null takes it from everybody. Without a crew the crew stays."""

    assignee_id: str | None
    crew: list[str] | None = None


class Reschedule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When it is to be done. What is left out stays."""

    window_start: str | msgspec.UnsetType | None = msgspec.UNSET
    window_end: str | msgspec.UnsetType | None = msgspec.UNSET
    time_zone: str | msgspec.UnsetType | None = msgspec.UNSET


class Cancel(msgspec.Struct, frozen=True):
    """Why it is not to be done, kept as the summary."""

    reason: str | None = None


class CellPast(msgspec.Struct, frozen=True, kw_only=True):
    """One write of a cell that changed the record."""

    seq: int
    op: str
    verdict: str
    value: Any
    dot: tuple[int, int]
    rule: str | None
    person: str
    authority: str
    at: int | None
    received_at: datetime
    tx: str | None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What was written on a record, cell by cell, newest first."""

    id: str
    rev: int
    cells: dict[str, list[CellPast]]
    cursor: str | None


_ASSIGN: Final = msgspec.json.Decoder(Assign)
_RESCHEDULE: Final = msgspec.json.Decoder(Reschedule)
_CANCEL: Final = msgspec.json.Decoder(Cancel)


def _writes(
    summary: str, takes: Any, *, headers: tuple[str, ...] = WRITE_HEADERS, only: str | None = None
) -> dict[str, Operation]:
    return opt(
        Operation(
            summary=summary,
            right="write",
            takes=takes,
            gives=Written,
            headers=headers,
            problems=PROBLEMS_OF_WRITES,
            only=only,
        )
    )


LIST: Final = Operation(
    summary="List living records by id. Any field of the collection filters: ?status=open; empty means null.",
    right="read",
    gives="RecordPage",
    query={**PAGING, MOVED_AFTER: "only those that changed after this rev"},
    problems=("unknown_collection", "bad_filter", "not_found", "no_catalogue"),
)
ONE: Final = Operation(summary="Fetch a record.", right="read", gives="Record", problems=(*READING, "record_deleted"))
PAST: Final = Operation(
    summary="What was written on a record, cell by cell, newest first.",
    right="read",
    gives=History,
    query=PAGING,
    problems=(*READING, "bad_filter"),
)


@get("/v1/{collection:str}", opt=opt(LIST))
async def listed(request: Asking, collection: FromPath[str]) -> Response[bytes]:
    """List records."""
    own, asked = parts.found(request), query.given(request)
    limit, after = query.number(asked.pop("limit", None), LIST_LIMIT, LIST_LIMIT_MAX), asked.pop("cursor", None)
    found = await own.office.records(request.auth, collection, asked, after=after or None, limit=limit + 1)
    items = [_shown(item.id, item.rev, item.fields) for item in found[:limit]]
    cursor = found[limit - 1].id if len(found) > limit else None
    return body.answer(request, msgspec.json.encode({"items": items, "cursor": cursor}))


@post("/v1/{collection:str}", opt=_writes("Make a record.", "Write", headers=(writing.KEY_HEADER,)), status_code=200)
async def create(request: Asking, collection: FromPath[str]) -> Response[bytes]:
    """Make a record."""
    own, under = parts.found(request), writing.key(request)
    asked = await writing.wanted(request, own)
    record_id = writing.new_id(request.auth, asked.id, under)
    ask = Ask(op="create", collection=collection, id=record_id, set=asked.set, do=asked.do, was=asked.was, key=under)
    return await writing.write(request, own, ask)


@get("/v1/{collection:str}/{record_id:str}", opt=opt(ONE))
async def one(request: Asking, collection: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Fetch a record."""
    found = await parts.found(request).office.record(request.auth, collection, record_id.lower())
    if not found.alive:
        members = {"id": found.id, "rev": found.rev}
        raise Problem("record_deleted", f"it was deleted at rev {found.rev}", members, headers=writing.etag(found.rev))
    return body.answer(request, bytes(_shown(found.id, found.rev, found.fields)), writing.etag(found.rev))


@patch("/v1/{collection:str}/{record_id:str}", opt=_writes("Change fields of a record.", "Write"))
async def change(request: Asking, collection: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Change fields."""
    own, rev = parts.found(request), writing.rev_shown(request)
    asked = await writing.wanted(request, own)
    if asked.id is not None and asked.id.lower() != record_id.lower():
        raise Problem("bad_id", "the id of the body is not that of the path")
    return await _write(request, collection, record_id, rev, set=asked.set, do=asked.do, was=asked.was)


@delete("/v1/{collection:str}/{record_id:str}", opt=_writes("Delete a record.", None), status_code=200)
async def remove(request: Asking, collection: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Delete a record."""
    return await _write(request, collection, record_id, writing.rev_shown(request), op="delete")


@get("/v1/{collection:str}/{record_id:str}/history", opt=opt(PAST))
async def history(request: Asking, collection: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Tell what was written on a record."""
    own, asked = parts.found(request), query.known(request, PAST.query)
    limit, record_id = query.number(asked.get("limit"), LIST_LIMIT, HISTORY_LIMIT_MAX), record_id.lower()
    before = query.number(asked.get("cursor"), 0, 2**63 - 1) or None
    record = await own.office.record(request.auth, collection, record_id)
    found = await own.office.history(request.auth, collection, record_id, before=before, limit=limit + 1)
    cells: dict[str, list[CellPast]] = {}
    for past in found[:limit]:
        for name, cell in past.cells.items():
            cells.setdefault(name, []).append(
                CellPast(
                    seq=past.seq,
                    op=past.op,
                    verdict=cell.verdict,
                    value=cell.value,
                    dot=cell.dot,
                    rule=cell.rule,
                    person=past.person,
                    authority=cell.authority or past.authority,
                    at=past.at,
                    received_at=past.received_at,
                    tx=past.tx,
                )
            )
    cursor = str(found[limit - 1].seq) if len(found) > limit else None
    answer = History(id=record.id, rev=record.rev, cells=cells, cursor=cursor)
    return body.answer(request, msgspec.json.encode(answer))


@post(
    "/v1/{collection:str}/{record_id:str}/assign",
    opt=_writes("Give a work order to a technician.", Assign, only=WORK_ORDERS),
    status_code=200,
)
async def assign(request: Asking, collection: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Give a work order to a technician."""
    rev = _of_work_order(request, collection)
    own = parts.found(request)
    asked = await body.decoded(request, own.limits.bytes, _ASSIGN)
    ask = _ask(request, collection, record_id, rev, set=assigned(asked.assignee_id, asked.crew))
    await own.office.check_assignee(request.auth, ask, asked.assignee_id)
    return await writing.write(request, own, ask)


@post(
    "/v1/{collection:str}/{record_id:str}/reschedule",
    opt=_writes("Move the window of a work order.", Reschedule, only=WORK_ORDERS),
    status_code=200,
)
async def reschedule(request: Asking, collection: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Move the window of a work order."""
    rev = _of_work_order(request, collection)
    own = parts.found(request)
    asked = await body.decoded(request, own.limits.bytes, _RESCHEDULE)
    ask = _ask(request, collection, record_id, rev, set=msgspec.to_builtins(asked))
    await own.office.check_window(request.auth, ask)
    return await writing.write(request, own, ask)


@post(
    "/v1/{collection:str}/{record_id:str}/cancel",
    opt=_writes("Cancel a work order.", Cancel, only=WORK_ORDERS),
    status_code=200,
)
async def cancel(request: Asking, collection: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Cancel a work order."""
    rev = _of_work_order(request, collection)
    sent = await body.read(request, parts.found(request).limits.bytes)
    asked = body.message(sent, _CANCEL) if sent else Cancel()
    return await _write(request, collection, record_id, rev, set=cancelled(asked.reason))


async def _write(
    request: Asking, collection: str, record_id: str, rev: int, *, op: str = "set", **wanted: dict[str, Any]
) -> Response[bytes]:
    ask = _ask(request, collection, record_id, rev, op=op, **wanted)
    return await writing.write(request, parts.found(request), ask)


def _ask(
    request: Asking, collection: str, record_id: str, rev: int, *, op: str = "set", **wanted: dict[str, Any]
) -> Ask:
    return Ask(op=op, collection=collection, id=record_id.lower(), rev=rev, key=writing.key(request), **wanted)


def _of_work_order(request: Asking, collection: str) -> int:
    if collection != WORK_ORDERS:
        raise Problem("not_found", f"only {WORK_ORDERS} can be assigned, rescheduled or cancelled")
    return writing.rev_shown(request)


def _shown(record_id: str, rev: int, fields: msgspec.Raw) -> msgspec.Raw:
    """Put id and rev in front of the fields, which stay the bytes that the database gave."""
    head = msgspec.json.encode({"id": record_id, "rev": rev})
    rest = bytes(fields).strip()[1:]
    return msgspec.Raw(head[:-1] + (b"}" if rest == b"}" else b"," + rest))


ROUTER: Final = Router(
    "/",
    route_handlers=[listed, create, one, change, remove, history, assign, reschedule, cancel],
)
