"""One suite for both who count budgets and remember breakers: within the process, and in the shared store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.services import redis_url
from upstream import breaker, budgets, shared
from upstream.bucket import PURPOSES, Heard, Rule
from upstream.budgets import Take

__all__ = ["redis_url"]

START = 1_795_000_000_000
_numbers = count(1)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Give a clock that stands still."""
    return Clock()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Redis]:
    """Give a client of the shared store."""
    client = shared.connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["local", "shared"])
def counting(request: pytest.FixtureRequest, clock: Clock) -> budgets.Budgets:
    """Give one after the other of those who count."""
    if request.param == "local":
        return budgets.Local(clock)
    return shared.Budgets(request.getfixturevalue("store"), budgets.Local(clock), clock)


@pytest.fixture(params=["local", "shared"])
def remembering(request: pytest.FixtureRequest, clock: Clock) -> breaker.Breaker:
    """Give one after the other of those who remember."""
    if request.param == "local":
        return breaker.Local(clock)
    return shared.Breaker(request.getfixturevalue("store"), breaker.Local(clock), clock)


def bucket_of(**rule: Any) -> Take:
    """Give a bucket that no other test knows."""
    number = next(_numbers)
    return Take("b", f"fieldsync:{{test}}:budget:{number}", Rule(**rule))


async def test_a_limit_holds_and_is_renewed(counting: budgets.Budgets, clock: Clock) -> None:
    """No more than the limit is taken, and what is said to be waited for is enough."""
    take = bucket_of(limit=3, window_ms=10_000)

    first = [await counting.take([take], "interactive", str(n)) for n in range(4)]
    clock.now += first[3]
    later = await counting.take([take], "interactive", "5")

    assert (first[:3], first[3] > 0, later) == ([0, 0, 0], True, 0)


async def test_all_buckets_or_none(counting: budgets.Budgets) -> None:
    """Where one bucket has no room, nothing is taken from the others."""
    wide, narrow = bucket_of(limit=2, window_ms=10_000), bucket_of(limit=1, window_ms=10_000)
    assert await counting.take([wide, narrow], "interactive", "1") == 0

    refused = await counting.take([wide, narrow], "interactive", "2")
    alone = await counting.take([wide], "interactive", "3")

    assert (refused > 0, alone) == (True, 0)


async def test_only_so_many_at_once(counting: budgets.Budgets, clock: Clock) -> None:
    """Calls under way are counted until they end, or until nobody can be waiting for them any more."""
    take = bucket_of(concurrency=2, lease_ms=5_000)
    assert [await counting.take([take], "interactive", n) for n in "ab"] == [0, 0]
    assert await counting.take([take], "interactive", "c") > 0

    await counting.settle([take], [Heard(ok=True)], "a")
    assert await counting.take([take], "backfill", "c") > 0, "the last place is not for a backfill"
    assert await counting.take([take], "interactive", "c") == 0
    clock.now += 5_001
    assert [await counting.take([take], "interactive", n) for n in "de"] == [0, 0]


async def test_a_complaint_stops_the_whole_bucket(counting: budgets.Budgets, clock: Clock) -> None:
    """After Retry-After nobody takes anything from the bucket until it is over."""
    take = bucket_of(limit=100)
    assert await counting.take([take], "normal", "a") == 0
    await counting.settle([take], [Heard(hold_ms=7_000, throttled=True)], "a")

    waits = [await counting.take([take], purpose, purpose) for purpose in PURPOSES]
    clock.now += 7_000

    assert waits == [7_000] * 3
    assert await counting.take([take], "backfill", "z") == 0


async def test_both_count_the_same(store: Redis, clock: Clock) -> None:
    """Whatever is asked and heard, the shared store says number for number what the process says."""
    chance = random.Random(20)
    alone = budgets.Local(clock)
    together = shared.Budgets(store, budgets.Local(clock), clock)
    for _ in range(12):
        takes = [
            bucket_of(
                limit=chance.choice([0, 1, 2, 7, 60]),
                window_ms=chance.choice([1_000, 9_999, 60_000]),
                concurrency=chance.choice([0, 0, 1, 4]),
                adapts=chance.random() < 0.4,
                cost=chance.choice([1, 1, 3]),
                lease_ms=20_000,
            )
            for _ in range(chance.choice([1, 2]))
        ]
        for n in range(120):
            clock.now += chance.choice([0, 3, 400, 2_500])
            purpose = chance.choice(PURPOSES)
            waits = [await each.take(takes, purpose, str(n)) for each in (alone, together)]
            assert waits[0] == waits[1]
            if chance.random() < 0.7:
                said = [_heard(chance) for _ in takes]
                for each in (alone, together):
                    await each.settle(takes, said, str(n))


def _heard(chance: random.Random) -> Heard:
    throttled = chance.random() < 0.1
    return Heard(
        limit=chance.choice([-1, -1, -1, 40]),
        remaining=chance.choice([-1, -1, 0, 5]),
        reset_ms=chance.choice([-1, 500, 30_000]),
        hold_ms=chance.choice([0, 1_500]) if throttled else 0,
        throttled=throttled,
        ok=not throttled,
    )


