"""The fields of a request or an answer, read off an OpenAPI document: version 3, or Swagger 2.

Reads what is in the document and follows no reference out of it. A document may refer to itself without
end, so depth and number of fields are bounded.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import msgspec

from upstream.contract import EVERY, FieldType
from upstream.schema import Field, Schema, Unreadable, made_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEPTH_MAX: Final = 8
FIELDS_MAX: Final = 3_000
REFERENCES_MAX: Final = 50
REFERENCE_CHARACTERS_MAX: Final = 4_096
"""One that is longer leads nowhere: each is taken apart as often as it is met."""
INDEX_DIGITS_MAX: Final = 9
STEPS_MAX: Final = 100_000
"""How many shapes are looked at: those of a document can be entangled beyond any number."""
ENTRIES_PER_STEP: Final = 20
"""So many fields, names and choices of a shape count as one shape more: they are copied each time it is met."""
GLANCE_DEPTH: Final = 2
GLANCE_STEPS_MAX: Final = 2_000
"""How far is looked at a glance, where a whole document is shown."""
PLACE: Final = re.compile(r"-?[0-9]+")
ITEM: Final = f"{EVERY}."
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
METHODS: Final = ("get", "post", "put", "patch", "delete")
READ: Final = ("type", "format", "properties", "items", "required", "enum", "maxLength", "readOnly")
"""What of a shape is read, its parts and choices aside."""
LOOSE: Final = "additionalProperties"
"""Whether a shape may have fields that it does not name; where it says nothing of them, those it names are all."""
COUNTED: Final = ("properties", "required", "enum")
TEXT_FORMATS: Final[dict[str, FieldType]] = {"date": "date", "date-time": "instant", "uuid": "uuid"}
TYPES: Final[dict[str, FieldType]] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "object",
    "array": "list",
}


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """Which paths a body has. `loose` are beginnings of paths under which the document leaves open what there is."""

    fields: tuple[str, ...]
    loose: tuple[str, ...] = ()

    def has(self, path: str) -> bool:
        """Tell whether a path is there, or may be as far as the document tells; a number is a place in a list."""
        listed = ".".join(EVERY if PLACE.fullmatch(step) else step for step in path.split("."))
        return any(each in self.fields or each.startswith(self.loose) for each in (path, listed))

    def within(self, begins: str) -> Names:
        """Return what can be named under the beginning of a path."""
        inner = tuple(path.removeprefix(begins) for path in self.fields if path.startswith(begins))
        loose = tuple(path.removeprefix(begins) for path in self.loose if path.startswith(begins))
        return Names(fields=inner, loose=("", *loose) if begins.startswith(self.loose) else loose)


def request_schema(
    document: Mapping[str, Any], method: str, path: str, object_name: str, *, at_a_glance: bool = False
) -> Schema:
    """Return the fields that an operation's request can have; raises `Unreadable` if there are none."""
    shape = _request(document, method, path)
    return made_of(object_name, "openapi", _Reader(document, writing=True, at_a_glance=at_a_glance).fields(shape))


def answer_schema(
    document: Mapping[str, Any], method: str, path: str, object_name: str, *, at_a_glance: bool = False
) -> Schema:
    """Return the fields that the answer of an operation can have when it goes well; raises `Unreadable` if none."""
    shape = _answer(document, method, path)
    if not shape:
        raise Unreadable(f"{method} {path} has no answer that is described")
    return made_of(object_name, "openapi", _Reader(document, writing=False, at_a_glance=at_a_glance).fields(shape))


def request_names(document: Mapping[str, Any], method: str, path: str) -> Names:
    """Return where a value can be put in an operation's request, or in each item of one that is a list."""
    names = _names(_Reader(document, writing=True), _request(document, method, path))
    each = names.within(ITEM) if any(path.startswith(ITEM) for path in names.fields) else names
    # Nothing is put into a list within it: nobody could say into which item.
    fields, loose = (tuple(one for one in all_ if EVERY not in one.split(".")) for all_ in (each.fields, each.loose))
    return Names(fields=fields, loose=loose)


def answer_names(document: Mapping[str, Any], method: str, path: str) -> Names | None:
    """Return what can be named in the answer of an operation when it goes well; None where none is described."""
    shape = _answer(document, method, path)
    return _names(_Reader(document, writing=False), shape) if shape else None


def _names(reader: _Reader, shape: Mapping[str, Any]) -> Names:
    fields = tuple(field.path for field in reader.fields(shape))
    # A reading that has stopped early has not met every place, so nothing can be said to be missing.
    return Names(fields=fields, loose=("",) if len(fields) > FIELDS_MAX else tuple(reader.loose))


def _request(document: Mapping[str, Any], method: str, path: str) -> Mapping[str, Any]:
    operation = operation_at(document, method, path)
    return _content(resolved(document, operation.get("requestBody"))) or _swagger_body(document, operation)


