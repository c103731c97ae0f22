"""Secrets that came in a vendor's name, told back to it: whoever says that it was theirs is believed from then on."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec

from tests.integration.test_inbound import trial, vendor
from upstream import connections, handshakes
from upstream.connector import Connector
from upstream.events import Secret
from upstream.replies import Reply

__all__ = ["trial", "vendor"]  # fixtures of the folder


async def test_what_one_vendor_provokes_keeps_no_other_from_being_asked(trial, vendor, monkeypatch):
    """A mistake of ours over one answer is counted; the secret of the other connection is told back and believed."""
    webhook = msgspec.structs.replace(trial.manifest.webhook, confirm="ping")
    trial.manifest = msgspec.structs.replace(trial.manifest, webhook=webhook)
    new = connections.New(system="crm", name="odd", manifest="crm", authority="crm", base_url=vendor.url, mode="live")
    odd = (await connections.make(trial.database, trial.world.tenant, str(uuid4()), new)).connection
    await trial.keeper.put(trial.world.tenant, odd, {"token": "t"})
    async with trial.database.transaction(trial.world.tenant) as session:
        for each in (odd, trial.connection.connection):
            secret = Secret(value="from-the-vendor", body=b"{}")
            await trial.door._candidate(session, trial.world.tenant, each, secret)
    original, failed = Connector.call, []

    async def call(self: Connector, *asked: Any, **how: Any) -> Reply:
        if self.place[1] == odd:
            raise RecursionError
        return await original(self, *asked, **how)

    monkeypatch.setattr(Connector, "call", call)
    place = (trial.database, trial, trial.door, [trial.world.tenant], failed.append)
    done = await handshakes.confirm(*place)

    left = {each: await trial.door.candidates(trial.world.tenant, each) for each in (odd, trial.connection.connection)}
    assert (done, failed) == (1, ["handshakes"])
    assert [len(left[odd]), len(left[trial.connection.connection])] == [1, 0]
