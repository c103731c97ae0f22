"""The device's half against the vectors: the lives of one record, step by step."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from replication import device
from replication.mutation import Mutation
from replication.verdict import MutationVerdict
from replication.versions import Dot
from tests import vector_cases
from tests.vector_cases import Case

FILE = vector_cases.read("device")


@pytest.mark.parametrize("case", FILE["cases"], ids=[case["name"] for case in FILE["cases"]])
def test_a_record_lives_on_a_device_as_the_vectors_say(case: Case) -> None:
    """What a person does and what the hub tells make the mutation, the screen and the bases that are written down."""
    told = FILE["layouts"][case["layout"]]
    shapes = {name: vector_cases.shape(shape) for name, shape in told["fields"].items()}
    layout = device.Layout(shapes, {name: tuple(members) for name, members in told["groups"].items()})
    copy = device.Copy(*case["record"].split("/"))

    for step in case["steps"]:
        (what,) = step.keys() - {"n", "sends", "contexts"}
        copy = LEARNT[what](copy, layout, step) if what in LEARNT else said(copy, layout, step, what)


def edit(copy: device.Copy, layout: device.Layout, step: Case) -> device.Copy:
    """A person edits, and a mutation is to be sent."""
    act = step["edit"]
    asked = device.Act(**{name: part for name, part in act.items() if name != "set"}, fields=act.get("set", {}))
    after, mutation = device.edit(copy, layout, asked, step["n"])
    assert whole(mutation) == whole(step["sends"])
    if "contexts" in step:
        kept = {cell: {str(rid): n for rid, n in vector.items()} for cell, vector in mutation.context.items()}
        assert kept == step["contexts"]
    return after


def settle(copy: device.Copy, layout: device.Layout, step: Case) -> device.Copy:
    """A verdict comes, perhaps once more."""
    verdict = msgspec.json.decode(msgspec.json.encode(step["verdict"]), type=MutationVerdict)
    asked = next((each for each in copy.edits if each.n == verdict.n), None)
    return copy if asked is None else device.settle(copy, layout, asked, verdict)


def put(copy: device.Copy, layout: device.Layout, step: Case) -> device.Copy:
    """The hub tells of the whole record, and perhaps who wrote its cells."""
    told = dict(step["put"])
    if "versions" in told:
        told["versions"] = {
            cell: (Dot(*each["dot"]), {int(rid): n for rid, n in each["vv"].items()})
            for cell, each in told["versions"].items()
        }
    return device.put(copy, layout, **told)


LEARNT = {
    "edit": edit,
    "verdict": settle,
    "put": put,
    "delete": lambda copy, _, step: device.delete(copy, **step["delete"]),
    "leave": lambda copy, _, step: device.leave(copy, **step["leave"]),
    "restart": lambda copy, _, step: device.restart(copy, step["restart"]),
}


def said(copy: device.Copy, layout: device.Layout, step: Case, what: str) -> device.Copy:
    """Compare the device with what the vectors say of it now."""
    if what == "shows":
        assert (None if copy.gone else device.view(copy, layout)) == step["shows"]
    elif what == "bases":
        assert {cell: copy.base(cell) for cell in step["bases"]} == step["bases"]
    else:
        assert [whole(each) for each in copy.edits] == [whole(each) for each in step["resends"]]
    return copy


def whole(mutation: Mutation | Case) -> dict[str, Any]:
    """Return a mutation as it is sent, for what is absent and what is empty say the same."""
    given = msgspec.convert(msgspec.to_builtins(mutation), Mutation)
    return {name: getattr(given, name) for name in given.__struct_fields__ if name != "context"}
