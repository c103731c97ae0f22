"""The coalescing committers: every write of every kind goes through here.

Submissions wait in one queue. A few committers each take what is waiting, up to a limit, and settle
it as one group: one database transaction, a constant number of statements, one pass of the rules.
There is no timer: an idle committer begins at once, so a lone push waits for nobody, and under load
groups grow by themselves while the committers are busy.

A group that fails is settled again one submission at a time, so that a poisoned one fails alone. A
failure that says nothing about what was asked (a broken connection, a deadlock) is tried again. If
the connection broke during COMMIT, whether the group was settled is found out by settling it again:
devices are known by their numbers, every other submission by a mark that is written with it.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec
import stamina
import structlog
from uuid_utils.compat import uuid7

from replication import hub
from replication.state import Answer, Submission
from syncserver import notify
from syncserver.commands import words
from syncserver.commands.errors import (
    CommandError,
    NoCatalogue,
    Overloaded,
    SubmissionFailed,
    Unavailable,
    UnknownReplica,
)
from syncserver.store import audit, db, group
from syncserver.store.catalogs import Catalogs

if TYPE_CHECKING:
    from collections.abc import Callable

    from replication.state import State
    from syncserver.store.db import Database

PUSHES_PER_GROUP_MAX: Final = 32
MUTATIONS_PER_GROUP_MAX: Final = 2_000
MUTATIONS_PER_TURN: Final = 100
QUEUE_MAX: Final = 2_000
ATTEMPTS_MAX: Final = 6
BACK_OFF_SECONDS: Final = 0.05
BACK_OFF_SECONDS_MAX: Final = 1.0
RETRY_AFTER_MS: Final = 1_000
FRAMES_LOGGED: Final = 4
MARK_KEPT_MS: Final = 60 * 60 * 1_000
"""How long a mark is kept: far longer than all attempts at one submission can take."""

log = structlog.get_logger()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds the committers."""

    pushes_per_group: int = PUSHES_PER_GROUP_MAX
    mutations_per_group: int = MUTATIONS_PER_GROUP_MAX
    queue: int = QUEUE_MAX
    attempts: int = ATTEMPTS_MAX


class Pending(msgspec.Struct, eq=False):
    """A submission that waits. `outcome` is that of the last attempt, which may have been in vain."""

    tenant_id: int
    submission: Submission
    answer: asyncio.Future[Answer]
    mark: str | None
    request: str | None = None
    put_back: bool = False
    outcome: Answer | CommandError | None = None


