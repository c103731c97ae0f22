"""`fieldsync catalog check | show | diff`: looking at catalogues without a server."""

from __future__ import annotations

import sys
from pathlib import Path

import cyclopts

from replication import catalog_diff, catalog_file
from replication.catalog import Catalog
from syncserver.catalogs import source
from syncserver.cli import catalog_table

CORRECT, FAULTY = 0, 1

app = cyclopts.App(name="catalog", help="Check, show and compare catalogues.")


@app.command
def check(path: Path) -> int:
    """Say whether FILE is a catalogue; if not, everything that is wrong with it, line by line."""
    catalog = _read(path)
    if catalog is None:
        return FAULTY
    fields = sum(len(collection.fields) for collection in catalog.collections.values())
    _say(f"{path}: correct: {len(catalog.collections)} collections, {fields} fields, hash {catalog.hash[:12]}")
    return CORRECT


@app.command
def show(path: Path | None = None) -> int:
    """Print the catalogue of FILE as tables; without FILE, the one that comes with the service."""
    catalog = _read(path)
    if catalog is None:
        return FAULTY
    _say(catalog_table.tables(catalog))
    return CORRECT


@app.command
def diff(old: Path, new: Path) -> int:
    """Print what changes from catalogue OLD to NEW, and what of it needs care."""
    before, after = _read(old), _read(new)
    if before is None or after is None:
        return FAULTY
    differences = catalog_diff.diff(before, after)
    for difference in differences:
        mark = "needs care" if difference.needs_care else "safe"
        _say(f"{mark:<10}  {difference.path}: {difference.message}")
    careful = sum(difference.needs_care for difference in differences)
    _say(f"{len(differences)} differences, {careful} of them need care")
    return CORRECT


def _read(path: Path | None) -> Catalog | None:
    """Return the catalogue, or say on the error stream why there is none."""
    try:
        return catalog_file.parse(source.text(path))
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
