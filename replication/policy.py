"""Who wins a concurrent field: the system-of-record policy, as a table.

Authority (may this class write at all?) is not decided here, and neither is whether two writes
were concurrent. Here two writes that had not seen each other are compared by rank, and equals
by the tie rule of the cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from replication.catalog import CellRule
    from replication.record import Cell, Stamp

Ruling = Literal["wins", "loses", "waits"]

TIES: Final[dict[str, Ruling]] = {"first": "loses", "last": "wins", "manual": "waits"}
"""What the tie rule says of the challenger; under `clock` the estimated times say it."""


def settle(rule: CellRule, incumbent: Cell, challenger: Stamp) -> tuple[Ruling, str]:
    """Return what happens to the challenger, and the name of the rule that said so.

    The incumbent ranks as the highest of its winner and its twins, by the present catalogue.
    """
    theirs = min(rule.rank_of(stamp.authority, stamp.relation) for stamp in incumbent.stamps())
    mine = rule.rank_of(challenger.authority, challenger.relation)
    if mine != theirs:
        return ("wins" if mine < theirs else "loses"), "rank"
    if rule.tie == "clock":
        newest = max(stamp.time for stamp in incumbent.stamps())
        return ("wins" if challenger.time > newest else "loses"), "tie:clock"
    return TIES[rule.tie], f"tie:{rule.tie}"


def highest(rule: CellRule, stamps: Iterable[Stamp]) -> Stamp:
    """Return the stamp that ranks highest for this cell; the first one among equals."""
    return min(stamps, key=lambda stamp: rule.rank_of(stamp.authority, stamp.relation))


def best_relation(rule: CellRule, authority: str, relations: Iterable[str]) -> str:
    """Return, of the relations a person has to a record, the one that ranks highest here; "" of none."""
    return min(relations, key=lambda relation: rule.rank_of(authority, relation), default="")
