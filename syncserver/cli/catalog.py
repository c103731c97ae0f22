"""`fieldsync catalog check | show | diff | publish`: looking at catalogues, and putting one in force."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import cyclopts

from replication import catalog_diff, catalog_file
from replication.catalog import Catalog
from syncserver import settings
from syncserver.catalogs import source
from syncserver.cli import catalog_table, outcome
from syncserver.commands import catalog as catalogs
from syncserver.store import db
from syncserver.store.catalogs import Catalogs

CORRECT, FAULTY = 0, 1

app = cyclopts.App(name="catalog", help="Check, show, compare and publish catalogues.")


class Read(NamedTuple):
    """A catalogue with the text that it was read from."""

    text: str
    catalog: Catalog


@app.command
def check(path: Path) -> int:
    """Say whether FILE is a catalogue; if not, everything that is wrong with it, line by line."""
    found = read(path)
    if found is None:
        return FAULTY
    catalog = found.catalog
    fields = sum(len(collection.fields) for collection in catalog.collections.values())
    _say(f"{path}: correct: {len(catalog.collections)} collections, {fields} fields, hash {catalog.hash[:12]}")
    return CORRECT


@app.command
def show(path: Path | None = None) -> int:
    """Print the catalogue of FILE as tables; without FILE, the one that comes with the service."""
    found = read(path)
    if found is None:
        return FAULTY
    _say(catalog_table.tables(found.catalog))
    return CORRECT


@app.command
def diff(old: Path, new: Path) -> int:
    """Print what changes from catalogue OLD to NEW, and what of it needs care."""
    before, after = read(old), read(new)
    if before is None or after is None:
        return FAULTY
    differences = catalog_diff.diff(before.catalog, after.catalog)
    for difference in differences:
        mark = "needs care" if difference.needs_care else "safe"
        _say(f"{mark:<10}  {difference.path}: {difference.message}")
    careful = sum(difference.needs_care for difference in differences)
    _say(f"{len(differences)} differences, {careful} of them need care")
    return CORRECT


@app.command
def publish(path: Path, *, tenant: int = 1) -> int:
    """Put the catalogue of FILE in force for a tenant and print its version there.

    A catalogue that says the same as the one in force changes nothing and keeps its version.

    Parameters
    ----------
    path
        The catalogue file.
    tenant
        Number of the tenant.
    """
    found = read(path)
    return FAULTY if found is None else outcome.tell(_publish(tenant, found.text))


async def _publish(tenant_id: int, text: str) -> str:
    database = await db.connect(settings.database_url())
    try:
        held = await catalogs.publish(database, Catalogs(), tenant_id, text)
    finally:
        await database.close()
    return f"version {held.version} is in force for tenant {tenant_id}"


def read(path: Path | None) -> Read | None:
    """Return the catalogue of a file, or say on the error stream why there is none."""
    try:
        text = source.text(path)
        return Read(text, catalog_file.parse(text))
    except catalog_file.BadCatalog as exc:
        problems = exc.problems
        sentences = [problem.sentence for problem in problems]
        _complain(f"{path}: {len(problems)} problem{'s' * (len(problems) != 1)}", *sentences)
    except OSError as exc:
        _complain(f"{path}: {exc.strerror or exc}")
    except UnicodeDecodeError as exc:
        _complain(f"{path}: is not UTF-8: {exc.reason} at byte {exc.start}")
    return None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(*lines: str) -> None:
    sys.stderr.writelines(f"{line}\n" for line in lines)
