"""Dead letters: deliveries that wait for a person, and what people decide about them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.params import FromPath

from syncserver.commands.access import Principal
from syncserver.commands.upstream.letters import Bulk, Bulked, Decision, Done, Edit
from syncserver.http import body, deliveries, parts, query, writing
from syncserver.http.deliveries import NAMES, DeliveryDetail, DeliveryPage
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.writing import KEY_HEADER

Act = Callable[[Principal, str, Decision], Awaitable[None]]

_EDIT: Final = msgspec.json.Decoder(Edit)
_DECISION: Final = msgspec.json.Decoder(Decision)
_DONE: Final = msgspec.json.Decoder(Done)
_BULK: Final = msgspec.json.Decoder(Bulk)

KEYED: Final = (KEY_HEADER,)
ACTING: Final = (
    "unknown_delivery",
    "not_dead",
    "overtaken",
    "bad_payload",
    "still_in_doubt",
    "keys_missing",
    "idempotency_key_reused",
    "bad_request",
)
LIST: Final = Operation(
    summary="List what was given up, or of which nobody knows what became, newest first.",
    right="inspect",
    gives=DeliveryPage,
    query={**NAMES, "state": "rejected or unknown"},
    problems=("bad_filter",),
)
ONE: Final = Operation(
    summary="See a dead letter: what would be sent, all attempts, what usually helps, what is wrong with it.",
    right="inspect",
    gives=DeliveryDetail,
    problems=("unknown_delivery", "keys_missing"),
)
EDIT: Final = Operation(
    summary="Put other fields in place of a dead letter's. The key under which the system knows the request stays.",
    right="integrate",
    takes=Edit,
    gives=DeliveryDetail,
    headers=KEYED,
    problems=ACTING,
)
RETRY: Final = Operation(
    summary="Have it sent again. What may stand there is looked for first, unless it is said to be absent.",
    right="integrate",
    takes=Decision,
    gives=DeliveryDetail,
    headers=KEYED,
    problems=ACTING,
)
REPLAN: Final = Operation(
    summary="Have it made anew of the records as they are, by the mapping that holds.",
    right="integrate",
    takes=Decision,
    gives=DeliveryDetail,
    headers=KEYED,
    problems=ACTING,
)
SKIP: Final = Operation(
    summary="Let it go untold; what comes later of the same object is told.",
    right="integrate",
    takes=Decision,
    gives=DeliveryDetail,
    headers=KEYED,
    problems=ACTING,
)
DONE: Final = Operation(
    summary="Note that it stands there, under which id.",
    right="integrate",
    takes=Done,
    gives=DeliveryDetail,
    headers=KEYED,
    problems=ACTING,
)
BULK: Final = Operation(
    summary="One word for many: retry, replan or skip by filter and time.",
    right="integrate",
    takes=Bulk,
    gives=Bulked,
    headers=KEYED,
    problems=("bad_filter", "bad_payload", "idempotency_key_reused", "bad_request"),
)


@get("/v1/dead_letters", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List dead letters."""
    return await deliveries.page(request, dead=True)


@get("/v1/dead_letters/{delivery_id:str}", opt=opt(ONE))
async def one(request: Asking, delivery_id: FromPath[str]) -> Response[bytes]:
    """Show a dead letter."""
    return body.answer(request, await deliveries.told(request, delivery_id))


@patch("/v1/dead_letters/{delivery_id:str}", opt=opt(EDIT))
async def edit(request: Asking, delivery_id: FromPath[str]) -> Response[bytes]:
    """Put other fields in place."""
    own = parts.found(request)
    wanted = await body.decoded(request, own.limits.bytes, _EDIT)

    async def work() -> None:
        await own.letters.edit(request.auth, delivery_id, wanted)

    return await _acted(request, delivery_id, ("edit", wanted), work)


@post("/v1/dead_letters/{delivery_id:str}/retry", opt=opt(RETRY), status_code=200)
async def retry(request: Asking, delivery_id: FromPath[str]) -> Response[bytes]:
    """Have it sent again."""
    return await _decided(request, delivery_id, "retry", parts.found(request).letters.retry)


@post("/v1/dead_letters/{delivery_id:str}/replan", opt=opt(REPLAN), status_code=200)
async def replan(request: Asking, delivery_id: FromPath[str]) -> Response[bytes]:
    """Have it made anew."""
    return await _decided(request, delivery_id, "replan", parts.found(request).letters.replan)


@post("/v1/dead_letters/{delivery_id:str}/skip", opt=opt(SKIP), status_code=200)
async def skip(request: Asking, delivery_id: FromPath[str]) -> Response[bytes]:
    """Let it go untold."""
    return await _decided(request, delivery_id, "skip", parts.found(request).letters.skip)


@post("/v1/dead_letters/{delivery_id:str}/done", opt=opt(DONE), status_code=200)
async def done(request: Asking, delivery_id: FromPath[str]) -> Response[bytes]:
    """Note that it stands there."""
    own = parts.found(request)
    wanted = await body.decoded(request, own.limits.bytes, _DONE)

    async def work() -> None:
        await own.letters.done(request.auth, delivery_id, wanted)

    return await _acted(request, delivery_id, ("done", wanted), work)


@post("/v1/dead_letters/bulk", opt=opt(BULK), status_code=200)
async def bulk(request: Asking) -> Response[bytes]:
    """Let one word hold for many."""
    own = parts.found(request)
    wanted = await body.decoded(request, own.limits.bytes, _BULK)
    since, until = (query.instant(name, getattr(wanted.filter, name)) for name in ("since", "until"))

    async def work() -> bytes:
        return msgspec.json.encode(await own.letters.bulk(request.auth, wanted, since, until))

    key = writing.key(request)
    return body.answer(request, await own.once.answered(request.auth, key, ("bulk", wanted), work))


async def _decided(request: Asking, delivery_id: str, word: str, act: Act) -> Response[bytes]:
    """Carry a decision out. One without a body says no more than its address."""
    own = parts.found(request)
    sent = await body.read(request, own.limits.bytes)
    decision = body.message(sent, _DECISION) if sent else Decision()

    async def work() -> None:
        await act(request.auth, delivery_id, decision)

    return await _acted(request, delivery_id, (word, decision), work)


async def _acted(
    request: Asking, delivery_id: str, asked: tuple[str, Any], work: Callable[[], Awaitable[None]]
) -> Response[bytes]:
    """Do it, once under its key, and answer what became of the delivery."""

    async def answer() -> bytes:
        await work()
        return await deliveries.told(request, delivery_id)

    wanted, key = ("dead_letter", delivery_id, *asked), writing.key(request)
    return body.answer(request, await parts.found(request).once.answered(request.auth, key, wanted, answer))


ROUTER: Final = Router("/", route_handlers=[listed, one, edit, retry, replan, skip, done, bulk])
