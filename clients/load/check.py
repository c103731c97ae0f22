"""The proof at the end of a run: what was acknowledged is in the server, and all devices agree with it.

A *claim* is what the server acknowledged for one cell. It has to be found again: in the record as it
is, in the record's history under the very dot and seq that the verdict named, or in the conflict
entry that the verdict named. Beyond that every line that was added to a text has to stand in it
once, and every count has to be the sum of its steps. Then each device is compared with what the
server shows its person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from clients.agreement import INSTALLED, KEPT_APART, SAID_ALREADY
from clients.load.sums import Sums
from replication import device

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clients.load.desk import Saved
    from clients.load.fleet import Member
    from clients.load.hub import Hub, Key
    from clients.office import Past, Shown
    from clients.store import Answered
    from replication.catalog import Catalog
    from replication.verdict import CellVerdict

DIFFERENCES_KEPT: Final = 100


class Found(msgspec.Struct):
    """What was compared, and what differs: how often in all, and the first of it in words."""

    devices: int = 0
    copies: int = 0
    edits: int = 0
    dispatcher_writes: int = 0
    cells: int = 0
    lines: int = 0
    counts: int = 0
    verdicts: dict[str, int] = {}
    difference_count: int = 0
    differences: list[str] = []

    def differ(self, what: str) -> None:
        """Note a difference."""
        self.difference_count += 1
        if len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(what)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What the server acknowledged for one cell. `sent` is unset for an operation."""

    who: str
    key: Key
    cell: str
    told: CellVerdict
    sent: Any
    dot: tuple[int, int] | None

    def __str__(self) -> str:
        _, collection, record_id = self.key
        return f"{self.who}: {collection} {record_id} {self.cell} {self.told.verdict}"


async def compare(hub: Hub, members: Sequence[Member], saved: Sequence[Saved], found: Found) -> None:
    """Compare everything that was acknowledged with the hub, and every device with it."""
    claims = [*_of_devices(members, found), *_of_desk(saved, found)]
    await hub.read_collections(claim.key[:2] for claim in claims)
    await hub.read_conflicts()
    # What a record says now needs no history; what was overwritten since does.
    await hub.read_histories(claim.key for claim in claims if claim.key in hub.records and not _stands(claim, hub))
    for claim in claims:
        found.cells += 1
        found.verdicts[claim.told.verdict] = found.verdicts.get(claim.told.verdict, 0) + 1
        if why := _missing(claim, hub):
            found.differ(f"{claim}: {why}")
    _compare_sums(hub, members, found)
    await _compare_devices(hub, members, found)


# What was acknowledged.


def _of_devices(members: Sequence[Member], found: Found) -> Iterator[Claim]:
    for member in members:
        for fault, times in member.faults.items():
            found.differ(f"{member.name}: {fault} ({times} times)")
        answered = member.answered
        numbers = [one.mutation.n for one in answered]
        if member.device.unsent or numbers != list(range(1, member.made + 1)):
            missing = sorted(set(range(1, member.made + 1)) - set(numbers))
            found.differ(f"{member.name}: {member.made} edits were made; without a verdict: {missing}")
        for one in answered:
            found.edits += 1
            yield from _claims(member, one, found)


def _claims(member: Member, one: Answered, found: Found) -> Iterator[Claim]:
    mutation, verdict = one.mutation, one.verdict
    rid = member.device.rid
    assert rid is not None, "whoever has a verdict is enrolled"
    if not verdict.cells:
        found.differ(f"{member.name}: edit {mutation.n} was {verdict.verdict}: {verdict.code} {verdict.message}")
    groups = _groups(member.store.catalog(), mutation.collection)
    for cell, told in verdict.cells.items():
        yield Claim(
            who=f"{member.name}, edit {mutation.n}",
            key=(member.tenant, mutation.collection, mutation.id),
            cell=cell,
            told=told,
            sent=_sent(mutation.set, cell, groups),
            dot=(rid, mutation.n),
        )


def _groups(catalog: Catalog | None, collection: str) -> dict[str, tuple[str, ...]]:
    return device.layout_of(catalog.collections[collection]).groups if catalog else {}


def _sent(fields: dict[str, Any], cell: str, groups: dict[str, tuple[str, ...]]) -> Any:
    if cell in groups:
        return {name: fields[name] for name in groups[cell] if name in fields}
    return fields.get(cell, msgspec.UNSET)


