"""The device's file: what is kept together, kept apart, and given once."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from clients.errors import StoreTooNew
from clients.store import TABLES, Enrolment, Store
from replication import catalog, wire
from replication.device import Copy
from replication.mutation import Mutation
from replication.verdict import CellVerdict, MutationVerdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = ("jobs", "j1")
COPY = Copy("jobs", "j1", rev=7, fields={"a": [1, None]}, raised={"a": 9}, alive=True, held=True, told_at=8)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new file."""
    made = Store(tmp_path / "device.db")
    yield made
    made.close()


def mutation(n: int, **parts: Any) -> Mutation:
    """An edit of the one record."""
    return Mutation(n=n, op="set", collection="jobs", id="j1", base={"a": 3}, set={"a": n}, **parts)


def verdict(n: int) -> MutationVerdict:
    """Its verdict."""
    cells = {"a": CellVerdict(verdict="applied", seq=n)}
    return MutationVerdict(n=n, verdict="applied", schema=1, collection="jobs", id="j1", rev=n, cells=cells)


def add(store: Store, count: int) -> None:
    """Make some edits, each in a step of its own."""
    for _ in range(count):
        with store.transaction():
            store.add(mutation(store.next_n()))


def test_reopened_file_says_the_same(tmp_path: Path) -> None:
    """Everything that was put in comes out again, from a new connection too."""
    store = Store(tmp_path / "device.db")
    enrolment = Enrolment("r", 5, "t", "f", "e", 2, wire.Limits(tx=3))
    declared = catalog.Catalog(collections={}, version=4)
    with store.transaction():
        store.enrol(enrolment)
        store.set_catalog(declared)
        store.set_cursor("c")
        store.save(COPY, {"a": 1})
    store.close()

    again = Store(tmp_path / "device.db")

    assert again.enrolment() == enrolment
    assert again.catalog() == declared
    assert again.cursor() == "c"
    assert again.copy(KEY) == COPY
    assert again.shown(KEY) == {"a": 1}
    again.close()


def test_new_file_knows_nothing(store: Store) -> None:
    """A new device is nobody, has read nothing and shows nothing."""
    assert store.enrolment() is None
    assert store.catalog() is None
    assert store.cursor() is None
    assert store.shown(KEY) is None
    assert store.copy(KEY) == Copy("jobs", "j1")
    assert store.verdicts_seen() == 0


def test_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """A file that this program does not understand is neither read nor changed."""
    path = tmp_path / "device.db"
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(StoreTooNew):
        Store(path)


def test_file_of_an_earlier_version_counts_what_it_numbered_as_sent(tmp_path: Path) -> None:
    """A version that did not keep what it had sent may have sent all of it."""
    path = tmp_path / "device.db"
    connection = sqlite3.connect(path)
    for statement in (*TABLES, "UPDATE device SET last_n = 3", "PRAGMA user_version = 1"):
        connection.execute(statement)
    connection.commit()
    connection.close()

    store = Store(path)

    assert (store.sent(), store.next_n(), store.set_aside()) == (3, 4, [])
    store.close()


