"""Whether what a choice names is there: operations that do what is wanted, and the parameters and fields of them.

A name that the document does not have would be sent, and ignored by the system: a mark that is put nowhere is
never found again, and a lost answer makes a second object. What a document leaves open is taken as given.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from replication.catalog_sheet import did_you_mean
from upstream import openapi
from upstream.schema import Unreadable
from upstream.vendors.openapi import checks, guesses

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Any

    from upstream.openapi import Names
    from upstream.vendors.openapi.choices import Choice, Told, Written

READS: Final = ("GET",)
SENDS: Final = ("POST", "PUT", "PATCH")
DOES: Final = {"create": SENDS, "update": SENDS, "void": (*SENDS, "DELETE")}
"""The methods of what changes something; all else that is chosen only reads."""
SHOWN_MAX: Final = 20
"""How many names that are there are told where one is not."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


def used(chosen: Choice) -> Iterator[tuple[str, str]]:
    """Yield each place of a choice that names an operation, and which."""
    yield "verify", chosen.verify
    for name, written in chosen.written.items():
        for verb in ("create", "update", "read", "find", "void"):
            if said := getattr(written, verb):
                yield f"written.{name}.{verb}", said
    for name, told in chosen.told.items():
        yield f"told.{name}.list", told.list


def split(operation: str) -> tuple[str, str]:
    """Return method and path of an operation, written `METHOD /path`."""
    method, _, path = operation.partition(" ")
    return method.upper(), path


def check(document: Mapping[str, Any], chosen: Choice) -> Iterator[str]:
    """Yield what is wrong with a choice, with its key; what operations name only if all of them can be used."""
    wrong = [*_objects(chosen), *_operations(document, chosen)]
    yield from wrong
    if not wrong:
        for name, written in chosen.written.items():
            yield from _written(document, f"written.{name}", written)
        for name, told in chosen.told.items():
            yield from _told(document, f"told.{name}", told)


def _objects(chosen: Choice) -> Iterator[str]:
    if not (chosen.written or chosen.told):
        yield "choice: names nothing to write or read; say [written.NAME] with create, or [told.NAME] with list"
    for key, names in (("written", chosen.written), ("told", chosen.told)):
        for name in names:
            if not _NAME.fullmatch(name):
                yield f"{key}: {name[:80]!r} is no name: a-z first, then a-z, 0-9 or _, 63 characters at most"


def _operations(document: Mapping[str, Any], chosen: Choice) -> Iterator[str]:
    for place, said in used(chosen):
        unusable = list(checks.operation(document, said))
        yield from (f"{place}: {problem}" for problem in unusable)
        allowed = DOES.get(place.rpartition(".")[2], READS)
        if not unusable and split(said)[0] not in allowed:
            does = "only reads" if split(said)[0] in READS else "changes something"
            yield f"{place}: {said} {does}; name an operation with {' or '.join(allowed)}"


def _written(document: Mapping[str, Any], place: str, each: Written) -> Iterator[str]:
    try:
        there = openapi.request_names(document, *split(each.create))
        for key in ("marker", "natural_key"):
            yield from _field(f"{place}.{key}", getattr(each, key), there, f"the request of {each.create}")
        if each.find:
            yield from _search(document, place, each)
        items = [_in_items(document, each.find, None)] if each.find else []
        answers = [openapi.answer_names(document, *split(said)) for said in (each.create, each.read) if said]
        yield from _in_any(f"{place}.id", each.id, [*answers, *items])
        answers += [openapi.answer_names(document, *split(each.update))] if each.update else []
        yield from _in_any(f"{place}.version", each.version, answers)
    except Unreadable as exc:
        yield f"{place}: {exc}"


def _search(document: Mapping[str, Any], place: str, each: Written) -> Iterator[str]:
    if each.find_by and (each.marker or each.natural_key):
        yield from _parameter(document, f"{place}.find_by", each.find_by, each.find)
    else:
        key = "marker" if each.find_by else "find_by"
        yield (
            f"{place}.{key}: is missing for {each.find}: "
            "say by find_by which parameter is given the mark, and by marker where it is put"
        )


def _told(document: Mapping[str, Any], place: str, each: Told) -> Iterator[str]:
    try:
        if each.since:
            yield from _parameter(document, f"{place}.since", each.since, each.list)
        there = _in_items(document, each.list, each.items)
    except Unreadable as exc:
        yield f"{place}: {exc}"
        return
    if there is not None and not (there.fields or there.loose):
        yield f"{place}.items: the answer of {each.list} has no list {each.items!r} of objects"
        return
    for key in ("id", "modified"):
        yield from _field(f"{place}.{key}", getattr(each, key), there, f"what {each.list} lists")


def _in_items(document: Mapping[str, Any], operation: str, items: str | None) -> Names | None:
    """Return what can be named in each item that an operation lists; None where that is not described."""
    answer = openapi.answer_names(document, *split(operation))
    path = guesses.list_path(answer.fields) if answer and items is None else items
    if answer is None or path is None:
        return None
    return answer.within(f"{path}.{openapi.ITEM}" if path else openapi.ITEM)


def _parameter(document: Mapping[str, Any], place: str, name: str, operation: str) -> Iterator[str]:
    """Yield that an operation has no such parameter. Of one that is an object, `name[part]` is given."""
    there = openapi.parameters(document, *split(operation), "query")
    if name not in there and not ("[" in name and name.partition("[")[0] in there):
        yield f"{place}: {operation} has no parameter {name!r}{_there(name, there)}"


def _field(place: str, path: str, there: Names | None, where: str) -> Iterator[str]:
    if path and there is not None and not there.has(path):
        yield f"{place}: {where} has no field {path!r}{_there(path, there.fields)}"


def _in_any(place: str, path: str, answers: Collection[Names | None]) -> Iterator[str]:
    """Yield that no answer that is described has a field; one that leaves all open counts where it is the only one."""
    described = [each for each in answers if each is not None]
    closed = [each for each in described if "" not in each.loose] or described
    if path and closed and not any(each.has(path) for each in closed):
        there = dict.fromkeys(name for each in closed for name in each.fields)
        yield f"{place}: no answer has a field {path!r}{_there(path, there)}"


def _there(name: str, names: Collection[str]) -> str:
    """Return the end of a sentence that says what is there instead."""
    shown = [*names][:SHOWN_MAX]
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return f"{did_you_mean(name, [*names])} (there are: {', '.join(shown) or 'none'}{more})"
