"""The worker of the back door: plans what the outbox holds, and carries what was planned.

Two kinds of work, each with a number of slots: *planning* turns rows of the outbox into deliveries,
*carrying* takes deliveries to their systems. Both lease what they do from the database, so as many
workers as you like share the work, and one that is killed loses nothing: its leases run out. What a
worker takes follows from whose turn it is (`upstream.fairness`), lane by lane.

It is woken when something is new, and looks by itself too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

import msgspec
import structlog
from uuid_utils.compat import uuid7

from upstream import connections, deliveries, fairness, outbox, places, planning, store, writing
from upstream.contexts import Catalogues
from upstream.deliveries import Deliveries
from upstream.delivery import AGE_MS_MAX
from upstream.fairness import Backlog, Wheels
from upstream.outbox import Portion
from upstream.sampling import Sampling
from upstream.saying import Using

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from upstream.connections import Connection
    from upstream.deliveries import Delivery
    from upstream.fairness import Turn
    from upstream.making import Jsonnet
    from upstream.manifest import Manifest
    from upstream.mapping import MappingSet
    from upstream.outbox import Row
    from upstream.store import Database, Session
    from upstream.writing import Absorb, Caller

_SQL: Final = store.statements("worker")
_LOOKS: Final = {"plan": 1718839700, "carry": 1718839701}
"""First half of the advisory locks under which a tenant is looked at."""

LEASE_SECONDS: Final = 120.0
"""Longer than a request and its repetition may take, with each of which it begins anew; a worker that is killed holds
up what it had for so long."""
POLL_SECONDS: Final = 1.0
BREATH_SECONDS: Final = 0.02
"""Between two looks at least, however much there is to do."""
MISSED_SECONDS: Final = 0.1
"""When it is looked again at tenants that another worker was looking at, about."""
TENANTS_SECONDS: Final = 10.0
"""How long a worker goes without a tenant that has just got its first connection, unless it is woken."""
CALM_SECONDS: Final = 1.0
"""After so long without live work a backfill may have more of a worker."""
FLOUNDER_SECONDS: Final = 60.0

log = structlog.get_logger()


class System(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection is spoken to with. `absorb` takes in what the system itself has changed."""

    manifest: Manifest
    caller: Caller
    absorb: Absorb | None = None


class Systems(Protocol):
    """Where a worker gets a connection's system and mapping from; whoever puts the process together knows."""

    async def system(self, connection: Connection) -> System:
        """Return what the connection is spoken to with."""
        ...

    async def mapping(self, connection: Connection) -> tuple[Manifest, MappingSet]:
        """Return the connection's manifest and the version of its mapping that holds."""
        ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a worker does at once, and for how long what it leases is its own."""

    planning: int = 8
    carrying: int = 32
    tenant: int = fairness.TENANT_MAX
    lease_seconds: float = LEASE_SECONDS


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of work that ended: what it was, for whom, what came of it, how old the change was."""

    kind: str
    tenant_id: int
    connection: str
    lane: str
    came: str
    lag_seconds: float
    seconds: float


