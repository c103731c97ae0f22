"""The back office: records, the verbs of a work order, conflicts, over REST.

A write names the rev of the page that its person was looking at. What they had not seen is then
settled by the policy, and the answer says for each cell how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from clients import errors
from clients.machine import Machine, this_machine
from clients.transport import USUAL, Call, Speech, Transport, Waiting
from replication.catalog import Catalog
from replication.verdict import CellVerdict, Side
from replication.versions import Dot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

    from clients.transport import Method, Reply

WORK_ORDERS: Final = "work_orders"
PAGE: Final = 1_000
HISTORY_PAGE: Final = 500
OWN_NAMES: Final = frozenset({"id", "rev", "verdict", "cells"})
"""What stands among the fields of a record in an answer and is none of them."""


class Shown(msgspec.Struct, frozen=True):
    """A record as the office sees it, and the rev to name in a write that follows."""

    id: str
    rev: int
    fields: dict[str, Any]


class Told(msgspec.Struct, frozen=True):
    """What became of a write."""

    id: str
    rev: int
    verdict: str
    cells: dict[str, CellVerdict]
    shown: Shown


class Past(msgspec.Struct, frozen=True):
    """One write of a cell that changed the record."""

    seq: int
    verdict: str
    value: Any
    dot: Dot
    person: str
    authority: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict entry: which cell, the two sides, by which rule, and what became of it since."""

    id: str
    collection: str
    record_id: str
    cell: str
    rule: str
    state: str
    winner: Side
    loser: Side


class CellState(msgspec.Struct, frozen=True):
    """The state of a conflict's cell now, which an undo or a settling names."""

    dot: Dot | None
    siblings: tuple[Dot, ...]
    rev: int = 0


class Explained(msgspec.Struct, frozen=True):
    """A conflict entry, the rule in plain words, and the state of its cell now."""

    conflict: Entry
    sentence: str
    shown: CellState


class _Page(msgspec.Struct, frozen=True):
    items: tuple[dict[str, Any], ...]
    cursor: str | None


class _Entries(msgspec.Struct, frozen=True):
    items: tuple[Entry, ...]
    cursor: str | None


class _Pasts(msgspec.Struct, frozen=True):
    cells: dict[str, tuple[Past, ...]]
    cursor: str | None


