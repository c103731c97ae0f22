"""Asking before a call whether it may be made, and telling afterwards what the vendor said about it.

A call takes from all buckets of its operation or from none. Who counts is a port with two sides: this
one counts within the process, `upstream.shared` for all processes together; one suite of tests holds
both. Nothing counted must not be lost: after a restart the vendor's headers correct the count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from upstream import bucket
from upstream.bucket import Heard, Purpose, Rule, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from upstream.manifest import Manifest, Operation

BUCKETS_MAX: Final = 10_000
"""Buckets counted in one process; of more than these, those that nothing counts in are forgotten."""
LEASE_EXTRA_MS: Final = 15_000
WHOLE: Final = "calls"
"""The bucket of operations that name none: it has no limit, but it rests when the vendor says so."""

WHOLE_HOLD_MS: Final = 60_000
"""How long a vendor without a declared budget is left alone when it does not say how long."""


class Take(msgspec.Struct, frozen=True):
    """A bucket that a call takes from. `name` is the manifest's, `key` tells it from all others."""

    name: str
    key: str
    rule: Rule


class Budgets(Protocol):
    """The port: who counts."""

    async def take(self, takes: Sequence[Take], purpose: Purpose, slip: str) -> int:
        """Take from all buckets, or from none; return how many ms to wait, 0 if it was taken."""

    async def settle(self, takes: Sequence[Take], said: Sequence[Heard], slip: str) -> None:
        """Tell that a call has ended, and what its answer said about each bucket."""


class Local:
    """Counts within this process. `clock` gives ms."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._states: dict[str, State] = {}

    async def take(self, takes: Sequence[Take], purpose: Purpose, slip: str) -> int:
        """Take from all buckets, or from none; return how many ms to wait, 0 if it was taken."""
        now = self._clock()
        states = [(self._state(each, now), each.rule) for each in takes]
        for state, _rule in states:
            bucket.ask(state, purpose, now)
        wait = max((bucket.wait_ms(state, rule, purpose, now) for state, rule in states), default=0)
        if not wait:
            for state, rule in states:
                bucket.take(state, rule, purpose, now, slip)
        return wait

    def rests(self, takes: Sequence[Take]) -> int:
        """Return for how many ms a vendor still wants to be left alone, as far as this process was told; 0: no more."""
        now = self._clock()
        held = (self._states[each.key].held for each in takes if each.key in self._states)
        return max(0, max(held, default=0) - now)

    async def settle(self, takes: Sequence[Take], said: Sequence[Heard], slip: str) -> None:
        """Tell that a call has ended, and what its answer said about each bucket."""
        now = self._clock()
        for each, heard in zip(takes, said, strict=True):
            bucket.settle(self._state(each, now), each.rule, heard, now, slip)

    def _state(self, each: Take, now: int) -> State:
        if len(self._states) > BUCKETS_MAX:
            self._forget(now)
        return self._states.setdefault(each.key, State())

    def _forget(self, now: int) -> None:
        """Forget buckets that rest no more and that nobody asked for within the longest window of a day."""
        recent = now - 24 * 3_600_000
        self._states = {
            key: state
            for key, state in self._states.items()
            if state.held > now or state.running or max(state.asked.values(), default=0) > recent
        }


def takes(
    manifest: Manifest, operation: Operation, tenant_id: int, connection: str, *, is_shipped: bool = False
) -> tuple[Take, ...]:
    """Return the buckets of an operation. Buckets of one system share a tag, so that one script can reach them.

    A limit of the system as a whole is counted for all tenants together only where `is_shipped`: its manifest
    comes with the service. What a tenant brought itself may bear any name, so it is counted for that tenant.
    """
    lease_ms = round(operation.seconds * 1_000) + LEASE_EXTRA_MS
    own = f"fieldsync:{{{manifest.system}}}:budget:{tenant_id}:{connection}:"
    shared = f"fieldsync:{{{manifest.system}}}:budget:{'all' if is_shipped else f'own:{tenant_id}'}:"
    if not operation.budgets:
        return (Take(WHOLE, own + WHOLE, Rule(lease_ms=lease_ms)),)
    found = []
    for name in operation.budgets:
        budget = manifest.budgets[name]
        rule = Rule(
            limit=budget.limit,
            window_ms=round(budget.window_seconds * 1_000),
            concurrency=budget.concurrency,
            adapts=budget.adapts,
            cost=operation.cost,
            lease_ms=lease_ms,
        )
        found.append(Take(name, (own if budget.scope == "connection" else shared) + name, rule))
    return tuple(found)


def heard(
    manifest: Manifest, taken: Sequence[Take], headers: Mapping[str, str], now_ms: int, *, ok: bool, hold_ms: int | None
) -> tuple[Heard, ...]:
    """Return what an answer says about each bucket; `hold_ms` is None unless the vendor wants a pause.

    A vendor does not say which of its limits was met. It is one of the connection's own, if there are
    any, since a limit that all connections share is seldom met by one.
    """
    own = [each for each in taken if _is_own(manifest, each)]
    rests = {each.key for each in own or taken}
    told = []
    for each in taken:
        hold = hold_ms if each.key in rests else None
        if each.name in manifest.budgets:
            told.append(bucket.heard(manifest.budgets[each.name], headers, now_ms, ok=ok, hold_ms=hold))
        else:
            told.append(Heard(hold_ms=(hold or WHOLE_HOLD_MS) if hold is not None else 0, throttled=hold is not None))
    return tuple(told)


def _is_own(manifest: Manifest, each: Take) -> bool:
    return each.name not in manifest.budgets or manifest.budgets[each.name].scope == "connection"
