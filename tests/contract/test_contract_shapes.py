"""The types in our contracts are those of the vendors' own descriptions, field by field, where these are at hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from upstream import openapi, vendors
from upstream.contract import Field
from upstream.schema import Unreadable

SPECS = Path(__file__).resolve().parents[3] / "shared" / "specs"
NARROWER = {
    "text": {"uuid", "date", "instant", "local_time", "decimal_text"},
    "number": {"integer"},
}
"""What a contract may say more precisely than a description does."""
MAY_BE_LEFT_OUT = {("quickbooks", "put_invoice"): {"CustomerRef", "Line"}}
"""What a description requires of a new object and not of a change of one, where both are one operation."""
CASES = [(system, name) for system in vendors.names() for name in vendors.agreement(system).operations]


@cache
def descriptions(system: str) -> tuple[Any, ...]:
    """Give the documents that describe a system; nothing where they are not at hand."""
    paths = [SPECS / spec for spec in vendors.agreement(system).specs if spec.endswith((".yaml", ".yml"))]
    return tuple(yaml.load(path.read_text(), Loader=yaml.CBaseLoader) for path in paths if path.is_file())


def typed(document: Any) -> Any:
    """Give a document whose words are all text with its numbers and truths, which is all that is asked of it."""
    match document:
        case dict():
            return {key: typed(value) for key, value in document.items()}
        case list():
            return [typed(value) for value in document]
        case "true" | "false":
            return document == "true"
        case str() if document.isdecimal() and len(document) < 10:
            return int(document)
        case _:
            return document


@cache
def read(system: str) -> tuple[Any, ...]:
    """Give the documents of a system as they are meant."""
    return tuple(typed(document) for document in descriptions(system))


def described(system: str, name: str, part: str) -> dict[str, Any]:
    """Give the fields that the description has of a request or an answer; nothing if it has none."""
    operation = vendors.agreement(system).operations[name]
    reader = openapi.request_schema if part == "body" else openapi.answer_schema
    for document in read(system):
        try:
            return reader(document, operation.method, operation.spec or operation.path, name).by_path()
        except Unreadable:
            continue
    return {}


def agrees(mine: Field, theirs: Any) -> bool:
    """Tell whether a type of ours is theirs, or says more precisely the same."""
    return theirs.type in (mine.type, "any") or mine.type in NARROWER.get(theirs.type, ())


@pytest.mark.parametrize(("system", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_types_are_those_of_the_description(system, name):
    """A field that both list has one type, and what the description requires of a request the contract requires."""
    if not read(system):
        pytest.skip(f"the descriptions of {system} are not at hand: {SPECS}")
    operation = vendors.agreement(system).operations[name]
    body, answer = (described(system, name, part) for part in ("body", "answer"))

    others = [
        f"{part} {path}: {mine.type} is {theirs[path].type} there"
        for part, fields, theirs in (("body", operation.body, body), ("answer", operation.answer, answer))
        for path, mine in fields.items()
        if path in theirs and not agrees(mine, theirs[path])
    ]
    needed = {path for path, field in body.items() if field.required and path in operation.body}
    optional = {path for path in needed if not operation.body[path].required}

    assert others == []
    assert optional == MAY_BE_LEFT_OUT.get((system, name), set())


def test_the_comparison_looks_at_something():
    """Where the descriptions are at hand, a good number of fields is compared."""
    if not SPECS.is_dir():
        pytest.skip(f"no descriptions are at hand: {SPECS}")
    compared = [
        path
        for system, name in CASES
        for part in ("body", "answer")
        for path in described(system, name, part).keys()
        & getattr(vendors.agreement(system).operations[name], part).keys()
    ]

    assert len(compared) > 60
