"""The device half by example: each rule of bases, `was` and beneath, one story each."""

from __future__ import annotations

from typing import Any

import pytest

from replication import catalog, device, kinds
from replication.device import Act, Copy, Layout
from replication.mutation import Mutation
from replication.record import ALIVE
from replication.verdict import CellVerdict, MutationVerdict

LAYOUT = Layout(
    {
        "title": kinds.Shape(kind="text"),
        "notes": kinds.Shape(kind="text"),
        "meter": kinds.Shape(kind="integer"),
        "crew": kinds.Shape(kind="set"),
        "start": kinds.Shape(kind="instant"),
        "end": kinds.Shape(kind="instant"),
    },
    {"window": ("start", "end")},
)


def held(rev: int = 100, **fields: Any) -> Copy:
    """A copy as a put left it."""
    return device.put(Copy("work_orders", "wo"), LAYOUT, rev, fields, rev)


def edited(copy: Copy, n: int, **fields: Any) -> tuple[Copy, Mutation]:
    """The copy after the person set some fields."""
    return device.edit(copy, LAYOUT, Act(fields=fields), n)


def judged(mutation: Mutation, verdict: str, /, **cells: CellVerdict) -> MutationVerdict:
    """A verdict of the mutation that names these cells."""
    return MutationVerdict(
        n=mutation.n,
        verdict=verdict,
        schema=1,
        collection=mutation.collection,
        id=mutation.id,
        rev=0,
        cells=cells,
    )


def settled(copy: Copy, mutation: Mutation, verdict: str, **cells: CellVerdict) -> Copy:
    """The copy after the verdict."""
    return device.settle(copy, LAYOUT, mutation, judged(mutation, verdict, **cells))


def shown(copy: Copy) -> dict[str, Any] | None:
    """What is on the screen."""
    return device.view(copy, LAYOUT)


def test_base_is_the_rev_of_the_put() -> None:
    """An edit says up to which rev the record was held, for its own cells and for aliveness."""
    _, mutation = edited(held(100, title="a", notes="b"), 1, title="c")

    assert mutation.base == {"title": 100, ALIVE: 100}
    assert mutation.rev == 100


def test_base_stays_frozen_until_the_verdict() -> None:
    """What arrives over an unanswered edit was not on the screen and raises no base."""
    copy, _ = edited(held(100, title="a"), 1, title="b")
    copy = device.put(copy, LAYOUT, 150, {"title": "office", "notes": "x"}, 150)

    copy, second = edited(copy, 2, title="c", notes="y")

    assert second.base == {"title": 100, "notes": 150, ALIVE: 100}
    assert second.rev == 150


def test_verdict_raises_only_the_cells_it_names() -> None:
    """A verdict tells of its own cells; of the rest the device knows no more than before."""
    copy, first = edited(held(100, title="a", notes="b"), 1, title="c")
    copy = settled(copy, first, "applied", title=CellVerdict(verdict="applied", seq=180))

    _, second = edited(copy, 2, title="d", notes="e")

    assert second.base == {"title": 180, "notes": 100, ALIVE: 100}
    assert second.rev == 100, "the held rev is no affair of verdicts"


def test_later_edit_keeps_the_base_of_the_one_still_unanswered() -> None:
    """Of two edits of a cell, the verdict of the first does not thaw the base of the second."""
    copy, first = edited(held(100, notes="a"), 1, notes="b")
    copy, second = edited(copy, 2, notes="c")
    copy = settled(copy, first, "superseded", notes=CellVerdict(verdict="superseded", value="x", seq=170))

    copy, third = edited(copy, 3, notes="d")

    assert [m.base_of("notes") for m in (first, second, third)] == [100, 100, 100]
    assert (first.was, second.was, third.was) == ({"notes": "a"}, {"notes": "b"}, {"notes": "c"})


def test_operation_freezes_the_base_too() -> None:
    """An unanswered operation holds the base of its cell as an unanswered value does."""
    copy, _ = device.edit(held(100, meter=5), LAYOUT, Act(do={"meter": {"inc": 1}}), 1)
    copy = device.put(copy, LAYOUT, 150, {"meter": 7}, 150)

    _, second = edited(copy, 2, meter=10)

    assert second.base == {"meter": 100, ALIVE: 100}
    assert second.was == {"meter": 8}


def test_was_of_a_group_is_whole() -> None:
    """A member of a group is sent as part of it, and `was` tells the whole, absent members too."""
    _, mutation = edited(held(100, start="08:00"), 1, end="10:00")

    assert mutation.set == {"window": {"end": "10:00"}}
    assert mutation.was == {"window": {"start": "08:00", "end": None}}
    assert mutation.base == {"window": 100, ALIVE: 100}


