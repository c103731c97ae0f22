"""Whether fields can be sent as an object: held against what the system takes, before a person sends them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from upstream import calls, deadletter, delivery, holes, judging, schema
from upstream.contract import fits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from upstream.connections import Connection
    from upstream.contract import Contract
    from upstream.deadletter import Letter
    from upstream.manifest import Manifest, Operation
    from upstream.schema import Schema

BYTES_MAX: Final = 200_000
PROBLEMS_MAX: Final = 50
_CREDENTIAL: Final = re.compile(r"\$\{auth\.([\w.-]+)\}")
"""Credentials are not looked at: whatever is named is taken to be there."""
PLACE: Final = "https://vendor.invalid"


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What fields are held against: how the system is spoken to, what it was seen to take, what it says of itself."""

    connection: Connection
    manifest: Manifest
    contract: Contract | None
    schemas: Mapping[str, Schema]


def problems(around: Surroundings, letter: Letter, fields: dict[str, Any]) -> list[str]:
    """Return what is wrong with fields that are to be sent in place of a letter's."""
    return [said for _, said in zip(range(PROBLEMS_MAX), _problems(around, letter, fields), strict=False)]


def _problems(around: Surroundings, letter: Letter, fields: dict[str, Any]) -> Iterator[str]:
    if len(msgspec.json.encode(fields)) > BYTES_MAX:
        yield f"fields: are larger than {BYTES_MAX} bytes"
        return
    target = around.manifest.targets.get(letter.object)
    if target is None:
        yield f"object: {around.manifest.title} has no {letter.object} any more"
        return
    yield from deadletter.keeps_marks(letter, fields, (target.marker, target.natural_key))
    operation = around.manifest.operations.get(delivery.operation(target, letter.action, letter.remote_id or ""))
    if operation is not None:
        yield from _as_sent(around, operation, letter, fields)
    if letter.object in around.schemas:
        yield from _by_schema(around.schemas[letter.object], fields)


def _as_sent(around: Surroundings, operation: Operation, letter: Letter, fields: dict[str, Any]) -> Iterator[str]:
    """Yield what the contract has against the request that the fields would become."""
    defaults = {name: entry.default or "-" for name, entry in around.manifest.config.items()}
    names = {
        "config": {**defaults, **around.connection.config},
        "auth": dict.fromkeys(_CREDENTIAL.findall(msgspec.json.encode(operation).decode()), "-"),
        "value": fields,
        "remote": {"id": letter.remote_id or "-", "version": letter.remote_version or "-"},
        "page": {},
    }
    try:
        call = calls.build(operation, PLACE, names, key=letter.idempotency_key)
    except (holes.NothingThere, holes.NoPlace) as exc:
        yield f"fields: {exc}"
        return
    if around.contract is None:
        return
    body = dict(call.form) if call.form else msgspec.json.decode(call.body) if call.body else None
    request = judging.Request(method=call.method, path=urlsplit(call.url).path, query=dict(call.query), body=body)
    for deviation in judging.judge(around.contract, request):
        if deviation.place.partition(".")[0] == "body":
            yield f"{deviation.place}: {deviation.message}"


def _by_schema(known: Schema, fields: dict[str, Any]) -> Iterator[str]:
    """Yield what the system's own list of fields has against the values."""
    by_path = known.by_path()
    for path, value in schema.walked(fields):
        field = by_path.get(path)
        if field is None or value is None:
            continue
        if not fits(value, field.type):
            yield f"{path}: {str(value)[:60]!r} does not fit; it must be {field.type.replace('_', ' ')}"
        elif field.choices and str(value) not in field.choices:
            yield f"{path}: {str(value)[:60]!r} is not allowed (allowed: {', '.join(field.choices)})"
