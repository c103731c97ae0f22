"""What we use of a vendor, in our own words, and whether a request or an answer keeps to it.

The manifest says what to do; the contract says what the vendor was seen to take and give: each
operation that is used, its fields, their types, which of them must be there, where that is known
from and how surely. A vendor's stand-in judges every request by it (`upstream.judging`), and what comes back from the
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
EVERY: Final = times.EVERY

FieldType: TypeAlias = Literal[
    "text",
    "integer",
    "number",
    "decimal_text",
    "boolean",
    "date",
    "instant",
    "local_time",
    "uuid",
    "object",
    "list",
    "any",
]

_CLASSES: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "list": (list,),
}
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


def fits(value: Any, kind: FieldType) -> bool:
    """Tell whether a value that is not null is of a type."""
    if kind in _PATTERNS:
        return isinstance(value, str) and _PATTERNS[kind].fullmatch(value) is not None
    return kind == "any" or type(value) in _CLASSES[kind]


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
    if parent.endswith(EVERY) and parent not in fields:
        # The items of a list need no line of their own where they are objects.
        parent, wanted = parent[: -len(EVERY) - 1], "list"
    there = fields.get(parent)
    if there is None or there.type not in (wanted, "any"):
        return f"stands in {parent!r}, which is not listed as {wanted}"
    return ""
