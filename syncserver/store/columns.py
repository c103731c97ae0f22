"""Rows turned into columns: the arrays that `unnest` makes rows of again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[Sequence[Any]]:
    """Return `width` columns; without rows they are empty."""
    return list(zip(*rows, strict=True)) or [()] * width
