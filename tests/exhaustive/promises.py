"""What must hold in every state: of the hub alone, and of a device beside the hub."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from replication.record import Cell, fields
from replication.versions import Dot
from tests.dumb_store import Store
from tests.exhaustive import hub_side, keys
from tests.exhaustive.device_side import Handset, Phone
from tests.exhaustive.hub_side import Hub
from tests.exhaustive.truth import Broken, Line, Truth
from tests.exhaustive.watch import fixed
from tests.exhaustive.worlds import JOB, JOBS, World


def require(promise: str, seen: object, *, holds: bool) -> None:
    """Raise if a promise does not hold."""
    if not holds:
        raise Broken(promise, str(seen))


def check_hub(hub: Hub) -> None:
    """Each dot has one effect, and every write is where it must be: nothing that anybody wrote is missing."""
    _check_store(hub.world, hub.store, hub.truth)
    for rid in hub.sent:
        if hub.sent[rid]:
            again = hub_side.repeat(hub, rid)
            require(
                "what is asked again changes nothing", rid, holds=keys.of_store(again.store) == keys.of_store(hub.store)
            )


def _check_store(world: World, store: Store, must: Truth) -> None:
    entries = [row.entry.id for row in store.conflicts]
    twice = [dot for dot, count in Counter(change.dot for change in store.changes).items() if count > 1]
    require("each dot has at most one effect", twice, holds=not twice)
    require("each entry has its own id", entries, holds=len(entries) == len(set(entries)))
    require("a conflict has an entry, and nothing else has", entries, holds=set(entries) == must.entries)
    for rid, applied in must.applied.items():
        _check_counter(store, rid, applied)
    record = store.record((JOBS, JOB))
    assert record is not None, "a world begins with its record"
    for (_, name), line in must.lines.items():
        _check_cell(name, record.cells[name], line, store)
    shown = fields(record, world.catalog.collections[JOBS])
    require("the newest change tells what the record shows", shown, holds=shown == store.changes[-1].state)


def _check_counter(store: Store, rid: int, applied: int) -> None:
    if rid == store.hub_rid:
        return
    numbers = sorted(dot.n for dot in store.ledger if dot.rid == rid)
    found = (rid, store.replicas[rid].applied, numbers)
    holds = found == (rid, applied, list(range(1, applied + 1)))
    require("the counter has passed what has a stored verdict, and nothing else", found, holds=holds)


def _check_cell(name: str, cell: Cell, line: Line, store: Store) -> None:
    standing = {tuple(stamp.dot) for stamp in cell.stamps()}
    waiting = {(tuple(sibling.stamp.dot), fixed(sibling.value)) for sibling in cell.siblings}
    kept = [pair for row in store.conflicts if row.entry.cell == name for pair in _losers(row.entry.loser)]
    value = fixed(cell.value)
    gone = [pair for pair in line.lost if not any(_stands_for(each, pair) for each in kept)]
    require("the value is the one that must stand", (name, value, line.value), holds=value == line.value)
    require("the winner is the one that must stand", (name, standing), holds=standing <= line.standing)
    require("what waits for a person is kept", (name, waiting, line.waiting), holds=waiting == line.waiting)
    require("what lost is in an entry, with its value", (name, gone), holds=not gone)


def _losers(side: Any) -> list[tuple[Dot, Any]]:
    return [(dot, fixed(side.value)) for dot in (side.dot, *side.twins)]


def _stands_for(kept: tuple[Dot, Any], lost: tuple[tuple[int, int], Any]) -> bool:
    """Whether an entry keeps a write: a repeat of one's own equal value is not kept a second time."""
    (dot, value), ((rid, n), wanted) = kept, lost
    return dot.rid == rid and dot.n <= n and value == wanted


def check_phone(phone: Phone, handset: Handset) -> None:
    """Numbers have no gaps, bases name nothing that was not told, and what a person did is on the screen."""
    handset.hear_again(phone)
    unsent, answered = phone.unsent, phone.answered
    numbers = sorted([*(mutation.n for mutation in unsent), *answered])
    require("the device's numbers have no gap", numbers, holds=numbers == list(range(1, phone.last_n + 1)))
    for mutation in unsent:
        bases = mutation.base.values() if isinstance(mutation.base, dict) else [mutation.base]
        require("a base is never above what was told", (mutation.n, phone.told), holds=max(bases) <= phone.told)
        require("the held rev is never above what was told", mutation.n, holds=mutation.rev <= phone.told)
    newest = {cell: value for mutation in unsent for cell, value in mutation.set.items()}
    later_ops = {cell for mutation in unsent for cell in mutation.do}
    for cell, value in newest.items():
        flat = value if isinstance(value, dict) else {cell: value}
        on_screen = {name: (phone.screen or {}).get(name) for name in flat}
        require(
            "an edit without a verdict is on the screen",
            (cell, on_screen),
            holds=cell in later_ops or on_screen == flat,
        )


def check_pair(hub: Hub, phone: Phone) -> None:
    """What a device took for settled is so at the hub; once it has heard everything, it shows what the hub has."""
    for n, verdict in phone.answered.items():
        stored = hub.truth.told.get((phone.rid, n))
        require("no acknowledged edit is missing", (phone.rid, n), holds=stored is not None)
        same = stored is not None and stored[0] == msgspec.json.encode(verdict)
        require("the device was told what the hub stored", (phone.rid, n), holds=same)
    if not phone.unsent and phone.cursor == hub.seq:
        record = hub.store.record((JOBS, JOB))
        assert record is not None, "no world deletes its record"
        shown = fields(record, hub.world.catalog.collections[JOBS])
        require(
            "a device that has heard all shows what the hub has", (phone.screen, shown), holds=phone.screen == shown
        )
