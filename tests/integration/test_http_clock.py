"""The tie rule `clock` over HTTP: the hub's estimate of the true time decides, whatever a device's clock says."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.integration.service import ANA, BEN, Desk, Phone, Service, uid, verdicts

BY_CLOCK = (
    'summary = { kind = "text", write = ["device", "office"], tie = "manual" }',
    'summary = { kind = "text", write = ["device", "office"], tie = "clock" }',
)
MINUTE = 60_000


def now_ms() -> int:
    """Return the true time in milliseconds."""
    return int(time.time() * 1_000)


async def two_phones(service: Service) -> tuple[Desk, Phone, Phone]:
    """Give two technicians one work order whose summary is settled by the clock; both were heard of long ago."""
    desk, ana, ben = await service.office(), await service.device(ANA), await service.device(BEN)
    await service.publish(BY_CLOCK)
    await desk.create(1, title="Boiler", assignee_id=ANA, crew=[BEN])
    await ana.pull()
    await ben.pull()
    return desk, ana, ben


async def tell(phone: Phone, text: str, *, ago: int, skew: int = 0, **rest: Any) -> dict[str, Any]:
    """Write the summary `ago` milliseconds in the past, on a device whose clock is wrong by `skew`."""
    wall = now_ms() + skew
    clock = {"wall_ms": wall, "mono_ms": 5, "zone": "Europe/Zurich"}
    return await phone.settled(phone.edit(1, set={"summary": text}, at=wall - ago, **rest), clock=clock)


@pytest.mark.parametrize("skew", [-400 * MINUTE, 0, 400 * MINUTE])
async def test_the_later_write_stands_however_wrong_the_clock_is(service: Service, skew: int) -> None:
    """What was written ten minutes ago loses to what was written five minutes ago, and wins when it arrives last."""
    desk, ana, ben = await two_phones(service)

    await tell(ana, "The valve was stuck.", ago=5 * MINUTE, skew=skew)
    early = await tell(ben, "The pump was dead.", ago=10 * MINUTE)

    (entry,) = await desk.conflicts()
    explained = (await desk.client.get(f"/v1/conflicts/{entry['id']}")).json()
    assert verdicts(early) == ["superseded"]
    assert (entry["rule"], entry["loser"]["value"]) == ("tie:clock", "The pump was dead.")
    assert "later" in explained["sentence"]
    assert (await desk.show(1))["summary"] == "The valve was stuck."


async def test_a_later_write_that_arrives_later_wins(service: Service) -> None:
    """A device whose clock is days behind is not at a disadvantage for it."""
    desk, ana, ben = await two_phones(service)

    await tell(ana, "The valve was stuck.", ago=10 * MINUTE)
    late = await tell(ben, "The pump was dead.", ago=5 * MINUTE, skew=-5_000 * MINUTE)

    assert verdicts(late) == ["applied"]
    assert [entry["rule"] for entry in await desk.conflicts()] == ["tie:clock"]
    assert (await desk.show(1))["summary"] == "The pump was dead."


async def test_nobody_writes_in_the_future(service: Service) -> None:
    """A time after the receipt counts as the receipt, so that an early claim cannot win for ever."""
    desk, ana, ben = await two_phones(service)

    await tell(ana, "The valve was stuck.", ago=-1_000 * MINUTE)
    later = await tell(ben, "The pump was dead.", ago=-1_000 * MINUTE)

    assert verdicts(later) == ["applied"]
    assert (await desk.show(1))["summary"] == "The pump was dead."


async def test_nobody_writes_before_their_own_last_word(service: Service) -> None:
    """Of one device each edit is later than the one before, whatever its clock says, and however it cuts its pushes."""
    desk, ana, ben = await two_phones(service)

    await tell(ana, "The valve was stuck.", ago=5 * MINUTE)
    await ben.settled(ben.edit(1, set={"status": "on_site"}, at=now_ms() - MINUTE))
    later = await tell(ben, "The pump was dead.", ago=1_000 * MINUTE)

    assert verdicts(later) == ["applied"]
    assert (await desk.show(1))["summary"] == "The pump was dead."


async def test_the_office_writes_when_it_is_heard(service: Service) -> None:
    """A stale page of the office against an older edit of a device: the office wrote later."""
    desk, ana, _ = await two_phones(service)
    rev = (await desk.show(1))["rev"]
    await tell(ana, "The valve was stuck.", ago=5 * MINUTE)

    told = await desk.change(1, rev, summary="Closed by phone.")

    assert told["cells"]["summary"]["rule"] == "tie:clock"
    assert (await desk.show(1))["summary"] == "Closed by phone."


async def test_a_write_without_a_time_was_made_when_it_came(service: Service) -> None:
    """A device that sends neither clock nor time is taken at its arrival."""
    desk, ana, ben = await two_phones(service)
    await tell(ana, "The valve was stuck.", ago=5 * MINUTE)

    answer = await ben.settled(ben.edit(1, set={"summary": "The pump was dead."}), clock=None)

    assert verdicts(answer) == ["applied"]
    assert (await desk.show(1))["summary"] == "The pump was dead."
    assert uid(1) in ben.held
