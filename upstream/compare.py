"""What differs between two objects, field by field: for people who compare versions, or what would be sent."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from replication import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIFFERENCES_MAX: Final = 500
_NOTHING: Final = object()


class Difference(msgspec.Struct, frozen=True):
    """One field that is not the same: its path, and what stood and stands there; None where there is nothing."""

    path: str
    change: Literal["added", "removed", "changed"]
    before: Any
    after: Any


def differences(before: Any, after: Any) -> tuple[Difference, ...]:
    """Return in which fields two objects differ, in order of their paths; items of lists are met by place."""
    found: list[Difference] = []
    for difference in _walked(before, after, ""):
        found.append(difference)
        if len(found) == DIFFERENCES_MAX:
            break
    return tuple(sorted(found, key=lambda each: each.path))


def of_those(found: Sequence[Difference], paths: Sequence[str]) -> tuple[Difference, ...]:
    """Return the differences at these paths or within them; all of them if no path is given."""
    if not paths:
        return tuple(found)
    return tuple(each for each in found if any(each.path == path or each.path.startswith(f"{path}.") for path in paths))


def _walked(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if before is _NOTHING:
        yield Difference(path, "added", None, after)
    elif after is _NOTHING:
        yield Difference(path, "removed", before, None)
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            yield from _walked(
                before.get(key, _NOTHING), after.get(key, _NOTHING), f"{path}.{key}" if path else str(key)
            )
    elif isinstance(before, list) and isinstance(after, list):
        for place, (old, new) in enumerate(zip_longest(before, after, fillvalue=_NOTHING)):
            yield from _walked(old, new, f"{path}.{place}" if path else str(place))
    elif not kinds.same(before, after):
        yield Difference(path, "changed", before, after)
