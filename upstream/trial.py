"""Trying a mapping before it holds: against the fields there are, ours and theirs, and on real samples.

Each issue names the object and the row. An *error* keeps a version from being published; a *warning*
tells what may be meant. Pure: everything that is known goes in as values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from upstream import compare, drift, making
from upstream.compare import Difference
from upstream.contract import EVERY, fits
from upstream.mapping import Made
from upstream.naming import Names
from upstream.schema import Schema, walked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from replication.catalog import Catalog
    from upstream.making import Jsonnet
    from upstream.manifest import Manifest
    from upstream.mapping import IntoMapping, MappingSet, ObjectMapping, Row
    from upstream.schema import Field

Way = Literal["out", "into"]
Severity = Literal["error", "warning"]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What an object was made of once: outward our records, inward a record of theirs."""

    way: Way
    object: str
    key: str
    collection: str
    context: dict[str, Any]


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a row, or may be; `sample` is the key of the object that showed it."""

    severity: Severity
    way: Way
    object: str
    row: str
    message: str
    sample: str = ""

    def __str__(self) -> str:
        """Return it as one line for a person."""
        shown = f" (sample {self.sample})" if self.sample else ""
        row = f", row {self.row!r}" if self.row else ""
        return f"{self.way} {self.object}{row}: {self.message}{shown}"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a mapping made of a sample; `applies` is false where its conditions do not hold of it."""

    sample: Sample
    applies: bool
    made: Made


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """What another version makes otherwise of one sample."""

    way: Way
    object: str
    key: str
    differences: tuple[Difference, ...]
    problems_before: tuple[str, ...] = ()
    problems_after: tuple[str, ...] = ()


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """All that a mapping is held against. Without a catalogue, or a schema of an object, less is found."""

    manifest: Manifest
    schemas: Mapping[str, Schema] = {}
    catalog: Catalog | None = None


def issues(mappings: MappingSet, known: Known) -> tuple[Issue, ...]:
    """Return what is wrong with a mapping as it stands, before it is tried on anything."""
    found: list[Issue] = []
    for each in mappings.out:
        found += _objects("out", each.object, known.manifest.targets, "target")
        found += [_issue("out", each, row, said) for row, said in Names(known.manifest, known.catalog).outward(each)]
        if (schema := known.schemas.get(each.object)) is not None:
            found += _against_schema(each, schema)
    for inward in mappings.into:
        there = {**known.manifest.sources, **(known.manifest.webhook.fetch if known.manifest.webhook else {})}
        found += _objects("into", inward.object, there, "source")
        found += [
            _issue("into", inward, row, said) for row, said in Names(known.manifest, known.catalog).inward(inward)
        ]
        found += _missing_there(inward, known.schemas.get(inward.object))
    return tuple(found)


def tried(
    mappings: MappingSet, samples: Sequence[Sample], manifest: Manifest, jsonnet: Jsonnet | None = None
) -> tuple[Trial, ...]:
    """Return what the mapping makes of each sample, once for each of its objects that the sample is one of."""
    found = []
    for sample in samples:
        for each in _of_sample(mappings, sample):
            applies = making.holds(each.when, sample.context)
            made = making.make(each.rows, sample.context, jsonnet) if applies else Made({})
            if applies and sample.way == "out":
                made = making.as_written(made, sample.object, manifest.time, sample.context)
            found.append(Trial(sample=sample, applies=applies, made=made))
    return tuple(found)


def issues_of(trials: Sequence[Trial], schemas: Mapping[str, Schema]) -> tuple[Issue, ...]:
    """Return what trying showed: rows that could not be made, and values that do not fit what is known of the field."""
    found: list[Issue] = []
    for trial in trials:
        sample = trial.sample
        found += [_of_trial("error", sample, each.target, each.message) for each in trial.made.problems]
        if sample.way == "out" and (schema := schemas.get(sample.object)) is not None:
            fields = schema.by_path()
            for path, value in walked(trial.made.fields):
                if (field := fields.get(path)) is not None and (said := _misfit(value, field)):
                    found.append(_of_trial("error", sample, path, said))
    return tuple(dict.fromkeys(found))


def shifts(before: Sequence[Trial], after: Sequence[Trial]) -> tuple[Shift, ...]:
    """Return for each sample what comes out otherwise; samples that come out the same are left out."""
    was, now = _by_sample(before), _by_sample(after)
    found = []
    for place in {**was, **now}:
        old, new = was.get(place), now.get(place)
        gone, came = _problems(old), _problems(new)
        differences = compare.differences(_fields(old), _fields(new))
        if differences or gone != came:
            way, name, key = place
            found.append(
                Shift(way=way, object=name, key=key, differences=differences, problems_before=gone, problems_after=came)
            )
    return tuple(found)


def rows_changed(before: MappingSet, after: MappingSet) -> tuple[Difference, ...]:
    """Return which rows were added, removed or changed, by object and target."""
    return compare.differences(_by_target(before), _by_target(after))


# What stands behind.


def _objects(way: Way, name: str, there: Mapping[str, Any], word: str) -> Iterator[Issue]:
    if name not in there:
        said = f"the system has no {word} of this name (there are: {', '.join(sorted(there)) or 'none'})"
        yield Issue(severity="error", way=way, object=name, row="", message=said)


def _issue(way: Way, mapping: ObjectMapping | IntoMapping, row: str, said: str, severity: Severity = "error") -> Issue:
    return Issue(severity=severity, way=way, object=mapping.object, row=row, message=said)


