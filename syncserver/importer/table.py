"""A delimited file becomes drafts of records and rejects; nothing is written here.

A row has no id of its own, and equal rows are separate facts (the same repair can be booked
twice in a day). So a row's identity is the source's name, the row's content and its occurrence
number among equal rows: reading the same file again gives the same ids.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import msgspec

from replication import kinds
from syncserver.importer.errors import BadTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from replication.catalog import Catalog, Field
    from syncserver.importer.mapping import Column, Mapping

NAMESPACE: Final = UUID("8f2d6f0e-5d0b-5a52-9a1e-6f1c9b9c3a10")
"""Root of the ids that imports make; changing it would import everything a second time."""

FIELD_CHARACTERS_MAX: Final = 131_072


class Draft(msgspec.Struct, frozen=True):
    """A record to be written: where it goes, its id, its fields, and its line (0: made by label)."""

    collection: str
    id: str
    fields: dict[str, Any]
    line: int


class Reject(msgspec.Struct, frozen=True):
    """A row that was not taken: its line in the file, every reason, and the row itself."""

    line: int
    reasons: tuple[str, ...]
    row: tuple[str, ...]


def decode(data: bytes, mapping: Mapping) -> str:
    """Return the text of the file; `BadTable` names the first byte that does not fit."""
    try:
        return data.decode(mapping.encoding)
    except LookupError as error:
        raise BadTable(f"encoding: {mapping.encoding!r} is not known") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadTable(
            f"line {line}: byte {data[error.start]:#04x} is no {mapping.encoding}; "
            "name the file's encoding, often cp1252"
        ) from error


def read(text: str, mapping: Mapping, catalog: Catalog) -> Iterator[Draft | Reject]:
    """Yield each row as a draft or a reject; the records that labels stand for come before it."""
    csv.field_size_limit(FIELD_CHARACTERS_MAX)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=mapping.delimiter, strict=True)
    header = _header(lines, mapping)
    met: Counter[tuple[str, ...]] = Counter()
    labels: set[str] = set()
    for line, row in _rows(lines):
        if isinstance(row, Reject):
            yield row
            continue
        met[row] += 1
        draft, reasons = _draft(dict(zip(header, row, strict=False)), mapping, catalog)
        if len(row) != len(header):
            reasons.append(f"{len(row)} columns where the header has {len(header)}")
        if reasons:
            yield Reject(line, tuple(reasons), row)
            continue
        for made in _labelled(draft, mapping):
            if made.id not in labels:
                labels.add(made.id)
                yield made
        yield Draft(
            mapping.collection,
            identity(mapping.source, "row", *row, str(met[row])),
            _resolved(draft, mapping),
            line,
        )


def identity(*parts: str) -> str:
    """Return the id that these parts always give."""
    return str(uuid5(NAMESPACE, msgspec.json.encode(parts).decode()))


def _header(lines: Iterator[list[str]], mapping: Mapping) -> list[str]:
    header = [name.strip() for name in next(lines, [])]
    missing = [name for name in mapping.columns if name not in header]
    if missing:
        raise BadTable(f"line 1: no column {', '.join(missing)}; there are {', '.join(header)}")
    return header


def _rows(lines: Iterator[list[str]]) -> Iterator[tuple[int, tuple[str, ...] | Reject]]:
    """Yield rows with the line they begin on; a row the reader chokes on is a reject."""
    begins = _line_after(lines)
    while True:
        try:
            row = next(lines, None)
        except csv.Error as error:
            yield begins, Reject(begins, (f"not readable: {error}",), ())
        else:
            if row is None:
                return
            if row:
                yield begins, tuple(row)
        begins = _line_after(lines)


def _line_after(lines: Iterator[list[str]]) -> int:
    """Return the line on which the next row begins."""
    # The reader's own type, which has this attribute, has no public name.
    return int(lines.line_num) + 1  # type: ignore[attr-defined]


def _draft(row: dict[str, str], mapping: Mapping, catalog: Catalog) -> tuple[dict[str, Any], list[str]]:
    """Return field values by name (labels still as text), and what is wrong with the row."""
    fields = catalog.collections[mapping.collection].fields
    values: dict[str, Any] = dict(mapping.constants)
    reasons: list[str] = []
    for name, column in mapping.columns.items():
        text = row.get(name, "").strip()
        if not text:
            if column.required:
                reasons.append(f"{name} is empty")
            continue
        try:
            values[column.field] = _value(text, column, fields[column.field], mapping)
        except (kinds.BadValue, ValueError) as error:
            reasons.append(f"{name} is {text!r}: {error}")
    return values, reasons


def _value(text: str, column: Column, field: Field, mapping: Mapping) -> Any:
    if column.reference is not None:
        return text
    if field.kind in {"integer", "decimal"} and column.decimal == ",":
        text = text.replace(".", "").replace(",", ".")
    if field.kind == "integer":
        return kinds.canonical(field, int(text))
    if field.kind == "instant":
        return kinds.canonical(field, _instant(text, column, mapping))
    if field.kind == "date" and column.format is not None:
        return datetime.strptime(text, column.format).replace(tzinfo=UTC).date().isoformat()
    return kinds.canonical(field, text)


def _instant(text: str, column: Column, mapping: Mapping) -> str:
    """Return the instant; a time without offset is meant in the mapping's zone."""
    if column.format is not None:  # noqa: SIM108  (two readings, easier apart)
        moment = datetime.strptime(text, column.format)  # noqa: DTZ007  (the zone comes below)
    else:
        moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=mapping.tzinfo())
    return moment.astimezone(UTC).isoformat()


def _labelled(values: dict[str, Any], mapping: Mapping) -> Iterator[Draft]:
    """Yield the records that the row names by label."""
    for column in mapping.columns.values():
        if column.reference is not None and column.field in values:
            label = values[column.field]
            made = _label_id(column, label, mapping)
            yield Draft(column.reference.collection, made, {column.reference.field: label}, 0)


def _label_id(column: Column, label: str, mapping: Mapping) -> str:
    assert column.reference is not None
    return identity(mapping.source, "label", column.reference.collection, label)


def _resolved(values: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    """Return the values with each label replaced by the id of its record."""
    ids = {
        column.field: _label_id(column, values[column.field], mapping)
        for column in mapping.columns.values()
        if column.reference is not None and column.field in values
    }
    return {**values, **ids}
