"""What the connector leaves alone: a vendor that wants a pause, one that is down, one that shuts us out."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.connectors import MEANS, Trial, clock, database, http, odd, trial
from tests.integration.test_budgets import Clock
from tests.peers.odd_vendor import Odd, Says
from tests.services import redis_url
from upstream import breaker, budgets, connections, replies, shared

__all__ = ["clock", "database", "http", "odd", "redis_url", "trial"]  # fixtures for the tests of this file

BUDGET = (
    MEANS.replace('path = "/thing"\neffect', 'path = "/thing"\nbudgets = ["minute"]\neffect')
    + """
[budgets.minute]
limit = 100
window_seconds = 60
throttled_seconds = 45
remaining_header = "X-Left"
"""
)


@pytest.mark.parametrize("counts", ["local", "shared"])
async def test_a_storm_of_complaints_is_answered_with_silence(
    trial: Trial, odd: Odd, clock: Clock, redis_url: str, counts: str
) -> None:
    """From the moment that a vendor says when to come back, not one request reaches it until then."""
    store = shared.connect(redis_url)
    if counts == "shared":
        trial.counting = shared.Budgets(store, budgets.Local(clock), clock)
    calling = await trial.connector(BUDGET, odd.url)
    odd.reacts = lambda _seen: Says(429, {}, {"retry-after": "30"})
    first = await calling.call("write", {})

    if counts == "shared":
        trial.counting = shared.Budgets(store, budgets.Local(clock), clock)  # another process knows only the store
    storm = [trial.again(BUDGET) for _ in range(32)]
    told = await asyncio.gather(*(each.call(name, {}) for each in storm for name in ("write", "read")))
    clock.now += 29_999
    told += [await calling.call("read", {}, purpose="backfill")]
    during = len(odd.seen)
    clock.now += 1
    odd.reacts = lambda _seen: Says(200, {"id": 1})
    after = await calling.call("write", {})
    await store.aclose()

    assert (first.kind, first.retry_after_ms, during) == ("throttled", 30_000, 1)
    assert {(reply.kind, reply.code, reply.sent) for reply in told} == {("throttled", "budget_used", False)}
    assert (told[0].retry_after_ms, told[-1].retry_after_ms) == (30_000, 1)
    assert after.kind == "ok"


NOON = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("says", "wait_ms"),
    [
        (
            Says(429, {}, {"retry-after": "Sat, 21 Nov 2026 10:00:20 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}),
            20_000,
        ),
        (Says(429, {}), 45_000),
        (Says(403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED"}]), 30_000),
        (Says(200, {"errors": [{"extensions": {"code": "THROTTLED"}}]}), 45_000),
        (Says(429, {}, {"retry-after": "1e9"}), 45_000),
        (Says(429, {}, {"retry-after": "999999999"}), replies.WAIT_MS_MAX),
    ],
)
async def test_how_long_a_vendor_is_left_alone(trial: Trial, odd: Odd, says: Says, wait_ms: int) -> None:
    """By its header, seconds or a date of its own clock; else by the rule, else by the budget."""
    calling = await trial.connector(BUDGET, odd.url)
    odd.answers = [says]

    first = await calling.call("write", {})
    second = await calling.call("write", {})

    assert (first.kind, first.retry_after_ms) == ("throttled", wait_ms)
    assert (second.sent, second.retry_after_ms) == (False, wait_ms)


async def test_a_header_corrects_the_count(trial: Trial, odd: Odd) -> None:
    """When others use the same limit, the vendor's own count is believed."""
    calling = await trial.connector(BUDGET, odd.url)
    odd.reacts = lambda _seen: Says(200, {"id": 1}, {"x-left": "0"})

    first = await calling.call("write", {})
    second = await calling.call("write", {})

    assert (first.kind, second.kind, second.sent) == ("ok", "throttled", False)


async def test_a_vendor_that_is_down_is_left_alone(trial: Trial, odd: Odd, clock: Clock) -> None:
    """After faults in a row nothing is sent; then the verification call alone decides whether to go on."""
    calling = await trial.connector(MEANS, odd.url)
    odd.reacts = lambda _seen: Says(500, {})
    for _ in range(breaker.IN_A_ROW):
        assert (await calling.call("write", {})).kind == "unknown"

    resting = await calling.call("write", {})
    clock.now += breaker.OPEN_MS
    still = await calling.call("write", {})
    asked = [seen.path for seen in odd.seen[breaker.IN_A_ROW :]]
    odd.reacts = lambda _seen: Says(200, {"id": 1})
    clock.now += 2 * breaker.OPEN_MS
    again = await calling.call("write", {})

    assert (resting.kind, resting.code, resting.sent) == ("transient", "breaker_open", False)
    assert (still.code, asked) == ("breaker_open", ["/ping"])
    assert again.kind == "ok"
    assert [seen.path for seen in odd.seen[-2:]] == ["/ping", "/thing"]


async def test_bad_records_do_not_stop_the_good_ones(trial: Trial, odd: Odd) -> None:
    """Refusals of single records are nobody's fault but theirs: the breaker stays closed."""
    calling = await trial.connector(MEANS, odd.url)
    odd.reacts = lambda _seen: Says(422, {})

    found = [await calling.call("write", {}) for _ in range(3 * breaker.IN_A_ROW)]

    assert {reply.kind for reply in found} == {"data"}
    assert len(odd.seen) == len(found)


async def test_a_key_that_is_not_accepted_is_latched(trial: Trial, odd: Odd) -> None:
    """Once the verification call agrees that the credentials are the matter, nothing more is sent."""
    calling = await trial.connector(MEANS, odd.url)
    odd.reacts = lambda _seen: Says(401, {})

    found = [await calling.call("write", {}) for _ in range(5)]

    assert [(reply.kind, reply.sent) for reply in found] == [("auth", True)] + [("auth", False)] * 4
    assert [seen.path for seen in odd.seen] == ["/thing", "/ping"]
    assert trial.connection is not None
    place = (trial.connection.tenant_id, trial.connection.connection)
    assert (await connections.get(trial.database, *place)).state == "reauthorise"


async def test_one_operation_that_is_not_allowed_latches_nothing(trial: Trial, odd: Odd) -> None:
    """If the verification call is let in, the credentials are good, and others go on."""
    calling = await trial.connector(MEANS, odd.url)
    odd.reacts = lambda seen: Says(200, {"id": 1}) if seen.path == "/ping" or seen.method == "GET" else Says(401, {})

    refused = await calling.call("write", {})
    read = await calling.call("read", {})

    assert (refused.kind, read.kind) == ("auth", "ok")
