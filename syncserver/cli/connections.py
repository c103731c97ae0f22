"""`fieldsync connections`: systems and the connections to them, from the command line."""

from __future__ import annotations

import sys
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import cyclopts
import msgspec
from cyclopts import validators

from syncserver.cli import aligned, canaries, connecting, drafting, going_live, outcome, reaching
from syncserver.commands.upstream import dryrun, folder
from syncserver.commands.upstream.acting import operator
from syncserver.commands.upstream.connections import DAY_SECONDS, Connections
from upstream import vendors
from upstream.jsonnet import Pool

if TYPE_CHECKING:
    from syncserver.commands.upstream.connections import Standing
    from syncserver.commands.upstream.dryrun import Tried
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store import db

FINE, FAULTY = 0, 1
SHIPPED: Final = Path(vendors.__file__).parent
NAMES: Final = (
    "id",
    "name",
    "system",
    "grade",
    "mode",
    "state",
    "mapping",
    "waiting",
    "backfill",
    "dead",
    "fresh",
    "expires",
)
Records = Annotated[int, cyclopts.Parameter(validator=validators.Number(gte=1, lte=dryrun.RECORDS_MAX))]

app = cyclopts.App(name="connections", help="Systems, and the connections to them.")
app.command(drafting.draft)
app.command(connecting.connect)
app.command(going_live.shadow)
app.command(going_live.promote)
app.command(canaries.app)


@app.command(name="list")
def listed(*, tenant: int = 1) -> int:
    """Print the systems that are shipped, and the connections of a tenant with how each is.

    Parameters
    ----------
    tenant
        Number of the tenant.
    """
    return outcome.tell(reaching.reached(lambda database, systems: _listed(database, systems, tenant), tenant))


@app.command
def check(*folders: Path) -> int:
    """Check systems' folders: manifest, contract, mappings and page. Without one, all that are shipped.

    Parameters
    ----------
    folders
        Folders with connector.toml, contract.toml, mappings/ and README.md.
    """
    found = [folder.check(each) for each in folders or [SHIPPED / name for name in vendors.names()]]
    for checked in found:
        sys.stdout.write(f"{checked.sentence}\n")
        sys.stderr.writelines(f"  {problem}\n" for problem in checked.problems)
    return FAULTY if any(checked.problems for checked in found) else FINE


@app.command
def new(
    name: str,
    *,
    title: str | None = None,
    grade: Literal["A", "A-", "B", "B-", "C", "D"] = "D",
    into: Path | None = None,
    openapi: Path | None = None,
    choice: Path | None = None,
) -> int:
    """Make the folder of a new system, which `check` accepts, to begin from.

    Parameters
    ----------
    name
        Name of the system: a-z first, then a-z, 0-9 or _.
    title
        What people call it; its name if it is not given.
    grade
        How surely it is known: A from a description and trials, C and D at second hand, which is printed as assumed.
    into
        Where the folder goes; beside those that are shipped if it is not given.
    openapi
        The system's OpenAPI document, in JSON or YAML: the folder is drafted from it, with title and grade as chosen.
    choice
        A TOML file with what is chosen of the document; `draft` prints what is on offer.
    """
    if folder.NAME.fullmatch(name) is None:
        sys.stderr.write(f"{name!r} is no name of a system: a-z first, then a-z, 0-9 or _, 2 to 40 characters\n")
        return FAULTY
    place = (into or SHIPPED) / name
    if openapi is not None:
        return drafting.folder_of(place, openapi, choice)
    try:
        made = folder.make(place, title=title or name.replace("_", " ").title(), grade=grade, today=date.today())  # noqa: DTZ011  (the day of whoever writes it down)
    except OSError as error:
        sys.stderr.write(f"{place}: {error.strerror or error}\n")
        return FAULTY
    sys.stdout.writelines(f"{file}\n" for file in made)
    sys.stdout.write(f"then: fieldsync connections check {place}\n")
    return FINE


@app.command(name="dry-run")
def dry_run(
    connection: str,
    *,
    tenant: int = 1,
    mapping: Path | None = None,
    collection: str = "",
    records: Records = 20,
    json: bool = False,
) -> int:
    """Print what a mapping would make of the newest records. Nothing is recorded and nothing is sent.

    Parameters
    ----------
    connection
        The connection's id, as `fieldsync connections list` prints it.
    tenant
        Number of the tenant.
    mapping
        File of a mapping to try; without it, the version that holds.
    collection
        Only records of this collection.
    records
        How many records of each collection.
    json
        One JSON object a line.
    """
    try:
        text = None if mapping is None else mapping.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{mapping}: {error}\n")
        return FAULTY
    wanted = dryrun.Wanted(
        tenant_id=tenant, connection=connection, text=text, collection=collection.replace("-", "_"), records=records
    )
    return outcome.tell(
        reaching.reached(lambda database, systems: _dry_run(database, systems, wanted, as_json=json), tenant)
    )


async def _listed(database: db.Database, systems: Systems, tenant_id: int) -> str:
    found = await Connections(database, systems).listed(operator(tenant_id))
    shipped = (vendors.manifest(name) for name in vendors.names())
    rows = [(each.system, each.title, _grade(each.grade, assumed=each.is_assumed)) for each in shipped]
    return f"{aligned.table(('system', 'title', 'grade'), rows)}\n\n{aligned.table(NAMES, map(_row, found))}"


def _row(standing: Standing) -> tuple[object, ...]:
    each, pulse = standing.connection, standing.pulse
    lives = [at.timestamp() for at in (pulse.confirmed_at, pulse.read_at, pulse.received_at) if at is not None]
    soonest = min(standing.expires.values(), default=None)
    return (
        each.connection,
        each.name,
        each.system,
        _grade(standing.grade, assumed=standing.assumed),
        each.mode,
        each.state,
        each.mapping_version,
        pulse.waiting,
        pulse.backfill,
        standing.deliveries.get("rejected", 0) + standing.deliveries.get("unknown", 0),
        None if not lives else f"{max(0, round((time.time() - max(lives)) / 60))} min",
        None if soonest is None else f"{soonest / DAY_SECONDS:.1f} days",
    )


def _grade(grade: str, *, assumed: bool) -> str:
    return f"{grade} *assumed*" if assumed else grade


async def _dry_run(database: db.Database, systems: Systems, wanted: dryrun.Wanted, *, as_json: bool) -> str:
    with Pool() as jsonnet:
        found = await dryrun.run(database, systems, jsonnet, wanted)
    if as_json:
        return "\n".join(msgspec.json.encode(each).decode() for each in found)
    wanted_by_mapping = [each for each in found if each.applies]
    faulty = sum(bool(each.problems) for each in wanted_by_mapping)
    said = f"{len(found)} records, {len(wanted_by_mapping)} would be told, {faulty} of them could not be made"
    return "\n".join([*map(_said, wanted_by_mapping), said])


def _said(each: Tried) -> str:
    fields = msgspec.json.encode(each.fields).decode()
    lines = [f"{each.object}  {each.key}  {fields}", *(f"  ! {problem}" for problem in each.problems)]
    return "\n".join(lines)
