"""Where vendors call: the signature is checked, what they say is kept, and they are answered.

Whatever is wrong with a call, the answer is the same, so that nobody can find out which connections
there are. Nothing is fetched or judged while the vendor waits.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Response, Router, route
from litestar.params import FromPath

from syncserver.commands.absorb import Call
from syncserver.http import body, parts
from syncserver.http.operation import Operation, opt

HEADER: Final = "header:"


class Received(msgspec.Struct, frozen=True):
    """The call is kept: how many of its events were new, how many had come before."""

    new: int
    repeated: int


CALL: Final = Operation(
    summary="A vendor tells what happened; its signature is the right to do so. GET is for vendors that ask first.",
    right=None,
    gives="any",
    problems=("hook_refused", "too_slow", "too_large", "too_many_events", "unavailable"),
)


@route("/v1/hooks/{connection:str}", http_method=["GET", "POST"], opt=opt(CALL))
async def call(request: Request[Any, Any, Any], connection: FromPath[str]) -> Response[bytes]:
    """Keep what a vendor says."""
    own = parts.found(request)
    sent = await body.received(request, own.hook_bytes_max, "call")
    taken = await own.hooks.receive(
        Call(
            connection=connection,
            method=request.method,
            url=str(request.url),
            headers=request.scope["headers"],
            body=sent,
        ),
        own.now_ms(),
    )
    received = msgspec.json.encode(Received(taken.new, taken.repeated))
    if taken.echo is None:
        return Response(received, media_type=MediaType.JSON, status_code=200)
    return _echoed(taken.echo.value, taken.echo.place, received)


def _echoed(value: str, place: str, received: bytes) -> Response[bytes]:
    """Give a vendor back what it wants to see, where it looks for it."""
    safe = {"x-content-type-options": "nosniff"}
    if place.startswith(HEADER):
        headers = {**safe, place.removeprefix(HEADER): value}
        return Response(received, media_type=MediaType.JSON, headers=headers, status_code=200)
    if place:
        told: Any = value
        for name in reversed(place.split(".")):
            told = {name: told}
        return Response(msgspec.json.encode(told), media_type=MediaType.JSON, headers=safe, status_code=200)
    return Response(value.encode(), media_type=MediaType.TEXT, headers=safe, status_code=200)


ROUTER: Final = Router("/", route_handlers=[call])
