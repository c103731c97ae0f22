"""The ledger of deliveries: each thing that a system has to be told, and all that came of it.

A worker leases deliveries for a time and names itself in whatever it changes; if its lease was lost, the
change does nothing and says so. Each step is a short transaction of its own, and none is open while
a vendor is spoken to. `sent` is stored before each request that changes something there: whoever finds
a delivery in that state knows that it may have happened.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from upstream import store
from upstream.delivery import State, Tries

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from upstream.store import Database, Session

LIST_MAX: Final = 501
"""How many are listed at a time: a full page, and one more that tells that there are more."""
ATTEMPT_CHARACTERS_MAX: Final = 10_000
"""How much of a request and of a reply is kept; both come redacted."""
MESSAGE_CHARACTERS_MAX: Final = 2_000
MOVED: Final = 0
COMES: Final = -1
"""In place of the number of an attempt, which begins with 1: none was made, for it would undo the vendor's own edit."""
COMES_SECONDS: Final = 120.0
"""For how long what a vendor said of an object, and cannot be taken in yet, keeps ours from being sent."""
LAST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"

_SQL: Final = store.statements("deliveries")
_REMOTES: Final = store.statements("remotes")
_OUTBOX: Final = store.statements("outbox")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is leased, with what is known of its object there.

    `unanswered`: a request went out and whoever sent it vanished before it noted an answer.
    `unresolved`: nobody knows what became of an earlier one of the same key. `late_object`, `late_key`:
    the closed object whose difference this one carries, which brings that one to `covers`. `told`: what was
    confirmed of the object last.
    """

    tenant_id: int
    delivery_id: str
    connection: str
    object: str
    key: str
    collection: str
    record_id: str
    cause_seq: int
    seen_seq: int
    action: Literal["upsert", "void"]
    lane: Literal["live", "backfill"]
    state: State
    mode: Literal["shadow", "live"]
    idempotency_key: str
    marker: str
    fields: dict[str, Any]
    mapping_version: int
    late_object: str | None
    late_key: str | None
    covers: dict[str, Any] | None
    sends: int
    reads: int
    conflicts: int
    tried: int
    marked_at: datetime
    remote_id: str
    remote_version: str
    told: dict[str, Any] | None
    age_ms: int
    since_sent_ms: int | None
    unresolved: bool
    unanswered: bool

    @property
    def tries(self) -> Tries:
        """What was tried so far: also what did not get out, so that the pauses grow."""
        return Tries(sends=self.tried - self.reads, reads=self.reads, conflicts=self.conflicts, age_ms=self.age_ms)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as people are shown it. `due_at` is when it is looked at next; None: not by itself."""

    tenant_id: int
    delivery_id: str
    connection: str
    object: str
    key: str
    collection: str
    record_id: str
    cause_seq: int
    seen_seq: int
    action: str
    lane: str
    state: State
    mode: str
    idempotency_key: str
    marker: str
    fields: dict[str, Any]
    mapping_version: int
    late_object: str | None
    late_key: str | None
    sends: int
    reads: int
    tried: int
    first_sent_at: datetime | None
    last_sent_at: datetime | None
    due_at: datetime | None
    remote_id: str | None
    remote_version: str | None
    error_class: str
    error_code: str
    error_message: str
    marked_at: datetime
    made_at: datetime
    ended_at: datetime | None
    superseded_by: str | None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a delivery. `outcome` is the kind of the reply, or `sent` where none was noted."""

    n: int
    at: datetime
    operation: str
    request: str
    status: int
    reply: str
    outcome: str
    took_ms: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a request and its reply were, redacted, for the list of attempts."""

    operation: str
    request: str
    status: int
    reply: str
    outcome: str
    took_ms: int


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why a delivery waits or was given up: the kind of the reply, the vendor's code, words for people."""

    kind: str = ""
    code: str = ""
    message: str = ""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries are asked for; what is empty asks for any. `before` is the id that a page ended with.

    `since` and `until` are about when it ended, or was last sent. `dead`: only those that wait for a person.
    """

    connection: str = ""
    states: tuple[State, ...] = ()
    object: str = ""
    key: str = ""
    before: str = LAST
    collection: str = ""
    record_id: str = ""
    error_class: str = ""
    error_code: str = ""
    since: datetime | None = None
    until: datetime | None = None
    dead: bool = False
    mode: str = ""


class Deliveries:
    """The ledger in the hands of one worker. `worker` is its UUID, `seconds` how long its leases last."""

    def __init__(self, database: Database, worker: str, *, seconds: float) -> None:
        self._database = database
        self._worker = worker
        self.seconds = seconds

    async def sent(self, delivery: Delivery, operation: str, seconds: float, *, if_moved: bool = False) -> int | None:
        """Store that a request goes out that may change something; None: the lease was lost, do not send.

        The lease lasts `seconds` from now on.
        Returns the number of the attempt. Or `MOVED`: the system itself has changed the record since this was made;
        or `COMES`: it may have, and what it said is about to be taken in. Do not send then. `if_moved`: send it all the
        same.
        """
        place = (*self._place(delivery), seconds, operation, if_moved, delivery.remote_id, COMES_SECONDS)
        async with self._database.transaction(delivery.tenant_id) as session:
            n: int | None = await session.fetchval(_SQL["sent"], *place)
        return n

    async def hold(self, delivery: Delivery, seconds: float) -> bool:
        """Let the lease last so long from now on; False if it was lost."""
        async with self._database.transaction(delivery.tenant_id) as session:
            return await session.fetchval(_SQL["hold"], *self._place(delivery), seconds) is not None

    async def answered(self, delivery: Delivery, n: int, told: Told) -> None:
        """Store what came back, whoever holds the lease now: an answer is evidence."""
        async with self._database.transaction(delivery.tenant_id) as session:
            await _answered(session, delivery, n, told)

    async def looked(self, delivery: Delivery, told: Told, *, counts: bool) -> bool:
        """Store that it was looked what stands there; False if the lease was lost. `counts`: something was seen."""
        cut = _cut(told)
        async with self._database.transaction(delivery.tenant_id) as session:
            n = await session.fetchval(
                _SQL["looked"],
                *self._place(delivery),
                self.seconds,
                cut.operation,
                cut.request,
                cut.status,
                cut.reply,
                cut.outcome,
                cut.took_ms,
                counts,
            )
        return n is not None

    async def rest(
        self, delivery: Delivery, state: State, *, wait_ms: int | None, trouble: Trouble, uncounted: int = 0
    ) -> bool:
        """Give it back, to be looked at again after so long, or (None) by a person only.

        `uncounted` sends did not reach the vendor. False if the lease was lost.
        """
        async with self._database.transaction(delivery.tenant_id) as session:
            done = await session.fetchval(
                _SQL["rest"],
                *self._place(delivery),
                state,
                wait_ms,
                trouble.kind,
                trouble.code,
                trouble.message[:MESSAGE_CHARACTERS_MAX],
                delivery.conflicts,
                delivery.remote_id,
                delivery.remote_version,
                uncounted,
            )
            if done is not None:
                await self._link(session, delivery)
        return done is not None

    async def reject(self, delivery: Delivery, trouble: Trouble, state: State = "rejected") -> bool:
        """Give it up, until a person takes it up again. False if the lease was lost."""
        async with self._database.transaction(delivery.tenant_id) as session:
            return await self._reject(session, delivery, trouble, state)

    async def closed(self, delivery: Delivery, trouble: Trouble, *, period: str | None = None) -> bool:
        """Note that the object is closed there, its period with it, and let what it should be be planned anew."""
        async with self._database.transaction(delivery.tenant_id) as session:
            if not await self._reject(session, delivery, trouble, "superseded"):
                return False
            await session.execute(_REMOTES["lock"], *_object(delivery), trouble.message or trouble.code)
            if period is not None:
                name = delivery.late_object or delivery.object
                await session.execute(_REMOTES["close"], *_object(delivery)[:2], name, period, trouble.code)
            await self._mark(session, delivery)
        return True

    async def again(self, delivery: Delivery, trouble: Trouble) -> bool:
        """Let it be planned anew, of what is known now."""
        async with self._database.transaction(delivery.tenant_id) as session:
            if not await self._reject(session, delivery, trouble, "superseded"):
                return False
            await self._mark(session, delivery)
        return True

    async def confirm(self, delivery: Delivery, *, settles: bool, answer: tuple[int, Told] | None = None) -> bool:
        """Store that it stands there, and wake what waited for it. False if the lease was lost.

        `settles`: what stands there is known now, also for earlier ones of the key of which nobody knew.
        `answer` is the attempt that it is known from, where that was not stored before. Raises
        `asyncpg.UniqueViolationError` if the id there already stands for another object of ours.
        """
        voided = delivery.action == "void"
        async with self._database.transaction(delivery.tenant_id) as session:
            if answer is not None:
                await _answered(session, delivery, *answer)
            place = (delivery.remote_id, delivery.remote_version)
            if await session.fetchval(_SQL["confirm"], *self._place(delivery), *place) is None:
                return False
            fields = store.as_json(delivery.fields)
            await session.execute(_REMOTES["confirmed"], *_object(delivery), *place, fields, delivery.seen_seq, voided)
            if delivery.late_object is not None and delivery.covers is not None:
                base = (delivery.tenant_id, delivery.connection, delivery.late_object, delivery.late_key)
                await session.execute(_REMOTES["covered"], *base, store.as_json(delivery.covers), delivery.seen_seq)
            if settles:
                await session.execute(
                    _SQL["settle_unknown"], delivery.tenant_id, delivery.delivery_id, *_object(delivery)[1:]
                )
            await session.execute(_OUTBOX["wake"], delivery.tenant_id, delivery.connection, delivery.record_id)
        return True

    async def _reject(self, session: Session, delivery: Delivery, trouble: Trouble, state: State) -> bool:
        said = (trouble.kind, trouble.code, trouble.message[:MESSAGE_CHARACTERS_MAX])
        if await session.fetchval(_SQL["reject"], *self._place(delivery), state, *said) is None:
            return False
        await self._link(session, delivery)
        return True

    async def _link(self, session: Session, delivery: Delivery) -> None:
        """Keep an id that was found: the next delivery of the key changes that object, and makes no second one."""
        if delivery.remote_id:
            place = (delivery.remote_id, delivery.remote_version)
            await session.execute(_REMOTES["link"], *_object(delivery), *place)

    async def _mark(self, session: Session, delivery: Delivery) -> None:
        key = store.columns([(delivery.collection, delivery.record_id)], 2)
        await session.execute(_OUTBOX["mark"], delivery.tenant_id, delivery.connection, *key, delivery.lane, _CORRECT)

    def _place(self, delivery: Delivery) -> tuple[int, str, str]:
        return delivery.tenant_id, delivery.delivery_id, self._worker


_CORRECT: Final = True


async def lease(
    session: Session, portions: Iterable[tuple[int, str, str, int]], *, worker: str, seconds: float
) -> list[Delivery]:
    """Take deliveries that are due, of each portion (tenant, connection, lane, how many) the oldest first."""
    taken = await session.fetch(_SQL["lease"], *store.columns(portions, 4), worker, seconds)
    if not taken:
        return []
    places = store.columns(((row["tenant_id"], row["delivery_id"]) for row in taken), 2)
    return [_leased(row) for row in await session.fetch(_SQL["leased"], *places)]


async def get(database: Database, tenant_id: int, delivery_id: str) -> Shown | None:
    """Return a delivery; None if there is none of this id."""
    async with database.transaction(tenant_id) as session:
        row = await session.fetchrow(_SQL["get"], tenant_id, delivery_id)
    return None if row is None else _shown(row)


async def listed(
    database: Database, tenant_id: int, asked: Filter | None = None, *, limit: int = LIST_MAX
) -> list[Shown]:
    """Return deliveries, newest first, at most `LIST_MAX`."""
    asked = asked or Filter()
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(
            _SQL["listed"],
            tenant_id,
            asked.connection,
            list(asked.states),
            asked.object,
            asked.key,
            asked.before,
            min(limit, LIST_MAX),
            asked.collection,
            asked.record_id,
            asked.error_class,
            asked.error_code,
            asked.since,
            asked.until,
            asked.dead,
            asked.mode,
        )
    return [_shown(row) for row in found]


async def of_record(
    database: Database, tenant_id: int, collection: str, record_id: str, *, limit: int = LIST_MAX
) -> list[Shown]:
    """Return what a record caused, newest first: its receipts."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["of_record"], tenant_id, collection, record_id, min(limit, LIST_MAX))
    return [_shown(row) for row in found]


