"""Putting a catalogue in force for a tenant that has records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from syncserver.catalogs import source
from syncserver.commands import catalog
from syncserver.commands.errors import ScopeChanged
from tests.integration.world import seen, told

if TYPE_CHECKING:
    from tests.integration.world import World

TEXT = source.text(None)


async def test_verdicts_name_the_catalogue_they_were_given_by(world: World) -> None:
    """A new catalogue is a new version, and each verdict carries the one it was judged by."""
    order = await world.order(1)
    published = await catalog.publish(
        world.database, world.catalogs, world.tenant, TEXT.replace("limit = 500", "limit = 400")
    )

    answer = await world.submit(world.office(seen("work_orders", order, set={"title": "Pump"})))

    assert published.version == 2
    assert told(answer.verdicts[0]).schema == 2


async def test_the_same_catalogue_again_is_no_new_version(world: World) -> None:
    """Comments and order of a catalogue say nothing, so they make no version."""
    again = await catalog.publish(world.database, world.catalogs, world.tenant, "# the same\n" + TEXT)

    assert again.version == 1


@pytest.mark.parametrize(
    ("find", "put"),
    [
        ('scope = ["assignee", "crew", "creator_until_assigned"]', 'scope = ["assignee", "crew", "creator"]'),
        (
            '[collections.teams]\npriority = "reference"\ndelete = ["office"]\nscope = ["all"]',
            '[collections.teams]\npriority = "reference"\ndelete = ["office"]\nscope = ["creator"]',
        ),
    ],
)
async def test_who_holds_records_cannot_be_changed_afterwards(world: World, find: str, put: str) -> None:
    """A catalogue by which others would hold the records that are there is refused, and named."""
    assert find in TEXT

    with pytest.raises(ScopeChanged, match=r"collections\.\w+\.scope"):
        await catalog.publish(world.database, world.catalogs, world.tenant, TEXT.replace(find, put))


@pytest.mark.parametrize(
    ("find", "put"),
    [
        ("groups.window =", 'groups.headline = ["title", "priority"]\ngroups.window ='),
        ('summary = { kind = "text"', 'summary = { kind = "reference", to = "sites"'),
    ],
)
async def test_what_is_stored_keeps_its_cell_and_its_meaning(world: World, find: str, put: str) -> None:
    """Fields that have values go into no group, and none begins to bring other records into scope."""
    assert find in TEXT

    with pytest.raises(ScopeChanged, match=r"collections\.work_orders"):
        await catalog.publish(world.database, world.catalogs, world.tenant, TEXT.replace(find, put, 1))
