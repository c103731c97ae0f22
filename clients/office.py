"""A back office that works over REST: read, write what was shown, look at conflicts.

Each write names the rev that its person was shown and bears an idempotency key, so that it may be
repeated after a lost answer. A cell that lost is told in the verdict; it is no error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from clients.machine import Machine, this_machine
from clients.transport import Call, Reply, Transport, Waiting
from replication.verdict import CellVerdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import httpx

    from clients.transport import Method
    from replication.kinds import Op
    from replication.versions import Dot

PAGE_RECORDS: Final = 200


class Item(msgspec.Struct, frozen=True):
    """A record as a person was shown it."""

    id: str
    rev: int
    fields: dict[str, Any]


class Written(msgspec.Struct, frozen=True):
    """What became of a write, and the record after it."""

    id: str
    rev: int
    fields: dict[str, Any]
    verdict: str
    cells: dict[str, CellVerdict]

    @property
    def item(self) -> Item:
        """The record after the write, as it can be edited next."""
        return Item(self.id, self.rev, self.fields)


class Page(msgspec.Struct, frozen=True):
    """A page of a list."""

    items: tuple[dict[str, Any], ...]
    cursor: str | None = None


class Office:
    """One person at a desk."""

    def __init__(self, transport: Transport, token: str, machine: Machine) -> None:
        """Put the parts together; `open` does it with the usual ones."""
        self._transport = transport
        self._token = token
        self._machine = machine

    @classmethod
    def open(
        cls, url: str, token: str, *, client: httpx.AsyncClient | None = None, machine: Machine | None = None
    ) -> Self:
        """Speak to the server at `url` in the name of the token's person."""
        machine = machine or this_machine()
        waiting = Waiting(machine.now_ms, machine.sleep, machine.jitter)
        return cls(Transport(url, waiting, client), token, machine)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Records.

    async def get(self, collection: str, record_id: str) -> Item:
        """Return a record."""
        return _item((await self._read(f"/v1/{collection}/{record_id}")).decode(dict[str, Any]))

    async def list(self, collection: str, **equal: str) -> AsyncIterator[Item]:
        """Yield the living records of a collection whose fields have these values."""
        cursor: str | None = ""
        while cursor is not None:
            query = {**equal, "limit": str(PAGE_RECORDS), **({"cursor": cursor} if cursor else {})}
            page = (await self._read(f"/v1/{collection}", query)).decode(Page)
            for found in page.items:
                yield _item(found)
            cursor = page.cursor

    async def history(self, collection: str, record_id: str) -> dict[str, Any]:
        """Return what was written on a record, cell by cell, newest first."""
        return (await self._read(f"/v1/{collection}/{record_id}/history")).decode(dict[str, Any])

    async def create(self, collection: str, fields: dict[str, Any], record_id: str | None = None) -> Written:
        """Make a record."""
        body = {"id": record_id or self._machine.new_id(), "set": fields}
        return await self._write("POST", f"/v1/{collection}", body)

    async def edit(self, collection: str, shown: Item, /, **fields: Any) -> Written:
        """Set fields of a record as it was shown."""
        return await self._edit(collection, shown, {"set": fields})

    async def do(self, collection: str, shown: Item, field: str, op: Op) -> Written:
        """Do something to a field's value, whatever it is by then."""
        return await self._edit(collection, shown, {"do": {field: op}})

    async def _edit(self, collection: str, shown: Item, body: dict[str, Any]) -> Written:
        return await self._write("PATCH", f"/v1/{collection}/{shown.id}", body, shown.rev)

    async def delete(self, collection: str, shown: Item) -> Written:
        """Delete a record as it was shown."""
        return await self._write("DELETE", f"/v1/{collection}/{shown.id}", None, shown.rev)

    # Work orders.

    async def assign(self, shown: Item, person: str | None, crew: Sequence[str] | None = None) -> Written:
        """Give a work order to a technician; without a crew the crew stays."""
        body = {"assignee_id": person} if crew is None else {"assignee_id": person, "crew": crew}
        return await self._verb("assign", shown, body)

    async def reschedule(self, shown: Item, **window: str | None) -> Written:
        """Move a work order's window_start, window_end or time_zone."""
        return await self._verb("reschedule", shown, window)

    async def cancel(self, shown: Item, reason: str | None = None) -> Written:
        """Cancel a work order."""
        return await self._verb("cancel", shown, {} if reason is None else {"reason": reason})

    async def _verb(self, verb: str, shown: Item, body: dict[str, Any]) -> Written:
        return await self._write("POST", f"/v1/work_orders/{shown.id}/{verb}", body, shown.rev)

    # Conflicts and devices.

    async def conflicts(self, **query: str) -> Sequence[dict[str, Any]]:
        """Return a page of conflict entries, newest first."""
        return (await self._read("/v1/conflicts", query)).decode(Page).items

    async def conflict(self, conflict_id: str) -> dict[str, Any]:
        """Return one conflict, why it ended as it did, and the present state of its cell."""
        return (await self._read(f"/v1/conflicts/{conflict_id}")).decode(dict[str, Any])

    async def undo(self, conflict_id: str, dot: Dot, siblings: Sequence[Dot] = ()) -> Written:
        """Put back the value that lost, over the state of the cell that was shown."""
        body = {"dot": dot, "siblings": siblings}
        return await self._write("POST", f"/v1/conflicts/{conflict_id}/undo", body)

    async def settle(self, conflict_id: str, dot: Dot, siblings: Sequence[Dot], **choice: Any) -> Written:
        """Choose for a conflict that waits: `choose` is winner, loser, or value with a `value`."""
        body = {"dot": dot, "siblings": siblings, **choice}
        return await self._write("POST", f"/v1/conflicts/{conflict_id}/settle", body)

    async def devices(self) -> Sequence[dict[str, Any]]:
        """Return the devices of the business, and how far behind each is."""
        return (await self._read("/v1/devices")).decode(Page).items

    async def _read(self, path: str, query: dict[str, str] | None = None) -> Reply:
        return await self._transport.send(Call(method="GET", path=path, query=query or {}, token=self._token))

    async def _write(self, method: Method, path: str, body: dict[str, Any] | None, rev: int | None = None) -> Written:
        headers = {"idempotency-key": self._machine.new_id()}
        if rev is not None:
            headers["if-match"] = f'"{rev}"'
        call = Call(method=method, path=path, body=body, headers=headers, token=self._token)
        found = (await self._transport.send(call)).decode(dict[str, Any])
        cells = msgspec.convert(found.pop("cells"), dict[str, CellVerdict])
        verdict = str(found.pop("verdict"))
        item = _item(found)
        return Written(item.id, item.rev, item.fields, verdict, cells)


def _item(found: dict[str, Any]) -> Item:
    """Return a record whose id and rev stood among its fields."""
    fields = {name: value for name, value in found.items() if name not in ("id", "rev")}
    return Item(str(found["id"]), int(found["rev"]), fields)
