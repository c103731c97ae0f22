"""A receipt on the device: the reference client learns what became of a job at the systems of the business."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clients import errors
from clients.device import Device
from syncserver.store import devices
from tests.integration.front import front
from tests.integration.service import ANA, BEN, uid

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.service import Service


async def test_a_technician_sees_on_the_device_that_the_job_has_arrived(service: Service, tmp_path: Path) -> None:
    """Waiting before, delivered with its id there after; somebody else's job is not known."""
    async with front(service) as door:
        await door.connect()
        desk = await service.office()
        await desk.create(1, title="Boiler", assignee_id=ANA)
        await desk.create(2, title="Pump", assignee_id=BEN)
        code = await devices.create_code(service.database, service.tenant, ANA)
        async with Device.open(tmp_path / "phone.db", service.url) as phone:
            await phone.enrol(code, "phone")
            await phone.sync()

            before = await phone.receipt("work_orders", uid(1))
            await door.work()
            phone.edit("work_orders", uid(1), title="Boiler, cellar")
            await phone.sync()
            await door.work()
            after = await phone.receipt("work_orders", uid(1))

            assert [(each.stage, each.system) for each in before.systems] == [("waiting", "books")]
            assert before.is_settled is False
            assert [(each.stage, bool(each.remote_id)) for each in after.systems] == [("delivered", True)]
            assert after.systems[0].delivered_at is not None
            assert after.applied > before.applied
            assert after.is_settled is True
            with pytest.raises(errors.ClientError):
                await phone.receipt("work_orders", uid(2))
