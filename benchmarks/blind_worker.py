"""The control of `benchmarks.exactly_once`: a worker that sends again whatever was not answered, without looking."""

from __future__ import annotations

import sys

from syncserver.__main__ import main
from upstream import delivery
from upstream.delivery import Next, Step


def blindly(_write: str, kind: str, _tries: object, **_rest: object) -> Step:
    """Send again what was not answered."""
    return Step(Next.CONFIRM) if kind == "ok" else Step(Next.SEND)


if __name__ == "__main__":
    delivery.after_write = blindly  # type: ignore[assignment]  # the rule that is on trial
    sys.argv = [sys.argv[0], "work"]
    main()
