"""The conversation of a device with the hub: enrol, push what is unsent, pull what is new.

Each answer is taken in one step of the store, so the device can be killed between any two of them.
What was under way is then simply said again: the hub knows a mutation by its number and repeats its
verdict, and a page that was not kept is asked for again from the same cursor.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from clients import errors, parcel
from clients.receipt import PATH as PATH_RECEIPT
from clients.receipt import Receipt
from clients.store import Enrolment
from clients.transport import Call, Reply
from replication import device, wire
from replication.catalog import Catalog
from replication.codes import CODES
from replication.verdict import MutationVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from clients.machine import Machine
    from clients.store import Key, Store
    from clients.transport import Transport
    from replication.mutation import Mutation

PATH_CATALOG: Final = "/v1/catalog"

STALLED_MAX: Final = 5
PLAIN: Final = device.Layout()
RESTARTS_MAX: Final = 3


class PushTold(msgspec.Struct, frozen=True):
    """What a device reads of the answer to a push."""

    applied: int
    verdicts: tuple[MutationVerdict, ...]
    limits: wire.Limits
    durable: int
    expected: int | None = None
    retry_after_ms: int | None = None


class Exchange:
    """One device's end of the conversation."""

    def __init__(self, store: Store, transport: Transport, machine: Machine) -> None:
        """Speak for the device whose file this is."""
        self._store = store
        self._transport = transport
        self._machine = machine
        self._layouts: dict[str, device.Layout] = {}
        self._laid_out: Catalog | None = None
        self._most: int | None = None

    async def enrol(self, code: str, name: str, platform: str | None) -> None:
        """Become a replica, a new one each time: unsent edits are numbered anew for it.

        What may have arrived under the old numbers is not sent again; it is set aside for the person.
        """
        unsure = await self._learn_settled()
        body = wire.EnrolRequest(code, name, platform)
        # Repeated, it would make a second replica, and a code may be good for one only.
        reply = await self._transport.send(Call(method="POST", path=wire.PATH_ENROL, body=body, repeatable=False))
        told = reply.decode(wire.EnrolAnswer)
        with self._step():
            records = self._store.records()
            self._store.enrol(
                Enrolment(told.replica, told.rid, told.token, told.refresh, told.epoch, told.schema, told.limits)
            )
            self._store.begin_replica(unsure)
            self._begin_scope()
            self._show(records)
        await self._fetch_catalog()

    async def _learn_settled(self) -> int:
        """Learn what became of the unsent under the old numbers, while they are good for anything.

        Return up to which number that remains unknown; 0 if all is known.
        """
        if self._store.enrolment() is None or not self._store.unsent(1):
            return 0
        try:
            for _ in range(RESTARTS_MAX):
                try:
                    await self._take_settled()
                except errors.EpochChanged as changed:
                    self._restart(await self._news(changed))
                except errors.BadCursor:
                    with self._step():
                        self._begin_scope()
                else:
                    return 0
        except errors.Refused:
            pass  # the old replica is heard no more: what was sent under its numbers stays unknown
        return self._store.sent()

    async def _take_settled(self) -> None:
        """Take the verdicts of all that was settled.

        A push was settled from its beginning. So from the first mutation on that the hub knows as another
        one, none of this device ever arrived.
        """
        applied = (await self._push([])).applied
        most = applied
        while most and (batch := [mutation for mutation in self._store.unsent(most) if mutation.n <= applied]):
            batch = parcel.cut(batch, self._enrolment().limits)
            try:
                self._settle(await self._push(batch))
            except errors.ReplicaForked:
                most = len(batch) // 2
            except (errors.TooSlow, errors.TooMuch) as refused:
                # Of what was settled each part has its verdict, so that a tx may be asked about in parts.
                most = max(len(batch) // 2, 1)
                if len(batch) == 1:
                    self._take_expired(batch, refused)
            else:
                self._require_progress(batch[0].n)

    def _require_progress(self, n: int) -> None:
        if [mutation.n for mutation in self._store.unsent(1)] == [n]:
            raise errors.NoProgress(f"mutation {n} was settled and gets no verdict")

    async def sync(self) -> None:
        """Push until nothing is unsent, then pull until nothing is new.

        A newer catalogue comes last: what was made under the old one has to go out as that. A device
        that begins anew pulls first, to the end: a hub believes nobody to have seen what it has not told them.
        """
        for _ in range(RESTARTS_MAX):
            try:
                if self._store.catalog() is None:
                    await self._fetch_catalog()
                if self._store.sweeping():
                    await self._pull_all()
                await self._push_all()
                await self._pull_all()
                return await self._fetch_catalog()
            except errors.EpochChanged as changed:
                self._restart(await self._news(changed))
            except errors.BadCursor:
                # The hub knows its own seal no longer. What is in scope can always be read anew.
                with self._step():
                    self._begin_scope()
        raise errors.NoProgress(f"the server had the device begin again {RESTARTS_MAX} times in a row")

    # Push.

    async def receipt(self, collection: str, record_id: str) -> Receipt:
        """Ask what became of a record at the systems of the business."""
        path = PATH_RECEIPT.format(collection=collection, record_id=record_id)
        return (await self._send(Call(method="GET", path=path))).decode(Receipt)

    async def _push_all(self) -> None:
        stalled = 0
        while batch := self._batch():
            try:
                told = await self._push(batch)
            except (errors.TooSlow, errors.TooMuch) as refused:
                await self._send_less(batch, refused)
                continue
            self._most = None if self._most is None or len(batch) < self._most else 2 * self._most
            self._settle(told)
            self._recall(told.expected)
            left = self._store.unsent(1)
            stalled = stalled + 1 if left and left[0].n == batch[0].n else 0
            if stalled == STALLED_MAX:
                raise errors.NoProgress(f"mutation {batch[0].n} was sent {STALLED_MAX} times and got no verdict")
            await self._transport.pause(told.retry_after_ms or 0)

    async def _send_less(self, batch: list[Mutation], refused: errors.TooSlow | errors.TooMuch) -> None:
        """Halve the next push. What is too large alone is given up, so that it blocks nothing behind it."""
        if len(list(parcel.runs(batch))) > 1:
            self._most = max(len(batch) // 2, 1)
        elif isinstance(refused, errors.TooSlow) or batch[0].n in self._store.withheld():
            raise refused
        else:
            await self._withhold(batch)

    async def _withhold(self, batch: list[Mutation]) -> None:
        """Say something short in place of mutations that are too large, or learn that they arrived when they were not.

        What was settled has its verdict, which is told to nobody who cannot send the mutation again.
        """
        applied = (await self._push([])).applied
        with self._step():
            if applied < batch[0].n:
                self._store.withhold(mutation.n for mutation in batch)
                return
            self._expire(batch)
            self._begin_scope()

    def _take_expired(self, batch: list[Mutation], refused: errors.TooSlow | errors.TooMuch) -> None:
        """Give up asking about what the hub will not hear again; a faster network may still carry it."""
        if isinstance(refused, errors.TooSlow):
            raise refused
        with self._step():
            self._expire(batch)

    def _expire(self, batch: list[Mutation]) -> None:
        for mutation in batch:
            verdict = self._expired(mutation)
            self._store.acknowledge(verdict)
            self._take_verdict(mutation, verdict)

    def _expired(self, mutation: Mutation) -> MutationVerdict:
        return MutationVerdict(
            n=mutation.n,
            verdict="refused",
            schema=self._enrolment().schema,
            collection=mutation.collection,
            id=mutation.id,
            rev=0,
            code="verdict_expired",
            message=CODES["verdict_expired"],
        )

    def _batch(self) -> list[Mutation]:
        """Return the next push. What could still be undone must not be sent: its number would be given twice."""
        self._require_no_open_edits()
        limits = self._enrolment().limits
        # A tx that begins as the last of a push is sent whole.
        if self._most is not None:
            limits = msgspec.structs.replace(limits, mutations=min(limits.mutations, self._most))
        return parcel.cut(self._store.unsent(limits.mutations + limits.tx), limits)

    async def _push(self, batch: list[Mutation]) -> PushTold:
        machine, catalog = self._machine, self._store.catalog()
        if batch and batch[-1].n > self._store.sent():
            with self._step():
                self._store.mark_sent(batch[-1].n)
        withheld = self._store.withheld()
        body = wire.SentPush(
            epoch=self._enrolment().epoch,
            schema=catalog.version if catalog else 0,
            cursor=self._store.cursor(),
            verdicts_seen=self._store.verdicts_seen(),
            clock=wire.Clock(machine.now_ms(), machine.mono_ms(), machine.zone),
            mutations=tuple(
                wire.Withheld.of(mutation) if mutation.n in withheld else device.as_sent(mutation, contexts=False)
                for mutation in batch
            ),
        )
        reply = await self._send(Call(method="POST", path=wire.PATH_PUSH, body=body, divisible=True))
        return reply.decode(PushTold)

    def _settle(self, told: PushTold) -> None:
        """Take all verdicts of one answer; one that was taken before says nothing new."""
        with self._step():
            for verdict in told.verdicts:
                mutation = self._store.acknowledge(verdict)
                if mutation is not None:
                    self._take_verdict(mutation, verdict)
            self._store.trim(told.durable)
            schema = max([self._enrolment().schema, *(verdict.schema for verdict in told.verdicts)])
            self._store.enrol(msgspec.structs.replace(self._enrolment(), limits=told.limits, schema=schema))

    def _take_verdict(self, mutation: Mutation, verdict: MutationVerdict) -> None:
        copy = self._store.copy((mutation.collection, mutation.id))
        layout = self.layout(mutation.collection)
        copy = device.settle(copy, layout, mutation, verdict)
        self._store.save(copy, device.view(copy, layout))

    def _recall(self, expected: int | None) -> None:
        """Send again what the hub says it has never had."""
        if expected is None or expected > self._store.verdicts_seen():
            return
        with self._step():
            lost = self._store.recall(expected - 1)
            self._show(self._store.records())
        if lost:
            raise errors.HistoryLost(f"the server asks for mutation {expected}; {lost} from there on are not kept")

    # Pull.

    async def _pull_all(self) -> None:
        more = True
        while more:
            body = wire.PullRequest(cursor=self._store.cursor())
            reply = await self._send(Call(method="POST", path=wire.PATH_PULL, body=body))
            page = reply.decode(wire.PullAnswer)
            self._take_page(page)
            more = page.more
            await self._transport.pause(page.retry_after_ms or 0 if more else 0)

    def _take_page(self, page: wire.PullAnswer) -> None:
        """Take a page and its cursor together; after the last one nothing older can come."""
        with self._step():
            for commit in page.commits:
                for change in commit.changes:
                    self._take_change(change, commit.seq)
            self._store.set_cursor(page.cursor)
            self._store.trim(page.durable)
            if not page.more:
                self._drop_doubted()
                self._store.purge()

    def _take_change(self, change: wire.Change, seq: int) -> None:
        copy = self._store.copy((change.collection, change.id))
        layout = self.layout(change.collection)
        match change.op:
            case "put" | "enter":
                fields = change.fields if isinstance(change.fields, dict) else {}
                copy = device.put(copy, layout, change.rev, fields, seq)
            case "delete":
                copy = device.delete(copy, change.rev, seq)
            case "leave":
                copy = device.leave(copy, seq)
            case _:
                raise errors.Unintelligible(f"a change with op {change.op!r}")
        self._store.save(copy, device.view(copy, layout), fresh=change.op in ("put", "enter"))

    def _drop_doubted(self) -> None:
        for key in self._store.doubted():
            copy = self._store.copy(key)
            copy = device.leave(copy, copy.told_at)
            self._store.save(copy, device.view(copy, self.layout(key[0])))

    # The hub begins again, or says something new about itself.

    async def _news(self, changed: errors.EpochChanged) -> EpochNews:
        """Return what the restored hub still knows; a pull may tell the epoch alone, a push is told all."""
        if "applied" not in changed.document:
            try:
                await self._push([])
            except errors.EpochChanged as told:
                changed = told
        try:
            return msgspec.convert(changed.document, EpochNews)
        except msgspec.ValidationError as exc:
            raise errors.Unintelligible(f"epoch_changed: {exc}") from exc

    def _restart(self, news: EpochNews) -> None:
        """Take up the conversation with a hub that was restored: what it lost is unsent again."""
        with self._step():
            lost = self._store.recall(news.applied)
            for key in self._store.records():
                copy = device.restart(self._store.copy(key), news.position)
                for mutation in copy.edits:
                    self._store.replace(mutation)
                self._store.save(copy, device.view(copy, self.layout(key[0])))
            self._begin_scope()
            self._store.enrol(msgspec.structs.replace(self._enrolment(), epoch=news.epoch))
        if lost:
            raise errors.HistoryLost(f"the server was restored; {lost} mutations after {news.applied} are not kept")

    def _begin_scope(self) -> None:
        """Pull everything in scope anew; what does not come again has left it."""
        self._store.set_cursor(None)
        self._store.doubt()

    async def _fetch_catalog(self) -> None:
        """Get the catalogue if there is none, or a verdict spoke of another one."""
        known = self._store.catalog()
        if known is not None and known.version == self._enrolment().schema:
            return
        catalog = (await self._send(Call(method="GET", path=PATH_CATALOG))).decode(Catalog)
        with self._step():
            self._store.set_catalog(catalog)
            self._store.enrol(msgspec.structs.replace(self._enrolment(), schema=catalog.version))
            self._show(self._store.records())

    async def _send(self, call: Call) -> Reply:
        """Send under the device's token, and renew it once if it is no longer good."""
        try:
            return await self._transport.send(msgspec.structs.replace(call, token=self._enrolment().token))
        except errors.NotAuthorised:
            await self._renew()
            return await self._transport.send(msgspec.structs.replace(call, token=self._enrolment().token))

    async def _renew(self) -> None:
        body = wire.RefreshRequest(self._enrolment().refresh)
        reply = await self._transport.send(Call(method="POST", path=wire.PATH_REFRESH, body=body))
        told = reply.decode(wire.RefreshAnswer)
        with self._step():
            self._store.enrol(msgspec.structs.replace(self._enrolment(), token=told.token, refresh=told.refresh))

    # What the steps share.

    def layout(self, collection: str) -> device.Layout:
        """Return how the collection is laid out; one that no catalogue names has plain fields."""
        catalog = self._store.catalog()
        if catalog is not self._laid_out:
            known = catalog.collections.items() if catalog else ()
            self._layouts = {name: device.layout_of(declared) for name, declared in known}
            self._laid_out = catalog
        return self._layouts.get(collection, PLAIN)

    def _show(self, keys: Iterable[Key]) -> None:
        for key in keys:
            copy = self._store.copy(key)
            self._store.save(copy, device.view(copy, self.layout(key[0])))

    def _enrolment(self) -> Enrolment:
        enrolment = self._store.enrolment()
        if enrolment is None:
            raise errors.NotEnrolled("enrol this device with a code from the office first")
        return enrolment

    @contextmanager
    def _step(self) -> Iterator[None]:
        self._require_no_open_edits()
        with self._store.transaction():
            yield

    def _require_no_open_edits(self) -> None:
        assert not self._store.busy, "a transaction of edits is open: end it before anything is awaited"


class EpochNews(msgspec.Struct, frozen=True):
    """What a restored hub still knows: its new epoch, this device's counter, its position."""

    epoch: str
    applied: int
    position: int
