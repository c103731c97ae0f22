"""The HTTP server is killed with -9 while devices push: nothing acknowledged is missing, nothing counts twice."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import pytest

from clients import errors
from clients.machine import this_machine
from clients.office import WORK_ORDERS
from clients.transport import Call, Transport, Waiting
from replication import wire

if TYPE_CHECKING:
    from clients.office import Office
    from tests.acceptance.served import Served

PHONES = 5
BATCH = 4
KILLS = 3
PUSHES_BETWEEN_KILLS = 6
SECONDS_MAX = 90


class Phone:
    """A device without a memory of its own but the numbers it gave: counts parts on one record."""

    def __init__(self, transport: Transport, enrolled: wire.EnrolAnswer) -> None:
        self._transport = transport
        self._enrolled = enrolled
        self.part = str(uuid4())
        self.made: list[dict[str, Any]] = []
        self.heard: dict[int, dict[str, Any]] = {}
        self.pushes = 0

    def count(self) -> None:
        """Make the next edit: the record first, then one part more each time."""
        n = len(self.made) + 1
        what = {"op": "set", "do": {"quantity": {"inc": 1}}} if n > 1 else {"op": "create", "set": {"quantity": 0}}
        self.made.append({"n": n, "collection": "parts_used", "id": self.part, "base": 0, "rev": 0, **what})

    async def push(self, first: int) -> list[dict[str, Any]]:
        """Push all edits from a number on, and return their verdicts."""
        body = {"epoch": self._enrolled.epoch, "schema": 1, "verdicts_seen": 0, "mutations": self.made[first - 1 :]}
        call = Call(method="POST", path=wire.PATH_PUSH, body=body, token=self._enrolled.token)
        answer = (await self._transport.send(call)).decode(dict[str, Any])
        self.pushes += 1
        verdicts: list[dict[str, Any]] = answer["verdicts"]
        return verdicts

    async def work(self, done: asyncio.Event) -> None:
        """Push batch after batch, each until it is answered."""
        while not done.is_set():
            for _ in range(BATCH):
                self.count()
            while len(self.heard) < len(self.made):
                try:
                    told = await self.push(len(self.heard) + 1)
                except errors.Unreachable:
                    continue
                self.heard |= {verdict["n"]: verdict for verdict in told}


def wait_for(phones: list[Phone], pushes: int) -> None:
    """Wait until the phones have had so many answers."""
    while sum(phone.pushes for phone in phones) < pushes:
        time.sleep(0.01)


@pytest.fixture
async def phones(served: Served) -> Any:
    """Give enrolled phones of different technicians."""
    machine = this_machine()
    transport = Transport(served.ready.url, Waiting(machine.now_ms, asyncio.sleep, machine.jitter))
    made = []
    for technician in served.tenant.technicians[:PHONES]:
        body = wire.EnrolRequest(technician.enrolment_code, "phone")
        reply = await transport.send(Call(method="POST", path=wire.PATH_ENROL, body=body))
        made.append(Phone(transport, reply.decode(wire.EnrolAnswer)))
    yield made
    await transport.close()


async def test_a_killed_server_loses_nothing_that_it_acknowledged(
    served: Served, office: Office, phones: list[Phone]
) -> None:
    """After kills with -9 in the middle of pushes, each edit counts once, and a retry gets the verdict it had."""
    done = asyncio.Event()
    work = [asyncio.create_task(phone.work(done)) for phone in phones]
    async with asyncio.timeout(SECONDS_MAX):
        for kill in range(1, KILLS + 1):
            await asyncio.to_thread(wait_for, phones, kill * PUSHES_BETWEEN_KILLS * PHONES)
            pid = served.kill_server()
            await asyncio.to_thread(served.wait_for_server_after, pid)
        done.set()
        await asyncio.gather(*work)

    for phone in phones:
        again = {verdict["n"]: verdict for verdict in await phone.push(1)}
        assert again == phone.heard
        assert {verdict["verdict"] for verdict in again.values()} == {"applied"}
        counted = (await office.get("parts_used", phone.part)).fields["quantity"]
        assert counted == str(len(phone.made) - 1)
    assert min(len(phone.made) for phone in phones) > BATCH


async def test_a_device_works_on_through_a_kill(served: Served, office: Office, enrolled: Any) -> None:
    """A reference device that syncs while its server is killed has all its edits in the hub afterwards."""
    ana = await enrolled(0)
    made = await office.create(WORK_ORDERS, {"title": "Through a kill"})
    await office.assign(msgspec.structs.replace(made.shown), served.tenant.technicians[0].id)
    await ana.sync()
    for line in range(200):
        ana.do(WORK_ORDERS, made.id, "notes", {"append": f"{line};"})

    syncing = asyncio.create_task(ana.sync())
    await asyncio.sleep(0.02)
    pid = served.kill_server()
    await asyncio.to_thread(served.wait_for_server_after, pid)
    try:
        await syncing
    except errors.Unreachable:
        await ana.sync()

    expected = "".join(f"{line};" for line in range(200))
    assert (await office.get(WORK_ORDERS, made.id)).fields["notes"] == expected
    assert (ana.get(WORK_ORDERS, made.id) or {})["notes"] == expected
    assert not ana.unsent
