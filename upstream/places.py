"""Places for work that is under way: a piece is taken up as soon as one is free, so that a slow one keeps only its own.

Nobody has all of them: of one tenant, and of one connection or endpoint, so many pieces are under way at once
and no more, however many wait. What is leased is begun at once, so a lease need not outlast more than one piece.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    Tenants: TypeAlias = Callable[[], Awaitable[Sequence[int]]]

Piece = TypeVar("Piece")
Owner: TypeAlias = tuple[int, str]
"""Whose a piece is: the tenant, and its connection or endpoint."""

BREATH_SECONDS: Final = 0.02
"""Between two looks at least, however fast pieces end."""
STOP_SECONDS: Final = 45.0
"""How long what is under way is waited for at the end: longer than a request may take."""

log = structlog.get_logger()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How many pieces are under way at once: in all, of one tenant, of one connection or endpoint."""

    total: int
    tenant: int
    each: int


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """Which places are free. `taken`: whose the pieces are that are under way."""

    limits: Limits
    taken: tuple[Owner, ...] = ()

    @property
    def free(self) -> int:
        """How many places are free in all."""
        return self.limits.total - len(self.taken)

    def beside(self, more: Sequence[Owner]) -> Room:
        """Return the room that is left when these have been taken up too."""
        return Room(limits=self.limits, taken=(*self.taken, *more))

    def asked(self, tenants: Sequence[int]) -> tuple[Sequence[int], list[int], int, int, list[str]]:
        """Return what a statement goes by that leases.

        The tenants, the free places of each; those of all; how many one connection or endpoint may have; which
        ones have some, each as often.
        """
        held = Counter(tenant for tenant, _ in self.taken)
        rooms = [max(0, self.limits.tenant - held[tenant]) for tenant in tenants]
        return tenants, rooms, max(0, self.free), self.limits.each, [each for _, each in self.taken]


class Places(Generic[Piece]):
    """The places of one task. `lease` gives pieces that there is room for, `work` does one, `owner` says whose."""

    def __init__(
        self,
        task: str,
        limits: Limits,
        *,
        lease: Callable[[Sequence[int], Room], Awaitable[Sequence[Piece]]],
        work: Callable[[Piece], Awaitable[object]],
        owner: Callable[[Piece], Owner],
    ) -> None:
        self._task = task
        self._limits = limits
        self._lease = lease
        self._work = work
        self._owner = owner
        self._under_way: dict[asyncio.Task[None], Owner] = {}

    async def run(
        self, tenants: Tenants, stop: asyncio.Event, *, seconds: float, wake: asyncio.Event | None = None
    ) -> None:
        """Work until told to stop; look when a place comes free or somebody wakes us, and after so many seconds."""
        woken = wake or asyncio.Event()
        while not stop.is_set():
            woken.clear()
            await _tried(self._task, lambda: self._look(tenants))
            await self._until_something_is_new(stop, woken, seconds)
        await finish(self._under_way)

    async def turn(self, tenants: Sequence[int]) -> int:
        """Take up what there is room for, once, and wait for it; return how many pieces that were."""
        found = await self._leased(tenants)
        await asyncio.gather(*(self._one(piece) for piece in found))
        return len(found)

    async def _look(self, tenants: Tenants) -> None:
        self._under_way = {task: owner for task, owner in self._under_way.items() if not task.done()}
        for piece in await self._leased(await tenants()):
            self._under_way[asyncio.create_task(self._one(piece), name=self._task)] = self._owner(piece)

    async def _leased(self, tenants: Sequence[int]) -> Sequence[Piece]:
        room = Room(limits=self._limits, taken=tuple(self._under_way.values()))
        return await self._lease(tenants, room) if tenants and room.free > 0 else ()

    async def _one(self, piece: Piece) -> None:
        try:
            await self._work(piece)
        except Exception:
            tenant_id, each = self._owner(piece)
            log.exception("piece_failed", task=self._task, tenant=tenant_id, of=each)

    async def _until_something_is_new(self, stop: asyncio.Event, wake: asyncio.Event, seconds: float) -> None:
        # A piece that ended while others were leased is still among them, and ends the wait at once.
        waits = [asyncio.create_task(each.wait()) for each in (stop, wake)]
        await asyncio.wait((*waits, *self._under_way), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        await asyncio.sleep(BREATH_SECONDS)


async def again(task: str, do: Callable[[], Awaitable[int | None]], stop: asyncio.Event, *, seconds: float) -> None:
    """Do something until told to stop: at once again while it finds something, else after so many seconds."""
    while not stop.is_set():
        if await _tried(task, do):
            continue
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)


async def finish(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait for what is under way, but not for ever: what it has leased is taken up by another worker."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


async def _tried(task: str, do: Callable[[], Awaitable[int | None]]) -> int | None:
    """Do something, and return what it gives; a database that is away, or a mistake, is met anew the next time."""
    try:
        return await do()
    except OSError as error:
        log.warning("look_interrupted", task=task, error=type(error).__name__)
    except Exception:
        log.exception("look_failed", task=task)
    return None
