"""The reference device on a road that loses answers: all is done once, and in the end all is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clients import errors
from clients.device import Device
from clients.office import WORK_ORDERS
from clients.relay import Relay
from replication import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from clients.office import Office
    from tests.acceptance.served import Served

ROUNDS = 6


@pytest.fixture
async def road(served: Served) -> AsyncIterator[Relay]:
    """Give a way to the server that can lose answers."""
    async with Relay(served.ready.url) as relay:
        yield relay


async def test_a_lost_answer_never_counts_twice(
    served: Served, office: Office, road: Relay, enrolled: Callable[..., Awaitable[Device]]
) -> None:
    """With the answer to every push and every pull lost once, counts and notes are as if none had been."""
    made = await office.create(WORK_ORDERS, {"title": "In the tunnel"})
    await office.assign(made.shown, served.tenant.technicians[0].id)
    ana = await enrolled(0, road.url)
    part = ana.create("parts_used", {"work_order_id": made.id, "quantity": "0"})

    for number in range(ROUNDS):
        ana.do("parts_used", part, "quantity", {"inc": "1"})
        ana.do(WORK_ORDERS, made.id, "notes", {"append": f"{number};"})
        for path in (wire.PATH_PUSH, wire.PATH_PULL):
            road.lose_answer(path)
            await ana.sync()

    assert len(road.lost) == 2 * ROUNDS
    assert (await office.get("parts_used", part)).fields["quantity"] == str(ROUNDS)
    assert (await office.get(WORK_ORDERS, made.id)).fields["notes"] == "".join(f"{number};" for number in range(ROUNDS))
    assert [answered.mutation.n for answered in ana.verdicts] == list(range(1, 2 * ROUNDS + 2))
    assert {answered.verdict.verdict for answered in ana.verdicts} == {"applied"}
    fresh = await enrolled(0)
    for collection in (WORK_ORDERS, "parts_used"):
        assert ana.list(collection) == fresh.list(collection)


async def test_an_enrolment_is_not_repeated_behind_the_persons_back(
    served: Served, road: Relay, tmp_path: Path
) -> None:
    """A lost answer to an enrolment is told to the person, who may enrol again; what was written waits."""
    async with Device.open(tmp_path / "lost.db", road.url) as device:
        part = device.create("parts_used", {"description": "written before enrolling"})
        road.lose_answer(wire.PATH_ENROL)
        code = served.tenant.technicians[1].enrolment_code

        with pytest.raises(errors.Unreachable):
            await device.enrol(code, "phone")
        await device.enrol(code, "phone")
        await device.sync()

        assert len(road.lost) == 1
        assert [answered.verdict.verdict for answered in device.verdicts] == ["applied"]
        assert (device.get("parts_used", part) or {})["description"] == "written before enrolling"