async def attempts(database: Database, tenant_id: int, delivery_id: str) -> list[Attempt]:
    """Return the requests of a delivery, in order."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["attempts"], tenant_id, delivery_id)
    return [msgspec.convert(dict(row), Attempt) for row in found]


async def counts(database: Database, tenant_id: int) -> dict[tuple[str, str], int]:
    """Return how many deliveries there are by connection and state, without those that were overtaken."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["counts"], tenant_id)
    return {(row["connection"], row["state"]): row["deliveries"] for row in found}


async def _answered(session: Session, delivery: Delivery, n: int, told: Told) -> None:
    cut = _cut(told)
    said = (cut.request, cut.status, cut.reply, cut.outcome, cut.took_ms)
    await session.execute(_SQL["answered"], delivery.tenant_id, delivery.delivery_id, n, *said)


def _object(delivery: Delivery) -> tuple[int, str, str, str]:
    return delivery.tenant_id, delivery.connection, delivery.object, delivery.key


def _cut(told: Told) -> Told:
    return msgspec.structs.replace(
        told, request=told.request[:ATTEMPT_CHARACTERS_MAX], reply=told.reply[:ATTEMPT_CHARACTERS_MAX]
    )


def _leased(row: asyncpg.Record) -> Delivery:
    texts = {name: store.from_json(row[name]) for name in ("fields", "covers", "told")}
    return msgspec.convert({**dict(row), **texts}, Delivery)


def _shown(row: asyncpg.Record) -> Shown:
    return msgspec.convert({**dict(row), "fields": store.from_json(row["fields"])}, Shown)
