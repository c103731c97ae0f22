"""Well-known mistakes in the rules, each to be put in alone.

Every mistake here was made by some system that synchronises records, or is the simplest wrong way to
write the rule. The function's name says what is wrong, its sentence what somebody would see of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec
import pytest

from replication import actor, commit, device, existence, joins, merge, policy, scope
from replication.joins import MISSING
from replication.merge import CellOutcome, Write
from replication.record import ALIVE, Cell, Stamp
from replication.versions import Vector, covers, join

Mistake: TypeAlias = Callable[[pytest.MonkeyPatch], None]

replace = msgspec.structs.replace


def own_writes_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A device's second edit is in conflict with its first."""
    patch.setattr(merge, "seen", _by_number)


def what_was_released_is_a_strangers(patch: pytest.MonkeyPatch) -> None:
    """What a person released of a device is in conflict with what the same device wrote before or since."""
    patch.setattr(Stamp, "made_as", property(lambda stamp: stamp.dot))


def everybody_is_sequential(patch: pytest.MonkeyPatch) -> None:
    """An office page that is out of date overwrites what another page of the office wrote."""
    patch.setattr(commit, "SEQUENTIAL", {"device", "hub", "office", "connection", "import"})


def the_newest_base_counts_as_unseen(patch: pytest.MonkeyPatch) -> None:
    """Off by one: what was seen last counts as not seen."""

    def seen(write: Write, cell: Cell) -> bool:
        return any(write.wrote(stamp) for stamp in cell.stamps()) or write.base > cell.seq

    patch.setattr(merge, "seen", seen)


def contexts_are_ignored(patch: pytest.MonkeyPatch) -> None:
    """A writer that says what it saw by context is not believed."""
    real = merge.seen
    patch.setattr(merge, "seen", lambda write, cell: real(replace(write, context={}), cell))


def a_loser_moves_the_number(patch: pytest.MonkeyPatch) -> None:
    """A write that lost makes the incumbent look newer, so that the next reader is accused of a conflict."""
    real = merge._supersede

    def supersede(cell: Cell, write: Write, place: merge.Place, *rest: Any) -> CellOutcome:
        lost = real(cell, write, place, *rest)
        return replace(lost, cell=replace(cell, seq=place.seq))

    patch.setattr(merge, "_supersede", supersede)


def bases_are_not_frozen(patch: pytest.MonkeyPatch) -> None:
    """What arrived under an unsent edit counts as seen by the next edit of the same cell."""
    patch.setattr(device, "_frozen", lambda copy, cell: copy.base(cell))


def a_verdict_raises_the_whole_record(patch: pytest.MonkeyPatch) -> None:
    """A verdict about one cell makes the device claim that it holds all cells up to there."""
    real = device.settle

    def settle(copy: device.Copy, layout: Any, mutation: Any, verdict: Any) -> device.Copy:
        learnt = real(copy, layout, mutation, verdict)
        return replace(learnt, rev=max(learnt.rev, verdict.rev))

    patch.setattr(device, "settle", settle)


def a_put_takes_back_what_a_verdict_told(patch: pytest.MonkeyPatch) -> None:
    """An old put overwrites the newer value that came with a verdict."""
    real = device.put
    patch.setattr(device, "put", lambda copy, *rest, **more: real(replace(copy, raised={}), *rest, **more))


def was_is_what_the_hub_had(patch: pytest.MonkeyPatch) -> None:
    """`was` leaves out the own unsent edits, so that each delta counts those before it again."""
    real = device._was
    patch.setattr(device, "_was", lambda copy, *rest: real(replace(copy, edits=()), *rest))


def equal_values_are_in_conflict(patch: pytest.MonkeyPatch) -> None:
    """Two people who wrote the same are told that they disagree."""
    real = merge._converges
    patch.setattr(merge, "_converges", lambda *given, known: known and real(*given, known=known))


def equal_deltas_are_one(patch: pytest.MonkeyPatch) -> None:
    """Two people who counted one more each have counted one together."""
    patch.setattr(merge, "_converges", lambda cell, _, result, **__: result == cell.value)