def _of_trial(severity: Severity, sample: Sample, row: str, said: str) -> Issue:
    return Issue(severity=severity, way=sample.way, object=sample.object, row=row, message=said, sample=sample.key)


def _against_schema(each: ObjectMapping, schema: Schema) -> Iterator[Issue]:
    """Yield rows that write what is not there, may not be written, or takes something else; and what no row gives."""
    fields = schema.by_path()
    severity: Severity = "error" if schema.is_whole else "warning"
    written = {*drift.targets(each.rows)}
    for path in sorted(written):
        field = fields.get(path)
        if field is None:
            if not drift.lies_in_open(path, fields):
                yield _issue("out", each, path, "the object has no such field", severity)
        elif not field.writable:
            yield _issue("out", each, path, "the field cannot be written", severity)
    for row, path in _rows_by_path(each.rows):
        if (field := fields.get(path)) is not None:
            yield from (_issue("out", each, path, said) for said in _fixed_misfits(row, field))
    if schema.is_whole:
        yield from _not_given(each, schema, written)


def _not_given(each: ObjectMapping, schema: Schema, written: set[str]) -> Iterator[Issue]:
    for field in schema.fields:
        parent = field.path.rpartition(".")[0].removesuffix(f".{EVERY}")
        is_asked = not parent or any(path == parent or path.startswith(f"{parent}.") for path in written)
        given = any(path == field.path or path.startswith(f"{field.path}.") for path in written)
        inside_code = any(
            row.action == "jsonnet" and _is_within(field.path, path) for row, path in _rows_by_path(each.rows)
        )
        if field.required and field.writable and is_asked and not given and not inside_code:
            yield _issue("out", each, field.path, "the object needs this field, and no row gives it", "warning")


def _is_within(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")


def _rows_by_path(rows: tuple[Row, ...], prefix: str = "") -> Iterator[tuple[Row, str]]:
    for row in rows:
        yield row, f"{prefix}{row.target}"
        yield from _rows_by_path(row.rows, f"{prefix}{row.target}.{EVERY}.")


def _fixed_misfits(row: Row, field: Field) -> Iterator[str]:
    """Yield which of the values that a row has written down do not fit the field."""
    values: list[Any] = [row.default] if row.default is not None else []
    if row.action == "static" and not (isinstance(row.value, str) and "${" in row.value):
        values.append(making.as_number(row.value) if row.number else row.value)
    elif row.action == "map":
        values += row.values.values()
    elif row.action == "range":
        values += (step.value for step in row.steps)
    yield from dict.fromkeys(said for value in values if (said := _misfit(value, field)))


def _misfit(value: Any, field: Field) -> str:
    """Return what is wrong with a value for a field, or nothing."""
    if value is None:
        return ""
    if not fits(value, field.type):
        return f"{str(value)[:60]!r} is not {field.type.replace('_', ' ')}"
    if field.choices and str(value) not in field.choices:
        return f"{str(value)[:60]!r} is none of {', '.join(field.choices[:20])}"
    if field.length_max and isinstance(value, str) and len(value) > field.length_max:
        return f"has {len(value)} characters, more than {field.length_max}"
    return ""


def _missing_there(inward: IntoMapping, schema: Schema | None) -> Iterator[Issue]:
    """Yield rows that read what the system's object does not have."""
    if schema is None:
        return
    fields = schema.by_path()
    for row in making.all_rows(inward.rows):
        path, root = row.source.partition(":")[0].removeprefix("record."), row.source.startswith("record.")
        pattern = ".".join(EVERY if step.isdecimal() else step for step in path.split("."))
        if root and pattern not in fields and not drift.lies_in_open(pattern, fields):
            yield _issue("into", inward, row.target, f"their object has no field {path!r}", "warning")


def _of_sample(mappings: MappingSet, sample: Sample) -> list[ObjectMapping | IntoMapping]:
    every: Sequence[ObjectMapping | IntoMapping] = mappings.out if sample.way == "out" else mappings.into
    return [each for each in every if (each.object, each.collection) == (sample.object, sample.collection)]


def _by_sample(trials: Sequence[Trial]) -> dict[tuple[Way, str, str], Trial]:
    # Of several mappings for one object at most one should apply; the first that does is shown.
    found: dict[tuple[Way, str, str], Trial] = {}
    for trial in trials:
        place = (trial.sample.way, trial.sample.object, trial.sample.key)
        if place not in found or (trial.applies and not found[place].applies):
            found[place] = trial
    return found


def _fields(trial: Trial | None) -> dict[str, Any]:
    return trial.made.fields if trial is not None else {}


def _problems(trial: Trial | None) -> tuple[str, ...]:
    return tuple(f"{each.target}: {each.message}" for each in trial.made.problems) if trial is not None else ()


def _by_target(mappings: MappingSet) -> dict[str, Any]:
    every: list[tuple[str, ObjectMapping | IntoMapping]] = [("out", each) for each in mappings.out]
    every += [("into", each) for each in mappings.into]
    found: dict[str, Any] = {}
    for way, each in every:
        name = f"{way} {each.object} of {each.collection}"
        found[name] = {row.target: msgspec.to_builtins(row) for row in each.rows}
        rest = msgspec.to_builtins(each)
        found[f"{name}, itself"] = {key: value for key, value in rest.items() if key != "rows"}
    return found
