"""One real server for all stories of a test run, and the people who work with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clients.device import Device
from clients.office import Office
from tests.acceptance.served import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """Give a server with work orders; whoever kills its HTTP server waits until it is back."""
    with Served() as server:
        yield server


@pytest.fixture
async def office(served: Served) -> AsyncIterator[Office]:
    """Give the dispatcher of the tenant that has work orders."""
    async with Office.open(served.ready.url, served.tenant.office_token) as desk:
        yield desk


@pytest.fixture
async def enrolled(served: Served, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Device]]]:
    """Give new devices, enrolled and synced: of the technician in this place, by this road."""
    devices: list[Device] = []

    async def make(place: int, url: str | None = None) -> Device:
        device = Device.open(tmp_path / f"{len(devices)}.db", url or served.ready.url)
        devices.append(device)
        await device.enrol(served.tenant.technicians[place].enrolment_code, f"device of technician {place}")
        await device.sync()
        return device

    yield make
    for device in devices:
        await device.close()
