"""The devices of a run: each the reference device, with a store in memory, on the road that all share.

A member enrols, works when its edits are due, pushes a little later, looks for news now and then,
and is out of reach for as long as its plan says. Whatever the server does meanwhile, what was done
on the device stays in its outbox until it has a verdict.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from clients import errors
from clients.device import Device
from clients.load import plan, work
from clients.store import Store
from clients.transport import Transport, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    import httpx

    from clients.cast import Named
    from clients.load.figures import Meter
    from clients.load.plan import Options, Span
    from clients.machine import Machine
    from clients.store import Answered
    from replication.mutation import Mutation
    from replication.verdict import MutationVerdict

IN_MEMORY: Final = ":memory:"
ENROL_ATTEMPTS_MAX: Final = 20
RETRY_SECONDS_MAX: Final = 4.0
ALL: Final = -1
DISPUTED: Final = ("status", "title", "priority")
"""Fields of a job that the office writes as well."""


class Kept(Store):
    """The store of a device that forgets no verdict, for each is looked for at the end, and says when one came."""

    def __init__(self, answered: Callable[[int], None]) -> None:
        self._told = answered
        super().__init__(IN_MEMORY)

    def acknowledge(self, verdict: MutationVerdict) -> Mutation | None:
        """Move a mutation from the outbox to the acknowledged, and say so."""
        mutation = super().acknowledge(verdict)
        if mutation is not None:
            self._told(mutation.n)
        return mutation

    def trim(self, durable: int) -> None:
        """Forget nothing."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which device one is: its number and tenant, which of its person's devices, and how many those are."""

    number: int
    tenant: int
    slot: int
    siblings: int
    away: Span | None


class Surroundings(msgspec.Struct, frozen=True):
    """What all devices of a run share. `clock` is in seconds since the run began."""

    options: Options
    url: str
    client: httpx.AsyncClient
    machine: Machine
    meter: Meter
    clock: Callable[[], float]


class Member:
    """A technician's device in the fleet."""

    def __init__(self, person: Named, place: Place, around: Surroundings, random: Random) -> None:
        self.person = person
        self.place = place.number
        self.tenant = place.tenant
        self.slot = place.slot
        self.siblings = place.siblings
        self.made = 0
        self.parts: list[str] = []
        self.last_edit: tuple[str | None, str] = (None, "status")
        self.faults: Counter[str] = Counter()
        self.store = Kept(self._answered)
        self._around = around
        self._random = random
        self._away = place.away
        self._due: dict[int, float] = {}
        self._due_now = 0.0
        self._began = 0.0
        self._wake = asyncio.Event()
        self._over = asyncio.Event()
        machine = around.machine
        waiting = Waiting(machine.now_ms, machine.sleep, machine.jitter)
        self.device = Device(self.store, Transport(around.url, waiting, around.client), machine)

    @property
    def name(self) -> str:
        """What the device is called in messages."""
        return f"device {self.place} of {self.person.name}"

    @property
    def answered(self) -> list[Answered]:
        """All edits with their verdicts, oldest first."""
        return self.store.answered(ALL)

    # What is done on it.

    def act(self, due: float) -> None:
        """Do something that was due then, whether or not there is a network."""
        self._due_now = due
        work.do_something(self, self._random)
        self._wake.set()

    def edit(self, collection: str, record_id: str, /, **fields: Any) -> None:
        """Set fields of a record."""
        self.device.edit(collection, record_id, **fields)
        named = [field for field in DISPUTED if field in fields]
        self.last_edit = record_id, named[0] if named else DISPUTED[0]
        self._made()

    def append(self, collection: str, record_id: str, field: str, text: str) -> None:
        """Add a line that is like no other."""
        self.device.do(
            collection, record_id, field, {"append": f"\n{work.mark(self.device.rid, self.made + 1)} {text}"}
        )
        self._made()

    def count(self, collection: str, record_id: str, field: str, step: str) -> None:
        """Count on."""
        if self.device.get(collection, record_id) is None:
            return
        self.device.do(collection, record_id, field, {"inc": step})
        self._made()

    def create(self, collection: str, fields: dict[str, Any]) -> str:
        """Make a record."""
        made = self.device.create(collection, fields)
        self._made()
        return made

    def _made(self) -> None:
        self.made += 1
        self._due[self.made] = self._due_now
        self._around.meter.happened("edits", self._around.clock())

    def _answered(self, n: int) -> None:
        due, now = self._due.pop(n, None), self._around.clock()
        if due is not None:
            away = self._away is not None and plan.overlap((due, now), self._absence)
            self._around.meter.acknowledged((now - due) * 1_000, now, away=away)

    # With the hub.

    async def enrol(self) -> None:
        """Become a replica and fetch what is in scope, however often the server is away."""
        for attempt in range(1, ENROL_ATTEMPTS_MAX + 1):
            try:
                await self.device.enrol(self.person.enrolment_code, f"load {self.place}", "load")
                break
            except errors.Unreachable:
                if attempt == ENROL_ATTEMPTS_MAX:
                    raise
                await self._around.machine.sleep(self._random.uniform(0, RETRY_SECONDS_MAX))
        begin = self._around.clock()
        while not await self.sync():
            pass
        self._around.meter.answered("first sync", (self._around.clock() - begin) * 1_000, self._around.clock())

    async def live(self, began: float) -> None:
        """Push what is done and look for news, until told that it is over."""
        self._began = began
        due = self._around.clock() + self._random.uniform(0, self._around.options.pull_every)
        while not self._over.is_set():
            if (left := self._away_for()) > 0:
                await _first(self._over, left)
                continue
            if await _first(self._wake, due - self._around.clock()):
                await _first(self._over, self._around.options.batch_seconds)
            self._wake.clear()
            if not await self.sync():
                self._wake.set()
            due = self._around.clock() + self._around.options.pull_every * self._random.uniform(0.5, 1.5)

    def end(self) -> None:
        """Say that the work is over."""
        self._over.set()
        self._wake.set()

    async def drain(self, until: float) -> None:
        """Push until nothing is unsent, or the time is up."""
        while self.device.unsent and self._around.clock() < until:
            await self.sync()

    async def settle(self, until: float) -> None:
        """Sync once more, whatever the server does meanwhile, within the time."""
        while not await self.sync() and self._around.clock() < until:
            pass

    async def sync(self) -> bool:
        """Sync; tell whether it came to its end. What the server should never say is kept for the end."""
        try:
            await self.device.sync()
        except errors.Unreachable:
            self._around.meter.happened("gave up", self._around.clock())
        except errors.ClientError as error:
            self.faults[f"{type(error).__name__}: {error}"] += 1
        else:
            return True
        await self._around.machine.sleep(self._random.uniform(0, RETRY_SECONDS_MAX))
        return False

    @property
    def _absence(self) -> Span:
        begin, end = self._away or (0.0, 0.0)
        return self._began + begin, self._began + end

    def _away_for(self) -> float:
        """Return for how much longer the device is out of reach."""
        begin, end = self._absence
        now = self._around.clock()
        return end - now if begin <= now < end else 0.0


async def _first(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, but no longer than so many seconds; tell whether it came."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), max(seconds, 0.0))
    return event.is_set()
