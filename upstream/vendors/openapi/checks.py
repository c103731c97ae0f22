"""What keeps a document, or an operation of it, from being used. Nothing is fetched: a document stands alone.

A document comes from outside, so how deep it goes, how much is in it and how far its references lead is
bounded, and each walk over it is a loop: what is too much is told as that, with the place where it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from replication.catalog_sheet import did_you_mean
from upstream import openapi, replies
from upstream.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSIONS: Final = ("3.0", "3.1")
OPERATIONS_MAX: Final = 3_000
STEPS_MAX: Final = 200_000
"""How many values are looked at for one operation, references followed."""
PROBLEMS_MAX: Final = 20
SENT: Final = ("json", openapi.FORM)
"""What a body may be: any kind of JSON, or a form."""


def structure(document: Any) -> Iterator[str]:
    """Yield why this is no document at all; nothing else of it is looked at then."""
    if not isinstance(document, dict):
        yield "the document is no table (a JSON object), so it is no OpenAPI"
        return
    version = document.get("openapi", document.get("swagger"))
    known = isinstance(version, str) and (version.startswith(VERSIONS) if "openapi" in document else version == "2.0")
    if not known:
        told = "none" if version is None else repr(version)[:40]
        yield f"openapi: is {told}; documents of OpenAPI 3.0, 3.1 and Swagger 2.0 are read"
    if not isinstance(document.get("paths"), dict):
        yield "paths: is missing or no table, so there is nothing to choose from"
    elif (count := sum(1 for _ in openapi.operations(document))) > OPERATIONS_MAX:
        yield f"paths: has {count} operations, more than {OPERATIONS_MAX}; take out what is not used"


def operation(document: Mapping[str, Any], said: str) -> Iterator[str]:
    """Yield why an operation, written `METHOD /path`, cannot be used; nothing if it can."""
    method, _, path = said.partition(" ")
    if not path.startswith("/"):
        yield f"{said!r} is no operation; write METHOD /path"
        return
    found = _found(document, method.upper(), path)
    if found is None:
        there = [f"{verb} {place}" for verb, place, _ in openapi.operations(document)]
        yield f"the document has no operation {method.upper()} {path}{did_you_mean(said, there)}"
        return
    yield from _references(document, found)
    yield from _body(document, found)


def _found(document: Mapping[str, Any], method: str, path: str) -> Mapping[str, Any] | None:
    try:
        return openapi.operation_at(document, method, path)
    except Unreadable:
        return None


def _references(document: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the references of an operation, and of what they lead to, that lead nowhere within the document."""
    left = [found.get(key) for key in ("parameters", "requestBody", "responses")]
    followed: set[str] = set()
    steps = told = 0
    while left and told < PROBLEMS_MAX:
        value = left.pop()
        steps += 1
        if steps > STEPS_MAX:
            yield f"has more than {STEPS_MAX} values, references followed; that is more than is read"
            return
        left.extend(replies.within(value))
        reference = value.get("$ref") if isinstance(value, dict) else None
        if not isinstance(reference, str) or reference in followed:
            continue
        followed.add(reference)
        if problem := _lost(document, reference):
            yield problem
            told += 1
        else:
            left.append(openapi.resolved(document, {"$ref": reference}))


def _lost(document: Mapping[str, Any], reference: str) -> str:
    """Return what is wrong with a reference; empty if it leads somewhere."""
    shown = repr(reference[:120])
    if not reference.startswith("#"):
        return f"$ref {shown} leads out of the document, and nothing is fetched: put what it means into components"
    if not openapi.leads(document, reference):
        return f"$ref {shown} leads nowhere, or only back to itself"
    return ""


def _body(document: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Yield that a request can be sent in no way that is spoken here."""
    body = openapi.resolved(document, found.get("requestBody") or {})
    content = body.get("content")
    kinds = [str(kind) for kind in content] if isinstance(content, dict) else []
    if kinds and not any(word in kind for kind in kinds for word in SENT):
        yield f"takes {', '.join(kinds)[:120]}; JSON and forms are sent, nothing else"
    for entry in openapi.as_list(found.get("parameters")):
        given = openapi.resolved(document, entry)
        if given.get("required") is True and given.get("in") == "cookie":
            yield f"needs the cookie {given.get('name')!r}, and cookies are only sent for signing in"
