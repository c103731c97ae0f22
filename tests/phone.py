"""One device of a random history: the real device half, its outbox, and a network that may fail.

Beside the real copies there is a pair of eyes, which knows as explicit sets what was on the screen.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from tests import compare, dumb_store
from tests.eyes import Eyes
from tests.oracle_cell import Asked, Key, Known
from tests.oracle_values import Table
from tests.scribble import Page
from tests.tenant import CATALOG, TABLE, Tenant, by_cell

LAYOUTS: Final = {name: device.layout_of(collection) for name, collection in CATALOG.collections.items()}
CONTEXT_SHARE: Final = 0.1
NO_WAS_SHARE: Final = 0.05
ECHO_SHARE: Final = 0.5


@dataclass(frozen=True)
class Letter:
    """A request on its way, with what the oracle has to know of each mutation in it."""

    submission: Submission
    asked: Mapping[int, Asked]


@dataclass
class Phone:
    """A device with one or two persons. `positions` say how far it has read, by class and reader."""

    rid: int
    persons: tuple[str, ...]
    tenant: Tenant
    eyes: Eyes = field(default_factory=Eyes)
    copies: dict[Key, device.Copy] = field(default_factory=dict)
    outbox: list[Mutation] = field(default_factory=list)
    asked: dict[int, Asked] = field(default_factory=dict)
    made: dict[int, Mutation] = field(default_factory=dict)
    positions: dict[tuple[str, str], int] = field(default_factory=dict)
    n: int = 0
    limbo: list[Letter] = field(default_factory=list)
    late: list[Answer] = field(default_factory=list)

    @property
    def person(self) -> str:
        """The person whose token the device holds."""
        return self.persons[0]

    def screen(self) -> dict[Key, dict[str, Any]]:
        """Return every record that the person is shown."""
        views = {key: device.view(copy, LAYOUTS[key[0]]) for key, copy in self.copies.items()}
        return {key: view for key, view in views.items() if view is not None}

    # Editing.

    def edit(
        self, rng: random.Random, key: Key, page: Page, *, op: str = "set", tx: str | None = None, by: str | None = None
    ) -> None:
        """Let the person change something; nothing is sent yet."""
        self.n += 1
        copy = self.copies.get(key) or device.Copy(*key)
        _, was = by_cell(key[0], page.set, device.view(copy, LAYOUTS[key[0]]) or {})
        act = device.Act(op=op, fields=page.set, do=page.do, tx=tx, by=by)
        self.copies[key], mutation = device.edit(copy, LAYOUTS[key[0]], act, self.n)
        written = frozenset({*mutation.set, *mutation.do})
        seen, held = self.eyes.edit(self.n, key, written)
        compare.check("state", was, mutation.was, f"{self.rid}:{self.n} says what the screen showed")
        mutation = said_otherwise(rng, mutation, seen)
        self.outbox.append(mutation)
        self.made[self.n] = mutation
        self.asked[self.n] = Asked(
            dot=(self.rid, self.n),
            op=op,
            key=key,
            person=by or self.person,
            authority="device",
            sequential=True,
            set=mutation.set,
            do=mutation.do,
            was=mutation.was,
            seen=seen,
            held=held,
        )

    # Pushing.

    def letter(self, count: int) -> Letter:
        """Write a request with the first mutations of the outbox; a tx is never cut."""
        sent = self.outbox[:count]
        while len(sent) < len(self.outbox) and sent and sent[-1].tx and sent[-1].tx == self.outbox[len(sent)].tx:
            sent.append(self.outbox[len(sent)])
        submission = Submission(
            rid=self.rid,
            person=self.person,
            authority="device",
            mutations=tuple(sent),
            served=max(self.positions.values(), default=0),
            persons=frozenset(self.persons),
        )
        return Letter(submission, {mutation.n: self.asked[mutation.n] for mutation in sent})

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
                if told.seq > 0:
                    self.eyes.hear(key, cell, self.tenant.knows(Dot(self.rid, verdict.n), cell))
            self._keep(key, device.settle(self.copies[key], LAYOUTS[key[0]], mutation, verdict))

    # Pulling.

    def pull(self, rng: random.Random, limit: int) -> None:
        """Read so many commits, the most urgent class first, each whole; of each record only the last put."""
        echo = rng.random() < ECHO_SHARE
        for priority in PRIORITIES:
            for reader in (self.person, EVERYBODY):
                limit -= self._read(priority, reader, max(limit, 0), echo=echo)

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
        copy, layout = self.copies.get(key), LAYOUTS[key[0]]
        if row.op == "leave":
            if copy:
                self._keep(key, device.leave(copy, row.commit_seq))
            return
        change = next(each for each in reversed(self.tenant.changes_of(key)) if each.seq <= row.seq)
        state, moment = self.tenant.states[key, change.seq]
        if row.op == "delete":
            if copy:
                self.eyes.hear(key, ALIVE, state[ALIVE])
                self._keep(key, device.delete(copy, change.seq, row.commit_seq))
            return
        self.eyes.look(key, state, moment)
        self._keep(key, device.put(copy or device.Copy(*key), layout, change.seq, change.state, row.commit_seq))

    def _keep(self, key: Key, copy: device.Copy) -> None:
        self.copies[key] = copy
        if copy.gone:
            del self.copies[key]
            self.eyes.forget(key)


def said_otherwise(rng: random.Random, mutation: Mutation, seen: Mapping[str, Known]) -> Mutation:
    """Say the same in another way now and then: contexts in place of bases, or no `was`."""
    if rng.random() < NO_WAS_SHARE:
        mutation = msgspec.structs.replace(mutation, was={})
    if rng.random() < CONTEXT_SHARE:
        context = {cell: vector(seen[cell]) for cell in seen if seen[cell]}
        mutation = msgspec.structs.replace(mutation, base=0, context=context)
    return mutation


def vector(known: Known) -> dict[int, int]:
    """Write a set of dots as the highest number of each replica."""
    return {rid: max(n for each, n in known if each == rid) for rid, _ in known}


def fields_of(collection: str) -> Mapping[str, Table]:
    """Return the fields of a collection, as the catalogue has them."""
    fields: dict[str, Table] = TABLE["collections"][collection]["fields"]
    return fields
