"""The write protocol: one delivery, until it is known to stand there or has to wait.

What may have happened is never done again before it was looked whether it has. How that is found out
depends on the class of the write:

- `native`: the vendor knows a repeated key. Looked for once by its natural key, then sent again.
- `upsert`: addressed by our own key. Sent again.
- `versioned`: a write names the version that it replaces. Read, compared, sent again if it is not there.
- `search`: found by its mark, once the vendor's index had time to show it; sent if it is not there.
- `none`: cannot be found out. Stays `unknown`, for a person.

Each request that may change something is announced in the ledger first, and only goes out while the
lease is held. What decides between two steps is pure (`upstream.delivery`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

import asyncpg
import msgspec

from upstream import delivery, holes, replies
from upstream.deliveries import COMES, MOVED, Told, Trouble
from upstream.delivery import Next, Step
from upstream.knowledge import Later
from upstream.replies import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from upstream.deliveries import Deliveries, Delivery
    from upstream.inbox import Ended as TakenIn
    from upstream.manifest import Manifest, Target

    Absorb: TypeAlias = Callable[[Delivery, Any], Awaitable[TakenIn | Later | None]]

Purpose: TypeAlias = Literal["interactive", "normal", "backfill"]
Ended: TypeAlias = Literal["confirmed", "rejected", "unknown", "waiting", "superseded", "paused", "lost"]

PURPOSES: Final[dict[str, Purpose]] = {"live": "normal", "backfill": "backfill"}
STEPS_MAX: Final = 20
"""More steps than this are a circle: what then still is to be done is done after a pause."""
PAUSE_MS: Final = 60_000
LOOK_MS: Final = 2_000
"""How long what the vendor has just said is given to be taken in."""
REQUESTS_PER_LEASE: Final = 2
"""A lease has to outlast one call: the request, and its repetition with a new token."""

_ENDS: Final[dict[Next, Ended]] = {
    Next.CONFIRM: "confirmed",
    Next.REJECT: "rejected",
    Next.LATE: "superseded",
    Next.ASK: "unknown",
    Next.PAUSE: "paused",
    Next.SEND: "waiting",
    Next.READ: "waiting",
}
_OVERTAKEN: Final = {
    MOVED: Step(Next.LATE, 0, "the system itself has changed the record since this was made"),
    COMES: Step(Next.SEND, LOOK_MS, "what the system itself has said of it is being taken in"),
}


class Caller(Protocol):
    """Whoever carries out an operation of the manifest; `upstream.connector.Connector` does."""

    async def call(
        self,
        operation: str,
        values: Mapping[str, Any],
        *,
        remote: Mapping[str, Any] | None = None,
        key: str | None = None,
        purpose: Purpose = "normal",
    ) -> Reply:
        """Carry out the operation, and return what came of it; never raises for what a vendor does."""
        ...

    def pages(self, operation: str, values: Mapping[str, Any], *, purpose: Purpose = "normal") -> AsyncIterator[Reply]:
        """Yield the pages of a list; one that is not `ok` is the last."""
        ...


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a delivery for now. `lost`: the lease is another's, who goes on with it."""

    ended: Ended
    wait_ms: int = 0
    trouble: Trouble = Trouble()


class Found(msgspec.Struct, frozen=True):
    """What a look gave: the reply, and whether what was sent stands there (None: that is open).

    `item` is what stands there, None if nothing does. `theirs`: it is not what was told before either, so the vendor
    has changed it. `before` is the version that was known before the look.
    """

    reply: Reply
    stands: bool | None
    item: Any = None
    theirs: bool = False
    before: str = ""


async def carry(
    given: Delivery,
    manifest: Manifest,
    caller: Caller,
    ledger: Deliveries,
    *,
    jitter: Callable[[], float],
    absorb: Absorb | None = None,
) -> Outcome:
    """Carry a delivery as far as it goes. `jitter` gives numbers from 0 to 1.

    `absorb` takes in what the vendor itself has changed meanwhile; without it, that is overwritten.
    """
    return await _Writing(given, manifest, caller, ledger, jitter, absorb).run()


