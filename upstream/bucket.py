"""The arithmetic of one budget: what was taken in a rolling window, by whom, and what may still be.

A window is counted in slots. A take counts until its slot and the whole window after it have gone by,
so that in no stretch of the window's length more than the limit is ever taken, wherever it begins.

The limit is shared: interactive calls have three fifths, normal ones three tenths, a backfill the
rest. What a purpose has not asked for lately the others may borrow, except for a last part that is
kept back; so whoever comes after a quiet time finds something at once, and its whole share soon.

`upstream/lua/budget.lua` is the same in the language of the shared store; a test holds the two
together, number for number, which is why all of it is whole numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.manifest import Budget

Purpose: TypeAlias = Literal["interactive", "normal", "backfill"]

PURPOSES: Final[tuple[Purpose, ...]] = ("interactive", "normal", "backfill")
SLOTS: Final = 20
SHARE_PERCENT: Final = (60, 30, 10)
KEPT_PERCENT: Final = (0, 5, 10)
"""What of the limit each purpose leaves when it takes more than its share, at least one."""
LAST_PERCENT: Final = 2
"""What of the limit a backfill leaves even of its share."""
FOREIGN: Final = len(PURPOSES)
"""The place in a slot of what others took of the same limit, as the vendor's headers tell."""
HOLD_MS_MAX: Final = 24 * 3_600_000
"""A vendor whose window is said to begin anew later than this is asked again after this."""
FULL_WAIT_MS: Final = 200
"""When to ask again while as many calls are under way as may be."""
DIGITS_MAX: Final = 12
"""A number in a header that has more is none: nobody means it, and it is no number to the shared store."""
EASED_PERCENT: Final = 5
"""By how much of the declared limit one that was cut grows again with each window of successes."""

_NUMBER: Final = re.compile(rf"\s*(\d{{1,{DIGITS_MAX}}})(?!\d)")
_USAGE: Final = re.compile(rf"(?<!\d)(\d{{1,{DIGITS_MAX}}})\s*/\s*(\d{{1,{DIGITS_MAX}}})(?!\d)")


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a bucket, and what one call takes of it.

    A limit of 0 is none until the vendor tells one; a concurrency of 0 is none.
    """

    limit: int = 0
    window_ms: int = 60_000
    concurrency: int = 0
    adapts: bool = False
    cost: int = 1
    lease_ms: int = 60_000
    """How long a call counts as under way if nobody says that it has ended."""


class State(msgspec.Struct, kw_only=True):
    """What is known of a bucket. `limit` is in thousandths; 0: as declared. Times are in ms."""

    slots: dict[str, list[int]] = {}
    asked: dict[str, int] = {}
    running: dict[str, int] = {}
    held: int = 0
    limit: int = 0
    told: int = 0
    cut: int = 0


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says about a bucket. `reset_ms` and `hold_ms` are from now; -1: not said."""

    limit: int = -1
    remaining: int = -1
    reset_ms: int = -1
    hold_ms: int = 0
    throttled: bool = False
    ok: bool = False


def heard(budget: Budget, headers: Mapping[str, str], now_ms: int, *, ok: bool, hold_ms: int | None) -> Heard:
    """Return what the headers of an answer say; `hold_ms` is None unless the vendor wants a pause."""
    reset = _number(headers.get(budget.reset_header.lower(), ""))
    used, most = _usage(headers.get(budget.usage_header.lower(), ""))
    remaining = _number(headers.get(budget.remaining_header.lower(), ""))
    limit = _number(headers.get(budget.limit_header.lower(), ""))
    reset_ms = -1 if reset < 0 else reset * 1_000 if budget.reset == "seconds" else max(0, reset * 1_000 - now_ms)
    return Heard(
        limit=limit if limit >= 0 else most,
        remaining=remaining if remaining >= 0 else max(0, most - used) if most >= 0 else -1,
        reset_ms=reset_ms,
        hold_ms=_hold(budget, hold_ms, reset_ms, remaining),
        throttled=hold_ms is not None,
        ok=ok,
    )


def wait_ms(state: State, rule: Rule, purpose: Purpose, now: int) -> int:
    """Return how long a take has to wait; 0: it may be."""
    if state.held > now:
        return state.held - now
    if rule.concurrency and _is_full(state, rule, purpose, now):
        return FULL_WAIT_MS
    if not _limit(state, rule) or _has_room(state, rule, purpose, now):
        return 0
    width = _width(rule)
    ends = sorted((int(slot) + SLOTS + 1) * width for slot in state.slots)
    return next((end - now for end in ends if end > now and _has_room(state, rule, purpose, end)), rule.window_ms)


def ask(state: State, purpose: Purpose, now: int) -> None:
    """Note that somebody wants something for a purpose: its share is not lent out for a while."""
    state.asked[purpose] = now


