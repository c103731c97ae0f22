"""Whoever writes without a device: persons in the office with pages open, a vendor's system, an import.

None of them is sequential: each write says which state of the record its writer had before them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from replication.mutation import Mutation
from replication.record import fields
from replication.state import Submission
from replication.versions import Dot
from tests.oracle_cell import Asked, Key, Known
from tests.oracle_values import same, tidy
from tests.phone import vector
from tests.scribble import Page
from tests.tenant import CATALOG, TABLE, Tenant, by_cell


@dataclass(frozen=True)
class Sheet:
    """A record as it lay before somebody: its rev, what it showed, and all that was known of it then."""

    key: Key
    rev: int
    shown: Mapping[str, Any]
    state: Mapping[str, Known]
    siblings: Mapping[str, list[tuple[Dot, Any]]]


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
        if record is not None:
            waiting = {n: [(s.stamp.dot, s.value) for s in cell.siblings] for n, cell in record.cells.items()}
            shown = fields(record, CATALOG.collections[key[0]])
            self.sheets[key] = Sheet(key, record.rev, shown, self.tenant.oracle.state(key), waiting)

    def write(self, rng: random.Random, sheet: Sheet, page: Page, *, op: str = "set", settle: bool = False) -> None:
        """Send a change of what lies before one, perhaps long after it was looked at."""
        asked_set, was = by_cell(sheet.key[0], page.set, sheet.shown)
        closes = {n: [dot for dot, _ in waiting] for n, waiting in sheet.siblings.items() if waiting and n in asked_set}
        context = {}
        if rng.random() < 0.2:
            context = {cell: vector(known) for cell, known in sheet.state.items() if known}
        mutation = Mutation(
            n=0,
            op=op,
            collection=sheet.key[0],
            id=sheet.key[1],
            base=0 if context else sheet.rev,
            rev=sheet.rev,
            set=asked_set,
            do=page.do,
            was=was if rng.random() < 0.6 else {},
            context=context,
            closes=closes if settle else {},
        )
        self._send(mutation, sheet.state)
        if rng.random() < 0.5:
            self.look(sheet.key)

    def create(self, key: Key, page: Page) -> None:
        """Make a record."""
        asked_set, _ = by_cell(key[0], page.set, {})
        mutation = Mutation(n=0, op="create", collection=key[0], id=key[1], set=asked_set, do=page.do)
        self._send(mutation, {})

    def _send(self, mutation: Mutation, seen: Mapping[str, Known]) -> None:
        n = self.tenant.store.replicas[self.rid].applied + 1
        key = (mutation.collection, mutation.id)
        asked = Asked(
            dot=(self.rid, n),
            op=mutation.op,
            key=key,
            person=self.person,
            authority=self.authority,
            authorities=self.authorities.get(key[0], {}),
            sequential=False,
            set=mutation.set,
            do=mutation.do,
            was=mutation.was,
            seen=seen,
            closes={cell: frozenset(dots) for cell, dots in mutation.closes.items()},
        )
        submission = Submission(
            rid=self.rid,
            person=self.person,
            authority=self.authority,
            authorities=self.authorities,
            mutations=(mutation,),
            numbered=False,
        )
        self.tenant.submit(submission, {n: asked})


def without_repeats(collection: str, page: Page, sheet: Sheet) -> Page:
    """Leave out what a vendor's system would not send: a field that is as it was when last confirmed."""
    rules = TABLE["collections"][collection]["fields"]

    def differs(name: str, value: Any) -> bool:
        try:
            return name not in rules or not same(tidy(rules[name], value), sheet.shown.get(name))
        except ValueError:
            return True

    return Page({name: value for name, value in page.set.items() if differs(name, value)}, page.do)
