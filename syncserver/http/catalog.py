"""The tenant's catalogue as clients need it: the kinds of fields, which of them form a cell, what the policy says."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Response, Router, get

from replication.catalog import Catalog
from syncserver.http import body, parts
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking

CATALOG: Final = Operation(
    summary="The catalogue by which the tenant's mutations are judged; verdicts name its version as `schema`.",
    right="read",
    gives=Catalog,
    problems=("no_catalogue",),
)


@get("/v1/catalog", opt=opt(CATALOG))
async def current(request: Asking) -> Response[bytes]:
    """Give the catalogue."""
    found = await parts.found(request).office.catalog(request.auth.tenant_id)
    return body.answer(request, msgspec.json.encode(found))


ROUTER: Final = Router("/", route_handlers=[current])
