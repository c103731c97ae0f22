"""A mapping from the text of its TOML file, or all that is wrong with it, row by row.

Nothing is looked up here: whether the fields named are there, ours and theirs, is asked when a version
is validated (`upstream.trial`).
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from replication.catalog_sheet import did_you_mean
from upstream import holes, time_formats, times, typed_toml
from upstream.errors import BadMapping
from upstream.mapping import ROOTS_INTO, ROOTS_OUT, Action, Condition, IntoMapping, MappingSet, ObjectMapping, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from replication.toml_lines import Path

TEXT_BYTES_MAX: Final = 131_072
OBJECTS_MAX: Final = 50
ROWS_MAX: Final = 500
NESTING_MAX: Final = 3
PLACES_MAX: Final = 12
PERIOD_DAYS_MAX: Final = 366

ALWAYS: Final = ("target", "action", "when", "default", "required")
USED_BY: Final[dict[Action, tuple[str, ...]]] = {
    "copy": ("source", "number"),
    "static": ("value", "number"),
    "map": ("source", "values"),
    "range": ("source", "steps"),
    "date": ("source", "to", "zone"),
    "concat": ("sources", "separator"),
    "sum": ("source", "where", "scale", "places", "number"),
    "each": ("source", "where", "rows"),
    "jsonnet": ("code", "number"),
}
"""Which keys mean something for an action, beside those that always do."""
WHOLE: Final = ("item", "key", "record", "period", "late", "made")
"""Roots that may be named as they are."""
NEEDED: Final[dict[Action, tuple[str, ...]]] = {
    "copy": ("source",),
    "static": ("value",),
    "map": ("source", "values"),
    "range": ("source", "steps"),
    "date": ("source",),
    "concat": ("sources",),
    "sum": ("source",),
    "each": ("source", "rows"),
    "jsonnet": ("code",),
}
_TARGET: Final = re.compile(r"[^\s.${}]+(\.[^\s.${}]+)*")
_LOOSE: Final = re.compile(r"\$\{(?!\w+(?:\.[\w.-]+)?(?::[^{}]*)?\})")
_SCALE: Final = re.compile(r"-?\d{1,15}(\.\d{1,15}|/[1-9]\d{0,14})?", re.ASCII)


def parse(text: str, name: str = "mapping") -> MappingSet:
    """Return the mappings that the text says, or raise `BadMapping`. Never raises anything else, whatever the text."""
    try:
        page = typed_toml.read(text, name, bytes_max=TEXT_BYTES_MAX)
        found = typed_toml.fit(page, MappingSet)
    except typed_toml.BadText as exc:
        raise BadMapping(exc.problems) from exc
    problems = [page.said(path, message) for path, message in _check(found, page.values)]
    if problems:
        raise BadMapping(problems[: typed_toml.PROBLEMS_MAX])
    return found


def _check(found: MappingSet, values: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    if len(found.out) + len(found.into) > OBJECTS_MAX:
        yield (), f"has more than {OBJECTS_MAX} objects"
    for place, mapping in enumerate(found.out):
        path: Path = ("out", place)
        rows = _Rows(ROOTS_OUT, values["out"][place]["rows"])
        yield from _named(rows.check(mapping.rows, (*path, "rows"), mapping.rows), mapping)
        yield from _named(_outward(mapping, path), mapping)
        for name in mapping.late:
            if name not in (each.object for each in found.out):
                yield (*path, "late"), f"{mapping.object}: names {name!r}, which no mapping makes"
    for place, inward in enumerate(found.into):
        path = ("into", place)
        rows = _Rows(ROOTS_INTO, values["into"][place]["rows"])
        yield from _named(rows.check(inward.rows, (*path, "rows"), inward.rows), inward)
        yield from _named(_inward(inward, path), inward)


def _named(problems: Iterator[tuple[Path, str]], mapping: ObjectMapping | IntoMapping) -> Iterator[tuple[Path, str]]:
    """Yield the problems with the object that they are about."""
    for path, said in problems:
        yield path, f"{mapping.object}: {said}"


def _outward(mapping: ObjectMapping, path: Path) -> Iterator[tuple[Path, str]]:
    roots = [root for root in ROOTS_OUT if root != "item"]
    yield from _texts(mapping.key, (*path, "key"), roots)
    for key, conditions in (("when", mapping.when), ("void_when", mapping.void_when)):
        yield from _conditions(conditions, (*path, key), roots)
    for name, gather in mapping.gather.items():
        there: Path = (*path, "gather", name)
        if not gather.match:
            yield (*there, "match"), "is empty, so every record would be gathered"
        for field, source in gather.match.items():
            yield from _source(source, (*there, "match", field), roots)
        if gather.period_field and mapping.period is None:
            yield (*there, "period_field"), "means nothing where the mapping has no period"
    if (period := mapping.period) is not None:
        if not 1 <= period.days <= PERIOD_DAYS_MAX:
            yield (*path, "period", "days"), f"must be from 1 to {PERIOD_DAYS_MAX}"
        yield from _zone(period.zone, (*path, "period", "zone"))


def _inward(mapping: IntoMapping, path: Path) -> Iterator[tuple[Path, str]]:
    yield from _conditions(mapping.when, (*path, "when"), ["record", "config"])
    made = [row.target for row in mapping.rows]
    for name in mapping.match:
        if name not in made:
            yield (*path, "match"), f"{name!r} is made by no row{did_you_mean(name, made)}"
    for place, row in enumerate(mapping.rows):
        if "." in row.target:
            yield (*path, "rows", place, "target"), f"{row.target!r} is no field of ours: those have no parts"


class _Rows:
    """The rows of one object: what their paths may begin with, and the keys that were written."""

    def __init__(self, roots: Sequence[str], written: list[dict[str, Any]]) -> None:
        self.roots = roots
        self.written = written

    def check(
        self, rows: tuple[Row, ...], path: Path, every: tuple[Row, ...], depth: int = 0
    ) -> Iterator[tuple[Path, str]]:
        """Yield what is wrong with rows, and with those within them."""
        if len(every) > ROWS_MAX:
            yield path, f"has {len(every)} rows, more than {ROWS_MAX}"
        if depth > NESTING_MAX:
            yield path, f"is nested more than {NESTING_MAX} deep"
            return
        yield from _targets(rows, path)
        for place, row in enumerate(rows):
            there: Path = (*path, place)
            yield from self._row(row, there, self.written[place], depth)
            if row.rows:
                inner = _Rows(self.roots, self.written[place]["rows"])
                yield from inner.check(row.rows, (*there, "rows"), row.rows, depth + 1)

    def _row(self, row: Row, path: Path, written: Mapping[str, Any], depth: int) -> Iterator[tuple[Path, str]]:
        for key in written:
            known = (*ALWAYS, *USED_BY[row.action])
            if key not in known:
                yield (
                    (*path, key),
                    f'row {row.target!r}: means nothing for "{row.action}" (allowed: {", ".join(known)})',
                )
        for need in NEEDED[row.action]:
            if getattr(row, need) in ("", None, (), {}):
                yield (*path, need), f'row {row.target!r}: is missing: "{row.action}" needs it'
        outer = [root for root in self.roots if root != "item" or depth]
        yield from self._paths(row, path, outer)
        yield from _conditions(row.when, (*path, "when"), outer)
        yield from _conditions(row.where, (*path, "where"), self.roots)
        yield from _details(row, path)

    def _paths(self, row: Row, path: Path, roots: Sequence[str]) -> Iterator[tuple[Path, str]]:
        if row.source:
            place, colon, field = row.source.partition(":")
            yield from _source(place, (*path, "source"), roots)
            if row.action != "sum" and colon:
                yield (*path, "source"), "has a colon, which only a sum has"
            if row.action == "sum" and not field:
                yield (*path, "source"), "names no field to add up: write LIST:FIELD"
        for place_, part in enumerate(row.sources):
            there: Path = (*path, "sources", place_)
            yield from _texts(part, there, roots) if "${" in part else _source(part, there, roots)
        for key, text in (("zone", row.zone), ("value", row.value)):
            yield from _texts(text, (*path, key), roots)


def _details(row: Row, path: Path) -> Iterator[tuple[Path, str]]:
    if row.action == "date":
        yield from _zone(row.zone, (*path, "zone"))
    if not _SCALE.fullmatch(row.scale) or not Fraction(row.scale):
        yield (*path, "scale"), f"{row.scale!r} is neither a number nor a fraction like 1/60"
    if row.places is not None and not 0 <= row.places <= PLACES_MAX:
        yield (*path, "places"), f"must be from 0 to {PLACES_MAX}"
    yield from _steps(row, path)


def _steps(row: Row, path: Path) -> Iterator[tuple[Path, str]]:
    last: Decimal | None = None
    for place, step in enumerate(row.steps):
        there: Path = (*path, "steps", place, "below")
        if step.below is None:
            if place < len(row.steps) - 1:
                yield there, "is missing: only the last step has none"
            continue
        try:
            end = Decimal(step.below)
        except InvalidOperation:
            yield there, f"{step.below!r} is no number"
            continue
        if not end.is_finite() or (last is not None and end <= last):
            yield there, "must be above the one before"
        last = end


def _targets(rows: tuple[Row, ...], path: Path) -> Iterator[tuple[Path, str]]:
    """Yield targets that are none, and those that would overwrite each other."""
    seen: dict[str, Row] = {}
    for place, row in enumerate(rows):
        there: Path = (*path, place, "target")
        if not _TARGET.fullmatch(row.target) or any(step.isdecimal() for step in row.target.split(".")):
            yield there, f"{row.target!r} is no field: write names with dots between them; lists are made by each"
        for other, earlier in seen.items():
            if other == row.target:
                continued = row.action == earlier.action == "each"
                if not continued and not (row.when and earlier.when):
                    yield there, f"{row.target!r} is there twice; give both rows a when"
            elif other.startswith(f"{row.target}.") or row.target.startswith(f"{other}."):
                yield there, f"{row.target!r} and {other!r} cannot both be made: one lies in the other"
        seen[row.target] = row


def _conditions(conditions: tuple[Condition, ...], path: Path, roots: Sequence[str]) -> Iterator[tuple[Path, str]]:
    for place, condition in enumerate(conditions):
        yield from _source(condition.path, (*path, place, "path"), roots)
        if condition.equals and not condition.present:
            yield (*path, place, "present"), "means nothing beside equals"
        if condition.begins and (condition.equals or not condition.present):
            yield (*path, place, "begins"), "stands alone, without equals and present"


def _source(source: str, path: Path, roots: Sequence[str]) -> Iterator[tuple[Path, str]]:
    root, _, rest = source.partition(".")
    if root not in roots:
        yield path, f"{source!r} begins with none of {', '.join(roots)}{did_you_mean(root, roots)}"
    elif not rest and root not in WHOLE:
        yield path, f"{source!r} names all of {root}; say which: {root}.NAME"


def _texts(value: Any, path: Path, roots: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Yield the holes in a value that lead nowhere, however deep they are."""
    for place, text in holes.texts(value):
        if _LOOSE.search(text):
            yield (*path, *place), "has a hole that is not closed, or is none: write ${record.field}"
        for kind, name in holes.named(text):
            yield from _source(f"{kind}.{name}" if name else kind, (*path, *place), roots)


def _zone(name: str, path: Path) -> Iterator[tuple[Path, str]]:
    if "${" in name:
        return
    try:
        times.named(name)
    except time_formats.BadTime as exc:
        yield path, str(exc)
