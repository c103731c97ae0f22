"""Receipts: received, applied, told to which system when, or waiting, and why. For the field too."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Response, Router, get
from litestar.params import FromPath

from syncserver.commands.upstream.receipts import Receipt
from syncserver.http import body, parts
from syncserver.http.office import READING
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking

RECEIPT: Final = Operation(
    summary="The receipt of a record and of what belongs to it. A technician gets those of records that they hold.",
    right="read",
    gives=Receipt,
    problems=READING,
)


@get("/v1/receipts/{collection:str}/{record_id:str}", opt=opt(RECEIPT))
async def receipt(request: Asking, collection: FromPath[str], record_id: FromPath[str]) -> Response[bytes]:
    """Give the receipt of a record."""
    found = await parts.found(request).receipts.of(request.auth, collection, record_id.lower())
    return body.answer(request, msgspec.json.encode(found))


ROUTER: Final = Router("/", route_handlers=[receipt])
