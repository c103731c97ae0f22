"""The conversation of a device with the hub: cuts, gaps, restores, forks and tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from clients import errors
from replication import wire
from replication.mutation import Mutation
from replication.verdict import MutationVerdict
from tests.peers.field import JOB
from tests.peers.hub import ANA, CODE

if TYPE_CHECKING:
    from tests.peers.field import Field


async def test_push_says_what_the_protocol_asks(field: Field) -> None:
    """Epoch, schema, cursor, verdicts seen, clocks; per mutation the base by cell, `was` and time."""
    field.device.edit("jobs", JOB, title="Pump 2")

    await field.device.sync()

    (push,) = field.pushes()
    (mutation,) = push["mutations"]
    assert (push["epoch"], push["schema"], push.get("verdicts_seen", 0)) == ("e1", 1, 0)
    assert push["cursor"]
    assert push["clock"] == {"wall_ms": field.clock.now, "mono_ms": field.clock.now, "zone": "Europe/Zurich"}
    rev = mutation["rev"]
    assert mutation == {
        "n": 1,
        "op": "set",
        "collection": "jobs",
        "id": JOB,
        "base": {"title": rev, "$alive": rev},
        "rev": rev,
        "set": {"title": "Pump 2"},
        "was": {"title": "Pump"},
        "at": field.clock.now,
    }


async def test_pushes_are_cut_by_the_limits(new_field: Field) -> None:
    """More edits than a push may carry go out in several, and no tx in two."""
    device = await new_field.enrol(mutations=3)
    device.edit("jobs", JOB, title="1")
    device.edit("jobs", JOB, title="2")
    with device.transaction():
        device.edit("jobs", JOB, title="3")
        device.edit("jobs", JOB, title="4")
    device.edit("jobs", JOB, title="5")

    await device.sync()

    assert [[m["n"] for m in push["mutations"]] for push in new_field.pushes()] == [[1, 2], [3, 4, 5]]


async def test_hub_that_takes_a_part_gets_the_rest(field: Field) -> None:
    """Verdicts for the first mutations only are taken, and the rest is sent after the pause asked for."""
    for title in "abc":
        field.device.edit("jobs", JOB, title=title)
    field.hub.judged_at_once = 2
    field.hub.retry_after_ms = 1500

    await field.device.sync()

    assert [[m["n"] for m in push["mutations"]] for push in field.pushes()] == [[1, 2, 3], [3]]
    assert field.clock.slept.count(1.5) == 2


async def test_hub_that_answers_nothing_is_given_up(field: Field) -> None:
    """A hub that gives no verdict, time after time, is an error and no endless loop."""
    field.device.edit("jobs", JOB, title="a")
    field.hub.judged_at_once = 0

    with pytest.raises(errors.NoProgress):
        await field.device.sync()

    assert len(field.device.unsent) == 1


async def test_gap_is_filled_from_the_acknowledged(field: Field) -> None:
    """A hub that asks for a number it had acknowledged gets it again."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    backup = field.hub.backup()
    await field.device.sync()
    field.hub.state = backup
    field.device.do("jobs", JOB, "meter", {"inc": 2})

    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 8
    assert [answered.mutation.n for answered in field.device.verdicts] == [1, 2]


async def test_gap_that_cannot_be_filled_is_told(field: Field) -> None:
    """If the hub lost what it had called durable, the device says so and keeps the rest."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    backup = field.hub.backup()
    field.hub.durable = 1
    await field.device.sync()
    field.hub.state = backup
    field.device.do("jobs", JOB, "meter", {"inc": 2})

    with pytest.raises(errors.HistoryLost):
        await field.device.sync()

    assert [mutation.n for mutation in field.device.unsent] == [2]


async def test_acknowledged_is_kept_until_durable(field: Field) -> None:
    """Verdicts are kept until every backup of the hub has the mutation."""
    for title in "abc":
        field.device.edit("jobs", JOB, title=title)
    await field.device.sync()
    kept = len(field.device.verdicts)
    field.hub.durable = 2

    await field.device.sync()

    assert kept == 3
    assert [answered.mutation.n for answered in field.device.verdicts] == [3]


async def test_restored_hub_gets_back_what_it_lost(field: Field) -> None:
    """After a restore the device sends again what the hub no longer knows, and loses nothing of its own."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    await field.device.sync()
    backup = field.hub.backup()
    field.device.do("jobs", JOB, "meter", {"inc": 10})
    field.hub.office("create", JOB[:-1] + "7", title="lost in the crash", assignee_id=ANA)
    await field.device.sync()
    field.device.do("jobs", JOB, "meter", {"inc": 100})

    position = field.hub.restore(backup)
    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 116
    shown = field.device.get("jobs", JOB)
    assert shown is not None
    assert shown["meter"] == 116
    assert list(field.device.list("jobs")) == [JOB], "what the hub lost is no longer in scope"
    resent = field.pushes()[-1]["mutations"]
    assert [m["n"] for m in resent] == [2, 3]
    assert all(seq <= position for m in resent for seq in m["base"].values())


