"""Why a conflict ended as it did, in words for people: who wrote what, whose stands, and what became of it since.

`winner` is what stood when the entry was made, `loser` what did not. Where a delete met somebody's work, the
rule alone does not tell which of the two that was, so its sentence follows from what the loser did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from replication.record import ALIVE

if TYPE_CHECKING:
    from replication.verdict import Conflict, Side

Lost = Literal["delete", "work"]
"""What the loser did to the record: it deleted it, or it edited, made or restored it."""

SENTENCES: Final = {
    "rank": "{winner} ranks above {loser} for {cell}, so the value of {winner} stands.",
    "tie:first": "{winner} and {loser} rank alike for {cell}; the value that arrived first stands, from {winner}.",
    "tie:last": "{winner} and {loser} rank alike for {cell}; the value that arrived last stands, from {winner}.",
    "tie:clock": (
        "{winner} and {loser} rank alike for {cell}; the value that was written later stands, from {winner}. "
        "Of two that were written at one moment the first to arrive stands."
    ),
    "tie:manual": (
        "{winner} and {loser} rank alike for {cell}, and a person has to choose. "
        "Until then the value of {winner} is shown, and that of {loser} waits."
    ),
    "group:partial": (
        "{loser} sent only part of {cell} without having seen what {winner} had made of it. "
        "Halves are never mixed, so what {winner} wrote stands."
    ),
    "siblings:full": (
        "A person has to choose for {cell}, but as many values wait as may wait. "
        "What {winner} wrote stands, and what {loser} wrote does not wait; it is kept here."
    ),
    "merge:append": "Both added to {cell}; the additions stand one after the other.",
    "merge:counter": "Both counted on {cell}; the steps of both are in the number.",
    "merge:union": "Both changed the members of {cell}; the changes of both are in the set.",
    "merge:max": "Both wrote {cell}; the greater of the two values stands.",
    "merge:min": "Both wrote {cell}; the lesser of the two values stands.",
    "merge:lattice": "Both wrote {cell}; the lowest step stands that both values have reached or lead to.",
    "merge:text3": "Both rewrote parts of {cell}; neither touched what the other changed, so both changes stand.",
}
"""What each rule on a cell means. A test holds the keys against the rules that can be given."""

OF_EXISTENCE: Final[dict[tuple[str, Lost], str]] = {
    ("against_edit:keep_edit", "delete"): (
        "{loser} deleted the record while {winner} worked on it, and neither had seen the other. "
        "Here work counts more than a deletion, so the record stays, with what {winner} wrote."
    ),
    ("against_edit:keep_edit", "work"): (
        "{winner} deleted the record while {loser} worked on it, and neither had seen the other. "
        "Here work counts more than a deletion, but no value of {loser} would be shown even in a living record, "
        "so it stays deleted. What {loser} wrote is kept here."
    ),
    ("against_edit:delete_wins", "work"): (
        "{winner} deleted the record while {loser} worked on it, and neither had seen the other. "
        "Here a deletion counts more than work, so the record stays deleted. What {loser} wrote is kept here."
    ),
    ("against_edit:manual", "delete"): (
        "{loser} deleted the record while {winner} worked on it, and neither had seen the other. "
        "A person has to choose; until then the record stays."
    ),
    ("against_edit:manual", "work"): (
        "{winner} deleted the record while {loser} worked on it, and neither had seen the other. "
        "A person has to choose; until then the record stays deleted, and what {loser} wrote waits."
    ),
    ("siblings:full", "delete"): (
        "{loser} deleted the record while {winner} worked on it, and neither had seen the other. "
        "A person would have to choose, but as many choices wait as may wait. The record stays."
    ),
    ("siblings:full", "work"): (
        "{winner} deleted the record while {loser} worked on it, and neither had seen the other. "
        "A person would have to choose, but as many choices wait as may wait. The record stays deleted; "
        "what {loser} wrote is kept here."
    ),
}
"""What each rule on the existence of a record means, by what the loser did."""

IN_VAIN: Final = (
    "{winner} deleted the record while {loser} worked on it, and neither had seen the other. "
    "No value of {loser} would be shown even in a living record, so there is nothing to choose and it stays deleted. "
    "What {loser} wrote is kept here."
)
"""Under `manual`, of an edit that waits for nobody because it would bring nothing."""

SINCE: Final = {
    "settled": " A person has chosen since.",
    "undone": " It was undone since: what had lost was put back.",
}
"""What is added once a person has had their word; before that an entry is open or decided."""


def sentence(conflict: Conflict, state: str) -> str:
    """Return in plain words why the conflict ended as it did, and what a person made of it since."""
    what = _rule(conflict).format(winner=_named(conflict.winner), loser=_named(conflict.loser), cell=conflict.cell)
    return what + SINCE.get(state, "")


def _rule(conflict: Conflict) -> str:
    if conflict.cell != ALIVE:
        return SENTENCES[conflict.rule]
    lost: Lost = "delete" if conflict.loser.value is False else "work"
    if (conflict.rule, conflict.state, lost) == ("against_edit:manual", "decided", "work"):
        return IN_VAIN
    return OF_EXISTENCE[conflict.rule, lost]


def _named(side: Side) -> str:
    return f"{side.authority} ({side.relation})" if side.relation else side.authority
