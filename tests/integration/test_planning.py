"""Planning: from what changed to what a system has to be told, and to nothing where it was told already."""

from __future__ import annotations

from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from replication.state import Submission
from tests.integration import backdoor
from tests.integration.backdoor import Interrupted, Trial, told
from tests.integration.world import ANA, BEN, job, seen
from tests.peers.vendor.demo import Demo
from upstream import connections, deliveries, outbox, planning, remotes, worker
from upstream.contexts import Catalogues
from upstream.outbox import Portion
from upstream.saying import Using
from upstream.wakeup import Wakeup

ME = str(uuid4())
CUSTOMER = str(UUID(int=0xC1))
OTHER_CUSTOMER = str(UUID(int=0xC2))

INVOICES = """
[[out]]
object = "native"
collection = "customers"
rows = [
  { target = "number", source = "record.id" },
  { target = "name", source = "record.phone" },
]

[[out]]
object = "search"
collection = "work_orders"
when = [{ path = "record.status", equals = ["done"] }]
void_when = [{ path = "record.status", equals = ["cancelled"] }]
triggers = { parts_used = "work_order_id" }
gather.parts = { collection = "parts_used", match = { work_order_id = "record.id" } }
rows = [
  { target = "number", source = "record.id" },
  { target = "customer", source = "remote.customer_id", required = true },
  { target = "phone", source = "ref.customer_id.phone" },
  { target = "lines", action = "each", source = "rows.parts", rows = [
    { target = "text", source = "item.description" },
    { target = "quantity", source = "item.quantity" },
  ] },
]
"""

HOURS = """
[[out]]
object = "versioned"
collection = "time_entries"
key = "${record.technician_id}|${period.first}"
when = [{ path = "record.approved", equals = [true] }]
late = ["search"]
late_by = "hours"
period = { field = "started_at", days = 14, first = 2026-01-05 }
rows = [
  { target = "number", source = "key" },
  { target = "hours", action = "sum", source = "rows.entries:started_at..ended_at", scale = "1/3600" },
]

[out.gather.entries]
collection = "time_entries"
match = { technician_id = "record.technician_id" }
period_field = "started_at"
where = [{ path = "item.approved", equals = [true] }]

[[out]]
object = "search"
collection = "time_entries"
key = "late"
rows = [
  { target = "number", source = "late.key" },
  { target = "hours", source = "late.difference.hours" },
  { target = "period", source = "late.period.first" },
  { target = "sign", source = "late.sign" },
]
"""


@asynccontextmanager
async def trial(world, mapping, demo, *, requires=""):
    """Run the vendor, with a connection and a worker."""
    manifest = demo.manifest.replace('write = "search"\n', f'write = "search"\n{requires}\n')
    async with demo.server:
        made = Trial(world.database, manifest, mapping)
        connection = await made.connect(world.tenant, demo.server.url)
        yield made, connection, made.worker()
        await made.close()


async def put(world, collection, record_id, op="set", **fields):
    """Let the office write."""
    await world.submit(world.office(seen(collection, record_id, op=op, set=fields)))


def rows_of(demo, kind):
    """Return what the vendor has, without what it adds itself."""
    return [
        {k: v for k, v in row.fields.items() if k != "mark"}
        for row in demo.shelves[kind].rows.values()
        if not row.voided
    ]


async def entry(world, number, start, end, *, technician=ANA, day="2026-01-06", approved=True):
    """Let the office write a time entry."""
    times = {"started_at": f"{day}T{start}:00Z", "ended_at": f"{day}T{end}:00Z", "time_zone": "UTC"}
    await put(world, "time_entries", job(number), "create", technician_id=technician, approved=approved, **times)


