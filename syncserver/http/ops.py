"""For operators and for whoever writes against the service: is it up, what does it count, what does it offer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec
from litestar import Litestar, MediaType, Request, Response, Router, get

from syncserver.commands.commit import RETRY_AFTER_MS
from syncserver.commands.errors import Unavailable
from syncserver.http import metrics, openapi, parts
from syncserver.http.operation import Operation, opt


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str


HEALTH: Final = Operation(summary="The process answers.", right=None, gives=Health)
READY: Final = Operation(
    summary="The service can settle pushes: the database answers.",
    right=None,
    gives=Health,
    problems=("unavailable",),
)
METRICS: Final = Operation(summary="Counters, for Prometheus.", right=None, gives="text")
DOCUMENT: Final = Operation(summary="This document.", right=None, gives="any")
PAGE: Final = Operation(summary="This document as a page for people.", right=None, gives="html")


@get("/health", opt=opt(HEALTH))
async def health() -> Response[bytes]:
    """Say that the process answers."""
    return Response(msgspec.json.encode(Health("ok")), media_type=MediaType.JSON)


@get("/ready", opt=opt(READY))
async def ready(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Say whether pushes can be settled."""
    if not await parts.found(request).is_ready():
        raise Unavailable("the database does not answer", retry_after_ms=RETRY_AFTER_MS)
    return Response(msgspec.json.encode(Health("ready")), media_type=MediaType.JSON)


@get("/metrics", opt=opt(METRICS))
async def counted(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Give the counters."""
    own = parts.found(request)
    return Response(own.metrics.page(await own.access.largest_lag()), media_type=metrics.MEDIA_TYPE)


@get("/openapi.json", opt=opt(DOCUMENT))
async def document(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Give the OpenAPI document."""
    return Response(_documents(request.app)[0], media_type=MediaType.JSON)


@get("/docs", opt=opt(PAGE))
async def page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Give the document as a page."""
    return Response(_documents(request.app)[1], media_type=MediaType.HTML)


@lru_cache(maxsize=4)
def _documents(app: Litestar) -> tuple[bytes, bytes]:
    """Make both once for each app: routes and the shipped catalogue do not change while it runs."""
    made = openapi.document(app, parts.of(app).shipped)
    return msgspec.json.encode(made), openapi.page(made).encode()


ROUTER: Final = Router("/", route_handlers=[health, ready, counted, document, page])
