"""The examples of docs/protocol.md are messages of the protocol."""

from __future__ import annotations

import msgspec
import pytest

from replication import codes, kinds, verdict, wire
from replication.mutation import Mutation
from syncserver import settings
from tests import protocol_page
from tests.protocol_page import Turn

DEVICE = [turn for turn in protocol_page.turns() if turn.who == "device"]


@pytest.mark.parametrize("turn", DEVICE, ids=lambda turn: turn.name)
def test_what_the_page_sends_can_be_read(turn: Turn) -> None:
    """Each request of a device has the names and types that the hub reads, and no others."""
    body = msgspec.json.encode(turn.body)

    if turn.path == wire.PATH_PUSH:
        read = wire.decode_push(body, wire.Limits())
        assert all(isinstance(each, Mutation) for each in read.mutations)
        known = set(wire.Push.__struct_fields__)
        for mutation in turn.body["mutations"]:
            assert mutation.keys() <= set(Mutation.__struct_fields__)
    else:
        kind = protocol_page.REQUESTS[turn.path]
        msgspec.json.decode(body, type=kind)
        known = set(kind.__struct_fields__)
    assert turn.body.keys() <= known


@pytest.mark.parametrize("turn", DEVICE, ids=lambda turn: turn.name)
def test_what_the_page_answers_has_the_names_of_the_protocol(turn: Turn) -> None:
    """Each answer shows something, under the names that the hub writes."""
    kind = protocol_page.ANSWERS[turn.path]

    assert turn.answer
    if turn.status == 200:
        assert turn.answer.keys() <= set(kind.__struct_fields__)
    else:
        assert turn.answer["status"] == turn.status


def test_the_limits_of_the_page_are_the_usual_ones() -> None:
    """The page shows the limits that a hub has where nothing else is set, each in its table."""
    limits = msgspec.to_builtins(wire.Limits())
    (shown,) = [turn.answer["limits"] for turn in DEVICE if "limits" in turn.answer]
    page = protocol_page.PAGE.read_text(encoding="utf-8")

    assert shown == limits
    assert all(f"{most:,}" in page for most in limits.values())


def test_the_page_names_all_that_a_device_can_meet() -> None:
    """No verdict, code, kind, part of a mutation or setting of a limit is missing on the page."""
    page = protocol_page.PAGE.read_text(encoding="utf-8")
    words = [*codes.CODES, *kinds.KINDS, *verdict.GRAVITY, *Mutation.__struct_fields__, *settings.LIMITS.values()]
    errors = (protocol_page.PAGE.parent / "errors.md").read_text(encoding="utf-8")
    told = protocol_page.section(page, "Errors")

    assert [word for word in words if f"`{word}`" not in page] == []
    assert [code for code in protocol_page.codes_in(told) if f"`{code}`" not in errors] == []
