"""The search itself is put to the test: each planted mistake must be found, by the promise that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest

from replication import commit, device, merge
from tests.exhaustive import hub_side, telling, worlds
from tests.exhaustive.search import Search
from tests.exhaustive.worlds import World


@dataclass(frozen=True)
class Mistake:
    """A mistake, the world in which it must show, the promise that it breaks, and after how many steps at most."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    world: World
    promise: str
    steps: int


def answer_before_commit(patch: pytest.MonkeyPatch) -> None:
    """The hub answers before its transaction is safe."""
    patch.setattr(hub_side, "STEPS", ("answer", "commit"))


def verdict_not_stored(patch: pytest.MonkeyPatch) -> None:
    """The counter moves on, and what was said is forgotten."""
    keep = commit.Commit._keep

    def forgetful(self: commit.Commit, *what: Any) -> Any:
        verdict = keep(self, *what)
        if self.replica.kind == "device":
            self.state.effects.ledger.pop()
        return verdict

    patch.setattr(commit.Commit, "_keep", forgetful)


def counter_not_advanced(patch: pytest.MonkeyPatch) -> None:
    """The effect is kept and the counter is not: the counter was outside of the transaction."""
    keep = commit.Commit._keep

    def stays(self: commit.Commit, *what: Any) -> Any:
        before = self.replica.applied
        verdict = keep(self, *what)
        if self.replica.kind == "device":
            self.replica.applied = before
        return verdict

    patch.setattr(commit.Commit, "_keep", stays)


def own_chain_broken(patch: pytest.MonkeyPatch) -> None:
    """A device's own earlier write counts as somebody else's."""
    patch.setattr(merge.Write, "is_own", lambda _, __: False)


def base_not_frozen(patch: pytest.MonkeyPatch) -> None:
    """An edit of a cell that is not yet answered takes the newest base instead of the first one's."""
    patch.setattr(device, "_frozen", lambda copy, cell: copy.base(cell))


def put_over_dirty_cell(patch: pytest.MonkeyPatch) -> None:
    """A put wipes what the person has done since."""
    put = device.put

    def wipes(copy: device.Copy, *what: Any, **more: Any) -> device.Copy:
        return put(msgspec.structs.replace(copy, edits=()), *what, **more)

    patch.setattr(device, "put", wipes)


def put_over_newer_verdict(patch: pytest.MonkeyPatch) -> None:
    """A slow page undoes what a verdict has told since."""
    put = device.put

    def undoes(copy: device.Copy, *what: Any, **more: Any) -> device.Copy:
        return put(msgspec.structs.replace(copy, raised={}), *what, **more)

    patch.setattr(device, "put", undoes)


def tx_half_applied(patch: pytest.MonkeyPatch) -> None:
    """One part of a tx is refused, and the others are carried out."""
    judge = commit.Commit.judge

    def one_by_one(self: commit.Commit, run: list[Any]) -> list[Any]:
        parts = [commit.Commit(self.state, self.submission, self.replica) for _ in run]
        return [verdict for part, mutation in zip(parts, run, strict=True) for verdict in judge(part, [mutation])]

    patch.setattr(commit.Commit, "judge", one_by_one)


def loser_dropped(patch: pytest.MonkeyPatch) -> None:
    """A write that lost is named in its verdict, and its entry says something else."""
    challenger = merge._challenger
    patch.setattr(merge, "_challenger", lambda *what: msgspec.structs.replace(challenger(*what), value=None))


PAGE_BY_PAGE = replace(worlds.FIRST, menu=worlds.FIRST.menu[:1], edits=(2, 2), office=0, page=1)
MISTAKES = (
    Mistake("answer before commit", answer_before_commit, worlds.LAST, "no acknowledged edit is missing", 3),
    Mistake("verdict not stored", verdict_not_stored, worlds.LAST, "has a stored verdict", 2),
    Mistake("counter not advanced", counter_not_advanced, worlds.LAST, "has a stored verdict", 2),
    Mistake("own chain broken", own_chain_broken, worlds.FIRST, "no false conflict", 9),
    Mistake("base not frozen", base_not_frozen, worlds.FIRST, "no missed conflict", 9),
    Mistake("put over a dirty cell", put_over_dirty_cell, worlds.LAST, "is on the screen", 9),
    Mistake("put over a newer verdict", put_over_newer_verdict, PAGE_BY_PAGE, "no false conflict", 9),
    Mistake("tx half applied", tx_half_applied, worlds.TX, "refused whole", 9),
    Mistake("loser dropped", loser_dropped, worlds.FIRST, "is in an entry", 9),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_the_search_finds_a_planted_mistake(mistake: Mistake, monkeypatch, record_property) -> None:
    """A mistake in the rules, in the hub's order of steps or in the device is found, and shown by a short story."""
    mistake.plant(monkeypatch)

    search = Search(mistake.world)
    found = search.run()

    assert found.fault is not None, f"{mistake.name} was not found: {found}"
    told = telling.story(search, found.fault)
    record_property("shares", f"{found.fault.broken.promise}: after {len(told.splitlines()) - 1} lines; {found}")
    assert mistake.promise in found.fault.broken.promise, told
    assert len(found.fault.path) <= mistake.steps, told


def test_the_search_notices_that_an_edit_can_be_stuck(monkeypatch) -> None:
    """If no answer ever left the hub, no promise of a single state were broken; that nothing can end is noticed."""
    monkeypatch.setattr(hub_side, "STEPS", ("commit",))

    found = Search(replace(worlds.LAST, edits=(1, 1), office=0)).run()

    assert found.fault is not None
    assert found.fault.broken.promise == "every edit can still get its verdict"
