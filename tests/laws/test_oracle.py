"""Random histories: the hub and a dumb model of it are given the same, and must say the same.

Each run prints how much of what it held. It fails if too little of it was concurrent, or if a
verdict, a rule or a reason to wait came up too rarely to mean anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from replication.versions import Vector
from tests import histories, upheaval
from tests.histories import WRITES_MAX, Event
from tests.tenant import Tally, Tenant

CONCURRENT_SHARE_MIN: Final = 0.20
VERDICTS_MIN: Final = {
    "refused": 500,
    "parked": 250,
    "superseded": 500,
    "merged": 500,
    "applied": 5_000,
    "absorbed": 100,
    "converged": 500,
    "held": 250,
}
RULES: Final = (
    "rank",
    "tie:first",
    "tie:last",
    "tie:clock",
    "tie:manual",
    "siblings:full",
    "group:partial",
    "merge:append",
    "merge:counter",
    "merge:union",
    "merge:max",
    "merge:min",
    "merge:lattice",
    "merge:text3",
    "against_edit:keep_edit",
    "against_edit:delete_wins",
    "against_edit:manual",
)
EACH_RULE_MIN: Final = 20
CODES: Final = (
    "invalid",
    "out_of_scope",
    "not_owner",
    "unknown_record",
    "unknown_collection",
    "missing_parent",
    "record_deleted",
    "tx_refused",
    "held_schema",
    "held_before",
    "held_tx",
    "held_fenced",
)
EACH_CODE_MIN: Final = 10
FAULTS: Final = ("false conflict", "missed conflict", "lost value", "verdict", "state")
PART: Final = 200
LONG_PART: Final = 225
LONG_PARTS: Final = 32


@pytest.mark.parametrize("part", range(4))
def test_the_hub_says_what_the_oracle_says(part: int, record_property) -> None:
    """In random histories there is no false conflict, no missed one, no lost value and no other verdict."""
    compare_histories(range(part * PART, part * PART + PART), record_property)


@pytest.mark.long
@pytest.mark.parametrize("part", range(LONG_PARTS))
def test_the_hub_says_what_the_oracle_says_for_a_million_writes(part: int, record_property) -> None:
    """In a million writes there is no false conflict, no missed one, no lost value and no other verdict."""
    start = 10_000 + part * LONG_PART
    total = compare_histories(range(start, start + LONG_PART), record_property)
    assert total.happened["cells"] >= 1_000_000 / LONG_PARTS, "all parts together have a million"


def test_a_vector_that_leaves_out_too_much_is_noticed(monkeypatch) -> None:
    """Entries that a backup still asks for, or a device has yet to read past, may not be left out."""
    monkeypatch.setattr(upheaval, "proof_of", lambda tenant, _: applied_by(tenant))
    restless = range(1, 4 * PART, 4)

    found = next((seed for seed in restless if histories.play(histories.generate(seed, length(seed)))[1]), None)

    assert found is not None


def applied_by(tenant: Tenant) -> Vector:
    """Return for each replica its newest write, whoever may still ask for it."""
    return {rid: replica.applied for rid, replica in tenant.store.replicas.items() if replica.applied}


def compare_histories(seeds: Sequence[int], record_property) -> Tally:
    """Play histories of these seeds; fail with the shortest form of the first that differs."""
    total = Tally()
    for seed in seeds:
        events = histories.generate(seed, length(seed))
        tally, fault, _ = histories.play(events)
        total.add(tally)
        if fault is not None:
            pytest.fail(f"seed {seed}: {explain(events, fault.kind)}", pytrace=False)
        assert tally.happened["cells"] <= WRITES_MAX, f"seed {seed} is too long to tell"

    record_property("shares", shares(total))

    judged, concurrent = total.happened["judged"], total.happened["concurrent"]
    assert concurrent >= CONCURRENT_SHARE_MIN * judged, f"only {concurrent} of {judged} writes were concurrent"
    assert rare(total.verdicts, VERDICTS_MIN) == {}
    assert rare(total.rules, dict.fromkeys(RULES, EACH_RULE_MIN)) == {}
    assert rare(total.codes, dict.fromkeys(CODES, EACH_CODE_MIN)) == {}
    assert set(total.rules) <= set(RULES), "each rule that decides is listed here"
    return total


def rare(counts: Mapping[str, int], least: Mapping[str, int]) -> dict[str, str]:
    """Return what came up less often than it should have."""
    return {name: f"{counts[name]} < {wanted}" for name, wanted in least.items() if counts[name] < wanted}


def length(seed: int) -> int:
    """Return how many events a history has: short ones find most, longer ones find what is rare."""
    return 150 + seed % 5 * 25


def explain(events: Sequence[Event], kind: str) -> str:
    """Return the shortest part of a history that still shows this kind of fault, told in words."""

    def fails(fewer: Sequence[Event]) -> bool:
        fault = histories.play(fewer)[1]
        return fault is not None and fault.kind == kind

    shortest = histories.shrink(events, fails)
    _, fault, story = histories.play(shortest)
    return "\n".join([str(fault), "", *story, "", f"histories.play({shortest})"])


def shares(total: Tally) -> str:
    """Say what the histories held."""
    cells, judged = total.happened["cells"], total.happened["judged"]
    concurrent = f"{total.happened['concurrent'] / judged:.1%} of them"
    lines = [
        f"{cells} cell writes, judged {judged} times, {concurrent} concurrent; no " + ", no ".join(FAULTS[:3]),
        "verdicts: " + ", ".join(f"{name} {total.verdicts[name]}" for name in VERDICTS_MIN),
        "rules: " + ", ".join(f"{name} {count}" for name, count in total.rules.most_common()),
        "refused or held for: " + ", ".join(f"{name} {count}" for name, count in total.codes.most_common()),
        "network: " + ", ".join(f"{name} {total.happened[name]}" for name in histories.FAULTS),
        "upheavals: " + ", ".join(f"{name} {total.happened[name]}" for name in histories.UPHEAVALS),
        "written as: " + ", ".join(f"{name[3:]} {n}" for name, n in total.happened.most_common() if name[:3] == "as "),
    ]
    return "\n".join(lines)
