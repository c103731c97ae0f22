"""What a system's folder begins from, beside the manifest: a contract and a mapping, as a document has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from upstream import openapi
from upstream.schema import Unreadable
from upstream.vendors.openapi import drafting, toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from upstream.manifest import Manifest, Operation
    from upstream.schema import Field, Schema

FIELDS_MAX: Final = 400
"""How many fields of a request the contract lists."""
OURS: Final = {
    "id": "record.id",
    "number": "record.id",
    "title": "record.title",
    "name": "record.title",
    "subject": "record.title",
    "summary": "record.summary",
    "description": "record.summary",
}
"""What of a work order is taken for fields of these names, to begin with."""
_HOLE: Final = re.compile(r"\$\{(?:\w+\.)?([^{}]*)\}")


def contract(document: Mapping[str, Any], manifest: Manifest, today: date) -> str:
    """Return the text of the contract: what is used of the system, with the fields of each request."""
    source = f"The OpenAPI document {drafting.title(document)!r}"
    operations = {name: _agreed(document, manifest, each, source) for name, each in manifest.operations.items()}
    head = {"system": manifest.system, "title": manifest.title, "grade": manifest.grade}
    return f"{toml.written(head)}checked = {today.isoformat()}\n\n{toml.written({'operations': operations})}"


def mapping(schemas: Mapping[str, Schema], marker: Mapping[str, str]) -> str:
    """Return the text of a mapping of work orders to each object; what must be given and is not is a remark."""
    return "\n".join(_mapped(name, schema, marker.get(name, "")) for name, schema in schemas.items())


def _agreed(document: Mapping[str, Any], manifest: Manifest, each: Operation, source: str) -> dict[str, Any]:
    path = _HOLE.sub(r"{\1}", each.path)
    found = openapi.operation_at(document, each.method, path)
    made: dict[str, Any] = {"method": each.method, "path": path}
    made["does"] = str(found.get("summary") or found.get("operationId") or f"{each.method} {path}")
    made |= {"source": source, "grade": manifest.grade}
    if each.method in ("POST", "PUT", "PATCH") and (fields := _fields(document, each.method, path)):
        made["form"] = openapi.body_kind(document, each.method, path)
        made["body"] = {field.path: _shape(field) for field in fields}
        made |= {"body_is_list": True} if fields[0].path.startswith("*") else {}
    return made


def _fields(document: Mapping[str, Any], method: str, path: str) -> tuple[Field, ...]:
    try:
        return openapi.request_schema(document, method, path, "request").fields[:FIELDS_MAX]
    except Unreadable:
        return ()


def _shape(field: Field) -> dict[str, Any]:
    made: dict[str, Any] = {"type": field.type, "required": field.required}
    made |= {"choices": list(field.choices)} if field.choices else {}
    return made | ({"length_max": field.length_max} if field.length_max else {})


def _mapped(name: str, schema: Schema, marker: str) -> str:
    flat = [field for field in schema.fields if "." not in field.path and field.path != marker]
    known = [field for field in flat if field.path.lower() in OURS]
    open_ones = [f"{field.path} ({field.type})" for field in flat if field.required and field not in known]
    rows = [f"  {{ target = {toml.text(f.path)}, source = {toml.text(OURS[f.path.lower()])} }},\n" for f in known]
    remark = f"# Must be given too: {', '.join(open_ones)}.\n" if open_ones else ""
    return (
        f"# Work orders to {name}, by the names of its fields: a beginning, to be completed.\n{remark}"
        f'[[out]]\nobject = {toml.text(name)}\ncollection = "work_orders"\nrows = [\n{"".join(rows)}]\n'
    )
