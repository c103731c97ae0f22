"""Scope, case by case: one record changes, and the right people get it or let go of it."""

from __future__ import annotations

from typing import Any

import pytest

from replication import catalog_file, scope
from replication.memberships import Edge, Interval, Key, Memberships
from replication.record import ALIVE, Cell, Record, Stamp, unknown
from replication.versions import Dot

CATALOG = catalog_file.parse(
    """
    [collections.areas]
    priority = "reference"
    delete = ["office"]
    scope = ["references"]
    fields.name = {kind = "text", write = ["office"]}

    [collections.customers]
    priority = "reference"
    delete = ["office"]
    scope = ["references"]
    fields.area_id = {kind = "reference", to = "areas", write = ["office"]}

    [collections.contacts]
    priority = "reference"
    delete = ["office"]
    scope = ["parent:customer_id"]
    fields.customer_id = {kind = "reference", to = "customers", write = ["office"]}

    [collections.jobs]
    priority = "job"
    delete = ["office"]
    scope = ["assignee", "crew", "creator_until_assigned"]
    fields.title = {kind = "text", write = ["device", "office"]}
    fields.assignee_id = {kind = "person", write = ["office"]}
    fields.crew = {kind = "set", of = "person", write = ["office"]}
    fields.customer_id = {kind = "reference", to = "customers", write = ["office"]}
    fields.payer_id = {kind = "reference", to = "customers", write = ["office"]}

    [collections.entries]
    priority = "job"
    delete = ["office"]
    scope = ["creator", "parent:job_id"]
    fields.job_id = {kind = "reference", to = "jobs", write = ["device"]}

    [collections.articles]
    priority = "bulk"
    delete = ["office"]
    scope = ["all"]
    fields.area_id = {kind = "reference", to = "areas", write = ["office"]}
    """
)


class World:
    """Records that change one after the other, and what is kept about who holds them."""

    def __init__(self) -> None:
        self.m = Memberships()
        self.records: dict[Key, Record] = {}
        self.seq = 0

    def put(self, collection: str, record_id: str, by: str | None = None, **values: Any) -> scope.Moves:
        """Create or change a record, or with `alive=False` delete it."""
        self.seq += 1
        before = self.records.get((collection, record_id)) or unknown(collection, record_id)
        stamp = Stamp(Dot(1, self.seq), "office", "", "olga")
        values = {ALIVE if name == "alive" else name: value for name, value in values.items()}
        cells = {name: Cell(value, stamp, self.seq, {1: self.seq}) for name, value in values.items()}
        after = Record(collection, record_id, self.seq, before.cells | cells)
        self.records[collection, record_id] = after
        return scope.refresh(self.m, CATALOG, before, after, by, self.seq)

    def counts(self, *record: str) -> dict[str, int]:
        """Return the open keys of a record, each with the number of its reasons."""
        collection, record_id = record
        return {key: each.refcount for key, each in self.m.open.get((collection, record_id), {}).items()}


@pytest.fixture
def world() -> World:
    """An empty world."""
    return World()


JOB: Key = ("jobs", "1")
ENTRY: Key = ("entries", "1")


def test_assigning_brings_a_job_to_the_assignee(world: World) -> None:
    """Whoever is assigned enters, and whoever was before leaves."""
    first = world.put("jobs", "1", assignee_id="ana")
    second = world.put("jobs", "1", assignee_id="ben")

    assert first == scope.Moves(enters=(("ana", JOB),))
    assert second == scope.Moves(enters=(("ben", JOB),), leaves=(("ana", JOB),))


def test_a_second_reason_is_no_second_entering(world: World) -> None:
    """Somebody who is crew already does not enter when assigned, and does not leave while one reason stands."""
    world.put("jobs", "1", crew=["ana", "ben"])

    assert world.put("jobs", "1", assignee_id="ana") == scope.Moves()
    assert world.put("jobs", "1", crew=["ben"]) == scope.Moves()
    assert world.put("jobs", "1", assignee_id=None) == scope.Moves(leaves=(("ana", JOB),))


def test_people_enter_in_the_order_of_their_ids(world: World) -> None:
    """The order of moves depends on nothing but the state."""
    people = [f"person {n}" for n in range(10, 30)]

    moves = world.put("jobs", "1", crew=people[::-1])

    assert [person for person, _ in moves.enters] == people