async def test_a_store_that_is_lost_is_done_without(clock: Clock) -> None:
    """While the shared store does not answer, the process counts for itself."""
    gone = shared.connect("redis://127.0.0.1:1/0")
    counting = shared.Budgets(gone, budgets.Local(clock), clock)
    take = bucket_of(limit=1)

    waits = [await counting.take([take], "interactive", n) for n in "ab"]
    await gone.aclose()

    assert (waits[0], waits[1] > 0) == (0, True)


async def test_faults_in_a_row_open_it_and_one_probes(remembering: breaker.Breaker, clock: Clock) -> None:
    """After faults in a row nothing is sent; then exactly one worker is told to ask the vendor."""
    key = breaker.key("test", 1, str(next(_numbers)), "write")
    for _ in range(breaker.IN_A_ROW):
        assert await remembering.admit(key) == "closed"
        await remembering.record(key, fault=True)

    assert await remembering.admit(key) == breaker.OPEN_MS
    clock.now += breaker.OPEN_MS
    told = [await remembering.admit(key) for _ in range(5)]
    assert told.count("probe") == 1
    assert all(isinstance(each, int) for each in told[1:])

    await remembering.record(key, fault=False, probe=True)
    assert await remembering.admit(key) == "closed"


async def test_a_probe_that_fails_doubles_the_wait(remembering: breaker.Breaker, clock: Clock) -> None:
    """Each time the vendor is still down it is left alone for twice as long, up to a limit."""
    key = breaker.key("test", 1, str(next(_numbers)), "read")
    for _ in range(breaker.IN_A_ROW):
        await remembering.record(key, fault=True)

    waits = []
    for _ in range(7):
        wait = await remembering.admit(key)
        assert isinstance(wait, int)
        waits.append(wait)
        clock.now += wait
        assert await remembering.admit(key) == "probe"
        assert await remembering.record(key, fault=True, probe=True)

    expected = [min(breaker.OPEN_MS_MAX, breaker.OPEN_MS * 2**n) for n in range(7)]
    assert waits == expected


async def test_most_of_many_open_it_too(remembering: breaker.Breaker) -> None:
    """A vendor that fails most calls is left alone, even if now and then one succeeds."""
    key = breaker.key("test", 1, str(next(_numbers)), "read")

    opened = [await remembering.record(key, fault=n % 5 != 0) for n in range(breaker.CALLS_MIN + 5)]

    assert not any(opened[: breaker.CALLS_MIN - 1])
    assert opened[-1]


async def test_what_one_record_is_refused_for_is_no_fault(remembering: breaker.Breaker) -> None:
    """As long as somebody answers, the breaker stays closed."""
    key = breaker.key("test", 1, str(next(_numbers)), "write")

    for n in range(200):
        await remembering.record(key, fault=n % 2 == 0)

    assert await remembering.admit(key) == "closed"


async def test_many_at_once_never_take_too_much(clock: Clock, worker_clients: Callable[[], Redis]) -> None:
    """Thirty-two that ask at the same moment, each over a connection of its own, get the limit and no more."""
    take = bucket_of(limit=20, window_ms=60_000)
    clients = [worker_clients() for _ in range(32)]
    counting = [shared.Budgets(client, budgets.Local(clock), clock) for client in clients]

    waits = await asyncio.gather(*(each.take([take], "interactive", str(n)) for n, each in enumerate(counting)))

    assert waits.count(0) == 20


@pytest.fixture
async def worker_clients(redis_url: str) -> AsyncIterator[Callable[[], Redis]]:
    """Give a way to make clients, each with connections of its own."""
    made: list[Redis] = []

    def make() -> Redis:
        made.append(shared.connect(redis_url))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


async def test_a_limit_that_only_the_vendor_tells_holds_too(counting: budgets.Budgets, clock: Clock) -> None:
    """Where none is declared the one in the answers counts, and what they say is left of it."""
    take = bucket_of(limit=0, window_ms=10_000)
    free = [await counting.take([take], "interactive", str(n)) for n in range(5)]
    await counting.settle([take], [Heard(limit=4, remaining=1, ok=True)], "0")

    then = [await counting.take([take], "interactive", f"t{n}") for n in range(2)]
    clock.now += 10_000 + 10_000 // 20

    assert free == [0] * 5
    assert (then[0], then[1] > 0) == (0, True)
    assert await counting.take([take], "interactive", "later") == 0


async def test_a_pause_outlives_the_store(store: Redis, clock: Clock) -> None:
    """A store that comes back empty does not end what a vendor has asked this process for."""
    counting = shared.Budgets(store, budgets.Local(clock), clock)
    take = bucket_of(limit=100)
    await counting.take([take], "normal", "a")
    await counting.settle([take], [Heard(hold_ms=7_000, throttled=True)], "a")
    await store.delete(take.key)

    assert await counting.take([take], "normal", "b") == 7_000
    clock.now += 7_000
    assert await counting.take([take], "normal", "c") == 0
