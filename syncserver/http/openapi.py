"""The OpenAPI 3.1 document, made of the routes themselves, and a page of it for people.

Each route carries its operation, so the document has every route and no other. Schemas of the
messages come from the structs that are decoded and encoded; those of the records from the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from replication.catalog import Catalog, Collection, Field
from replication.packing import CODINGS
from syncserver.http.auth import COOKIES, CSRF_HEADER, RIGHTS
from syncserver.http.negotiation import FORMS, JSON
from syncserver.http.operation import OPT, Operation
from syncserver.http.problems import CODES, MEDIA_TYPE

VERSION: Final = "3.1.0"
ABOUT: Final = "Offline-first sync for field service: devices push and pull, the office uses REST."
REF: Final = "#/components/schemas/{name}"
COLLECTION: Final = "{collection}"
PARAMETER: Final = re.compile(r"{(\w+)}")

Schema = dict[str, Any]

UUID: Final[Schema] = {"type": ["string", "null"], "format": "uuid"}
OF_KIND: Final[dict[str, Schema]] = {
    "text": {"type": ["string", "null"]},
    "choice": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"], "format": "int64"},
    "decimal": {"type": ["string", "number", "null"], "description": "Comes as text, without trailing zeros."},
    "boolean": {"type": ["boolean", "null"]},
    "instant": {"type": ["string", "null"], "format": "date-time"},
    "date": {"type": ["string", "null"], "format": "date"},
    "zone": {"type": ["string", "null"], "description": "A zone name like Europe/Zurich."},
    "reference": UUID,
    "person": UUID,
    "set": {"type": ["array", "null"], "items": {"type": "string"}, "uniqueItems": True},
    "json": {},
}
CODING: Final[Schema] = {"type": "string", "examples": [*CODINGS, "identity"]}
ANSWER_HEADERS: Final = {
    "Content-Encoding": {"description": "How the answer is compressed, if it is.", "schema": CODING},
    "Vary": {"description": "The headers on which form and compression depend.", "schema": {"type": "string"}},
}
HEADERS: Final = {
    "If-Match": (True, 'The rev that was shown, as "42".'),
    "Idempotency-Key": (False, "A repeat of the request under the same key gets the first answer."),
    "Content-Encoding": (False, "How the body is compressed."),
    "Accept-Encoding": (False, "How the answer may be compressed; weights count, zstd is preferred to gzip."),
    "X-Device-Label": (False, "Tells the devices of a person apart where the token is of no enrolled one."),
}


def document(app: Litestar, catalog: Catalog) -> dict[str, Any]:
    """Return the document for the routes of the app and the collections of a catalogue."""
    shown = sorted(_operations(app), key=lambda each: (each[0], each[1]))
    types = {id(kind): kind for _, _, op in shown for kind in (op.takes, op.gives) if isinstance(kind, type)}
    _, messages = msgspec.json.schema_components(list(types.values()), ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for path, method, operation in shown:
        paths.setdefault(path, {})[method] = _described(path, method, operation, catalog)
    return {
        "openapi": VERSION,
        "info": {
            "title": "fieldsync",
            "version": "1",
            "description": "Offline-first sync for field service: devices push and pull, the office uses REST.",
        },
        "paths": paths,
        "components": {
            "schemas": {**messages, **_records(catalog), "Problem": _problem()},
            "securitySchemes": _schemes(),
        },
    }


def _operations(app: Litestar) -> Iterator[tuple[str, str, Operation]]:
    """Yield path, method and operation of each route."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                yield from _of_handler(route.path_format, handler)


def _of_handler(path: str, handler: HTTPRouteHandler) -> Iterator[tuple[str, str, Operation]]:
    operation = handler.opt.get(OPT)
    if isinstance(operation, Operation):
        shown = path.replace(COLLECTION, operation.only) if operation.only else path
        for method in handler.http_methods:
            yield shown, str(method).lower(), operation


def _described(path: str, method: str, operation: Operation, catalog: Catalog) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": f"{method}_{PARAMETER.sub('one', path).strip('/').replace('/', '_').replace('.', '_')}",
        "summary": operation.summary,
        "parameters": list(_parameters(path, operation, catalog)),
        "responses": {**_answers(operation), **_refusals(operation.all_problems)},
        "security": [{"token": []}, {"session": []}] if operation.right else [],
    }
    if operation.right:
        told["description"] = f"Roles: {', '.join(role for role, may in RIGHTS.items() if operation.right in may)}."
    if operation.takes is not None:
        told["requestBody"] = {"required": True, "content": _content(operation.takes)}
    return told


