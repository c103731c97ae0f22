"""Leaving a vendor alone that is down: the breaker of each connection and class of operations.

Only the peer's faults count: no answer, a failure of its own, TLS that does not come about. What one
record is refused for counts as a success here, since somebody was there to refuse it; so does being
throttled, which the budgets deal with, and a sign-in that is not accepted, which the credentials
keep as a state of their own.

It opens after faults in a row, or when most of many calls fail. While it is open nothing is sent;
then one worker asks the vendor with the verification call, and what that answers decides.

`upstream/lua/breaker.lua` is the same in the language of the shared store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream.manifest import ReplyKind

IN_A_ROW: Final = 8
CALLS_MIN: Final = 20
FAULTS_PERCENT: Final = 70
PERIOD_MS: Final = 60_000
"""Calls are counted by this period and the one before it."""
OPEN_MS: Final = 15_000
OPEN_MS_MAX: Final = 300_000
PROBE_MS: Final = 45_000
"""How long one worker has for the verification call before another one tries."""
BREAKERS_MAX: Final = 10_000

FAULTS: Final[tuple[ReplyKind, ...]] = ("transient", "unknown")

Admitted: TypeAlias = Literal["closed", "probe"] | int
"""Whether to go on: `closed`, yes; `probe`, after the verification call; a number, not for so many ms."""


class Gate(msgspec.Struct, kw_only=True):
    """What is known of one breaker; times in ms. It is open while `opened` is not 0."""

    row: int = 0
    period: int = 0
    calls: int = 0
    faults: int = 0
    calls_before: int = 0
    faults_before: int = 0
    opened: int = 0
    until: int = 0
    probing: int = 0


class Breaker(Protocol):
    """The port: who remembers."""

    async def admit(self, key: str) -> Admitted:
        """Tell whether a call may be made."""

    async def record(self, key: str, *, fault: bool, probe: bool = False) -> bool:
        """Note how a call, or the verification call, ended; return whether the breaker is open now."""


class Local:
    """Remembers within this process. `clock` gives ms."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._gates: dict[str, Gate] = {}

    async def admit(self, key: str) -> Admitted:
        """Tell whether a call may be made."""
        return admit(self._gates[key], self._clock()) if key in self._gates else "closed"

    async def record(self, key: str, *, fault: bool, probe: bool = False) -> bool:
        """Note how a call, or the verification call, ended; return whether the breaker is open now."""
        if len(self._gates) > BREAKERS_MAX:
            self._gates = {name: gate for name, gate in self._gates.items() if gate.opened or gate.row}
        gate = self._gates.setdefault(key, Gate())
        record(gate, self._clock(), fault=fault, probe=probe)
        return gate.opened > 0


def key(system: str, tenant_id: int, connection: str, effect: str) -> str:
    """Return the name of the breaker of a connection's reads or writes."""
    return f"fieldsync:{{{system}}}:breaker:{tenant_id}:{connection}:{effect}"


def admit(gate: Gate, now: int) -> Admitted:
    """Tell whether a call may be made; who is told to probe is the only one for a while."""
    if not gate.opened:
        return "closed"
    if gate.until > now:
        return gate.until - now
    if gate.probing > now:
        return gate.probing - now
    gate.probing = now + PROBE_MS
    return "probe"


def record(gate: Gate, now: int, *, fault: bool, probe: bool) -> None:
    """Note how a call ended. While it is open only the verification call counts."""
    if gate.opened:
        if probe and fault:
            _open(gate, now)
        elif probe:
            _close(gate)
        return
    _turn(gate, now)
    gate.calls += 1
    gate.faults += fault
    gate.row = gate.row + 1 if fault else 0
    calls, faults = gate.calls + gate.calls_before, gate.faults + gate.faults_before
    if gate.row >= IN_A_ROW or (fault and calls >= CALLS_MIN and faults * 100 >= FAULTS_PERCENT * calls):
        _open(gate, now)


def _turn(gate: Gate, now: int) -> None:
    period = now // PERIOD_MS
    if period == gate.period:
        return
    follows = period == gate.period + 1
    gate.calls_before, gate.faults_before = (gate.calls, gate.faults) if follows else (0, 0)
    gate.period, gate.calls, gate.faults = period, 0, 0


def _open(gate: Gate, now: int) -> None:
    """Open for a while, twice as long each time in a row."""
    gate.opened += 1
    gate.until = now + min(OPEN_MS_MAX, OPEN_MS << min(gate.opened - 1, 10))
    gate.probing = 0


def _close(gate: Gate) -> None:
    gate.row = gate.calls = gate.faults = gate.calls_before = gate.faults_before = 0
    gate.opened = gate.until = gate.probing = 0
