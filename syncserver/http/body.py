"""Reading and writing bodies: how large they may be, and compressed ones."""

from __future__ import annotations

import gzip
import zlib
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request, Response

from syncserver.http.problems import Problem

JSON: Final = "application/json"
COMPRESS_BYTES_MIN: Final = 1_400
"""What fits into one packet is not worth the work."""

GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS

T = TypeVar("T")


async def read(request: Request[Any, Any, Any], bytes_max: int) -> bytes:
    """Return the body, expanded; neither form may be larger than the limit."""
    sent = await request.body()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if len(sent) > bytes_max:
        raise _too_large(bytes_max)
    if encoding in ("", "identity"):
        return sent
    if encoding not in ("gzip", "x-gzip"):
        raise Problem("unsupported_encoding", f"content-encoding {encoding!r} is not taken; gzip is")
    return _expand(sent, bytes_max)


async def decoded(request: Request[Any, Any, Any], bytes_max: int, decoder: msgspec.json.Decoder[T]) -> T:
    """Return the body as a message of the protocol."""
    body = await read(request, bytes_max)
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as exc:
        raise Problem("bad_request", str(exc)) from exc


def answer(request: Request[Any, Any, Any], body: bytes, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Return JSON, compressed if that is worth it and the caller takes it."""
    given = dict(headers or {})
    if len(body) >= COMPRESS_BYTES_MIN:
        given["vary"] = "accept-encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            given["content-encoding"] = "gzip"
            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
    return Response(body, media_type=JSON, headers=given, status_code=200)


def _expand(sent: bytes, bytes_max: int) -> bytes:
    """Expand gzip up to the limit, so that a few bytes cannot fill the memory."""
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    try:
        body = inflater.decompress(sent, bytes_max + 1)
    except zlib.error as exc:
        raise Problem("bad_request", "the body is no gzip") from exc
    if len(body) > bytes_max:
        raise _too_large(bytes_max)
    if not inflater.eof or inflater.unused_data:
        raise Problem("bad_request", "the gzip of the body is cut off or followed by something else")
    return body


def _too_large(bytes_max: int) -> Problem:
    return Problem("too_large", f"a body may have {bytes_max} bytes, expanded too", {"limit": bytes_max})
