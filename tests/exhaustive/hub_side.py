"""The hub of a searched world: the real rules over a store in memory, and beside it what must come of each write.

A hub never changes: what it is asked makes another one. It dies between any two of its steps in the order in which
a server takes them, and what it had not done by then has not happened.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from replication import wire
from replication.mutation import Mutation
from replication.scope import EVERYBODY
from replication.state import Answer, Submission
from tests import dumb_store
from tests.dumb_store import Store
from tests.exhaustive import truth
from tests.exhaustive.truth import Broken, Known, Place, Truth
from tests.exhaustive.watch import Seen, Watch, by_cell, fixed
from tests.exhaustive.worlds import JOB, JOBS, Deed, World

HUB, OFFICE, FIRST_DEVICE = 1, 2, 10
EPOCH: Final = "e1"
KEY: Final = (JOBS, JOB)
STEPS: tuple[str, ...] = ("commit", "answer")
"""What a server does once it has judged, in this order: the answer goes out when it can no longer be taken back."""


Sent: TypeAlias = tuple[tuple[Mutation, Mapping[Place, Known]], ...]
"""Mutations with what their writer had seen, in order."""


@dataclass(frozen=True)
class Request:
    """A push on its way, and what the person had seen who made each mutation in it."""

    submission: Submission
    seen: Seen


@dataclass(frozen=True)
class Reply:
    """An answer on its way, and what its reader then knows of each cell, by mutation."""

    body: bytes
    knows: Seen


@dataclass(frozen=True)
class Page:
    """A page on its way, and what its reader then knows."""

    body: bytes
    knows: Mapping[Place, Known]


@dataclass(frozen=True)
class Hub:
    """One moment of the hub.

    `moments` has what was known of each cell at each seq that moved the record, `sent` what each device has settled.
    """

    world: World
    store: Store
    truth: Truth
    moments: Mapping[int, Mapping[Place, Known]]
    sent: Mapping[int, Sent]

    @property
    def seq(self) -> int:
        """The end of the number line."""
        return self.store.seq

    def office_writes(self) -> int:
        """How often the office wrote since the beginning."""
        return self.truth.applied[OFFICE] - 1


def begin(world: World) -> Hub:
    """Make the hub in which the office has written the one record."""
    kinds = {HUB: "hub", OFFICE: "office"} | {FIRST_DEVICE + place: "device" for place in range(world.devices)}
    store = Store(world.catalog, kinds, HUB)
    mutation = Mutation(n=0, op="create", collection=JOBS, id=JOB, set=by_cell(world, world.start))
    store.group([_by_office(mutation)])
    dot = (OFFICE, 1)
    lines = {
        (JOB, name): truth.Line(fixed(value), frozenset({dot}), frozenset({dot}))
        for name, value in mutation.set.items()
    }
    known = {place: line.known for place, line in lines.items()}
    return Hub(
        world,
        store,
        Truth(lines, dict.fromkeys(kinds, 0) | {OFFICE: 1}),
        {store.seq: known},
        dict.fromkeys(kinds, ()),
    )


def serve(hub: Hub, request: Request) -> tuple[Hub, Reply]:
    """Judge a push: the hub once it is committed, and the answer."""
    after, answer, knows = _judged(hub, request.submission, request.seen)
    return after, Reply(_push_answer(answer), knows)


def office_write(hub: Hub, deed: Deed, *, stale: bool) -> Hub:
    """Let somebody in the office write, upon the newest page or upon the one from the beginning."""
    rev = min(hub.moments) if stale else max(hub.moments)
    n = hub.truth.applied[OFFICE] + 1
    fields = {name: value(f"o{n}", None) if callable(value) else value for name, value in deed.fields.items()}
    shown = next(change.state for change in hub.store.changes if change.seq == rev)
    cells, before = by_cell(hub.world, fields), by_cell(hub.world, shown)
    was = {name: before[name] for name in cells}
    mutation = Mutation(
        n=0,
        op="set",
        collection=JOBS,
        id=JOB,
        base=rev,
        rev=rev,
        set=cells,
        do={name: dict(op) for name, op in deed.do.items()},
        was=was,
    )
    return _judged(hub, _by_office(mutation), {n: hub.moments[rev]})[0]


def repeat(hub: Hub, rid: int) -> Hub:
    """Ask again for all that a device has settled: the hub must be as before."""
    sent = hub.sent[rid]
    again = Submission(rid=rid, person="", authority="device", mutations=tuple(mutation for mutation, _ in sent))
    return _judged(hub, again, {mutation.n: seen for mutation, seen in sent})[0]


def page(hub: Hub, cursor: int | None) -> Page:
    """Read what follows a cursor, whole commits; of each record only the last put of the page."""
    after = cursor or 0
    rows = [row for row in hub.store.feed if row.commit_seq > after and row.reader == EVERYBODY]
    ends = sorted({row.commit_seq for row in rows})[: hub.world.page]
    rows = [row for row in rows if ends and row.commit_seq <= ends[-1]]
    last = {(row.collection, row.record_id): row for row in rows}
    commits = [_commit(hub, seq, [row for row in last.values() if row.commit_seq == seq]) for seq in ends]
    end = ends[-1] if ends else after
    answer = wire.PullAnswer(
        epoch=EPOCH,
        commits=tuple(commit for commit in commits if commit.changes),
        cursor=str(end),
        more=any(row.commit_seq > end for row in hub.store.feed),
        complete={},
        applied=0,
        durable=0,
    )
    knows = hub.moments[max(row.seq for row in rows)] if rows else {}
    return Page(msgspec.json.encode(answer), knows)


def _commit(hub: Hub, seq: int, rows: list[Any]) -> wire.Commit:
    changes = []
    for row in rows:
        change = next(
            each for each in reversed(hub.store.changes) if each.seq <= row.seq and each.record_id == row.record_id
        )
        changes.append(
            wire.Change(op=row.op, collection=row.collection, id=row.record_id, rev=change.seq, fields=change.state)
        )
    return wire.Commit(seq=seq, changes=tuple(changes))


def _by_office(mutation: Mutation) -> Submission:
    return Submission(rid=OFFICE, person="office", authority="office", mutations=(mutation,), numbered=False)


def _push_answer(answer: Answer) -> bytes:
    told = wire.PushAnswer(
        epoch=EPOCH,
        applied=answer.applied,
        expected=answer.expected,
        verdicts=answer.verdicts,
        now=0,
        limits=wire.Limits(),
        durable=0,
    )
    return msgspec.json.encode(told)


# Judging, and what must come of it.


def _judged(hub: Hub, submission: Submission, seen: Seen) -> tuple[Hub, Answer, Seen]:
    """Have the rules judge on a copy of the store, and hold every verdict against what it must be."""
    store = _copied(hub.store)
    answer = store.group([submission])[0]
    _same_problem(answer)
    watch = Watch(hub.world, hub.truth, submission, seen, HUB)
    watch.follow(list(dumb_store.verdicts_of(answer)), answer.expected)
    fresh = store.changes[len(hub.store.changes) :]
    moments = {**hub.moments, **{change.seq: watch.knows[change.dot.n] for change in fresh}}
    fresh_n = [n for n in watch.knows if n > hub.truth.applied[submission.rid]]
    made = tuple(
        (each, seen[each.n]) for each in submission.mutations if isinstance(each, Mutation) and each.n in fresh_n
    )
    sent = {**hub.sent, submission.rid: (*hub.sent[submission.rid], *made)} if submission.numbered else hub.sent
    return Hub(hub.world, store, watch.truth(), moments, sent), answer, watch.knows


def _copied(store: Store) -> Store:
    """Return a store that can go on without changing this one; what is in it never changes."""
    twin = copy.copy(store)
    vars(twin).update({name: copy.copy(part) for name, part in vars(store).items() if name != "catalog"})
    twin.intervals = {key: dict(each) for key, each in store.intervals.items()}
    return twin


def _same_problem(answer: Answer) -> None:
    if answer.problem is not None:
        raise Broken("no honest device has a problem", answer.problem)