class Worker:
    """Works until told to stop. `observe` is called after each piece of work."""

    def __init__(
        self,
        database: Database,
        systems: Systems,
        *,
        limits: Limits | None = None,
        observe: Callable[[Done], None] = lambda _: None,
        jsonnet: Jsonnet | None = None,
    ) -> None:
        self.worker = str(uuid4())
        self._database = database
        self._systems = systems
        self._limits = limits or Limits()
        self._observe = observe
        self._jsonnet = jsonnet
        self._sampling = Sampling()
        self._catalogues = Catalogues()
        self._ledger = Deliveries(database, self.worker, seconds=self._limits.lease_seconds)
        self._tenants: list[int] = []
        self._connections: dict[tuple[int, str], Connection] = {}
        """As they were when something of them was last leased: what is under way goes by that."""
        self._asked_at = float("-inf")
        plan = _Stage("plan", self._limits.planning, self._lease_rows, self._plan)
        carry = _Stage("carry", self._limits.carrying, self._lease_deliveries, self._carry)
        self._stages = (plan, carry)

    def wake(self, tenants: str = "") -> None:
        """Look now: these tenants (numbers with commas) may have something new."""
        named = {int(tenant) for tenant in tenants.split(",") if tenant.isdecimal()}
        if named - set(self._tenants):
            self._asked_at = float("-inf")
        plan, carry = self._stages
        plan.stir(named)
        if named:
            # What is new there is planned first, and that stirs whoever carries.
            carry.stirred |= named
        else:
            carry.stir()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what is under way then is brought to its end, but not waited for for ever."""
        await asyncio.gather(*(self._go_round(stage, stop) for stage in self._stages))

    async def drain(self) -> int:
        """Work until nothing is due; return how many pieces that was. For tools and tests."""
        pieces = 0
        while True:
            begun = []
            for stage in self._stages:
                stage.stir()
                begun.append(await self._begin(stage))
            for stage in self._stages:
                await asyncio.gather(*stage.running)
            pieces += sum(begun)
            if not sum(begun):
                return pieces

    async def _go_round(self, stage: _Stage, stop: asyncio.Event) -> None:
        ended = asyncio.create_task(stop.wait())
        while not stop.is_set():
            stage.wake.clear()
            begun = await self._look(stage)
            pause = POLL_SECONDS
            if stage.missed:
                pause = MISSED_SECONDS * (0.5 + random.random())  # noqa: S311  (no secret: it keeps workers apart)
            elif begun and stage.stirred and len(stage.running) < stage.wheels.slots:
                pause = BREATH_SECONDS
            await _first_of(stage.wake.wait(), ended, seconds=pause)
            await _first_of(ended, seconds=BREATH_SECONDS)
        ended.cancel()
        await places.finish(stage.running)

    async def _look(self, stage: _Stage) -> int:
        """Begin what there is room for; a database that is away is looked at again later."""
        try:
            return await self._begin(stage)
        except OSError as error:
            log.warning("worker_interrupted", stage=stage.kind, error=type(error).__name__)
        except Exception:
            log.exception("worker_look_failed", stage=stage.kind)
        stage.swept_at = float("-inf")
        return 0

    async def _begin(self, stage: _Stage) -> int:
        live, backfill = stage.going
        stage.missed = False
        if live + backfill >= stage.wheels.slots or not (tenants := stage.whom(await self._with_connections())):
            return 0
        async with self._database.transaction(*tenants) as session:
            mine = [row["tenant_id"] for row in await session.fetch(_SQL["look"], _LOOKS[stage.kind], tenants)]
            stage.missed = len(mine) < len(tenants)
            backlogs = await self._backlogs(session, stage.kind, mine) if mine else []
            turns = stage.wheels.turns(
                backlogs, live=live, backfill=backfill, tenant_max=self._limits.tenant, beside=stage.is_beside
            )
            leased = await stage.lease(session, turns) if turns else []
        stage.stirred |= set(tenants) - set(mine) | _left(backlogs, leased)
        for each in leased:
            stage.start(each)
        return len(leased)

    async def _with_connections(self) -> list[int]:
        """Return the tenants that have connections; asked again from time to time."""
        if time.monotonic() - self._asked_at >= TENANTS_SECONDS:
            async with self._database.transaction() as session:
                every = [row["tenant_id"] for row in await session.fetch(_SQL["tenants"])]
            async with self._database.transaction(*every) as session:
                self._tenants = [row["tenant_id"] for row in await session.fetch(_SQL["with_connections"], every)]
            self._asked_at = time.monotonic()
        return self._tenants

    async def _backlogs(self, session: Session, kind: str, tenants: Sequence[int]) -> list[Backlog]:
        name = "outbox_backlog" if kind == "plan" else "deliveries_backlog"
        rows = await session.fetch(_SQL[name], tenants, self._limits.tenant)
        self._connections |= {(row["tenant_id"], row["connection"]): connections.of_row(row) for row in rows}
        return [msgspec.convert(dict(row), Backlog) for row in rows]

    # Planning.

    async def _lease_rows(self, session: Session, turns: Sequence[Turn]) -> list[Row]:
        portions = [
            Portion(tenant_id=turn.tenant_id, connection=turn.connection, lane=turn.lane, most=turn.most)
            for turn in turns
        ]
        return await outbox.lease(session, portions, worker=self.worker, seconds=self._limits.lease_seconds)

    async def _plan(self, row: Row) -> None:
        began = time.monotonic()
        try:
            connection = self._connections[row.tenant_id, row.connection]
            manifest, mappings = await self._systems.mapping(connection)
            using = Using(
                connection=connection,
                mappings=mappings,
                manifest=manifest,
                catalogues=self._catalogues,
                worker=self.worker,
                new_id=lambda: str(uuid7()),
                jsonnet=self._jsonnet,
                sampling=self._sampling,
            )
            came: str = await planning.plan_row(self._database, row, using)
        except Exception as error:
            log.exception("planning_failed", tenant=row.tenant_id, connection=row.connection)
            came = "failed"
            async with self._database.transaction(row.tenant_id) as session:
                await outbox.put_off(
                    session, row, worker=self.worker, seconds=FLOUNDER_SECONDS, reason=type(error).__name__
                )
        self._tell("plan", row, came, began)
        if came == "planned":
            self._stages[1].stir({row.tenant_id})

    # Carrying.

    async def _lease_deliveries(self, session: Session, turns: Sequence[Turn]) -> list[Delivery]:
        portions = [(turn.tenant_id, turn.connection, turn.lane, turn.most) for turn in turns]
        return await deliveries.lease(session, portions, worker=self.worker, seconds=self._limits.lease_seconds)

    async def _carry(self, delivery: Delivery) -> None:
        began = time.monotonic()
        try:
            connection = self._connections[delivery.tenant_id, delivery.connection]
            system = await self._systems.system(connection)
            outcome = await writing.carry(
                delivery, system.manifest, system.caller, self._ledger, jitter=random.random, absorb=system.absorb
            )
            came: str = outcome.ended
            if came == "superseded":
                self._stages[0].stir({delivery.tenant_id})
        except Exception as error:
            log.exception("carrying_failed", tenant=delivery.tenant_id, connection=delivery.connection)
            came = "failed"
            await self._flounder(delivery, error)
        self._tell("carry", delivery, came, began)

    async def _flounder(self, delivery: Delivery, error: Exception) -> None:
        """Put a delivery off that failed here: what was sent may have happened."""
        with suppress(OSError):
            async with self._database.transaction(delivery.tenant_id) as session:
                await session.execute(
                    _SQL["flounder"],
                    delivery.tenant_id,
                    delivery.delivery_id,
                    self.worker,
                    FLOUNDER_SECONDS,
                    type(error).__name__,
                    "the delivery could not be carried on; the log has the cause",
                    AGE_MS_MAX / 1_000,
                )

    def _tell(self, kind: str, what: Row | Delivery, came: str, began: float) -> None:
        self._observe(
            Done(
                kind=kind,
                tenant_id=what.tenant_id,
                connection=what.connection,
                lane=what.lane,
                came=came,
                lag_seconds=max(0.0, time.time() - what.marked_at.timestamp()),
                seconds=time.monotonic() - began,
            )
        )


class _Stage:
    """One kind of work: how it is leased, how a piece is done, and what is under way."""

    def __init__(
        self,
        kind: str,
        slots: int,
        lease: Callable[[Session, Sequence[Turn]], Awaitable[Sequence[Any]]],
        work: Callable[[Any], Awaitable[None]],
    ) -> None:
        self.kind = kind
        self.wheels = Wheels(slots)
        self.lease = lease
        self.work = work
        self.wake = asyncio.Event()
        self.running: dict[asyncio.Task[None], str] = {}
        self.missed = False
        """Whether another worker was looking at some tenant at the last look."""
        self.stirred: set[int] = set()
        """Tenants that have something new, or had more than could be taken at the last look."""
        self.swept_at = float("-inf")
        """When all tenants were looked at last: what nobody told of is found by that."""
        self._live_at = float("-inf")

    @property
    def going(self) -> tuple[int, int]:
        """How much is under way, in the live and in the backfill lane."""
        backfill = sum(lane == "backfill" for lane in self.running.values())
        return len(self.running) - backfill, backfill

    @property
    def is_beside(self) -> bool:
        """Whether a backfill has live work beside it, now or a moment ago."""
        return time.monotonic() - self._live_at < CALM_SECONDS or self.going[0] > 0

    def stir(self, tenants: Iterable[int] = ()) -> None:
        """Have these tenants looked at now; without any, all of them."""
        self.stirred |= set(tenants)
        if not tenants:
            self.swept_at = float("-inf")
        self.wake.set()

    def whom(self, tenants: Sequence[int]) -> list[int]:
        """Return which of all tenants to look at now: those that are stirred, and all of them from time to time."""
        whole = time.monotonic() - self.swept_at >= POLL_SECONDS
        if whole:
            self.swept_at = time.monotonic()
        chosen = [tenant for tenant in tenants if whole or tenant in self.stirred]
        self.stirred.clear()
        return chosen

    def start(self, piece: Row | Delivery) -> None:
        """Begin a piece of work."""
        if piece.lane == "live":
            self._live_at = time.monotonic()

        async def run() -> None:
            await self.work(piece)

        task = asyncio.create_task(run(), name=self.kind)
        self.running[task] = piece.lane
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self.running[task]
        if self.stirred:
            self.wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("worker_piece_failed", stage=self.kind, error=type(error).__name__)


def _left(backlogs: Iterable[Backlog], leased: Iterable[Row | Delivery]) -> set[int]:
    """Return the tenants of which more waits than was taken."""
    waiting = Counter[int]()
    for backlog in backlogs:
        waiting[backlog.tenant_id] += backlog.waiting
    waiting.subtract(piece.tenant_id for piece in leased)
    return {tenant for tenant, many in waiting.items() if many > 0}


async def _first_of(*waits: Any, seconds: float) -> None:
    """Wait until one of these is so, or for so long. Tasks among them stay."""
    tasks = [each if isinstance(each, asyncio.Task) else asyncio.create_task(each) for each in waits]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task, given in zip(tasks, waits, strict=True):
        if task is not given:
            task.cancel()
