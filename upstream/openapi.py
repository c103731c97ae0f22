"""The fields of a request or an answer, read off an OpenAPI document: version 3, or Swagger 2.

Reads what is in the document and follows no reference out of it. A document may refer to itself without
end, so depth and number of fields are bounded.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from upstream.contract import EVERY, FieldType
from upstream.schema import Field, Schema, Unreadable, made_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEPTH_MAX: Final = 8
FIELDS_MAX: Final = 3_000
REFERENCES_MAX: Final = 50
STEPS_MAX: Final = 100_000
"""How many shapes are looked at: those of a document can be entangled beyond any number."""
GLANCE_DEPTH: Final = 2
GLANCE_STEPS_MAX: Final = 2_000
"""How far is looked at a glance, where a whole document is shown."""
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
METHODS: Final = ("get", "post", "put", "patch", "delete")
TEXT_FORMATS: Final[dict[str, FieldType]] = {"date": "date", "date-time": "instant", "uuid": "uuid"}
TYPES: Final[dict[str, FieldType]] = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "object": "object",
    "array": "list",
}


def request_schema(
    document: Mapping[str, Any], method: str, path: str, object_name: str, *, at_a_glance: bool = False
) -> Schema:
    """Return the fields that an operation's request can have; raises `Unreadable` if there are none."""
    operation = operation_at(document, method, path)
    body = resolved(document, operation.get("requestBody"))
    shape = _content(body) or _swagger_body(document, operation)
    return made_of(object_name, "openapi", _Reader(document, writing=True, at_a_glance=at_a_glance).fields(shape))


def answer_schema(
    document: Mapping[str, Any], method: str, path: str, object_name: str, *, at_a_glance: bool = False
) -> Schema:
    """Return the fields that the answer of an operation can have when it goes well; raises `Unreadable` if none."""
    operation = operation_at(document, method, path)
    answers = {str(status): answer for status, answer in _table(operation.get("responses")).items()}
    for status in sorted(status for status in answers if status.startswith("2")):
        answer = resolved(document, answers[status])
        if shape := _content(answer) or _table(answer.get("schema")):
            reader = _Reader(document, writing=False, at_a_glance=at_a_glance)
            return made_of(object_name, "openapi", reader.fields(shape))
    raise Unreadable(f"{method} {path} has no answer that is described")


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield method, path and description of each operation."""
    for path, item in _table(document.get("paths")).items():
        entry = resolved(document, item)
        for method in METHODS:
            if isinstance(entry.get(method), dict):
                yield method.upper(), str(path), entry[method]


def operation_at(document: Mapping[str, Any], method: str, path: str) -> Mapping[str, Any]:
    """Return the description of an operation, or raise `Unreadable`. Names of holes in the path do not matter."""
    exact = resolved(document, _table(document.get("paths")).get(path)).get(method.lower())
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
    for there, item in _table(document.get("paths")).items():
        if _without_names(str(there)) == _without_names(path):
            shared = _items(resolved(document, item).get("parameters"))
    every = [resolved(document, entry) for entry in (*shared, *_items(operation.get("parameters")))]
    return {str(entry.get("name")): bool(entry.get("required")) for entry in every if entry.get("in") == place}


def body_kind(document: Mapping[str, Any], method: str, path: str) -> str:
    """Return how the request of an operation is written: `json`, `form` where there is only that, `none`."""
    operation = operation_at(document, method, path)
    content = _table(resolved(document, operation.get("requestBody") or {}).get("content"))
    places = {entry.get("in") for entry in (resolved(document, each) for each in _items(operation.get("parameters")))}
    if any("json" in kind for kind in content) or "body" in places:
        return "json"
    return "form" if FORM in content or "formData" in places else "json" if content else "none"


def _without_names(path: str) -> tuple[str, ...]:
    return tuple("{}" if step.startswith("{") else step for step in path.strip("/").split("/"))


def _content(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the shape of a body: as JSON if there is one, else as a form, else as whatever comes first."""
    content = _table(body.get("content"))
    kind = next((kind for kind in (JSON, FORM) if kind in content), next(iter(content), ""))
    return _table(_table(content.get(kind)).get("schema"))


def _swagger_body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any]:
    every = [resolved(document, entry) for entry in _items(operation.get("parameters"))]
    for entry in every:
        if entry.get("in") == "body":
            return _table(entry.get("schema"))
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

    def fields(self, shape: Mapping[str, Any]) -> list[Field]:
        """Return the fields of a shape, one more than are allowed if there are too many."""
        return list(islice(self.walked(shape, "", 0), FIELDS_MAX + 1))

    def walked(self, shape: Any, prefix: str, depth: int) -> Iterator[Field]:
        """Yield the fields of a shape and of those within it; what only the vendor fills in is none of a request."""
        whole = self.merged(shape)
        if depth > self.depth_max:
            return
        if _kind(whole) == "list":
            yield from self.walked(whole.get("items"), f"{prefix}{EVERY}.", depth + 1)
            return
        for name, inner in _table(whole.get("properties")).items():
            field = self.merged(inner)
            if self.writing and field.get("readOnly") is True:
                continue
            yield _field(f"{prefix}{name}", field, required=name in _items(whole.get("required")))
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

    def merged(self, shape: Any, depth: int = 0) -> dict[str, Any]:
        """Return a shape with its parts put together. What only one of several choices has is never required."""
        self.steps += 1
        if self.steps > self.steps_max:
            raise Unreadable(f"the document refers to itself more than {self.steps_max} times")
        here = resolved(self.document, shape)
        if depth > DEPTH_MAX:
            return {}
        made = {key: value for key, value in here.items() if key not in ("allOf", "oneOf", "anyOf")}
        for part in _items(here.get("allOf")):
            made = _joined(made, self.merged(part, depth + 1), both=True)
        choices = [self.merged(part, depth + 1) for key in ("oneOf", "anyOf") for part in _items(here.get(key))]
        real = [choice for choice in choices if choice.get("type") != "null"]
        for choice in real:
            made = _joined(made, choice, both=len(real) == 1)
        if len({_kind(choice) for choice in real}) > 1:
            made = {key: value for key, value in made.items() if key not in ("type", "format", "enum")}
        return made


def _field(path: str, shape: Mapping[str, Any], *, required: bool) -> Field:
    longest = shape.get("maxLength")
    return Field(
        path=path,
        type=_kind(shape),
        required=required,
        choices=tuple(str(word) for word in _items(shape.get("enum")) if word is not None),
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


def _joined(one: dict[str, Any], other: dict[str, Any], *, both: bool) -> dict[str, Any]:
    made = {**one, **{key: value for key, value in other.items() if both or key != "required"}}
    if "properties" in one or "properties" in other:
        made["properties"] = {**_table(one.get("properties")), **_table(other.get("properties"))}
    needed = [*_items(one.get("required")), *(_items(other.get("required")) if both else ())]
    return {**made, "required": needed} if needed else made


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
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
    if not reference.startswith("#/"):
        return None
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            return None
    return found
