"""Laws of whose turn it is: nobody gets more than the caps say, nobody waits for ever, weights are kept."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from upstream.fairness import TENANT_MAX, Backlog, Wheel, Wheels

PLACES = st.tuples(st.integers(1, 6), st.sampled_from("abc"))
SETTINGS = st.tuples(st.integers(0, 10), st.integers(1, 20), st.integers(1, 100))


@st.composite
def backlogs_of(draw: st.DrawFn) -> list[Backlog]:
    """Draw what waits in lanes of connections, whose settings both lanes share."""
    found = []
    for (tenant, connection), (going, most, share) in draw(st.dictionaries(PLACES, SETTINGS, max_size=10)).items():
        found += [
            Backlog(
                tenant_id=tenant,
                connection=connection,
                lane=lane,
                waiting=draw(st.integers(0, 200)),
                going=going,
                in_flight_max=most,
                backfill_share=share,
            )
            for lane in draw(st.sets(st.sampled_from(["live", "backfill"])))
        ]
    return found


def line(tenant: int, waiting: int, *, weight: int = 1, lane: str = "live") -> Backlog:
    """Return what waits for a tenant that may have as much under way as it likes."""
    place = {"tenant_id": tenant, "connection": f"c{tenant}", "lane": lane}
    return Backlog(**place, waiting=waiting, weight=weight, in_flight_max=1_000, backfill_share=100)


@given(backlogs=backlogs_of(), slots=st.integers(0, 64), live=st.integers(0, 20), backfill=st.integers(0, 20))
def test_no_cap_is_ever_passed(backlogs: list[Backlog], slots: int, live: int, backfill: int) -> None:
    """Neither the worker's slots, nor a connection's, nor a lane's, nor a tenant's."""
    turns = Wheels(slots).turns(backlogs, live=live, backfill=backfill)

    by_place = {(each.tenant_id, each.connection, each.lane): each for each in backlogs}
    taken = Counter({(turn.tenant_id, turn.connection, turn.lane): turn.most for turn in turns})
    assert len(taken) == len(turns)
    assert sum(taken.values()) <= max(0, slots - live - backfill)
    for place, most in taken.items():
        each = by_place[place]
        assert 0 < most <= min(each.waiting, each.room)
        both = sum(taken[each.tenant_id, each.connection, lane] for lane in ("live", "backfill"))
        assert both + each.going <= each.in_flight_max
    for tenant in {each.tenant_id for each in backlogs}:
        assert sum(most for place, most in taken.items() if place[0] == tenant) <= TENANT_MAX


@given(waiting=st.lists(st.integers(1, 400), min_size=2, max_size=6), slots=st.integers(1, 32))
def test_a_long_line_takes_no_more_than_a_short_one(waiting: list[int], slots: int) -> None:
    """While two tenants of one weight both have work, neither is ever ahead of the other by more than a round."""
    wheel, left, got = Wheel(), dict(enumerate(waiting, 1)), Counter[int]()
    while any(left.values()):
        both = {tenant for tenant, many in left.items() if many}
        for turn in wheel.turns([line(tenant, many) for tenant, many in left.items()], slots, tenant_max=1_000):
            got[turn.tenant_id] += turn.most
            left[turn.tenant_id] -= turn.most
        still = [got[tenant] for tenant in both if left[tenant]]
        assert not still or max(still) - min(still) <= 1
    assert dict(got) == dict(enumerate(waiting, 1))


@given(weights=st.lists(st.integers(1, 5), min_size=2, max_size=5), slots=st.integers(1, 16))
def test_weights_are_kept(weights: list[int], slots: int) -> None:
    """Over many looks each tenant gets what its weight says, to within one round."""
    wheel, got = Wheel(), Counter[int]()
    backlogs = [line(tenant, 1_000, weight=weight) for tenant, weight in enumerate(weights, 1)]
    for _ in range(40):
        for turn in wheel.turns(backlogs, slots, tenant_max=1_000):
            got[turn.tenant_id] += turn.most

    rounds = [got[tenant] / weight for tenant, weight in enumerate(weights, 1)]
    assert sum(got.values()) == 40 * slots
    assert max(rounds) - min(rounds) <= 1


@given(slots=st.integers(2, 64), waiting=st.integers(1, 500))
def test_a_backfill_neither_starves_nor_floods(slots: int, waiting: int) -> None:
    """With live work for every slot it still gets one; with none it gets its part and leaves the rest free."""
    slow = line(1, waiting, lane="backfill")

    beside = Wheels(slots).turns([line(2, 1_000), line(3, 1_000), slow], live=0, backfill=0)
    alone = Wheels(slots).turns([slow], live=0, backfill=0)

    assert sum(turn.most for turn in beside if turn.lane == "backfill") >= 1
    assert sum(turn.most for turn in beside if turn.lane == "live") >= min(slots // 2, 2 * TENANT_MAX)
    assert 1 <= sum(turn.most for turn in alone) <= max(1, slots // 4)


@given(slots=st.integers(1, 64), going=st.integers(0, 8))
def test_beside_live_work_a_backfill_gets_no_more_than_is_kept_for_it(slots: int, going: int) -> None:
    """Also when slots are free: what it does would slow the live work down."""
    turns = Wheels(slots).turns([line(1, 1_000, lane="backfill")], live=0, backfill=going, beside=True)

    assert sum(turn.most for turn in turns) + going <= max(1, slots // 10, going)
    assert bool(turns) == (going < max(1, slots // 10))


def test_a_tenant_that_comes_late_does_not_wait_behind_a_hundred_thousand() -> None:
    """Its one row is taken at the next look, however much another tenant has."""
    wheel = Wheel()
    wheel.turns([line(1, 100_000)], 16, tenant_max=1_000)

    turns = wheel.turns([line(1, 100_000), line(2, 1)], 16, tenant_max=1_000)

    assert {turn.tenant_id: turn.most for turn in turns} == {1: 15, 2: 1}