def test_an_edit_outside_scope_changes_nothing(world: World) -> None:
    """A new title moves nobody and leaves nothing to write."""
    world.put("jobs", "1", assignee_id="ana")
    world.m.dirty.intervals.clear()

    assert world.put("jobs", "1", title="Boiler") == scope.Moves()
    assert world.m.dirty.intervals == {}


def test_an_equal_value_written_again_changes_nothing(world: World) -> None:
    """A new cell with the old assignee gives and takes nothing."""
    world.put("jobs", "1", assignee_id="ana")
    world.m.dirty.intervals.clear()

    assert world.put("jobs", "1", assignee_id="ana") == scope.Moves()
    assert world.m.dirty.intervals == {}


def test_a_maker_holds_a_job_until_somebody_is_assigned(world: World) -> None:
    """The maker leaves at the first assignment, and taking the assignee away does not bring them back."""
    assert world.put("jobs", "1", by="ana", title="Leak").enters == (("ana", JOB),)
    assert world.put("jobs", "1", assignee_id="ben").leaves == (("ana", JOB),)
    assert world.put("jobs", "1", assignee_id=None).enters == ()
    assert world.put("jobs", "1", assignee_id="eva") == scope.Moves(enters=(("eva", JOB),))
    assert scope.was_member(world.m, JOB, "ana", rev=1)


def test_a_maker_who_is_assigned_never_leaves(world: World) -> None:
    """Made and then assigned to the same person: no leave in between."""
    world.put("jobs", "1", by="ana", title="Leak")

    assert world.put("jobs", "1", assignee_id="ana") == scope.Moves()
    assert scope.relations(world.m, JOB, "ana") == ("assignee",)


def test_a_maker_is_former_when_another_was_assigned_at_once(world: World) -> None:
    """A job born with another's name never enters its maker's scope, yet their edits are no stranger's."""
    moves = world.put("jobs", "1", by="ana", assignee_id="ben")

    assert moves == scope.Moves(enters=(("ben", JOB),))
    assert scope.was_member(world.m, JOB, "ana", rev=0)
    assert not scope.was_member(world.m, JOB, "ana", rev=1)
    assert world.m.dirty.intervals[JOB, "creator:ana", 1] == Interval("creator:ana", 1, 1, 0)


def test_a_plain_maker_holds_for_good(world: World) -> None:
    """Under `creator` nothing that is assigned anywhere takes the record away."""
    world.put("jobs", "1", assignee_id="ana")
    world.put("entries", "1", by="ana", job_id="1")

    assert world.counts(*ENTRY) == {"assignee:ana": 1, "creator:ana": 1}
    assert world.put("jobs", "1", assignee_id="ben") == scope.Moves(
        enters=(("ben", JOB), ("ben", ENTRY)), leaves=(("ana", JOB),)
    )
    assert scope.relations(world.m, ENTRY, "ana") == ("creator",)


def test_a_child_comes_and_goes_with_its_parent(world: World) -> None:
    """Children copy their parent's keys, when they are made and whenever these change, parent first."""
    world.put("jobs", "1", crew=["ana"])

    assert world.put("entries", "1", job_id="1") == scope.Moves(enters=(("ana", ENTRY),))
    assert world.put("jobs", "1", crew=["ben"]) == scope.Moves(
        enters=(("ben", JOB), ("ben", ENTRY)), leaves=(("ana", JOB), ("ana", ENTRY))
    )


def test_a_child_that_changes_parents_stays_with_those_who_hold_both(world: World) -> None:
    """Moving an entry from one job to another moves only the people in whom the two differ."""
    world.put("jobs", "1", crew=["ana", "ben"])
    world.put("jobs", "2", crew=["ana", "eva"])
    world.put("entries", "1", job_id="1")

    moves = world.put("entries", "1", job_id="2")

    assert moves == scope.Moves(enters=(("eva", ENTRY),), leaves=(("ben", ENTRY),))
    assert [each for each in world.m.closed[ENTRY] if each.key == "crew:ana"] == []


