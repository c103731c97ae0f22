"""Keeping samples while planning: of each object one now and then, so that it costs next to nothing."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

PAUSE_SECONDS: Final = 60.0
OBJECTS_MAX: Final = 10_000


class Sampling:
    """Says of which object a sample is due: the first that is met, and then one in so many seconds."""

    def __init__(self, *, seconds: float = PAUSE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._taken_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def is_due(self, connection_id: str, object_name: str) -> bool:
        """Tell whether a sample of this object is due, and count it as taken if it is."""
        place, now = (connection_id, object_name), self._clock()
        if now - self._taken_at.get(place, float("-inf")) < self._seconds:
            return False
        self._taken_at[place] = now
        self._taken_at.move_to_end(place)
        while len(self._taken_at) > OBJECTS_MAX:
            self._taken_at.popitem(last=False)
        return True
