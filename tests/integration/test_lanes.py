"""Laws of outbox and lanes, on the real tables: whatever commits, leases and crashes come in whatever order."""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from tests.integration import backdoor
from tests.integration.backdoor import Interrupted, Trial, told
from tests.integration.world import World, job, seen
from tests.peers.vendor.demo import Demo
from upstream import deliveries, outbox, planning, writing
from upstream.contexts import Catalogues
from upstream.deliveries import Deliveries
from upstream.outbox import Portion
from upstream.replies import Reply
from upstream.saying import Using

RECORDS = 3
WORKERS = 2
_numbers = count(1_000, RECORDS)

ACTIONS = st.one_of(
    st.tuples(st.just("commit"), st.integers(0, RECORDS - 1)),
    st.tuples(st.just("plan"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("plan_over_commit"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("plan_over_plan"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("lease_row"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("carry"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("lease"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("die_before"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("die_after"), st.integers(0, WORKERS - 1)),
    st.tuples(st.just("time_passes"), st.just(0)),
)


class Died(BaseException):
    """The worker was killed at this moment: nothing of it runs any more."""


class Shelf:
    """A vendor of the class `search` in memory, which keeps the order of all that it was told."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.rows = {}
        self.heard = defaultdict(list)
        self.die = ""

    async def call(self, operation, values, *, remote=None, key=None, purpose="normal"):
        """Do what the operation says, or die before or after it."""
        assert key
        assert purpose == "normal"
        match operation.split("_")[1]:
            case "find":
                items = [{**row, "id": row_id, "version": "1"} for row_id, row in self.rows.items()]
                return Reply(kind="ok", items=[item for item in items if item["mark"] == values["mark"]])
            case "read":
                row = self.rows.get(remote["id"])
                return Reply(kind="ok", item=row, version="1") if row else Reply(kind="not_found")
        self._die("before")
        row_id = (remote or {}).get("id") or f"{self.prefix}-{len(self.rows) + 1}"
        self.rows[row_id] = dict(values)
        self.heard[values["number"]].append(values["title"])
        self._die("after")
        return Reply(kind="ok", id=row_id, version="1")

    def _die(self, moment):
        if self.die == moment:
            self.die = ""
            raise Died


class Bench:
    """A tenant, a connection, some workers, and a vendor in memory."""

    def __init__(self, world: World, trial: Trial, connection):
        self.world, self.trial, self.connection = world, trial, connection
        self.first = next(_numbers)
        self.shelf = Shelf(self.first)
        self.titles = defaultdict(list)
        self.workers = [str(uuid4()) for _ in range(WORKERS)]
        self.rows = defaultdict(list)
        self.leased = defaultdict(list)
        self.catalogues = Catalogues()

    def session(self):
        """Return a transaction of the tenant."""
        return self.world.database.transaction(self.world.tenant)

    async def commit(self, record):
        """Let a record have its next state."""
        record_id = job(self.first + record)
        title = f"{len(self.titles[record_id]):04}"
        op = "set" if self.titles[record_id] else "create"
        await self.world.submit(self.world.office(seen("work_orders", record_id, op=op, set={"title": title})))
        self.titles[record_id].append(title)

    async def lease_row(self, worker):
        """Let a worker lease a row of the outbox, and do nothing with it yet."""
        place = self.connection.connection
        portion = Portion(tenant_id=self.world.tenant, connection=place, lane="live", most=1)
        async with self.session() as session:
            self.rows[worker] += await outbox.lease(session, [portion], worker=self.workers[worker], seconds=60)

    async def plan(self, worker, database=None):
        """Let a worker plan a row that it leased, however long ago that was."""
        if not self.rows[worker]:
            await self.lease_row(worker)
        for row in self.rows[worker][:1]:
            await planning.plan_row(database or self.world.database, row, self.using(worker))
        del self.rows[worker][:1]

    def using(self, worker):
        """Return what a worker plans with."""
        return Using(
            connection=self.connection,
            mappings=self.trial.mappings,
            manifest=self.trial.manifest,
            catalogues=self.catalogues,
            worker=self.workers[worker],
            new_id=lambda: str(uuid7()),
        )

    async def plan_over_commit(self, worker):
        """Let a record change after a worker has read it and before it stores what it planned."""

        async def meanwhile():
            await self.commit(0)

        await self.plan(worker, Interrupted(self.world.database, meanwhile))

    async def plan_over_plan(self, worker):
        """Let a record change, and another worker plan that, after this one has read it."""

        async def meanwhile():
            await self.commit(0)
            await self.time_passes(0)
            await self.plan((worker + 1) % WORKERS)

        await self.plan(worker, Interrupted(self.world.database, meanwhile))

    async def lease(self, worker):
        """Let a worker lease a delivery, and do nothing with it yet."""
        portion = (self.world.tenant, self.connection.connection, "live", 1)
        async with self.session() as session:
            self.leased[worker] += await deliveries.lease(session, [portion], worker=self.workers[worker], seconds=60)

    async def carry(self, worker, die=""):
        """Let a worker carry a delivery that it leased, however long ago that was; perhaps it dies at it."""
        if not self.leased[worker]:
            await self.lease(worker)
        for delivery in self.leased[worker][:1]:
            ledger = Deliveries(self.world.database, self.workers[worker], seconds=60)
            self.shelf.die = die
            try:
                await writing.carry(delivery, self.trial.manifest, self.shelf, ledger, jitter=lambda: 0.0)
            except Died:
                self.rows[worker], self.leased[worker] = [], []
                self.workers[worker] = str(uuid4())
        self.shelf.die = ""
        del self.leased[worker][:1]

    async def die_before(self, worker):
        """Let a worker be killed just before the vendor does what it says."""
        await self.carry(worker, "before")

    async def die_after(self, worker):
        """Let a worker be killed just after the vendor did what it says."""
        await self.carry(worker, "after")

    async def time_passes(self, _):
        """Let all leases run out, and all pauses end."""
        async with self.session() as session:
            await session.execute(
                "UPDATE outbox SET leased_until = now() - interval '1 s' WHERE leased_until IS NOT NULL"
            )
            await session.execute("UPDATE outbox SET due_at = now()")
            await session.execute(
                "UPDATE deliveries SET leased_until = now() - interval '1 s' WHERE leased_until IS NOT NULL"
            )
            await session.execute(
                "UPDATE deliveries SET due_at = now(), last_sent_at = last_sent_at - interval '1 hour'"
                " WHERE due_at IS NOT NULL"
            )

    async def finish(self):
        """Let one worker do all that is left."""
        for worker in range(WORKERS):
            self.rows[worker], self.leased[worker] = [], []
        for _ in range(100):
            await self.time_passes(0)
            await self.plan(0)
            await self.carry(0)
            if not await backdoor.open_work(self.world.database, self.world.tenant):
                return
        raise AssertionError(f"there is work left: {await backdoor.states(self.world.database, self.world.tenant)}")


@pytest.fixture
async def bench_of(world):
    """Give what makes a fresh vendor and fresh records for each run, on one tenant."""
    trial = Trial(world.database, Demo(lag_seconds=0.0).manifest, told("search"))
    connection = await trial.connect(world.tenant, "http://127.0.0.1:1")
    yield lambda: Bench(world, trial, connection)
    await trial.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(actions=st.lists(ACTIONS, min_size=4, max_size=24))
@example(actions=[("commit", 0), ("plan", 0), ("lease", 0), ("time_passes", 0), ("carry", 1), ("carry", 0)])
@example(actions=[("commit", 0), ("plan", 0), ("lease", 0), ("commit", 0), ("plan", 1), ("carry", 1), ("carry", 0)])
@example(actions=[("commit", 0), ("plan", 0), ("carry", 0), ("commit", 0), ("plan_over_commit", 1), ("carry", 0)])
@example(actions=[("commit", 0), ("plan", 0), ("die_after", 0), ("time_passes", 0), ("commit", 0), ("carry", 1)])
async def test_whatever_happens_the_last_state_is_told_once_and_in_order(bench_of, actions):
    """Commits, leases, plans, requests, deaths and lost leases in any order: nothing is forgotten or doubled."""
    bench = bench_of()

    for name, argument in actions:
        await getattr(bench, name)(argument)
    await bench.finish()

    by_number = {row["number"]: row["title"] for row in bench.shelf.rows.values()}
    assert by_number == {record: titles[-1] for record, titles in bench.titles.items()}
    assert len(bench.shelf.rows) == len(bench.titles), "one object for each record"
    for record, heard in bench.shelf.heard.items():
        assert heard == sorted(heard), f"{record} was told an older state after a newer one"
        assert set(heard) <= set(bench.titles[record])
