"""Well-known mistakes, put into the rules one at a time: the random histories must notice each.

A check that has never failed may be one that cannot. Every mistake here was made by some system
that synchronises records, or is the simplest wrong way to write the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from replication import commit, device, fold, merge, policy, scope
from replication.merge import MISSING, CellOutcome, Write
from replication.record import ALIVE, Cell
from replication.versions import covers
from tests import histories

SEEDS_MAX = 150
EVENTS = 300

replace = msgspec.structs.replace


def own_writes_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A device's second edit is in conflict with its first."""
    patch.setattr(merge, "seen", _by_number)


def everybody_is_sequential(patch: pytest.MonkeyPatch) -> None:
    """An office page that is out of date overwrites what another page of the office wrote."""
    patch.setattr(commit, "SEQUENTIAL", {"device", "hub", "office", "connection", "import"})


def the_newest_base_counts_as_unseen(patch: pytest.MonkeyPatch) -> None:
    """Off by one: what was seen last counts as not seen."""

    def seen(write: Write, cell: Cell) -> bool:
        own = write.sequential and any(stamp.dot.rid == write.stamp.dot.rid for stamp in cell.stamps())
        return own or write.base > cell.seq

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
    patch.setattr(device, "put", lambda copy, *rest: real(replace(copy, raised={}), *rest))


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

    def converge(cell: Cell, write: Write) -> CellOutcome:
        outcome = real(cell, write)
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
    patch.setattr(merge, "_closes", lambda write, dot: dot in write.closes)


def former_holders_are_strangers(patch: pytest.MonkeyPatch) -> None:
    """Work on a job that was given away meanwhile is refused."""
    patch.setattr(scope, "was_member", lambda *_: False)


def strangers_are_former_holders(patch: pytest.MonkeyPatch) -> None:
    """Who gave a job away and knows it may still write it."""
    real = scope.was_member
    patch.setattr(scope, "was_member", lambda m, record, person, _: real(m, record, person, 0))


def a_delete_has_read_nothing(patch: pytest.MonkeyPatch) -> None:
    """A delete is not compared with edits that it had not seen."""
    real = fold.saw
    patch.setattr(fold, "saw", lambda name, *rest: name != ALIVE or real(name, *rest))


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
    patch.setattr(merge, "_absorb", lambda cell, write: cell.vv if cell else {write.stamp.dot.rid: write.stamp.dot.n})


MISTAKES: list[Callable[[pytest.MonkeyPatch], None]] = [
    own_writes_are_forgotten,
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
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_in_the_rules_is_noticed(mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch) -> None:
    """The random histories notice each of the well-known mistakes."""
    mistake(monkeypatch)

    found = next((seed for seed in range(SEEDS_MAX) if histories.play(histories.generate(seed, EVENTS))[1]), None)

    assert found is not None, f"{SEEDS_MAX} histories did not notice it"


def _by_number(write: Write, cell: Cell) -> bool:
    if write.context:
        return any(covers(write.context, stamp.dot) for stamp in cell.stamps())
    return write.base >= cell.seq


def test_a_difference_is_told_in_few_events(monkeypatch) -> None:
    """What is shown of a failing history is only what the failure needs, and it still fails."""
    a_loser_moves_the_number(monkeypatch)

    def differs(events: Sequence[histories.Event]) -> bool:
        return histories.play(events)[1] is not None

    failing = next(events for seed in range(SEEDS_MAX) if differs(events := histories.generate(seed, EVENTS)))
    shortest = histories.shrink(failing, differs)
    _, fault, story = histories.play(shortest)

    assert fault is not None
    assert len(shortest) < 15
    assert len(story) > len(shortest)
