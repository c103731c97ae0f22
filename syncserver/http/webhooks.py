"""Webhooks to a tenant's own addresses: added, changed, rotated, tried, told again."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import FromPath

from syncserver.commands.upstream import once
from syncserver.commands.upstream.endpoints import (
    Attempt,
    ChangedEndpoint,
    Endpoint,
    NewEndpoint,
    Posting,
    Replay,
    Rotation,
)
from syncserver.http import body, parts, query, writing
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.writing import KEY_HEADER

LIMIT: Final = 100
LIMIT_MAX: Final = 500


class EndpointItem(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. Its secret is never shown again; `rotating_until`: the former one signs too until then."""

    id: str
    url: str
    description: str
    types: tuple[str, ...]
    state: str
    reason: str
    failing_since: datetime | None
    rotating_until: datetime | None
    created_at: datetime


class EndpointPage(msgspec.Struct, frozen=True):
    """All endpoints."""

    items: list[EndpointItem]


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that was added, with the secret that its messages are signed with: shown this once."""

    endpoint: EndpointItem
    secret: str


class Rotated(msgspec.Struct, frozen=True):
    """The new secret, shown this once."""

    secret: str


class RemovedEndpoint(msgspec.Struct, frozen=True):
    """That an endpoint is gone."""

    id: str


class Pinged(msgspec.Struct, frozen=True):
    """The message that is on its way."""

    message: str


class Replayed(msgspec.Struct, frozen=True):
    """How much is on its way again."""

    count: int


class MessageItem(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way to an endpoint, or delivered, or given up."""

    id: str
    type: str
    state: str
    tries: int
    made_at: datetime
    due_at: datetime
    ended_at: datetime | None


class MessagePage(msgspec.Struct, frozen=True):
    """Messages, newest first."""

    items: list[MessageItem]


class AttemptPage(msgspec.Struct, frozen=True):
    """How often a message was tried, and what came back; status 0: no answer."""

    items: list[Attempt]


_NEW: Final = msgspec.json.Decoder(NewEndpoint)
_CHANGED: Final = msgspec.json.Decoder(ChangedEndpoint)
_ROTATION: Final = msgspec.json.Decoder(Rotation)
_REPLAY: Final = msgspec.json.Decoder(Replay)

OF_ONE: Final = ("unknown_endpoint",)
LIST: Final = Operation(summary="List the addresses that are told.", right="webhooks", gives=EndpointPage)
ADD: Final = Operation(
    summary="Have an address told, signed as Standard Webhooks has it. The secret is shown this once.",
    right="webhooks",
    takes=NewEndpoint,
    gives=Added,
    headers=(KEY_HEADER,),
    problems=("bad_endpoint", "keys_missing"),
)
ONE: Final = Operation(summary="See an address.", right="webhooks", gives=EndpointItem, problems=OF_ONE)
CHANGE: Final = Operation(
    summary="Change an address, what it is told, or turn it on or off. Turned on, it begins with what happens now.",
    right="webhooks",
    takes=ChangedEndpoint,
    gives=EndpointItem,
    problems=(*OF_ONE, "bad_endpoint"),
)
REMOVE: Final = Operation(
    summary="Have an address told no more.", right="webhooks", gives=RemovedEndpoint, problems=OF_ONE
)
ROTATE: Final = Operation(
    summary="Change the secret. For a while messages are signed with the former one too.",
    right="webhooks",
    takes=Rotation,
    gives=Rotated,
    problems=(*OF_ONE, "bad_endpoint"),
)
PING: Final = Operation(
    summary="Send an address a message that says nothing.", right="webhooks", gives=Pinged, problems=OF_ONE
)
REPLAY: Final = Operation(
    summary="Tell an address again: one message, or all of a stretch of time.",
    right="webhooks",
    takes=Replay,
    gives=Replayed,
    problems=(*OF_ONE, "bad_filter"),
)
MESSAGES: Final = Operation(
    summary="What an address was told or will be, newest first.",
    right="webhooks",
    gives=MessagePage,
    query={"state": "waiting, delivered or failed", "limit": "how many at most"},
    problems=(*OF_ONE, "bad_filter"),
)
ATTEMPTS: Final = Operation(
    summary="How often a message was tried, and what came back.",
    right="webhooks",
    gives=AttemptPage,
    problems=(*OF_ONE, "bad_filter"),
)


