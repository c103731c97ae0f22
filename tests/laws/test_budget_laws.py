"""The laws of a budget: never too much, never for nothing, to each purpose its share."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from upstream import bucket
from upstream.bucket import PURPOSES, Heard, Purpose, Rule, State

WINDOW = 60_000
START = 1_795_000_000_000

rules = st.builds(
    Rule, limit=st.integers(1, 60), window_ms=st.sampled_from([1_000, 7_777, WINDOW]), cost=st.integers(1, 5)
)
steps = st.lists(st.tuples(st.sampled_from(PURPOSES), st.integers(0, 9_000)), min_size=1, max_size=120)


def asked(state: State, rule: Rule, purpose: Purpose, now: int) -> int:
    """Ask as the port does, and take if it may be; return how long to wait."""
    bucket.ask(state, purpose, now)
    wait = bucket.wait_ms(state, rule, purpose, now)
    if not wait:
        bucket.take(state, rule, purpose, now, "t")
    return wait


def cost_of(rule: Rule, purpose: Purpose) -> int:
    """Return what one take counts."""
    return bucket._cost(rule, purpose, rule.limit)


@given(rules, steps)
def test_no_window_holds_more_than_the_limit(rule: Rule, history: list[tuple[Purpose, int]]) -> None:
    """Wherever a window begins, what is taken within it is never more than the limit."""
    state, now, taken = State(), START, []
    for purpose, step in history:
        now += step
        if not asked(state, rule, purpose, now):
            taken.append((now, cost_of(rule, purpose)))

    for begin, _cost in taken:
        within = sum(cost for at, cost in taken if begin <= at < begin + rule.window_ms)
        assert within <= rule.limit


@given(rules, steps, st.sampled_from(PURPOSES))
def test_a_wait_is_worth_it(rule: Rule, history: list[tuple[Purpose, int]], purpose: Purpose) -> None:
    """Whoever waits as long as was said, while nobody else asks, is let through within two windows."""
    state, now = State(), START
    for other, step in history:
        now += step
        asked(state, rule, other, now)

    tries, until = 0, now + 2 * rule.window_ms + 2 * bucket.SLOTS
    while wait := asked(state, rule, purpose, now):
        assert wait > 0
        now, tries = now + wait, tries + 1
        assert now <= until
    assert tries <= bucket.SLOTS * 3


@settings(max_examples=40)
@given(st.integers(20, 100), st.lists(st.sampled_from(PURPOSES), min_size=1, max_size=3, unique=True))
def test_each_purpose_gets_its_share(limit: int, greedy: list[Purpose]) -> None:
    """Once all have asked, each gets its share of the next windows, however greedily the others ask."""
    rule, state, now = Rule(limit=limit, window_ms=WINDOW), State(), START
    got = dict.fromkeys(PURPOSES, 0)
    for tick in range(4 * bucket.SLOTS):
        now += WINDOW // bucket.SLOTS
        for purpose in [*greedy * (limit // 8), *PURPOSES * 4]:
            if not asked(state, rule, purpose, now) and tick >= bucket.SLOTS:
                got[purpose] += 1

    for place, purpose in enumerate(PURPOSES):
        last = limit * bucket.LAST_PERCENT // 100 if purpose == "backfill" else 0
        windows = 3 * bucket.SLOTS // (bucket.SLOTS + 1)
        assert got[purpose] >= windows * (limit * bucket.SHARE_PERCENT[place] // 100 - last)


@given(st.integers(10, 150), steps)
def test_a_backfill_leaves_the_last(limit: int, history: list[tuple[Purpose, int]]) -> None:
    """A backfill never takes the last of a limit, not even of its own share."""
    rule, state, now = Rule(limit=limit, window_ms=WINDOW), State(), START
    for purpose, step in history:
        now += step
        for _ in range(limit // 10):
            free = limit - sum(bucket._used(state, rule, now))
            if not asked(state, rule, purpose, now) and purpose == "backfill":
                assert free > limit * bucket.LAST_PERCENT // 100


@given(st.integers(2, 300), st.sampled_from(PURPOSES))
def test_what_nobody_asks_for_is_lent(limit: int, purpose: Purpose) -> None:
    """A purpose that is alone gets all but what is kept back for whoever may come."""
    rule, state = Rule(limit=limit, window_ms=WINDOW), State()

    got = sum(1 for _ in range(limit + 5) if not asked(state, rule, purpose, START))

    assert got == limit - bucket._kept(limit, PURPOSES.index(purpose))


@given(rules, steps, st.integers(0, 60))
def test_the_vendor_is_believed_when_it_says_less(
    rule: Rule, history: list[tuple[Purpose, int]], remaining: int
) -> None:
    """After a header that says how many are left, no more than these are taken while the window lasts."""
    assume(remaining <= rule.limit)
    single = Rule(limit=rule.limit, window_ms=rule.window_ms)
    state, now = State(), START
    for purpose, step in history[:10]:
        now += step
        asked(state, single, purpose, now)

    bucket.settle(state, single, Heard(remaining=remaining), now, "t")
    got = sum(1 for _ in range(rule.limit) if not asked(state, single, "interactive", now))

    assert got <= remaining


@given(st.integers(1, 100_000), steps)
def test_a_pause_holds_for_everybody(hold_ms: int, history: list[tuple[Purpose, int]]) -> None:
    """While a vendor wants to be left alone nothing is taken, for no purpose."""
    rule, state, now = Rule(limit=0), State(), START
    bucket.settle(state, rule, Heard(hold_ms=hold_ms, throttled=True), START, "t")

    for purpose, step in history:
        now += step
        assert (asked(state, rule, purpose, now) == 0) is (now >= START + hold_ms)


@given(st.lists(st.booleans(), max_size=80), st.integers(2, 100))
def test_a_limit_that_is_felt_for_stays_within_what_was_declared(complaints: list[bool], limit: int) -> None:
    """Complaints halve it, successes let it grow, and it is never none nor more than what was declared."""
    rule, state, now = Rule(limit=limit, window_ms=WINDOW, adapts=True), State(), START
    for complaint in complaints:
        now += 5_000
        before = bucket._limit(state, rule)
        bucket.settle(state, rule, Heard(throttled=complaint, ok=not complaint), now, "t")
        after = bucket._limit(state, rule)

        assert 1 <= after <= limit
        assert after == max(1, before // 2) or after >= before