async def test_an_invoice_is_made_of_the_work_order_its_customer_and_its_parts(world):
    """It waits for the customer to be there, is planned anew when a part is added, and not when nothing differs."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, INVOICES, demo, requires='requires = ["native"]') as (_, _connection, worker):
        await put(world, "customers", CUSTOMER, "create", phone="555")
        await put(world, "work_orders", job(1), "create", title="Boiler", status="new", customer_id=CUSTOMER)
        await worker.drain()
        assert rows_of(demo, "search") == []

        await put(world, "work_orders", job(1), status="done")
        await put(world, "parts_used", job(2), "create", work_order_id=job(1), description="Valve", quantity="2")
        await worker.drain()
        await put(world, "work_orders", job(1), summary="Nobody there is told this")
        await worker.drain()
        found = await deliveries.listed(world.database, world.tenant, deliveries.Filter(object="search"))

    customer = next(iter(demo.shelves["native"].rows))
    lines = [{"text": "Valve", "quantity": "2"}]
    assert rows_of(demo, "search") == [{"number": job(1), "customer": customer, "phone": "555", "lines": lines}]
    assert [each.state for each in found] == ["confirmed"]


async def test_an_object_waits_for_what_it_names(world):
    """A customer that the system does not have yet is told first, and the invoice follows by itself."""
    demo = Demo(lag_seconds=0.0)
    await put(world, "customers", CUSTOMER, "create", phone="555")
    async with trial(world, INVOICES, demo, requires='requires = ["native"]') as (_, connection, worker):
        await put(world, "work_orders", job(1), "create", title="Boiler", status="done", customer_id=CUSTOMER)
        began = await outbox.waiting(world.database, world.tenant, connection.connection, limit=9)
        await worker.drain()

    assert [row.collection for row in began] == ["work_orders"]
    assert [row["number"] for row in rows_of(demo, "native")] == [CUSTOMER]
    assert [row["customer"] for row in rows_of(demo, "search")] == list(demo.shelves["native"].rows)


async def test_what_waited_is_looked_at_as_soon_as_it_may_go_on(world, monkeypatch):
    """The confirmation of the customer wakes the worker for the invoice: it does not come by looking."""
    monkeypatch.setattr(worker, "POLL_SECONDS", 3_600.0)
    demo = Demo(lag_seconds=0.0)
    await put(world, "customers", CUSTOMER, "create", phone="555")
    async with trial(world, INVOICES, demo, requires='requires = ["native"]') as (_, _connection, carrier):
        wakeup = Wakeup(world.url, outbox.CHANNEL, carrier.wake)
        await wakeup.start()
        await put(world, "work_orders", job(1), "create", title="Boiler", status="done", customer_id=CUSTOMER)
        await backdoor.working(carrier, backdoor.settled(world.database, world.tenant))
        await wakeup.stop()

    assert [row["customer"] for row in rows_of(demo, "search")] == list(demo.shelves["native"].rows)


async def test_a_part_that_moves_changes_both_orders(world):
    """When a record is taken from one object to another, both are told."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, INVOICES, demo) as (_, _connection, worker):
        await put(world, "customers", CUSTOMER, "create", phone="555")
        for number in (1, 2):
            await put(world, "work_orders", job(number), "create", title="t", status="done", customer_id=CUSTOMER)
        await put(world, "parts_used", job(9), "create", work_order_id=job(1), description="Valve", quantity="1")
        await worker.drain()
        await put(world, "parts_used", job(9), work_order_id=job(2))
        await worker.drain()

    lines = {row["number"]: row["lines"] for row in rows_of(demo, "search")}
    assert lines == {job(1): [], job(2): [{"text": "Valve", "quantity": "1"}]}


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_what_is_no_more_is_taken_back_once(world, how):
    """A cancelled or deleted order voids its invoice; made again after that, it is another object there."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, INVOICES, demo) as (_, _connection, worker):
        await put(world, "customers", CUSTOMER, "create", phone="555")
        await worker.drain()
        await put(world, "work_orders", job(1), "create", title="t", status="done", customer_id=CUSTOMER)
        await worker.drain()
        if how == "deleted":
            await world.submit(world.office(seen("work_orders", job(1), op="delete")))
        else:
            await put(world, "work_orders", job(1), status="cancelled")
        await worker.drain()
        assert rows_of(demo, "search") == []

        if how == "cancelled":
            await put(world, "work_orders", job(1), status="done")
            await worker.drain()
        found = await deliveries.listed(world.database, world.tenant, deliveries.Filter(object="search"))

    assert [each.action for each in reversed(found)][:2] == ["upsert", "void"]
    marks = {row.fields["mark"] for row in demo.shelves["search"].rows.values()}
    assert len(marks) == len(demo.shelves["search"].rows) == (2 if how == "cancelled" else 1)


async def test_what_was_never_told_is_not_taken_back(world):
    """An order that is cancelled before it was done is of no interest to anybody."""
    demo = Demo()
    async with trial(world, INVOICES, demo) as (_, _connection, worker):
        await put(world, "work_orders", job(1), "create", title="t", status="cancelled")
        await worker.drain()

    assert await deliveries.listed(world.database, world.tenant) == []


async def test_what_cannot_be_made_is_a_dead_letter_and_the_next_version_overtakes_it(world):
    """A mapping that finds nothing where it needs something says which field; a later version says it all."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, INVOICES, demo) as (_, _connection, worker):
        await put(world, "work_orders", job(1), "create", title="t", status="done")
        await worker.drain()
        (dead,) = await deliveries.listed(world.database, world.tenant, deliveries.Filter(states=("rejected",)))
        await put(world, "customers", CUSTOMER, "create", phone="555")
        await worker.drain()
        await put(world, "work_orders", job(1), customer_id=CUSTOMER)
        await worker.drain()
        states = await backdoor.states(world.database, world.tenant)

    assert (dead.error_class, "customer" in dead.error_message) == ("data", True)
    assert states == {"superseded": 1, "confirmed": 2}


