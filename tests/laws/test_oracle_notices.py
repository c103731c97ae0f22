"""Well-known mistakes, put into the rules one at a time: the random histories must notice each.

A check that has never failed may be one that cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import histories
from tests.planted.rules import MISTAKES, UNSEEN_BY_HISTORIES, Mistake, a_loser_moves_the_number

SEEDS_MAX = 150
EVENTS = 300


NOTICED = [mistake for mistake in MISTAKES if mistake not in UNSEEN_BY_HISTORIES]


@pytest.mark.parametrize("mistake", NOTICED, ids=lambda mistake: mistake.__name__)
def test_a_mistake_in_the_rules_is_noticed(mistake: Mistake, monkeypatch) -> None:
    """The random histories notice each of the well-known mistakes."""
    mistake(monkeypatch)

    found = next((seed for seed in range(SEEDS_MAX) if histories.play(histories.generate(seed, EVENTS))[1]), None)

    assert found is not None, f"{SEEDS_MAX} histories did not notice it"


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
