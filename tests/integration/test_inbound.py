"""What a vendor says, over real HTTP and PostgreSQL: taken in once, in its own name, of what it had seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.integration.crm_trial import CrmTrial
from tests.integration.world import World, seen
from tests.peers import crm
from tests.peers.crm import Crm, changed
from tests.peers.vendor.server import Request, Response
from upstream import connections, inbox
from upstream.inbox import Span
from upstream.places import Limits, Room
from upstream.verify import Refused


@pytest.fixture
async def vendor() -> AsyncIterator[Crm]:
    """Give a CRM that listens."""
    made = Crm()
    async with made.server:
        yield made


@pytest.fixture
async def trial(world: World, vendor: Crm) -> AsyncIterator[CrmTrial]:
    """Give a connection to it."""
    made = await CrmTrial(world, vendor).begin()
    yield made
    await made.close()


async def test_a_thin_event_is_fetched_and_becomes_a_record(trial, vendor):
    """A customer that only the vendor knows is made here, with the cross reference to it."""
    row = vendor.put("c7", name="Meier", phone="+41 44 000 00 00", mail="m@example.org")

    taken = await trial.tell(changed(row, "e1"))
    asked = list(vendor.asked)
    await trial.take_in()

    assert (taken.new, taken.repeated, asked) == (1, 0, [])
    assert await trial.ends() == ["absorbed"]
    [(record_id, record)] = (await trial.records()).items()
    assert (record["name"], record["email"]) == ("Meier", "m@example.org")
    remotes = await trial.ask("SELECT object, key, remote_id, remote_version FROM remotes")
    assert remotes == [{"object": "customer", "key": record_id, "remote_id": "c7", "remote_version": "1"}]


async def test_an_event_is_taken_in_once_however_often_it_comes(trial, vendor):
    """A thousand calls with the same event are one event and one change."""
    row = vendor.put("c7", name="Meier")
    await asyncio.gather(*(trial.tell(changed(row, "e1")) for _ in range(50)))
    await trial.take_in()
    for _ in range(20):
        assert (await trial.tell(changed(row, "e1"))).repeated == 1
    await trial.take_in()

    assert [row["times"] for row in await trial.ask("SELECT times FROM inbox")] == [70]
    assert len(await trial.records()) == 1
    assert await trial.changes() == 1


async def test_a_forged_call_leaves_nothing(trial, vendor):
    """What is not signed with the secret is refused, and so is what names a connection that is none."""
    row = vendor.put("c7", name="Meier")
    forged = await trial.tell(changed(row, "e1"), secret="somebody-elses")
    stranger = await trial.door.receive("00000000-0000-0000-0000-000000000001", None, 0)

    assert isinstance(forged, Refused)
    assert isinstance(stranger, Refused)
    assert await trial.ends() == []


async def test_both_secrets_verify_while_one_replaces_the_other(trial, vendor):
    """During a rotation calls with the old secret and with the new one are believed; after it only the new one."""
    row = vendor.put("c7", name="Meier")
    await trial.put_secret("second")
    both = [await trial.tell(changed(row, "e1")), await trial.tell(changed(row, "e2"), secret="second")]
    await trial.put_secret("third", overlap_seconds=0)

    assert [taken.new for taken in both] == [1, 1]
    assert isinstance(await trial.tell(changed(row, "e3")), Refused)
    assert (await trial.tell(changed(row, "e3"), secret="third")).new == 1


async def test_an_older_state_is_stale_and_never_seen(trial, vendor):
    """What was overtaken before it was taken in gives no verdict and no change."""
    first = dict(vendor.put("c7", name="Meier"))
    second = dict(vendor.put("c7", name="Meier AG"))
    await trial.tell(changed(second, "e2", whole=True))
    await trial.take_in()
    await trial.tell(changed(first, "e1", whole=True))
    await trial.take_in()

    assert await trial.ends() == ["absorbed", "stale"]
    [record] = (await trial.records()).values()
    assert record["name"] == "Meier AG"
    assert await trial.changes() == 1


async def test_what_was_said_before_a_confirmation_is_no_edit(trial, vendor):
    """A whole event without any version that waited while ours was confirmed: it is asked what stands there now."""
    manifest = trial.manifest
    plain = {
        name: msgspec.structs.replace(each, answer=msgspec.structs.replace(each.answer, version=""))
        for name, each in manifest.operations.items()
    }
    webhook = msgspec.structs.replace(manifest.webhook, version="")
    trial.manifest = msgspec.structs.replace(manifest, webhook=webhook, operations=plain)
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    [row] = vendor.rows["customers"].values()
    row["mail"] = "m@example.org"
    await trial.tell(changed(dict(row), "e0", whole=True))
    # Longer than ours is kept waiting for it.
    await trial.run("UPDATE inbox SET received_at = now() - interval '10 minutes'")
    rev = (await trial.records())[record_id]["rev"]
    await trial.world.submit(trial.world.office(seen("customers", record_id, set={"phone": "2"}, base=rev, rev=rev)))
    await trial.worker().drain()
    await trial.take_in()

    record = (await trial.records())[record_id]
    assert (row["phone"], record["phone"], record["email"]) == ("2", "2", "m@example.org")


async def test_of_states_without_order_the_last_that_was_told_holds(trial):
    """Where nobody can be asked and versions are only names, states are taken in as they came; none is called stale."""
    webhook = msgspec.structs.replace(trial.manifest.webhook, fetch={})
    trial.manifest = msgspec.structs.replace(trial.manifest, webhook=webhook)
    for name in ("Here", "There"):
        row = {"id": "s1", "version": f"tag-{name}", "label": name}
        await trial.tell(changed(row, name, kind="site", whole=True))
    await trial.take_in()

    assert await trial.ends() == ["absorbed", "absorbed"]
    assert [record["name"] for record in (await trial.records("sites")).values()] == ["There"]


async def test_the_echo_of_what_was_sent_writes_nothing(trial, vendor):
    """The vendor's call about our own write finds nothing to write, though it shows its own fields too."""
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    [row] = vendor.rows["customers"].values()
    before = await trial.changes()

    await trial.tell(changed(row, "e1"))
    await trial.take_in()

    assert await trial.ends() == ["echo"]
    assert await trial.changes() == before
    assert list(await trial.records()) == [record_id]


