"""What the hub says of itself after a run, asked as the office, each thing once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from clients.office import Entry, Office, Past, Shown

T = TypeVar("T")

ASKED_AT_ONCE: Final = 16

Key = tuple[int, str, str]
"""Tenant, collection and record id."""


class Hub:
    """All that the check of a run needs to know of the server, read over REST."""

    def __init__(self, offices: dict[int, Office]) -> None:
        self._offices = offices
        self._gate = asyncio.Semaphore(ASKED_AT_ONCE)
        self.records: dict[Key, Shown] = {}
        self.histories: dict[Key, dict[str, Sequence[Past]]] = {}
        self.entries: dict[tuple[int, str], Entry] = {}

    async def read_collections(self, wanted: Iterable[tuple[int, str]]) -> None:
        """Read the living records of these collections."""
        await asyncio.gather(*(self._limited(self._read_collection(*place)) for place in sorted(set(wanted))))

    async def read_histories(self, wanted: Iterable[Key]) -> None:
        """Read what was written on these records."""
        fresh = sorted(set(wanted) - self.histories.keys())
        await asyncio.gather(*(self._limited(self._read_history(key)) for key in fresh))

    async def read_conflicts(self) -> None:
        """Read all conflict entries."""
        for tenant, office in self._offices.items():
            self.entries |= {(tenant, entry): found for entry, found in (await office.conflicts()).items()}

    async def shown_to(self, tenant: int, token: str) -> dict[str, dict[str, Shown]]:
        """Return what a person may see, by collection and id."""
        office = self._offices[tenant].of(token)
        names = [*(await office.catalog()).collections]
        found = await asyncio.gather(*(self._limited(office.list(name)) for name in names))
        return dict(zip(names, found, strict=True))

    async def _read_collection(self, tenant: int, collection: str) -> None:
        found = await self._offices[tenant].list(collection)
        self.records |= {(tenant, collection, record_id): shown for record_id, shown in found.items()}

    async def _read_history(self, key: Key) -> None:
        tenant, collection, record_id = key
        self.histories[key] = await self._offices[tenant].history(collection, record_id)

    async def _limited(self, asking: Coroutine[None, None, T]) -> T:
        async with self._gate:
            return await asking