async def test_newer_versions_overtake_what_was_not_sent_yet(world):
    """While a system is away its deliveries are overtaken, and it is told the last state once."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, told("search"), demo) as (made, connection, worker):
        await connections.set_state(world.database, world.tenant, connection.connection, "paused")
        for title in ("one", "two", "three"):
            await put(world, "work_orders", job(1), "create" if title == "one" else "set", title=title)
            await worker.drain()
        assert await backdoor.states(world.database, world.tenant) == {"superseded": 2, "planned": 1}

        await connections.set_state(world.database, world.tenant, connection.connection, "ok")
        await made.worker().drain()

    assert [row["title"] for row in rows_of(demo, "search")] == ["three"]
    assert demo.shelves["search"].rows["s-1"].writes == 1


async def test_in_shadow_everything_is_done_but_the_request(world):
    """What would be sent is there to be read, nothing goes out, and going live sends it."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, told("search"), demo) as (_, connection, worker):
        await connections.set_mode(world.database, world.tenant, connection.connection, "shadow")
        await world.order(1)
        await worker.drain()
        (shown,) = await deliveries.listed(world.database, world.tenant)
        assert (shown.state, shown.mode, shown.due_at, shown.fields["title"]) == ("planned", "shadow", None, "Boiler")
        assert demo.calls == []

        await connections.set_mode(world.database, world.tenant, connection.connection, "live")
        await backdoor.mark(world.database, connection, ("work_orders", job(1)))
        await worker.drain()

    assert [row["title"] for row in rows_of(demo, "search")] == ["Boiler"]


async def test_a_system_that_changed_it_itself_is_told_again(world):
    """A value that goes there, is changed there, and comes to be ours again, is said again."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, told("search", title="record.cost"), demo) as (_, connection, worker):
        await put(world, "work_orders", job(1), "create", title="t")
        await cost(world, world.office_rid, "5")
        await worker.drain()
        demo.shelves["search"].rows["s-1"].fields["title"] = "8"
        await cost(world, connection.rid, "8")
        await worker.drain()
        await cost(world, world.office_rid, "5")
        await worker.drain()

    assert [row["title"] for row in rows_of(demo, "search")] == ["5"]


async def test_hours_are_the_sum_of_what_is_approved_in_the_period(world):
    """They follow each entry: added, approved late, corrected, moved to another person, deleted."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (_, _connection, worker):
        first, second = f"{ANA}|2026-01-05", f"{ANA}|2026-01-19"
        await entry(world, 1, "08:00", "10:00")
        await entry(world, 2, "10:00", "13:00", approved=False)
        await entry(world, 3, "08:00", "09:00", day="2026-01-20")
        await worker.drain()
        assert hours(demo) == {first: "2", second: "1"}

        await put(world, "time_entries", job(2), approved=True)
        await worker.drain()
        assert hours(demo) == {first: "5", second: "1"}

        await put(world, "time_entries", job(1), technician_id=BEN)
        await worker.drain()
        assert hours(demo) == {first: "3", second: "1", f"{BEN}|2026-01-05": "2"}

        await world.submit(world.office(seen("time_entries", job(3), op="delete")))
        await worker.drain()
        assert hours(demo) == {first: "3", f"{BEN}|2026-01-05": "2"}


