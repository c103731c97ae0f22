"""The stories again, told in MessagePack and zstd: what carries the words changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from clients.device import Device
from clients.office import Office
from clients.transport import Speech
from tests.acceptance import test_story as stories

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.served import Served

PACKED = Speech(form="msgpack", coding="zstd")
STORIES = (
    stories.test_the_policy_settles_what_nobody_could_have_known,
    stories.test_who_has_seen_a_value_may_change_it,
    stories.test_a_stale_page_leaves_one_conflict_that_can_be_undone,
    stories.test_two_accounts_of_one_visit_wait_for_a_person,
    stories.test_work_on_a_job_that_was_given_away_is_kept,
)


async def test_the_stories_are_the_same_in_messagepack(served: Served, tmp_path: Path) -> None:
    """Technicians and office speak MessagePack, what is long is compressed by zstd, and each story ends the same."""
    heard: list[httpx.Response] = []

    async def hear(response: httpx.Response) -> None:
        heard.append(response)

    devices: list[Device] = []
    async with httpx.AsyncClient(event_hooks={"response": [hear]}) as client:

        async def enrolled(place: int) -> Device:
            file = tmp_path / f"{len(devices)}.db"
            devices.append(Device.open(file, served.ready.url, client=client, speech=PACKED))
            await devices[-1].enrol(served.tenant.technicians[place].enrolment_code, f"packed device {len(devices)}")
            await devices[-1].sync()
            return devices[-1]

        office = Office.open(served.ready.url, served.tenant.office_token, client=client, speech=PACKED)
        for story in STORIES:
            await story(served, office, enrolled)
        for device in devices:
            await device.close()

    answered = [each for each in heard if each.is_success]
    assert {each.headers["content-type"] for each in answered} == {"application/msgpack"}
    assert {each.request.headers.get("content-type", "application/msgpack") for each in heard} == {
        "application/msgpack"
    }
    assert {each.headers.get("content-encoding", "zstd") for each in answered} == {"zstd"}
    assert any(each.headers.get("content-encoding") == "zstd" for each in answered)
