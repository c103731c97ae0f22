"""The reckoning: devices and hub say the same, and nothing that was pushed is missing.

The hub is asked with each technician's own token, so that a record which a device should *not*
have counts as well. A write that was carried out is looked up in the history of its record, one
that did not take its place in its conflict entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clients.cast import Cast, Technician
    from clients.office import Entry, Office, Past
    from clients.store import Answered
    from replication.verdict import CellVerdict

Key = tuple[str, str]

INSTALLED = ("applied", "merged")
KEPT_APART = ("superseded", "parked")
SAID_ALREADY = ("converged", "absorbed")


class Reckoning(msgspec.Struct):
    """What was counted, and every difference in words."""

    devices: int = 0
    copies: int = 0
    edits: int = 0
    records: set[Key] = set()
    verdicts: dict[str, int] = {}
    differences: list[str] = []

    def differ(self, technician: Technician, what: str) -> None:
        """Note a difference."""
        self.differences.append(f"{technician.name}: {what}")


async def reckon(cast: Cast) -> Reckoning:
    """Compare all devices, which have synced, with the hub."""
    reckoning = Reckoning(devices=len(cast.technicians))
    collections = [name for name in (await cast.office.catalog()).collections if await cast.office.has_any(name)]
    for technician in cast.technicians:
        await _compare(technician, cast.office.of(technician.token), collections, reckoning)
    memory = _Memory(cast.office)
    for technician in cast.technicians:
        await _look_up(technician, memory, reckoning)
    return reckoning


async def _compare(technician: Technician, hub: Office, collections: list[str], reckoning: Reckoning) -> None:
    """Compare what a device shows with what its person may see."""
    for collection in collections:
        there = {record_id: shown.fields for record_id, shown in (await hub.list(collection)).items()}
        here = technician.device.list(collection)
        for record_id in there.keys() | here.keys():
            if record_id not in here:
                reckoning.differ(technician, f"{collection} {record_id} is missing on the device")
            elif record_id not in there:
                reckoning.differ(technician, f"{collection} {record_id} is on the device alone")
            elif here[record_id] != there[record_id]:
                reckoning.differ(technician, f"{collection} {record_id} reads otherwise on the device")
        reckoning.copies += len(here)
        reckoning.records |= {(collection, record_id) for record_id in there}


class _Memory:
    """What the hub remembers, asked once for each record."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._histories: dict[Key, dict[str, Sequence[Past]]] = {}
        self._entries: dict[Key, dict[str, Entry]] = {}

    async def history(self, key: Key) -> dict[str, Sequence[Past]]:
        """Return a record's history by cell."""
        if key not in self._histories:
            self._histories[key] = await self._office.history(*key)
        return self._histories[key]

    async def entries(self, key: Key) -> dict[str, Entry]:
        """Return a record's conflict entries by id."""
        if key not in self._entries:
            self._entries[key] = await self._office.conflicts(collection=key[0], record_id=key[1])
        return self._entries[key]


async def _look_up(technician: Technician, memory: _Memory, reckoning: Reckoning) -> None:
    """Find again everything that was done on a device."""
    numbers = [answered.mutation.n for answered in technician.device.verdicts]
    if technician.device.unsent or numbers != list(range(1, technician.made + 1)):
        reckoning.differ(technician, f"{technician.made} edits were made, those with a verdict are {numbers}")
    for answered in technician.device.verdicts:
        reckoning.edits += 1
        if not answered.verdict.cells:
            reckoning.differ(technician, f"edit {answered.mutation.n} was {answered.verdict.verdict} as a whole")
        for cell, told in answered.verdict.cells.items():
            reckoning.verdicts[told.verdict] = reckoning.verdicts.get(told.verdict, 0) + 1
            if not await _is_kept(answered, cell, told, memory, technician):
                reckoning.differ(technician, f"edit {answered.mutation.n}, {cell} {told.verdict}: not found again")


async def _is_kept(answered: Answered, cell: str, told: CellVerdict, memory: _Memory, technician: Technician) -> bool:
    key = (answered.mutation.collection, answered.mutation.id)
    if told.verdict in INSTALLED:
        past = (await memory.history(key)).get(cell, [])
        return any(write.seq == told.seq and write.person == technician.id for write in past)
    if told.verdict in KEPT_APART:
        entry = (await memory.entries(key)).get(told.conflict or "")
        return entry is not None and _is_loser(entry, answered, cell, technician)
    return told.verdict in SAID_ALREADY


def _is_loser(entry: Entry, answered: Answered, cell: str, technician: Technician) -> bool:
    """Tell whether the entry holds what was sent: the same write, and where a value was set, that value."""
    loser = entry.loser
    same_write = (technician.device.rid, answered.mutation.n) in ((*loser.dot,), *loser.twins)
    return same_write and answered.mutation.set.get(cell, loser.value) == loser.value
