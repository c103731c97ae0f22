"""Versions of mappings: drafted, validated, compared, published, put back; and the fields that objects have there."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromPath

from syncserver.commands.upstream.mappings import LIMIT, LIMIT_MAX, Comparison, Draft, Report, Version
from syncserver.http import body, parts, query, writing
from syncserver.http.office import PAGING
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.problems import Problem
from syncserver.http.writing import KEY_HEADER


class MappingPage(msgspec.Struct, frozen=True):
    """A page of versions, newest first, without their texts."""

    items: list[Version]
    cursor: str | None


class ObjectField(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an object there."""

    path: str
    type: str
    required: bool
    writable: bool
    choices: tuple[str, ...]
    length_max: int
    """The most characters that it takes; 0: not known."""


class ObjectFields(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an object there, and how they were found out."""

    object: str
    source: str
    fields: list[ObjectField]


class RollingBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which version is to hold again, and why."""

    version: int
    note: str = ""


_DRAFT: Final = msgspec.json.Decoder(Draft)
_ROLLING_BACK: Final = msgspec.json.Decoder(RollingBack)
_VERSION: Final = re.compile(r"[1-9]\d{0,8}", re.ASCII)

KEYED: Final = (KEY_HEADER,)
OF_ONE: Final = ("unknown_connection", "unknown_mapping", "no_catalogue", "code_unavailable")
OF_KEY: Final = ("idempotency_key_reused", "bad_request")
LIST: Final = Operation(
    summary="List the versions of a connection's mapping, newest first.",
    right="inspect",
    gives=MappingPage,
    query={**PAGING, "connection": "whose mapping; has to be given"},
    problems=("bad_filter", "unknown_connection"),
)
DRAFT: Final = Operation(
    summary="Keep the text of a mapping as the next version, a draft.",
    right="integrate",
    takes=Draft,
    gives=Version,
    headers=KEYED,
    problems=("unknown_connection", "mapping_unusable", *OF_KEY),
)
ONE: Final = Operation(
    summary="See a version with its text.",
    right="inspect",
    gives=Version,
    problems=("unknown_connection", "unknown_mapping"),
)
VALIDATE: Final = Operation(
    summary="Hold a version against our fields, the fields there and captured samples.",
    right="inspect",
    gives=Report,
    problems=OF_ONE,
)
DIFF: Final = Operation(
    summary="What a version does otherwise than another, row by row and sample by sample.",
    right="inspect",
    gives=Comparison,
    query={"against": "the other version, 0 for none; without it, the one that holds"},
    problems=(*OF_ONE, "bad_filter"),
)
PUBLISH: Final = Operation(
    summary="Let a version hold, if nothing is wrong with it. Deliveries under way keep theirs.",
    right="integrate",
    gives=Version,
    headers=KEYED,
    problems=(*OF_ONE, *OF_KEY, "mapping_refused"),
)
ROLL_BACK: Final = Operation(
    summary="Let an older version hold again, under a new number.",
    right="integrate",
    takes=RollingBack,
    gives=Version,
    headers=KEYED,
    problems=("unknown_connection", "unknown_mapping", "mapping_refused", "mapping_unusable", *OF_KEY),
)
FIELDS: Final = Operation(
    summary="The fields that an object has there, as found out lately, or asked for now.",
    right="integrate",
    gives=ObjectFields,
    query={"fresh": "true: ask the system now"},
    problems=("unknown_connection", "not_discovered", "bad_filter", "keys_missing"),
)


@get("/v1/mappings", opt=opt(LIST))
async def listed(request: Asking) -> Response[bytes]:
    """List versions."""
    asked = query.known(request, LIST.query)
    if not asked.get("connection"):
        raise Problem("bad_filter", "connection: name the connection whose mapping is meant")
    limit = query.number(asked.get("limit"), LIMIT, LIMIT_MAX - 1)
    below = _number("cursor", asked["cursor"]) if asked.get("cursor") else None
    found = await parts.found(request).mappings.listed(request.auth, asked["connection"], below=below, limit=limit + 1)
    cursor = str(found[limit - 1].version) if len(found) > limit else None
    return body.answer(request, msgspec.json.encode(MappingPage(found[:limit], cursor)))


@post("/v1/mappings", opt=opt(DRAFT), status_code=200)
async def draft(request: Asking) -> Response[bytes]:
    """Keep a draft."""
    own = parts.found(request)
    wanted = await body.decoded(request, own.limits.bytes, _DRAFT)

    async def work() -> bytes:
        return msgspec.json.encode(await own.mappings.draft(request.auth, wanted))

    key = writing.key(request)
    return body.answer(request, await own.once.answered(request.auth, key, ("draft", wanted), work))


@get("/v1/mappings/{connection_id:str}/{version:str}", opt=opt(ONE))
async def one(request: Asking, connection_id: FromPath[str], version: FromPath[str]) -> Response[bytes]:
    """Show a version."""
    found = await parts.found(request).mappings.one(request.auth, connection_id, _version(version))
    return body.answer(request, msgspec.json.encode(found))


@get("/v1/mappings/{connection_id:str}/{version:str}/validate", opt=opt(VALIDATE))
async def validate(request: Asking, connection_id: FromPath[str], version: FromPath[str]) -> Response[bytes]:
    """Validate a version."""
    found = await parts.found(request).mappings.validate(request.auth, connection_id, _version(version))
    return body.answer(request, msgspec.json.encode(found))


@get("/v1/mappings/{connection_id:str}/{version:str}/diff", opt=opt(DIFF))
async def diff(request: Asking, connection_id: FromPath[str], version: FromPath[str]) -> Response[bytes]:
    """Compare a version."""
    against = query.known(request, DIFF.query).get("against")
    before = None if not against else 0 if against == "0" else _number("against", against)
    found = await parts.found(request).mappings.diff(request.auth, connection_id, _version(version), before)
    return body.answer(request, msgspec.json.encode(found))


@post("/v1/mappings/{connection_id:str}/{version:str}/publish", opt=opt(PUBLISH), status_code=200)
async def publish(request: Asking, connection_id: FromPath[str], version: FromPath[str]) -> Response[bytes]:
    """Let a version hold."""
    own, number = parts.found(request), _version(version)

    async def work() -> bytes:
        return msgspec.json.encode(await own.mappings.publish(request.auth, connection_id, number))

    asked = ("publish", connection_id, number)
    return body.answer(request, await own.once.answered(request.auth, writing.key(request), asked, work))


@post("/v1/mappings/{connection_id:str}/roll_back", opt=opt(ROLL_BACK), status_code=200)
async def roll_back(request: Asking, connection_id: FromPath[str]) -> Response[bytes]:
    """Let an older version hold again."""
    own = parts.found(request)
    wanted = await body.decoded(request, own.limits.bytes, _ROLLING_BACK)
    number = _version(str(wanted.version))

    async def work() -> bytes:
        held = await own.mappings.roll_back(request.auth, connection_id, number, wanted.note)
        return msgspec.json.encode(held)

    asked = ("roll back", connection_id, wanted)
    return body.answer(request, await own.once.answered(request.auth, writing.key(request), asked, work))


@get("/v1/connections/{connection_id:str}/fields/{name:str}", opt=opt(FIELDS))
async def fields(request: Asking, connection_id: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """Show the fields of an object there."""
    fresh = query.switch("fresh", query.known(request, FIELDS.query).get("fresh"), default=False)
    found = await parts.found(request).mappings.fields(request.auth, connection_id, name, fresh=fresh)
    listed = [
        ObjectField(
            path=each.path,
            type=each.type,
            required=each.required,
            writable=each.writable,
            choices=each.choices,
            length_max=each.length_max,
        )
        for each in found.fields
    ]
    return body.answer(
        request, msgspec.json.encode(ObjectFields(object=found.object, source=found.source, fields=listed))
    )


def _number(name: str, text: str) -> int:
    if _VERSION.fullmatch(text) is None:
        raise Problem("bad_filter", f"{name} is {text[: query.SHOWN_CHARACTERS]!r}, which is no version")
    return int(text)


def _version(text: str) -> int:
    """Return the number of a version; what is none is of none."""
    if _VERSION.fullmatch(text) is None:
        raise Problem("unknown_mapping", f"{text[: query.SHOWN_CHARACTERS]!r} is no version of a mapping")
    return int(text)


ROUTER: Final = Router("/", route_handlers=[listed, draft, one, validate, diff, publish, roll_back, fields])
