"""Budgets and breakers that all processes share, in Redis or Valkey.

Each question is one script, which reads and writes in one step. Nothing kept there must not be lost:
when the store does not answer, this process goes on by its own count, and says so in the log.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from upstream.bucket import PURPOSES, Heard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upstream import breaker, budgets
    from upstream.breaker import Admitted
    from upstream.bucket import Purpose
    from upstream.budgets import Take

STORE_SECONDS: Final = 1.0
"""How long the store is waited for: it is asked before each call, and can be done without."""
PROBE: Final = -1

log = structlog.get_logger()


def connect(url: str) -> Redis:
    """Return a client for the shared store that neither waits long nor asks twice: a take twice would count twice."""
    return Redis.from_url(
        url,
        socket_timeout=STORE_SECONDS,
        socket_connect_timeout=STORE_SECONDS,
        retry=Retry(NoBackoff(), 0),
        legacy_responses=False,
    )


class Scripts:
    """The scripts, each run in one step. A store that is lost, or found again, is told in the log once."""

    def __init__(self, store: Redis, clock: Callable[[], int] | None) -> None:
        folder = resources.files("upstream") / "lua"
        names = ("budget", "breaker")
        self._scripts = {n: store.register_script((folder / f"{n}.lua").read_text(encoding="utf-8")) for n in names}
        self._clock = clock
        self._lost = False

    async def run(self, name: str, keys: list[str], verb: str, *args: str | int | bytes) -> int | None:
        """Return what the script says; None if the store does not answer."""
        now = "" if self._clock is None else str(self._clock())
        try:
            said = int(await self._scripts[name](keys=keys, args=[verb, now, *args]))
        except (RedisError, OSError) as exc:
            if not self._lost:
                log.warning("shared_store_lost", error=type(exc).__name__)
            self._lost = True
            return None
        if self._lost:
            log.info("shared_store_found")
        self._lost = False
        return said


class Budgets:
    """The port of `upstream.budgets`, shared. `clock` is for tests; without one the store's clock counts.

    A pause that a vendor has asked for holds here also when the store was away or forgot it.
    """

    def __init__(self, store: Redis, alone: budgets.Local, clock: Callable[[], int] | None = None) -> None:
        self._scripts = Scripts(store, clock)
        self._alone = alone

    async def take(self, takes: Sequence[Take], purpose: Purpose, slip: str) -> int:
        """Take from all buckets, or from none; return how many ms to wait, 0 if it was taken."""
        said = await self._run("take", takes, (), slip, purpose)
        if said is None:
            return await self._alone.take(takes, purpose, slip)
        rest = 0 if said else self._alone.rests(takes)
        if rest:
            await self._run("settle", takes, [Heard() for _each in takes], slip, purpose)
        return said or rest

    async def settle(self, takes: Sequence[Take], said: Sequence[Heard], slip: str) -> None:
        """Tell that a call has ended, and what its answer said about each bucket."""
        await self._alone.settle(takes, said, slip)
        await self._run("settle", takes, said, slip, "normal")

    async def _run(
        self, verb: str, takes: Sequence[Take], said: Sequence[Heard], slip: str, purpose: Purpose
    ) -> int | None:
        keys = [each.key for each in takes]
        rules = msgspec.json.encode([each.rule for each in takes])
        args = (slip, PURPOSES.index(purpose), rules, msgspec.json.encode(said))
        return await self._scripts.run("budget", keys, verb, *args)


class Breaker:
    """The port of `upstream.breaker`, shared. `clock` is for tests; without one the store's clock counts."""

    def __init__(self, store: Redis, alone: breaker.Breaker, clock: Callable[[], int] | None = None) -> None:
        self._scripts = Scripts(store, clock)
        self._alone = alone

    async def admit(self, key: str) -> Admitted:
        """Tell whether a call may be made."""
        said = await self._scripts.run("breaker", [key], "admit")
        if said is None:
            return await self._alone.admit(key)
        return "closed" if said == 0 else "probe" if said == PROBE else said

    async def record(self, key: str, *, fault: bool, probe: bool = False) -> bool:
        """Note how a call, or the verification call, ended; return whether the breaker is open now."""
        said = await self._scripts.run("breaker", [key], "record", int(fault), int(probe))
        return await self._alone.record(key, fault=fault, probe=probe) if said is None else bool(said)
