"""The words in which a conflict is explained to people."""

from __future__ import annotations

from typing import Any

import pytest

from replication import catalog_file, hub
from replication.catalog import AGAINST_EDIT, MERGES, TIES
from replication.memberships import Memberships
from replication.mutation import Mutation
from replication.record import ALIVE
from replication.state import Replica, State, Submission
from replication.verdict import Conflict, Side
from replication.versions import Dot
from syncserver.commands import reasons

RULES = {
    "rank",
    "group:partial",
    "siblings:full",
    *(f"tie:{tie}" for tie in TIES),
    *(f"merge:{merge}" for merge in MERGES),
}
EDITED = {"title": "x"}
UNSEEN = "and neither had seen the other."

# The rule, its cell, what the winner and the loser wrote, how the entry began | what a person reads.
TABLE: list[tuple[str, str, Any, Any, str, str]] = [
    (
        "rank",
        "title",
        "a",
        "b",
        "decided",
        "office ranks above device (crew) for title, so the value of office stands.",
    ),
    (
        "tie:first",
        "title",
        "a",
        "b",
        "decided",
        "office and device (crew) rank alike for title; the value that arrived first stands, from office.",
    ),
    (
        "tie:last",
        "title",
        "a",
        "b",
        "decided",
        "office and device (crew) rank alike for title; the value that arrived last stands, from office.",
    ),
    (
        "tie:manual",
        "title",
        "a",
        "b",
        "open",
        (
            "office and device (crew) rank alike for title, and a person has to choose. "
            "Until then the value of office is shown, and that of device (crew) waits."
        ),
    ),
    (
        "siblings:full",
        "title",
        "a",
        "b",
        "decided",
        (
            "A person has to choose for title, but as many values wait as may wait. "
            "What office wrote stands, and what device (crew) wrote does not wait; it is kept here."
        ),
    ),
    (
        "against_edit:keep_edit",
        ALIVE,
        EDITED,
        False,
        "decided",
        (
            f"device (crew) deleted the record while office worked on it, {UNSEEN} "
            "Here work counts more than a deletion, so the record stays, with what office wrote."
        ),
    ),
    (
        "against_edit:keep_edit",
        ALIVE,
        False,
        EDITED,
        "decided",
        (
            f"office deleted the record while device (crew) worked on it, {UNSEEN} "
            "Here work counts more than a deletion, but no value of device (crew) would be shown even in a living "
            "record, so it stays deleted. What device (crew) wrote is kept here."
        ),
    ),
    (
        "against_edit:delete_wins",
        ALIVE,
        False,
        EDITED,
        "decided",
        (
            f"office deleted the record while device (crew) worked on it, {UNSEEN} "
            "Here a deletion counts more than work, so the record stays deleted. What device (crew) wrote is kept here."
        ),
    ),
    (
        "against_edit:manual",
        ALIVE,
        EDITED,
        False,
        "open",
        (
            f"device (crew) deleted the record while office worked on it, {UNSEEN} "
            "A person has to choose; until then the record stays."
        ),
    ),
    (
        "against_edit:manual",
        ALIVE,
        False,
        EDITED,
        "open",
        (
            f"office deleted the record while device (crew) worked on it, {UNSEEN} "
            "A person has to choose; until then the record stays deleted, and what device (crew) wrote waits."
        ),
    ),
    (
        "against_edit:manual",
        ALIVE,
        False,
        EDITED,
        "decided",
        (
            f"office deleted the record while device (crew) worked on it, {UNSEEN} "
            "No value of device (crew) would be shown even in a living record, so there is nothing to choose and it "
            "stays deleted. What device (crew) wrote is kept here."
        ),
    ),
    (
        "siblings:full",
        ALIVE,
        False,
        EDITED,
        "decided",
        (
            f"office deleted the record while device (crew) worked on it, {UNSEEN} "
            "A person would have to choose, but as many choices wait as may wait. The record stays deleted; "
            "what device (crew) wrote is kept here."
        ),
    ),
]

CATALOGUE = """
[limits]
siblings = 1
[collections.jobs]
delete = ["device", "office"]
priority = "job"
scope = ["all"]
against_edit = "RULE"
[collections.jobs.fields]
title = { kind = "text", write = ["device", "office"], rank = ["office", "device"] }
note = { kind = "text", write = ["device", "office"] }
"""
JOB = "00000000-0000-4000-8000-000000000001"
HUB, OFFICE, ANA = 1, 2, 3


def entry(rule: str, cell: str, won: Any, lost: Any, state: Any) -> Conflict:
    """Return a conflict of the office with a device, which the office won."""
    winner = Side(won, Dot(1, 1), 1, "p", "office", "")
    loser = Side(lost, Dot(2, 1), 2, "q", "device", "crew")
    return Conflict(f"2-1-{cell}", "jobs", "x", cell, rule, state, winner, loser, 1)


