"""Random histories: the hub and a dumb model of it are given the same, and must say the same.

Each run prints how much of what it held. It fails if too little of it was concurrent, or if a
verdict came up too rarely to mean anything.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pytest

from tests import histories
from tests.histories import Event
from tests.tenant import Tally

CONCURRENT_SHARE_MIN = 0.20
EACH_VERDICT_MIN = 500
VERDICTS = ("refused", "converged", "applied", "merged", "superseded", "parked")
FAULTS = ("false conflict", "missed conflict", "lost value", "verdict", "state")


@pytest.mark.parametrize("part", range(4))
def test_the_hub_says_what_the_oracle_says(part: int, record_property) -> None:
    """In random histories there is no false conflict, no missed one, no lost value and no other verdict."""
    compare_histories(range(part * 80, part * 80 + 80), record_property)


@pytest.mark.long
@pytest.mark.parametrize("part", range(8))
def test_the_hub_says_what_the_oracle_says_for_a_million_writes(part: int, record_property) -> None:
    """In a million writes there is no false conflict, no missed one, no lost value and no other verdict."""
    compare_histories(range(10_000 + part * 250, 10_250 + part * 250), record_property)


def compare_histories(seeds: Sequence[int], record_property) -> None:
    """Play histories of these seeds; fail with the shortest form of the first that differs."""
    total = Tally()
    for seed in seeds:
        events = histories.generate(seed, length(seed))
        tally, fault, _ = histories.play(events)
        total.add(tally)
        if fault is not None:
            pytest.fail(f"seed {seed}: {explain(events, fault.kind)}", pytrace=False)

    record_property("shares", shares(total))

    cells, concurrent = total.happened["cells"], total.happened["concurrent"]
    rare = {name: total.verdicts[name] for name in VERDICTS if total.verdicts[name] < EACH_VERDICT_MIN}
    assert concurrent >= CONCURRENT_SHARE_MIN * cells, f"only {concurrent} of {cells} writes were concurrent"
    assert rare == {}, f"fewer than {EACH_VERDICT_MIN} each"


def length(seed: int) -> int:
    """Return how many events a history has: short ones find most, long ones find what is rare."""
    return 200 + seed % 5 * 200


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
    cells = total.happened["cells"]
    percent = functools.partial("{:.1%}".format)
    lines = [
        f"{cells} cell writes, {percent(total.happened['concurrent'] / cells)} of them concurrent; no "
        + ", no ".join(FAULTS[:3]),
        "verdicts: " + ", ".join(f"{name} {total.verdicts[name]}" for name in VERDICTS),
        "rules: " + ", ".join(f"{name} {count}" for name, count in total.rules.most_common()),
        "refused for: " + ", ".join(f"{name} {count}" for name, count in total.codes.most_common()),
        "network: " + ", ".join(f"{name} {total.happened[name]}" for name in histories.FAULTS),
        "written as: " + ", ".join(f"{name[3:]} {n}" for name, n in total.happened.most_common() if name[:3] == "as "),
    ]
    return "\n".join(lines)
