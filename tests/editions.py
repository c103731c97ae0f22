"""The test catalogue as it changes in the middle of a history, one version after the other.

Who gives scope to whom stays as it is: that a change of scope reaches those whom it concerns is no
affair of the rules that are compared here.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from replication import catalog_file, device
from replication.catalog import Catalog, Collection
from tests.oracle_values import Table

SOURCE: Final = Path(__file__).with_name("every_policy.toml").read_text(encoding="utf-8")


def _flipped(table: Table) -> None:
    """Other ranks, other ties, another word on who wins against a delete."""
    jobs, facts = table["jobs"]["fields"], table["facts"]
    jobs["status"]["rank"] = ["office", "device.former", "device"]
    jobs["level"]["rank"] = ["office", "device", "erp"]
    jobs["place"]["tie"], jobs["title"]["tie"], jobs["arrived"]["tie"] = "first", "clock", "last"
    facts["against_edit"] = "manual"


def _narrowed(table: Table) -> None:
    """Less may be said than before: fields that are gone, choices that are gone, shorter texts, fewer writers."""
    jobs, facts = table["jobs"]["fields"], table["facts"]["fields"]
    del jobs["gauge"], facts["gauge"]
    jobs["grade"]["choices"] = ["good", "poor"]
    jobs["title"]["limit"] = 4
    jobs["summary"]["write"] = ["office"]
    table["crates"]["fields"]["stage"] |= {
        "choices": ["packed", "loaded", "there"],
        "order": [["packed", "loaded", "there"]],
    }


def _shrunk(table: Table) -> None:
    """A whole collection is gone; something new is there; ranks and ties are as at first."""
    jobs, facts = table["jobs"]["fields"], table["facts"]
    jobs["status"]["rank"] = ["device.assignee", "device.crew", "office", "device.former"]
    jobs["place"]["tie"], facts["against_edit"] = "last", "keep_edit"
    del jobs["notes"]["merge"]
    table["crates"]["against_edit"] = "delete_wins"
    table["crates"]["fields"]["colour_code"] = {"kind": "integer", "write": ["device", "office"], "tie": "last"}
    del table["memos"]


CHANGES: Final[tuple[Callable[[Table], None], ...]] = (_flipped, _narrowed, _shrunk)


def _tables() -> dict[int, Table]:
    tables = {1: tomllib.loads(SOURCE)}
    for version, change in enumerate(CHANGES, start=2):
        tables[version] = copy.deepcopy(tables[version - 1])
        change(tables[version]["collections"])
    return tables


TABLES: Final[dict[int, Table]] = _tables()
LAST: Final = max(TABLES)


def _toml(value: Any) -> str:
    """Write a value as TOML does, tables in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + "}"
    return msgspec.json.encode(value).decode()


def _catalog(version: int) -> Catalog:
    lines = [f"{name} = {_toml(value)}" for name, value in TABLES[version].items()]
    return catalog_file.parse("\n".join(lines), version=version)


CATALOGS: Final[dict[int, Catalog]] = {version: _catalog(version) for version in TABLES}
LAYOUTS: Final = {
    version: {name: device.layout_of(collection) for name, collection in catalog.collections.items()}
    for version, catalog in CATALOGS.items()
}


def fields_of(collection: str, version: int) -> dict[str, Table]:
    """Return the fields of a collection by this version; of one that it does not have, none."""
    found: dict[str, Table] = TABLES[version]["collections"].get(collection, {}).get("fields", {})
    return found


def groups_of(collection: str, version: int) -> dict[str, list[str]]:
    """Return the groups of a collection by this version."""
    found: dict[str, list[str]] = TABLES[version]["collections"].get(collection, {}).get("groups", {})
    return found


def collection_of(collection: str, version: int) -> Collection | None:
    """Return a collection as the rules have it."""
    return CATALOGS[version].collections.get(collection)
