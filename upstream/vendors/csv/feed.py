"""What a file of rows looks like, and the manifest that vouches for it. Pure: bytes in, rows out, and back.

A manifest is a JSON file beside it, put there last: how many rows, how many bytes, which SHA-256. A file whose
manifest is not there is not finished. In files of ours it also has the mark of each row, by which it is known
later that a row was handed over.
"""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS_MAX: Final = 500
CELL_CHARACTERS_MAX: Final = 100_000
DELIMITERS: Final = (",", ";", "\t", "|")
ENCODINGS: Final = ("utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16")
ACTION: Final = "action"
MARK: Final = "mark"
REASON: Final = "reason"
SUFFIX: Final = ".manifest.json"
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell must not begin with, unless it is a number: a spreadsheet would take it for a formula.

The last four are the wide forms of the first, which some take for the same."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is written down. `decimal` is what stands between a number and its fraction."""

    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: str = "."


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How large a file that is taken may be, and how many rows it may have."""

    bytes: int = 64 * 1024 * 1024
    rows: int = 100_000


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What vouches for a file. `marks`: each row's mark, and a hash of the row."""

    file: str
    rows: int
    bytes: int
    sha256: str
    marks: dict[str, str] = {}


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted of a file that was taken: by this the same file is known when it comes again."""

    file: str
    sha256: str
    rows: int
    bad: int
    taken_at: str


class Bad(msgspec.Struct, frozen=True):
    """A row that was not taken, on which line it began, and why."""

    line: int
    reason: str
    cells: list[str]


class Unreadable(ValueError):
    """A file cannot be taken at all; the message says why."""


def written(rows: Sequence[Mapping[str, Any]], dialect: Dialect) -> bytes:
    """Return rows, of the same columns, as a file."""
    columns = list(rows[0])
    page = io.StringIO()
    writer = csv.writer(page, delimiter=dialect.delimiter, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row[column], dialect) for column in columns])
    return page.getvalue().encode(dialect.encoding)


def vouched(name: str, content: bytes, dialect: Dialect) -> Manifest:
    """Return the manifest of a file of ours, as it stands there; raises `Unreadable` for what is none of ours."""
    try:
        text = content.decode(dialect.encoding)
        columns, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, strict=True)
    except (UnicodeError, csv.Error, ValueError) as exc:
        raise Unreadable(f"{name} is no file of ours: {exc}") from exc
    if MARK not in columns or any(len(cells) != len(columns) for cells in rows):
        raise Unreadable(f"{name} is no file of ours: it has no column {MARK}, or rows of another length")
    found = [dict(zip(columns, cells, strict=True)) for cells in rows]
    marks = {row[MARK]: _digest(row) for row in found}
    return Manifest(file=name, rows=len(rows), bytes=len(content), sha256=sha256(content), marks=marks)


def digest(row: Mapping[str, Any], dialect: Dialect) -> str:
    """Return what two rows have in common exactly if they are written the same."""
    return _digest({key: _cell(value, dialect) for key, value in row.items()})


def misfit(row: Mapping[str, Any], dialect: Dialect) -> str:
    """Return why a row cannot be written; empty if it can. So that one row does not keep others back."""
    for name, value in row.items():
        cell = _cell(value, dialect)
        if len(cell) > CELL_CHARACTERS_MAX or "\0" in cell:
            return f"{name}: has more than {CELL_CHARACTERS_MAX} characters, or a NUL"
        try:
            (name + cell).encode(dialect.encoding)
        except UnicodeEncodeError as exc:
            return f"{name}: has {exc.object[exc.start]!r}, which cannot be written in {dialect.encoding}"
    return ""


def count(rows: int, manifest: Manifest) -> None:
    """Raise `Unreadable` if a file has not as many rows as its manifest says."""
    if rows != manifest.rows:
        raise Unreadable(f"has {rows} rows, and its manifest says {manifest.rows}")


def check(content: bytes, manifest: Manifest) -> None:
    """Raise `Unreadable` if a file is not the one that its manifest vouches for; its rows are counted later."""
    if len(content) != manifest.bytes:
        raise Unreadable(f"has {len(content)} bytes, and its manifest says {manifest.bytes}")
    if sha256(content) != manifest.sha256.lower():
        raise Unreadable("has another SHA-256 than its manifest says")


def read(
    content: bytes, dialect: Dialect, id_column: str, limits: Limits | None = None
) -> tuple[list[dict[str, str]], list[Bad]]:
    """Return the rows of a file, and those that cannot be taken; raises `Unreadable` if none can be told."""
    limits = limits or Limits()
    if len(content) > limits.bytes:
        raise Unreadable(f"is larger than {limits.bytes} bytes (FIELDSYNC_FILE_BYTES_MAX)")
    try:
        text = content.decode(dialect.encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        raise Unreadable(f"is not written in {dialect.encoding}: {exc.reason} at byte {exc.start}") from exc
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, strict=True)
    good: list[dict[str, str]] = []
    bad: list[Bad] = []
    try:
        columns = _columns(next(reader, []), id_column)
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                _sort(cells, line, columns, id_column, good, bad)
            line = reader.line_num + 1
            if len(good) + len(bad) > limits.rows:
                raise Unreadable(f"has more than {limits.rows} rows (FIELDSYNC_FILE_ROWS_MAX)")
    except csv.Error as exc:
        raise Unreadable(f"line {reader.line_num}: {exc}") from exc
    return good, bad


def refused(bad: Sequence[Bad], dialect: Dialect) -> bytes:
    """Return the rows that were not taken as a file: the line, the reason, and the cells as they were."""
    page = io.StringIO()
    writer = csv.writer(page, delimiter=dialect.delimiter, lineterminator="\r\n")
    writer.writerow(["line", REASON, "cells"])
    for each in bad:
        writer.writerow([each.line, each.reason, *each.cells])
    return page.getvalue().encode("utf-8")


def _sort(
    cells: list[str], line: int, columns: list[str], id_column: str, good: list[dict[str, str]], bad: list[Bad]
) -> None:
    """Put a row where it belongs."""
    row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    if len(cells) != len(columns):
        bad.append(Bad(line, f"has {len(cells)} cells, and the heading has {len(columns)}", cells))
    elif not row[id_column]:
        bad.append(Bad(line, f"has nothing in {id_column}", cells))
    elif any(len(cell) > CELL_CHARACTERS_MAX or "\0" in cell for cell in cells):
        bad.append(Bad(line, f"has a cell of more than {CELL_CHARACTERS_MAX} characters, or with a NUL", []))
    else:
        good.append({key: value for key, value in row.items() if value})


def _columns(heading: list[str], id_column: str) -> list[str]:
    columns = [name.strip() for name in heading]
    if not columns or len(columns) > COLUMNS_MAX:
        raise Unreadable(f"has no heading, or one of more than {COLUMNS_MAX} columns")
    if len(set(columns)) != len(columns) or not all(columns):
        raise Unreadable("has a column without a name, or two of the same name")
    if id_column not in columns:
        raise Unreadable(f"has no column {id_column!r} (there are: {', '.join(columns)})")
    return columns


def _cell(value: Any, dialect: Dialect) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _is_number(text):
        return text.replace(".", dialect.decimal) if dialect.decimal != "." else text
    return f"'{text}" if text.startswith(FORMULA) else text


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-").replace(".", "", 1)
    return digits.isascii() and digits.isdecimal()


def _digest(row: Mapping[str, str]) -> str:
    return hashlib.sha256(msgspec.json.encode(sorted(row.items()))).hexdigest()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()