def _parameters(path: str, operation: Operation, catalog: Catalog) -> Iterator[dict[str, Any]]:
    for name in PARAMETER.findall(path):
        schema: Schema = {"type": "string"}
        if name == "collection":
            schema["examples"] = sorted(catalog.collections)
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, text in operation.query.items():
        yield {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
    codings = {"Content-Encoding": operation.takes is not None, "Accept-Encoding": operation.is_negotiated}
    for name in (*operation.headers, *(name for name, has in codings.items() if has)):
        required, text = HEADERS[name]
        schema = CODING if name in codings else {"type": "string"}
        yield {"name": name, "in": "header", "required": required, "description": text, "schema": schema}


def _schemes() -> dict[str, Schema]:
    by_cookie = f"Given by a sign-in. Writes send {CSRF_HEADER} beside it, as /v1/auth/session gives it."
    return {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIES[0], "description": by_cookie},
    }


def _answers(operation: Operation) -> dict[str, Any]:
    if operation.gives == "redirect":
        return {"302": {"description": "The browser goes on to another address."}}
    return {"200": _answer(operation)}


def _answer(operation: Operation) -> dict[str, Any]:
    own = operation.own_media_type
    if operation.is_negotiated:
        content = _content(operation.gives)
        return {"description": "The answer.", "headers": ANSWER_HEADERS, "content": content}
    if own not in (None, JSON):
        return {"description": "Text.", "content": {own: {"schema": {"type": "string"}}}}
    return {"description": "The answer.", "content": {JSON: {"schema": {} if own else _schema(operation.gives)}}}


def _content(kind: Any) -> dict[str, Any]:
    """Return the same message in each form that it may have."""
    return {media_type: {"schema": _schema(kind)} for media_type in FORMS}


def _schema(kind: Any) -> Schema:
    return {"$ref": REF.format(name=kind if isinstance(kind, str) else kind.__name__)}


def _refusals(names: Iterable[str]) -> dict[str, Any]:
    """Return the problems by status; several may share one."""
    statuses: dict[str, list[str]] = {}
    for name in sorted(names):
        statuses.setdefault(str(CODES[name].status), []).append(name)
    return {status: {"description": ", ".join(told), "content": _told(told)} for status, told in statuses.items()}


def _told(codes: list[str]) -> dict[str, Any]:
    code = {"type": "object", "properties": {"code": {"enum": codes}}}
    return {MEDIA_TYPE: {"schema": {"allOf": [{"$ref": REF.format(name="Problem")}, code]}}}


def _problem() -> Schema:
    properties: Schema = {name: {"type": "string"} for name in ("type", "title", "detail")}
    properties |= {"status": {"type": "integer"}, "code": {"enum": sorted(CODES)}}
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _records(catalog: Catalog) -> dict[str, Schema]:
    """Return a schema for each collection, and those of records, lists and writes of any of them."""
    known = {name: _record(collection) for name, collection in catalog.collections.items()}
    item: Schema = {"anyOf": [{"$ref": REF.format(name=name)} for name in known]}
    page = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item}, "cursor": {"type": ["string", "null"]}},
        "required": ["items", "cursor"],
    }
    part: Schema = {"type": "object"}
    parts = {"type": "object", "properties": {"set": part, "do": part, "was": part}}
    fields = {"type": "object", "description": "Fields of the collection, and the id where a record is made."}
    return {**known, "Record": item, "RecordPage": page, "Write": {"anyOf": [fields, parts]}}


def _record(collection: Collection) -> Schema:
    own: Schema = {"id": {"type": "string", "format": "uuid"}, "rev": {"type": "integer", "readOnly": True}}
    properties = own | {name: _field(field) for name, field in collection.fields.items()}
    return {"type": "object", "properties": properties, "required": ["id", "rev"]}


def _field(field: Field) -> Schema:
    schema = dict(OF_KIND[field.kind])
    if field.kind == "text":
        schema["maxLength"] = field.size_max
    if field.kind == "set":
        schema["maxItems"] = field.size_max
    if field.kind == "choice":
        schema["enum"] = [*field.choices, None]
    if field.to:
        schema["description"] = f"The id of one of {field.to}."
    return schema


def page(made: dict[str, Any]) -> str:
    """Return the document as one page that loads nothing from elsewhere."""
    rows = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(told['summary'])} {escape(told.get('description', ''))}</td></tr>"
        for path, methods in made["paths"].items()
        for method, told in methods.items()
    )
    problems = "".join(
        f'<tr id="{name}"><td><code>{name}</code></td><td>{kind.status}</td><td>{escape(kind.title)}</td></tr>'
        for name, kind in CODES.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>fieldsync</title>'
        "<style>body{font:16px sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
        "td{padding:.3em .8em .3em 0;vertical-align:top}tr:target{background:#ffd}</style>"
        '<h1>fieldsync</h1><p>For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"<h2>Routes</h2><table>{rows}</table><h2>Problems</h2><table>{problems}</table></html>"
    )
