"""The reckoning at the end of the demo finds what is wrong, so that its silence says something."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from clients.agreement import reckon
from clients.cast import Cast
from clients.office import WORK_ORDERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.acceptance.served import Served


@pytest.fixture
async def cast(served: Served, tmp_path: Path) -> AsyncIterator[Cast]:
    """Give two technicians who have synced an edit each."""
    everybody = Cast.open(tmp_path, served.ready, size=2, roads={})
    await everybody.enrol()
    for technician in everybody.technicians:
        technician.do(WORK_ORDERS, technician.jobs[0], "notes", {"append": "\nLooked at it."})
    await everybody.sync()
    yield everybody
    await everybody.close()


async def test_agreement_is_found(cast: Cast) -> None:
    """Where all is well the reckoning finds every copy and every edit, and no difference."""
    found = await reckon(cast)

    assert found.differences == []
    assert (found.devices, found.edits, found.verdicts) == (2, 2, {"applied": 2})
    assert found.copies > len(found.records) > 0


@pytest.mark.parametrize(
    ("tampering", "finding"),
    [
        ("DELETE FROM view WHERE collection = 'teams'", "is missing on the device"),
        (
            "INSERT INTO view SELECT collection, 'another', fields FROM view WHERE collection = 'teams'",
            "is on the device alone",
        ),
        ("""UPDATE view SET fields = '{"name":"Other"}' WHERE collection = 'teams'""", "reads otherwise"),
        ("DELETE FROM acknowledged", "edits were made"),
        ("UPDATE acknowledged SET verdict = replace(verdict, '\"seq\":', '\"seq\":9')", "not found again"),
    ],
)
async def test_a_difference_is_found(cast: Cast, tmp_path: Path, tampering: str, finding: str) -> None:
    """A record or an edit that is missing, too many or different on one device is named."""
    with sqlite3.connect(tmp_path / "device-0.db") as device:
        device.execute(tampering)
    device.close()

    found = await reckon(cast)

    assert found.differences
    assert all(finding in difference for difference in found.differences)
    assert all(difference.startswith(cast.technicians[0].name) for difference in found.differences)
