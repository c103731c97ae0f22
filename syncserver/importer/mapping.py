"""Which column becomes which field, read from a TOML file.

The mapping also says in whose name a column is written (`authority`): a cost that came out of an
ERP is the ERP's word, whoever carried the file here. A column with `reference` names another
record by a label; the record is made once for each label.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from syncserver.importer.errors import BadMapping

if TYPE_CHECKING:
    from replication.catalog import Catalog, Collection

DELIMITERS: Final = (",", ";", "\t", "|")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record a label stands for: its collection, and the field that holds the label."""

    collection: str
    field: str


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One column: the field it fills, how its text is read, in whose name it is written.

    `format` is a strptime pattern for dates and instants; without it ISO 8601 is expected.
    `decimal` is the decimal mark of numbers.
    """

    field: str
    format: str | None = None
    decimal: str = "."
    required: bool = False
    authority: str | None = None
    reference: Reference | None = None


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole mapping. `source` names the file's origin and is part of each row's identity."""

    source: str
    collection: str
    columns: dict[str, Column]
    encoding: str = "utf-8-sig"
    delimiter: str = ","
    zone: str = "UTC"
    authority: str = "office"
    constants: dict[str, str] = {}

    def tzinfo(self) -> ZoneInfo:
        """Return the zone in which times without one are meant."""
        return ZoneInfo(self.zone)


def parse(text: str, catalog: Catalog) -> Mapping:
    """Return the mapping, checked against the catalogue; `BadMapping` names what is wrong."""
    try:
        mapping = msgspec.convert(tomllib.loads(text), Mapping)
    except tomllib.TOMLDecodeError as error:
        raise BadMapping(f"the mapping is no TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise BadMapping(f"the mapping: {error}") from error
    return check(mapping, catalog)


def check(mapping: Mapping, catalog: Catalog) -> Mapping:
    """Return the mapping unchanged if every name in it is known to the catalogue."""
    collection = catalog.collections.get(mapping.collection)
    if collection is None:
        known = ", ".join(sorted(catalog.collections))
        raise BadMapping(f"collection: {mapping.collection!r} is not in the catalogue ({known})")
    if mapping.delimiter not in DELIMITERS:
        raise BadMapping("delimiter: one of comma, semicolon, tab, vertical bar is needed")
    try:
        mapping.tzinfo()
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadMapping(f"zone: {mapping.zone!r} is no IANA time zone") from error
    for name, column in mapping.columns.items():
        _check_column(name, column, collection, catalog)
    for name in mapping.constants:
        _check_field(f"constants.{name}", name, collection)
    return mapping


def _check_column(name: str, column: Column, collection: Collection, catalog: Catalog) -> None:
    _check_field(f"columns.{name}.field", column.field, collection)
    cell = collection.cells[collection.cell_of(column.field)]
    if column.authority is not None and column.authority not in cell.write:
        allowed = ", ".join(sorted(cell.write))
        raise BadMapping(
            f"columns.{name}.authority: {column.authority!r} may not write {column.field}; allowed: {allowed}"
        )
    if column.decimal not in {".", ","}:
        raise BadMapping(f"columns.{name}.decimal: a point or a comma is needed")
    if column.reference is not None:
        _check_reference(f"columns.{name}.reference", column, collection, catalog)


def _check_reference(place: str, column: Column, collection: Collection, catalog: Catalog) -> None:
    reference, field = column.reference, collection.fields[column.field]
    assert reference is not None
    if field.kind != "reference" or field.to != reference.collection:
        raise BadMapping(f"{place}: {column.field} does not refer to {reference.collection!r}")
    _check_field(f"{place}.field", reference.field, catalog.collections[reference.collection])


def _check_field(place: str, name: str, collection: Collection) -> None:
    if name not in collection.fields:
        known = ", ".join(sorted(collection.fields))
        raise BadMapping(f"{place}: {collection.name} has no field {name!r} ({known})")
