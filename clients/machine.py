"""What a client asks of the machine it runs on: the time, sleep, chance. All of it can be given by a test."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks, sleep, a number in [0, 1), a fresh id, and the zone in which the person lives."""

    now_ms: Callable[[], int]
    mono_ms: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]
    new_id: Callable[[], str]
    zone: str


def this_machine() -> Machine:
    """Return the real one."""
    return Machine(
        now_ms=lambda: time.time_ns() // 1_000_000,
        mono_ms=lambda: time.monotonic_ns() // 1_000_000,
        sleep=asyncio.sleep,
        jitter=random.random,
        new_id=lambda: str(uuid.uuid4()),
        zone=zone_of(Path("/etc/localtime").resolve()),
    )


def zone_of(localtime: Path) -> str:
    """Return the name of the zone whose file this is; UTC where the system does not say."""
    parts = localtime.parts
    return "/".join(parts[parts.index("zoneinfo") + 1 :]) if "zoneinfo" in parts else "UTC"
