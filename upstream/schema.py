"""What fields an object has there, as it was found out: one shape for all the ways of finding out.

Fields are listed flat, by path: `lines.*.amount` is `amount` of each item of the list `lines`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from upstream import holes
from upstream.contract import EVERY, FieldType, fits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from upstream.manifest import Discovery

Source: TypeAlias = Literal["describe", "metadata", "sample", "openapi"]

FIELDS_MAX: Final = 3_000
SAMPLES_MAX: Final = 200
DEPTH_MAX: Final = 8
TYPES: Final[dict[str, FieldType]] = {
    **dict.fromkeys(
        ("string", "text", "textarea", "picklist", "multipicklist", "id", "reference", "email", "phone", "url"), "text"
    ),
    **dict.fromkeys(("int", "integer", "long", "int32", "int64"), "integer"),
    **dict.fromkeys(("double", "currency", "percent", "number", "float", "decimal"), "number"),
    **dict.fromkeys(("boolean", "bool", "checkbox"), "boolean"),
    **dict.fromkeys(("datetime", "date-time", "timestamp", "instant"), "instant"),
    **dict.fromkeys(("object", "struct", "address", "location"), "object"),
    **dict.fromkeys(("array", "list"), "list"),
    **dict.fromkeys(("date",), "date"),
    **dict.fromkeys(("uuid", "guid"), "uuid"),
}
"""What vendors' names of types mean, unless a manifest says otherwise; any other may hold anything."""
GUESSES: Final[tuple[FieldType, ...]] = (
    "boolean",
    "integer",
    "number",
    "uuid",
    "instant",
    "date",
    "text",
    "list",
    "object",
)
"""In this order a type is guessed from values."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field: what it holds, whether it must be given, what may stand there, whether we may write it."""

    path: str
    type: FieldType = "any"
    required: bool = False
    choices: tuple[str, ...] = ()
    writable: bool = True
    length_max: int = 0


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an object, in order of their paths, and how they were found out."""

    object: str
    source: Source
    fields: tuple[Field, ...]

    @property
    def is_whole(self) -> bool:
        """Whether what is not in it is not there; samples show only what happened to be filled in."""
        return self.source != "sample"

    @property
    def digest(self) -> str:
        """Return what two schemas have in common exactly if they say the same."""
        return hashlib.sha256(msgspec.json.encode([self.source, self.fields])).hexdigest()

    def by_path(self) -> dict[str, Field]:
        """Return the fields by path."""
        return {field.path: field for field in self.fields}


class Unreadable(ValueError):
    """What was to describe the fields does not; the message says what was expected."""


def made_of(object_name: str, source: Source, fields: Sequence[Field]) -> Schema:
    """Return a schema of these fields, each path once, in order; raises `Unreadable` if there are none, or too many."""
    unique = {field.path: field for field in fields}
    if not unique:
        raise Unreadable(f"no field of {object_name} was found")
    if len(unique) > FIELDS_MAX:
        raise Unreadable(f"{object_name} has {len(unique)} fields, more than {FIELDS_MAX}")
    return Schema(object=object_name, source=source, fields=tuple(unique[path] for path in sorted(unique)))


def of_listing(object_name: str, discovery: Discovery, body: Any) -> Schema:
    """Return the schema that a describing answer lists: a list of entries, or a table of them by name."""
    listed = holes.at(body, discovery.fields)
    if isinstance(listed, dict):
        entries = [(str(name), entry) for name, entry in listed.items()]
    elif isinstance(listed, list):
        entries = [(str(holes.at(entry, discovery.name) or ""), entry) for entry in listed]
    else:
        raise Unreadable(f"at {discovery.fields or 'the top'!r} stands no list of fields")
    found = [_listed(name, entry, discovery) for name, entry in entries if name]
    return made_of(object_name, "metadata" if discovery.kind == "metadata" else "describe", found)


def of_samples(object_name: str, records: Sequence[Any]) -> Schema:
    """Return the schema that records show: the fields met, and types that fit all of their values."""
    values: dict[str, list[Any]] = {}
    for record in records[:SAMPLES_MAX]:
        if isinstance(record, dict):
            for path, value in walked(record):
                values.setdefault(path, []).append(value)
    fields = [Field(path=path, type=_guessed(seen)) for path, seen in values.items()]
    return made_of(object_name, "sample", fields)


def walked(record: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield each path of a record with its value; the items of a list share the path `*`."""
    for key, value in record.items():
        path = f"{prefix}{key}"
        yield path, value
        if depth >= DEPTH_MAX:
            continue
        if isinstance(value, dict):
            yield from walked(value, f"{path}.", depth + 1)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    yield from walked(item, f"{path}.{EVERY}.", depth + 1)
                else:
                    yield f"{path}.{EVERY}", item


def _listed(name: str, entry: Any, discovery: Discovery) -> Field:
    said = str(holes.at(entry, discovery.type) or "")
    choices = _choices(entry, discovery.choices) if discovery.choices else ()
    return Field(
        path=name,
        type=_type(said, discovery.types),
        required=_flag(entry, discovery.required, missing=False),
        choices=choices,
        writable=_flag(entry, discovery.writable, missing=True),
    )


def _type(said: str, types: Mapping[str, str]) -> FieldType:
    word = types.get(said, said).lower()
    return TYPES.get(word, "any")


def _flag(entry: Any, path: str, *, missing: bool) -> bool:
    """Return a yes or no; a path that begins with `!` means its opposite."""
    if not path:
        return missing
    return bool(holes.at(entry, path.removeprefix("!"))) is not path.startswith("!")


def _choices(entry: Any, path: str) -> tuple[str, ...]:
    place, _, inner = path.partition(f".{EVERY}")
    listed = holes.at(entry, place)
    items = listed if isinstance(listed, list) else []
    values = (holes.at(item, inner.removeprefix(".")) for item in items)
    return tuple(str(value) for value in values if value is not None)


def _guessed(values: Sequence[Any]) -> FieldType:
    known = [value for value in values if value is not None]
    if not known:
        return "any"
    return next((kind for kind in GUESSES if all(fits(value, kind) for value in known)), "any")
