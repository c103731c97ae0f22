"""Whose turn it is: deficit round robin over tenants, within what each may have under way.

Each round gives a tenant as many turns as its weight; what it could not use because nothing waited is
not saved up. So a tenant with a hundred thousand rows takes no more from one with ten than its weight
says, however long its line is. Within a tenant its connections take turns. A backfill has a small part
of its own: it neither keeps live work waiting nor is it kept waiting for ever.

Pure: what waits goes in, portions come out; the wheel remembers whose turn it was.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Lane: TypeAlias = Literal["live", "backfill"]

TENANT_MAX: Final = 32
"""How much of one tenant is under way at once, over all of its connections."""
BACKFILL_SLOTS_PERCENT: Final = 25
"""How many of a worker's slots a backfill may fill when there is no live work."""
BACKFILL_KEPT_PERCENT: Final = 10
"""How many of them it gets beside live work, and are kept for it even when that could fill all; at least one.

It is not the slots that live work would lack: what a backfill does takes processor time at the worker and the
database, and each piece of live work beside it gets slower by that.
"""


class Backlog(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in one lane of a connection, and what of the connection is under way, by all workers.

    `going` counts both lanes of the connection, `going_here` this lane of it, `tenant_going` all of the tenant's.
    """

    tenant_id: int
    connection: str
    lane: Lane
    waiting: int
    going: int = 0
    going_here: int = 0
    tenant_going: int = 0
    weight: int = 1
    in_flight_max: int = 8
    backfill_share: int = 10

    @property
    def room(self) -> int:
        """How much more of this lane may be begun, as far as the connection goes."""
        most = self.in_flight_max
        if self.lane == "backfill":
            most = max(1, most * self.backfill_share // 100)
            return max(0, min(most - self.going_here, self.in_flight_max - self.going))
        return max(0, most - self.going)


class Turn(msgspec.Struct, frozen=True):
    """How much of a lane is taken."""

    tenant_id: int
    connection: str
    lane: Lane
    most: int


class Wheel:
    """The order in which tenants have their turns, kept from one look to the next."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._deficits: dict[int, int] = {}

    def turns(self, backlogs: Sequence[Backlog], slots: int, *, tenant_max: int = TENANT_MAX) -> list[Turn]:
        """Return what to take, at most `slots` in all. The backlogs are of one lane."""
        lines = _lines(backlogs, tenant_max)
        self._follow(lines)
        taken: dict[tuple[int, str, Lane], int] = {}
        while slots > 0 and self._order:
            tenant = self._order[0]
            line = lines[tenant]
            if self._deficits[tenant] <= 0:
                self._deficits[tenant] += line.weight
            while slots > 0 and self._deficits[tenant] > 0 and (place := line.take()) is not None:
                taken[tenant, *place] = taken.get((tenant, *place), 0) + 1
                self._deficits[tenant] -= 1
                slots -= 1
            if line.is_empty:
                self._order.popleft()
                del self._deficits[tenant]
            elif self._deficits[tenant] <= 0:
                self._order.rotate(-1)
        return [Turn(*place, most) for place, most in taken.items()]

    def _follow(self, lines: dict[int, _Line]) -> None:
        """Let tenants without work go, and those that come stand behind the others."""
        waiting = {tenant for tenant, line in lines.items() if not line.is_empty}
        self._order = deque(tenant for tenant in self._order if tenant in waiting)
        self._deficits = {tenant: self._deficits[tenant] for tenant in self._order}
        for tenant in sorted(waiting - set(self._order)):
            self._order.append(tenant)
            self._deficits[tenant] = 0


class Wheels:
    """Both lanes of one kind of work, and how a worker's slots are shared between them."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._live, self._backfill = Wheel(), Wheel()

    def turns(
        self,
        backlogs: Sequence[Backlog],
        *,
        live: int,
        backfill: int,
        tenant_max: int = TENANT_MAX,
        beside: bool = False,
    ) -> list[Turn]:
        """Return what to take. `live` and `backfill` are how much of each this worker has under way.

        `beside`: the worker has had live work just now, so that a backfill gets no more than what is kept for it.
        """
        slow = [each for each in backlogs if each.lane == "backfill"]
        free = self.slots - live - backfill
        kept = max(1, self.slots * BACKFILL_KEPT_PERCENT // 100) if any(min(e.waiting, e.room) for e in slow) else 0
        quick = self._live.turns(
            [each for each in backlogs if each.lane == "live"],
            min(free, self.slots - max(kept, backfill) - live),
            tenant_max=tenant_max,
        )
        free -= sum(turn.most for turn in quick)
        percent = BACKFILL_KEPT_PERCENT if beside or quick else BACKFILL_SLOTS_PERCENT
        most = max(1, self.slots * percent // 100) - backfill
        return quick + self._backfill.turns(_beside(slow, quick), min(free, most), tenant_max=tenant_max)


def _beside(backlogs: Iterable[Backlog], begun: Iterable[Turn]) -> list[Backlog]:
    """Return the backlogs with what has just been begun counted as under way."""
    connections: dict[tuple[int, str], int] = {}
    tenants: dict[int, int] = {}
    for turn in begun:
        connections[turn.tenant_id, turn.connection] = turn.most
        tenants[turn.tenant_id] = tenants.get(turn.tenant_id, 0) + turn.most
    return [
        msgspec.structs.replace(
            each,
            going=each.going + connections.get((each.tenant_id, each.connection), 0),
            tenant_going=each.tenant_going + tenants.get(each.tenant_id, 0),
        )
        for each in backlogs
    ]


class _Line:
    """What of one tenant may be begun, connection by connection in turn."""

    def __init__(self, weight: int, room: int) -> None:
        self.weight = weight
        self._room = room
        self._left: dict[tuple[str, Lane], int] = {}
        self._ring: deque[tuple[str, Lane]] = deque()

    def add(self, backlog: Backlog) -> None:
        """Let a lane of a connection stand in the line."""
        most = min(backlog.waiting, backlog.room)
        if most > 0:
            self._left[backlog.connection, backlog.lane] = most
            self._ring.append((backlog.connection, backlog.lane))

    @property
    def is_empty(self) -> bool:
        """Whether nothing more of the tenant may be begun."""
        return not self._ring or self._room <= 0

    def take(self) -> tuple[str, Lane] | None:
        """Return where the next one is taken from; None if there is no more."""
        if self.is_empty:
            return None
        place = self._ring.popleft()
        self._left[place] -= 1
        self._room -= 1
        if self._left[place]:
            self._ring.append(place)
        return place


def _lines(backlogs: Iterable[Backlog], tenant_max: int) -> dict[int, _Line]:
    lines: dict[int, _Line] = {}
    for each in backlogs:
        lines.setdefault(each.tenant_id, _Line(each.weight, tenant_max - each.tenant_going)).add(each)
    return lines
