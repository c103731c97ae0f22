"""What the vendor edits while ours is on its way: taken in first, and never written over with what was before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.crm_trial import CrmTrial
from tests.integration.test_inbound import conflicts, made_here
from tests.integration.test_writing import again_and_again
from tests.integration.world import seen
from tests.peers import crm
from tests.peers.crm import Crm, changed
from tests.peers.vendor.server import DROP, Response
from upstream import breaker, budgets, deadletter, deliveries
from upstream.deadletter import Word
from upstream.errors import Overtaken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UPDATE = 'path = "/customers/${remote.id}"\neffect = "write"\nbody = { kind = "json" }'
NAME = '  { target = "name", source = "record.name" },\n'
INTO = f'[[into]]\nobject = "customer"\ncollection = "customers"\nrows = [\n{NAME}'
WITH_SITE = INTO.replace("rows =", 'refs = { site = { object = "site", path = "record.site" } }\nrows =').replace(
    'record.name"', 'record.name", required = true'
)


@pytest.fixture
async def vendor() -> AsyncIterator[Crm]:
    """Give a CRM."""
    made = Crm()
    async with made.server:
        yield made


@pytest.fixture
async def trial(world, vendor) -> AsyncIterator[CrmTrial]:
    """Give a connection to it."""
    made = await CrmTrial(world, vendor).begin()
    yield made
    await made.close()


async def told(trial, vendor):
    """Have a customer told, and seen as it stands there; return our record and the vendor's."""
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    [row] = vendor.rows["customers"].values()
    await trial.tell(changed(row, "e0"))
    await trial.take_in()
    return record_id, row


async def office_changes(trial, record_id, **fields):
    """Let the office change the record as it stands."""
    rev = (await trial.records())[record_id]["rev"]
    await trial.world.submit(trial.world.office(seen("customers", record_id, base=rev, rev=rev, set=fields)))


def instead_of_changes(vendor, answer):
    """Let the vendor answer each change so; return what makes it answer by itself again."""
    handler = vendor.server._handler

    async def answering(request):
        return answer if request.method == "PUT" else await handler(request)

    vendor.server._handler = answering
    return lambda: setattr(vendor.server, "_handler", handler)


async def both_know(trial, record_id, row):
    """Let all that is under way end, with a last word of the vendor, and say what both have."""
    await again_and_again(trial.world, trial.worker(), times=4)
    await trial.run("UPDATE inbox SET due_at = now() WHERE state = 'waiting'")
    await trial.take_in()
    await again_and_again(trial.world, trial.worker(), times=4)
    await trial.tell(changed(dict(row), "last", whole=True))
    await trial.take_in()
    await again_and_again(trial.world, trial.worker(), times=2)
    record = (await trial.records())[record_id]
    assert (record["name"], record["phone"]) == (row["name"], row["phone"]), "both sides have the same"
    return row["name"], row["phone"]


@pytest.mark.parametrize("whole", [True, False])
async def test_what_waits_to_be_sent_does_not_undo_their_edit(trial, vendor, whole):
    """The vendor is busy and ours waits; they rename: both stand in the end, and nobody has to decide anything."""
    record_id, row = await told(trial, vendor)
    ready = instead_of_changes(vendor, Response(429, {}, {"retry-after": "30"}))
    await office_changes(trial, record_id, phone="9")
    await trial.worker().drain()
    vendor.put(row["id"], name="Meier AG")
    await trial.tell(changed(dict(row), "e1", whole=whole))
    await trial.take_in()
    ready()
    trial._breaker, trial._budgets = breaker.Local(lambda: 0), budgets.Local(lambda: 0)

    assert await both_know(trial, record_id, row) == ("Meier AG", "9")
    assert await conflicts(trial) == []


async def test_what_cannot_be_taken_in_for_long_does_not_keep_ours_for_ever(trial, vendor):
    """An event of theirs has been stuck for ten minutes, and more come behind it: ours is sent all the same."""
    record_id, row = await told(trial, vendor)
    await trial.tell(changed(dict(row), "stuck", whole=True))
    await trial.run("UPDATE inbox SET received_at = now() - interval '10 minutes' WHERE state = 'waiting'")
    await trial.tell(changed(dict(row), "behind it", whole=True))
    await office_changes(trial, record_id, phone="9")
    await trial.worker().drain()

    assert row["phone"] == "9"