def test_transaction_keeps_all_or_nothing(store: Store) -> None:
    """A step that raises leaves no row and gives no number."""

    def fail() -> None:
        with store.transaction():
            store.add(mutation(store.next_n()))
            with store.transaction():
                store.save(COPY, {"a": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert store.unsent() == []
    assert store.shown(KEY) is None
    with store.transaction():
        assert store.next_n() == 1


def test_catalogue_of_an_undone_step_is_forgotten(store: Store) -> None:
    """What was read inside a step that is undone is not remembered."""

    def fail() -> None:
        with store.transaction():
            store.set_catalog(catalog.Catalog(collections={}, version=4))
            assert store.catalog() is not None
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert store.catalog() is None


def test_mutation_comes_out_as_it_went_in(store: Store) -> None:
    """The hub knows a mutation by its hash, so that not a bit of it may change in the file."""
    sent = mutation(1, do={"m": {"inc": 2}}, was={"a": 1.5}, closes={"a": []}, tx="t", at=5)
    with store.transaction():
        store.add(sent)

    assert store.unsent() == [sent]


def test_copy_has_the_unanswered_edits_on_top(store: Store) -> None:
    """The edits of a record are those in the outbox, in order."""
    add(store, 2)
    with store.transaction():
        store.save(COPY, {"a": 1})

    assert [edit.n for edit in store.copy(KEY).edits] == [1, 2]


def test_acknowledged_leaves_the_outbox_once(store: Store) -> None:
    """A verdict moves its mutation; the same verdict again finds nothing to move."""
    add(store, 2)
    with store.transaction():
        first, again = store.acknowledge(verdict(1)), store.acknowledge(verdict(1))

    assert first == mutation(1)
    assert again is None
    assert [edit.n for edit in store.unsent()] == [2]
    assert [(a.mutation, a.verdict) for a in store.answered(10)] == [(mutation(1), verdict(1))]
    assert store.verdicts_seen() == 1


def test_answered_are_the_newest(store: Store) -> None:
    """Of many answered edits the last ones are shown, oldest first."""
    add(store, 3)
    with store.transaction():
        for n in (1, 2, 3):
            store.acknowledge(verdict(n))

    assert [answered.mutation.n for answered in store.answered(2)] == [2, 3]
    assert store.verdicts_seen() == 3


def test_trimmed_only_up_to_durable(store: Store) -> None:
    """What a restored hub may still ask for is kept."""
    add(store, 3)
    with store.transaction():
        for n in (1, 2, 3):
            store.acknowledge(verdict(n))
        store.trim(2)

    assert [answered.mutation.n for answered in store.answered(10)] == [3]


@pytest.mark.parametrize(("above", "lost"), [(0, 1), (1, 0), (2, 0), (3, 0)])
def test_recall_counts_what_is_gone(store: Store, above: int, lost: int) -> None:
    """Acknowledged mutations go back into the outbox; numbers that were trimmed are counted."""
    add(store, 4)
    with store.transaction():
        for n in (1, 2, 3):
            store.acknowledge(verdict(n))
        store.trim(1)

        assert store.recall(above) == lost

    assert [edit.n for edit in store.unsent()] == list(range(max(above, 1) + 1, 5))
    assert store.verdicts_seen() == max(above, 1)


def test_new_replica_counts_from_one(store: Store) -> None:
    """Unsent edits get the new replica's numbers, in their order; the old one's answers are not its."""
    add(store, 3)
    with store.transaction():
        store.acknowledge(verdict(1))
        store.begin_replica()

    assert [(edit.n, edit.set) for edit in store.unsent()] == [(1, {"a": 2}), (2, {"a": 3})]
    assert store.answered(10) == []
    with store.transaction():
        assert store.next_n() == 3


def test_replaced_mutation_keeps_its_place(store: Store) -> None:
    """A mutation may get another base after a restore, under its own number."""
    add(store, 2)
    changed = Mutation(n=1, op="set", collection="jobs", id="j1", base={"a": 1}, set={"a": 1})
    with store.transaction():
        store.replace(changed)

    assert store.unsent() == [changed, mutation(2)]


def test_view_follows_the_copy(store: Store) -> None:
    """A record that is not on the screen has no row in the view, also if something of it is kept."""
    with store.transaction():
        store.save(COPY, {"a": 1})
        store.save(Copy("jobs", "j2"), {"a": 2})
        store.save(Copy("tasks", "t1", alive=True, held=True), {"b": 3})
    assert store.shown_all("jobs") == {"j1": {"a": 1}}

    with store.transaction():
        store.save(COPY, None)

    assert store.shown_all("jobs") == {}
    assert store.records() == [("jobs", "j1"), ("jobs", "j2"), ("tasks", "t1")]


def test_purge_spares_what_waits_or_is_shown(store: Store) -> None:
    """Only records that are out of scope or deleted and have no unanswered edit are forgotten."""
    add(store, 1)
    with store.transaction():
        store.save(Copy("jobs", "j1", alive=True), {"a": 1})
        store.save(Copy("jobs", "left", alive=True), None)
        store.save(Copy("jobs", "dead", held=True), None)
        store.save(Copy("jobs", "here", alive=True, held=True), {"a": 1})
        store.purge()

    assert store.records() == [("jobs", "here"), ("jobs", "j1")]


def test_doubt_is_lifted_by_the_hub_alone(store: Store) -> None:
    """When the scope is read anew, what the hub does not name again is found, once."""
    here, there = Copy("jobs", "here", alive=True, held=True), Copy("jobs", "there", alive=True, held=True)
    with store.transaction():
        store.save(here, {})
        store.save(there, {})
        assert store.doubted() == []
        store.doubt()
        store.save(here, {}, fresh=True)
        store.save(there, {})

        assert store.doubted() == [("jobs", "there")]
        assert store.doubted() == []
