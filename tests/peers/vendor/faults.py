"""How a vendor misbehaves: which fault a request meets, from a seed, and a note of each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal

Fault = Literal["drop", "drop_before", "late", "fail", "throttle", "lie"]
FAULTS: Final[tuple[Fault, ...]] = ("drop", "drop_before", "late", "fail", "throttle", "lie")
"""`drop`: done, and no answer. `drop_before`: not done, and no answer. `late`: done, and answered after the
caller has given up. `fail`: done, and answered 502. `throttle`: not done, 429. `lie`: not done, 200 with an error
in it."""


class Faults:
    """Chooses faults at these rates, and counts those that there were."""

    def __init__(self, rates: Mapping[Fault, float] | None = None, *, seed: int = 0) -> None:
        self.rates = dict(rates or {})
        self.met: Counter[Fault] = Counter()
        self._dice = random.Random(seed)

    def next(self) -> Fault | None:
        """Return what the next write meets."""
        thrown = self._dice.random()
        for fault in FAULTS:
            thrown -= self.rates.get(fault, 0.0)
            if thrown < 0:
                self.met[fault] += 1
                return fault
        return None

    def stop(self) -> None:
        """Behave from now on."""
        self.rates = {}


class Script(Faults):
    """Gives these faults to the next writes, in turn, and behaves after that."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__()
        self._left = list(faults)

    def next(self) -> Fault | None:
        """Return what the next write meets."""
        if not self._left:
            return None
        fault = self._left.pop(0)
        self.met[fault] += 1
        return fault
