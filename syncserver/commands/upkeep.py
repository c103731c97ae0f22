"""What has to be done again and again for every tenant, by however many workers there are.

There is no leader. A worker looks which tasks are due for which tenants and takes them one by one:
a task of a tenant has a lock that nobody waits for, and what was done is noted in the database, so
each is done once in its interval, whoever does it. A turn is one transaction that takes a bounded
number of rows away. A task that has more to do stays due and is taken up again after all the others
had their turn. A worker that is killed leaves nothing half done: its turn never happened.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

import msgspec
import structlog

from syncserver.commands.upstream import pruning
from syncserver.store import db, people, proofs, upkeep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncserver.store.db import Connection, Database

Outcome = Literal["done", "more", "taken", "away", "failed"]

LOCKS: Final = 1718839500
"""The first half of the tasks' advisory locks is this plus the place of the task in `TASKS`."""

LOOK_SECONDS: Final = 10.0
"""How long a worker that has nothing to do waits before it looks again; less if the interval is less."""

TURNS_PER_LOOK_MAX: Final = 1_000

log = structlog.get_logger()


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How often, how much at once, and for how long things are kept."""

    seconds: int = 300
    rows: int = 1_000
    answers_days: int = 30
    credentials_days: int = 30
    marks_hours: int = 24
    inbox_days: int = 30
    messages_days: int = 30
    alerts_days: int = 90


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One task, done once for one tenant: what came of it, how many rows it took, how long it was.

    `more`: there is more to do. `taken`: another worker is at it, or has just done it. `away`: the
    database did not answer.
    """

    tenant_id: int
    task: str
    outcome: Outcome
    rows: int = 0
    seconds: float = 0.0


class Job(msgspec.Struct, frozen=True):
    """What a task has to work with: a transaction of the tenant, in which it holds its lock."""

    database: Database
    connection: Connection
    tenant_id: int
    rules: Rules


async def _answers(job: Job) -> int:
    rules = job.rules
    return await upkeep.prune_answers(job.connection, job.tenant_id, days=rules.answers_days, limit=rules.rows)


async def _credentials(job: Job) -> int:
    rules = job.rules
    return await upkeep.prune_credentials(job.connection, job.tenant_id, days=rules.credentials_days, limit=rules.rows)


async def _marks(job: Job) -> int:
    begun_ms = int((time.time() - job.rules.marks_hours * 3_600) * 1_000)
    oldest = str(UUID(int=max(0, begun_ms) << 80))
    return await upkeep.prune_marks(job.connection, job.tenant_id, oldest=oldest, limit=job.rules.rows)


async def _verdicts(job: Job) -> int:
    return await upkeep.trim_ledger(job.connection, job.tenant_id, limit=job.rules.rows)


async def _proofs(job: Job) -> int:
    await proofs.refresh(job.database, job.tenant_id)
    return 0


TASKS: Final[dict[str, Callable[[Job], Awaitable[int]]]] = {
    "answers": _answers,
    "credentials": _credentials,
    "marks": _marks,
    "verdicts": _verdicts,
    "proofs": _proofs,
    "events": pruning.events,
    "messages": pruning.messages,
    "alerts": pruning.over,
}
"""Every task by name; each returns how many rows it took, and has more to do if that is all it may."""

PLACES: Final = {task: place for place, task in enumerate(TASKS)}


class Upkeep:
    """Looks what is due and does it, until told to stop. `observe` is called after each turn."""

    def __init__(self, database: Database, rules: Rules, observe: Callable[[Turn], None]) -> None:
        self._database = database
        self._rules = rules
        self._observe = observe
        self._put_off: dict[tuple[int, str], float] = {}
        self.looked_at: float | None = None
        """When a look ended, by the monotonic clock; None before the first."""
        self.is_ready = False
        """Whether the database answered the last look."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. The turn that is under way is brought to its end."""
        while not stop.is_set():
            turns = await self.look(stop)
            if any(turn.outcome == "more" for turn in turns):
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(LOOK_SECONDS, self._rules.seconds))

    async def look(self, stop: asyncio.Event | None = None) -> list[Turn]:
        """Give each task that is due one turn, and return what came of them."""
        try:
            waiting = await self.due()
        except db.TRANSIENT as error:
            log.warning("upkeep_interrupted", error=type(error).__name__)
            self.is_ready, self.looked_at = False, time.monotonic()
            return []
        turns: list[Turn] = []
        for tenant_id, task in waiting:
            if stop is not None and stop.is_set():
                break
            turns.append(await self.turn(tenant_id, task))
            self.looked_at = time.monotonic()
            if turns[-1].outcome == "away":
                break
        self.is_ready = all(turn.outcome != "away" for turn in turns)
        self.looked_at = time.monotonic()
        return turns

    async def due(self) -> list[tuple[int, str]]:
        """Return what is due, tenant and task, without what has failed a short while ago."""
        tenants = [tenant.tenant_id for tenant in await people.tenants(self._database)]
        async with self._database.transaction(*tenants) as connection:
            found = await upkeep.due(
                connection, tenants, list(TASKS), seconds=self._rules.seconds, limit=TURNS_PER_LOOK_MAX
            )
        now = time.monotonic()
        self._put_off = {place: until for place, until in self._put_off.items() if until > now}
        return [place for place in found if place not in self._put_off]

    async def turn(self, tenant_id: int, task: str) -> Turn:
        """Do a task once for a tenant. What fails is told and put off, and keeps nobody else waiting."""
        begun, rows = time.monotonic(), 0
        outcome: Outcome = "failed"
        try:
            outcome, rows = await self._transact(tenant_id, task)
        except db.TRANSIENT as error:
            outcome = "away"
            log.warning("upkeep_interrupted", tenant=tenant_id, task=task, error=type(error).__name__)
        except Exception:
            log.exception("upkeep_failed", tenant=tenant_id, task=task)
            self._put_off[tenant_id, task] = begun + self._rules.seconds
        turn = Turn(tenant_id=tenant_id, task=task, outcome=outcome, rows=rows, seconds=time.monotonic() - begun)
        if rows:
            log.info("upkeep_turn", tenant=tenant_id, task=task, rows=rows, ms=round(turn.seconds * 1_000))
        self._observe(turn)
        return turn

    async def _transact(self, tenant_id: int, task: str) -> tuple[Outcome, int]:
        async with self._database.transaction(tenant_id) as connection:
            if not await upkeep.claim(connection, LOCKS + PLACES[task], tenant_id):
                return "taken", 0
            if not await upkeep.is_due(connection, tenant_id, task, seconds=self._rules.seconds):
                return "taken", 0
            rows = await TASKS[task](Job(self._database, connection, tenant_id, self._rules))
            if rows >= self._rules.rows:
                return "more", rows
            await upkeep.done(connection, tenant_id, task)
        return "done", rows
