"""Mutations that wait for a person: list them, see what is wrong with one, release or discard it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from replication.codes import CODES
from replication.verdict import MutationVerdict
from replication.versions import Dot
from syncserver.commands.held import HELD_LIMIT, HELD_LIMIT_MAX, Detail, Edited, Entry, Flaw, Sought, id_of
from syncserver.http import body, parts, query, writing
from syncserver.http.office import PAGING
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.problems import Problem
from syncserver.http.writing import KEY_HEADER, Told, Written


class HeldItem(msgspec.Struct, frozen=True, kw_only=True):
    """A held mutation: who asked for what and when (`time`, ms since 1970), and why it waits.

    `schema` is the catalogue version that its writer went by, 0 where that is not known.
    `members` are the ids of all mutations of its tx, in order: they are released and discarded together.
    `released_as` is the number under which it was judged in the end.
    """

    id: str
    members: list[str]
    dot: Dot
    collection: str
    record_id: str
    op: str
    code: str
    why: str
    person: str
    schema: int
    time: int
    state: str
    made_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    released_as: Dot | None
    reason: str | None


class HeldPage(msgspec.Struct, frozen=True):
    """A page of held mutations, newest first."""

    items: list[HeldItem]
    cursor: str | None


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What the mutation would write: values and operations by field, and what its writer saw before."""

    set: dict[str, Any]
    do: dict[str, Any]
    was: dict[str, Any]
    tx: str | None
    at: int | None


class RecordNow(msgspec.Struct, frozen=True, kw_only=True):
    """The record that it is about, as it stands."""

    rev: int
    alive: bool
    fields: dict[str, Any]


class HeldDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A held mutation with its payload, what the present catalogue (`schema`) says of it, and its record."""

    held: HeldItem
    payload: Payload
    schema: int
    flaws: tuple[Flaw, ...]
    record: RecordNow | None


class Member(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one mutation of a tx that was released."""

    id: str
    collection: str
    record_id: str
    rev: int
    verdict: str
    cells: dict[str, Any]
    code: str | None = None
    message: str | None = None


class ReleaseWritten(Written, frozen=True, kw_only=True):
    """What became of the one that was named, and in `members` of all of its tx, in order."""

    members: list[Member]


class Discarding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is not carried out."""

    reason: str


_EDITED: Final = msgspec.json.Decoder(Edited)
_DISCARDING: Final = msgspec.json.Decoder(Discarding)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Any])
_CURSOR: Final = re.compile(r"(\d{1,18})~(\d{1,9})~(\d{1,18})", re.ASCII)

LIST: Final = Operation(
    summary="List mutations that wait for a person, or waited, newest first.",
    right="decide",
    gives=HeldPage,
    query={**PAGING, "state": "waiting, released or discarded", "collection": "only those of a collection"},
    problems=("bad_filter",),
)
DETAIL: Final = Operation(
    summary="See what a held mutation asks for, and what is wrong with it now.",
    right="decide",
    gives=HeldDetail,
    problems=("unknown_held",),
)
RELEASE: Final = Operation(
    summary=(
        "Have it judged as its writer's with all of its tx, perhaps with other values. "
        "What cannot be carried out goes on waiting."
    ),
    right="decide",
    takes=Edited,
    gives=ReleaseWritten,
    headers=(KEY_HEADER,),
    problems=(
        "unknown_held",
        "not_waiting",
        "refused",
        "bad_mutation",
        "bad_id",
        "missing_parent",
        "record_deleted",
        "unknown_record",
        "unknown_collection",
        "idempotency_key_reused",
    ),
)
DISCARD: Final = Operation(
    summary="End it, with all of its tx, without carrying it out. What it says is kept.",
    right="decide",
    takes=Discarding,
    gives=HeldItem,
    problems=("unknown_held", "not_waiting", "bad_mutation"),
)


@get("/v1/held", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List held mutations."""
    asked = query.known(request, LIST.query)
    limit = query.number(asked.get("limit"), HELD_LIMIT, HELD_LIMIT_MAX)
    sought = Sought(limit=limit + 1, state=asked.get("state") or None, collection=asked.get("collection") or None)
    if asked.get("cursor"):
        sought = msgspec.structs.replace(sought, before=_before(asked["cursor"]))
    found = await parts.found(request).held.listed(request.auth, sought)
    last = found[limit - 1] if len(found) > limit else None
    cursor = None if last is None else f"{last.seq}~{last.dot.rid}~{last.dot.n}"
    return body.answer(request, msgspec.json.encode(HeldPage([_listed(each) for each in found[:limit]], cursor)))


@get("/v1/held/{held_id:str}", opt=opt(DETAIL))
async def detail(request: Asking, held_id: FromPath[str]) -> Response[bytes]:
    """Show one held mutation."""
    found = await parts.found(request).held.one(request.auth, held_id)
    return body.answer(request, msgspec.json.encode(_detail(found)))


@post("/v1/held/{held_id:str}/release", opt=opt(RELEASE), status_code=200)
async def release(request: Asking, held_id: FromPath[str]) -> Response[bytes]:
    """Have one judged after all."""
    own = parts.found(request)
    sent = await body.read(request, own.limits.bytes)
    edited = body.message(sent, _EDITED) if sent else Edited()
    released = await own.held.release(request.auth, held_id, edited, key=writing.key(request))
    members = [_member(*each) for each in zip(released.members, released.verdicts, strict=False)]
    told = Told(verdicts=released.verdicts, answer=released.answer, named=released.named, members=members)
    return writing.told_of_all(request, own, told)


@post("/v1/held/{held_id:str}/discard", opt=opt(DISCARD), status_code=200)
async def discard(request: Asking, held_id: FromPath[str]) -> Response[bytes]:
    """End one without carrying it out."""
    own = parts.found(request)
    asked = await body.decoded(request, own.limits.bytes, _DISCARDING)
    return body.answer(
        request, msgspec.json.encode(_listed(await own.held.discard(request.auth, held_id, asked.reason)))
    )


def _before(text: str) -> tuple[int, int, int]:
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise Problem("bad_filter", "the cursor is not one that a list has given")
    return int(found[1]), int(found[2]), int(found[3])


def _member(entry: Entry, told: MutationVerdict) -> Member:
    return Member(
        id=id_of(entry.dot),
        collection=told.collection,
        record_id=told.id,
        rev=told.rev,
        verdict=told.verdict,
        cells=told.cells,
        code=told.code,
        message=told.message,
    )


def _listed(entry: Entry) -> HeldItem:
    return HeldItem(
        id=id_of(entry.dot),
        members=[id_of(dot) for dot in entry.members],
        dot=entry.dot,
        collection=entry.collection,
        record_id=entry.record_id,
        op=entry.op,
        code=entry.code,
        why=CODES[entry.code],
        person=entry.person,
        schema=entry.schema,
        time=entry.time,
        state=entry.state,
        made_at=entry.made_at,
        ended_at=entry.ended_at,
        ended_by=entry.ended_by,
        released_as=entry.ended_dot,
        reason=entry.reason,
    )


def _detail(found: Detail) -> HeldDetail:
    mutation, record = found.mutation, found.record
    now = (
        None if record is None else RecordNow(rev=record.rev, alive=record.alive, fields=_FIELDS.decode(record.fields))
    )
    return HeldDetail(
        held=_listed(found.entry),
        payload=Payload(set=mutation.set, do=mutation.do, was=mutation.was, tx=mutation.tx, at=mutation.at),
        schema=found.schema,
        flaws=found.flaws,
        record=now,
    )


ROUTER: Final = Router("/", route_handlers=[listed, detail, release, discard])
