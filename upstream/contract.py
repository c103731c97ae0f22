"""What we use of a vendor, in our own words, and whether a request or an answer keeps to it.

The manifest says what to do; the contract says what the vendor was seen to take and give: each
operation that is used, its fields, their types, which of them must be there, where that is known
from and how surely. A vendor's stand-in judges every request by it, and what comes back from the
real one is held against it, so that a vendor that changes is noticed.

Fields are listed flat, by path: `lines.*.amount` is `amount` of each item of the list `lines`.
"""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from upstream import times, typed_toml
from upstream.errors import BadContract
from upstream.manifest import Grade

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TEXT_BYTES_MAX: Final = 262_144
DEVIATIONS_MAX: Final = 50
EVERY: Final = times.EVERY

FieldType: TypeAlias = Literal[
    "text", "integer", "number", "decimal_text", "boolean", "date", "instant", "local_time", "uuid", "object", "list", "any"
]

_HOLE: Final = re.compile(r"\{(\w+)\}")
_PATTERNS: Final[dict[str, re.Pattern[str]]] = {
    "decimal_text": re.compile(r"-?\d{1,30}(\.\d{1,15})?", re.ASCII),
    "date": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "instant": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?\s?([Zz]|[+-]\d\d(:?\d\d)?)", re.ASCII),
    "local_time": re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII),
    "uuid": re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"),
}


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: a key that nobody knows is refused."""


class Field(_Table, frozen=True, kw_only=True):
    """One field: what it may be. `required` within the object that it is in, wherever that is there."""

    type: FieldType
    required: bool = False
    nullable: bool = False
    choices: tuple[str, ...] = ()
    length_max: int = 0
    note: str = ""


class Operation(_Table, frozen=True, kw_only=True):
    """One call: `{name}` in the path is any one step. `open_answer`: more may be in it than is listed."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    does: str
    source: str
    grade: Grade
    form: Literal["json", "form", "none"] = "none"
    query: dict[str, Field] = {}
    headers: dict[str, Field] = {}
    body: dict[str, Field] = {}
    body_is_list: bool = False
    success: tuple[int, ...] = (200, 201, 202, 204)
    answer: dict[str, Field] = {}
    answer_is_list: bool = False
    open_answer: bool = True
    spec: str = ""
    """Where the vendor's own description has it under another path, that path."""


class Contract(_Table, frozen=True, kw_only=True):
    """One system, as far as it is used. `specs` names the vendor's own descriptions, for whoever has them."""

    system: str
    title: str
    grade: Grade
    checked: date
    specs: tuple[str, ...] = ()
    operations: dict[str, Operation]

    @property
    def is_assumed(self) -> bool:
        """Whether it rests on what is known of the system at second hand."""
        return self.grade in ("C", "D")


class Deviation(msgspec.Struct, frozen=True):
    """Where a request or an answer is not as the contract says, and what would be."""

    operation: str
    place: str
    message: str

    def __str__(self) -> str:
        """Return it as one line for a person."""
        return f"{self.operation}: {self.place}: {self.message}"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it arrived: the body decoded, names of headers in any case."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: Any = None


def parse(text: str, name: str = "contract") -> Contract:
    """Return what the file says, or raise `BadContract` with file, line, key and what would be right."""
    try:
        page = typed_toml.read(text, name, bytes_max=TEXT_BYTES_MAX)
        contract = typed_toml.fit(page, Contract)
    except typed_toml.BadText as exc:
        raise BadContract(exc.problems) from exc
    problems = [page.said(path, message) for path, message in _check(contract)]
    if problems:
        raise BadContract(problems)
    return contract


def operation_of(contract: Contract, method: str, path: str) -> str | None:
    """Return the name of the operation that such a request is: the one with the fewest holes."""
    fitting = [
        (len(_HOLE.findall(operation.path)), name)
        for name, operation in contract.operations.items()
        if operation.method == method and _pattern(operation.path).fullmatch(path)
    ]
    return min(fitting)[1] if fitting else None