async def test_a_plan_that_knows_less_is_dropped(world):
    """Of two workers that plan one object at once, of two of its records, the one that read later is right."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (made, connection, worker):
        using = Using(
            connection=connection,
            mappings=made.mappings,
            manifest=made.manifest,
            catalogues=Catalogues(),
            worker=ME,
            new_id=lambda: str(uuid7()),
        )

        async def plan(database):
            portion = Portion(tenant_id=world.tenant, connection=connection.connection, lane="live", most=1)
            async with world.database.transaction(world.tenant) as session:
                (row,) = await outbox.lease(session, [portion], worker=ME, seconds=60)
            return await planning.plan_row(database, row, using)

        async def meanwhile():
            await entry(world, 2, "10:00", "13:00")
            assert await plan(world.database) == "planned"

        await entry(world, 1, "08:00", "10:00")
        assert await plan(Interrupted(world.database, meanwhile)) == "nothing"
        await worker.drain()

    assert hours(demo) == {f"{ANA}|2026-01-05": "5"}
    assert [row.writes for row in demo.shelves["versioned"].rows.values()] == [1]


async def test_what_comes_after_the_period_was_closed_is_an_adjustment(world):
    """The closed object is not touched; the difference goes into the next open period, each late fact once."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (_, connection, worker):
        await entry(world, 1, "08:00", "10:00")
        await worker.drain()
        async with world.database.transaction(world.tenant) as session:
            for period in ("2026-01-05", "2026-01-19"):
                await remotes.close(session, world.tenant, connection.connection, "versioned", period)
        await entry(world, 2, "10:00", "13:30")
        await worker.drain()
        await put(world, "time_entries", job(1), approved=False)
        await worker.drain()
        await put(world, "time_entries", job(1), remarks="no hours in this")
        await worker.drain()
        await entry(world, 3, "08:00", "09:00", technician=BEN)
        await worker.drain()

    assert hours(demo) == {f"{ANA}|2026-01-05": "2"}
    late = [(row["hours"], row["sign"], row["period"]) for row in rows_of(demo, "search")]
    assert late == [("3.5", "more", "2026-02-02"), ("-2", "less", "2026-02-02"), ("1", "more", "2026-02-02")]


async def test_a_system_that_says_it_is_closed_is_told_the_difference(world):
    """Where we did not know, the refusal teaches us: the delivery is overtaken by one that carries the difference."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS, demo) as (_, _connection, worker):
        await entry(world, 1, "08:00", "10:00")
        await worker.drain()
        demo.closed.update(demo.shelves["versioned"].rows)
        await entry(world, 2, "10:00", "13:00")
        await worker.drain()
        await entry(world, 3, "13:00", "14:00")
        await worker.drain()

    assert hours(demo) == {f"{ANA}|2026-01-05": "2"}
    assert [row["hours"] for row in rows_of(demo, "search")] == ["3", "1"]


async def test_a_late_fact_without_a_place_is_a_dead_letter(world):
    """Where the mapping names no object for what is late, a person is told."""
    demo = Demo(lag_seconds=0.0)
    async with trial(world, HOURS.replace('late = ["search"]\n', "").split('[[out]]\nobject = "search"')[0], demo) as (
        _,
        connection,
        worker,
    ):
        await entry(world, 1, "08:00", "10:00")
        await worker.drain()
        async with world.database.transaction(world.tenant) as session:
            place = ("versioned", f"{ANA}|2026-01-05")
            await remotes.lock(session, world.tenant, connection.connection, place, "posted")
        await entry(world, 2, "10:00", "13:00")
        await worker.drain()
        (dead,) = await deliveries.listed(world.database, world.tenant, deliveries.Filter(states=("rejected",)))

    assert (dead.error_class, dead.error_code) == ("locked", "no_late_object")
    assert hours(demo) == {f"{ANA}|2026-01-05": "2"}


async def cost(world, rid, value):
    """Let somebody of the ERP's class write what an order costs."""
    written = (seen("work_orders", job(1), set={"cost": value}),)
    await world.submit(Submission(rid=rid, person="", authority="erp", mutations=written, numbered=False))


def hours(demo):
    """Return the hours there by key."""
    return {row["number"]: row["hours"] for row in rows_of(demo, "versioned")}
