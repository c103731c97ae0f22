"""Whoever writes without a device: persons in the office with pages open, a vendor's system, an import.

None of them is sequential: each write says which state of the record its writer had before them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from replication.mutation import Mutation
from replication.record import fields
from replication.state import Submission
from replication.versions import Dot
from tests import editions
from tests.oracle_cell import Asked, Key, Known
from tests.oracle_values import same, tidy
from tests.scribble import Page
from tests.tenant import Tenant, by_cell, vector


@dataclass(frozen=True)
class Sheet:
    """A record as it lay before somebody: its rev, what it showed, and all that was known of it then."""

    key: Key
    rev: int
    epoch: int
    shown: Mapping[str, Any]
    state: Mapping[str, Known]
    siblings: Mapping[str, list[tuple[Dot, Any]]]
    winners: Mapping[str, Dot]


@dataclass
class Desk:
    """One writer that is no device. `authorities` are those of single cells, by collection."""

    rid: int
    person: str
    authority: str
    tenant: Tenant
    authorities: dict[str, dict[str, str]] = field(default_factory=dict)
    sheets: dict[Key, Sheet] = field(default_factory=dict)

    def look(self, key: Key) -> None:
        """Have a record put before one as it is now."""
        record = self.tenant.store.record(key)
        collection = editions.collection_of(key[0], self.tenant.edition)
        if record is not None and collection is not None:
            waiting = {n: [(s.stamp.dot, s.value) for s in cell.siblings] for n, cell in record.cells.items()}
            state, epoch = self.tenant.oracle.state(key), self.tenant.epoch
            winners = {name: cell.stamp.dot for name, cell in record.cells.items()}
            self.sheets[key] = Sheet(key, record.rev, epoch, fields(record, collection), state, waiting, winners)

    def write(self, rng: random.Random, sheet: Sheet, page: Page, *, op: str = "set", settle: bool = False) -> None:
        """Send a change of what lies before one, perhaps long after it was looked at."""
        asked_set, was = by_cell(sheet.key[0], page.set, sheet.shown)
        closes = {n: [dot for dot, _ in waiting] for n, waiting in sheet.siblings.items() if waiting and n in asked_set}
        # What the hub was put back to behind its back has other numbers than this page.
        named = rng.random() < 0.2 or sheet.epoch != self.tenant.epoch
        context = {cell: vector(known) for cell, known in sheet.state.items() if known} if named else {}
        base = min(sheet.rev, self.tenant.position_since(sheet.epoch))
        mutation = Mutation(
            n=0,
            op=op,
            collection=sheet.key[0],
            id=sheet.key[1],
            base=base,
            rev=base,
            set=asked_set,
            do=page.do,
            was=was if rng.random() < 0.6 else {},
            context=context,
            closes=closes if settle else {},
        )
        self.send([mutation], sheet.state if named else {}, sheet.state)
        if rng.random() < 0.3:
            self.look(sheet.key)

    def create(self, key: Key, page: Page) -> None:
        """Make a record."""
        asked_set, _ = by_cell(key[0], page.set, {})
        mutation = Mutation(n=0, op="create", collection=key[0], id=key[1], set=asked_set, do=page.do)
        self.send([mutation], {}, {})

    def send(
        self,
        mutations: list[Mutation],
        said: Mapping[str, Known],
        seen: Mapping[str, Known],
        submission: Submission | None = None,
    ) -> None:
        """Send what was written. A submission says what is out of the ordinary about it."""
        submission = submission or Submission(
            rid=self.rid, person=self.person, authority=self.authority, authorities=self.authorities, mutations=()
        )
        now = self.tenant.now
        submission = msgspec.structs.replace(submission, mutations=tuple(mutations), numbered=False, received=now)
        first = self.tenant.store.replicas[self.rid].applied + 1
        asked = {
            n: Asked(
                dot=(self.rid, n),
                op=each.op,
                key=(each.collection, each.id),
                person=submission.person,
                authority=submission.authority,
                authorities=submission.authorities.get(each.collection, {}),
                relation=submission.relation,
                set=each.set,
                do=each.do,
                was=each.was,
                seen=seen,
                said=said,
                closes={cell: frozenset((dot.rid, dot.n) for dot in dots) for cell, dots in each.closes.items()},
                received=now,
            )
            for n, each in enumerate(mutations, start=first)
        }
        self.tenant.submit(submission, asked)


def without_repeats(collection: str, page: Page, sheet: Sheet, edition: int) -> Page:
    """Leave out what a vendor's system would not send: a field that is as it was when last confirmed."""
    rules = editions.fields_of(collection, edition)

    def differs(name: str, value: Any) -> bool:
        try:
            return name not in rules or not same(tidy(rules[name], value), sheet.shown.get(name))
        except ValueError:
            return True

    return Page({name: value for name, value in page.set.items() if differs(name, value)}, page.do)
