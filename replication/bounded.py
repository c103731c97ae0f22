"""Vectors that do not grow for ever: entries are left out by proof, never by age or number.

The entry (rid, n) may go once that mutation is in every backup still offered for restore and every
live replica has read past its seq. Then no hub, restored or not, is ever sent it again, and nobody
is left who could not have seen it. The proof is given, for each replica, as its newest such n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replication.versions import Vector


def prune(vector: Vector, proof: Vector) -> Vector:
    """Return the vector without the entries that the proof covers."""
    if not proof:
        return vector
    return {rid: n for rid, n in vector.items() if n > proof.get(rid, 0)}
