"""The words in which a conflict is explained to people."""

from __future__ import annotations

import pytest

from replication.catalog import AGAINST_EDIT, MERGES, TIES
from replication.verdict import Conflict, Side
from replication.versions import Dot
from syncserver.commands import review

RULES = {
    "rank",
    "group:partial",
    "siblings:full",
    *(f"tie:{tie}" for tie in TIES),
    *(f"merge:{merge}" for merge in MERGES),
    *(f"against_edit:{rule}" for rule in AGAINST_EDIT),
}


def test_every_rule_has_its_sentence_and_no_other() -> None:
    """Whatever rule decided or left open a conflict, a person is told what it means."""
    assert set(review.SENTENCES) == RULES


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_sentence_is_whole(rule: str) -> None:
    """It names the cell and the two sides where it speaks of them, and leaves no gap."""
    winner = Side("a", Dot(1, 1), 1, "p", "office", "")
    loser = Side("b", Dot(2, 1), 2, "q", "device", "assignee")
    conflict = Conflict("2-1-title", "jobs", "x", "title", rule, "decided", winner, loser, 1)

    sentence = review.sentence(conflict)

    assert sentence.endswith(".")
    assert not {"{", "}"} & set(sentence)
    assert sentence != review.sentence(Conflict("2-1-title", "jobs", "x", "title", "?", "decided", winner, loser, 1))
