"""Whether a request or an answer keeps to a vendor's contract; each deviation is named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream.contract import EVERY, Contract, Field, Operation, fits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEVIATIONS_MAX: Final = 50
_HOLE: Final = re.compile(r"\{(\w+)\}")


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
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: Any = None


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


def _pattern(path: str) -> re.Pattern[str]:
    parts = _HOLE.split(path)
    return re.compile("".join("[^/]+" if place % 2 else re.escape(part) for place, part in enumerate(parts)))


def _no_operation(contract: Contract, request: Request) -> Deviation:
    methods = [
        operation.method
        for operation in contract.operations.values()
        if _pattern(operation.path).fullmatch(request.path)
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
    """Judge an object whose fields are listed under a prefix; one that has none listed may have any."""
    listed = {path[len(prefix) :] for path in fields if path.startswith(prefix)}
    names = {path for path in listed if "." not in path and path != EVERY}
    if not names:
        return
    for key, value in found.items():
        if key in names:
            yield from _judge_field(f"{place}.{key}", f"{prefix}{key}", fields, value, closed=closed)
        elif closed:
            yield f"{place}.{key}", f"is not known (allowed: {', '.join(sorted(names))})"
    for name in sorted(names):
        field = fields[f"{prefix}{name}"]
        if field.required and name not in found:
            yield f"{place}.{name}", f"is missing; it must be {_wanted(field)}"


def _judge_field(
    place: str, path: str, fields: Mapping[str, Field], value: Any, *, closed: bool
) -> Iterator[tuple[str, str]]:
    yield from ((place, said) for said in _unfit(value, fields[path]))
    if isinstance(value, dict) and fields[path].type == "object":
        yield from _judge_object(place, f"{path}.", fields, value, closed=closed)
    elif isinstance(value, list) and fields[path].type == "list":
        yield from _judge_items(place, f"{path}.{EVERY}", fields, value, closed=closed)


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


def _wanted(field: Field) -> str:
    words = {"object": "an object", "list": "a list", "any": "anything", "boolean": "true or false"}
    return words.get(field.type, field.type.replace("_", " "))
