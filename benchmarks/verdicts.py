"""How many cells the rules judge in a second on one core, and what conflicts cost.

Run: `python -m benchmarks.verdicts`. Machines differ and are noisy, so the figure to keep is the
ratio; both kinds of history are judged in turn in the same run.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from typing import Final
from uuid import UUID

from replication import catalog_file, hub
from replication.memberships import Memberships
from replication.mutation import Mutation
from replication.state import Replica, State, Submission
from syncserver.catalogs import source

RECORDS: Final = 1_000
PUSHES: Final = 400
EDITS_PER_PUSH: Final = 10
ROUNDS: Final = 5
CONCURRENT: Final = 0.3
HUB, OFFICE, DEVICE = 1, 2, 3
PERSON: Final = str(UUID(int=7))
CATALOG: Final = catalog_file.parse(source.text(None))


def order(number: int) -> str:
    """Return the id of a work order."""
    return str(UUID(int=number + 1_000))


def fresh() -> State:
    """Return a hub with work orders that one technician holds."""
    replicas = {HUB: Replica(HUB, "hub"), OFFICE: Replica(OFFICE, "office"), DEVICE: Replica(DEVICE, "device")}
    state = State(seq=0, hub_rid=HUB, catalog=CATALOG, replicas=replicas, records={}, memberships=Memberships())
    made = tuple(
        Mutation(
            n=0,
            op="create",
            collection="work_orders",
            id=order(number),
            set={"title": "t", "status": "planned", "priority": "low", "assignee_id": PERSON},
        )
        for number in range(RECORDS)
    )
    hub.judge(state, Submission(rid=OFFICE, person="desk", authority="office", mutations=made, numbered=False))
    return state


def history(concurrent: float, seed: int) -> list[Submission]:
    """Return pushes of one device in which this share of the edits has an old base."""
    chance = random.Random(seed)  # noqa: S311  (a seeded history)
    n, pushes = 0, []
    for _ in range(PUSHES):
        edits = []
        for _ in range(EDITS_PER_PUSH):
            n += 1
            base = 0 if chance.random() < concurrent else 2**40
            fields = {chance.choice(("title", "status", "priority")): f"value {n}"}
            edits.append(
                Mutation(
                    n=n, op="set", collection="work_orders", id=order(chance.randrange(RECORDS)), base=base, set=fields
                )
            )
        pushes.append(Submission(rid=DEVICE, person=PERSON, authority="device", mutations=tuple(edits), served=2**40))
    return pushes


def cells_per_second(concurrent: float, seed: int) -> float:
    """Return the rate at which a history is judged; what a device wrote itself is always seen."""
    state, pushes = fresh(), history(concurrent, seed)
    began = time.perf_counter()
    for push in pushes:
        hub.judge(state, push)
    return PUSHES * EDITS_PER_PUSH / (time.perf_counter() - began)


def main() -> None:
    """Print the median of the rounds and the ratio as JSON."""
    calm, stormy = [], []
    for seed in range(ROUNDS):
        calm.append(cells_per_second(0.0, seed))
        stormy.append(cells_per_second(CONCURRENT, seed))
    figures = {
        "cells_per_second": round(statistics.median(calm)),
        "cells_per_second_with_conflicts": round(statistics.median(stormy)),
        "ratio": round(statistics.median(s / c for s, c in zip(stormy, calm, strict=True)), 2),
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
