"""`fieldsync import COLLECTION FILE`: records from a delimited file, with what could not be taken."""

from __future__ import annotations

import asyncio
import csv
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cyclopts
import msgspec
from rich.progress import Progress

from syncserver import settings
from syncserver.cli import outcome
from syncserver.commands import catalog as catalogs
from syncserver.commands.bulk import Hub
from syncserver.commands.commit import Committers
from syncserver.commands.errors import UnknownCollection
from syncserver.importer import load, mapping, table
from syncserver.importer.errors import BadMapping, BadTable, ImportFailed
from syncserver.importer.load import Writer
from syncserver.store import db, devices
from syncserver.store.catalogs import Catalogs

if TYPE_CHECKING:
    from replication.catalog import Catalog
    from syncserver.importer.load import Report
    from syncserver.importer.mapping import Mapping

FILE_BYTES_MAX: Final = 1 << 30
DONE, FAILED, REJECTS = 0, 1, 3
"""Exit codes; `REJECTS` says that all else was imported."""

app = cyclopts.App(name="import", help="Bring in records from a delimited file.")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for."""

    collection: str
    file: Path
    tenant: int
    mapping: Path | None
    overrides: dict[str, str]
    rejects: Path


@app.default
def run(  # noqa: PLR0913  (options of a command line)
    collection: str,
    file: Path,
    *,
    tenant: int = 1,
    mapping: Path | None = None,
    source: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    zone: str | None = None,
    rejects: Path | None = None,
) -> int:
    """Import FILE into COLLECTION (`work-orders`). Rows that are known already are left alone.

    Parameters
    ----------
    collection
        Where the rows go, as the catalogue names it; hyphens stand for underscores.
    file
        The delimited file, with a header line.
    tenant
        Number of the tenant.
    mapping
        TOML file that says which column becomes which field; without it, the one for maintenance work orders.
    source
        Name of the file's origin, part of each row's identity; overrides the mapping's.
    encoding
        Encoding of the file, such as cp1252; overrides the mapping's.
    delimiter
        Between columns: one of , ; | or a tab; overrides the mapping's.
    zone
        IANA time zone of times without an offset; overrides the mapping's.
    rejects
        Where rows go that could not be taken, with line and reasons; FILE.rejects.csv if not given.
    """
    given = {"source": source, "encoding": encoding, "delimiter": delimiter, "zone": zone}
    plan = Plan(
        collection=collection.replace("-", "_"),
        file=file,
        tenant=tenant,
        mapping=mapping,
        overrides={name: value for name, value in given.items() if value is not None},
        rejects=rejects or file.with_name(f"{file.name}.rejects.csv"),
    )
    try:
        _check_files(plan)
        return _tell(asyncio.run(_import(plan)), plan)
    except (ImportFailed, *outcome.REASONS) as error:
        sys.stderr.write(f"{outcome.sentence(error)}\n")
        return FAILED


async def _import(plan: Plan) -> Report:
    database = await db.connect(settings.database_url())
    committers = Committers(database)
    try:
        await committers.start()
        catalog = await catalogs.current(database, Catalogs(), plan.tenant)
        chosen = _mapping(plan, catalog)
        handle = f"import:{chosen.source}"
        source = devices.Source(
            kind="import", authority=chosen.authority, handle=handle, person="", label=plan.file.name
        )
        rid = await devices.replica(database, plan.tenant, source)
        return await _load(plan, chosen, catalog, Hub(database, committers, plan.tenant), Writer(rid, handle))
    finally:
        await committers.stop()
        await database.close()


def _check_files(plan: Plan) -> None:
    """Refuse files that cannot be read, before the database is asked for anything."""
    for file in filter(None, (plan.file, plan.mapping)):
        if not file.exists():
            raise ImportFailed(f"there is no file {file}")
        if not file.is_file():
            raise ImportFailed(f"{file} is a folder or device, not a file")
    if plan.file.stat().st_size > FILE_BYTES_MAX:
        raise BadTable(f"{plan.file} is larger than {FILE_BYTES_MAX} bytes; split it")


def _mapping(plan: Plan, catalog: Catalog) -> Mapping:
    if plan.collection not in catalog.collections:
        known = ", ".join(sorted(catalog.collections))
        raise UnknownCollection(f"there is no collection {plan.collection}; there are {known}")
    parsed = mapping.parse(_mapping_text(plan.mapping), catalog)
    if parsed.collection != plan.collection:
        raise BadMapping(f"the mapping is for {parsed.collection}, not for {plan.collection}; name one with --mapping")
    return mapping.check(msgspec.structs.replace(parsed, **plan.overrides), catalog)


def _mapping_text(file: Path | None) -> str:
    if file is None:
        shipped = resources.files("syncserver.importer").joinpath("mappings/maintenance.toml")
        return shipped.read_text(encoding="utf-8")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadMapping(f"{file} is not UTF-8: {error.reason} at byte {error.start}") from error


async def _load(plan: Plan, chosen: Mapping, catalog: Catalog, hub: Hub, writer: Writer) -> Report:
    text = table.decode(plan.file.read_bytes(), chosen)
    rows = table.read(text, chosen, catalog)
    with Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(plan.file.name, total=text.count("\n") + 1)
        return await load.load(rows, chosen, hub, writer, progress=lambda line: bar.update(task, completed=line))


def _tell(report: Report, plan: Plan) -> int:
    sys.stdout.write(
        f"{report.imported} imported, {report.known} known already, {len(report.rejects)} rejected, "
        f"{report.made} records made for labels\n"
    )
    if not report.rejects:
        return DONE
    with plan.rejects.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["line", "reasons", "row"])
        for reject in report.rejects:
            writer.writerow([reject.line, "; ".join(reject.reasons), *reject.row])
    for reject in report.rejects[:10]:
        sys.stdout.write(f"  line {reject.line}: {'; '.join(reject.reasons)}\n")
    sys.stdout.write(f"  all rejected rows, with reasons: {plan.rejects}\n")
    return REJECTS
