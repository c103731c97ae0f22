"""Canaries: the record of each object there that is read again and again to see whether the system has changed."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from litestar import Response, Router, delete, get, put
from litestar.params import FromPath

from syncserver.commands.upstream.canaries import Naming, Shown
from syncserver.http import body, parts
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking


class DriftItem(msgspec.Struct, frozen=True, kw_only=True):
    """In what a canary is not what it was: field, kind of change, what it was and is, and which rows that hits."""

    field: str
    change: str
    was: str
    now: str
    rows: tuple[str, ...]
    said: str


class CanaryItem(msgspec.Struct, frozen=True, kw_only=True):
    """A canary. `kept_at`: since when it is held against; `reason`: why it could not be read the last time."""

    object: str
    remote_id: str
    writes: bool
    every_seconds: int
    kept_at: datetime | None
    read_at: datetime | None
    findings: list[DriftItem]
    reason: str


class CanaryPage(msgspec.Struct, frozen=True):
    """The canaries of a connection, by object."""

    items: list[CanaryItem]


class CanaryRemoved(msgspec.Struct, frozen=True):
    """Whether the object had a canary, which is forgotten now."""

    object: str
    removed: bool


_NAMING: Final = msgspec.json.Decoder(Naming)

LIST: Final = Operation(
    summary="See the canaries of a connection, and in what they are not what they were.",
    right="inspect",
    gives=CanaryPage,
    problems=("unknown_connection",),
)
PUT: Final = Operation(
    summary="Name the canary of an object. What stands there when it is read next is taken for right.",
    right="integrate",
    takes=Naming,
    gives=CanaryItem,
    problems=("unknown_connection", "bad_connection"),
)
REMOVE: Final = Operation(
    summary="Have an object no canary any more.",
    right="integrate",
    gives=CanaryRemoved,
    problems=("unknown_connection",),
)


@get("/v1/connections/{connection_id:str}/canaries", opt=opt(LIST))
async def listed(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """List canaries."""
    found = await parts.found(request).canaries.listed(request.auth, connection_id)
    return body.answer(request, msgspec.json.encode(CanaryPage([_item(each) for each in found])))


@put("/v1/connections/{connection_id:str}/canaries/{name:str}", opt=opt(PUT))
async def name_it(request: Asking, connection_id: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Name a canary."""
    own = parts.found(request)
    naming = await body.decoded(request, own.limits.bytes, _NAMING)
    made = await own.canaries.put(request.auth, connection_id, name, naming)
    return body.answer(request, msgspec.json.encode(_item(made)))


@delete("/v1/connections/{connection_id:str}/canaries/{name:str}", opt=opt(REMOVE), status_code=200)
async def remove(request: Asking, connection_id: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Forget a canary."""
    gone = await parts.found(request).canaries.remove(request.auth, connection_id, name)
    return body.answer(request, msgspec.json.encode(CanaryRemoved(name, gone)))


def _item(shown: Shown) -> CanaryItem:
    return CanaryItem(
        object=shown.object,
        remote_id=shown.remote_id,
        writes=shown.writes,
        every_seconds=shown.every_seconds,
        kept_at=shown.kept_at,
        read_at=shown.read_at,
        findings=[
            DriftItem(field=each.field, change=each.change, was=each.old, now=each.new, rows=each.rows, said=str(each))
            for each in shown.findings
        ],
        reason=shown.reason,
    )


ROUTER: Final = Router("/", route_handlers=[listed, name_it, remove])
