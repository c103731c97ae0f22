"""Cases of the hub that a law would have to be very lucky to meet."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from replication import catalog_file, hub, merge
from replication.memberships import Memberships
from replication.mutation import Mutation
from replication.record import Cell
from replication.state import Replica, State, Submission
from replication.verdict import MutationVerdict
from replication.versions import Dot

ORDER = "00000000-0000-4000-8000-000000000001"
HUB, OFFICE, ANA, BEN = 1, 2, 3, 4
CATALOGUE = """
[collections.jobs]
priority = "job"
delete = ["device", "office"]
scope = ["all"]
[collections.jobs.fields]
title = { kind = "text", write = ["device", "office"], rank = ["office", "device"] }
note = { kind = "text", write = ["device", "office"], tie = "last" }
reading = { kind = "KIND", write = ["device", "office"] MERGE }
"""


def catalogue(kind: str = "text", merge_key: str = "", version: int = 1) -> Any:
    """Return the catalogue with this kind of reading."""
    return catalog_file.parse(CATALOGUE.replace("KIND", kind).replace("MERGE", merge_key), version=version)


def fresh() -> State:
    """Return a hub that knows one job of the office."""
    kinds = {HUB: "hub", OFFICE: "office", ANA: "device", BEN: "device"}
    replicas = {rid: Replica(rid, kind) for rid, kind in kinds.items()}
    state = State(seq=0, hub_rid=HUB, catalog=catalogue(), replicas=replicas, records={}, memberships=Memberships())
    made = Mutation(n=0, op="create", collection="jobs", id=ORDER, set={"title": "Pump", "note": "a", "reading": "n/a"})
    hub.judge(state, Submission(rid=OFFICE, person="dora", authority="office", mutations=(made,), numbered=False))
    return state


def push(state: State, rid: int, *mutations: Mutation, served: int = 10) -> list[MutationVerdict]:
    """Let a device push, and return what it is told."""
    asked = Submission(rid=rid, person=f"person {rid}", authority="device", mutations=mutations, served=served)
    return [verdict for verdict in hub.judge(state, asked).verdicts if isinstance(verdict, MutationVerdict)]


def edit(n: int, **rest: Any) -> Mutation:
    """Return an edit of the job."""
    return Mutation(n=n, collection="jobs", id=ORDER, **{"op": "set", "base": 1, "rev": 1, **rest})


def test_a_context_makes_nobody_see_what_was_never_served() -> None:
    """A context beyond what the hub has told the device counts no more than a base beyond it does."""
    state = fresh()
    office = Mutation(n=0, op="set", collection="jobs", id=ORDER, base=1, set={"title": "Boiler"})
    hub.judge(state, Submission(rid=OFFICE, person="dora", authority="office", mutations=(office,), numbered=False))

    [told] = push(state, ANA, edit(1, set={"title": "mine"}, context={"title": {OFFICE: 1_000}}), served=1)

    assert told.cells["title"].verdict == "superseded"


def test_a_context_cannot_void_what_others_will_write() -> None:
    """Whatever a device claims to have seen, the next edits of others are judged and not absorbed."""
    state = fresh()
    push(state, ANA, edit(1, set={"note": "evil"}, context={"note": dict.fromkeys(range(1, 20), 2**62)}))

    [told] = push(state, BEN, edit(1, set={"note": "mine"}))

    assert told.cells["note"].verdict == "applied"
    assert set(state.records["jobs", ORDER].cells["note"].vv) == {OFFICE, ANA, BEN}


@pytest.mark.parametrize(("kind", "value"), [("decimal", "3.5"), ("integer", 3)])
def test_a_stored_value_of_another_kind_is_no_party_to_a_merge(kind: str, value: Any) -> None:
    """Where a field had another kind before, a concurrent write goes by rank and tie, and blocks nobody."""
    state = fresh()
    state.catalog = catalogue(kind, ', merge = "max"', version=2)

    [told] = push(state, ANA, edit(1, base=0, set={"reading": value}))

    assert told.cells["reading"].verdict == "superseded"
    assert state.faults == []


def test_a_number_that_comes_twice_in_a_tx_takes_nobodys_place() -> None:
    """What is sent twice is judged once, and what follows it is judged too."""
    state = fresh()
    tx = [edit(n, tx="t", set={"note": f"{n}"}) for n in (1, 2, 2, 3)]

    told = push(state, ANA, *tx)

    assert [(each.n, each.verdict) for each in told] == [(1, "applied"), (2, "applied"), (3, "applied")]


def test_a_mistake_of_ours_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutation that the hub cannot judge is held with all it says, and the next one is judged."""
    state = fresh()
    real = merge.judge

    def poisoned(cell: Cell | None, write: merge.Write, place: merge.Place) -> Any:
        if write.value == "poison":
            raise ZeroDivisionError
        return real(cell, write, place)

    monkeypatch.setattr(merge, "judge", poisoned)
    before = state.records["jobs", ORDER]

    first, second = push(state, ANA, edit(1, set={"title": "x", "note": "poison"}), edit(2, set={"note": "well"}))

    assert (first.verdict, first.code) == ("held", "held_fault")
    assert second.verdict == "applied"
    assert [row.payload is not None for row in state.effects.ledger[-2:]] == [True, False]
    assert [type(fault) for fault in state.faults] == [ZeroDivisionError]
    assert state.records["jobs", ORDER].cells["title"] is before.cells["title"]


