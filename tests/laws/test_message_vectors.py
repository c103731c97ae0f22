"""Pushes against the vectors, in each form in which they travel."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from replication import wire
from replication.mutation import Mutation
from replication.verdict import Malformed
from tests import vector_cases

if TYPE_CHECKING:
    from replication.forms import Form

FORMS: tuple[Form, ...] = ("json", "msgpack")


def told(group: str) -> Any:
    """Run a test for each case in each of its forms."""
    found = [(form, case) for case in vector_cases.cases("messages", group) for form in FORMS if form in case]
    return pytest.mark.parametrize(("form", "case"), found, ids=[f"{case['name']}, {form}" for form, case in found])


def body(case: vector_cases.Case, form: Form) -> bytes:
    """Return the bytes as they travel."""
    return case["json"].encode() if form == "json" else base64.b64decode(case["msgpack"])


@pytest.mark.parametrize("case", vector_cases.cases("messages", "same"), ids=lambda case: case["name"])
def test_both_forms_say_the_same(case: vector_cases.Case) -> None:
    """A push is one and the same, whether it came as JSON or as MessagePack."""
    one, other = (wire.decode_push(body(case, form), wire.Limits(), form) for form in FORMS)

    assert one == other
    assert all(isinstance(each, Mutation) for each in one.mutations)


@told("malformed")
def test_a_bad_mutation_spoils_no_other(form: Form, case: vector_cases.Case) -> None:
    """What cannot be read of a push is known by its number, and what follows it is read."""
    push = wire.decode_push(body(case, form), wire.Limits(), form)

    assert [type(each) for each in push.mutations] == [Malformed, Mutation]
    assert [each.n for each in push.mutations] == [1, 2]


@told("unreadable")
def test_what_is_no_push_is_not_judged(form: Form, case: vector_cases.Case) -> None:
    """A body that is no push, or has a mutation without a number, is refused whole."""
    with pytest.raises(wire.BadRequest):
        wire.decode_push(body(case, form), wire.Limits(), form)