async def test_an_edit_there_of_what_was_told_has_seen_it(trial, vendor):
    """The vendor changes what we had told it: no conflict, and only what differs is written."""
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    [row] = vendor.rows["customers"].values()
    vendor.put(row["id"], phone="2")

    await trial.tell(changed(row, "e1"))
    await trial.take_in()

    assert (await trial.records())[record_id]["phone"] == "2"
    assert await conflicts(trial) == []
    [change] = await trial.ask("SELECT authority FROM changes ORDER BY seq DESC LIMIT 1")
    assert change == {"authority": "crm"}


async def test_an_edit_there_without_having_seen_ours_is_settled_by_rank(trial, vendor):
    """What the office wrote meanwhile, and the vendor was not told, loses against the vendor's rank, and is kept."""
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    rev = (await trial.records())[record_id]["rev"]
    await trial.world.submit(trial.world.office(seen("customers", record_id, base=rev, set={"phone": "9"})))
    [row] = vendor.rows["customers"].values()
    vendor.put(row["id"], phone="2")

    await trial.tell(changed(row, "e1"))
    await trial.take_in()

    assert (await trial.records())[record_id]["phone"] == "2"
    assert await conflicts(trial) == ["phone"]


async def test_two_edits_there_follow_each_other(trial, vendor):
    """The vendor's own earlier edit is seen by its next one, so that nothing of it is concurrent."""
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    [row] = vendor.rows["customers"].values()
    for number in ("2", "3", "4"):
        vendor.put(row["id"], phone=number)
        await trial.tell(changed(row, f"e{number}"))
        await trial.take_in()

    assert (await trial.records())[record_id]["phone"] == "4"
    assert await conflicts(trial) == []


async def test_a_crash_after_the_edit_was_judged_writes_it_once(trial, vendor, monkeypatch):
    """Who dies between verdict and note leaves a pending edit; the next one learns the verdict and goes on."""
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    [row] = vendor.rows["customers"].values()
    vendor.put(row["id"], phone="2")
    await trial.tell(changed(row, "e1"))

    class Killed(BaseException):
        pass

    async def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(trial.absorber, "_note", killed)
        with pytest.raises(Killed):
            await trial.inbound.turn([trial.world.tenant])
    before = await trial.changes()
    # Meanwhile a device of the office's has seen the edit and goes on from it; the vendor too.
    rev = (await trial.records())[record_id]["rev"]
    await trial.world.submit(trial.world.office(seen("customers", record_id, base=rev, set={"name": "Meier AG"})))
    vendor.put(row["id"], phone="3")
    await trial.run("UPDATE inbox SET leased_until = now() - interval '1 second'")
    await trial.take_in()

    record = (await trial.records())[record_id]
    assert (record["phone"], record["name"]) == ("3", "Meier AG")
    assert await conflicts(trial) == []
    assert await trial.changes() == before + 2