async def test_a_dead_letter_cannot_undo_their_edit(trial, vendor):
    """Ours was refused, they rename: to send it again as it was is refused, to plan it anew tells both."""
    record_id, row = await told(trial, vendor)
    ready = instead_of_changes(vendor, Response(422, {}))
    await office_changes(trial, record_id, phone="9")
    await trial.worker().drain()
    vendor.put(row["id"], name="Meier AG")
    await trial.tell(changed(dict(row), "e1", whole=True))
    await trial.take_in()
    ready()
    [dead] = await deliveries.listed(trial.database, trial.world.tenant, deliveries.Filter(dead=True))
    async with trial.database.transaction(trial.world.tenant) as session:
        with pytest.raises(Overtaken, match="the system itself has changed the record"):
            await deadletter.retry(session, trial.world.tenant, dead.delivery_id, Word(person="Eve"))
        await deadletter.replan(session, trial.world.tenant, dead.delivery_id, Word(person="Eve"))

    assert await both_know(trial, record_id, row) == ("Meier AG", "9")


@pytest.fixture
async def strict(world, vendor, monkeypatch) -> AsyncIterator[CrmTrial]:
    """Give a connection to a CRM whose changes have to name the version that they replace."""
    handler = vendor._answer

    async def answer(request):
        if request.method == "PUT":
            row = vendor.rows[request.path[0]][request.path[1]]
            if request.json.get("version") != row["version"]:
                return Response(409, {"error": {"code": "stale"}})
        return await handler(request)

    vendor._answer = vendor.server._handler = answer
    manifest = crm.MANIFEST.replace('write = "search"', 'write = "versioned"').replace(
        UPDATE, UPDATE.replace('"json" }', '"json", add = { version = "${remote.version}" } }')
    )
    monkeypatch.setattr(crm, "MANIFEST", manifest)
    assert INTO in crm.MAPPING
    made = await CrmTrial(world, vendor, crm.MAPPING.replace(INTO, WITH_SITE)).begin()
    yield made
    await made.close()


async def test_an_edit_that_meets_ours_is_taken_in_before_ours_is_sent(strict, vendor):
    """The vendor says that there is another version: theirs is read, taken in, and both stand."""
    record_id, row = await told(strict, vendor)
    await office_changes(strict, record_id, phone="9")
    vendor.put(row["id"], name="Meier AG")

    assert await both_know(strict, record_id, row) == ("Meier AG", "9")


async def test_an_edit_that_is_seen_after_a_lost_write_is_taken_in(strict, vendor):
    """Ours is lost on its way, somebody there renames: what is seen then is their edit, not our try."""
    record_id, row = await told(strict, vendor)
    await office_changes(strict, record_id, phone="9")
    handler, lost = vendor.server._handler, []

    async def losing(request):
        if request.method == "PUT" and not lost:
            lost.append(request)
            vendor.put(row["id"], name="Meier AG")
            return DROP
        return await handler(request)

    vendor.server._handler = losing

    assert await both_know(strict, record_id, row) == ("Meier AG", "9")
    assert len(lost) == 1


async def test_ours_waits_until_their_edit_can_be_taken_in(strict, vendor):
    """Their edit names a site that is not known here yet: it is asked for, and ours is sent after both."""
    record_id, row = await told(strict, vendor)
    await office_changes(strict, record_id, phone="9")
    vendor.put("s9", "sites", label="Werkstatt")
    vendor.put(row["id"], name="Meier AG", site="s9")

    assert await both_know(strict, record_id, row) == ("Meier AG", "9")


async def test_an_edit_that_never_can_be_taken_in_is_a_persons_to_decide(strict, vendor):
    """It lacks what the mapping needs: ours is given up with the reason, and theirs stays as it is."""
    record_id, row = await told(strict, vendor)
    await office_changes(strict, record_id, phone="9")
    vendor.put(row["id"], name=None, phone="7")
    await again_and_again(strict.world, strict.worker(), times=4)
    [dead] = await deliveries.listed(strict.database, strict.world.tenant, deliveries.Filter(dead=True))

    assert (dead.error_class, dead.error_code) == ("conflict", "not_taken_in")
    assert "the vendor has changed it too, and that cannot be taken in" in dead.error_message
    assert (row["name"], row["phone"]) == (None, "7")
