"""The hub against the verdict tables: each step of judging, each tie, rank, group and delete."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import msgspec
import pytest

from replication.verdict import MutationVerdict
from tests import vector_cases
from tests.vector_cases import Case, Table

FILE = vector_cases.read("verdicts")
STEPS = [
    "validity",
    "held",
    "absorbed",
    "scope",
    "authority",
    "equality",
    "seen",
    "merged",
    "ranked",
    "deletion",
]
CASES = [(step, case) for step in STEPS for case in FILE[step]]


@pytest.mark.parametrize(("step", "case"), CASES, ids=[f"{step}: {case['name']}" for step, case in CASES])
def test_the_hub_answers_as_the_vectors_say(step: str, case: Case) -> None:
    """Each write gets the verdict that is written down, and leaves what is written down."""
    table = Table(FILE, case)

    told = [verdict for _, run in groupby(case["writes"], together) for verdict in table.push(list(run))]

    assert len(told) == len(case["gives"]), step
    for verdict, gives in zip(told, case["gives"], strict=True):
        said = in_words(verdict)
        for name, cell in said["cells"].items():
            # What another's value has absorbed is told for contexts; the vectors have it under `stored`.
            absorbed = cell.pop("vv", None)
            assert absorbed is None or len(told) > 1 or absorbed == table.stored(name)["vv"]
        assert {name: said[name] for name in gives} == gives
        assert said["code"] == gives.get("code")
    for name, holds in case.get("stored", {}).items():
        stored = table.stored(name)
        assert {part: stored[part] for part in holds} == holds
    assert table.conflicts() == case["conflicts"]


def together(write: Case) -> tuple[str, Any]:
    """Tell which writes go in one push: those of a tx."""
    return write["by"], write.get("tx", write.get("n"))


def in_words(verdict: MutationVerdict) -> Case:
    """Return a verdict in the words of the cases, which leave messages out."""
    cells: Case = msgspec.json.decode(msgspec.json.encode(verdict.cells))
    for cell in cells.values():
        cell.pop("message", None)
    return {"verdict": verdict.verdict, "code": verdict.code, "rev": verdict.rev, "cells": cells}
