"""Who plays in the story: the people of a ready file, each technician with a reference device."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from clients.device import Device
from clients.office import WORK_ORDERS, Office

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from replication.kinds import Op


class Named(msgspec.Struct, frozen=True):
    """A technician as the ready file has them."""

    id: str
    name: str
    token: str
    enrolment_code: str


class Tenant(msgspec.Struct, frozen=True):
    """A tenant as the ready file has it."""

    id: int
    office_token: str
    technicians: tuple[Named, ...]


class Ready(msgspec.Struct, frozen=True):
    """What a development server writes when it is ready, as far as a story needs it."""

    url: str
    tenants: tuple[Tenant, ...]


def read(path: Path) -> Ready:
    """Return what the ready file says; the first tenant is the one that has work orders."""
    return msgspec.json.decode(path.read_bytes(), type=Ready)


class Technician:
    """A technician and their device. Counts what is done on it, for the reckoning at the end."""

    def __init__(self, known: Named, device: Device) -> None:
        self.id = known.id
        self.name = known.name
        self.token = known.token
        self.device = device
        self._code = known.enrolment_code
        self.made = 0
        self.told = 0

    def edit(self, job: str, **fields: Any) -> None:
        """Set fields of a job."""
        self.device.edit(WORK_ORDERS, job, **fields)
        self.made += 1

    def do(self, collection: str, record_id: str, field: str, op: Op) -> None:
        """Do something to a field's value."""
        self.device.do(collection, record_id, field, op)
        self.made += 1

    def create(self, collection: str, **fields: Any) -> str:
        """Make a record."""
        self.made += 1
        return self.device.create(collection, fields)

    @property
    def jobs(self) -> list[str]:
        """The ids of the jobs on the screen."""
        return sorted(self.device.list(WORK_ORDERS))

    async def enrol(self) -> None:
        """Make the device a replica, and fetch what is in scope."""
        await self.device.enrol(self._code, f"{self.name}'s phone", "reference")
        await self.device.sync()

    async def sync(self) -> None:
        """Go where there is a network."""
        await self.device.sync()


class Cast:
    """Everybody: the technicians, and a dispatcher at the office."""

    def __init__(self, technicians: Sequence[Technician], office: Office) -> None:
        self.technicians = technicians
        self.office = office

    @classmethod
    def open(cls, folder: Path, ready: Ready, *, size: int, roads: dict[int, str]) -> Cast:
        """Give each of the first `size` technicians a new device; `roads` are other ways to the server, by place."""
        tenant = ready.tenants[0]
        technicians = [
            Technician(known, Device.open(folder / f"device-{place}.db", roads.get(place, ready.url)))
            for place, known in enumerate(tenant.technicians[:size])
        ]
        return cls(technicians, Office.open(ready.url, tenant.office_token))

    async def enrol(self) -> None:
        """Let everybody enrol."""
        await asyncio.gather(*(technician.enrol() for technician in self.technicians))

    async def sync(self) -> None:
        """Let everybody sync."""
        await asyncio.gather(*(technician.sync() for technician in self.technicians))

    async def close(self) -> None:
        """Close all devices."""
        await asyncio.gather(*(technician.device.close() for technician in self.technicians), self.office.close())