def _answer(document: Mapping[str, Any], method: str, path: str) -> Mapping[str, Any]:
    """Return the shape of the first answer that is described and says that it went well; empty if there is none."""
    operation = operation_at(document, method, path)
    answers = {str(status): answer for status, answer in as_table(operation.get("responses")).items()}
    good = (resolved(document, answers[status]) for status in sorted(answers) if status.startswith("2"))
    shapes = (_content(answer) or as_table(answer.get("schema")) for answer in good)
    return next((shape for shape in shapes if shape), {})


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield method, path and description of each operation."""
    for path, item in as_table(document.get("paths")).items():
        entry = resolved(document, item)
        for method in METHODS:
            if isinstance(entry.get(method), dict):
                yield method.upper(), str(path), entry[method]


def operation_at(document: Mapping[str, Any], method: str, path: str) -> Mapping[str, Any]:
    """Return the description of an operation, or raise `Unreadable`. Names of holes in the path do not matter."""
    exact = resolved(document, as_table(document.get("paths")).get(path)).get(method.lower())
    if method.lower() in METHODS and isinstance(exact, dict):
        return exact
    for found, there, operation in operations(document):
        if found == method.upper() and _without_names(there) == _without_names(path):
            return operation
    raise Unreadable(f"the document has no operation {method.upper()} {path}")


def parameters(document: Mapping[str, Any], method: str, path: str, place: str) -> dict[str, bool]:
    """Return the names of an operation's parameters in a place (query, header, path), and which must be given."""
    operation = operation_at(document, method, path)
    shared: list[Any] = []
    for there, item in as_table(document.get("paths")).items():
        if _without_names(str(there)) == _without_names(path):
            shared = as_list(resolved(document, item).get("parameters"))
    every = [resolved(document, entry) for entry in (*shared, *as_list(operation.get("parameters")))]
    return {str(entry.get("name")): bool(entry.get("required")) for entry in every if entry.get("in") == place}


def body_kind(document: Mapping[str, Any], method: str, path: str) -> str:
    """Return how the request of an operation is written: `json`, `form` where there is only that, `none`."""
    operation = operation_at(document, method, path)
    content = as_table(resolved(document, operation.get("requestBody") or {}).get("content"))
    given = (resolved(document, each) for each in as_list(operation.get("parameters")))
    places = {str(entry.get("in")) for entry in given}
    if any("json" in kind for kind in content) or "body" in places:
        return "json"
    return "form" if FORM in content or "formData" in places else "json" if content else "none"


def _without_names(path: str) -> tuple[str, ...]:
    return tuple("{}" if step.startswith("{") else step for step in path.strip("/").split("/"))


