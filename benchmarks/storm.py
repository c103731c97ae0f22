"""What reaches a vendor between its 429 and the end of the Retry-After that came with it.

Run: `python -m benchmarks.storm`. The vendor takes so many requests and then none for some seconds, again and again,
while several workers have much to tell it. A request that was under way when the first 429 was answered could not
know; one that comes later than `HEARD_SECONDS` after it could, and there must be none.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks import stage
from tests.integration.world import job
from tests.peers.vendor.demo import Demo
from tests.peers.vendor.server import Response

if TYPE_CHECKING:
    from tests.peers.vendor.server import Drop, Request

KIND: Final = "upsert"
IN_FLIGHT: Final = 32
HEARD_SECONDS: Final = 1.0
"""After this an answer has reached whoever asked, and all other workers through the shared store."""
PATIENCE_SECONDS: Final = 60.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for on the command line."""

    writes: int
    workers: int
    allowed: int
    rest: float


class Strict(Demo):
    """A vendor that takes so many requests, and then none until its Retry-After is over."""

    def __init__(self, allowed: int, rest: float) -> None:
        super().__init__(wait_seconds=10.0)
        self.storms: list[list[float]] = []
        """For each time that it took none: how long after its first 429 each further request came."""
        self._allowed, self._rest = allowed, rest
        self._left, self._closed_at = allowed, float("-inf")

    async def handle(self, request: Request) -> Response | Drop:
        """Answer one request."""
        after = time.monotonic() - self._closed_at
        if after < self._rest:
            self.storms[-1].append(after)
            return self._no(self._rest - after)
        if not self._left:
            self._left, self._closed_at = self._allowed, time.monotonic()
            self.storms.append([])
            return self._no(self._rest)
        self._left -= 1
        return await super().handle(request)

    def _no(self, seconds: float) -> Response:
        said = {"error": {"code": "too_many", "message": "slow down"}}
        return Response(429, said, {"retry-after": str(max(1, round(seconds + 0.5)))})


async def run(options: Options) -> dict[str, Any]:
    """Have workers tell it much, and count what came when nothing should have."""
    demo = Strict(options.allowed, options.rest)
    async with stage.staged(durable=False) as place, demo.server:
        made = await place.connect(place.world.tenant, demo, KIND, in_flight_max=IN_FLIGHT)
        await place.publish(made, KIND)
        for _ in range(options.workers):
            place.worker()
        await place.orders(place.world.tenant, place.world.office_rid, range(options.writes))
        storms = options.writes / options.allowed + 1
        patience = PATIENCE_SECONDS + storms * (options.rest + PATIENCE_SECONDS / 2)
        await stage.settled(place, place.world.tenant, seconds=patience)
    within = [after for storm in demo.storms for after in storm]
    return {
        "options": msgspec.to_builtins(options),
        "machine": stage.machine(),
        "storms": len(demo.storms),
        "requests_in_retry_after": sum(after > HEARD_SECONDS for after in within),
        "under_way_at_the_first_429": sum(after <= HEARD_SECONDS for after in within),
        "last_of_them_ms": round(1_000 * max(within, default=0.0)),
        "told_once": demo.numbers(KIND) == {job(number): 1 for number in range(options.writes)},
    }


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=400, help="records to tell")
    parser.add_argument("--workers", type=int, default=4, help="processes of `fieldsync work`")
    parser.add_argument("--allowed", type=int, default=50, help="requests that the vendor takes before it takes none")
    parser.add_argument("--rest", type=float, default=5.0, help="seconds of its Retry-After")
    stage.quiet()
    stage.say(asyncio.run(run(Options(**vars(parser.parse_args())))), "storm")


if __name__ == "__main__":
    main()