def test_what_was_held_comes_before_what_its_device_wrote_since() -> None:
    """A released edit does not undo a later one of the same device, and neither does it revive what that deleted."""
    state = fresh()
    push(state, ANA, *(edit(n, set={"title": f"{n}"}) for n in range(1, 6)), edit(6, set={"note": "later"}))
    state.waiting = {Dot(ANA, 5)}
    asked = Submission(
        rid=OFFICE,
        person=f"person {ANA}",
        authority="device",
        mutations=(edit(0, set={"note": "held"}),),
        numbered=False,
        released=Dot(ANA, 5),
    )

    [told] = hub.judge(state, asked).verdicts

    assert isinstance(told, MutationVerdict)
    assert told.cells["note"].verdict == "absorbed"
    assert state.records["jobs", ORDER].cells["note"].value == "later"


def release(state: State, first: int, *mutations: Mutation) -> list[MutationVerdict]:
    """Release what Ana's device made from that number on, as one tx of hers."""
    asked = Submission(
        rid=OFFICE,
        person=f"person {ANA}",
        authority="device",
        mutations=tuple(msgspec.structs.replace(each, tx=f"{first}") for each in mutations),
        numbered=False,
        released=Dot(ANA, first),
        releaser="dora",
    )
    answer = hub.judge(state, asked)
    assert answer.problem is None, answer.problem
    return [each for each in answer.verdicts if isinstance(each, MutationVerdict)]