def _content(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the shape of a body: as JSON if there is one, else as a form, else as whatever comes first."""
    content = as_table(body.get("content"))
    kind = next((kind for kind in (JSON, FORM) if kind in content), next(iter(content), ""))
    return as_table(as_table(content.get(kind)).get("schema"))


def _swagger_body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any]:
    every = [resolved(document, entry) for entry in as_list(operation.get("parameters"))]
    for entry in every:
        if entry.get("in") == "body":
            return as_table(entry.get("schema"))
    form = {str(entry["name"]): entry for entry in every if entry.get("in") == "formData" and "name" in entry}
    needed = [name for name, entry in form.items() if entry.get("required") is True]
    # There a yes or no says whether the field itself must be given, which is no list of its parts.
    shapes = {name: {key: value for key, value in entry.items() if key != "required"} for name, entry in form.items()}
    return {"type": "object", "properties": shapes, "required": needed}


class _Reader:
    """One reading of a document, which ends however entangled it is."""

    def __init__(self, document: Mapping[str, Any], *, writing: bool, at_a_glance: bool = False) -> None:
        self.document = document
        self.writing = writing
        self.steps = 0
        self.steps_max = GLANCE_STEPS_MAX if at_a_glance else STEPS_MAX
        self.depth_max = GLANCE_DEPTH if at_a_glance else DEPTH_MAX
        self.loose: list[str] = []

    def fields(self, shape: Mapping[str, Any]) -> list[Field]:
        """Return the fields of a shape, one more than are allowed if there are too many."""
        return list(islice(self.walked(shape, "", 0), FIELDS_MAX + 1))

    def walked(self, shape: Any, prefix: str, depth: int) -> Iterator[Field]:
        """Yield the fields of a shape and of those within it; what only the vendor fills in is none of a request."""
        whole = self.merged(shape)
        if depth > self.depth_max:
            self.loose.append(prefix)
            return
        if _kind(whole) == "list":
            yield from self.walked(whole.get("items"), f"{prefix}{EVERY}.", depth + 1)
            return
        if _is_loose(whole):
            self.loose.append(prefix)
        needed = _needed(whole)
        for name, inner in as_table(whole.get("properties")).items():
            field = self.merged(inner)
            if self.writing and field.get("readOnly") is True:
                continue
            yield _field(f"{prefix}{name}", field, required=name in needed)
            yield from self.within(f"{prefix}{name}", field, depth)

    def within(self, path: str, field: Mapping[str, Any], depth: int) -> Iterator[Field]:
        """Yield what is within a field: the parts of an object, the items of a list."""
        if _kind(field) == "object":
            yield from self.walked(field, f"{path}.", depth + 1)
        elif _kind(field) == "list":
            items = self.merged(field.get("items"))
            if _kind(items) == "object":
                yield from self.walked(items, f"{path}.{EVERY}.", depth + 1)
            else:
                yield _field(f"{path}.{EVERY}", items, required=False)
                self.loose += [f"{path}.{EVERY}."] if _kind(items) == "any" else []
        elif _kind(field) == "any":
            self.loose.append(f"{path}.")

    def merged(self, shape: Any, depth: int = 0) -> dict[str, Any]:
        """Return a shape with its parts put together. What only one of several choices has is never required."""
        here = resolved(self.document, shape)
        self.step(here)
        if depth > DEPTH_MAX:
            return {}
        made = {key: here[key] for key in READ if key in here}
        parts = [self.merged(part, depth + 1) for part in as_list(here.get("allOf"))]
        choices = [self.merged(part, depth + 1) for key in ("oneOf", "anyOf") for part in as_list(here.get(key))]
        real = [choice for choice in choices if choice.get("type") != "null"]
        if parts or real:
            made = _joined([made, *parts, *(real if len(real) == 1 else ())], real if len(real) > 1 else [])
        if len({_kind(choice) for choice in real}) > 1:
            made = {key: value for key, value in made.items() if key not in ("type", "format", "enum")}
        open_ones = [*(part.get(LOOSE) for part in parts), *map(_is_loose, real)]
        return {**made, LOOSE: here.get(LOOSE, False) is not False or "patternProperties" in here or any(open_ones)}

    def step(self, shape: Mapping[str, Any]) -> None:
        """Count a shape that is looked at, and what is in it; raises `Unreadable` when it is enough."""
        entries = sum(len(value) for key in COUNTED if isinstance(value := shape.get(key), dict | list))
        self.steps += 1 + entries // ENTRIES_PER_STEP
        if self.steps > self.steps_max:
            raise Unreadable(f"the document refers to itself more than {self.steps_max} times")


def _field(path: str, shape: Mapping[str, Any], *, required: bool) -> Field:
    longest = shape.get("maxLength")
    return Field(
        path=path,
        type=_kind(shape),
        required=required,
        choices=tuple(str(word) for word in as_list(shape.get("enum")) if word is not None),
        length_max=longest if type(longest) is int and longest > 0 else 0,
    )


def _kind(shape: Mapping[str, Any]) -> FieldType:
    said = shape.get("type")
    words = [str(word) for word in (said if isinstance(said, list) else [said]) if word not in (None, "null")]
    if not words and "properties" in shape:
        return "object"
    if len(words) != 1:
        return "any"
    if words[0] == "string":
        return TEXT_FORMATS.get(str(shape.get("format")), "text")
    return TYPES.get(words[0], "any")


def _is_loose(shape: Mapping[str, Any]) -> bool:
    """Tell whether a shape that was put together may have fields that it does not name, as one that names none."""
    return bool(shape.get(LOOSE)) or (_kind(shape) in ("object", "any") and not as_table(shape.get("properties")))


def _joined(parts: list[dict[str, Any]], choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the shape that has all of this in it; what a choice needs is not needed by the whole."""
    made: dict[str, Any] = {}
    inner: dict[str, Any] = {}
    for part in (*parts, *choices):
        made.update(part)
        inner.update(as_table(part.get("properties")))
    if "properties" in made:
        made["properties"] = inner
    needed: dict[str, None] = {}
    for part in parts:
        needed.update(_needed(part))
    return {**made, "required": list(needed)}


def _needed(shape: Mapping[str, Any]) -> dict[str, None]:
    """Return the names of the fields that must be there, each once, in their order."""
    return dict.fromkeys(name for name in as_list(shape.get("required")) if isinstance(name, str))


def as_table(value: Any) -> dict[str, Any]:
    """Return what is a table; where something else stands, an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return what is a list; where something else stands, an empty one."""
    return value if isinstance(value, list) else []


def resolved(document: Mapping[str, Any], shape: Any) -> Mapping[str, Any]:
    """Follow references within the document to what they mean; one that leads nowhere means anything."""
    for _ in range(REFERENCES_MAX):
        if not isinstance(shape, dict):
            return {}
        reference = shape.get("$ref")
        if not isinstance(reference, str):
            return shape
        shape = _at_pointer(document, reference)
    return {}


def leads(document: Mapping[str, Any], reference: str) -> bool:
    """Tell whether a reference ends at something within the document: not out of it, nowhere, or in a circle."""
    shape: Any = {"$ref": reference}
    for _ in range(REFERENCES_MAX):
        if not isinstance(shape, dict) or not isinstance(shape.get("$ref"), str):
            return isinstance(shape, dict | bool)
        shape = _at_pointer(document, shape["$ref"])
    return False


def _at_pointer(document: Mapping[str, Any], reference: str) -> Any:
    """Return what a reference means; None where it leads nowhere within the document."""
    if not reference.startswith("#/") or len(reference) > REFERENCE_CHARACTERS_MAX:
        return None
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            is_place = name.isdecimal() and len(name) <= INDEX_DIGITS_MAX and int(name) < len(found)
            found = found[int(name)] if is_place else None
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            return None
    return found