def twins_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Who wrote the same as another is not known to have seen it."""
    real = merge._converge

    def converge(cell: Cell, write: Write, place: merge.Place) -> CellOutcome:
        outcome = real(cell, write, place)
        return replace(outcome, cell=replace(outcome.cell, twins=())) if outcome.cell else outcome

    patch.setattr(merge, "_converge", converge)


def twins_have_no_rank(patch: pytest.MonkeyPatch) -> None:
    """A value that the highest rank has confirmed ranks as low as who wrote it first."""
    real = policy.settle
    patch.setattr(policy, "settle", lambda rule, cell, stamp: real(rule, replace(cell, twins=()), stamp))


def a_merge_ranks_as_its_last_part(patch: pytest.MonkeyPatch) -> None:
    """A merged value loses the rank of its higher part."""
    patch.setattr(policy, "highest", lambda _, stamps: list(stamps)[-1])


def the_last_wins_every_tie(patch: pytest.MonkeyPatch) -> None:
    """The tie rule is last writer wins, whatever the catalogue says."""
    patch.setattr(policy, "TIES", {"first": "wins", "last": "wins", "manual": "wins"})


def half_a_window_is_mixed(patch: pytest.MonkeyPatch) -> None:
    """Half of a group is completed with the other half of somebody who was not seen."""
    real = merge._result

    def result(cell: Cell | None, write: Write, place: merge.Place) -> Any:
        whole = real(cell, write, place)
        return {**cell.value, **write.value} if cell and whole is MISSING else whole

    patch.setattr(merge, "_result", result)


def any_write_closes_what_waits(patch: pytest.MonkeyPatch) -> None:
    """A value that waits for a person goes when somebody else writes the cell."""
    patch.setattr(merge, "_closes", lambda _, __: True)


def nothing_closes_what_waits(patch: pytest.MonkeyPatch) -> None:
    """A device's later word does not take the place of its earlier one that waits."""
    patch.setattr(merge, "_closes", lambda write, stamp: stamp.dot in write.closes)


def former_holders_are_strangers(patch: pytest.MonkeyPatch) -> None:
    """Work on a job that was given away meanwhile is refused."""
    patch.setattr(scope, "was_member", lambda *_: False)


def strangers_are_former_holders(patch: pytest.MonkeyPatch) -> None:
    """Who gave a job away and knows it may still write it."""
    real = scope.was_member
    patch.setattr(scope, "was_member", lambda m, record, person, _: real(m, record, person, 0))


def a_delete_has_read_nothing(patch: pytest.MonkeyPatch) -> None:
    """A delete is not compared with edits that it had not seen."""
    real = existence.saw
    patch.setattr(existence, "saw", lambda name, *rest: name != ALIVE or real(name, *rest))


def a_refusal_keeps_nothing(patch: pytest.MonkeyPatch) -> None:
    """What was refused is thrown away."""
    patch.setattr(commit, "KEEPS", frozenset())


def the_loser_is_not_named(patch: pytest.MonkeyPatch) -> None:
    """The entry of a conflict shows the winner on both sides."""
    real = merge._conflict
    patch.setattr(
        merge, "_conflict", lambda *a, winner, loser: real(*a, winner=winner, loser=replace(loser, value=winner.value))
    )


def only_the_first_vector_counts(patch: pytest.MonkeyPatch) -> None:
    """A cell does not note what it has absorbed."""
    patch.setattr(
        merge, "_absorb", lambda cell, write, *_, **__: cell.vv if cell else {write.stamp.dot.rid: write.stamp.dot.n}
    )


def an_absorbed_write_is_judged_again(patch: pytest.MonkeyPatch) -> None:
    """What a restored hub is sent again undoes what was made of it since."""
    patch.setattr(merge, "absorbed", lambda *_: None)


def a_context_is_joined_for_an_operation(patch: pytest.MonkeyPatch) -> None:
    """One more counted after somebody else's makes a restored hub take that one for counted too."""
    real = merge._absorb

    def absorb(cell: Cell | None, write: Write, place: merge.Place, **named: bool) -> Vector:
        return join(real(cell, write, place, **named), write.context or {})

    patch.setattr(merge, "_absorb", absorb)


def a_tx_is_half_applied(patch: pytest.MonkeyPatch) -> None:
    """Of a tx that cannot be meant, the mutations before the culprit stay done."""
    patch.setattr(commit._Checkpoint, "restore", lambda *_: None)


def a_tx_is_no_unit(patch: pytest.MonkeyPatch) -> None:
    """The mutations of a tx are judged each for itself."""
    patch.setattr(commit.Commit, "_together", lambda self, run: [self._alone(mutation) for mutation in run])


def a_zombie_is_edited(patch: pytest.MonkeyPatch) -> None:
    """Whoever knew that a record was deleted brings it back by an edit."""
    patch.setattr(commit.Commit, "_knew_deleted", lambda *_: False)


def what_is_held_is_refused(patch: pytest.MonkeyPatch) -> None:
    """Work that was right by the device's catalogue is turned away by the new one."""
    patch.setattr(commit.Commit, "_fitted_before", lambda *_: False)


def what_builds_on_what_is_held_is_refused(patch: pytest.MonkeyPatch) -> None:
    """The hours of a job whose making is held are turned away."""
    patch.setattr(commit.Commit, "_wait_for", lambda *_: None)


def a_device_sets_its_own_clock(patch: pytest.MonkeyPatch) -> None:
    """A telephone whose clock is ahead wins every tie by the clock."""
    patch.setattr(commit.Commit, "_time", lambda self, mutation: mutation.at or self.submission.received)


def a_merge_forgets_the_time(patch: pytest.MonkeyPatch) -> None:
    """Under the clock the first stays, whoever was later."""
    patch.setattr(policy, "TIES", {**policy.TIES, "clock": "loses"})
    real = policy.settle
    patch.setattr(policy, "settle", lambda rule, cell, stamp: real(rule, cell, replace(stamp, time=0)))


