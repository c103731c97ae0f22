"""Small worlds, searched to their bounds: in no state that they can come to is a promise broken."""

from __future__ import annotations

import pytest

from tests.exhaustive import telling, worlds
from tests.exhaustive.search import Found, Search
from tests.exhaustive.worlds import World


@pytest.mark.parametrize("world", worlds.QUICK, ids=lambda world: world.name)
def test_no_state_of_a_small_world_breaks_a_promise(world: World, record_property) -> None:
    """In every state of a small world nothing is lost or done twice, and each conflict is found and none invented."""
    explore(world, record_property)


@pytest.mark.long
@pytest.mark.parametrize("world", worlds.LONG, ids=lambda world: world.name)
def test_no_state_of_a_larger_world_breaks_a_promise(world: World, record_property) -> None:
    """What holds in the small worlds holds with more edits and more devices as well."""
    explore(world, record_property)


def explore(world: World, record_property) -> Found:
    """Search a world; fail with the shortest story of what went wrong, or if it has become too small."""
    search = Search(world)
    found = search.run()
    record_property("shares", str(found))

    if found.fault is not None:
        pytest.fail(f"{found}\n{telling.story(search, found.fault)}", pytrace=False)
    assert found.states >= world.states_min, "the search has lost part of its world"
    return found
