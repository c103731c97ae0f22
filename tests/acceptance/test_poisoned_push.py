"""A thousand mutations, three of which cannot be meant: those three are told why, the others are done."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from clients.machine import this_machine
from clients.office import WORK_ORDERS
from clients.transport import Call, Transport, Waiting
from replication import wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clients.office import Office
    from tests.acceptance.served import Served

SIZE = 1_000
UNKNOWN_COLLECTION, INVALID_VALUE, FOREIGN_FIELD = 100, 500, SIZE


class Pusher:
    """An enrolled device that sends what it is told to send."""

    def __init__(self, transport: Transport, enrolled: wire.EnrolAnswer) -> None:
        self._transport = transport
        self._enrolled = enrolled

    async def push(self, mutations: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer to a push."""
        body = {"epoch": self._enrolled.epoch, "schema": 1, "verdicts_seen": 0, "mutations": mutations}
        call = Call(method="POST", path=wire.PATH_PUSH, body=body, token=self._enrolled.token)
        return (await self._transport.send(call)).decode(dict[str, Any])


@pytest.fixture
async def pusher(served: Served) -> AsyncIterator[Pusher]:
    """Give a new device of the first technician."""
    machine = this_machine()
    transport = Transport(served.ready.url, Waiting(machine.now_ms, machine.sleep, machine.jitter))
    body = wire.EnrolRequest(served.tenant.technicians[0].enrolment_code, "old app")
    reply = await transport.send(Call(method="POST", path=wire.PATH_ENROL, body=body))
    yield Pusher(transport, reply.decode(wire.EnrolAnswer))
    await transport.close()


@pytest.fixture
async def job(served: Served, office: Office) -> str:
    """Give a job of the first technician."""
    made = await office.create(WORK_ORDERS, {"title": "Many parts"})
    await office.assign(made.shown, served.tenant.technicians[0].id)
    return made.id


def part(n: int, job: str) -> dict[str, Any]:
    """Return a mutation that anybody may make."""
    fields = {"work_order_id": job, "description": f"part {n}", "quantity": "1"}
    return {"n": n, "op": "create", "collection": "parts_used", "id": str(uuid4()), "base": 0, "rev": 0, "set": fields}


async def test_a_bad_mutation_blocks_nothing(office: Office, pusher: Pusher, job: str) -> None:
    """Each of 1,000 is answered; unknown collection, invalid value and foreign field are refused, the rest is there."""
    mutations = [part(n, job) for n in range(1, SIZE + 1)]
    mutations[UNKNOWN_COLLECTION - 1]["collection"] = "holiday_photos"
    mutations[INVALID_VALUE - 1]["set"]["quantity"] = "a handful"
    mutations[FOREIGN_FIELD - 1]["set"]["unit_price"] = "0.01"

    answer = await pusher.push(mutations)

    verdicts = {verdict["n"]: verdict for verdict in answer["verdicts"]}
    assert list(verdicts) == list(range(1, SIZE + 1))
    assert answer["applied"] == SIZE
    assert "expected" not in answer
    refused = {n: verdict for n, verdict in verdicts.items() if verdict["verdict"] != "applied"}
    assert sorted(refused) == [UNKNOWN_COLLECTION, INVALID_VALUE, FOREIGN_FIELD]
    assert {verdict["verdict"] for verdict in refused.values()} == {"refused"}
    assert refused[UNKNOWN_COLLECTION]["code"] == "unknown_collection"
    assert refused[INVALID_VALUE]["cells"]["quantity"]["code"] == "invalid"
    assert refused[FOREIGN_FIELD]["cells"]["unit_price"]["code"] == "not_owner"
    stored = await office.list("parts_used", work_order_id=job)
    assert stored.keys() == {mutation["id"] for n, mutation in enumerate(mutations, 1) if n != UNKNOWN_COLLECTION}
    assert stored[mutations[INVALID_VALUE - 1]["id"]].fields == {"work_order_id": job, "description": "part 500"}
    assert "unit_price" not in stored[mutations[FOREIGN_FIELD - 1]["id"]].fields

    after = await pusher.push([part(SIZE + 1, job)])
    assert [verdict["verdict"] for verdict in after["verdicts"]] == ["applied"]


async def test_every_refusal_can_be_read_by_people(pusher: Pusher, job: str) -> None:
    """Whatever is refused carries a code for programs and a sentence for people."""
    shapeless = {"n": 4, "op": "create", "collection": "parts_used", "id": "not-a-uuid", "set": {"quantity": "1"}}
    mutations = [part(n, job) for n in (1, 2, 3)]
    mutations[0]["collection"] = "holiday_photos"
    mutations[1]["op"] = "explode"
    mutations[2]["set"] = {"colour": "red"}

    answer = await pusher.push([*mutations, shapeless])

    told = [reason for verdict in answer["verdicts"] for reason in (verdict, *verdict.get("cells", {}).values())]
    reasons = [reason for reason in told if reason["verdict"] == "refused" and not reason.get("cells")]
    assert len(reasons) == len(answer["verdicts"]) == 4
    assert all(re.fullmatch(r"[a-z_]+", reason["code"]) and " " in reason["message"] for reason in reasons), json.dumps(
        reasons
    )