class Office:
    """One person at the office. Every write carries a key, so that repeating it has one effect."""

    def __init__(self, transport: Transport, token: str, new_id: Callable[[], str]) -> None:
        self._transport = transport
        self._token = token
        self._new_id = new_id

    @classmethod
    def open(
        cls,
        url: str,
        token: str,
        *,
        client: httpx.AsyncClient | None = None,
        machine: Machine | None = None,
        speech: Speech = USUAL,
    ) -> Self:
        """Speak to the server at `url` as the person whose token this is."""
        machine = machine or this_machine()
        waiting = Waiting(machine.now_ms, machine.sleep, machine.jitter)
        return cls(Transport(url, waiting, client, speech), token, machine.new_id)

    def of(self, token: str) -> Office:
        """Return the same connections, as the person whose token this is."""
        return Office(self._transport, token, self._new_id)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Reading.

    async def catalog(self) -> Catalog:
        """Return the tenant's catalogue."""
        return (await self._get("/v1/catalog")).decode(Catalog)

    async def get(self, collection: str, record_id: str) -> Shown:
        """Return a record as it stands."""
        return _shown((await self._get(f"/v1/{collection}/{record_id}")).decode(dict[str, Any]))

    async def list(self, collection: str, **equal: str) -> dict[str, Shown]:
        """Return all living records whose fields equal what is given, by id."""
        found: dict[str, Shown] = {}
        query = {**equal, "limit": str(PAGE)}
        while True:
            page = (await self._get(f"/v1/{collection}", query)).decode(_Page)
            found |= {record.id: record for record in map(_shown, page.items)}
            if page.cursor is None:
                return found
            query["cursor"] = page.cursor

    async def has_any(self, collection: str) -> bool:
        """Tell whether the collection has a living record."""
        return bool((await self._get(f"/v1/{collection}", {"limit": "1"})).decode(_Page).items)

    async def history(self, collection: str, record_id: str) -> dict[str, Sequence[Past]]:
        """Return what was written on a record, by cell, newest first."""
        found: dict[str, tuple[Past, ...]] = {}
        query = {"limit": str(HISTORY_PAGE)}
        while True:
            page = (await self._get(f"/v1/{collection}/{record_id}/history", query)).decode(_Pasts)
            for cell, pasts in page.cells.items():
                found[cell] = found.get(cell, ()) + pasts
            if page.cursor is None:
                return {**found}
            query["cursor"] = page.cursor

    # Writing.

    async def create(self, collection: str, fields: dict[str, Any]) -> Told:
        """Make a record."""
        return await self._write("POST", f"/v1/{collection}", fields)

    async def change(self, page: Shown, collection: str, /, **fields: Any) -> Told:
        """Change fields of the record that the page shows."""
        return await self._write("PATCH", f"/v1/{collection}/{page.id}", fields, page.rev)

    async def delete(self, page: Shown, collection: str) -> Told:
        """Delete the record that the page shows."""
        return await self._write("DELETE", f"/v1/{collection}/{page.id}", None, page.rev)

    async def assign(self, page: Shown, assignee_id: str | None, crew: Sequence[str] | None = None) -> Told:
        """Give a work order to a technician, and to a crew if one is named."""
        body = {"assignee_id": assignee_id} if crew is None else {"assignee_id": assignee_id, "crew": crew}
        return await self._write("POST", f"/v1/{WORK_ORDERS}/{page.id}/assign", body, page.rev)

    async def reschedule(self, page: Shown, **window: str) -> Told:
        """Move the window of a work order: window_start, window_end, time_zone."""
        return await self._write("POST", f"/v1/{WORK_ORDERS}/{page.id}/reschedule", window, page.rev)

    async def cancel(self, page: Shown, reason: str) -> Told:
        """Cancel a work order."""
        return await self._write("POST", f"/v1/{WORK_ORDERS}/{page.id}/cancel", {"reason": reason}, page.rev)

    # Conflicts.

    async def conflicts(self, **sought: str) -> dict[str, Entry]:
        """Return conflict entries by id, newest first: of a record, a collection, in a state."""
        found: dict[str, Entry] = {}
        query = {**sought, "limit": "500"}
        while True:
            page = (await self._get("/v1/conflicts", query)).decode(_Entries)
            found |= {entry.id: entry for entry in page.items}
            if page.cursor is None:
                return found
            query["cursor"] = page.cursor

    async def conflict(self, conflict_id: str) -> Explained:
        """Return one conflict with its explanation."""
        return (await self._get(f"/v1/conflicts/{conflict_id}")).decode(Explained)

    async def undo(self, page: Explained) -> Told:
        """Put back the value that lost in the conflict that the page shows."""
        return await self._write("POST", f"/v1/conflicts/{page.conflict.id}/undo", _seen(page))

    async def settle(self, page: Explained, choose: str) -> Told:
        """Choose `winner` or `loser` for the waiting conflict that the page shows."""
        body = {**_seen(page), "choose": choose}
        return await self._write("POST", f"/v1/conflicts/{page.conflict.id}/settle", body)

    # How.

    async def _get(self, path: str, query: dict[str, str] | None = None) -> Reply:
        return await self._transport.send(Call(method="GET", path=path, query=dict(query or {}), token=self._token))

    async def _write(self, method: Method, path: str, body: dict[str, Any] | None, rev: int | None = None) -> Told:
        headers = {"idempotency-key": self._new_id()}
        if rev is not None:
            headers["if-match"] = f'"{rev}"'
        reply = await self._transport.send(
            Call(method=method, path=path, body=body, headers=headers, token=self._token)
        )
        return _told(reply)


class _Outcome(msgspec.Struct, frozen=True):
    """What stands beside the fields in the answer to a write."""

    verdict: str
    cells: dict[str, CellVerdict]


def _shown(told: dict[str, Any]) -> Shown:
    """Return a record whose id and rev stand among its fields."""
    fields = {name: value for name, value in told.items() if name not in OWN_NAMES}
    try:
        return msgspec.convert({**told, "fields": fields}, Shown)
    except msgspec.ValidationError as exc:
        raise errors.Unintelligible(f"a record: {exc}") from exc


def _told(reply: Reply) -> Told:
    shown, outcome = _shown(reply.decode(dict[str, Any])), reply.decode(_Outcome)
    return Told(shown.id, shown.rev, outcome.verdict, outcome.cells, shown)


def _seen(page: Explained) -> dict[str, Any]:
    return {"dot": page.shown.dot, "siblings": page.shown.siblings, "rev": page.shown.rev}
