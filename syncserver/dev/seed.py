"""Work to try things on: technicians, imported work orders, and some of them assigned.

Everything goes in as mutations of the office and of an import, as it would in production. Ids are
derived, so seeding a second time finds all of it known.
"""

from __future__ import annotations

from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid5

from replication.mutation import Mutation
from replication.state import Submission
from syncserver.dev.people import ROOT
from syncserver.importer import load, mapping, sample, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from replication.catalog import Catalog
    from syncserver.dev.people import Company
    from syncserver.importer.load import Hub, Report, Writer

MADE_UP_ROWS: Final = 5_484
MADE_UP_SEED: Final = 20_011_205
JOBS_PER_TECHNICIAN: Final = 8
MUTATIONS_PER_SUBMISSION: Final = 500

ALL_SEEN: Final = 2**62
"""Base of writes that follow this module's own: nobody else can have written in between."""


def work_orders() -> tuple[str, bool]:
    """Return the text of the file to import, and whether it is the published real one."""
    found = sample.real_file()
    if found is not None:
        return found.read_text(encoding="utf-8"), True
    return sample.made_up(MADE_UP_ROWS, MADE_UP_SEED), False


async def people(company: Company, hub: Hub, office: Writer) -> None:
    """Write a team and the technicians, who are records like any other."""
    team = str(uuid5(ROOT, f"{company.name}/team"))
    await _write(
        [
            ("teams", team, {"name": company.name}),
            *(("technicians", person.id, {"name": person.name, "team_id": team}) for person in company.technicians),
        ],
        "create",
        hub,
        office,
    )


async def jobs(
    company: Company,
    catalog: Catalog,
    hub: Hub,
    office: Writer,
    importer: Writer,
    *,
    progress: Callable[[int], None],
) -> Report:
    """Import the work orders and give the newest ones to the technicians in turn."""
    text, _ = work_orders()
    shipped = resources.files("syncserver.importer").joinpath("mappings/maintenance.toml")
    chosen = mapping.parse(shipped.read_text(encoding="utf-8"), catalog)
    rows = list(table.read(text, chosen, catalog))
    report = await load.load(rows, chosen, hub, importer, progress=progress)
    if report.imported:
        await _write(_assignments(company, rows), "set", hub, office)
    return report


def _assignments(company: Company, rows: Iterable[table.Draft | table.Reject]) -> list[tuple[str, str, dict[str, Any]]]:
    orders = [row for row in rows if isinstance(row, table.Draft) and row.line]
    newest = sorted(orders, key=lambda order: (order.fields["reported_at"], order.id), reverse=True)
    count = JOBS_PER_TECHNICIAN * len(company.technicians)
    return [
        (
            "work_orders",
            order.id,
            {
                "assignee_id": company.technicians[place % len(company.technicians)].id,
                "status": "planned",
                "priority": "normal",
            },
        )
        for place, order in enumerate(newest[:count])
    ]


async def _write(records: Iterable[tuple[str, str, dict[str, Any]]], op: str, hub: Hub, office: Writer) -> None:
    """Submit one mutation for each record."""
    for batch in _batches(records):
        mutations = tuple(
            Mutation(n=n, op=op, collection=collection, id=record_id, base=ALL_SEEN, set=fields)
            for n, (collection, record_id, fields) in enumerate(batch, start=1)
        )
        await hub.submit(
            Submission(
                rid=office.rid,
                person=office.person,
                authority="office",
                numbered=False,
                mutations=mutations,
            )
        )


def _batches(
    records: Iterable[tuple[str, str, dict[str, Any]]],
) -> Iterator[list[tuple[str, str, dict[str, Any]]]]:
    remaining = iter(records)
    while batch := list(islice(remaining, MUTATIONS_PER_SUBMISSION)):
        yield batch