@get("/v1/webhooks", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List endpoints."""
    found = await parts.found(request).endpoints.listed(request.auth)
    return body.answer(request, msgspec.json.encode(EndpointPage([_item(each) for each in found])))


@post("/v1/webhooks", opt=opt(ADD), status_code=200)
async def add(request: Asking) -> Response[bytes]:
    """Add an endpoint. Under the same key the same one comes back, with its secret."""
    own = parts.found(request)
    new = await body.decoded(request, own.limits.bytes, _NEW)
    endpoint, secret = await own.endpoints.add(request.auth, new, once.new_id(request.auth, writing.key(request)))
    return body.answer(request, msgspec.json.encode(Added(endpoint=_item(endpoint), secret=secret)))


@get("/v1/webhooks/{endpoint_id:str}", opt=opt(ONE))
async def one(request: Asking, endpoint_id: FromPath[str]) -> Response[bytes]:
    """Show an endpoint."""
    found = await parts.found(request).endpoints.one(request.auth, endpoint_id)
    return body.answer(request, msgspec.json.encode(_item(found)))


@patch("/v1/webhooks/{endpoint_id:str}", opt=opt(CHANGE))
async def change(request: Asking, endpoint_id: FromPath[str]) -> Response[bytes]:
    """Change an endpoint."""
    own = parts.found(request)
    changed = await body.decoded(request, own.limits.bytes, _CHANGED)
    found = await own.endpoints.change(request.auth, endpoint_id, changed)
    return body.answer(request, msgspec.json.encode(_item(found)))


@delete("/v1/webhooks/{endpoint_id:str}", opt=opt(REMOVE), status_code=200)
async def remove(request: Asking, endpoint_id: FromPath[str]) -> Response[bytes]:
    """Remove an endpoint."""
    await parts.found(request).endpoints.remove(request.auth, endpoint_id)
    return body.answer(request, msgspec.json.encode(RemovedEndpoint(endpoint_id)))


@post("/v1/webhooks/{endpoint_id:str}/rotate", opt=opt(ROTATE), status_code=200)
async def rotate(request: Asking, endpoint_id: FromPath[str]) -> Response[bytes]:
    """Change the secret."""
    own = parts.found(request)
    rotation = await body.decoded(request, own.limits.bytes, _ROTATION)
    secret = await own.endpoints.rotate(request.auth, endpoint_id, rotation)
    return body.answer(request, msgspec.json.encode(Rotated(secret)))


@post("/v1/webhooks/{endpoint_id:str}/ping", opt=opt(PING), status_code=200)
async def ping(request: Asking, endpoint_id: FromPath[str]) -> Response[bytes]:
    """Send a message that says nothing."""
    message = await parts.found(request).endpoints.ping(request.auth, endpoint_id)
    return body.answer(request, msgspec.json.encode(Pinged(message)))


@post("/v1/webhooks/{endpoint_id:str}/replay", opt=opt(REPLAY), status_code=200)
async def replay(request: Asking, endpoint_id: FromPath[str]) -> Response[bytes]:
    """Tell again."""
    own = parts.found(request)
    wanted = await body.decoded(request, own.limits.bytes, _REPLAY)
    since, until = query.instant("since", wanted.since), query.instant("until", wanted.until)
    count = await own.endpoints.replay(request.auth, endpoint_id, wanted.message, since, until)
    return body.answer(request, msgspec.json.encode(Replayed(count)))


@get("/v1/webhooks/{endpoint_id:str}/messages", opt=opt(MESSAGES))
async def messages(request: Asking, endpoint_id: FromPath[str]) -> Response[bytes]:
    """List messages."""
    own, asked = parts.found(request), query.known(request, MESSAGES.query)
    limit = query.number(asked.get("limit"), LIMIT, LIMIT_MAX)
    found = await own.endpoints.messages(request.auth, endpoint_id, asked.get("state") or None, limit)
    return body.answer(request, msgspec.json.encode(MessagePage([_message(each) for each in found])))


@get("/v1/webhooks/{endpoint_id:str}/messages/{message:str}", opt=opt(ATTEMPTS))
async def attempts(request: Asking, endpoint_id: FromPath[str], message: FromPath[str]) -> Response[bytes]:
    """List the attempts at a message."""
    found = await parts.found(request).endpoints.attempts(request.auth, endpoint_id, message)
    return body.answer(request, msgspec.json.encode(AttemptPage(found)))


def _item(found: Endpoint) -> EndpointItem:
    return EndpointItem(
        id=found.endpoint_id,
        url=found.url,
        description=found.description,
        types=found.types,
        state=found.state,
        reason=found.reason,
        failing_since=found.failing_since,
        rotating_until=found.old_until,
        created_at=found.created_at,
    )


def _message(found: Posting) -> MessageItem:
    rest = {name: getattr(found, name) for name in MessageItem.__struct_fields__[1:]}
    return MessageItem(id=found.message_id, **rest)


ROUTER: Final = Router("/", route_handlers=[listed, add, one, change, remove, rotate, ping, replay, messages, attempts])
