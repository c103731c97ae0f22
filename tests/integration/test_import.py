"""Importing a file into a real database: all of it, once, in the name of whom it came from."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import pytest

from replication import catalog_file
from replication.record import Stamp
from syncserver.catalogs import source
from syncserver.commands.bulk import Hub
from syncserver.importer import load, mapping, sample, table
from syncserver.store import devices, shown

if TYPE_CHECKING:
    from syncserver.importer.load import Report
    from tests.integration.world import World

CATALOG = catalog_file.parse(source.text(None))
SHIPPED = resources.files("syncserver.importer").joinpath("mappings/maintenance.toml").read_text()
MAPPING = mapping.parse(SHIPPED, CATALOG)
SMALL = (
    "BscStartDate,Asset,OriginalShorttext,PMType,Cost\n"
    "2004-07-01,A,BUCKET WON'T OPEN,PM01,183.05\n"
    "2004-07-01,A,BUCKET WON'T OPEN,PM01,183.05\n"
    "2004-07-02,B,won,t swing,PM01\n"
)


async def bring_in(world: World, text: str) -> Report:
    """Import a text as its own source."""
    told = devices.Source(kind="import", authority="office", handle="import:test", person="", label="test")
    writer = load.Writer(await devices.replica(world.database, world.tenant, told), "import:test")
    hub = Hub(world.database, world.committers, world.tenant)
    return await load.load(table.read(text, MAPPING, CATALOG), MAPPING, hub, writer, progress=lambda _: None)


async def orders(world: World) -> list[shown.Item]:
    """Return the work orders of the tenant."""
    return await shown.records(world.database, world.tenant, "work_orders", shown.Page(limit=10_000))


async def test_equal_rows_are_separate_work_orders(world: World) -> None:
    """Two equal rows are two jobs; the shifted row is rejected and nothing else is lost."""
    report = await bring_in(world, SMALL)

    assert (report.imported, report.made, [reject.line for reject in report.rejects]) == (2, 2, [4])
    assert len(await orders(world)) == 2


async def test_a_second_import_writes_nothing(world: World) -> None:
    """What is known stays as it is, also where people changed it since."""
    await bring_in(world, SMALL)
    before = await orders(world)

    again = await bring_in(world, SMALL)

    assert (again.imported, again.known, again.made) == (0, 2, 0)
    assert await orders(world) == before


async def test_a_cost_is_the_erps_word(world: World) -> None:
    """Each cell is written in the name of the system that the mapping gives for its column."""
    await bring_in(world, SMALL)
    first = (await orders(world))[0]

    record = await shown.record(world.database, world.tenant, "work_orders", first.id)

    assert record is not None
    stamps: dict[str, Stamp] = {name: cell.stamp for name, cell in record.cells.items()}
    assert stamps["cost"].authority == "erp"
    assert stamps["title"].authority == "office"


async def test_a_class_that_may_not_write_is_a_reject(world: World) -> None:
    """A row the hub refuses comes back with the hub's reason."""
    strange = mapping.parse(SHIPPED, CATALOG)
    drafts = [table.Draft("work_orders", table.identity("x"), {"cost": "1"}, 7)]
    told = devices.Source(kind="import", authority="office", handle="import:x", person="", label="x")
    writer = load.Writer(await devices.replica(world.database, world.tenant, told), "import:x")
    without = mapping.Mapping(source="x", collection=strange.collection, columns={})

    report = await load.load(
        drafts, without, Hub(world.database, world.committers, world.tenant), writer, progress=lambda _: None
    )

    assert [reject.line for reject in report.rejects] == [7]
    assert "office may not write cost" in report.rejects[0].reasons[0]


async def test_the_real_file(world: World) -> None:
    """Of the 5,485 published work orders all but the one with a shifted cost come in, and once."""
    path = sample.real_file()
    if path is None:
        pytest.skip(f"{sample.PACKAGE} is not installed; the made-up file stands for it in other tests")

    first = await bring_in(world, path.read_text(encoding="utf-8"))
    again = await bring_in(world, path.read_text(encoding="utf-8"))

    assert (first.imported, [reject.line for reject in first.rejects]) == (5_484, [3454])
    assert (again.imported, again.known) == (0, 5_484)


async def test_the_made_up_file(world: World) -> None:
    """Where the published file cannot be had, the generator gives one that imports whole."""
    report = await bring_in(world, sample.made_up(300, seed=1))

    assert (report.imported, report.rejects) == (300, [])
