"""Connections to other systems: made, watched, verified, paused, signed in to, backfilled, taken live."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, TypeVar

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath

from syncserver.commands.upstream import once
from syncserver.commands.upstream.authorizing import Begun
from syncserver.commands.upstream.connections import (
    DAY_SECONDS,
    REASON_CHARACTERS_MAX,
    Backfilled,
    Backfilling,
    ChangedConnection,
    NewConnection,
    Standing,
    Verified,
)
from syncserver.commands.upstream.mappings import ASKED_MAX, Recorded
from syncserver.http import body, parts, query, writing
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking, Parts
from syncserver.http.problems import Problem
from syncserver.http.writing import KEY_HEADER

T = TypeVar("T")

LIMIT: Final = 100
LIMIT_MAX: Final = 500
RECORDED_MAX: Final = 500
LEAST_MAX: Final = 1_000_000
"""More deliveries than anybody waits for before a connection goes live."""


class ConnectionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A connection as it stands. Its credentials are never shown.

    `freshness_seconds`: how long ago the system last confirmed something, or something was read of it; null:
    never. `waiting` is how much it was not told of yet, planned or not, `backfill` as much in the lane that gives
    way; the first of both waits for `waiting_seconds`. `expires_days` says in how many days which of its
    credentials end. `assumed`: what is known of the system is known at second hand.
    """

    id: str
    name: str
    system: str
    title: str
    grade: str
    assumed: bool
    base_url: str | None
    config: dict[str, str]
    mapping_version: int | None
    mode: str
    state: str
    state_reason: str
    freshness_seconds: float | None
    waiting: int
    waiting_seconds: float | None
    backfill: int
    backfill_paused: bool
    in_flight_max: int
    backfill_share: int
    deliveries: dict[str, int]
    expires_days: dict[str, float]
    created_at: datetime | None


class ConnectionPage(msgspec.Struct, frozen=True):
    """A page of connections, by name."""

    items: list[ConnectionItem]
    cursor: str | None


class Removed(msgspec.Struct, frozen=True):
    """That a connection is gone."""

    id: str
    removed: bool = True


class Pausing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why it rests."""

    reason: str = ""


class Beginning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the system sends the person back to."""

    redirect_uri: str


class Promoting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many deliveries have to be recorded at least, and whether what was recorded is told now."""

    least: Annotated[int, msgspec.Meta(ge=0, le=LEAST_MAX)] = 20
    catch_up: bool = True


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """The connection, and of how many records it is told now that were only recorded before."""

    connection: ConnectionItem
    records: int


class CheckItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that has to be so before a connection goes live."""

    name: str
    passed: bool
    said: str


