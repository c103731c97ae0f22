"""Records of a vendor's that say the same as one of ours: one of them is tied to it, whoever comes when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.crm_trial import CrmTrial
from tests.integration.test_inbound import made_here, vendor
from tests.integration.world import World
from tests.peers import crm
from tests.peers.crm import Crm, changed

__all__ = ["vendor"]  # a fixture of the folder

INTO = '[[into]]\nobject = "customer"\ncollection = "customers"\n'


@pytest.fixture
async def trial(world: World, vendor: Crm) -> AsyncIterator[CrmTrial]:
    """Give a connection whose customers are matched by mail; nothing of ours is on its way there."""
    made = await CrmTrial(world, vendor, crm.MAPPING.replace(INTO, f'{INTO}match = ["email"]\n')).begin()
    yield made
    await made.close()


async def ours(trial: CrmTrial) -> str:
    """Have a customer here who is not told of there; return the id."""
    record_id = await made_here(trial, name="Meier", email="m@example.org")
    await trial.run("DELETE FROM outbox")
    return record_id


async def theirs(trial: CrmTrial, vendor: Crm, row_id: str, name: str) -> None:
    """Have the vendor tell of a customer with the same mail."""
    row = vendor.put(row_id, name=name, mail="m@example.org")
    await trial.tell(changed(dict(row), f"event of {row_id}", whole=True))


async def tied(trial: CrmTrial) -> list[str]:
    """Return which of ours theirs are tied to."""
    return [row["record_id"] for row in await trial.ask("SELECT record_id::text FROM sightings ORDER BY remote_id")]


@pytest.mark.parametrize("name", ["Anna", "Meier"])
async def test_two_of_theirs_that_match_one_of_ours_at_once_are_not_both_tied_to_it(trial, vendor, monkeypatch, name):
    """Both are looked up before either is noted, whether it is an edit or not: the second is as any second is."""
    record_id = await ours(trial)
    await theirs(trial, vendor, "c7", name)
    await theirs(trial, vendor, "c8", "Bert")
    real, both = trial.absorber._matched, asyncio.Barrier(2)

    async def matched(*place):
        found = await real(*place)
        await asyncio.wait_for(both.wait(), 5)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(trial.absorber, "_matched", matched)
        await trial.inbound.turn([trial.world.tenant])
    at_once = await tied(trial)
    await trial.run("UPDATE inbox SET due_at = now() WHERE state = 'waiting'")
    await trial.take_in()

    assert at_once == [record_id]
    assert len(await tied(trial)) == len(set(await tied(trial))) == len(await trial.records()) == 2
    assert set(await trial.ends()) <= {"absorbed", "echo"}


async def test_one_that_is_just_being_tied_matches_no_second(trial, vendor, monkeypatch):
    """While the first is announced and not judged yet, the second finds nobody, and becomes one of its own."""
    record_id = await ours(trial)
    submit, met = trial.world.committers.submit, []

    async def slow(tenant, submission):
        if not met:
            met.append(submission)
            await theirs(trial, vendor, "c8", "Bert")
            await trial.inbound.turn([tenant])
        return await submit(tenant, submission)

    monkeypatch.setattr(trial.absorber, "_submit", slow)
    await theirs(trial, vendor, "c7", "Anna")
    await trial.inbound.turn([trial.world.tenant])
    first, second = await tied(trial)

    assert (first, second != record_id) == (record_id, True)
    assert sorted(each["name"] for each in (await trial.records()).values()) == ["Anna", "Bert"]
