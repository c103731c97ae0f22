"""Places for work that is under way: a slow piece keeps its own, one that fails keeps none, nobody has all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from upstream import places
from upstream.places import Limits, Places, Room

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

LIMITS = Limits(total=3, tenant=2, each=1)
SECONDS = 5.0


async def tenants() -> list[int]:
    """Give the tenants there are."""
    return [1, 2]


class Desk:
    """Pieces that wait, in the order in which they are taken up; what is done with each is up to the test."""

    def __init__(self, work: Callable[[str], Awaitable[None]], *waiting: str) -> None:
        self.waiting, self.begun, self.rooms = list(waiting), [], []
        self._work = work
        self.places: Places[str] = Places("desk", LIMITS, lease=self._lease, work=self._one, owner=self._owner)
        self.stop, self.wake = asyncio.Event(), asyncio.Event()

    async def run_until(self, is_so: Callable[[], bool]) -> None:
        """Let it work until something is so; then stop it."""
        running = asyncio.create_task(self.places.run(tenants, self.stop, seconds=0.01, wake=self.wake))
        async with asyncio.timeout(SECONDS):
            while not is_so():  # noqa: ASYNC110  (what is waited for differs)
                await asyncio.sleep(0.01)
        self.stop.set()
        async with asyncio.timeout(SECONDS):
            await running

    async def _lease(self, _: Sequence[int], room: Room) -> list[str]:
        self.rooms.append(room)
        found, self.waiting = self.waiting[: room.free], self.waiting[room.free :]
        return found

    async def _one(self, piece: str) -> None:
        self.begun.append(piece)
        await self._work(piece)

    def _owner(self, piece: str) -> tuple[int, str]:
        return 1, piece


async def test_a_piece_that_takes_long_keeps_no_other_waiting(monkeypatch):
    """Beside one that does not end all others are done; at the end it is waited for, but not for ever."""
    monkeypatch.setattr(places, "STOP_SECONDS", 0.05)
    cancelled = []

    async def work(piece: str) -> None:
        if piece == "slow":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(piece)
                raise

    desk = Desk(work, "slow", *map(str, range(9)))
    await desk.run_until(lambda: len(desk.begun) == 10)

    assert cancelled == ["slow"]
    assert max(len(room.taken) for room in desk.rooms) <= LIMITS.total - 1
    assert desk.rooms[-1].taken[0] == (1, "slow")


async def test_what_is_under_way_at_the_end_is_brought_to_its_end():
    """A piece that ends within the time that is given is not cut off."""
    ended = []

    async def work(piece: str) -> None:
        await asyncio.sleep(0.1)
        ended.append(piece)

    desk = Desk(work, "a", "b")
    await desk.run_until(lambda: len(desk.begun) == 2)

    assert sorted(ended) == ["a", "b"]


async def test_a_piece_that_fails_ends_no_other():
    """Whatever one raises, what is beside it and what comes after it are done; alone and in a turn."""

    async def work(piece: str) -> None:
        if piece == "bad":
            raise RecursionError(piece)

    desk = Desk(work, "bad", "a", "bad", "b", "c")
    await desk.run_until(lambda: len(desk.begun) == 5)
    again = Desk(work, "bad", "a")

    assert await again.places.turn([1]) == 2
    assert again.begun == ["bad", "a"]


@pytest.mark.parametrize("error", [ConnectionResetError, ValueError])
async def test_a_look_that_fails_is_met_anew_the_next_time(monkeypatch, error):
    """The database was away, or something was wrong: what is under way goes on, and it is looked again."""

    async def work(_: str) -> None:
        pass

    desk = Desk(work, "a")
    original, failed = desk._lease, []

    async def lease(mine: Sequence[int], room: Room) -> list[str]:
        if not failed:
            failed.append(error)
            raise error
        return await original(mine, room)

    monkeypatch.setattr(desk.places, "_lease", lease)
    await desk.run_until(lambda: desk.begun == ["a"])

    assert failed == [error]


async def test_what_comes_back_at_once_is_done_at_once():
    """Something is done again and again while it finds more, whatever went wrong between, until it is told to stop."""
    stop, found = asyncio.Event(), []

    async def do() -> int:
        found.append(len(found))
        if len(found) == 2:
            raise ValueError
        if len(found) == 5:
            stop.set()
        return 1

    async with asyncio.timeout(SECONDS):
        await places.again("desk", do, stop, seconds=0.01)

    assert found == [0, 1, 2, 3, 4]


def test_room_is_what_those_under_way_leave():
    """Of a tenant and in all so many places are free; whose connections have some is told beside it."""
    room = Room(limits=LIMITS, taken=((1, "a"), (1, "b")))

    assert room.asked([1, 2]) == ([1, 2], [0, 2], 1, 1, ["a", "b"])
    assert room.beside([(2, "c")]).asked([1, 2]) == ([1, 2], [0, 1], 0, 1, ["a", "b", "c"])
