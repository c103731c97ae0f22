"""One device of a random history: the real device half, its outbox, and a network that may fail.

Beside the real copies there is a pair of eyes, which knows as explicit sets what was on the screen.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, Final

import msgspec

from replication import device
from replication.catalog import PRIORITIES
from replication.mutation import Mutation
from replication.record import ALIVE
from replication.rows import FeedRow
from replication.scope import EVERYBODY
from replication.state import Answer, Submission
from replication.versions import Dot
from tests import compare, dumb_store, editions
from tests.eyes import Eyes
from tests.oracle_cell import Asked, Key
from tests.scribble import Page
from tests.tenant import Tenant, by_cell

CONTEXT_SHARE: Final = 0.1
NO_WAS_SHARE: Final = 0.05
NO_TIME_SHARE: Final = 0.1
ECHO_SHARE: Final = 0.5
READS_ALL: Final = 10**6


@dataclass(frozen=True)
class Letter:
    """A request on its way, with what the oracle has to know of each mutation in it."""

    submission: Submission
    asked: Mapping[int, Asked]


@dataclass
class Phone:
    """A device with one or two persons. `positions` say how far it has read, by class and reader.

    `wrong` is how much its clock is ahead of the true time, `guess` what the hub takes that for. `edition`
    is that of the catalogue it goes by. Of the mutations in `named` it says by name what it had seen,
    because the hub may know other numbers than those that it had been given.
    """

    rid: int
    persons: tuple[str, ...]
    tenant: Tenant
    wrong: int = 0
    guess: int = 0
    edition: int = 1
    eyes: Eyes = field(default_factory=Eyes)
    copies: dict[Key, device.Copy] = field(default_factory=dict)
    outbox: list[Mutation] = field(default_factory=list)
    asked: dict[int, Asked] = field(default_factory=dict)
    made: dict[int, Mutation] = field(default_factory=dict)
    positions: dict[tuple[str, str], int] = field(default_factory=dict)
    n: int = 0
    epoch: int = 0
    named: set[int] = field(default_factory=set)
    resyncs: bool = False
    served: int = 0
    limbo: list[Letter] = field(default_factory=list)
    late: list[Answer] = field(default_factory=list)

    @property
    def person(self) -> str:
        """The person whose token the device holds."""
        return self.persons[0]

    @property
    def fenced(self) -> bool:
        """Whether the hub takes no more from it."""
        return self.tenant.store.replicas[self.rid].fenced

    def screen(self) -> dict[Key, dict[str, Any]]:
        """Return every record that the person is shown."""
        views = {key: device.view(copy, self._layout(key)) for key, copy in self.copies.items()}
        return {key: view for key, view in views.items() if view is not None}

    def _layout(self, key: Key) -> device.Layout:
        return editions.LAYOUTS[self.edition].get(key[0]) or device.Layout()

    # Editing.

    def edit(
        self, rng: random.Random, key: Key, page: Page, *, op: str = "set", tx: str | None = None, by: str | None = None
    ) -> None:
        """Let the person change something; nothing is sent yet."""
        self.n += 1
        copy = self.copies.get(key) or device.Copy(*key)
        _, was = by_cell(key[0], page.set, device.view(copy, self._layout(key)) or {})
        at = None if rng.random() < NO_TIME_SHARE else self.tenant.now + self.wrong
        act = device.Act(op=op, fields=page.set, do=page.do, tx=tx, by=by, at=at)
        self.copies[key], mutation = device.edit(copy, self._layout(key), act, self.n)
        written = frozenset({*mutation.set, *mutation.do})
        seen, held = self.eyes.edit(self.n, key, written)
        compare.check("state", was, mutation.was, f"{self.rid}:{self.n} says what the screen showed")
        if rng.random() < NO_WAS_SHARE:
            mutation = msgspec.structs.replace(mutation, was={})
        if rng.random() < CONTEXT_SHARE or copy.former or any(each.n in self.named for each in copy.edits):
            self.named.add(self.n)
        self.outbox.append(mutation)
        self.made[self.n] = mutation
        self.asked[self.n] = Asked(
            dot=(self.rid, self.n),
            chain=(self.rid, self.n),
            op=op,
            key=key,
            person=by or self.person,
            authority="device",
            set=mutation.set,
            do=mutation.do,
            was=mutation.was,
            seen=seen,
            held=held,
            at=at,
            behind=self.guess,
            edition=self.edition,
        )

    # Pushing.

    def letter(self, count: int, *, older: int = 0) -> Letter:
        """Write a request with the first mutations of the outbox, after some that were answered before.

        A tx is never cut, and what was written by another edition of the catalogue goes in another request.
        """
        self.notice()
        edition = self.asked[self.outbox[0].n].edition if self.outbox else self.edition
        same = list(takewhile(lambda each: self.asked[each.n].edition == edition, self.outbox))
        sent = same[:count]
        while len(sent) < len(same) and sent and sent[-1].tx and sent[-1].tx == same[len(sent)].tx:
            sent.append(same[len(sent)])
        if older and sent and sent[0].n in self.named:
            again = [self.made[n] for n in range(max(1, sent[0].n - older), sent[0].n)]
            sent = [*(device.rebase(each, self.tenant.position_since(self.epoch)) for each in again), *sent]
        received = self.tenant.now
        submission = Submission(
            rid=self.rid,
            person=self.person,
            authority="device",
            mutations=tuple(device.as_sent(each, contexts=each.n in self.named) for each in sent),
            served=self.served,
            persons=frozenset(self.persons),
            schema=edition,
            received=received,
            offset=self.guess,
            rescue=self.fenced,
        )
        return Letter(submission, {each.n: self._said(each.n, received) for each in sent})

    def _said(self, n: int, received: int) -> Asked:
        """Return what the oracle has to know of a mutation as it goes out."""
        asked = self.asked[n]
        said = asked.seen if n in self.named else {}
        return replace(asked, said=said, received=received, rescue=self.fenced)

    def hear(self, answer: Answer) -> None:
        """Take the verdicts, each perhaps not for the first time."""
        for verdict in dumb_store.verdicts_of(answer):
            mutation = self.made[verdict.n]
            key = (mutation.collection, mutation.id)
            self.outbox = [each for each in self.outbox if each.n != verdict.n]
            self.eyes.answered(verdict.n)
            if key not in self.copies:
                continue
            for cell, told in verdict.cells.items():
                if told.dot is not None:
                    self.eyes.hear(key, cell, self.tenant.told(Dot(self.rid, verdict.n), cell, told.dot))
            self._keep(key, device.settle(self.copies[key], self._layout(key), mutation, verdict))

    # After a restore.

    def notice(self) -> None:
        """Hear that the hub was put back, if it was: begin anew from what both know."""
        if self.epoch == self.tenant.epoch:
            return
        # What was answered and is forgotten goes out again, just as it was.
        position, moment = self.tenant.position_since(self.epoch), self.tenant.moment_since(self.epoch)
        self.epoch, self.resyncs = self.tenant.epoch, True
        self.named |= set(self.made)
        self.edition = min(self.edition, self.tenant.edition)
        self.limbo, self.late, self.positions = [], [], {}
        self.served = min(self.served, position)
        applied = self.tenant.store.replicas[self.rid].applied
        for n, asked in self.asked.items():
            self.made[n] = device.rebase(self.made[n], position)
            self.asked[n] = replace(asked, held=min(asked.held, moment))
        unanswered = {each.n for each in self.outbox}
        self.outbox = [each for n, each in self.made.items() if n > applied or n in unanswered]
        for key, before in self.copies.items():
            copy = self.copies[key] = device.restart(before, position)
            if not copy.rev and not copy.raised and (before.rev or before.raised):
                self.eyes.doubt(key)

    def _let_go(self) -> None:
        """Let go of what the hub, put back, does not count as this person's."""
        for key, copy in list(self.copies.items()):
            if not self.tenant.holds(key, self.person):
                self._keep(key, device.leave(copy, self.tenant.store.seq))

    # Pulling.

    def come_to_rest(self, rng: random.Random) -> None:
        """Send all and read all."""
        self.notice()
        for _ in range(len(self.outbox)):
            letter = self.letter(len(self.outbox))
            self.hear(self.tenant.submit(letter.submission, letter.asked))
        self.pull(rng, READS_ALL)

    def pull(self, rng: random.Random, limit: int) -> None:
        """Read so many commits, the most urgent class first, each whole; of each record only the last put."""
        self.notice()
        if self.resyncs:
            # All is read again from the beginning.
            self._let_go()
            limit, self.resyncs = READS_ALL, False
        echo = rng.random() < ECHO_SHARE
        for priority in PRIORITIES:
            for reader in (self.person, EVERYBODY):
                limit -= self._read(priority, reader, max(limit, 0), echo=echo)
        self.served = max(self.served, *self.positions.values(), 0)

    def read_up_to(self) -> int:
        """Return up to which seq it has read all that the hub wrote for it."""
        if self.epoch != self.tenant.epoch or self.resyncs:
            return 0
        parts = [(priority, reader) for priority in PRIORITIES for reader in (self.person, EVERYBODY)]
        unread = (self.tenant.feed_after(*part, self.positions.get(part, 0)) for part in parts)
        return min((rows[0].seq - 1 for rows in unread if rows), default=self.tenant.store.seq)

    def upgrade(self) -> None:
        """Go by the present catalogue from now on."""
        self.edition = self.tenant.edition
        for key in list(self.copies):
            if editions.collection_of(key[0], self.edition) is None and not self.copies[key].edits:
                del self.copies[key]
                self.eyes.forget(key)

    def _read(self, priority: str, reader: str, limit: int, *, echo: bool) -> int:
        rows = self.tenant.feed_after(priority, reader, self.positions.get((priority, reader), 0))
        ends = sorted({row.commit_seq for row in rows})[:limit]
        page = [row for row in rows if ends and row.commit_seq <= ends[-1]]
        last = {(row.collection, row.record_id): row.seq for row in page if row.op in ("put", "enter")}
        since = min(self.positions.get((each, who), 0) for each in PRIORITIES for who in (self.person, EVERYBODY))
        for row in page:
            key = (row.collection, row.record_id)
            superfluous = row.op == "put" and (last[key] != row.seq or (echo and since and self._is_echo(key, since)))
            if not superfluous and not self.tenant.overtaken(row):
                self._take(row)
        if ends:
            self.positions[priority, reader] = ends[-1]
        return len(ends)

    def _is_echo(self, key: Key, since: int) -> bool:
        """Whether all that happened to the record since was done here, and is stored as it was sent."""
        fresh = [change for change in self.tenant.changes_of(key) if change.seq > since]
        return all(
            change.dot.rid == self.rid
            and all(cell.verdict == "applied" and cell.rule is None for cell in change.cells.values())
            for change in fresh
        )

    def _take(self, row: FeedRow) -> None:
        key = (row.collection, row.record_id)
        copy, layout = self.copies.get(key), self._layout(key)
        if row.op == "leave":
            if copy:
                self._keep(key, device.leave(copy, row.commit_seq))
            return
        change = next(each for each in reversed(self.tenant.changes_of(key)) if each.seq <= row.seq)
        state, moment, versions = self.tenant.states[key, change.seq]
        if row.op == "delete":
            if copy:
                self.eyes.hear(key, ALIVE, state[ALIVE])
                self._keep(key, device.delete(copy, change.seq, row.commit_seq))
            return
        if editions.collection_of(key[0], self.edition) is None:
            return
        self.eyes.look(key, state, moment)
        copy = copy or device.Copy(*key)
        self._keep(key, device.put(copy, layout, change.seq, change.state, row.commit_seq, versions))

    def _keep(self, key: Key, copy: device.Copy) -> None:
        self.copies[key] = copy
        if copy.gone:
            del self.copies[key]
            self.eyes.forget(key)