async def test_a_record_waits_for_what_it_names_and_asks_for_it(trial, vendor):
    """A site of a customer that is not known yet has the customer fetched first, then names it."""
    vendor.put("c1", name="Meier")
    site = vendor.put("s1", "sites", label="Werkstatt", customer="c1")

    await trial.tell(changed(site, "e1", kind="site"))
    await trial.take_in()
    await trial.run("UPDATE inbox SET due_at = now()")
    await trial.take_in()

    [customer] = await trial.records()
    [found] = (await trial.records("sites")).values()
    assert (found["name"], found["customer_id"]) == ("Werkstatt", customer)


async def test_a_record_waits_for_what_is_just_being_made(world, vendor, monkeypatch):
    """What comes while its customer is handed over, and not judged yet, is not refused for want of it."""
    mapping = crm.MAPPING.replace('collection = "sites"', 'collection = "contacts"')
    trial = await CrmTrial(world, vendor, mapping).begin()
    customer = vendor.put("c7", name="Meier")
    person = vendor.put("s1", "sites", label="Ida", customer="c7")
    submit, told = world.committers.submit, []

    async def slow(tenant, submission):
        if not told:
            told.append(await trial.tell(changed(person, "e2", kind="site", whole=True)))
            await trial.inbound.turn([tenant])
        return await submit(tenant, submission)

    monkeypatch.setattr(trial.absorber, "_submit", slow)
    await trial.tell(changed(customer, "e1", whole=True))
    await trial.take_in()
    await trial.run("UPDATE inbox SET due_at = now() WHERE state = 'waiting'")
    await trial.take_in()
    await trial.close()

    assert set(await trial.ends()) <= {"absorbed", "echo"}
    [record_id] = await trial.records()
    assert [each["customer_id"] for each in (await trial.records("contacts")).values()] == [record_id]


async def test_the_customer_that_we_are_just_making_there_is_no_new_one(trial, vendor):
    """The vendor tells of our own create before its answer is in: it bears our mark, so it is ours."""
    record_id = await made_here(trial, name="Meier", phone="1")
    worker = trial.worker()
    original = trial.vendor._answer
    told = []

    async def tell_first(request):
        answer = await original(request)
        if request.method == "POST":
            told.append(await trial.tell(changed(answer.body, "e1")))
            await trial.take_in()
        return answer

    vendor.server._handler = tell_first
    await worker.drain()
    await trial.run("UPDATE inbox SET due_at = now()")
    await trial.take_in()

    assert [taken.new for taken in told] == [1]
    assert list(await trial.records()) == [record_id]
    assert len(vendor.rows["customers"]) == 1


async def test_a_create_of_ours_that_nobody_knows_of_is_known_by_its_mark(trial, vendor):
    """Made there, and answer and worker were lost: what the vendor tells of it is linked to our record."""
    record_id = await made_here(trial, name="Meier", phone="1")
    await trial.worker().drain()
    await trial.run("UPDATE deliveries SET state = 'unknown', due_at = NULL")
    await trial.run("DELETE FROM remotes")
    [row] = vendor.rows["customers"].values()
    vendor.put(row["id"], mail="m@example.org")

    await trial.tell(changed(row, "e1"))
    await trial.take_in()

    records = await trial.records()
    assert list(records) == [record_id]
    assert records[record_id]["email"] == "m@example.org"
    assert await trial.ask("SELECT key, remote_id FROM remotes") == [{"key": record_id, "remote_id": row["id"]}]


async def test_what_a_mapping_cannot_make_fails_and_is_replayed(trial, vendor):
    """An event that failed stays with its reason, and is taken in once the mapping is put right."""
    strict = 'rows = [{ target = "name", source = "record.title", required = true }]'
    await trial.publish(trial.connection, f'[[into]]\nobject = "customer"\ncollection = "customers"\n{strict}\n')
    row = vendor.put("c7", name="Meier")
    await trial.tell(changed(row, "e1"))
    await trial.take_in()
    [failed] = await inbox.listed(trial.database, trial.world.tenant, trial.connection.connection)
    await trial.publish(trial.connection, strict_off(strict))
    async with trial.database.transaction(trial.world.tenant) as session:
        replayed = await inbox.replay(
            session, trial.world.tenant, trial.connection.connection, Span(states=("failed",))
        )
    await trial.take_in()

    assert (failed.state, failed.reason) == ("failed", "name: nothing is found at record.title, and it is required")
    assert replayed == 1
    assert [record["name"] for record in (await trial.records()).values()] == ["Meier"]


