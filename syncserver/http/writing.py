"""A write of the office, from HTTP and back: what was shown, what is wanted, what became of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
from litestar import Response

from replication import wire
from replication.mutation import Mutation
from replication.state import Answer
from replication.verdict import MutationVerdict
from syncserver.commands import office
from syncserver.commands.access import Principal
from syncserver.commands.office import Ask
from syncserver.http import body
from syncserver.http.parts import Asking, Parts
from syncserver.http.problems import CODES, Problem

KEY_HEADER: Final = "Idempotency-Key"
BASE_HEADER: Final = "If-Match"
WRITE_HEADERS: Final = (BASE_HEADER, KEY_HEADER)
KEY_CHARACTERS_MAX: Final = 200
PROBLEMS_OF_SUBMISSIONS: Final = ("overloaded", "submission_failed", "no_catalogue")
PROBLEMS_OF_WRITES: Final = (
    "unknown_collection",
    "unknown_record",
    "rev_ahead",
    "record_deleted",
    "bad_id",
    "bad_mutation",
    "missing_parent",
    "refused",
    "unknown_technician",
    "idempotency_key_reused",
    "base_required",
    "bad_request",
    "not_found",
    *PROBLEMS_OF_SUBMISSIONS,
)

PARTS: Final = frozenset({"set", "do", "was"})
"""A body that has only these, and objects in them, says what to do; any other says fields."""

SENTENCES: Final = {
    "rev_ahead": "If-Match names a rev that the record has not reached; fetch it again",
    "state_moved": "the cell changed since it was shown; fetch the conflict again",
    "idempotency_key_reused": "this Idempotency-Key was used for another request",
    "fenced": "the office's replica was revoked",
    "not_waiting": "somebody released or discarded it a moment ago",
}

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_REV: Final = re.compile(r'"?(\d{1,19})"?', re.ASCII)
_NAMES: Final = UUID("8a7c1f6e-5d0b-5a44-9c39-0c2f3f6f1d4e")
"""Ids of records that were made under an idempotency key and without an id are derived from it."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a write. The fields of the record stand beside these."""

    id: str
    rev: int
    verdict: str
    cells: dict[str, Any]


class Wanted(msgspec.Struct, frozen=True):
    """What a body asks for."""

    id: str | None
    set: dict[str, Any]
    do: dict[str, dict[str, Any]]
    was: dict[str, Any]


async def wanted(request: Asking, own: Parts) -> Wanted:
    """Read a body that is either fields, or any of set, do and was."""
    content = await body.decoded(request, own.limits.bytes, _OBJECT)
    record_id = content.pop("id", None)
    if record_id is not None and not isinstance(record_id, str):
        raise Problem("bad_id", "the id is no text")
    content.pop("rev", None)  # comes back with the record that was fetched; If-Match says what was shown
    if content.keys() <= PARTS and all(isinstance(part, dict) for part in content.values()):
        return Wanted(record_id, content.get("set", {}), content.get("do", {}), content.get("was", {}))
    return Wanted(record_id, content, {}, {})


def rev_shown(request: Asking) -> int:
    """Return the rev that the person was shown; nothing else is a base."""
    given = request.headers.get(BASE_HEADER, "").strip()
    found = _REV.fullmatch(given)
    if found is None:
        raise Problem(
            "base_required", f'send the rev that was shown as {BASE_HEADER}: "42"; * and weak ones say nothing'
        )
    if int(found[1]) > wire.COUNTER_MAX:
        raise Problem("rev_ahead", SENTENCES["rev_ahead"])
    return int(found[1])


def key(request: Asking) -> str | None:
    """Return the key under which the answer is kept for a repeat."""
    given = request.headers.get(KEY_HEADER)
    if given is not None and (not 0 < len(given) <= KEY_CHARACTERS_MAX or not given.isprintable()):
        raise Problem("bad_request", f"{KEY_HEADER} has 1 to {KEY_CHARACTERS_MAX} printable characters")
    return given