class Committers:
    """A queue and the few tasks that empty it. Started and stopped by the app."""

    def __init__(
        self,
        database: Database,
        *,
        count: int = db.COMMITTERS,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._count = count
        self._limits = limits or Limits()
        self._clock = clock
        self._catalogs = Catalogs()
        self._queue: deque[Pending] = deque()
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        """Start the committers."""
        self._tasks = [asyncio.create_task(self._run(), name=f"committer-{i}") for i in range(self._count)]

    async def stop(self) -> None:
        """Settle what is queued, then end. What comes from now on is turned away."""
        self._stopping = True
        self._arrived.set()
        await asyncio.gather(*self._tasks)

    async def submit(self, tenant_id: int, submission: Submission) -> Answer:
        """Have a submission settled, and return its answer once that is committed.

        One that does not say when it was received is received now.
        """
        if self._stopping:
            raise Unavailable("the server is stopping", retry_after_ms=RETRY_AFTER_MS)
        if len(self._queue) >= self._limits.queue:
            raise Overloaded("too many submissions are waiting", retry_after_ms=RETRY_AFTER_MS)
        if not submission.received:
            submission = msgspec.structs.replace(submission, received=int(self._clock() * 1_000))
        mark = None if submission.numbered else str(uuid7())
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        pending = Pending(tenant_id, submission, answer, mark, audit.request_id())
        self._queue.append(pending)
        self._arrived.set()
        return await pending.answer

    async def _run(self) -> None:
        """Take a group, settle it, and again, until stopped and nothing waits."""
        while True:
            if batch := self._take():
                await self._settle(batch)
            elif self._stopping:
                return
            else:
                self._arrived.clear()
                await self._arrived.wait()

    def _take(self) -> list[Pending]:
        """Take the next group from the queue, oldest first.

        Of a group's locks only that of the lowest tenant is waited for. So that nobody is put back
        for ever, whoever was put back once gets a group in which their tenant is the lowest.
        """
        batch: list[Pending] = []
        passed: list[Pending] = []
        lowest = mutations = 0
        limits = self._limits
        while self._queue and len(batch) < limits.pushes_per_group and mutations < limits.mutations_per_group:
            pending = self._queue.popleft()
            if not batch and pending.put_back:
                lowest = pending.tenant_id
            if pending.tenant_id < lowest:
                passed.append(pending)
            elif not pending.answer.done():
                batch.append(pending)
                mutations += len(pending.submission.mutations)
        self._queue.extendleft(reversed(passed))
        return batch

    async def _settle(self, batch: list[Pending]) -> None:
        """Settle a group; if that fails for a reason that lasts, each submission alone."""
        try:
            await self._try(batch)
        except db.TRANSIENT as error:
            log.warning("group_gave_up", submissions=len(batch), error=type(error).__name__)
            for pending in batch:
                _fail(pending, Unavailable("the database did not answer", retry_after_ms=RETRY_AFTER_MS), error)
        except Exception as error:  # noqa: BLE001 - what one of them caused must not reach the others
            # The error itself is not logged: PostgreSQL quotes the failing row in it.
            where = traceback.format_tb(error.__traceback__)[-FRAMES_LOGGED:]
            log.critical("group_failed", submissions=len(batch), error=type(error).__name__, where=where)
            if len(batch) == 1:
                _fail(batch[0], SubmissionFailed("the submission could not be settled"), error)
                return
            for pending in batch:
                await self._settle([pending])

    async def _try(self, batch: list[Pending]) -> None:
        """Settle a group in one transaction, again and again while the failure is a passing one."""
        left: list[Pending] = []
        async for attempt in stamina.retry_context(
            on=db.TRANSIENT,
            attempts=self._limits.attempts,
            timeout=None,
            wait_initial=BACK_OFF_SECONDS,
            wait_max=BACK_OFF_SECONDS_MAX,
            wait_jitter=BACK_OFF_SECONDS,
        ):
            with attempt:
                left = await self._transact(batch)
        for pending in left:
            pending.put_back = True
        self._queue.extendleft(reversed(left))
        for pending in batch:
            if pending.outcome is not None and pending not in left:
                _deliver(pending, pending.outcome)

    async def _transact(self, batch: list[Pending]) -> list[Pending]:
        """Run the four statements; return those whose tenant is busy in another group."""
        now_ms = int(self._clock() * 1_000)
        async with self._database.committing() as connection, connection.transaction():
            got = set(await group.lock(connection, {pending.tenant_id for pending in batch}))
            mine = [pending for pending in batch if pending.tenant_id in got]
            asked = [group.Asked(pending.tenant_id, pending.submission, pending.mark) for pending in mine]
            found = await group.read(connection, asked, self._catalogs)
            fresh = [pending for pending in mine if pending.mark not in found.marks]
            for pending in fresh:
                pending.outcome = await _judge(pending, found.states.get(pending.tenant_id))
            marks = [(pending.tenant_id, pending.mark) for pending in fresh if pending.mark]
            await group.write(connection, found, marks, prune=_oldest_mark(now_ms), hint=_hint(found))
            if entries := list(words.said(fresh, found)):
                await audit.record_all(connection, entries)
        return [pending for pending in batch if pending.tenant_id not in got]


async def _judge(pending: Pending, state: State | None) -> Answer | CommandError:
    """Judge one submission after those before it."""
    if state is None:
        return NoCatalogue(f"tenant {pending.tenant_id} has no catalogue")
    if pending.submission.rid not in state.replicas:
        return UnknownReplica(f"tenant {pending.tenant_id} has no replica {pending.submission.rid}")
    answer = hub.judge(state, pending.submission)
    for fault in state.faults:
        # As above: the error itself may quote what somebody wrote.
        where = traceback.format_tb(fault.__traceback__)[-FRAMES_LOGGED:]
        log.critical("mutation_faulted", tenant=pending.tenant_id, error=type(fault).__name__, where=where)
    state.faults.clear()
    if len(pending.submission.mutations) >= MUTATIONS_PER_TURN:
        await asyncio.sleep(0)  # other requests of this process must not wait for a long push
    return answer


def _deliver(pending: Pending, outcome: Answer | CommandError) -> None:
    if isinstance(outcome, CommandError):
        _fail(pending, outcome, None)
    elif not pending.answer.done():
        pending.answer.set_result(outcome)


def _fail(pending: Pending, error: CommandError, cause: Exception | None) -> None:
    if not pending.answer.done():
        error.__cause__ = cause
        pending.answer.set_exception(error)


def _oldest_mark(now_ms: int) -> str:
    """Return the UUID, ordered by time, below which marks are pruned."""
    return str(UUID(int=max(0, now_ms - MARK_KEPT_MS) << 80))


def _hint(found: group.Read) -> str:
    """Return whom the group has something new for."""
    return notify.encode(
        notify.Hint(tenant, state.seq, tuple(sorted({row.reader for row in state.effects.feed})))
        for tenant, state in found.states.items()
        if state.effects.feed
    )