def judge(contract: Contract, request: Request) -> tuple[Deviation, ...]:
    """Return where a request does not keep to the contract; nothing if it does."""
    name = operation_of(contract, request.method, request.path)
    if name is None:
        return (_no_operation(contract, request),)
    operation = contract.operations[name]
    headers = {key.lower(): value for key, value in request.headers.items()}
    found = [
        *_judge_flat("query", operation.query, request.query, closed=True),
        *_judge_flat("header", {key.lower(): field for key, field in operation.headers.items()}, headers, closed=False),
        *_judge_body(operation, request.body),
    ]
    return tuple(Deviation(name, place, message) for place, message in found[:DEVIATIONS_MAX])


def judge_answer(contract: Contract, name: str, status: int, body: Any) -> tuple[Deviation, ...]:
    """Return where the answer to an operation is not as the contract says; errors of the vendor are not judged."""
    operation = contract.operations[name]
    if status >= 400:
        return ()
    found: list[tuple[str, str]] = []
    if status not in operation.success:
        found.append(("status", f"{status} is none of {', '.join(map(str, operation.success))}"))
    elif operation.answer and body is not None:
        closed = not operation.open_answer
        found += _judge_tree("answer", operation.answer, body, is_list=operation.answer_is_list, closed=closed)
    return tuple(Deviation(name, place, message) for place, message in found[:DEVIATIONS_MAX])


