"""Grouping and determinism: what comes out depends on the order of the submissions and on nothing else.

Random histories give the submissions, in the order in which the hub took them, with repeats, gaps
and lost answers, and what else happened to it: other catalogues, backups and restores. They are given
again to stores that keep everything as bytes and load for each group only what `hub.needs` names.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.mutation import Mutation
from replication.state import Answer, Submission
from replication.versions import Dot
from tests import dumb_store, histories
from tests.dumb_store import Store
from tests.scribble import PEOPLE
from tests.tenant import CATALOG, HUB, Step

EVENTS = 150
DEVICE = 10
RECORD = "00000003-0000-4000-8000-000000000001"
CHECKOUT = Path(__file__).resolve().parents[2]


def recorded(seed: int, events: int = EVENTS, *, calm: bool = False) -> tuple[Store, list[Step]]:
    """Play a history; return its store, in which each submission was a group, and all that happened to it."""
    world = histories.World(writes_until_rest=10**6)
    world.run(histories.generate(seed, events, calm=calm))
    return world.tenant.store, world.tenant.steps


def emptied(store: Store) -> Store:
    """Return a store with the same replicas, that has seen nothing."""
    return Store(CATALOG, {rid: each.kind for rid, each in store.replicas.items()}, HUB)


def replayed(store: Store, steps: Sequence[Step], cuts: Iterable[int]) -> list[object]:
    """Let the same happen to another store, in groups that end at these places and before anything but a push."""
    backups: dict[int, Store] = {}
    group: list[Submission] = []
    answers: list[object] = []
    for place, step in enumerate([*steps, None]):
        if group and (place in cuts or not isinstance(step, Submission)):
            answers += map(told, store.group(group))
            group = []
        if isinstance(step, Submission):
            group.append(step)
        elif step is not None:
            perform(store, step, backups)
    return answers


def perform(store: Store, step: tuple[str, Any], backups: dict[int, Store]) -> None:
    """Let something happen to a store that is no submission."""
    what, given = step
    if what == "back_up":
        backups[given] = store.back_up()
    else:
        getattr(store, what)(backups[given] if what == "restore" else given)


def told(answer: Answer) -> tuple[object, ...]:
    """Return what the submitter was told, in a form that can be compared."""
    return answer.applied, answer.expected, answer.problem, list(dumb_store.verdicts_of(answer))


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.data())
def test_any_partition_gives_the_same(seed: int, data: st.DataObject) -> None:
    """However the same order is cut into database transactions, verdicts, rows and state are the same."""
    store, steps = recorded(seed)
    alone, grouped = emptied(store), emptied(store)
    cuts = data.draw(st.sets(st.integers(1, len(steps)), max_size=len(steps) // 2))

    expected = replayed(alone, steps, range(len(steps) + 1))
    actual = replayed(grouped, steps, cuts)

    assert expected == actual
    assert alone.content() == grouped.content()


@pytest.mark.parametrize("size", [2, 7, 10**6])
def test_groups_of_one_size_give_the_same(size: int) -> None:
    """A thousand submissions give the same one by one, in small groups and all at once."""
    store, steps = recorded(1, 1_500)
    grouped = emptied(store)

    replayed(grouped, steps, range(0, len(steps), size))

    assert sum(isinstance(step, Submission) for step in steps) > 500
    assert store.content() == grouped.content()


def test_replaying_gives_the_same_bytes_in_any_process() -> None:
    """The order alone decides: other processes, with other hash seeds, keep the very same bytes."""
    command = [sys.executable, "-c", "from tests.laws import test_grouping as t; print(t.fingerprint(3))"]
    environments = [{**os.environ, "PYTHONHASHSEED": hash_seed} for hash_seed in ("1", "2")]

    digests = {
        subprocess.run(command, cwd=CHECKOUT, env=each, capture_output=True, text=True, check=True).stdout.strip()
        for each in environments
    }

    assert digests == {fingerprint(3)}


def fingerprint(seed: int) -> str:
    """Return a digest of all that a store keeps after a history, in the order in which it keeps it."""
    store, _ = recorded(seed)
    ledger = [(dot, digest, verdict) for dot, (digest, verdict, _) in store.ledger.items()]
    logs = [store.changes, store.feed, store.conflicts, store.updates, [*store.held.values()]]
    return hashlib.sha256(msgspec.msgpack.encode([list(store.records.values()), ledger, logs])).hexdigest()


def test_a_dot_takes_effect_once() -> None:
    """Everything sent a second time, in any order, gets the old answers and changes nothing."""
    store, steps = recorded(5, 600, calm=True)
    numbered = [each for each in steps if isinstance(each, Submission) and each.numbered and each.mutations]
    before = store.content()

    for submission in reversed(numbered):
        answer = store.group([submission])[0]
        known = [store.verdict(Dot(submission.rid, mutation.n)) for mutation in submission.mutations]
        assert known == list(dumb_store.verdicts_of(answer))

    assert len(numbered) > 50
    assert before == store.content()


def test_what_follows_a_settled_part_of_a_tx_is_judged() -> None:
    """A tx of which a part was settled in an earlier push goes on with the rest; nothing is taken as settled."""
    store = Store(CATALOG, {HUB: "hub", DEVICE: "device"}, HUB)
    stock = Mutation(n=1, op="create", collection="stock", id=RECORD, set={"bin": "a"})
    edits = [
        Mutation(n=n, op="set", collection="stock", id=RECORD, tx="t", set={"bin": place})
        for n, place in ((2, "b"), (3, "c"), (4, "d"))
    ]

    first = store.group([pushed(stock, edits[0])])[0]
    second = store.group([pushed(*edits)])[0]

    assert first.applied == 2
    assert second.applied == 4
    assert [each.verdict for each in dumb_store.verdicts_of(second)] == ["applied"] * 3


def pushed(*mutations: Mutation) -> Submission:
    """Return a push of the one device."""
    return Submission(rid=DEVICE, person=PEOPLE[0], authority="device", mutations=mutations)
