"""A device of a searched world: the reference client itself, on a file in memory.

A state of the device is all rows of all tables of its file, and beside them what its person has seen. A step loads
the rows, lets the client do what it does between two awaits, and reads the rows again; the network is not there, so
that a request is caught where it would leave. Nothing else of the client survives from one step to the next, which
is what a kill leaves of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import msgspec

from clients.device import Device
from clients.exchange import Exchange, PushTold
from clients.machine import Machine
from clients.store import Enrolment, Store
from clients.transport import Call
from replication import wire
from replication.mutation import Mutation
from replication.state import Submission
from replication.verdict import MutationVerdict
from tests.exhaustive.hub_side import EPOCH, Page, Reply, Request
from tests.exhaustive.truth import NOBODY, Broken, Known, Place
from tests.exhaustive.watch import Seen
from tests.exhaustive.worlds import JOB, JOBS, Deed, World

Rows = tuple[tuple[Any, ...], ...]
KEY: Final = (JOBS, JOB)


class Killed(Exception):
    """The device's process ended inside a step."""


class Caught(Exception):
    """A request that would have left the device."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.path)
        self.call = call


@dataclass(frozen=True)
class Phone:
    """One moment of a device. `told` is the highest seq it ever heard of; `waiting` what its unanswered edits saw."""

    rid: int
    rows: tuple[Rows, ...]
    shown: Mapping[Place, Known]
    waiting: Seen
    told: int
    content: Content = field(compare=False)

    @property
    def unsent(self) -> list[Mutation]:
        """Its edits without a verdict."""
        return self.content.unsent

    @property
    def answered(self) -> Mapping[int, MutationVerdict]:
        """The verdicts it has."""
        return self.content.answered

    @property
    def last_n(self) -> int:
        """The last number that it gave."""
        return self.content.last_n

    @property
    def cursor(self) -> int:
        """Up to where it has pulled."""
        return int(self.content.cursor or 0)

    @property
    def screen(self) -> Mapping[str, Any] | None:
        """What the person is shown of the record."""
        return self.content.screen


@dataclass(frozen=True)
class Content:
    """What is read off the rows once, because every state that has them asks for it."""

    unsent: list[Mutation]
    answered: Mapping[int, MutationVerdict]
    last_n: int
    cursor: str | None
    screen: Mapping[str, Any] | None


class Handset:
    """The client with nothing in its pocket: `phone` states are put into it for one step each."""

    def __init__(self, world: World, rid: int) -> None:
        """Make the file, enrolled and with the catalogue."""
        self._world, self._rid = world, rid
        self._n = 0
        machine = Machine(
            now_ms=lambda: 0,
            mono_ms=lambda: 0,
            sleep=_never_sleeps,
            jitter=lambda: 0.0,
            new_id=lambda: f"tx-{rid}-{self._n}",
            zone="UTC",
        )
        self._store = Store(":memory:")
        self._device = Device(self._store, _Wire(), machine)  # type: ignore[arg-type]  # it only has to catch
        self._exchange: Exchange = self._device._exchange
        tables = self._store._all(
            "SELECT m.name, count(*) FROM sqlite_master AS m JOIN pragma_table_info(m.name)"
            " WHERE m.type = 'table' GROUP BY m.name ORDER BY 1"
        )
        self._tables = {name: "1, 2" if columns > 1 else "1" for name, columns in tables}
        with self._store.transaction():
            self._store.enrol(Enrolment(f"replica-{rid}", rid, "token", "refresh", EPOCH, 1, wire.Limits()))
            self._store.set_catalog(world.catalog)
        self._loaded: tuple[Rows, ...] = self._rows()

    def begin(self, page: Page) -> Phone:
        """Return the device after its first pull."""
        blank = Phone(self._rid, self._loaded, {}, {}, 0, self._content())
        return self.take_page(blank, page)

    # What the person does.

    def edit(self, phone: Phone, deed: Deed) -> Phone:
        """Let the person do something; nothing is sent yet."""
        self._load(phone)
        n = self._n = phone.last_n + 1
        shown = phone.screen or {}
        mark = f"{chr(ord('a') + self._rid - 10)}{n}"
        fields = {
            name: value(mark, shown.get(name)) if callable(value) else value for name, value in deed.fields.items()
        }
        if deed.tx:
            with self._device.transaction():
                for name, value in fields.items():
                    self._device.edit(JOBS, JOB, **{name: value})
        elif deed.do:
            for name, op in deed.do.items():
                made = {each: value(mark, None) if callable(value) else value for each, value in op.items()}
                self._device.do(JOBS, JOB, name, made)
        else:
            self._device.edit(JOBS, JOB, **fields)
        return self._saw(self._after(phone, phone.shown, phone.told), phone)

    def _saw(self, after: Phone, before: Phone) -> Phone:
        """Note what the person had seen of each cell: what the first unanswered edit of it had."""
        waiting = dict(before.waiting)
        for mutation in after.unsent[len(before.unsent) :]:
            seen = {}
            for cell in {*mutation.set, *mutation.do}:
                first = next((waiting[n] for n in sorted(waiting) if (JOB, cell) in waiting[n]), before.shown)
                seen[JOB, cell] = first.get((JOB, cell), NOBODY)
            waiting[mutation.n] = seen
        return replace(after, waiting=waiting)

    # What goes out and comes in.

    def lengths(self, phone: Phone) -> list[int]:
        """Return how long the next push may be: any number of edits that parts no tx."""
        unsent = phone.unsent
        ends = [n for n, (each, after) in enumerate(pairwise(unsent), 1) if each.tx is None or each.tx != after.tx]
        return [*ends, len(unsent)] if unsent else []

    def request(self, phone: Phone, length: int) -> Request:
        """Return the next push with so many of the unsent edits."""
        self._load(phone)
        batch = self._exchange._batch()[:length]
        body = self._caught(self._exchange._push(batch)).body
        asked = wire.decode_push(msgspec.json.encode(body), wire.Limits())
        submission = Submission(
            rid=self._rid,
            person=f"person-{self._rid}",
            authority="device",
            mutations=asked.mutations,
            served=int(asked.cursor or 0),
        )
        return Request(submission, {m.n: phone.waiting[m.n] for m in asked.mutations})

    def take_answer(self, phone: Phone, reply: Reply) -> Phone:
        """Let an answer arrive."""
        self._load(phone)
        told = msgspec.json.decode(reply.body, type=PushTold)
        self._exchange._settle(told)
        self._exchange._recall(told.expected)
        shown = dict(phone.shown)
        highest = phone.told
        for verdict in told.verdicts:
            for cell, each in verdict.cells.items():
                if each.seq > 0:
                    shown[JOB, cell] = shown.get((JOB, cell), NOBODY) | reply.knows[verdict.n][JOB, cell]
                    highest = max(highest, each.seq)
        after = self._after(phone, shown, highest)
        kept = {mutation.n for mutation in after.unsent}
        return replace(after, waiting={n: seen for n, seen in phone.waiting.items() if n in kept})

    def take_page(self, phone: Phone, page: Page) -> Phone:
        """Let a page arrive."""
        self._load(phone)
        told = msgspec.json.decode(page.body, type=wire.PullAnswer)
        self._exchange._take_page(told)
        shown = {
            place: phone.shown.get(place, NOBODY) | known for place, known in {**phone.shown, **page.knows}.items()
        }
        highest = max([phone.told, int(told.cursor)])
        return self._after(phone, shown, highest)

    def die(self, phone: Phone, deed: Deed) -> None:
        """Kill the device in the middle of an edit: nothing of it may be left."""
        self._load(phone)
        try:
            with self._store.transaction():
                self.edit(phone, deed)
                raise Killed  # noqa: TRY301  (it stands for a kill here, not for a fault that a function reports)
        except Killed:
            left = self._loaded = self._rows()
        if left != phone.rows:
            raise Broken("a step of the device is whole or not at all", str(left))

    def hear_again(self, phone: Phone) -> None:
        """Tell the device once more all that it was told of its edits: it must be as before."""
        self._load(phone)
        verdicts = tuple(phone.answered.values())
        self._exchange._settle(PushTold(applied=phone.last_n, verdicts=verdicts, limits=wire.Limits(), durable=0))
        self._loaded = self._rows()
        if self._loaded != phone.rows:
            raise Broken("a verdict that comes again changes nothing", str(verdicts))

    # The file.

    def _load(self, phone: Phone) -> None:
        """Put a state into the file, unless it is there already."""
        if self._loaded == phone.rows:
            return
        self._loaded = ()
        with self._store.transaction():
            for name, rows in zip(self._tables, phone.rows, strict=True):
                self._store._db.execute(f"DELETE FROM {name}")
                if rows:
                    marks = ", ".join("?" * len(rows[0]))
                    self._store._db.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)
        self._loaded = phone.rows

    def _rows(self) -> tuple[Rows, ...]:
        return tuple(
            tuple(self._store._all(f"SELECT * FROM {name} ORDER BY {key}")) for name, key in self._tables.items()
        )

    def _after(self, before: Phone, shown: Mapping[Place, Known], told: int) -> Phone:
        """Read what a step has left."""
        self._loaded = self._rows()
        return replace(before, rows=self._loaded, shown=shown, told=told, content=self._content())

    def _content(self) -> Content:
        store = self._store
        (last_n,) = store._one("SELECT last_n FROM device")
        answered = {each.mutation.n: each.verdict for each in store.answered(-1)}
        return Content(store.unsent(), answered, last_n, store.cursor(), store.shown(KEY))

    def _caught(self, sending: Any) -> Call:
        """Return the request that leaves first."""
        try:
            sending.send(None)
        except Caught as caught:
            return caught.call
        raise AssertionError("a push sends something")


class _Wire:
    """Stands for the network: it catches what would be sent."""

    async def send(self, call: Call) -> None:
        """Catch a request."""
        raise Caught(call)


async def _never_sleeps(_: float) -> None:
    raise AssertionError("nobody waits in a search")
