"""What has changed at a vendor, by its own description and by what it answers; and what that hits.

Three ways of noticing, because none of them is enough: the discovered fields of today against those of
the last time, the fields that answers really have, and one record that is read again and again. A
finding is told and nothing else: no data are deleted for it and no mapping is rewritten.

Pure: descriptions and answers go in, findings come out.
"""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from upstream import delivery, making, time_formats
from upstream.contract import EVERY, fits
from upstream.schema import Field, Schema, walked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from upstream.mapping import IntoMapping, MappingSet, ObjectMapping, Row

Change: TypeAlias = Literal[
    "removed",
    "renamed",
    "type_changed",
    "choice_removed",
    "choice_added",
    "required",
    "read_only",
    "added",
    "missing_in_answers",
    "unknown_in_answers",
    "moved_in_time",
    "zone_lost",
    "comes_back_otherwise",
]

Found: TypeAlias = tuple[str, Change, str, str]
"""Field, change, old and new."""

BREAKS: Final[frozenset[Change]] = frozenset(
    (
        "removed",
        "renamed",
        "type_changed",
        "choice_removed",
        "required",
        "read_only",
        "moved_in_time",
        "zone_lost",
        "comes_back_otherwise",
    )
)
"""Changes after which something that went well before may be refused, or come out wrong."""
ALIKE: Final = 0.6
"""From which likeness of names on a field that went and one that came are taken for one that was renamed."""
ANSWERS_LEAST: Final = 20
"""How many answers are needed before what is in none of them is told."""
FIELDS_COUNTED_MAX: Final = 2_000
ZONE_MINUTES: Final = 15
"""Offsets of zones are multiples of this."""
ZONES_APART_MINUTES_MAX: Final = 26 * 60
SHOWN_CHARACTERS_MAX: Final = 60


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One change: where, what it was, what it is, and which rows of the mapping it hits."""

    connection: str
    object: str
    field: str
    change: Change
    old: str = ""
    new: str = ""
    rows: tuple[str, ...] = ()

    @property
    def is_urgent(self) -> bool:
        """Whether a person has to look: it may break, and a row of the mapping is hit, or a row is missing."""
        return self.change in BREAKS and (bool(self.rows) or self.change == "required")

    @property
    def matters(self) -> bool:
        """Whether it is worth a word: what is merely new, and no row has to do with, is none."""
        return self.change in BREAKS or bool(self.rows)

    def __str__(self) -> str:
        """Return it as one line for a person."""
        hit = f"; hits {', '.join(self.rows)}" if self.rows else ""
        return f"{self.object}.{self.field}: {_SAID[self.change].format(old=self.old, new=self.new)}{hit}"


_SAID: Final[dict[Change, str]] = {
    "removed": "is not there any more (was {old})",
    "renamed": "is probably called {new} now",
    "type_changed": "was {old}, is {new}",
    "choice_removed": "takes {old} no more",
    "choice_added": "may be {new} now",
    "required": "must be given now",
    "read_only": "cannot be written any more",
    "added": "is new ({new})",
    "missing_in_answers": "was in none of the last {new} answers",
    "unknown_in_answers": "was in {new} answers and is not known",
    "moved_in_time": "shows {new} where {old} was meant",
    "zone_lost": "was the instant {old}, is {new}, which says of no zone",
    "comes_back_otherwise": "was told {old}, gives back {new}",
}


_KINDS: Final[dict[type, str]] = {
    str: "text",
    bool: "boolean",
    int: "number",
    float: "number",
    dict: "object",
    list: "list",
}


def compare(connection: str, old: Schema, new: Schema, mappings: MappingSet) -> tuple[Finding, ...]:
    """Return what changed from one description of an object to the next.

    Two descriptions that were found out in different ways, or by samples, do not show that something is gone.
    """
    before, now = old.by_path(), new.by_path()
    gone = sorted(before.keys() - now.keys()) if old.is_whole and new.is_whole else []
    came = sorted(now.keys() - before.keys())
    renamed = _renamed([before[path] for path in gone], [now[path] for path in came])
    found: list[Found] = []
    for path in gone:
        if path in renamed:
            found.append((path, "renamed", path, renamed[path]))
        else:
            found.append((path, "removed", before[path].type, ""))
    for path in sorted(before.keys() & now.keys()):
        found += ((path, *change) for change in _of_field(before[path], now[path]))
    for path in came:
        if path not in renamed.values():
            change: Change = "required" if now[path].required else "added"
            found.append((path, change, "", str(now[path].type)))
    return tuple(_finding(connection, new.object, mappings, each) for each in found)


def rows_hit(mappings: MappingSet, object_name: str, field: str) -> tuple[str, ...]:
    """Return the rows that write or read a field, or something within it, or what it is within."""
    found = []
    for each in mappings.out:
        if each.object == object_name:
            found += [f"out {object_name} {path}" for path in targets(each.rows) if _touch(path, field)]
    for inward in mappings.into:
        if inward.object == object_name:
            found += [f"into {inward.collection} {row.target}" for row in inward.rows if _reads(row, field)]
    return tuple(dict.fromkeys(found))


def targets(rows: tuple[Row, ...], prefix: str = "") -> Iterator[str]:
    """Yield the paths that rows write, those of each item of a list with `*`."""
    for row in rows:
        yield f"{prefix}{row.target}"
        if row.action == "static" and isinstance(row.value, dict):
            yield from (f"{prefix}{row.target}.{path}" for path, _ in walked(row.value))
        yield from targets(row.rows, f"{prefix}{row.target}.{EVERY}.")


class Answers:
    """Counts which fields the answers of one object have, against those that are known of it."""

    def __init__(self, connection: str, schema: Schema) -> None:
        self.connection = connection
        self.schema = schema
        self.answers = 0
        self._seen: dict[str, int] = {}
        self._misfits: dict[str, tuple[int, str]] = {}

    def saw(self, record: Mapping[str, Any]) -> None:
        """Count one record as it came."""
        self.answers += 1
        known = self.schema.by_path()
        met: set[str] = set()
        for path, value in walked(record):
            field = known.get(path)
            if field is not None and value is not None and not fits(value, field.type):
                count, _ = self._misfits.get(path, (0, ""))
                self._misfits[path] = (count + 1, type(value).__name__)
            met.add(path)
        for path in met:
            if path in self._seen or len(self._seen) < FIELDS_COUNTED_MAX:
                self._seen[path] = self._seen.get(path, 0) + 1

    def findings(self, mappings: MappingSet) -> tuple[Finding, ...]:
        """Return what the answers showed: fields nobody knows, other types, and fields that rows need and none had."""
        known = self.schema.by_path()
        found: list[Found] = [
            (path, "unknown_in_answers", "", str(count))
            for path, count in sorted(self._seen.items())
            if path not in known and self.schema.is_whole and not lies_in_open(path, known)
        ]
        found += [(path, "type_changed", known[path].type, kind) for path, (_, kind) in sorted(self._misfits.items())]
        if self.answers >= ANSWERS_LEAST:
            missing = sorted(path for path in known if path not in self._seen)
            found += [
                (path, "missing_in_answers", known[path].type, str(self.answers))
                for path in missing
                if rows_hit(mappings, self.schema.object, path)
            ]
        return tuple(_finding(self.connection, self.schema.object, mappings, each) for each in found)


def canary(
    connection: str,
    object_name: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    mappings: MappingSet,
    *,
    moving: Collection[str] = (),
) -> tuple[Finding, ...]:
    """Compare one record, which nobody changes, as it was read before and now: its shape, and its instants.

    Only a shift that zones can make counts: somebody who does change an instant is no drift of the system's.
    `moving` are paths that change by themselves, like the time of the last change.
    """
    was, has = _still(before, moving), _still(now, moving)
    gone = sorted(was.keys() - has.keys())
    found: list[Found] = [(path, "removed", _kind_of(was[path]), "") for path in gone]
    for path in sorted(was.keys() & has.keys()):
        old, new = was[path], has[path]
        if old is not None and new is not None and _kind_of(old) != _kind_of(new):
            found.append((path, "type_changed", _kind_of(old), _kind_of(new)))
        elif (shift := _shift(old, new)) is not None and _is_of_zones(shift):
            found.append((path, "moved_in_time", str(old), f"{new} ({shift:+g} minutes)"))
        elif _lost_zone(old, new):
            found.append((path, "zone_lost", str(old), str(new)))
    return tuple(_finding(connection, object_name, mappings, each) for each in found)


def returned(
    connection: str, object_name: str, told: Mapping[str, Any], now: Mapping[str, Any], mappings: MappingSet
) -> tuple[Finding, ...]:
    """Compare what a system was told of a record with what it gives back of it, field by field.

    What it does not give back at all is none: some fields can only be written.
    """
    was, has = dict(walked(told)), dict(walked(now))
    found: list[Found] = []
    for path in sorted(was.keys() & has.keys()):
        old, new = was[path], has[path]
        if isinstance(old, dict | list) or delivery.stands(old, new):
            continue
        shift = _shift(old, new)
        if shift:
            found.append((path, "moved_in_time", str(old), f"{new} ({shift:+g} minutes)"))
        elif _lost_zone(old, new):
            found.append((path, "zone_lost", str(old), str(new)))
        elif not _are_instants(old, new):
            found.append((path, "comes_back_otherwise", _shown(old), _shown(new)))
    return tuple(_finding(connection, object_name, mappings, each) for each in found)


def _finding(connection: str, object_name: str, mappings: MappingSet, change_of: Found) -> Finding:
    field, change, old, new = change_of
    rows = rows_hit(mappings, object_name, field)
    if change in ("choice_removed", "choice_added"):
        rows = tuple(dict.fromkeys((*rows, *_rows_of_choice(mappings, object_name, old or new))))
    return Finding(connection=connection, object=object_name, field=field, change=change, old=old, new=new, rows=rows)


def _of_field(old: Field, new: Field) -> Iterator[tuple[Change, str, str]]:
    if old.type != new.type:
        yield "type_changed", old.type, new.type
    if old.choices and new.choices:
        yield from (("choice_removed", word, "") for word in old.choices if word not in new.choices)
        yield from (("choice_added", "", word) for word in new.choices if word not in old.choices)
    if new.required and not old.required:
        yield "required", "", new.type
    if old.writable and not new.writable:
        yield "read_only", "", ""


def _renamed(gone: Sequence[Field], came: Sequence[Field]) -> dict[str, str]:
    """Pair what went with what came, the most alike first: same parent, same type, similar name."""
    pairs = [
        (_likeness(old.path, new.path), old.path, new.path)
        for old in gone
        for new in came
        if old.type == new.type and old.path.rpartition(".")[0] == new.path.rpartition(".")[0]
    ]
    found: dict[str, str] = {}
    for likeness, old_path, new_path in sorted(pairs, reverse=True):
        if likeness >= ALIKE and old_path not in found and new_path not in found.values():
            found[old_path] = new_path
    return found


def _likeness(one: str, other: str) -> float:
    mine, theirs = (path.rpartition(".")[2].replace("_", "").lower() for path in (one, other))
    return difflib.SequenceMatcher(None, mine, theirs).ratio()


def _touch(path: str, field: str) -> bool:
    return path == field or path.startswith(f"{field}.") or field.startswith(f"{path}.")


def lies_in_open(path: str, known: Mapping[str, Field]) -> bool:
    """Tell whether a path lies in a field within which nothing further is known."""
    parent = path.rpartition(".")[0]
    while parent:
        if parent in known:
            return not any(other.startswith(f"{parent}.") for other in known)
        parent = parent.rpartition(".")[0]
    return False


def _reads(row: Row, field: str) -> bool:
    """Tell whether a row of what comes in names a field of theirs."""
    for each in making.all_rows((row,)):
        named = (each.source, *each.sources, *(condition.path for condition in (*each.when, *each.where)))
        paths = [path.partition(":")[0].removeprefix("record.") for path in named if path.startswith("record.")]
        if any(_touch(_as_pattern(path), field) for path in paths):
            return True
        if f"record.{field}" in each.code:
            return True
    return False


def _as_pattern(path: str) -> str:
    """Return a path with `*` in place of numbers."""
    return ".".join(EVERY if step.isdecimal() else step for step in path.split("."))


def _rows_of_choice(mappings: MappingSet, object_name: str, word: str) -> Iterator[str]:
    """Yield rows that turn the vendor's words into ours, by the word."""
    every: list[ObjectMapping | IntoMapping] = [*mappings.out, *mappings.into]
    for each in every:
        for row in making.all_rows(each.rows) if each.object == object_name else ():
            if row.action == "map" and (word in row.values or word in map(str, row.values.values())):
                yield f"{'out' if each in mappings.out else 'into'} {object_name} {row.target} ({word})"


def _kind_of(value: Any) -> str:
    return _KINDS.get(type(value), "null")


def _still(record: Mapping[str, Any], moving: Collection[str]) -> dict[str, Any]:
    return {path: value for path, value in walked(record) if path not in moving}


def _is_of_zones(minutes: float) -> bool:
    return minutes % ZONE_MINUTES == 0 and abs(minutes) <= ZONES_APART_MINUTES_MAX


def _are_instants(old: Any, new: Any) -> bool:
    return _moment(old) is not None and _moment(new) is not None


def _lost_zone(old: Any, new: Any) -> bool:
    """Tell whether an instant has become a time of which nobody knows where."""
    is_local = isinstance(new, str) and _moment(f"{new}Z") is not None
    return _moment(old) is not None and is_local and _moment(new) is None


def _moment(value: Any) -> datetime | None:
    try:
        return time_formats.moment_of(value)
    except time_formats.BadTime:
        return None


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def _shift(old: Any, new: Any) -> float | None:
    """Return by how many minutes an instant moved; None if it is none, or did not."""
    before, after = _moment(old), _moment(new)
    if before is None or after is None:
        return None
    moved = after - before
    return moved / timedelta(minutes=1) if moved else None
