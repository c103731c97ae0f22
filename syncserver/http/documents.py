"""OpenAPI documents of systems: looked at, drafted from, and given to connections."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Response, Router, get, post, put
from litestar.params import FromPath

from syncserver.commands.upstream.documents import Choosing, Drafted, Offered, Showing, Standing
from syncserver.http import body, parts
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking

_CHOOSING: Final = msgspec.json.Decoder(Choosing)
_SHOWING: Final = msgspec.json.Decoder(Showing)

OFFERS: Final = Operation(
    summary="What an OpenAPI document offers: operations with their fields, ways of signing in, and what is unusable.",
    right="integrate",
    takes=Showing,
    gives=Offered,
    problems=("bad_manifest",),
)
DRAFTS: Final = Operation(
    summary="The manifest of what is chosen of a document, and what a connection by it needs. Nothing is kept.",
    right="integrate",
    takes=Choosing,
    gives=Drafted,
    problems=("bad_manifest",),
)
ONE: Final = Operation(
    summary="See which OpenAPI document a connection has.",
    right="inspect",
    gives=Standing,
    problems=("unknown_connection",),
)
PUT: Final = Operation(
    summary="Give a connection another OpenAPI document: answers which fields changed, and which rows that hits.",
    right="integrate",
    takes=Showing,
    gives=Standing,
    problems=("unknown_connection", "bad_manifest"),
)


@post("/v1/connections/offers", opt=opt(OFFERS), status_code=200)
async def offers(request: Asking) -> Response[bytes]:
    """Show what a document offers."""
    own = parts.found(request)
    asked = await body.decoded(request, own.document_bytes_max, _SHOWING, "document")
    return body.answer(request, msgspec.json.encode(await own.documents.offered(asked.document)))


@post("/v1/connections/drafts", opt=opt(DRAFTS), status_code=200)
async def drafts(request: Asking) -> Response[bytes]:
    """Draft a manifest."""
    own = parts.found(request)
    asked = await body.decoded(request, own.document_bytes_max, _CHOOSING, "document")
    return body.answer(request, msgspec.json.encode(await own.documents.drafted(asked)))


@get("/v1/connections/{connection_id:str}/document", opt=opt(ONE))
async def one(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Show which document a connection has."""
    return body.answer(
        request, msgspec.json.encode(await parts.found(request).documents.shown(request.auth, connection_id))
    )


@put("/v1/connections/{connection_id:str}/document", opt=opt(PUT), status_code=200)
async def give(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Give a connection another document."""
    own = parts.found(request)
    asked = await body.decoded(request, own.document_bytes_max, _SHOWING, "document")
    return body.answer(
        request, msgspec.json.encode(await own.documents.put(request.auth, connection_id, asked.document))
    )


ROUTER: Final = Router("/", route_handlers=[offers, drafts, one, give])