def test_a_customer_is_linked_once_for_each_reference(world: World) -> None:
    """Each held record and field that names a customer is a reason; the last to go is the leave."""
    customer: Key = ("customers", "1")
    first = world.put("jobs", "1", assignee_id="ana", customer_id="1", payer_id="1")
    world.put("jobs", "2", crew=["ana"], customer_id="1")

    assert first.enters == (("ana", JOB), ("ana", customer))
    assert world.counts(*customer) == {"linked:ana": 3}
    assert world.put("jobs", "1", assignee_id=None).leaves == (("ana", JOB),)
    assert world.put("jobs", "2", customer_id=None).leaves == (("ana", customer),)


def test_what_is_linked_links_on(world: World) -> None:
    """A job brings its customer, the customer its contacts and its area, givers first."""
    world.put("contacts", "1", customer_id="1")
    world.put("customers", "1", area_id="1")

    moves = world.put("jobs", "1", assignee_id="ana", customer_id="1")

    records = [record for _, record in moves.enters]
    assert records == [JOB, ("customers", "1"), ("areas", "1"), ("contacts", "1")]
    assert world.put("jobs", "1", customer_id="2").leaves == (("ana", ("customers", "1")), *moves.enters[2:])


def test_a_deleted_record_keeps_its_holders(world: World) -> None:
    """A delete moves nobody; a job reassigned while deleted still changes hands."""
    world.put("jobs", "1", assignee_id="ana", alive=True)

    assert world.put("jobs", "1", alive=False) == scope.Moves()
    assert scope.readers(world.m, JOB, CATALOG.collections["jobs"]) == {"ana"}
    assert world.put("jobs", "1", assignee_id="ben").leaves == (("ana", JOB),)


def test_what_everybody_reads_has_no_members_and_gives_nothing(world: World) -> None:
    """An article has one reader, all, and does not bring its area into anyone's scope."""
    moves = world.put("articles", "1", by="ana", area_id="1")

    assert moves == scope.Moves()
    assert (world.m.open, world.m.edges, world.m.dirty.intervals) == ({}, {}, {})
    assert scope.readers(world.m, ("articles", "1"), CATALOG.collections["articles"]) == {"all"}


def test_relations_come_in_a_fixed_order(world: World) -> None:
    """A person may be several things to a record; a stranger is nothing."""
    world.put("jobs", "1", crew=["ana"], assignee_id="ana")

    assert scope.relations(world.m, JOB, "ana") == ("assignee", "crew")
    assert scope.relations(world.m, JOB, "ben") == ()


def test_a_former_holder_is_known_by_the_end_of_the_interval(world: World) -> None:
    """To have left at 2 counts for a device that holds rev 1, and not for one that holds rev 2."""
    world.put("jobs", "1", assignee_id="ana")
    world.put("jobs", "1", assignee_id="ben")

    assert scope.was_member(world.m, JOB, "ana", rev=1)
    assert not scope.was_member(world.m, JOB, "ana", rev=2)
    assert not scope.was_member(world.m, JOB, "ben", rev=0)


def test_each_interval_is_one_row_to_write(world: World) -> None:
    """An interval keeps its row from opening to end, and coming back opens another."""
    for person in ("ana", None, "ana"):
        world.put("jobs", "1", assignee_id=person)

    assert world.m.dirty.intervals == {
        (JOB, "assignee:ana", 1): Interval("assignee:ana", 1, 2, 0),
        (JOB, "assignee:ana", 3): Interval("assignee:ana", 3, None, 1),
    }


def test_an_edge_that_came_and_went_is_nothing_to_write() -> None:
    """Only what differs from the store is written, whichever way an edge went in between."""
    new = Edge(JOB, "customer_id", ("customers", "1"), "reference")
    old = Edge(JOB, "job_id", ENTRY, "parent")
    m = Memberships()
    m.load_edge(old)

    m.join(new)
    m.cut(old)
    assert (m.dirty.added, m.dirty.removed) == ([new], [old])

    m.cut(new)
    m.join(old)
    assert (m.dirty.added, m.dirty.removed) == ([], [])
    assert m.edges_from(JOB) == [old]


def test_a_reason_that_was_never_given_cannot_be_taken() -> None:
    """A count below none is a mistake of ours and is not written down."""
    with pytest.raises(AssertionError, match="taken back"):
        Memberships().shift(JOB, "assignee:ana", -1, 1)
