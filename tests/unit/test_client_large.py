"""A device whose pushes are too large or too slow for the hub: it sends less, and nothing stops its queue."""

from __future__ import annotations

from random import Random
from string import ascii_letters
from typing import TYPE_CHECKING

import msgspec
import pytest

from clients import errors
from replication import wire
from tests.peers.field import JOB
from tests.peers.hub import CODE

if TYPE_CHECKING:
    from clients.device import Device
    from tests.peers.field import Field

USUAL = wire.Limits()
LONG = "".join(Random(5).choices(ascii_letters, k=20_000))


def sent(field: Field) -> list[list[int]]:
    """Return the numbers in each push that the hub has read, without the empty ones."""
    numbers = [[each["n"] for each in push["mutations"]] for push in field.pushes()]
    return [push for push in numbers if push]


def told(device: Device) -> list[tuple[int, str, str | None]]:
    """Return number, verdict and code of all that was answered."""
    return [(each.verdict.n, each.verdict.verdict, each.verdict.code) for each in device.verdicts]


async def test_push_that_takes_too_long_is_halved_until_it_arrives(field: Field) -> None:
    """The same body is not said again; it goes on with more once that much arrives in time."""
    for place in range(16):
        field.device.edit("jobs", JOB, title=f"{place}" * 200)
    field.hub.bytes_in_time = 2_000

    await field.device.sync()

    assert not field.device.unsent
    assert [n for push in sent(field) for n in push] == list(range(1, 17))
    assert max(map(len, sent(field))) < 16
    assert field.clock.slept == [], "nobody waits for a network that is merely slow"


async def test_tx_that_takes_too_long_is_kept_for_a_faster_network(field: Field) -> None:
    """It cannot be parted and may arrive tomorrow, so it is neither given up nor said over and over."""
    with field.device.transaction():
        for place in range(4):
            field.device.edit("jobs", JOB, title=f"{place}" * 200)
    field.hub.bytes_in_time = 1_000

    with pytest.raises(errors.TooSlow):
        await field.device.sync()

    assert sent(field) == []
    field.hub.bytes_in_time = None
    await field.device.sync()
    assert sent(field) == [[1, 2, 3, 4]]


@pytest.mark.parametrize("limit", ["mutations", "bytes", "compressed_bytes", "fields", "tx"])
async def test_limit_that_is_lowered_blocks_no_outbox(field: Field, limit: str) -> None:
    """What was made under a larger limit is settled or refused with a code, and what follows it arrives."""
    with field.device.transaction():
        for title in ("a", "b", LONG):
            field.device.edit("jobs", JOB, title=title, notes="old, more")
    field.device.edit("jobs", JOB, meter=6)
    lowered = {"mutations": 1, "bytes": 12_000, "compressed_bytes": 12_000, "fields": 1, "tx": 2}[limit]
    field.hub.limits = msgspec.structs.replace(USUAL, **{limit: lowered})

    await field.device.sync()

    outcomes: dict[str, list[tuple[str, str | None]]] = {
        "mutations": [("applied", None), ("applied", None), ("applied", None)],
        "bytes": [("refused", "withheld")] * 3,
        "compressed_bytes": [("refused", "withheld")] * 3,
        "fields": [("refused", "bad_mutation")] * 3,
        "tx": [("refused", "bad_mutation")] * 3,
    }
    assert [(verdict, code) for _, verdict, code in told(field.device)] == [*outcomes[limit], ("applied", None)]
    assert field.hub.value(JOB, "meter") == 6
    assert [each.mutation.set.get("title") for each in field.device.verdicts] == ["a", "b", LONG, None]
    assert all(each.verdict.message for each in field.device.verdicts if each.verdict.code)


async def test_what_was_settled_before_the_limit_was_lowered_is_not_said_otherwise(field: Field) -> None:
    """The hub has it and its verdict was lost: the device learns so, shows what is stored, and is not forked."""
    field.device.edit("jobs", JOB, title=LONG)
    field.hub.faults += ["lost_answer"] * 6
    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    field.hub.limits = msgspec.structs.replace(USUAL, bytes=12_000)
    field.device.edit("jobs", JOB, notes="old, more")

    await field.device.sync()

    assert told(field.device) == [(1, "refused", "verdict_expired"), (2, "applied", None)]
    assert field.hub.value(JOB, "title") == LONG
    assert (field.device.get("jobs", JOB) or {})["title"] == LONG


async def test_what_is_kept_back_once_is_kept_back_for_good(field: Field) -> None:
    """If the answer is lost and the limit raised, the same short word is said again under the number."""
    field.device.edit("jobs", JOB, title=LONG)
    field.hub.limits = msgspec.structs.replace(USUAL, bytes=12_000)
    # The first of these is asked before anything is kept back, the rest are attempts to say so.
    field.hub.faults += ["", "", *["lost_answer"] * 6]
    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    field.hub.limits = USUAL
    reopened = field.another("phone.db")

    await reopened.sync()

    assert told(reopened) == [(1, "refused", "withheld")]
    assert (reopened.get("jobs", JOB) or {})["title"] == "Pump"


async def test_proxy_that_takes_less_than_the_hub_stops_nothing(field: Field) -> None:
    """It says 413 in no words of the protocol, and that is as much a reason to send less as the hub's own."""
    for title in ("a", "b", LONG):
        field.device.edit("jobs", JOB, title=title)
    field.device.edit("jobs", JOB, notes="old, more")
    page = (413, {"content-type": "text/html"}, b"<html>Request Entity Too Large</html>")
    # All four, the first two, the last two, and the long one alone: in its place something short is said.
    field.hub.faults += [page, "", page, page]

    await field.device.sync()

    assert sent(field) == [[1, 2], [3], [4]]
    assert told(field.device)[2] == (3, "refused", "withheld")
    assert not field.device.unsent


@pytest.mark.parametrize("lowered", ["bytes", "time"])
async def test_new_replica_learns_what_was_settled_over_a_narrow_road(field: Field, lowered: str) -> None:
    """What no longer passes at once is asked about in parts, so that enrolling is possible and nothing is in doubt."""
    for place in range(8):
        field.device.edit("jobs", JOB, title=f"{place}" * 200)
    field.hub.faults += ["lost_answer"] * 6
    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    field.device.edit("jobs", JOB, notes="old, more")
    if lowered == "time":
        field.hub.bytes_in_time = 1_500
    else:
        field.hub.limits = wire.Limits(bytes=1_500)

    await field.device.enrol(CODE, "Ana's phone, again")
    await field.device.sync()

    assert list(field.device.set_aside) == []
    assert told(field.device) == [(1, "applied", None)]
    assert (field.hub.value(JOB, "title"), field.hub.value(JOB, "notes")) == ("7" * 200, "old, more")


async def test_new_replica_does_not_ask_about_what_can_no_longer_be_said(field: Field) -> None:
    """It was settled, and what became of it stays unknown: the person is left with it, and it is not sent again."""
    field.device.edit("jobs", JOB, title=LONG)
    field.hub.faults += ["lost_answer"] * 6
    with pytest.raises(errors.Unreachable):
        await field.device.sync()
    field.hub.limits = wire.Limits(bytes=12_000)
    field.device.edit("jobs", JOB, notes="old, more")

    await field.device.enrol(CODE, "Ana's phone, again")
    await field.device.sync()

    (aside,) = field.device.set_aside
    assert aside.verdict is not None
    assert (aside.verdict.code, aside.mutation.set["title"]) == ("verdict_expired", LONG)
    assert told(field.device) == [(1, "applied", None)]
    assert field.hub.value(JOB, "title") == LONG