def test_group_is_taken_from_one_side() -> None:
    """A put over an edited group is kept beneath; the screen shows the edit's member on top."""
    copy, _ = edited(held(100, start="8", end="9"), 1, end="10")
    copy = device.put(copy, LAYOUT, 150, {"start": "13", "end": "14"}, 150)

    assert copy.fields == {"start": "13", "end": "14"}
    assert shown(copy) == {"start": "13", "end": "10"}


def test_put_beneath_is_shown_when_the_edit_lost() -> None:
    """After the verdict the newer of it and of what lies beneath is shown."""
    copy, mutation = edited(held(100, title="a"), 1, title="b")
    copy = device.put(copy, LAYOUT, 200, {"title": "newest"}, 200)

    copy = settled(copy, mutation, "applied", title=CellVerdict(verdict="applied", seq=150))

    assert shown(copy) == {"title": "newest"}
    assert copy.base("title") == 200


def test_verdict_newer_than_beneath_is_shown() -> None:
    """An older put beneath gives way to the verdict; without a value the one sent stands."""
    copy, mutation = edited(held(100, title="a"), 1, title="b")
    copy = device.put(copy, LAYOUT, 120, {"title": "between"}, 120)

    copy = settled(copy, mutation, "applied", title=CellVerdict(verdict="applied", seq=150))

    assert shown(copy) == {"title": "b"}


def test_put_from_before_the_verdict_is_ignored_cell_by_cell() -> None:
    """A put whose rev is below a cell's base says nothing new of it, and all of the others."""
    copy, mutation = edited(held(100, title="a", notes="n"), 1, title="b")
    copy = settled(copy, mutation, "applied", title=CellVerdict(verdict="applied", seq=150))

    copy = device.put(copy, LAYOUT, 140, {"title": "old", "notes": "new"}, 140)

    assert shown(copy) == {"title": "b", "notes": "new"}
    assert (copy.rev, copy.base("title"), copy.base("notes")) == (140, 150, 140)


def test_partly_sent_group_stands_whole() -> None:
    """A verdict without a value for part of a group completes it from the beneath."""
    copy, mutation = edited(held(100, start="8", end="9"), 1, end="10")

    copy = settled(copy, mutation, "applied", window=CellVerdict(verdict="applied", seq=150))

    assert copy.fields == {"start": "8", "end": "10"}


def test_value_of_a_verdict_is_taken() -> None:
    """Where the stored value differs from the one sent, the stored one is shown."""
    copy, mutation = edited(held(100, notes="a"), 1, notes="a b")

    copy = settled(copy, mutation, "merged", notes=CellVerdict(verdict="merged", value="a x b", seq=160))

    assert shown(copy) == {"notes": "a x b"}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (CellVerdict(verdict="refused", code="not_owner", value="office", seq=150), "office"),
        (CellVerdict(verdict="refused", code="invalid"), "a"),
    ],
    ids=["with the current value", "with none"],
)
def test_refused_cell_falls_back(told: CellVerdict, expected: str) -> None:
    """A refused edit leaves the screen: to the value told, or to what lies beneath."""
    copy, mutation = edited(held(100, title="a"), 1, title="b")

    assert shown(settled(copy, mutation, "refused", title=told)) == {"title": expected}


def test_operations_show_at_once() -> None:
    """Operations are shown as the hub will carry them out, one on top of the other."""
    copy = held(100, meter=5, notes="a", crew=["x"])
    act = Act(do={"meter": {"inc": 2}, "notes": {"append": " b"}, "crew": {"add": ["y"], "remove": ["x"]}})
    copy, mutation = device.edit(copy, LAYOUT, act, 1)
    copy, _ = device.edit(copy, LAYOUT, Act(do={"meter": {"inc": 1}}), 2)

    assert shown(copy) == {"meter": 8, "notes": "a b", "crew": ["y"]}
    assert mutation.was == {}
    assert mutation.base == {"crew": 100, "meter": 100, "notes": 100, ALIVE: 100}


@pytest.mark.parametrize("do", [{"meter": {"inc": "many"}}, {"colour": {"append": "!"}}], ids=["bad", "unknown field"])
def test_impossible_operation_shows_nothing(do: dict[str, dict[str, Any]]) -> None:
    """An operation that cannot be carried out leaves the screen as it was, for the hub to refuse."""
    copy, _ = device.edit(held(100, meter=5), LAYOUT, Act(do=do), 1)

    assert shown(copy) == {"meter": 5}


def test_unknown_fields_are_kept() -> None:
    """A field that this device's catalogue does not name is shown and survives its edits."""
    copy, mutation = edited(held(100, title="a", colour="red"), 1, title="b")
    copy = settled(copy, mutation, "applied", title=CellVerdict(verdict="applied", seq=150))

    assert shown(copy) == {"title": "b", "colour": "red"}