def new_id(who: Principal, given: str | None, under: str | None) -> str:
    """Return the id of a record to be made; a repeat of the request gives the same."""
    if given is not None:
        return given.lower()
    if under is None:
        return office.fresh_id()
    return str(uuid5(_NAMES, f"{who.tenant_id}/{who.person}/{under}"))


async def write(request: Asking, own: Parts, ask: Ask) -> Response[bytes]:
    """Have the write settled, and tell what became of it."""
    _check(ask, own.limits)
    verdict, answer = await own.office.write(request.auth, ask, now_ms=own.now_ms())
    if answer.problem == "rev_ahead":
        await own.office.record(request.auth, ask.collection, ask.id)  # one that is not known is told as that
    return told(request, own, verdict, answer)


def told(request: Asking, own: Parts, verdict: MutationVerdict | None, answer: Answer) -> Response[bytes]:
    """Return the verdict as an answer; a cell that lost is told in it, and is no problem."""
    if verdict is None:
        raise _problem(answer)
    if verdict.rev == 0 or _is_refused_whole(verdict):
        raise _refusal(verdict)
    if isinstance(answer.verdicts[-1], MutationVerdict):
        own.metrics.met(verdict)
    return _written(request, verdict)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tx: verdicts in order, which of its writes is named, and what is said of each."""

    verdicts: Sequence[MutationVerdict]
    answer: Answer
    named: int
    members: Sequence[Any]


def told_of_all(request: Asking, own: Parts, told: Told) -> Response[bytes]:
    """Return what became of the named write of a tx, with all its members beside.

    Only if nothing of the tx was carried out is it a problem: that of the one that is at fault.
    """
    if told.answer.problem is not None:
        raise _problem(told.answer)
    if all(map(_is_refused_whole, told.verdicts)):
        culprit = next((each for each in told.verdicts if each.code != "tx_refused"), told.verdicts[told.named])
        raise _refusal(culprit, members=told.members)
    for given in told.answer.verdicts:
        if isinstance(given, MutationVerdict):
            own.metrics.met(given)
    return _written(request, told.verdicts[told.named], members=told.members)


def _problem(answer: Answer) -> Problem:
    assert answer.problem is not None, "a write without a verdict has met a problem"
    return Problem(answer.problem, SENTENCES[answer.problem])


def _written(request: Asking, verdict: MutationVerdict, **beside: Any) -> Response[bytes]:
    fields = {} if verdict.fields is msgspec.UNSET else verdict.fields
    own_names = {"id": verdict.id, "rev": verdict.rev, "verdict": verdict.verdict, "cells": verdict.cells}
    return body.answer(request, msgspec.json.encode({**fields, **own_names, **beside}), etag(verdict.rev))


def _is_refused_whole(verdict: MutationVerdict) -> bool:
    """Whether every cell was refused, or the write as such; with one that was not, the cells tell which."""
    return verdict.verdict == "refused" and all(cell.verdict == "refused" for cell in verdict.cells.values())


def etag(rev: int) -> dict[str, str]:
    """Return the header that names the rev."""
    return {"etag": f'"{rev}"'}


def _check(ask: Ask, limits: wire.Limits) -> None:
    """Hold a body to the bounds that mutations from devices have."""
    try:
        asked = Mutation(n=1, op=ask.op, collection=ask.collection, id=ask.id, set=ask.set, do=ask.do, was=ask.was)
        fault = wire.fault(msgspec.convert(msgspec.to_builtins(asked), Mutation), limits)
    except (ValueError, RecursionError) as exc:
        fault = str(exc)
    if fault is not None:
        raise Problem("bad_mutation", fault)


def _refusal(verdict: MutationVerdict, **beside: Any) -> Problem:
    """Return the problem of a write of which nothing was carried out."""
    name = verdict.code if verdict.code in CODES else "refused"
    members: dict[str, Any] = {
        "id": verdict.id,
        "rev": verdict.rev,
        "verdict": verdict.verdict,
        "cells": verdict.cells,
        **beside,
    }
    if name != verdict.code and verdict.code is not None:
        members["reason"] = verdict.code
    return Problem(name, verdict.message or "no cell of it was accepted; `cells` says why", members)