def _of_desk(saved: Sequence[Saved], found: Found) -> Iterator[Claim]:
    for one in saved:
        found.dispatcher_writes += 1
        for cell, told in one.told.cells.items():
            key = (one.tenant, one.collection, one.told.id)
            sent = one.asked.get(cell, msgspec.UNSET)
            yield Claim(who="the dispatcher", key=key, cell=cell, told=told, sent=sent, dot=None)


# Whether it is still there.


def _stands(claim: Claim, hub: Hub) -> bool:
    """Tell whether the record itself proves the claim: nobody has written it since, and it says what was sent."""
    shown = hub.records.get(claim.key)
    if shown is None or claim.told.verdict != "applied" or claim.sent is msgspec.UNSET:
        return False
    return shown.rev == claim.told.seq and _now(shown, claim.cell, claim.sent) == claim.sent


def _now(shown: Shown, cell: str, like: Any) -> Any:
    if isinstance(like, dict):
        return {name: shown.fields.get(name) for name in like}
    return shown.fields.get(cell)


def _missing(claim: Claim, hub: Hub) -> str | None:
    """Return what is wrong with a claim, in words."""
    told = claim.told
    if claim.key not in hub.records:
        return "the record is gone from the server"
    if _stands(claim, hub):
        return None
    if told.verdict in (*INSTALLED, *SAID_ALREADY):
        return _not_in_history(claim, hub.histories[claim.key].get(claim.cell, ()))
    if told.verdict in KEPT_APART:
        return _not_in_conflict(claim, hub)
    return f"{told.code} {told.message}"


def _not_in_history(claim: Claim, pasts: Sequence[Past]) -> str | None:
    """Return what is wrong if the history has not the write that the verdict named, with its value."""
    told = claim.told
    past = next((past for past in pasts if past.seq == told.seq), None)
    if past is None:
        return f"no write with seq {told.seq} is in its history"
    if told.dot is not None and tuple(past.dot) != tuple(told.dot):
        return f"its history has another writer's dot {past.dot} at seq {told.seq}, where {told.dot} was acknowledged"
    expected = claim.sent if told.value is msgspec.UNSET else told.value
    if expected is not msgspec.UNSET and past.value != expected:
        return f"its history says {past.value!r} at seq {told.seq}, where {expected!r} was acknowledged"
    return None


def _not_in_conflict(claim: Claim, hub: Hub) -> str | None:
    """Return what is wrong if the conflict entry does not keep what lost."""
    entry = hub.entries.get((claim.key[0], claim.told.conflict or ""))
    if entry is None:
        return f"conflict {claim.told.conflict} is not there"
    loser = entry.loser
    if claim.dot is not None and claim.dot not in {tuple(dot) for dot in (loser.dot, *loser.twins)}:
        return f"conflict {entry.id} keeps the write {loser.dot}, not {claim.dot}"
    if claim.sent is not msgspec.UNSET and loser.value != claim.sent:
        return f"conflict {entry.id} keeps {loser.value!r}, where {claim.sent!r} was sent"
    return None


# Sums, and devices.


def _compare_sums(hub: Hub, members: Sequence[Member], found: Found) -> None:
    sums = Sums()
    for member in members:
        for one in member.answered:
            sums.add(member.tenant, one.mutation)
    found.counts = len(sums.steps)
    found.lines = sum(lines.total() for lines in sums.lines.values())
    for difference in sums.differences(hub):
        found.differ(difference)


async def _compare_devices(hub: Hub, members: Sequence[Member], found: Found) -> None:
    """Compare each device with what the server shows its person."""
    persons = {(member.tenant, member.person.id): member.person.token for member in members}
    for (tenant, person), token in persons.items():
        there = await hub.shown_to(tenant, token)
        for member in members:
            if (member.tenant, member.person.id) == (tenant, person):
                found.devices += 1
                for collection, records in there.items():
                    _compare_collection(member, collection, records, found)


def _compare_collection(member: Member, collection: str, there: dict[str, Shown], found: Found) -> None:
    here = member.device.list(collection)
    found.copies += len(here)
    for record_id in sorted(there.keys() | here.keys()):
        what = f"{member.name}: {collection} {record_id}"
        if record_id not in here:
            found.differ(f"{what} is missing on the device")
        elif record_id not in there:
            found.differ(f"{what} is on the device alone")
        elif here[record_id] != there[record_id].fields:
            found.differ(
                f"{what} reads otherwise on the device: {_otherwise(here[record_id], there[record_id].fields)}"
            )


def _otherwise(here: dict[str, Any], there: dict[str, Any]) -> str:
    names = [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
    return ", ".join(f"{name} is {here.get(name)!r}, the server has {there.get(name)!r}" for name in names)
