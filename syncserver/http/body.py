"""Reading and writing bodies: in JSON or MessagePack, compressed or not, and how large they may be.

The routes know JSON alone. A body in MessagePack is carried over when it comes, and an answer when
it goes; only a push is read as what it is, because each mutation of it is read alone.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request, Response
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from replication import forms, packing
from syncserver.http import negotiation, parts
from syncserver.http.problems import Problem

SMALL_BYTES_MAX: Final = 4_096
"""What is taken of somebody who has not shown a token: a code or a secret, and a name."""

OWN: Final = ("call", "document")
"""What has a limit of its own, which is none of those that devices are told."""

VARY: Final = "accept, accept-encoding"

T = TypeVar("T")


async def received(request: Request[Any, Any, Any], bytes_max: int, limit: str = "bytes") -> bytes:
    """Return the body as it is sent, as long as no more of it comes than `bytes_max`, and not too slowly."""
    seconds_max = parts.found(request).body_seconds_max
    chunks: list[bytes] = []
    size, came = request.content_length or 0, 0
    try:
        async with asyncio.timeout(seconds_max):
            stream = request.stream()
            while size <= bytes_max and (chunk := await anext(stream, None)) is not None:
                chunks.append(chunk)
                came += len(chunk)
                size = max(size, came)
    except TimeoutError as exc:
        told = f"a body has to be there within {seconds_max} s"
        raise Problem("too_slow", told, {"limit": seconds_max}, headers={"connection": "close"}) from exc
    except RequestEntityTooLarge as exc:
        raise _too_large(limit, bytes_max) from exc
    if size > bytes_max:
        raise _too_large(limit, bytes_max)
    return b"".join(chunks)


async def expanded(request: Request[Any, Any, Any], bytes_max: int, limit: str = "bytes") -> bytes:
    """Return the body as it was before it was compressed; neither form may be larger than its limit."""
    coding = negotiation.coding_sent(request.headers)
    own = parts.found(request)
    if coding is None:
        return await received(request, bytes_max, limit)
    if bytes_max == SMALL_BYTES_MAX:
        sent = await received(request, bytes_max)
    else:
        sent = await received(request, own.limits.compressed_bytes, "compressed_bytes")
    try:
        return packing.expand(sent, coding, bytes_max, own.compression.window_log_max)
    except packing.TooLarge as exc:
        raise _too_large(limit, bytes_max) from exc
    except packing.BadPacking as exc:
        raise Problem("bad_request", str(exc)) from exc


async def read(request: Request[Any, Any, Any], bytes_max: int, limit: str = "bytes") -> bytes:
    """Return the body as JSON, expanded, in whichever form it was sent; an empty one is empty."""
    body = await expanded(request, bytes_max, limit)
    if not body or negotiation.form_sent(request.headers) == "json":
        return body
    try:
        return forms.to_json(body)
    except forms.NotSaid as exc:
        raise Problem("bad_request", str(exc)) from exc


async def decoded(
    request: Request[Any, Any, Any], bytes_max: int, decoder: msgspec.json.Decoder[T], limit: str = "bytes"
) -> T:
    """Return the body as a message of the protocol. `limit` names what bounds it, if devices are not told it."""
    return message(await read(request, bytes_max, limit), decoder)


def message(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return a body that was read as a message of the protocol."""
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as exc:
        raise Problem("bad_request", str(exc)) from exc


def answer(request: Request[Any, Any, Any], body: bytes, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Return JSON in the form that the caller reads, compressed if that is worth it and the caller takes it."""
    given = {**(headers or {}), "vary": VARY}
    media_type = negotiation.media_type(request.headers)
    if negotiation.FORMS[media_type] == "msgpack":
        body = forms.to_msgpack(body)
    coding = negotiation.coding(request.headers)
    if coding is not None and len(body) >= parts.found(request).compression.bytes_min:
        given["content-encoding"] = coding
        body = packing.compress(body, coding)
    return Response(body, media_type=media_type, headers=given, status_code=200)


def _too_large(limit: str, bytes_max: int) -> Problem:
    told = f"a body may have {bytes_max} bytes" + (", expanded too" if limit in ("bytes", *OWN) else " as it is sent")
    named = f" (`{limit}` of the limits)" if limit not in OWN and bytes_max != SMALL_BYTES_MAX else ""
    return Problem("too_large", f"{told}{named}; send less at a time", {"limit": bytes_max})