def test_every_rule_has_its_sentence_and_no_other() -> None:
    """Whatever rule decided or left open a conflict, a person is told what it means."""
    assert set(reasons.SENTENCES) == RULES
    assert {rule for rule, _ in reasons.OF_EXISTENCE} == {f"against_edit:{r}" for r in AGAINST_EDIT} | {"siblings:full"}


@pytest.mark.parametrize(("rule", "cell", "won", "lost", "state", "told"), TABLE)
def test_a_person_reads_who_won(rule: str, cell: str, won: Any, lost: Any, state: str, told: str) -> None:
    """It says whose value stands and whose does not, what became of the record, and where the rest is."""
    assert reasons.sentence(entry(rule, cell, won, lost, state), state) == told


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_sentence_is_whole(rule: str) -> None:
    """It names the cell, leaves no gap and ends."""
    told = reasons.sentence(entry(rule, "title", "a", "b", "decided"), "decided")

    assert told.endswith(".")
    assert "title" in told
    assert not {"{", "}"} & set(told)


def test_a_person_reads_what_became_of_it_since() -> None:
    """An entry that a person had their word on no longer says only what the rule had said."""
    conflict = entry("tie:manual", "title", "a", "b", "open")
    said = {state: reasons.sentence(conflict, state) for state in ("open", "settled", "undone")}

    assert said["settled"] == said["open"] + " A person has chosen since."
    assert said["undone"] == said["open"] + " It was undone since: what had lost was put back."


def told_by(against_edit: str, *writes: tuple[int, Mutation]) -> list[str]:
    """Return what is said of the conflicts over a job's existence when these are judged one after the other."""
    made = Mutation(n=0, op="create", collection="jobs", id=JOB, set={"title": "a"})
    replicas = {HUB: Replica(HUB, "hub"), OFFICE: Replica(OFFICE, "office"), ANA: Replica(ANA, "device")}
    catalog = catalog_file.parse(CATALOGUE.replace("RULE", against_edit), version=1)
    state = State(seq=0, hub_rid=HUB, catalog=catalog, replicas=replicas, records={}, memberships=Memberships())
    for rid, write in ((OFFICE, made), *writes):
        authority = "device" if rid == ANA else "office"
        asked = Submission(rid=rid, person="p", authority=authority, mutations=(write,), numbered=rid == ANA, served=9)
        hub.judge(state, asked)
    entries = [row.entry for row in state.effects.conflicts]
    return [reasons.sentence(each, each.state) for each in entries if each.cell == ALIVE]


def write(op: str, n: int = 0, base: int = 1, **values: str) -> Mutation:
    """Return a write on the job by somebody who had seen as much."""
    return Mutation(n=n, op=op, collection="jobs", id=JOB, base=base, rev=base, set=values)


@pytest.mark.parametrize("rule", AGAINST_EDIT)
def test_a_delete_and_an_edit_that_had_not_seen_each_other_are_told_of(rule: str) -> None:
    """Whichever came first, and also where the edit brings nothing, the sentence agrees with what the record became."""
    edit_first = told_by(rule, (ANA, write("set", 1, note="x")), (OFFICE, write("delete")))
    delete_first = told_by(rule, (OFFICE, write("delete")), (ANA, write("set", 1, note="x")))
    in_vain = told_by(
        rule, (OFFICE, write("set", title="b")), (OFFICE, write("delete", base=2)), (ANA, write("set", 1, title="x"))
    )
    full = told_by(rule, (OFFICE, write("delete")), *((ANA, write("set", n, note="x")) for n in (1, 2)))

    stays = {"keep_edit": "so the record stays, with", "delete_wins": "stays deleted", "manual": "A person has to"}[
        rule
    ]
    assert [stays in told for (told,) in (edit_first, delete_first)] == [True, True]
    assert ["stays deleted" in told and "is kept here" in told for told in in_vain] == [True]
    assert ("as many choices wait" in full[-1]) == (rule == "manual")


@pytest.mark.parametrize("rule", AGAINST_EDIT)
def test_a_restore_that_had_not_seen_the_newest_delete_is_told_of(rule: str) -> None:
    """It is work like an edit, and the sentence says whether it brought the record back."""
    (told,) = told_by(
        rule,
        (OFFICE, write("delete")),
        (OFFICE, write("restore", base=2)),
        (OFFICE, write("delete", base=3)),
        (ANA, write("restore", 1, base=2)),
    )
    assert ("so the record stays, with" in told) == (rule == "keep_edit")