def a_loser_leaves_its_elder_waiting(patch: pytest.MonkeyPatch) -> None:
    """A device's later word that loses leaves its earlier one waiting for a person."""
    real = merge._supersede

    def supersede(cell: Cell, *rest: Any) -> CellOutcome:
        return replace(real(cell, *rest), cell=cell, closed=())

    patch.setattr(merge, "_supersede", supersede)


def what_waits_grows_for_ever(patch: pytest.MonkeyPatch) -> None:
    """There is no limit to how many values wait in one cell."""
    real = merge._park
    patch.setattr(merge, "_park", lambda cell, write, place, *rest: real(cell, write, _boundless(place), *rest))
    parked: Callable[..., actor.Outcome] = existence._park

    def park(*given: Any, rule: str) -> actor.Outcome:
        return parked(*given[:-1], _boundless(given[-1]), rule=rule)

    patch.setattr(existence, "_park", park)


def a_person_is_not_asked_about_a_delete(patch: pytest.MonkeyPatch) -> None:
    """Where a person should decide between a delete and an edit, the delete wins."""
    real = existence.edit_of_deleted

    def edit_of_deleted(record: Any, judged: actor.Outcome, *rest: Any) -> actor.Outcome:
        cells = {name: replace(cell, verdict="converged") for name, cell in judged.cells.items()}
        return real(record, replace(judged, cells=cells), *rest)

    patch.setattr(existence, "edit_of_deleted", edit_of_deleted)


def contexts_are_not_kept(patch: pytest.MonkeyPatch) -> None:
    """After a restore a device can no longer say what it had seen."""
    patch.setattr(device, "_frozen_context", lambda *_: {})


def bases_outlive_a_restore(patch: pytest.MonkeyPatch) -> None:
    """Numbers that the restored hub gives again are taken for those that a device had seen."""
    patch.setattr(device, "rebase", lambda mutation, _: mutation)


def half_a_group_is_stored(patch: pytest.MonkeyPatch) -> None:
    """A group whose other half nobody has set is in conflict with one that says so."""
    patch.setattr(merge, "_whole", lambda _, cell: cell.value if cell else {})


def a_text_is_merged_by_whoever_came_last(patch: pytest.MonkeyPatch) -> None:
    """Where two changed the same words of a text, the later text is taken."""
    patch.setattr(joins, "worked_in", lambda _, __, value, was: value if was is not MISSING else MISSING)


def the_greatest_is_the_latest(patch: pytest.MonkeyPatch) -> None:
    """Of two readings the later one stays, where the greater one should."""
    patch.setattr(joins, "joined", lambda _, __, current, value: current if value is None else value)


def _by_number(write: Write, cell: Cell) -> bool:
    if write.context:
        return any(covers(write.context, stamp.dot) for stamp in cell.stamps())
    return write.base >= cell.seq


def _boundless(place: merge.Place) -> merge.Place:
    return replace(place, siblings_max=1_000)


MISTAKES: Final[tuple[Mistake, ...]] = (
    own_writes_are_forgotten,
    what_was_released_is_a_strangers,
    everybody_is_sequential,
    the_newest_base_counts_as_unseen,
    contexts_are_ignored,
    a_loser_moves_the_number,
    bases_are_not_frozen,
    a_verdict_raises_the_whole_record,
    a_put_takes_back_what_a_verdict_told,
    was_is_what_the_hub_had,
    equal_values_are_in_conflict,
    equal_deltas_are_one,
    twins_are_forgotten,
    twins_have_no_rank,
    a_merge_ranks_as_its_last_part,
    the_last_wins_every_tie,
    half_a_window_is_mixed,
    any_write_closes_what_waits,
    nothing_closes_what_waits,
    former_holders_are_strangers,
    strangers_are_former_holders,
    a_delete_has_read_nothing,
    a_refusal_keeps_nothing,
    the_loser_is_not_named,
    only_the_first_vector_counts,
    an_absorbed_write_is_judged_again,
    a_context_is_joined_for_an_operation,
    a_tx_is_half_applied,
    a_tx_is_no_unit,
    a_zombie_is_edited,
    what_is_held_is_refused,
    what_builds_on_what_is_held_is_refused,
    a_device_sets_its_own_clock,
    a_merge_forgets_the_time,
    a_loser_leaves_its_elder_waiting,
    what_waits_grows_for_ever,
    a_person_is_not_asked_about_a_delete,
    contexts_are_not_kept,
    bases_outlive_a_restore,
    half_a_group_is_stored,
    a_text_is_merged_by_whoever_came_last,
    the_greatest_is_the_latest,
)

UNSEEN_BY_HISTORIES: Final[frozenset[Mistake]] = frozenset({bases_outlive_a_restore})
"""Those that other tests have to notice: all devices of the histories send contexts after a restore."""
