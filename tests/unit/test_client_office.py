"""The back office's client: what it asks for, and how it reads the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from clients import errors
from clients.office import CellState, Entry, Explained, Office, Shown
from replication.catalog import Catalog
from replication.verdict import CellVerdict, Side
from replication.versions import Dot
from tests.peers.hub import Clockwork

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SHOWN = Shown("wo", 7, {"title": "Pump"})
TOLD = {"id": "wo", "rev": 8, "verdict": "applied", "cells": {"title": {"verdict": "applied", "seq": 8}}, "title": "P"}
SIDE = Side("Pump", Dot(3, 4), 7, "ana", "device", "assignee")
ENTRY = Entry(
    id="11-2-title",
    collection="work_orders",
    record_id="wo",
    cell="title",
    rule="tie:manual",
    state="open",
    winner=SIDE,
    loser=SIDE,
)
CONFLICT = Explained(ENTRY, "A person has to choose.", CellState(Dot(3, 4), (Dot(5, 6),)))


class Desk:
    """An office client whose requests end here."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        """Give these answers, one by one."""
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        clock = Clockwork()
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        self.office = Office.open("http://hub", "token", client=client, machine=clock.machine())

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Give the next answer."""
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def told(**body: Any) -> httpx.Response:
    """A successful answer."""
    return httpx.Response(200, json=body)


async def test_record_is_read_with_its_rev() -> None:
    """Id and rev are told apart from the fields; the token's person asks."""
    desk = Desk(told(id="wo", rev=7, title="Pump"))

    item = await desk.office.get("work_orders", "wo")

    assert item == SHOWN
    assert desk.requests[0].url.path == "/v1/work_orders/wo"
    assert desk.requests[0].headers["authorization"] == "Bearer token"


async def test_list_goes_on_to_its_end() -> None:
    """All pages of a list are read, under the same filter."""
    first, second = {"id": "a", "rev": 1}, {"id": "b", "rev": 2}
    desk = Desk(told(items=[first], cursor="next"), told(items=[second], cursor=None))

    found = await desk.office.list("work_orders", status="open")

    assert found == {"a": Shown("a", 1, {}), "b": Shown("b", 2, {})}
    assert [dict(request.url.params) for request in desk.requests] == [
        {"status": "open", "limit": "1000"},
        {"status": "open", "limit": "1000", "cursor": "next"},
    ]


async def test_history_and_conflicts_go_on_to_their_end() -> None:
    """All pages of a history are joined by cell, all pages of conflicts by id."""
    past = {"seq": 4, "verdict": "applied", "value": "a", "dot": [3, 4], "person": "ana", "authority": "device"}
    entry = json.loads(msgspec.json.encode(ENTRY))
    desk = Desk(
        told(cells={"title": [{**past, "seq": 5}]}, cursor="5"),
        told(cells={"title": [past], "notes": [past]}, cursor=None),
        told(items=[entry], cursor="x"),
        told(items=[{**entry, "id": "other"}], cursor=None),
    )

    history = await desk.office.history("work_orders", "wo")
    conflicts = await desk.office.conflicts(state="open")

    assert {cell: [write.seq for write in writes] for cell, writes in history.items()} == {
        "title": [5, 4],
        "notes": [4],
    }
    assert list(conflicts) == ["11-2-title", "other"]
    assert conflicts["11-2-title"] == ENTRY
    assert [request.url.path for request in desk.requests] == ["/v1/work_orders/wo/history"] * 2 + ["/v1/conflicts"] * 2


async def test_conflict_is_read_with_the_state_of_its_cell() -> None:
    """An undo names the state that was shown, so the conflict comes with it; the catalogue is read too."""
    declared = Catalog(collections={}, version=3)
    desk = Desk(
        httpx.Response(200, content=msgspec.json.encode(CONFLICT)),
        httpx.Response(200, content=msgspec.json.encode(declared)),
    )

    assert await desk.office.conflict("11-2-title") == CONFLICT
    assert await desk.office.catalog() == declared
    assert [request.url.path for request in desk.requests] == ["/v1/conflicts/11-2-title", "/v1/catalog"]


CREW = {"assignee_id": None, "crew": ["ben"]}
SEEN = {"dot": [3, 4], "siblings": [[5, 6]], "rev": 0}
WRITES: list[tuple[Callable[[Office], Awaitable[object]], str, str, Any, bool]] = [
    (lambda o: o.create("work_orders", {"title": "P"}), "POST", "/work_orders", {"title": "P"}, False),
    (lambda o: o.change(SHOWN, "work_orders", title="P"), "PATCH", "/work_orders/wo", {"title": "P"}, True),
    (lambda o: o.delete(SHOWN, "work_orders"), "DELETE", "/work_orders/wo", None, True),
    (lambda o: o.assign(SHOWN, "ana"), "POST", "/work_orders/wo/assign", {"assignee_id": "ana"}, True),
    (lambda o: o.assign(SHOWN, None, ["ben"]), "POST", "/work_orders/wo/assign", CREW, True),
    (lambda o: o.reschedule(SHOWN, window_end="9"), "POST", "/work_orders/wo/reschedule", {"window_end": "9"}, True),
    (lambda o: o.cancel(SHOWN, "rain"), "POST", "/work_orders/wo/cancel", {"reason": "rain"}, True),
    (lambda o: o.undo(CONFLICT), "POST", "/conflicts/11-2-title/undo", SEEN, False),
    (lambda o: o.settle(CONFLICT, "loser"), "POST", "/conflicts/11-2-title/settle", {**SEEN, "choose": "loser"}, False),
]


@pytest.mark.parametrize(("act", "method", "path", "body", "based"), WRITES)
async def test_write_names_what_was_shown(
    act: Callable[[Office], Awaitable[object]], method: str, path: str, body: Any, based: bool
) -> None:
    """A write goes where the protocol says, with the rev that was shown and a key for its repeat."""
    desk = Desk(httpx.Response(200, json=TOLD))

    await act(desk.office)

    (request,) = desk.requests
    assert (request.method, request.url.path) == (method, "/v1" + path)
    assert (json.loads(request.content) if request.content else None) == body
    assert request.headers.get("if-match") == ('"7"' if based else None)
    assert request.headers["idempotency-key"]


async def test_write_tells_its_verdict() -> None:
    """The verdict and the cells are told apart from the record, which can be edited next."""
    desk = Desk(httpx.Response(200, json=TOLD))

    written = await desk.office.change(SHOWN, "work_orders", title="P")

    assert written.verdict == "applied"
    assert written.cells == {"title": CellVerdict(verdict="applied", seq=8)}
    assert written.shown == Shown("wo", 8, {"title": "P"})


async def test_repeat_bears_the_same_key() -> None:
    """After a lost answer the same request is sent, so that it has one effect; the next has its own key."""
    desk = Desk(httpx.ReadTimeout("lost"), httpx.Response(200, json=TOLD), httpx.Response(200, json=TOLD))

    await desk.office.change(SHOWN, "work_orders", title="P")
    await desk.office.change(SHOWN, "work_orders", title="Q")

    first, again, other = (request.headers["idempotency-key"] for request in desk.requests)
    assert first == again != other


@pytest.mark.parametrize("body", [{"rev": 1}, {"id": "a", "rev": "x"}])
async def test_answer_that_is_no_record_is_unintelligible(body: dict[str, Any]) -> None:
    """A record without an id or a rev is none."""
    async with Desk(httpx.Response(200, json=body)).office as office:
        with pytest.raises(errors.Unintelligible):
            await office.get("work_orders", "wo")