async def test_no_connection_waits_until_another_has_nothing_more(trial):
    """Whatever one vendor has brought at once, the events of the others are taken up beside it."""
    tenant = trial.world.tenant
    await trial.run(
        "INSERT INTO connections (tenant_id, connection, system, name, rid, manifest, mode) "
        "SELECT tenant_id, gen_random_uuid(), system, n::text, rid, manifest, mode "
        "FROM connections, generate_series(1, 5) AS n"
    )
    await trial.run(
        "INSERT INTO inbox"
        " (tenant_id, inbox_id, connection, event, source, object, remote_id, remote_version, is_whole, body)"
        " SELECT tenant_id, gen_random_uuid(), connection, n::text, 'hook', 'customer', n::text, '', false, '{}' "
        "FROM connections, generate_series(1, 60) AS n"
    )
    taken, room = set(), Room(limits=Limits(total=2, tenant=2, each=1))
    for _ in range(60):
        async with trial.database.transaction(tenant) as session:
            items = await inbox.lease(session, [tenant], room, worker=trial.worker_id, seconds=60)
        taken |= {item.connection for item in items}

    assert len(taken) == 6


async def test_a_paused_connection_takes_events_in_and_rests(trial, vendor):
    """While a connection is paused the vendor gets its answer, and nothing is fetched."""
    await trial.run("UPDATE connections SET state = 'paused'")
    taken = await trial.tell(changed(vendor.put("c7", name="Meier"), "e1"))
    await trial.take_in()

    assert taken.new == 1
    assert await trial.ends() == ["waiting"]
    assert vendor.asked == []


@pytest.mark.parametrize("way", ["rested", "was let in again", "replayed"])
async def test_what_was_long_in_coming_is_given_its_time(trial, vendor, way):
    """An event of last week, taken up after a rest or by a person, waits for a vendor that says 'not now' once."""
    place = (trial.database, trial.world.tenant, trial.connection.connection)
    state = {"rested": "paused", "was let in again": "reauthorise"}.get(way, "ok")
    await connections.set_state(*place, state, "holidays")
    await trial.tell(changed(vendor.put("c7", name="Meier"), "e1"))
    await trial.run("UPDATE inbox SET received_at = now() - interval '4 days'")
    if way == "rested":
        await connections.set_state(*place, "ok")
    elif way == "was let in again":
        await trial.keeper.put(*place[1:], {"token": "another"})
    else:
        await trial.run("UPDATE inbox SET state = 'failed', ended_at = now()")
        async with trial.database.transaction(trial.world.tenant) as session:
            await inbox.replay(session, *place[1:], Span(states=("failed",)))
    busy(vendor)
    await trial.take_in()
    waits = await trial.ends()
    await trial.run("UPDATE inbox SET due_at = now()")
    await trial.take_in()

    assert (waits, await trial.ends()) == (["waiting"], ["absorbed"])


async def test_what_cannot_be_taken_in_for_days_fails(trial, vendor):
    """While its connection did not rest and nobody took it up again, an event has three days."""
    await trial.tell(changed(vendor.put("c7", name="Meier"), "e1"))
    await trial.run("UPDATE inbox SET received_at = now() - interval '4 days'")
    busy(vendor)
    await trial.take_in()

    assert await trial.ends() == ["failed"]


def busy(vendor: Crm) -> None:
    """Have the vendor say once that it is too much now."""
    handler = vendor.server._handler

    async def answer(_: Request) -> Response:
        vendor.server._handler = handler
        return Response(429, {}, {"retry-after": "1"})

    vendor.server._handler = answer


async def test_what_is_gone_there_is_kept_here_unless_the_mapping_says_otherwise(trial, vendor):
    """A customer that the vendor deleted stays, and the event says why."""
    row = vendor.put("c7", name="Meier")
    await trial.tell(changed(row, "e1"))
    await trial.take_in()
    del vendor.rows["customers"]["c7"]
    await trial.tell({**changed(row, "e2"), "version": "2"})
    await trial.take_in()

    assert await trial.ends() == ["absorbed", "ignored"]
    assert len(await trial.records()) == 1


async def made_here(trial: CrmTrial, **fields: str) -> str:
    """Have the office make a customer."""
    record_id = "00000000-0000-0000-0000-00000000c001"
    await trial.world.submit(trial.world.office(seen("customers", record_id, op="create", set=fields)))
    return record_id


async def conflicts(trial: CrmTrial) -> list[str]:
    """Return the cells on which there was a conflict."""
    return [row["cell"] for row in await trial.ask("SELECT cell FROM conflicts ORDER BY seq")]


def strict_off(rows: str) -> str:
    """Return the mapping that reads the name where it stands."""
    return f'[[into]]\nobject = "customer"\ncollection = "customers"\n{rows.replace("record.title", "record.name")}\n'
