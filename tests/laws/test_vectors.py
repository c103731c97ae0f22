"""The rules against the test vectors that other programs are held to as well."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from replication import kinds, mutation
from replication.mutation import Mutation
from tests import vector_cases


def named(*groups: tuple[str, str]) -> Any:
    """Run a test for each case, by its name."""
    found = [case for group in groups for case in vector_cases.cases(*group)]
    return pytest.mark.parametrize("case", found, ids=[case["name"] for case in found])


@named(("values", "cases"))
def test_a_value_has_the_form_that_the_vectors_say(case: vector_cases.Case) -> None:
    """Each value is brought into its one canonical form, or refused where it has none."""
    shape = vector_cases.shape(case["shape"])

    if "error" in case:
        with pytest.raises(kinds.BadValue):
            kinds.canonical(shape, case["input"])
    else:
        form = kinds.canonical(shape, case["input"])
        assert kinds.same(form, case["canonical"])
        assert kinds.same(kinds.canonical(shape, form), form)


@named(("operations", "same"))
def test_values_are_the_same_if_the_vectors_say_so(case: vector_cases.Case) -> None:
    """Two values are one exactly if their canonical forms are."""
    shape = vector_cases.shape(case["shape"])
    one, other = (kinds.canonical(shape, case[side]) for side in ("one", "other"))

    assert kinds.same(one, other) is case["same"]
    assert kinds.same(other, one) is case["same"]


@named(("operations", "differences"))
def test_what_was_done_is_what_the_vectors_say(case: vector_cases.Case) -> None:
    """Between two values lies the operation that was done, or none if it was a replacement."""
    assert kinds.difference(case["kind"], case["was"], case["value"]) == case["operation"]


@named(("operations", "operations"))
def test_an_operation_makes_what_the_vectors_say(case: vector_cases.Case) -> None:
    """An operation leads to one value, or is refused."""
    shape = vector_cases.shape(case["shape"])

    def done() -> object:
        return kinds.apply_op(shape, case["current"], kinds.canonical_op(shape, case["do"]))

    if "error" in case:
        with pytest.raises(kinds.BadValue):
            done()
    else:
        assert kinds.same(done(), case["value"])


@named(("merges", "cases"))
def test_a_merge_makes_what_the_vectors_say(case: vector_cases.Case) -> None:
    """Two concurrent writes become one value, or rank and tie decide."""
    catalog = vector_cases.only_field(vector_cases.read("merges")["fields"][case["field"]])

    verdict, state = vector_cases.concurrent(catalog, case)

    told = verdict.cells["cell"]
    (record,) = state.records.values()
    merge = catalog.collections["jobs"].cells["cell"].merge
    stays = case["current"]
    verdict_of = {"merged": "merged", "unchanged": "converged", "cannot": "superseded", "invalid": "refused"}
    (said,) = verdict_of.keys() & case.keys()
    assert told.verdict == verdict_of[said]
    assert told.rule == {"merged": f"merge:{merge}", "cannot": "tie:first"}.get(said)
    assert kinds.same(record.cells["cell"].value, case["merged"] if said == "merged" else stays)
    assert len(state.effects.conflicts) == (said in ("merged", "cannot"))


@named(("mutations", "cases"))
def test_a_mutation_is_known_by_what_the_vectors_say(case: vector_cases.Case) -> None:
    """The hub knows a mutation again by the digest of the text that the vectors give."""
    asked = msgspec.json.decode(msgspec.json.encode(case["mutation"]), type=Mutation)

    assert hashlib.sha256(case["hashed"].encode()).hexdigest() == case["sha256"]
    assert mutation.digest(asked).hex() == case["sha256"]