def test_a_held_tx_is_named_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds it, a fault of ours too: each of its mutations says where it begins and how long it is."""
    state = fresh()
    monkeypatch.setattr(merge, "judge", lambda *_: 1 / 0)

    push(
        state,
        ANA,
        edit(1, set={"note": "alone"}),
        edit(2, tx="t", set={"note": "a"}),
        edit(3, tx="t", set={"note": "b"}),
    )

    assert [(row.dot.n, row.first, row.size) for row in state.effects.held] == [(1, 1, 1), (2, 2, 2), (3, 2, 2)]


def test_a_released_tx_follows_on_itself() -> None:
    """Its mutations had seen each other, and what its device wrote before; what another wrote meets only the first."""
    state = fresh()
    push(state, ANA, *(edit(n, set={"title": f"{n}"}) for n in range(1, 4)))
    push(state, BEN, edit(1, set={"note": "Ben's"}))
    state.waiting = {Dot(ANA, 2), Dot(ANA, 3)}

    told = release(state, 2, edit(0, set={"reading": "1"}), edit(0, set={"reading": "2"}))

    assert [each.cells["reading"].verdict for each in told] == ["applied", "applied"]
    assert state.records["jobs", ORDER].cells["reading"].value == "2"
    assert [(each.dot.n, each.person) for each in state.effects.released] == [(2, "dora"), (3, "dora")]
    assert state.waiting == set()


def test_a_release_ends_all_of_a_tx_or_nothing() -> None:
    """With one that cannot be meant all wait on; where one was carried out, none of them waits."""
    state = fresh()
    state.waiting = {Dot(ANA, 1), Dot(ANA, 2)}

    refused = release(state, 1, edit(0, set={"reading": "1"}), edit(0, set={"reading": 5}))

    assert [each.code for each in refused] == ["tx_refused", "invalid"]
    assert (state.effects.released, state.waiting) == ([], {Dot(ANA, 1), Dot(ANA, 2)})
    release(state, 1, edit(0, set={"reading": "1"}), edit(0, set={"title": "x"}))
    assert (len(state.effects.released), state.waiting) == (2, set())


def test_a_tx_of_which_a_part_no_longer_waits_is_not_released() -> None:
    """It would be carried out by halves."""
    state = fresh()
    state.waiting = {Dot(ANA, 1)}
    with pytest.raises(AssertionError, match="not_waiting"):
        release(state, 1, edit(0, set={"reading": "1"}), edit(0, set={"title": "x"}))


def test_a_delete_keeps_what_it_had_seen_in_its_past() -> None:
    """A restored hub that hears of a delete first is not told by the edit before it that the record lives."""
    state = fresh()
    state.seq, state.restored_to = 10, 5
    seen = {"$alive": {OFFICE: 1}, "title": {OFFICE: 1, BEN: 1}, "note": {OFFICE: 1}, "reading": {OFFICE: 1}}
    push(state, ANA, edit(1, op="delete", base=1, context=seen))

    [late] = push(state, BEN, edit(1, set={"title": "mine"}, context={"$alive": {OFFICE: 1}, "title": {OFFICE: 1}}))

    assert late.cells["title"].verdict == "absorbed"
    assert not state.records["jobs", ORDER].alive


def test_what_is_released_one_by_one_follows_on_itself() -> None:
    """Edits of one device make no conflict with each other, in whichever order and under whichever number they end."""
    state = fresh()
    push(state, ANA, *(edit(n, set={"title": f"{n}"}) for n in range(1, 5)))
    state.waiting = {Dot(ANA, n) for n in range(1, 6)}

    first = release(state, 1, edit(0, set={"reading": "1"}))
    third = release(state, 3, edit(0, set={"reading": "3"}))
    second = release(state, 2, edit(0, set={"reading": "2"}))
    last = release(state, 5, edit(0, op="delete", base=1))
    cells = state.records["jobs", ORDER].cells

    verdicts = [each.cells["reading"].verdict for [each] in (first, third, second)]
    assert verdicts == ["applied", "applied", "absorbed"]
    assert cells["reading"].value == "3"
    assert (last[0].verdict, cells["$alive"].value) == ("applied", False)
    assert [row.entry.cell for row in state.effects.conflicts if row.entry.cell == "reading"] == []


def test_a_device_goes_on_after_what_was_released_of_it() -> None:
    """Its newer edit is meant in place of the older one that waited; what others wrote is unseen as ever."""
    state = fresh()
    push(state, ANA, edit(1, set={"title": "1"}))
    state.waiting = {Dot(ANA, 1)}
    release(state, 1, edit(0, set={"reading": "held"}))

    [newer] = push(state, ANA, edit(2, set={"reading": "newer"}))
    [others] = push(state, BEN, edit(1, set={"reading": "Ben's"}))

    assert newer.cells["reading"].verdict == "applied"
    assert others.cells["reading"].verdict == "superseded"


def test_what_was_released_is_united_with_what_its_device_added_since() -> None:
    """While it waited it was not on the screen, so that a text which adds to the one before it overwrites nothing."""
    state = fresh()
    state.catalog = catalogue("text", ', merge = "append"', version=2)
    push(state, ANA, edit(1, set={"title": "1"}))
    state.waiting = {Dot(ANA, 1)}
    release(state, 1, edit(0, set={"reading": "n/a, held"}, was={"reading": "n/a"}))

    push(state, ANA, edit(2, set={"reading": "n/a, newer"}, was={"reading": "n/a"}))

    assert state.records["jobs", ORDER].cells["reading"].value == "n/a, held, newer"