class _Writing:
    """One delivery on its way."""

    def __init__(
        self,
        given: Delivery,
        manifest: Manifest,
        caller: Caller,
        ledger: Deliveries,
        jitter: Callable[[], float],
        absorb: Absorb | None,
    ) -> None:
        self.delivery = given
        self.target: Target = manifest.targets[given.object]
        self.manifest = manifest
        self.caller = caller
        self.ledger = ledger
        self.jitter = jitter
        self.absorb = absorb
        self.trouble = Trouble()
        self.uncounted = 0
        self.in_doubt = given.state == "unknown"
        """Whether what was sent may stand there without anybody knowing."""
        self.answer: tuple[int, Told] | None = None
        """The attempt by which it is known to stand there: stored together with that."""
        self.closed: Trouble | None = None
        """What the vendor said when it would not take again what it may have taken before it closed the object."""
        self.lost_lease = False

    async def run(self) -> Outcome:
        """Take one step after the other until one ends it or has to wait."""
        step = self._first()
        for _ in range(STEPS_MAX):
            if step.next not in (Next.SEND, Next.READ) or step.wait_ms:
                return await self._end(step)
            step = await (self._send() if step.next is Next.SEND else self._look())
            if self.lost_lease:
                return Outcome(ended="lost")
        return await self._end(msgspec.structs.replace(step, wait_ms=PAUSE_MS))

    def _first(self) -> Step:
        """Nothing is sent over what may have happened already: then it is looked first."""
        if self.in_doubt and self.target.write == "none":
            return Step(Next.ASK, 0, "no answer came, and this vendor cannot be asked")
        if self.in_doubt:
            return Step(Next.READ, self._unripe_ms(unanswered=self.delivery.unanswered))
        if self.delivery.unresolved:
            return self._behind_an_open_one()
        if self.delivery.conflicts:
            return Step(Next.READ)
        if self.delivery.action == "void" and not self.delivery.remote_id:
            return Step(Next.READ)
        return Step(Next.SEND)

    def _behind_an_open_one(self) -> Step:
        """An earlier one of the object may stand there. Where that cannot be looked up a person has to say it first."""
        if self.target.write != "none":
            return Step(Next.READ)
        self.trouble = Trouble(kind="unknown", code="earlier_unknown")
        said = "it is not known whether an earlier state of it was taken: decide on that one first, then retry this one"
        return Step(Next.REJECT, 0, said)

    # Sending.

    async def _send(self) -> Step:
        operation = self._operation()
        if not operation:
            return Step(Next.REJECT, 0, "this cannot be done there by us; a person has to do it")
        # What may stand there is said to its end first; what is sent again under our own key can be made anew.
        if_moved = self.in_doubt and self.target.write != "upsert"
        n = await self.ledger.sent(self.delivery, operation, self._lease_seconds(operation), if_moved=if_moved)
        if n is None:
            self.lost_lease = True
            return Step(Next.READ)
        if n in (MOVED, COMES):
            self.trouble = Trouble()
            return _OVERTAKEN[n]
        self._now(tried=n, since_sent_ms=0)
        reply = await self._call(operation)
        if reply.kind == "ok":
            self.answer = (n, _told(operation, reply))
        else:
            await self.ledger.answered(self.delivery, n, _told(operation, reply))
        if not reply.sent:
            self.uncounted += 1
        return self._after(reply)

    def _lease_seconds(self, operation: str) -> float:
        """Return how long the lease has to last that an operation is carried out under."""
        return max(self.ledger.seconds, REQUESTS_PER_LEASE * self.manifest.operations[operation].seconds)

    def _operation(self) -> str:
        return delivery.operation(self.target, self.delivery.action, self.delivery.remote_id)

    async def _call(self, operation: str) -> Reply:
        remote = {"id": self.delivery.remote_id, "version": self.delivery.remote_version}
        return await self.caller.call(
            operation,
            self._values(),
            remote={name: value for name, value in remote.items() if value},
            key=self.delivery.idempotency_key,
            purpose=PURPOSES[self.delivery.lane],
        )

    def _values(self) -> dict[str, Any]:
        """Return what is sent. Where the system keeps what is not named, what was taken away is named as empty."""
        given = self.delivery
        if self.target.clears == "no" or given.action == "void" or not given.told:
            return given.fields
        return delivery.emptied(given.told, given.fields, None if self.target.clears == "null" else "")

    def _after(self, reply: Reply) -> Step:
        """Return what follows the answer to a write."""
        self._note(reply)
        if reply.code == replies.BUDGET_USED:
            # It is our own count that has to wait for its window: that is no failure, however often it happens.
            return Step(Next.SEND, reply.retry_after_ms + round(delivery.FIRST_WAIT_MS * self.jitter()))
        if reply.kind == "ok":
            self._known(reply.id, reply.version)
            return Step(Next.CONFIRM)
        decide = delivery.after_void if self.delivery.action == "void" else delivery.after_write
        step = decide(
            self.target.write, reply.kind, self.delivery.tries, asked_ms=reply.retry_after_ms, jitter=self.jitter()
        )
        if reply.kind == "conflict":
            self._now(conflicts=self.delivery.conflicts + 1)
        if reply.kind == "locked" and self.in_doubt:
            self.closed = self.trouble
            return Step(Next.READ)
        # Once in doubt, an answer that says no more than "not now" takes no doubt away.
        self.in_doubt = self.in_doubt or reply.kind in ("unknown", "duplicate")
        if step.next is Next.READ:
            unanswered = reply.kind == "unknown" and self._was_given_up(reply)
            return msgspec.structs.replace(step, wait_ms=max(step.wait_ms, self._unripe_ms(unanswered=unanswered)))
        return step

    def _was_given_up(self, reply: Reply) -> bool:
        operation = self.manifest.operations[self._operation()]
        return reply.took_ms >= operation.seconds * 1_000

    def _unripe_ms(self, *, unanswered: bool) -> int:
        """Return how long it must not be looked yet, because what happened would not be seen.

        A new row shows up in the vendor's index after a while. And where the vendor may still be at work on a
        request that nobody waits for any more, it gets as long again: what it then makes must not be made twice.
        """
        makes = self.target.write == "search" or (self.target.write == "versioned" and not self.delivery.remote_id)
        if not makes or not self.in_doubt:
            return 0
        lag_ms = round(self.target.index_lag_seconds * 1_000)
        operation = self.manifest.operations.get(self._operation())
        if unanswered and operation is not None:
            lag_ms += round(operation.seconds * 1_000)
        return max(0, lag_ms - (self.delivery.since_sent_ms or 0))

    # Looking.

    async def _look(self) -> Step:
        """Find out what stands there, in the way that the class allows."""
        target = self.target
        known = self.delivery.remote_id and target.read
        if self.closed is None and self._is_repeatable():
            return Step(Next.SEND)
        operation = target.read if known else target.find
        if not operation:
            return self._unseen()
        if not known and self._paths and not self._marks:
            return self._unseen()
        seconds = self._lease_seconds(operation)
        if seconds > self.ledger.seconds and not await self.ledger.hold(self.delivery, seconds):
            self.lost_lease = True
            return Step(Next.READ)
        reply = await self._call(operation)
        counts = reply.kind not in delivery.UNANSWERED
        if not await self.ledger.looked(self.delivery, _told(operation, reply), counts=counts):
            self.lost_lease = True
            return Step(Next.READ)
        self._now(reads=self.delivery.reads + counts, tried=self.delivery.tried + 1)
        found = self._found(reply, by_id=bool(known))
        return await self._follow(found)

    def _is_repeatable(self) -> bool:
        """Whether sending it again says more than a look: it is addressed by our own key, or the key is known there."""
        if self.target.write == "upsert":
            return self.delivery.action == "upsert"
        return self.target.write == "native" and self.in_doubt and self.delivery.reads > 0

    def _unseen(self) -> Step:
        """What follows where there is no way to look."""
        if self.delivery.action == "void" and self.closed is None:
            addressed = self.delivery.remote_id or self.target.write == "upsert"
            return Step(Next.SEND) if addressed else Step(Next.CONFIRM, 0, "nothing of it is known to be there")
        return Step(Next.ASK, 0, "it cannot be found out whether the vendor has it")

    def _found(self, reply: Reply, *, by_id: bool) -> Found:
        """Read what a look gave. What is found by its mark is remembered, so that it is changed and not made anew."""
        if reply.kind not in ("ok", "not_found", "gone"):
            return Found(reply, stands=None)
        # A search that shows nothing yet is no proof where the same request, under its key, may be repeated anyway.
        self.in_doubt = self.in_doubt and self.target.write == "native"
        if reply.kind != "ok":
            return Found(reply, stands=False)
        if by_id:
            item, remote_id, version = reply.item, self.delivery.remote_id, reply.version
        else:
            item, remote_id, version = self._match(reply)
        if item is None:
            return Found(reply, stands=False)
        self.in_doubt = False
        before = self.delivery.remote_version
        stands = delivery.stands(self._values(), item, self.target.compare)
        theirs = not stands and self._is_theirs(item, version)
        self._known(remote_id, version)
        return Found(reply, stands, item, theirs, before)

    def _is_theirs(self, item: Any, version: str) -> bool:
        """Whether the vendor has changed it since it was told. What an open one may have told is nobody's edit."""
        known = self.delivery
        if known.unresolved:
            return False
        if version and known.remote_version:
            return version != known.remote_version
        return known.told is not None and not delivery.stands(known.told, item, self.target.compare)

    @property
    def _paths(self) -> list[str]:
        """Where that stands by which it is known again; none where the look itself asks for this one alone."""
        return [path for path in (self.target.marker, self.target.natural_key) if path]

    @property
    def _marks(self) -> dict[str, Any]:
        return {path: mark for path in self._paths if (mark := holes.at(self._values(), path)) is not None}

    def _match(self, reply: Reply) -> tuple[Any, str, str]:
        """Return the item that bears our mark, its id and version: searches may give more than was asked for."""
        items = reply.items or ([reply.item] if isinstance(reply.item, dict) and reply.id else [])
        places = self.manifest.operations[self.target.find].answer
        for item in items:
            if all(delivery.stands(mark, holes.at(item, path)) for path, mark in self._marks.items()):
                return item, str(holes.at(item, places.id) or reply.id), str(holes.at(item, places.version) or "")
        return None, "", ""

    async def _follow(self, found: Found) -> Step:
        reply = found.reply
        self._note(reply)
        if self.closed is not None:
            return self._follow_closed(found, self.closed)
        if self.delivery.action == "void":
            return self._follow_void(found)
        met = found.theirs or self.delivery.conflicts > 0
        if found.stands is False and found.item is not None and met and self.absorb is not None:
            return await self._take_in(found, self.absorb)
        return self._after_read(found)

    def _after_read(self, found: Found) -> Step:
        return delivery.after_read(
            self.target.write,
            found.reply.kind,
            self.delivery.tries,
            found=found.stands,
            asked_ms=found.reply.retry_after_ms,
            jitter=self.jitter(),
        )

    async def _take_in(self, found: Found, absorb: Absorb) -> Step:
        """Take in the vendor's own edit before anything is written over it; while that cannot be, nothing is."""
        came = await absorb(self.delivery, found.item)
        if came is None or not (isinstance(came, Later) or came.state == "failed"):
            return Step(Next.LATE, 0, "the vendor has changed it too")
        # What was not taken in is not the state that ours replaces.
        self._now(remote_version=found.before, conflicts=max(1, self.delivery.conflicts))
        said = f"the vendor has changed it too, and that cannot be taken in: {came.reason}"
        if not isinstance(came, Later) or self.delivery.age_ms > delivery.AGE_MS_MAX:
            self.trouble = Trouble(kind="conflict", code="not_taken_in")
            return Step(Next.REJECT, 0, said)
        pause = delivery.wait_ms(self.delivery.tried, self.jitter())
        return Step(Next.SEND, max(round(came.seconds * 1_000), pause), said)

    def _follow_closed(self, found: Found, closed: Trouble) -> Step:
        """What follows the look at what was closed while nobody knew whether the last of it was taken before."""
        if found.reply.kind in delivery.UNANSWERED:
            return self._after_read(found)
        self.trouble = closed
        wanted = found.stands if self.delivery.action == "upsert" else found.item is None
        # A search that shows nothing is no proof where it may lag; that nothing is under an id is.
        if found.stands is None or (self.in_doubt and not (wanted and found.reply.kind != "ok")):
            return Step(Next.ASK, 0, "it is closed there, and it cannot be found out whether this was taken before")
        return Step(Next.CONFIRM) if wanted else delivery.PLAIN["locked"]

    def _follow_void(self, found: Found) -> Step:
        if found.reply.kind == "ok" and self.delivery.remote_id:
            return Step(Next.SEND)
        if found.stands is False:
            return Step(Next.CONFIRM)
        return delivery.after_read(
            self.target.write, found.reply.kind, self.delivery.tries, found=found.stands, jitter=self.jitter()
        )

    # Ending.

    async def _end(self, step: Step) -> Outcome:
        """Store what it came to."""
        if step.next is Next.CONFIRM:
            return await self._confirm()
        if step.next is Next.REJECT and self.in_doubt and self.target.write != "upsert":
            # It is refused now, and may have been taken before: another state of it must not be made beside it.
            step = Step(Next.ASK, 0, step.reason)
        trouble = self._trouble(step)
        ended = _ENDS[step.next]
        held = await self._store(step, trouble)
        return Outcome(ended=ended if held else "lost", wait_ms=step.wait_ms, trouble=trouble)

    async def _store(self, step: Step, trouble: Trouble) -> bool:
        match step.next:
            case Next.REJECT:
                return await self.ledger.reject(self.delivery, trouble)
            case Next.LATE if self.trouble.kind == "locked":
                period = holes.at(self._values(), self.target.period) if self.target.period else None
                return await self.ledger.closed(self.delivery, trouble, period=period)
            case Next.LATE:
                return await self.ledger.again(self.delivery, trouble)
            case Next.ASK:
                return await self._rest("unknown", None, trouble)
            case Next.READ:
                return await self._rest("unknown", step.wait_ms, trouble)
            case _:
                state: delivery.State = "unknown" if self.in_doubt else "planned"
                return await self._rest(state, step.wait_ms, trouble)

    async def _confirm(self) -> Outcome:
        try:
            settles = self.target.write != "none"
            held = await self.ledger.confirm(self.delivery, settles=settles, answer=self.answer)
        except asyncpg.UniqueViolationError:
            said = f"{self.delivery.remote_id} already stands for another object of ours"
            trouble = Trouble(kind="conflict", code="remote_id_taken", message=said)
            held = await self.ledger.reject(self.delivery, trouble)
            return Outcome(ended="rejected" if held else "lost", trouble=trouble)
        return Outcome(ended="confirmed" if held else "lost")

    async def _rest(self, state: delivery.State, wait_ms: int | None, trouble: Trouble) -> bool:
        return await self.ledger.rest(self.delivery, state, wait_ms=wait_ms, trouble=trouble, uncounted=self.uncounted)

    def _trouble(self, step: Step) -> Trouble:
        message = "; ".join(part for part in (step.reason, self.trouble.message) if part)
        return msgspec.structs.replace(self.trouble, message=message)

    def _note(self, reply: Reply) -> None:
        self.trouble = Trouble() if reply.kind == "ok" else _trouble_of(reply)

    def _known(self, remote_id: str, version: str) -> None:
        self._now(
            remote_id=remote_id or self.delivery.remote_id, remote_version=version or self.delivery.remote_version
        )

    def _now(self, **changed: Any) -> None:
        self.delivery = msgspec.structs.replace(self.delivery, **changed)


def _trouble_of(reply: Reply) -> Trouble:
    return Trouble(kind=reply.kind, code=reply.code or str(reply.status or ""), message=reply.message)


def _told(operation: str, reply: Reply) -> Told:
    return Told(
        operation=operation,
        request=reply.request,
        status=reply.status,
        reply=reply.raw or reply.message,
        outcome=reply.kind,
        took_ms=reply.took_ms,
    )