def _check(contract: Contract) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield paths whose parents are not listed, or are none that could have such a child."""
    for name, operation in contract.operations.items():
        if not operation.path.startswith("/"):
            yield ("operations", name, "path"), "begins with /"
        if operation.body and operation.form == "none":
            yield ("operations", name, "form"), "a call with a body says how it is written: json or form"
        for key in ("body", "answer"):
            fields: dict[str, Field] = getattr(operation, key)
            for path in fields:
                if said := _orphan(path, fields, is_list=getattr(operation, f"{key}_is_list")):
                    yield ("operations", name, key, path), said


def _orphan(path: str, fields: Mapping[str, Field], *, is_list: bool) -> str:
    parent, _, step = path.rpartition(".")
    if parent == (EVERY if is_list else ""):
        return ""
    wanted = "list" if step == EVERY else "object"
    there = fields.get(parent)
    if there is None and parent.endswith(EVERY) and step != EVERY:
        # The items of a list need no line of their own where they are objects.
        there = fields.get(parent[: -len(EVERY) - 1])
        wanted = "list"
    if there is None or there.type not in (wanted, "any"):
        return f"stands in {parent!r}, which is not listed as {wanted}"
    return ""


def _pattern(path: str) -> re.Pattern[str]:
    parts = _HOLE.split(path)
    return re.compile("".join("[^/]+" if place % 2 else re.escape(part) for place, part in enumerate(parts)))


def _no_operation(contract: Contract, request: Request) -> Deviation:
    methods = [
        operation.method for operation in contract.operations.values() if _pattern(operation.path).fullmatch(request.path)
    ]
    if methods:
        said = f"{request.method} is not used here (allowed: {', '.join(sorted(methods))})"
        return Deviation("", "method", said)
    return Deviation("", "path", f"{request.path} is no operation that is used of {contract.title}")


def _judge_flat(
    place: str, fields: Mapping[str, Field], values: Mapping[str, str], *, closed: bool
) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if key in fields:
            yield from ((f"{place}.{key}", said) for said in _unfit(_from_text(value, fields[key]), fields[key]))
        elif closed:
            yield f"{place}.{key}", f"is not known (allowed: {', '.join(fields) or 'none'})"
    for key, field in fields.items():
        if field.required and key not in values:
            yield f"{place}.{key}", f"is missing; it must be {_wanted(field)}"


def _from_text(value: str, field: Field) -> Any:
    """Return what a text in a query or form stands for."""
    if field.type in ("integer", "number", "boolean"):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value


def _judge_body(operation: Operation, body: Any) -> Iterator[tuple[str, str]]:
    if operation.form == "none":
        if body not in (None, "", b"", {}):
            yield "body", "there is none here"
    elif operation.form == "form":
        if isinstance(body, dict):
            yield from _judge_flat("body", operation.body, body, closed=True)
        else:
            yield "body", "must be a form"
    else:
        yield from _judge_tree("body", operation.body, body, is_list=operation.body_is_list, closed=True)


def _judge_tree(
    place: str, fields: Mapping[str, Field], body: Any, *, is_list: bool, closed: bool
) -> Iterator[tuple[str, str]]:
    if not isinstance(body, list if is_list else dict):
        yield place, f"must be {'a list' if is_list else 'an object'}"
        return
    items = [(f"{place}.{number}", f"{EVERY}.", item) for number, item in enumerate(body)]
    for shown, prefix, each in items if is_list else [(place, "", body)]:
        if isinstance(each, dict):
            yield from _judge_object(shown, prefix, fields, each, closed=closed)
        else:
            yield shown, "must be an object"


def _judge_object(
    place: str, prefix: str, fields: Mapping[str, Field], found: dict[str, Any], *, closed: bool
) -> Iterator[tuple[str, str]]:
    """Judge an object whose fields are listed under a prefix. An object none of whose fields is listed may have any."""
    listed = {path[len(prefix) :] for path in fields if path.startswith(prefix)}
    names = {path for path in listed if "." not in path and path != EVERY}
    if not names:
        return
    for key, value in found.items():
        shown, path = f"{place}.{key}", f"{prefix}{key}"
        if key not in names:
            if closed:
                yield shown, f"is not known (allowed: {', '.join(sorted(names))})"
            continue
        yield from ((shown, said) for said in _unfit(value, fields[path]))
        if isinstance(value, dict) and fields[path].type == "object":
            yield from _judge_object(shown, f"{path}.", fields, value, closed=closed)
        elif isinstance(value, list) and fields[path].type == "list":
            yield from _judge_items(shown, f"{path}.{EVERY}", fields, value, closed=closed)
    for name in sorted(names):
        if fields[f"{prefix}{name}"].required and name not in found:
            yield f"{place}.{name}", f"is missing; it must be {_wanted(fields[f'{prefix}{name}'])}"


def _judge_items(
    place: str, prefix: str, fields: Mapping[str, Field], items: list[Any], *, closed: bool
) -> Iterator[tuple[str, str]]:
    item_field = fields.get(prefix)
    has_names = any(path.startswith(f"{prefix}.") for path in fields)
    for number, item in enumerate(items):
        shown = f"{place}.{number}"
        if item_field is not None:
            yield from ((shown, said) for said in _unfit(item, item_field))
        if not has_names:
            continue
        if isinstance(item, dict):
            yield from _judge_object(shown, f"{prefix}.", fields, item, closed=closed)
        elif item_field is None:
            yield shown, "must be an object"


def _unfit(value: Any, field: Field) -> Iterator[str]:
    if value is None:
        if not field.nullable and field.type != "any":
            yield f"is null; it must be {_wanted(field)}"
    elif not fits(value, field.type):
        yield f"{str(value)[:60]!r} is not allowed; it must be {_wanted(field)}"
    elif field.choices and str(value) not in field.choices:
        yield f"{str(value)[:60]!r} is not allowed (allowed: {', '.join(field.choices)})"
    elif field.length_max and isinstance(value, str) and len(value) > field.length_max:
        yield f"has {len(value)} characters, more than {field.length_max}"


def fits(value: Any, kind: FieldType) -> bool:
    """Tell whether a value that is not null is of a type."""
    match kind:
        case "any":
            return True
        case "text":
            return isinstance(value, str)
        case "integer":
            return type(value) is int
        case "number":
            return type(value) in (int, float)
        case "boolean":
            return isinstance(value, bool)
        case "object":
            return isinstance(value, dict)
        case "list":
            return isinstance(value, list)
        case _:
            return isinstance(value, str) and _PATTERNS[kind].fullmatch(value) is not None


def _wanted(field: Field) -> str:
    words = {"object": "an object", "list": "a list", "any": "anything", "boolean": "true or false"}
    return words.get(field.type, field.type.replace("_", " "))
