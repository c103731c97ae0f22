"""Who has seen what: dots and version vectors.

A dot names one mutation of one replica. A vector says, for each replica, up to which
of its mutations something has been absorbed; a replica that is missing stands for none.
Vectors are plain dictionaries because they are stored and sent as such; the functions
here never change the one they are given.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class Dot(NamedTuple):
    """Mutation `n` of replica `rid`: mutation id, idempotency key and vector entry at once."""

    rid: int
    n: int


Vector: TypeAlias = dict[int, int]


def covers(vector: Vector, dot: Dot) -> bool:
    """Tell whether the mutation is among those that the vector has absorbed."""
    return vector.get(dot.rid, 0) >= dot.n


def with_dot(vector: Vector, dot: Dot) -> Vector:
    """Return the vector after it has absorbed one mutation more."""
    return {**vector, dot.rid: max(vector.get(dot.rid, 0), dot.n)}


def join(one: Vector, other: Vector) -> Vector:
    """Return the least vector that has absorbed what either has."""
    joined = dict(one)
    for rid, n in other.items():
        joined[rid] = max(joined.get(rid, 0), n)
    return joined
