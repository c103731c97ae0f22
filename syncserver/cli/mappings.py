"""`fieldsync mappings list | show | draft | validate | diff | publish | roll-back`: the versions of a mapping."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cyclopts

from syncserver import settings
from syncserver.cli import aligned, comparing, outcome, reaching
from syncserver.commands.commit import Committers
from syncserver.commands.office import Office
from syncserver.commands.upstream.acting import operator
from syncserver.commands.upstream.mappings import LIMIT, Draft, Mappings
from syncserver.store.catalogs import Catalogs
from upstream.jsonnet import Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncserver.commands.upstream.mappings import Comparison, Report, Version
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store import db

FAILED: Final = 1
NAMES: Final = ("version", "state", "made", "by", "published", "by", "restores", "note")

app = cyclopts.App(name="mappings", help="What our records become in another system: the versions of a mapping.")


@app.command(name="list")
def listed(connection: str, *, tenant: int = 1) -> int:
    """Print the versions of a connection's mapping, the newest first.

    Parameters
    ----------
    connection
        The connection's id, as `fieldsync connections list` prints it.
    tenant
        Number of the tenant.
    """

    async def work(own: Mappings) -> str:
        found = await own.listed(operator(tenant), connection, below=None, limit=LIMIT)
        return aligned.table(NAMES, map(_row, found))

    return _told(tenant, work)


@app.command
def show(connection: str, version: int, *, tenant: int = 1) -> int:
    """Print the text of a version.

    Parameters
    ----------
    connection
        The connection's id.
    version
        Number of the version.
    tenant
        Number of the tenant.
    """

    async def work(own: Mappings) -> str:
        return (await own.one(operator(tenant), connection, version)).content

    return _told(tenant, work)


@app.command
def draft(connection: str, file: Path, *, note: str = "", tenant: int = 1) -> int:
    """Keep the text of a file as the next version, a draft.

    Parameters
    ----------
    connection
        The connection's id.
    file
        The mapping, as TOML.
    note
        What is new in it.
    tenant
        Number of the tenant.
    """
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{file}: {error}\n")
        return FAILED

    async def work(own: Mappings) -> str:
        made = await own.draft(operator(tenant), Draft(connection=connection, content=content, note=note))
        return f"version {made.version} ({made.state})"

    return _told(tenant, work)


@app.command
def validate(connection: str, version: int, *, tenant: int = 1) -> int:
    """Hold a version against our fields, the fields there and captured samples, and print what is wrong.

    Ends with exit code 1 if the version must not be published.

    Parameters
    ----------
    connection
        The connection's id.
    version
        Number of the version.
    tenant
        Number of the tenant.
    """
    found: list[Report] = []

    async def work(own: Mappings) -> str:
        found.append(await own.validate(operator(tenant), connection, version))
        return _report(found[0])

    return _told(tenant, work) or (FAILED if not found[0].publishable else outcome.DONE)


@app.command
def diff(connection: str, version: int, *, against: int | None = None, tenant: int = 1) -> int:
    """Print what a version does otherwise than another, row by row and sample by sample.

    Parameters
    ----------
    connection
        The connection's id.
    version
        Number of the version.
    against
        The other version, 0 for none; the one that holds if it is not given.
    tenant
        Number of the tenant.
    """

    async def work(own: Mappings) -> str:
        return _comparison(await own.diff(operator(tenant), connection, version, against))

    return _told(tenant, work)


@app.command
def publish(connection: str, version: int, *, tenant: int = 1) -> int:
    """Let a version hold, if nothing is wrong with it. Deliveries under way keep theirs.

    Parameters
    ----------
    connection
        The connection's id.
    version
        Number of the version.
    tenant
        Number of the tenant.
    """

    async def work(own: Mappings) -> str:
        return f"version {(await own.publish(operator(tenant), connection, version)).version} holds"

    return _told(tenant, work)


@app.command(name="roll-back")
def roll_back(connection: str, version: int, *, note: str = "", tenant: int = 1) -> int:
    """Let an older version hold again, under a new number.

    Parameters
    ----------
    connection
        The connection's id.
    version
        Number of the version that held before.
    note
        Why.
    tenant
        Number of the tenant.
    """

    async def work(own: Mappings) -> str:
        held = await own.roll_back(operator(tenant), connection, version, note)
        return f"version {held.version} holds, which says what version {version} said"

    return _told(tenant, work)


def _told(tenant: int, work: Callable[[Mappings], Awaitable[str]]) -> int:
    async def worked(database: db.Database, systems: Systems) -> str:
        with Pool(settings.load().code) as jsonnet:
            # Nothing of a mapping is written by committers: the office only knows the catalogue here.
            desk = Office(database, Committers(database), Catalogs())
            return await work(Mappings(database, systems, desk, jsonnet))

    return outcome.tell(reaching.reached(worked, tenant))


def _row(each: Version) -> tuple[object, ...]:
    made, published = (each.made_at, each.made_by), (each.published_at, each.published_by)
    return (each.version, each.state, *made, *published, each.restores, each.note)


def _report(report: Report) -> str:
    lines = [f"{issue.severity:<8} {issue}" for issue in report.issues]
    verdict = "may be published" if report.publishable else "must not be published"
    return "\n".join(
        [*lines, f"version {report.version} {verdict}: tried on {report.applied} of {report.samples} samples"]
    )


def _comparison(found: Comparison) -> str:
    lines = [
        f"{shift.object} {shift.key}: {comparing.line(each)}" for shift in found.shifts for each in shift.differences
    ]
    said = f"{len(found.shifts)} of {found.samples} samples come out otherwise than by version {found.before}"
    return "\n".join([*comparing.lines(found.rows), *lines, said])
