"""What vendors said and what came of it, the secrets that verify it, polls, and alerts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from syncserver.commands.upstream.incoming import Alert, Event, HookSecret, NewSecret, Poll, Replaying
from syncserver.commands.upstream.incoming import Asking as Polling
from syncserver.http import body, parts, query
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.webhooks import Replayed

LIMIT: Final = 100
LIMIT_MAX: Final = 500


class HookPage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a vendor calls, and the secrets by which its calls are verified: never themselves."""

    path: str
    secrets: list[HookSecret]


class SecretPut(msgspec.Struct, frozen=True):
    """The secret verifies calls."""

    id: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that came by a vendor's handshake. Nobody has vouched for it: it verifies nothing yet."""

    id: str
    secret: str
    said: Any


class CandidatePage(msgspec.Struct, frozen=True):
    """The secrets that came by handshake, newest first."""

    items: list[Candidate]


class EventItem(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's event. `times` is how often it came; `body` is there where one event is asked for."""

    id: str
    event: str
    source: str
    object: str
    remote_id: str
    remote_version: str
    state: str
    reason: str
    verdict: str
    collection: str | None
    record_id: str | None
    times: int
    tries: int
    received_at: datetime
    due_at: datetime
    ended_at: datetime | None


class EventPage(msgspec.Struct, frozen=True):
    """Events, newest first."""

    items: list[EventItem]
    cursor: str | None


class PollPage(msgspec.Struct, frozen=True):
    """Where polling stands, by object."""

    items: list[Poll]


class AlertPage(msgspec.Struct, frozen=True):
    """What is, or was, wrong, newest first."""

    items: list[Alert]


_SECRET: Final = msgspec.json.Decoder(NewSecret)
_REPLAYING: Final = msgspec.json.Decoder(Replaying)
_POLLING: Final = msgspec.json.Decoder(Polling)

OF_ONE: Final = ("unknown_connection",)
HOOK: Final = Operation(
    summary="Where a vendor calls, and by which secrets its calls are verified.",
    right="inspect",
    gives=HookPage,
    problems=OF_ONE,
)
PUT: Final = Operation(
    summary="Let a secret verify a vendor's calls. The former ones go on for a while.",
    right="integrate",
    takes=NewSecret,
    gives=SecretPut,
    problems=(*OF_ONE, "bad_filter"),
)
CANDIDATES: Final = Operation(
    summary="Secrets that a vendor's handshake brought, to compare them with what the vendor shows.",
    right="integrate",
    gives=CandidatePage,
    problems=(*OF_ONE, "keys_missing"),
)
VOUCH: Final = Operation(
    summary="Let a secret that came by handshake verify calls.",
    right="integrate",
    gives=SecretPut,
    problems=(*OF_ONE, "bad_filter"),
)
LIST: Final = Operation(
    summary="What a vendor said and what came of it, newest first.",
    right="inspect",
    gives=EventPage,
    query={
        "state": "waiting, absorbed, echo, stale, ignored or failed",
        "limit": "how many at most",
        "cursor": "the cursor of the answer before",
    },
    problems=(*OF_ONE, "bad_filter"),
)
BODY: Final = Operation(
    summary="What an event said.", right="inspect", gives="any", problems=(*OF_ONE, "bad_filter", "not_found")
)
REPLAY: Final = Operation(
    summary="Have events looked at again: one, those of a stretch of time, those in some states.",
    right="integrate",
    takes=Replaying,
    gives=Replayed,
    problems=(*OF_ONE, "bad_filter"),
)
POLLS: Final = Operation(
    summary="Where polling of a system stands, by object.", right="inspect", gives=PollPage, problems=OF_ONE
)
POLL: Final = Operation(
    summary="Have a system polled at once, from an instant on if one is given.",
    right="integrate",
    takes=Polling,
    gives=Replayed,
    problems=(*OF_ONE, "bad_filter"),
)
ALERTS: Final = Operation(
    summary="What is wrong, or was, newest first.",
    right="inspect",
    gives=AlertPage,
    query={"open": "true: only what is wrong now; false: only what is over"},
    problems=("bad_filter",),
)


@get("/v1/connections/{connection_id:str}/hook", opt=opt(HOOK))
async def hook(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Show where a vendor calls."""
    found = await parts.found(request).inboxes.secrets(request.auth, connection_id)
    return body.answer(request, msgspec.json.encode(HookPage(path=f"/v1/hooks/{connection_id}", secrets=found)))


@post("/v1/connections/{connection_id:str}/hook/secrets", opt=opt(PUT), status_code=200)
async def put_secret(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Let a secret verify."""
    own = parts.found(request)
    new = await body.decoded(request, own.limits.bytes, _SECRET)
    secret_id = await own.inboxes.put_secret(request.auth, connection_id, new)
    return body.answer(request, msgspec.json.encode(SecretPut(secret_id)))


@get("/v1/connections/{connection_id:str}/hook/candidates", opt=opt(CANDIDATES))
async def candidates(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Show what handshakes brought."""
    found = await parts.found(request).inboxes.candidates(request.auth, connection_id)
    items = [Candidate(id=each, secret=secret, said=said) for each, secret, said in found]
    return body.answer(request, msgspec.json.encode(CandidatePage(items)))


@post("/v1/connections/{connection_id:str}/hook/candidates/{secret:str}/vouch", opt=opt(VOUCH), status_code=200)
async def vouch(request: Asking, connection_id: FromPath[str], secret: FromPath[str]) -> Response[bytes]:
    """Let a secret that came by handshake verify."""
    await parts.found(request).inboxes.vouch(request.auth, connection_id, secret)
    return body.answer(request, msgspec.json.encode(SecretPut(secret)))


@get("/v1/connections/{connection_id:str}/inbox", opt=opt(LIST))
async def listed(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """List events."""
    own, asked = parts.found(request), query.known(request, LIST.query)
    limit = query.number(asked.get("limit"), LIMIT, LIMIT_MAX)
    state, before = asked.get("state") or None, asked.get("cursor") or None
    found = await own.inboxes.events(request.auth, connection_id, state=state, before=before, limit=limit)
    cursor = found[-1].inbox_id if len(found) == limit else None
    return body.answer(request, msgspec.json.encode(EventPage([_item(each) for each in found], cursor)))


@get("/v1/connections/{connection_id:str}/inbox/{event:str}", opt=opt(BODY))
async def said(request: Asking, connection_id: FromPath[str], event: FromPath[str]) -> Response[bytes]:
    """Show what an event said."""
    found = await parts.found(request).inboxes.body(request.auth, connection_id, event)
    return body.answer(request, msgspec.json.encode(found))


@post("/v1/connections/{connection_id:str}/inbox/replay", opt=opt(REPLAY), status_code=200)
async def replay(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Have events looked at again."""
    own = parts.found(request)
    wanted = await body.decoded(request, own.limits.bytes, _REPLAYING)
    since, until = query.instant("since", wanted.since), query.instant("until", wanted.until)
    count = await own.inboxes.replay(request.auth, connection_id, wanted, since, until)
    return body.answer(request, msgspec.json.encode(Replayed(count)))


@get("/v1/connections/{connection_id:str}/polls", opt=opt(POLLS))
async def polls(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Show where polling stands."""
    found = await parts.found(request).inboxes.polls(request.auth, connection_id)
    return body.answer(request, msgspec.json.encode(PollPage(found)))


@post("/v1/connections/{connection_id:str}/poll", opt=opt(POLL), status_code=200)
async def poll(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Have it polled."""
    own = parts.found(request)
    wanted = await body.decoded(request, own.limits.bytes, _POLLING)
    since = query.instant("since", wanted.since)
    count = await own.inboxes.poll(request.auth, connection_id, wanted.object, since)
    return body.answer(request, msgspec.json.encode(Replayed(count)))


@get("/v1/alerts", opt=opt(ALERTS))
async def alerts(request: Asking) -> Response[bytes]:
    """List alerts."""
    own, asked = parts.found(request), query.known(request, ALERTS.query)
    is_open = query.switch("open", asked.get("open"), default=True) if asked.get("open") else None
    found = await own.inboxes.alerts(request.auth, is_open=is_open)
    return body.answer(request, msgspec.json.encode(AlertPage(found)))


def _item(found: Event) -> EventItem:
    return EventItem(id=found.inbox_id, **{name: getattr(found, name) for name in EventItem.__struct_fields__[1:]})


ROUTER: Final = Router(
    "/",
    route_handlers=[hook, put_secret, candidates, vouch, listed, said, replay, polls, poll, alerts],
)