async def test_epoch_that_never_settles_is_given_up(field: Field) -> None:
    """A hub that changes its epoch on each request is an error and no endless loop."""
    document = b'{"code": "epoch_changed", "epoch": "x", "applied": 0, "position": 0}'
    field.hub.faults.extend([(409, {}, document)] * 10)

    with pytest.raises(errors.NoProgress):
        await field.device.sync()


async def test_idle_device_hears_of_a_restore_too(field: Field) -> None:
    """A pull tells only that the epoch changed; the device asks for the rest and sends what was lost."""
    backup = field.hub.backup()
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    await field.device.sync()
    field.hub.restore(backup)

    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 6
    assert field.device.list("jobs") == {JOB: {"title": "Pump", "notes": "old", "meter": 6, "assignee_id": ANA}}


@pytest.mark.parametrize("document", [b'{"code": "epoch_changed"}', b'{"code": "epoch_changed", "applied": "many"}'])
async def test_epoch_problem_without_its_parts_is_unintelligible(field: Field, document: bytes) -> None:
    """An answer that is not of the protocol is named as such and changes nothing."""
    field.hub.faults.append((409, {}, document))

    with pytest.raises(errors.Unintelligible):
        await field.device.sync()


async def test_cursor_that_the_hub_disowns_is_given_up(field: Field) -> None:
    """A hub that no longer knows its own cursor is read anew; nothing unsent waits for that."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    field.hub.faults.append((400, {}, b'{"code": "bad_cursor"}'))

    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 6
    assert field.device.list("jobs")[JOB]["meter"] == 6


async def test_forked_replica_is_told_and_can_enrol_anew(field: Field) -> None:
    """Two copies of one installation: the second is told, keeps its work and sends it as a new replica."""
    await field.device.close()
    (field.folder / "clone.db").write_bytes((field.folder / "phone.db").read_bytes())
    one, other = field.another("phone.db"), field.another("clone.db")
    one.edit("jobs", JOB, title="from one")
    await one.sync()
    other.do("jobs", JOB, "meter", {"inc": 2})

    with pytest.raises(errors.ReplicaForked):
        await other.sync()
    kept = list(other.unsent)
    await other.enrol(CODE, "Ana's phone, again")
    await other.sync()
    await one.sync()

    assert [mutation.n for mutation in kept] == [1]
    assert other.rid != one.rid
    assert field.hub.value(JOB, "meter") == 7
    assert other.list("jobs") == one.list("jobs")


async def test_device_that_enrols_again_makes_no_false_conflict(field: Field) -> None:
    """A new replica pulls to the end before it pushes: what its person had seen before counts as seen."""
    field.hub.office("set", JOB, title="Pump 7")
    await field.device.sync()
    field.device.edit("jobs", JOB, title="Ana corrects what she sees")

    await field.device.enrol(CODE, "Ana's phone, again")
    await field.device.sync()

    assert [(told.mutation.n, told.verdict.verdict) for told in field.device.verdicts] == [(1, "applied")]
    assert field.hub.value(JOB, "title") == "Ana corrects what she sees"
    paths = [path for _, path, _ in field.hub.requests]
    assert wire.PATH_PULL in paths[paths.index(wire.PATH_ENROL, 1) : -paths[::-1].index(wire.PATH_PUSH) - 1]


async def test_pull_that_was_cut_off_is_ended_before_the_first_push(field: Field) -> None:
    """A new replica that was told a part does not push until it was told all."""
    other = JOB[:-1] + "7"
    field.hub.office("create", other, title="Boiler", assignee_id=ANA)
    await field.device.sync()
    field.device.edit("jobs", other, title="Boiler in the cellar")
    await field.device.enrol(CODE, "Ana's phone, again")
    field.hub.limits = wire.Limits(page=1)
    field.hub.faults.extend(["", *["lost_answer"] * 20])
    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    cut_off_at = field.device._store.cursor()
    field.hub.faults.clear()

    await field.device.sync()

    assert cut_off_at is not None
    assert [told.verdict.verdict for told in field.device.verdicts] == ["applied"]


async def test_settled_work_whose_answer_was_lost_is_not_sent_again_by_a_new_replica(field: Field) -> None:
    """Enrolling learns first what became of the old numbers, so that a step counts once."""
    for step in (1, 10, 100):
        field.device.do("jobs", JOB, "meter", {"inc": step})
    field.hub.judged_at_once = 2
    field.hub.faults.extend(["lost_answer"] * 6)
    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    field.hub.judged_at_once = None

    await field.device.enrol(CODE, "Ana's phone, again")
    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 116
    assert field.device.list("jobs")[JOB]["meter"] == 116
    assert list(field.device.set_aside) == []


async def test_forked_replica_sends_only_what_never_arrived(field: Field) -> None:
    """Of a device that was put back from a backup, what had arrived is answered and the rest goes out anew."""
    for step in (1, 10, 100):
        field.device.do("jobs", JOB, "meter", {"inc": step})
    await field.device.close()
    (field.folder / "backup.db").write_bytes((field.folder / "phone.db").read_bytes())
    before, after = field.another("phone.db"), field.another("backup.db")
    field.hub.judged_at_once = 2
    field.hub.faults.extend(["lost_answer"] * 6)
    with pytest.raises(errors.Unreachable):
        await before.sync()
    field.hub.judged_at_once = None
    with before._store.transaction():
        before._store.acknowledge(MutationVerdict(n=3, verdict="applied", schema=1, collection="jobs", id=JOB, rev=0))
        before._store.add(Mutation(n=3, op="set", collection="jobs", id=JOB, do={"meter": {"inc": 1000}}))
    await before.sync()
    with pytest.raises(errors.ReplicaForked):
        await after.sync()

    await after.enrol(CODE, "Ana's phone, again")
    await after.sync()

    assert field.hub.value(JOB, "meter") == 5 + 1 + 10 + 1000 + 100
    assert [told.mutation.do["meter"] for told in after.verdicts] == [{"inc": 100}]


async def test_what_may_have_arrived_is_set_aside_where_nobody_can_be_asked(field: Field) -> None:
    """Without the old identity, what was sent is left to the person, and what was not goes out."""
    field.device.do("jobs", JOB, "meter", {"inc": 1})
    field.hub.faults.extend(["lost_answer"] * 6)
    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    field.device.do("jobs", JOB, "meter", {"inc": 10})
    field.hub.tokens.clear()
    field.hub.refreshes.clear()

    await field.device.enrol(CODE, "Ana's phone, again")
    await field.device.sync()

    assert field.hub.value(JOB, "meter") == 16
    assert field.device.list("jobs")[JOB]["meter"] == 16
    assert [(each.mutation.do, each.verdict) for each in field.device.set_aside] == [({"meter": {"inc": 1}}, None)]


async def test_what_the_old_replica_was_refused_stays_readable(field: Field) -> None:
    """A verdict that is learned in the moment of enrolling again is not lost to the person."""
    field.device.edit("jobs", JOB, price="3")
    field.hub.faults.extend(["lost_answer"] * 6)
    with pytest.raises(errors.Unreachable):
        await field.device.sync()

    await field.device.enrol(CODE, "Ana's phone, again")
    await field.device.sync()

    (kept,) = field.device.set_aside
    assert kept.verdict is not None
    assert (kept.mutation.set, kept.verdict.verdict) == ({"price": "3"}, "refused")
    assert list(field.device.unsent) == []


async def test_fenced_device_keeps_its_work(field: Field) -> None:
    """A revoked device is told and keeps its outbox."""
    field.device.edit("jobs", JOB, title="a")
    assert field.device.rid is not None
    field.hub.state.replicas[field.device.rid].fenced = True

    with pytest.raises(errors.Fenced):
        await field.device.sync()

    assert len(field.device.unsent) == 1


async def test_expired_token_is_renewed(field: Field) -> None:
    """A token that ran out is renewed on the way, and the push goes through."""
    field.device.edit("jobs", JOB, title="a")
    field.hub.tokens.clear()

    await field.device.sync()

    assert list(field.device.unsent) == []


async def test_device_that_cannot_renew_is_told(field: Field) -> None:
    """Where the renewal is refused too, the person has to enrol again."""
    field.hub.tokens.clear()
    field.hub.refreshes.clear()

    with pytest.raises(errors.NotAuthorised):
        await field.device.sync()


async def test_new_catalogue_is_fetched(field: Field) -> None:
    """A verdict under another catalogue version makes the device fetch it."""
    state = field.hub.state
    state.catalog = type(state.catalog)(collections=state.catalog.collections, version=2)
    field.device.edit("jobs", JOB, title="a")
    await field.device.sync()
    field.device.edit("jobs", JOB, title="b")

    await field.device.sync()

    assert [push["schema"] for push in field.pushes()] == [1, 2]


async def test_what_a_cut_off_push_left_goes_out_under_its_own_catalogue(field: Field) -> None:
    """Work that was made under an old catalogue says so, also if a verdict has told of a new one meanwhile."""
    state = field.hub.state
    state.catalog = type(state.catalog)(collections=state.catalog.collections, version=2)
    store = field.device._store
    store.enrol(msgspec.structs.replace(store.enrolment(), schema=2))
    field.device.edit("jobs", JOB, title="a")

    await field.device.sync()
    field.device.edit("jobs", JOB, title="b")
    await field.device.sync()

    assert [push["schema"] for push in field.pushes()] == [1, 2]