class ShadowPage(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection in shadow mode would have sent, the newest first, and the check list for going live."""

    items: list[Recorded]
    checks: list[CheckItem]


_NEW: Final = msgspec.json.Decoder(NewConnection)
_CHANGED: Final = msgspec.json.Decoder(ChangedConnection)
_PAUSING: Final = msgspec.json.Decoder(Pausing)
_BEGINNING: Final = msgspec.json.Decoder(Beginning)
_PROMOTING: Final = msgspec.json.Decoder(Promoting)
_BACKFILLING: Final = msgspec.json.Decoder(Backfilling)

KEYED: Final = (KEY_HEADER,)
OF_ONE: Final = ("unknown_connection", "keys_missing")
OF_KEY: Final = ("idempotency_key_reused", "bad_request")
LIST: Final = Operation(
    summary="List connections, and how each is.",
    right="inspect",
    gives=ConnectionPage,
    query={"limit": "how many at most", "cursor": "the cursor of the answer before"},
    problems=("bad_filter",),
)
MAKE: Final = Operation(
    summary="Make a connection. It begins in shadow mode; its credentials are sealed and never shown.",
    right="integrate",
    takes=NewConnection,
    gives=ConnectionItem,
    headers=KEYED,
    problems=("bad_connection", "bad_manifest", *OF_KEY),
)
ONE: Final = Operation(
    summary="See a connection, and how it is.", right="inspect", gives=ConnectionItem, problems=OF_ONE
)
CHANGE: Final = Operation(
    summary="Change a connection's name, place, settings, credentials, pace or mode.",
    right="integrate",
    takes=ChangedConnection,
    gives=ConnectionItem,
    headers=KEYED,
    problems=(*OF_ONE, *OF_KEY, "bad_connection", "not_ready"),
)
REMOVE: Final = Operation(
    summary="Forget a connection. One that has told something is only forgotten with forget=true.",
    right="integrate",
    gives=Removed,
    query={"forget": "true: also if something was told to it"},
    problems=(*OF_ONE, "connection_in_use", "bad_filter"),
)
VERIFY: Final = Operation(
    summary="Make the verification call: tells whether we are let in, and whether anybody is there.",
    right="integrate",
    gives=Verified,
    problems=OF_ONE,
)
PAUSE: Final = Operation(
    summary="Let a connection rest: what has to be told waits, and no attempt is used up.",
    right="integrate",
    takes=Pausing,
    gives=ConnectionItem,
    problems=OF_ONE,
)
RESUME: Final = Operation(
    summary="Let a connection go on.", right="integrate", gives=ConnectionItem, problems=(*OF_ONE, "bad_connection")
)
AUTHORIZE: Final = Operation(
    summary="Begin a sign-in at the system's own page: answers where to send the person.",
    right="integrate",
    takes=Beginning,
    gives=Begun,
    problems=(*OF_ONE, "bad_connection"),
)
CALLBACK: Final = Operation(
    summary="End a sign-in that the same person began, with all that the system sent them back with.",
    right="integrate",
    gives=ConnectionItem,
    query={"state": "as it was sent", "code": "as the system gives it", "error": "why not"},
    problems=(*OF_ONE, "bad_filter", "bad_connection", "authorization_broken", "authorization_refused"),
)
BACKFILL: Final = Operation(
    summary="Tell a connection of all living records of collections, in the lane that gives way to everything else.",
    right="integrate",
    takes=Backfilling,
    gives=Backfilled,
    headers=KEYED,
    problems=(*OF_ONE, *OF_KEY, "bad_connection"),
)
REST: Final = Operation(summary="Let a backfill rest.", right="integrate", gives=ConnectionItem, problems=OF_ONE)
GO_ON: Final = Operation(summary="Let a backfill go on.", right="integrate", gives=ConnectionItem, problems=OF_ONE)
SHADOW: Final = Operation(
    summary="What a connection in shadow mode would have sent, and what is open before it goes live.",
    right="inspect",
    gives=ShadowPage,
    query={
        "limit": f"how many recorded deliveries are looked at; {ASKED_MAX} at most where the system is asked",
        "there": "true: ask the system what stands there now; else it is what it confirmed last",
    },
    problems=(*OF_ONE, "bad_filter"),
)
PROMOTE: Final = Operation(
    summary="Take a connection live, if its check list allows.",
    right="integrate",
    takes=Promoting,
    gives=Promoted,
    headers=KEYED,
    problems=(*OF_ONE, *OF_KEY, "not_ready"),
)


@get("/v1/connections", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List connections."""
    own, asked = parts.found(request), query.known(request, LIST.query)
    limit, after = query.number(asked.get("limit"), LIMIT, LIMIT_MAX), asked.get("cursor", "")
    found = [each for each in await own.connections.listed(request.auth) if each.connection.name > after]
    cursor = found[limit - 1].connection.name if len(found) > limit else None
    return body.answer(
        request, msgspec.json.encode(ConnectionPage([_item(own, each) for each in found[:limit]], cursor))
    )


@post("/v1/connections", opt=opt(MAKE), status_code=200)
async def make(request: Asking) -> Response[bytes]:
    """Make a connection."""
    own, key = parts.found(request), writing.key(request)
    new = await body.decoded(request, own.document_bytes_max, _NEW, "document")

    async def work() -> bytes:
        return _told(own, await own.connections.make(request.auth, new, once.new_id(request.auth, key)))

    return body.answer(request, await own.once.answered(request.auth, key, ("connection", new), work))


@get("/v1/connections/callback", opt=opt(CALLBACK))
async def callback(request: Asking) -> Response[bytes]:
    """End a sign-in."""
    own = parts.found(request)
    ended = await own.authorizing.finish(request.auth, query.given(request))
    return body.answer(request, _told(own, await own.connections.one(request.auth, ended)))


@get("/v1/connections/{connection_id:str}", opt=opt(ONE))
async def one(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Show a connection."""
    own = parts.found(request)
    return body.answer(request, _told(own, await own.connections.one(request.auth, connection_id)))


@patch("/v1/connections/{connection_id:str}", opt=opt(CHANGE))
async def change(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Change a connection."""
    own = parts.found(request)
    changed = await body.decoded(request, own.limits.bytes, _CHANGED)

    async def work() -> bytes:
        return _told(own, await own.connections.change(request.auth, connection_id, changed))

    asked = ("change", connection_id, changed)
    return body.answer(request, await own.once.answered(request.auth, writing.key(request), asked, work))


@delete("/v1/connections/{connection_id:str}", opt=opt(REMOVE), status_code=200)
async def remove(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Forget a connection."""
    forget = query.switch("forget", query.known(request, REMOVE.query).get("forget"), default=False)
    await parts.found(request).connections.remove(request.auth, connection_id, forget=forget)
    return body.answer(request, msgspec.json.encode(Removed(connection_id)))


@post("/v1/connections/{connection_id:str}/verify", opt=opt(VERIFY), status_code=200)
async def verify(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Make the verification call."""
    return body.answer(
        request, msgspec.json.encode(await parts.found(request).connections.verify(request.auth, connection_id))
    )


@post("/v1/connections/{connection_id:str}/pause", opt=opt(PAUSE), status_code=200)
async def pause(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Let it rest."""
    own = parts.found(request)
    asked = await _optional(request, _PAUSING, Pausing())
    if len(asked.reason) > REASON_CHARACTERS_MAX or "\0" in asked.reason:
        raise Problem("bad_request", f"reason: at most {REASON_CHARACTERS_MAX} characters")
    return body.answer(request, _told(own, await own.connections.pause(request.auth, connection_id, asked.reason)))


@post("/v1/connections/{connection_id:str}/resume", opt=opt(RESUME), status_code=200)
async def resume(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Let it go on."""
    own = parts.found(request)
    return body.answer(request, _told(own, await own.connections.resume(request.auth, connection_id)))


@post("/v1/connections/{connection_id:str}/authorize", opt=opt(AUTHORIZE), status_code=200)
async def authorize(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Begin a sign-in."""
    own = parts.found(request)
    asked = await body.decoded(request, own.limits.bytes, _BEGINNING)
    begun = await own.authorizing.begin(request.auth, connection_id, asked.redirect_uri)
    return body.answer(request, msgspec.json.encode(begun))


@post("/v1/connections/{connection_id:str}/backfill", opt=opt(BACKFILL), status_code=200)
async def backfill(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Begin a backfill."""
    own = parts.found(request)
    asked = await _optional(request, _BACKFILLING, Backfilling())

    async def work() -> bytes:
        return msgspec.json.encode(await own.connections.backfill(request.auth, connection_id, asked.collections))

    wanted = ("backfill", connection_id, asked)
    return body.answer(request, await own.once.answered(request.auth, writing.key(request), wanted, work))


@post("/v1/connections/{connection_id:str}/backfill/pause", opt=opt(REST), status_code=200)
async def rest(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Let a backfill rest."""
    own = parts.found(request)
    return body.answer(
        request, _told(own, await own.connections.rest_backfill(request.auth, connection_id, paused=True))
    )


@post("/v1/connections/{connection_id:str}/backfill/resume", opt=opt(GO_ON), status_code=200)
async def go_on(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Let a backfill go on."""
    own = parts.found(request)
    return body.answer(
        request, _told(own, await own.connections.rest_backfill(request.auth, connection_id, paused=False))
    )


@get("/v1/connections/{connection_id:str}/shadow", opt=opt(SHADOW))
async def shadow(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Show what would have been sent."""
    own, asked = parts.found(request), query.known(request, SHADOW.query)
    ask = query.switch("there", asked.get("there"), default=False)
    limit = query.number(asked.get("limit"), ASKED_MAX if ask else LIMIT, ASKED_MAX if ask else RECORDED_MAX)
    found = await own.mappings.recorded(request.auth, connection_id, limit, ask=ask)
    checks = [
        CheckItem(name=each.name, passed=each.passed, said=each.said)
        for each in await own.connections.checks(request.auth, connection_id)
    ]
    return body.answer(request, msgspec.json.encode(ShadowPage(items=found, checks=checks)))


@post("/v1/connections/{connection_id:str}/promote", opt=opt(PROMOTE), status_code=200)
async def promote(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Take it live."""
    own = parts.found(request)
    asked = await _optional(request, _PROMOTING, Promoting())

    async def work() -> bytes:
        records = await own.connections.promote(request.auth, connection_id, least=asked.least, catch_up=asked.catch_up)
        standing = await own.connections.one(request.auth, connection_id)
        return msgspec.json.encode(Promoted(connection=_item(own, standing), records=records))

    wanted = ("promote", connection_id, asked)
    return body.answer(request, await own.once.answered(request.auth, writing.key(request), wanted, work))


async def _optional(request: Asking, decoder: msgspec.json.Decoder[T], otherwise: T) -> T:
    own = parts.found(request)
    sent = await body.read(request, own.limits.bytes)
    return body.message(sent, decoder) if sent else otherwise


def _told(own: Parts, standing: Standing) -> bytes:
    return msgspec.json.encode(_item(own, standing))


def _item(own: Parts, standing: Standing) -> ConnectionItem:
    each, pulse = standing.connection, standing.pulse
    lives = [at for at in (pulse.confirmed_at, pulse.read_at, pulse.received_at) if at is not None]
    return ConnectionItem(
        id=each.connection,
        name=each.name,
        system=each.system,
        title=standing.title,
        grade=standing.grade,
        assumed=standing.assumed,
        base_url=each.base_url,
        config=each.config,
        mapping_version=each.mapping_version,
        mode=each.mode,
        state=each.state,
        state_reason=each.state_reason,
        freshness_seconds=_since(own, max(lives)) if lives else None,
        waiting=pulse.waiting,
        waiting_seconds=None if pulse.oldest_at is None else _since(own, pulse.oldest_at),
        backfill=pulse.backfill,
        backfill_paused=each.backfill_paused,
        in_flight_max=each.in_flight_max,
        backfill_share=each.backfill_share,
        deliveries=standing.deliveries,
        expires_days={kind: round(seconds / DAY_SECONDS, 2) for kind, seconds in standing.expires.items()},
        created_at=each.created_at,
    )


def _since(own: Parts, then: datetime) -> float:
    return round(max(0.0, own.now_ms() / 1_000 - then.timestamp()), 3)


ROUTER: Final = Router(
    "/",
    route_handlers=[
        listed,
        make,
        callback,
        one,
        change,
        remove,
        verify,
        pause,
        resume,
        authorize,
        backfill,
        rest,
        go_on,
        shadow,
        promote,
    ],
)
