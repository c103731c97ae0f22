"""Devices: enrol, refresh, push, pull. The bodies are read and written here, without the framework's models."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from litestar import Request, Response, Router, get, post

from replication import wire
from replication.forms import Form
from syncserver.commands import page
from syncserver.commands.access import LABEL_CHARACTERS_MAX, Writer
from syncserver.commands.page import Asked, Reader
from syncserver.http import body, negotiation, parts
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking, Parts
from syncserver.http.problems import Problem

LABEL_HEADER: Final = "X-Device-Label"
LABEL: Final = "default"
LARGE_BYTES: Final = 262_144
"""A push that takes longer to read than others should wait for it is read beside them."""

_ENROL: Final = msgspec.json.Decoder(wire.EnrolRequest)
_REFRESH: Final = msgspec.json.Decoder(wire.RefreshRequest)
_PULL: Final = msgspec.json.Decoder(wire.PullRequest)
_ENCODE: Final = msgspec.json.Encoder().encode

ENROL: Final = Operation(
    summary="Make this installation a replica, by an enrolment code from the office.",
    right=None,
    takes=wire.EnrolRequest,
    gives=wire.EnrolAnswer,
    problems=("enrolment_refused", "no_catalogue"),
)
REFRESH: Final = Operation(
    summary="Get a new token for an enrolled device.",
    right=None,
    takes=wire.RefreshRequest,
    gives=wire.RefreshAnswer,
    problems=("refresh_refused", "fenced"),
)
PUSH: Final = Operation(
    summary=(
        "Send mutations in the order they were made; each is answered by a verdict. In place of one that no push can "
        "carry stands {n, tx, collection, id, withheld: true}, which is refused as withheld."
    ),
    right="sync",
    rescues=True,
    takes=wire.Push,
    gives=wire.PushAnswer,
    headers=(LABEL_HEADER,),
    problems=(
        "bad_cursor",
        "epoch_changed",
        "replica_forked",
        "unknown_replica",
        "overloaded",
        "submission_failed",
        "no_catalogue",
    ),
)
PULL: Final = Operation(
    summary="Fetch what follows the cursor; without one, everything in scope.",
    right="sync",
    takes=wire.PullRequest,
    gives=wire.PullAnswer,
    headers=(LABEL_HEADER,),
    problems=("bad_request", "bad_cursor", "epoch_changed", "unknown_replica", "no_catalogue"),
)
PULL_BY_QUERY: Final = msgspec.structs.replace(
    PULL,
    takes=None,
    query={
        "cursor": "where the last page ended",
        "limit": "changes in a page at most",
        "max_bytes": "bytes in a page at most",
        "wait_ms": "how long to wait for something new",
        "versions": "true to be told who wrote each cell",
    },
)


@post(wire.PATH_ENROL, opt=opt(ENROL), status_code=200)
async def enrol(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Make a replica."""
    own = parts.found(request)
    asked = await body.decoded(request, body.SMALL_BYTES_MAX, _ENROL)
    name = _label(asked.name)
    made = await own.access.enrol(asked.code, name=name, platform=_label(asked.platform) if asked.platform else None)
    catalog = await own.office.catalog(made.tenant_id)
    answer = wire.EnrolAnswer(
        replica=made.replica,
        rid=made.rid,
        token=made.token,
        refresh=made.refresh,
        epoch=own.epoch,
        schema=catalog.version,
        limits=own.limits,
    )
    return body.answer(request, _ENCODE(answer))


@post(wire.PATH_REFRESH, opt=opt(REFRESH), status_code=200)
async def refresh(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Give a new token."""
    own = parts.found(request)
    asked = await body.decoded(request, body.SMALL_BYTES_MAX, _REFRESH)
    token = await own.access.refresh(asked.refresh, rescue=asked.rescue)
    return body.answer(request, _ENCODE(wire.RefreshAnswer(token=token, refresh=asked.refresh, epoch=own.epoch)))


@post(wire.PATH_PUSH, opt=opt(PUSH), status_code=200)
async def push(request: Asking) -> Response[bytes]:
    """Settle mutations."""
    own = parts.found(request)
    sent, form = await body.expanded(request, own.limits.bytes), negotiation.form_sent(request.headers)
    asked = await _read(sent, own.limits, form)
    settled = await own.pushes.push(await _writer(request, own), asked, own.limits.mutations, now_ms=own.now_ms())
    own.metrics.settled(settled.verdicts)
    was_cut = len(settled.verdicts) < len(asked.mutations)
    answer = wire.PushAnswer(
        epoch=own.epoch,
        applied=settled.applied,
        expected=settled.applied + 1 if was_cut else None,
        verdicts=settled.verdicts,
        now=own.now_ms(),
        limits=own.limits,
        durable=0,
    )
    return body.answer(request, _ENCODE(answer))


async def _read(sent: bytes, limits: wire.Limits, form: Form) -> wire.PushRequest:
    if len(sent) < LARGE_BYTES:
        return wire.decode_push(sent, limits, form)
    return await asyncio.to_thread(wire.decode_push, sent, limits, form)


@post(wire.PATH_PULL, opt=opt(PULL), status_code=200)
async def pull(request: Asking) -> Response[bytes]:
    """Answer a pull whose wishes stand in the body."""
    own = parts.found(request)
    return await _page(request, own, await body.decoded(request, own.limits.bytes, _PULL))


@get(wire.PATH_PULL, opt=opt(PULL_BY_QUERY))
async def pull_by_query(request: Asking) -> Response[bytes]:
    """Answer a pull whose wishes stand in the query."""
    try:
        asked = msgspec.convert(dict(request.query_params.items()), wire.PullRequest, strict=False)
    except ValueError as exc:
        raise Problem("bad_request", str(exc)) from exc
    return await _page(request, parts.found(request), asked)


async def _page(request: Asking, own: Parts, asked: wire.PullRequest) -> Response[bytes]:
    writer = await _writer(request, own)
    if writer.fenced:
        raise Problem("fenced", "this device was revoked")
    _refuse_negative(limit=asked.limit, max_bytes=asked.max_bytes, wait_ms=asked.wait_ms)
    wanted = Asked(
        limit=min(asked.limit or own.limits.page, own.limits.page),
        max_bytes=min(asked.max_bytes or page.BYTES, own.limits.page_bytes),
        wait_ms=asked.wait_ms,
        versions=asked.versions,
    )
    reader = Reader(writer.tenant_id, writer.rid, writer.person)
    at = await own.pushes.position(writer, asked.cursor)
    told = await own.pulls.pull(reader, at, wanted, epoch=own.epoch)
    own.metrics.pulled(told.commits)
    answer = wire.PullAnswer(
        epoch=own.epoch,
        commits=told.commits,
        cursor=own.pushes.hand(writer, told.cursor),
        more=told.more,
        complete=told.complete,
        applied=told.applied,
        durable=told.durable,
    )
    return body.answer(request, _ENCODE(answer))


def _refuse_negative(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 0:
            raise Problem("bad_request", f"{name} is {number}; it cannot be negative")


async def _writer(request: Asking, own: Parts) -> Writer:
    return await own.access.writer(request.auth, _label(request.headers.get(LABEL_HEADER) or LABEL))


def _label(text: str) -> str:
    """Return a name that people gave a device, if it can be shown to people."""
    name = text.strip()
    if not 0 < len(name) <= LABEL_CHARACTERS_MAX or not name.isprintable():
        raise Problem("bad_request", f"a device's name has 1 to {LABEL_CHARACTERS_MAX} printable characters")
    return name


ROUTER: Final = Router("/", route_handlers=[enrol, refresh, push, pull, pull_by_query])