def test_delete_has_read_all_cells() -> None:
    """Held up to one rev, one number says so; else each cell has its own base."""
    plain = held(100, title="a")
    _, whole = device.edit(plain, LAYOUT, Act(op="delete"), 1)
    copy, first = edited(plain, 1, title="b")
    copy = settled(copy, first, "applied", title=CellVerdict(verdict="applied", seq=150))
    copy, _ = edited(copy, 2, notes="n")
    copy = device.put(copy, LAYOUT, 140, {"title": "a", "notes": "o"}, 140)
    copy, by_cell = device.edit(copy, LAYOUT, Act(op="delete"), 3)

    assert whole.base == 100
    assert by_cell.base == {"title": 150, "notes": 100, "meter": 140, "crew": 140, "window": 140, ALIVE: 100}
    assert shown(copy) is None


def test_delete_over_a_frozen_base_has_not_read_what_lies_beneath() -> None:
    """One number for all cells is sent only if it is the held rev; the frozen base of an edit is none."""
    layout = Layout({"title": kinds.Shape(kind="text")})
    copy = device.put(Copy("c", "r"), layout, 100, {"title": "a"}, 100)
    copy, _ = device.edit(copy, layout, Act(fields={"title": "b"}), 1)
    copy = device.put(copy, layout, 140, {"title": "office"}, 140)

    _, mutation = device.edit(copy, layout, Act(op="delete"), 2)

    assert mutation.base == {"title": 100, ALIVE: 100}


def test_delete_that_lost_brings_the_record_back() -> None:
    """A superseded delete returns the record to the screen."""
    copy, mutation = device.edit(held(100, title="a"), LAYOUT, Act(op="delete"), 1)

    copy = settled(copy, mutation, "superseded", **{ALIVE: CellVerdict(verdict="superseded", value=True, seq=90)})

    assert shown(copy) == {"title": "a"}


def test_delete_applied_stays() -> None:
    """An applied delete takes the record away for good, also if an old put comes late."""
    copy, mutation = device.edit(held(100, title="a"), LAYOUT, Act(op="delete"), 1)
    copy = settled(copy, mutation, "applied", **{ALIVE: CellVerdict(verdict="applied", seq=150)})

    copy = device.put(copy, LAYOUT, 120, {"title": "old"}, 120)

    assert shown(copy) is None
    assert copy.gone


def test_edit_that_revives_shows_the_record() -> None:
    """An edit that outlived a delete brings the record back, with its verdict on aliveness."""
    copy, mutation = edited(held(100, title="a"), 1, title="b")
    copy = device.delete(copy, 150, 150)
    assert shown(copy) is None
    assert not copy.gone

    copy = settled(
        copy,
        mutation,
        "merged",
        title=CellVerdict(verdict="applied", seq=170),
        **{ALIVE: CellVerdict(verdict="merged", value=True, seq=170)},
    )

    assert shown(copy) == {"title": "b"}


def test_first_edit_of_any_cell_freezes_aliveness() -> None:
    """A delete that arrives over an unanswered edit was seen by no later edit of that time."""
    copy, _ = edited(held(100, title="a"), 1, title="b")
    copy = device.delete(copy, 150, 150)

    _, second = edited(copy, 2, notes="c")

    assert second.base == {"notes": 100, ALIVE: 100}


def test_late_delete_does_not_undo_a_later_put() -> None:
    """Commits of different urgency may arrive out of order; the later seq stands."""
    copy = held(100, title="a")
    copy = device.put(copy, LAYOUT, 160, {"title": "again"}, 160)

    assert shown(device.delete(copy, 150, 150)) == {"title": "again"}


def test_leave_waits_for_the_verdicts() -> None:
    """A record out of scope stays until its edits are answered, and not a moment longer."""
    copy, mutation = edited(held(100, title="a"), 1, title="b")
    copy = device.leave(copy, 150)
    assert shown(copy) == {"title": "b"}
    assert not copy.gone

    copy = settled(copy, mutation, "applied", title=CellVerdict(verdict="applied", seq=170))

    assert copy.gone


def test_late_put_does_not_undo_a_leave() -> None:
    """A put from before the leave, in a slower class, brings nothing back; an enter after it does."""
    copy = device.leave(held(100, title="a"), 150)

    assert device.put(copy, LAYOUT, 140, {"title": "b"}, 140).gone
    assert not device.put(copy, LAYOUT, 90, {"title": "c"}, 151).gone, "an enter may carry an old rev"


