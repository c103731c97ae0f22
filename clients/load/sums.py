"""What all acknowledged edits come to together: every added line stands once, every count is the sum of its steps.

A verdict says that an edit was carried out; this finds out whether it was carried out once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.load.hub import Hub, Key
    from replication.mutation import Mutation

COUNTED: Final = "quantity"
Place = tuple["Key", str]
"""A field of a record."""


class Sums:
    """Adds up what was done, and compares it with what the hub has."""

    def __init__(self) -> None:
        self.steps: defaultdict[Place, Decimal] = defaultdict(Decimal)
        self.lines: defaultdict[Place, Counter[str]] = defaultdict(Counter)

    def add(self, tenant: int, mutation: Mutation) -> None:
        """Add what one acknowledged edit did."""
        key = (tenant, mutation.collection, mutation.id)
        if COUNTED in mutation.set:
            self.steps[key, COUNTED] += Decimal(mutation.set[COUNTED])
        for field, op in mutation.do.items():
            if "inc" in op:
                self.steps[key, field] += Decimal(op["inc"])
            if "append" in op:
                self.lines[key, field][op["append"].strip("\n")] += 1

    def differences(self, hub: Hub) -> Iterator[str]:
        """Yield what the hub has otherwise, in words."""
        for (key, field), total in self.steps.items():
            if (now := Decimal(_now(hub, key, field) or 0)) != total:
                yield f"{key[1]} {key[2]}: {field} is {now}, its steps add up to {total}"
        for (key, field), lines in self.lines.items():
            there = Counter(str(_now(hub, key, field) or "").split("\n"))
            for line, times in lines.items():
                if there[line] != times:
                    yield f"{key[1]} {key[2]}: {line!r} stands {there[line]} times in {field}, and not {times}"


def _now(hub: Hub, key: Key, field: str) -> Any:
    shown = hub.records.get(key)
    return shown.fields.get(field) if shown else None
