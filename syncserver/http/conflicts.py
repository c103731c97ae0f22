"""Conflicts for the console and its people: what was decided and why, undo it, settle what waits."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from replication.verdict import Side
from replication.versions import Dot
from syncserver.commands.review import CONFLICTS_LIMIT, CONFLICTS_LIMIT_MAX, Entry, Sought, Word
from syncserver.http import body, parts, query, writing
from syncserver.http.office import PAGING
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.problems import Problem
from syncserver.http.writing import KEY_HEADER, PROBLEMS_OF_SUBMISSIONS, Written

ACTING: Final = (
    "unknown_conflict",
    "state_moved",
    "base_required",
    "refused",
    "record_deleted",
    "idempotency_key_reused",
    *PROBLEMS_OF_SUBMISSIONS,
)


class ConflictItem(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict entry: which cell, both sides, and by which rule it was decided."""

    id: str
    seq: int
    collection: str
    record_id: str
    cell: str
    rule: str
    state: str
    winner: Side
    loser: Side
    catalogue_version: int
    made_at: datetime
    ended_at: datetime | None
    ended_by: tuple[int, int] | None


class ConflictPage(msgspec.Struct, frozen=True):
    """A page of conflict entries, newest first."""

    items: list[ConflictItem]
    cursor: str | None


class ShownState(msgspec.Struct, frozen=True):
    """The state of the cell now: an undo or a settling has to name it."""

    dot: Dot | None
    siblings: tuple[Dot, ...]
    rev: int


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict entry, the rule in plain words, and the state of its cell now."""

    conflict: ConflictItem
    sentence: str
    shown: ShownState


_WORD: Final = msgspec.json.Decoder(Word)
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_CURSOR: Final = re.compile(r"(\d{1,18})~([$\w-]{1,300})", re.ASCII)

LIST: Final = Operation(
    summary="List conflicts, newest first.",
    right="review",
    gives=ConflictPage,
    query={
        **PAGING,
        "state": "open, decided, settled or undone",
        "collection": "only those of a collection",
        "record_id": "only those of a record",
    },
    problems=("bad_filter",),
)
EXPLAIN: Final = Operation(
    summary="Explain a conflict.", right="review", gives=Explanation, problems=("unknown_conflict",)
)
UNDO: Final = Operation(
    summary="Put back the value that lost. Names the state of the cell that was shown.",
    right="decide",
    takes=Word,
    gives=Written,
    headers=(KEY_HEADER,),
    problems=(*ACTING, "conflict_open", "nothing_to_restore"),
)
SETTLE: Final = Operation(
    summary="Choose for a conflict that waits. Names the state of the cell that was shown.",
    right="decide",
    takes=Word,
    gives=Written,
    headers=(KEY_HEADER,),
    problems=(*ACTING, "conflict_decided"),
)


@get("/v1/conflicts", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List conflicts."""
    asked = query.known(request, LIST.query)
    limit = query.number(asked.get("limit"), CONFLICTS_LIMIT, CONFLICTS_LIMIT_MAX)
    record_id = asked.get("record_id") or None
    if record_id is not None and _UUID.fullmatch(record_id.lower()) is None:
        raise Problem("bad_filter", "record_id is no UUID")
    sought = Sought(
        limit=limit + 1,
        state=asked.get("state") or None,
        collection=asked.get("collection") or None,
        record_id=record_id,
    )
    if asked.get("cursor"):
        sought = msgspec.structs.replace(sought, before=_before(asked["cursor"]))
    found = await parts.found(request).review.conflicts(request.auth, sought)
    last = found[limit - 1] if len(found) > limit else None
    cursor = None if last is None else f"{last.seq}~{last.conflict.id}"
    return body.answer(request, msgspec.json.encode(ConflictPage([_listed(e) for e in found[:limit]], cursor)))


@get("/v1/conflicts/{conflict_id:str}", opt=opt(EXPLAIN))
async def explain(request: Asking, conflict_id: FromPath[str]) -> Response[bytes]:
    """Explain one conflict."""
    found = await parts.found(request).review.conflict(request.auth, conflict_id)
    explanation = Explanation(
        conflict=_listed(found.entry), sentence=found.sentence, shown=ShownState(found.dot, found.siblings, found.rev)
    )
    return body.answer(request, msgspec.json.encode(explanation))


@post("/v1/conflicts/{conflict_id:str}/undo", opt=opt(UNDO), status_code=200)
async def undo(request: Asking, conflict_id: FromPath[str]) -> Response[bytes]:
    """Put back the value that lost."""
    own, word = parts.found(request), await _word(request)
    verdict, answer = await own.review.undo(
        request.auth, conflict_id, word, key=writing.key(request), now_ms=own.now_ms()
    )
    return writing.told(request, own, verdict, answer)


@post("/v1/conflicts/{conflict_id:str}/settle", opt=opt(SETTLE), status_code=200)
async def settle(request: Asking, conflict_id: FromPath[str]) -> Response[bytes]:
    """Choose for a conflict that waits."""
    own, word = parts.found(request), await _word(request)
    verdict, answer = await own.review.settle(
        request.auth, conflict_id, word, key=writing.key(request), now_ms=own.now_ms()
    )
    return writing.told(request, own, verdict, answer)


async def _word(request: Asking) -> Word:
    """Read what the person says; without the state that was shown it says nothing."""
    sent = await body.read(request, parts.found(request).limits.bytes)
    if b'"dot"' not in sent:
        raise Problem("base_required", "send the dot, and the siblings, that the conflict was shown with")
    return body.message(sent, _WORD)


def _before(text: str) -> tuple[int, str]:
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise Problem("bad_filter", "the cursor is not one that a list has given")
    return int(found[1]), found[2]


def _listed(entry: Entry) -> ConflictItem:
    conflict = entry.conflict
    return ConflictItem(
        id=conflict.id,
        seq=entry.seq,
        collection=conflict.collection,
        record_id=conflict.record_id,
        cell=conflict.cell,
        rule=conflict.rule,
        state=entry.state,
        winner=conflict.winner,
        loser=conflict.loser,
        catalogue_version=conflict.catalogue_version,
        made_at=entry.made_at,
        ended_at=entry.ended_at,
        ended_by=entry.ended_by,
    )


ROUTER: Final = Router("/", route_handlers=[listed, explain, undo, settle])