def test_in_one_commit_the_order_counts() -> None:
    """A record that is given away and given back in one tx stays; the other way round it goes."""
    copy = held(100, title="a")

    stays = device.put(device.leave(copy, 150), LAYOUT, 150, {"title": "b"}, 150)
    goes = device.leave(device.put(copy, LAYOUT, 150, {"title": "b"}, 150), 150)

    assert not stays.gone
    assert goes.gone


def test_created_record_is_held_from_its_verdict() -> None:
    """The maker holds the record without an enter: the echo may be left out."""
    copy, mutation = device.edit(Copy("work_orders", "new"), LAYOUT, Act(op="create", fields={"title": "a"}), 1)
    assert shown(copy) == {"title": "a"}
    assert mutation.base == {"title": 0, ALIVE: 0}
    assert mutation.was == {"title": None}

    copy = settled(copy, mutation, "applied", title=CellVerdict(verdict="applied", seq=150))

    assert shown(copy) == {"title": "a"}
    assert not copy.gone
    assert (copy.rev, copy.base("title")) == (0, 150)


def test_create_with_a_refused_cell_stands() -> None:
    """A create of which one cell was refused has made a record all the same."""
    act = Act(op="create", fields={"title": "a", "meter": "x"})
    copy, mutation = device.edit(Copy("work_orders", "new"), LAYOUT, act, 1)

    copy = settled(
        copy,
        mutation,
        "refused",
        title=CellVerdict(verdict="applied", seq=150),
        meter=CellVerdict(verdict="refused", code="invalid"),
    )

    assert shown(copy) == {"title": "a"}


def test_refused_create_vanishes() -> None:
    """A create that was refused leaves nothing once the edits on it are answered too."""
    copy, first = device.edit(Copy("work_orders", "new"), LAYOUT, Act(op="create", fields={"title": "a"}), 1)
    copy, second = edited(copy, 2, title="b")

    copy = settled(copy, first, "refused")
    assert not copy.gone
    copy = settled(copy, second, "refused")

    assert copy.gone
    assert shown(copy) is None


def test_delete_before_the_verdict_of_a_create_stands() -> None:
    """A record deleted before its maker heard the verdict is not alive again by that verdict."""
    copy, mutation = device.edit(Copy("work_orders", "new"), LAYOUT, Act(op="create", fields={"title": "a"}), 1)
    copy = device.delete(copy, 160, 160)

    copy = settled(copy, mutation, "applied", title=CellVerdict(verdict="applied", seq=150))

    assert shown(copy) is None
    assert copy.gone


def test_leave_before_the_verdict_of_a_create_stands() -> None:
    """A record given away before its maker heard the verdict is not held again by that verdict."""
    copy, mutation = device.edit(Copy("work_orders", "new"), LAYOUT, Act(op="create", fields={"title": "a"}), 1)
    copy = device.put(copy, LAYOUT, 150, {"title": "a"}, 151)
    copy = device.leave(copy, 160)

    assert settled(copy, mutation, "applied", title=CellVerdict(verdict="applied", seq=150)).gone


def test_restore_has_read_aliveness_alone() -> None:
    """A restore compares nothing but `$alive`, and shows the record again at once."""
    copy = device.delete(held(100, title="a"), 150, 150)

    copy, mutation = device.edit(copy, LAYOUT, Act(op="restore"), 1)

    assert mutation.base == {ALIVE: 150}
    assert mutation.rev == 100, "the held rev is no affair of deletes"
    assert shown(copy) == {"title": "a"}


def test_restored_hub_has_seen_nothing_above_its_position() -> None:
    """Numbers above the restored position count as unseen in the new epoch, those below stay."""
    copy, _ = edited(held(250, title="a"), 1, title="b")
    untouched = held(150, title="a")

    again = device.restart(copy, 200)

    assert (again.rev, again.base("title"), again.edits[0].base, again.edits[0].rev) == (
        0,
        0,
        {"title": 200, ALIVE: 200},
        200,
    )
    assert device.restart(untouched, 200) == untouched
    assert device.rebase(Mutation(n=1, op="delete", collection="c", id="i", base=250, rev=3), 200).base == 200


def test_layout_comes_from_the_catalogue() -> None:
    """Groups and shapes are read off the catalogue's collection."""
    fields = {name: catalog.Field(name=name, kind="instant") for name in ("start", "end", "done_at")}
    rules = {
        "window": catalog.CellRule(name="window", members=("start", "end"), write=frozenset(), is_group=True),
        "done_at": catalog.CellRule(name="done_at", members=("done_at",), write=frozenset()),
    }
    collection = catalog.Collection(
        name="work_orders", priority="job", delete=frozenset(), scope=(), fields=fields, cells=rules
    )

    layout = device.layout_of(collection)

    assert layout.groups == {"window": ("start", "end")}
    assert layout.cells() == {"window", "done_at"}
    assert layout.cell_of("end") == "window"
