"""Lookups: a mapping holds when all that it looks up can be found, and not before."""

from __future__ import annotations

import pytest

from tests.integration.backdoor import Trial, told
from tests.integration.test_planning import ANA, HOURS, entry, hours
from tests.peers.vendor.demo import Demo
from upstream import connections, plan


class _Killed(Exception):
    """The process died here."""


async def test_hours_are_whole_as_soon_as_a_mapping_holds(world, monkeypatch):
    """Work goes on while it is noted by what records are looked up, and until the mapping holds: nothing is missed."""
    monkeypatch.setattr(connections, "FILL_ROWS", 2)
    demo = Demo(lag_seconds=0.0)
    for number in range(1, 6):
        await entry(world, number, "08:00", "09:00")
    fill = connections.fill_lookups
    async with demo.server:
        made = Trial(world.database, demo.manifest, HOURS)

        async def slow(*place):
            await entry(world, 0, "09:00", "11:00")
            await made.worker().drain()
            filled = await fill(*place)
            for number in (6, 7, 8):
                await entry(world, number, "11:00", "13:00")
            await made.worker().drain()
            return filled

        monkeypatch.setattr(connections, "fill_lookups", slow)
        await made.connect(world.tenant, demo.server.url)
        await made.worker().drain()
        before = hours(demo)
        await entry(world, 9, "13:00", "13:30")
        await made.worker().drain()
        await made.close()

    assert before == {}, "nobody was told before the mapping held"
    assert hours(demo) == {f"{ANA}|2026-01-05": "13.5"}


async def test_a_publication_that_died_is_begun_again(world, monkeypatch):
    """Killed while it fills, a mapping does not hold: the former one goes on. Published again it holds and is whole."""
    demo = Demo(lag_seconds=0.0)
    await entry(world, 1, "08:00", "10:00")
    fill = connections.fill_lookups
    async with demo.server:
        made = Trial(world.database, demo.manifest, told("upsert"))
        connection = await made.connect(world.tenant, demo.server.url)
        former = made.mappings

        async def killed(*place):
            await fill(*place)
            raise _Killed

        monkeypatch.setattr(connections, "fill_lookups", killed)
        with pytest.raises(_Killed):
            await made.publish(connection, HOURS)
        still = await connections.get(world.database, world.tenant, connection.connection)
        wanted = await connections.interests(world.database, world.tenant, connection.connection)

        monkeypatch.setattr(connections, "fill_lookups", fill)
        await entry(world, 2, "10:00", "13:00")
        await made.publish(connection, HOURS)
        await entry(world, 3, "13:00", "14:00")
        await made.worker().drain()
        await made.close()

    assert (still.mapping_version, wanted) == (connection.mapping_version, tuple(plan.interests(former)))
    assert hours(demo) == {f"{ANA}|2026-01-05": "6"}
