"""The reference device: a technician's app without a screen.

It works without a network for as long as it takes: edits go into its own file and are shown at
once. `sync` sends them and fetches what is new; it may fail or be killed at any point and loses
nothing. What became of each edit is read from `verdicts`.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from clients import errors, parcel
from clients.exchange import Exchange
from clients.machine import Machine, this_machine
from clients.store import Answered, SetAside, Store
from clients.transport import USUAL, Speech, Transport, Waiting
from replication import device, wire
from replication.device import Act

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import httpx

    from clients.receipt import Receipt
    from replication.kinds import Op
    from replication.mutation import Mutation

VERDICTS_SHOWN: Final = 100


class Device:
    """One installation. Edits are synchronous and local; what needs the hub is awaited."""

    def __init__(self, store: Store, transport: Transport, machine: Machine) -> None:
        """Put the parts together; `open` does it with the usual ones."""
        self._store = store
        self._transport = transport
        self._machine = machine
        self._exchange = Exchange(store, transport, machine)
        self._syncing = asyncio.Lock()
        self._tx: str | None = None

    @classmethod
    def open(
        cls,
        path: Path | str,
        url: str,
        *,
        client: httpx.AsyncClient | None = None,
        machine: Machine | None = None,
        trace: Callable[[str], object] | None = None,
        speech: Speech = USUAL,
    ) -> Self:
        """Open the device whose file is at `path`, or make a new one there."""
        machine = machine or this_machine()
        waiting = Waiting(machine.now_ms, machine.sleep, machine.jitter)
        return cls(Store(path, trace), Transport(url, waiting, client, speech), machine)

    async def close(self) -> None:
        """Close the file and the connections."""
        self._store.close()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # With the hub.

    async def enrol(self, code: str, name: str, platform: str | None = None) -> None:
        """Become a replica by a code from the office. Edits that never arrived go out under the new one.

        Those of which nobody knows whether they arrived are in `set_aside`, for the person.
        """
        async with self._syncing:
            await self._exchange.enrol(code, name, platform)

    async def receipt(self, collection: str, record_id: str) -> Receipt:
        """Return what became of a record: received, applied, told to which system when, or why it waits."""
        async with self._syncing:
            return await self._exchange.receipt(collection, record_id)

    async def sync(self) -> None:
        """Push until nothing is unsent, then pull until nothing is new."""
        async with self._syncing:
            await self._exchange.sync()

    @property
    def rid(self) -> int | None:
        """Number of the replica, once enrolled."""
        enrolment = self._store.enrolment()
        return enrolment.rid if enrolment else None

    # What the person does.

    def create(self, collection: str, fields: dict[str, Any], record_id: str | None = None) -> str:
        """Make a record and return its id."""
        record_id = record_id or self._machine.new_id()
        self._edit(collection, record_id, op="create", fields=fields)
        return record_id

    def edit(self, collection: str, record_id: str, /, **fields: Any) -> None:
        """Set fields of a record that is on the screen."""
        self._require(collection, record_id)
        self._edit(collection, record_id, fields=fields)

    def do(self, collection: str, record_id: str, field: str, op: Op) -> None:
        """Do something to a field's value, whatever it is by then: inc, append, add, remove."""
        self._require(collection, record_id)
        self._edit(collection, record_id, do={field: op})

    def delete(self, collection: str, record_id: str) -> None:
        """Delete a record that is on the screen."""
        self._require(collection, record_id)
        self._edit(collection, record_id, op="delete")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all edits inside one tx, or none of them if one raises."""
        if self._tx is not None:
            yield
            return
        self._tx = self._machine.new_id()
        try:
            with self._store.transaction():
                yield
                self._check_tx()
        finally:
            self._tx = None

    def _edit(self, collection: str, record_id: str, **act: Any) -> None:
        """Number the edit, keep it and show it, all in one step."""
        with self._store.transaction():
            copy = self._store.copy((collection, record_id))
            layout = self._exchange.layout(collection)
            asked = Act(**act, tx=self._tx, at=self._machine.now_ms())
            copy, mutation = device.edit(copy, layout, asked, self._store.next_n())
            self._store.add(mutation)
            self._store.save(copy, device.view(copy, layout))
            parcel.require_room([mutation], self._limits())

    def _require(self, collection: str, record_id: str) -> None:
        if self._store.shown((collection, record_id)) is None:
            raise errors.NotShown(collection, record_id)

    def _check_tx(self) -> None:
        mine = [mutation for mutation in self._store.unsent() if mutation.tx == self._tx]
        parcel.require_room(mine, self._limits())

    def _limits(self) -> wire.Limits:
        enrolment = self._store.enrolment()
        return enrolment.limits if enrolment else wire.Limits()

    # What the person sees.

    def get(self, collection: str, record_id: str) -> dict[str, Any] | None:
        """Return a record's fields as shown, or None if it is not on the screen."""
        return self._store.shown((collection, record_id))

    def list(self, collection: str) -> dict[str, dict[str, Any]]:
        """Return all records of a collection as shown, by id."""
        return self._store.shown_all(collection)

    @property
    def unsent(self) -> Sequence[Mutation]:
        """The edits without a verdict, oldest first."""
        return self._store.unsent()

    @property
    def set_aside(self) -> Sequence[SetAside]:
        """What former replicas of this device leave to its person: not taken, or perhaps never arrived."""
        return self._store.set_aside()

    @property
    def verdicts(self) -> Sequence[Answered]:
        """The newest edits with a verdict, oldest first."""
        return self._store.answered(VERDICTS_SHOWN)