def take(state: State, rule: Rule, purpose: Purpose, now: int, slip: str) -> None:
    """Note a take that may be."""
    _forget(state, rule, now)
    if _limit(state, rule):
        slot = state.slots.setdefault(str(now // _width(rule)), [0] * (FOREIGN + 1))
        slot[PURPOSES.index(purpose)] += _cost(rule, purpose, _limit(state, rule))
    if rule.concurrency:
        state.running[slip] = now + rule.lease_ms


def settle(state: State, rule: Rule, said: Heard, now: int, slip: str) -> None:
    """Note the end of a call and what its answer says about the bucket."""
    state.running.pop(slip, None)
    if said.limit > 0:
        state.told = said.limit
    if said.remaining >= 0 and _limit(state, rule):
        _correct(state, rule, said, now)
    if said.hold_ms > 0:
        state.held = max(state.held, now + said.hold_ms)
    if rule.adapts:
        _adapt(state, rule, said, now)


def _limit(state: State, rule: Rule) -> int:
    if rule.adapts and state.limit:
        return state.limit // 1_000
    return state.told or rule.limit


def _width(rule: Rule) -> int:
    return max(1, -(-rule.window_ms // SLOTS))


def _used(state: State, rule: Rule, now: int) -> list[int]:
    """Return what counts of each purpose, and of others."""
    oldest = now // _width(rule) - SLOTS
    counted = [slot for number, slot in state.slots.items() if int(number) >= oldest]
    return [sum(slot[place] for slot in counted) for place in range(FOREIGN + 1)]


def _has_room(state: State, rule: Rule, purpose: Purpose, now: int) -> bool:
    limit, mine = _limit(state, rule), PURPOSES.index(purpose)
    used = _used(state, rule, now)
    free = limit - sum(used)
    cost = _cost(rule, purpose, limit)
    last = limit * LAST_PERCENT // 100 if purpose == "backfill" else 0
    if used[mine] < _share(limit, mine) and cost <= free - last:
        return True
    return cost <= free - _reserved(state, rule, mine, used, now) - _kept(limit, mine)


def _reserved(state: State, rule: Rule, mine: int, used: list[int], now: int) -> int:
    """Return what of the limit stands ready for the other purposes that have asked within the window."""
    limit = _limit(state, rule)
    wanted = (
        place
        for place, purpose in enumerate(PURPOSES)
        if place != mine and state.asked.get(purpose, now - rule.window_ms) > now - rule.window_ms
    )
    return sum(max(0, _share(limit, place) - used[place]) for place in wanted)


def _share(limit: int, place: int) -> int:
    return max(1, limit * SHARE_PERCENT[place] // 100)


def _kept(limit: int, place: int) -> int:
    if not KEPT_PERCENT[place] or limit < 2:
        return 0
    return max(1, limit * KEPT_PERCENT[place] // 100)


def _cost(rule: Rule, purpose: Purpose, limit: int) -> int:
    """Return what a call takes: never more than can ever be free, so that it is late rather than never."""
    return max(1, min(rule.cost, limit - _kept(limit, PURPOSES.index(purpose))))


def _is_full(state: State, rule: Rule, purpose: Purpose, now: int) -> bool:
    running = sum(1 for until in state.running.values() if until > now)
    kept = 1 if purpose == "backfill" and rule.concurrency > 1 else 0
    return running >= rule.concurrency - kept


def _forget(state: State, rule: Rule, now: int) -> None:
    oldest = now // _width(rule) - SLOTS
    state.slots = {number: slot for number, slot in state.slots.items() if int(number) >= oldest}
    state.running = {slip: until for slip, until in state.running.items() if until > now}


def _correct(state: State, rule: Rule, said: Heard, now: int) -> None:
    """Believe the vendor when it says that less is left than we think, until it says it will be renewed."""
    missing = _limit(state, rule) - sum(_used(state, rule, now)) - said.remaining
    if missing <= 0:
        return
    width = _width(rule)
    present = now // width
    gone = (now + said.reset_ms) // width - SLOTS if 0 <= said.reset_ms < rule.window_ms else present
    number = str(max(present - SLOTS, min(present, gone)))
    state.slots.setdefault(number, [0] * (FOREIGN + 1))[FOREIGN] += missing


def _adapt(state: State, rule: Rule, said: Heard, now: int) -> None:
    """Halve a limit that is felt for when the vendor complains, once for each complaint; let it grow slowly."""
    declared = (state.told or rule.limit) * 1_000
    if not declared:
        return
    present = state.limit or declared
    if said.throttled and now >= state.cut:
        state.limit = max(1_000, present // 2)
        state.cut = now + max(said.hold_ms, rule.window_ms // SLOTS)
    elif said.ok and state.limit:
        state.limit = min(declared, present + EASED_PERCENT * 10 * declared // present)


def _hold(budget: Budget, hold_ms: int | None, reset_ms: int, remaining: int) -> int:
    """Return how long the bucket rests: as the vendor asks, else until its window begins anew."""
    rest_ms = min(HOLD_MS_MAX, reset_ms)
    if hold_ms is None:
        return max(0, rest_ms) if remaining == 0 else 0
    return hold_ms or (rest_ms if rest_ms > 0 else round(budget.throttled_seconds * 1_000))


def _number(text: str) -> int:
    match = _NUMBER.match(text)
    return int(match[1]) if match else -1


def _usage(text: str) -> tuple[int, int]:
    match = _USAGE.search(text)
    return (int(match[1]), int(match[2])) if match else (-1, -1)
