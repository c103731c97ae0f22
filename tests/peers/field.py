"""A technician in the field: a device, a hub in its reach, and a clock that somebody turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clients.device import Device
from replication import wire
from tests.peers.hub import ANA, CODE, Clockwork, Hub

JOB = "20000000-0000-4000-8000-000000000001"


class Field:
    """A hub, and Ana's device in its reach."""

    def __init__(self, folder: Path) -> None:
        """Begin with one job of Ana's, and her device not enrolled."""
        self.folder = folder
        self.clock = Clockwork()
        self.hub = Hub()
        self.hub.office("create", JOB, title="Pump", notes="old", meter=5, assignee_id=ANA)
        self.opened: list[Device] = []
        self.device = self.another("phone.db")

    def another(self, name: str) -> Device:
        """Another installation of Ana's, or the same one opened again."""
        path = self.folder / name
        device = Device.open(path, "http://hub", client=self.hub.client(), machine=self.clock.machine())
        self.opened.append(device)
        return device

    async def enrol(self, **limits: int) -> Device:
        """Enrol and sync Ana's device, under these limits."""
        self.hub.limits = wire.Limits(**limits)
        await self.device.enrol(CODE, "Ana's phone")
        await self.device.sync()
        return self.device

    def pushes(self) -> list[dict[str, Any]]:
        """The bodies of all pushes that the hub has read."""
        return [body for _, path, body in self.hub.requests if path == wire.PATH_PUSH]
