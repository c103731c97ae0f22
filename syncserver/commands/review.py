"""Conflicts for people: what was decided and why, what waits, and a person's word on either.

An undo puts back the value that lost, a settling chooses for a conflict that waits. Both name the
state of the cell that the person was shown; if it moved meanwhile they are turned away, because
what they would overwrite is not what was seen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from replication.record import ALIVE
from replication.state import Shown
from replication.verdict import Side
from replication.versions import Dot
from syncserver.commands.errors import (
    BadFilter,
    BadMutation,
    ConflictDecided,
    ConflictOpen,
    NothingToRestore,
    RecordDeleted,
    UnknownConflict,
)
from syncserver.commands.office import Ask, Decision, Office
from syncserver.store import shown

if TYPE_CHECKING:
    from replication.state import Answer
    from replication.verdict import Conflict, MutationVerdict
    from syncserver.store.db import Database
    from syncserver.store.people import Principal

CONFLICTS_LIMIT: Final = 100
CONFLICTS_LIMIT_MAX: Final = 500
STATES: Final = ("open", "decided", "settled", "undone")

SENTENCES: Final = {
    "rank": "{winner} ranks above {loser} for {cell}, so its value stands.",
    "tie:first": "{winner} and {loser} rank alike for {cell}; the one that arrived first stands.",
    "tie:last": "{winner} and {loser} rank alike for {cell}; the one that arrived last stands.",
    "tie:manual": "{winner} and {loser} rank alike for {cell}; a person has to choose.",
    "group:partial": "{loser} sent only part of {cell}, and {winner} had changed it meanwhile.",
    "merge:append": "Both added to {cell}; the additions stand one after the other.",
    "merge:counter": "Both counted on {cell}; the steps were added up.",
    "merge:union": "Both changed the members of {cell}; the changes were joined.",
    "against_edit:keep_edit": "One deleted the record while the other edited it; the edit is kept.",
    "against_edit:delete_wins": "One deleted the record while the other edited it; it stays deleted.",
}
"""What each rule means, for people. A test holds the keys against the rules that can be given."""

_ID: Final = re.compile(r"\d{1,19}-\d{1,19}-[$\w]{1,100}", re.ASCII)
"""What an id of a conflict looks like: the dot of the write, and the cell."""

Entry: TypeAlias = shown.Entry
Sought: TypeAlias = shown.Sought
Choice = Literal["winner", "loser", "value"]


class Word(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person says: the dot (and siblings) they were shown, and for a settling their choice.

    A delete is put back only with the `rev` that was shown beside: it has read the whole record.
    """

    dot: Dot
    siblings: tuple[Dot, ...] = ()
    rev: int | None = None
    choose: Choice = "loser"
    value: Any = None


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A conflict entry, why it ended as it did, and the state of its cell now."""

    entry: Entry
    sentence: str
    dot: Dot | None
    siblings: tuple[Dot, ...]
    rev: int


class Review:
    """What people can do about conflicts."""

    def __init__(self, database: Database, office: Office) -> None:
        self._database = database
        self._office = office

    async def conflicts(self, who: Principal, sought: Sought) -> list[Entry]:
        """Return conflict entries, newest first."""
        if sought.state is not None and sought.state not in STATES:
            raise BadFilter(f"state is {sought.state!r}; allowed: {', '.join(STATES)}")
        if sought.collection is not None and not sought.collection.isprintable():
            raise BadFilter(f"collection is {sought.collection!r}, which is no name")
        return await shown.conflicts(self._database, who.tenant_id, sought)

    async def conflict(self, who: Principal, conflict_id: str) -> Explained:
        """Return one conflict with its explanation and what an undo or settling has to name."""
        entry = await self._entry(who, conflict_id)
        found = entry.conflict
        record = await shown.record(self._database, who.tenant_id, found.collection, found.record_id)
        cell = record.cells.get(found.cell) if record else None
        return Explained(
            entry=entry,
            sentence=sentence(found),
            dot=cell.stamp.dot if cell else None,
            siblings=tuple(sibling.stamp.dot for sibling in cell.siblings) if cell else (),
            rev=record.rev if record else 0,
        )

    async def undo(
        self, who: Principal, conflict_id: str, word: Word, *, key: str | None, now_ms: int
    ) -> tuple[MutationVerdict | None, Answer]:
        """Put the value back that lost."""
        entry = await self._entry(who, conflict_id)
        if entry.state == "open":
            raise ConflictOpen(f"conflict {conflict_id} waits for a person; settle it")
        await self._still_there(who, entry.conflict, key)
        return await self._act(who, entry.conflict, word, key, now_ms, settles=False)

    async def settle(
        self, who: Principal, conflict_id: str, word: Word, *, key: str | None, now_ms: int
    ) -> tuple[MutationVerdict | None, Answer]:
        """Choose for a conflict that waits: one of the two values, or another one."""
        entry = await self._entry(who, conflict_id)
        if entry.state != "open" and not await self._office.is_repeat(who, key):
            raise ConflictDecided(f"conflict {conflict_id} is {entry.state}; undo it if it is wrong")
        await self._still_there(who, entry.conflict, key)
        return await self._act(who, entry.conflict, word, key, now_ms, settles=True)

    async def _entry(self, who: Principal, conflict_id: str) -> Entry:
        known = _ID.fullmatch(conflict_id) is not None
        entry = await shown.conflict(self._database, who.tenant_id, conflict_id) if known else None
        if entry is None:
            raise UnknownConflict(f"no conflict {conflict_id} is known")
        return entry

    async def _still_there(self, who: Principal, conflict: Conflict, key: str | None) -> None:
        """Refuse to bring a deleted record back by a word on one of its cells; a repeat has its answer."""
        if conflict.cell == ALIVE:
            return
        record = await shown.record(self._database, who.tenant_id, conflict.collection, conflict.record_id)
        if record is not None and not record.alive and not await self._office.is_repeat(who, key):
            raise RecordDeleted(f"the record was deleted at rev {record.rev}", id=record.id, rev=record.rev)

    async def _act(
        self, who: Principal, conflict: Conflict, word: Word, key: str | None, now_ms: int, *, settles: bool
    ) -> tuple[MutationVerdict | None, Answer]:
        """Write the chosen value as the class it came from, with the shown state as what was seen."""
        chosen = conflict.winner if settles and word.choose == "winner" else conflict.loser
        free = conflict.cell == ALIVE or (settles and word.choose == "value")
        decision = Decision(
            conflict=conflict.id,
            settles=settles,
            shown=Shown(conflict.cell, word.dot, frozenset(word.siblings)),
            authority="office" if free else chosen.authority,
            relation="" if free else chosen.relation,
        )
        if settles and word.choose == "value":
            chosen = msgspec.structs.replace(chosen, value=word.value)
        ask = _restore(conflict, chosen, word.rev, key)
        return await self._office.write(who, ask, now_ms=now_ms, decision=decision)


def _restore(conflict: Conflict, chosen: Side, rev: int | None, key: str | None) -> Ask:
    """Return the write that puts a side's value in place.

    Whether a record exists is for the office to say, whoever said so before. Of an edit that lost to a
    delete the record is brought back; what it would have written stays in the entry.
    """
    collection, record_id = conflict.collection, conflict.record_id
    if conflict.cell == ALIVE:
        if rev is None:
            raise BadMutation("send the rev that the conflict was shown with: a delete has read the whole record")
        op = "delete" if chosen.value is False else "restore"
        return Ask(op=op, collection=collection, id=record_id, rev=rev, key=key)
    if conflict.rule.startswith("merge:") and isinstance(chosen.value, dict):
        raise NothingToRestore(f"nothing of {conflict.cell} was lost: both were taken in; write the value you want")
    return Ask(op="set", collection=collection, id=record_id, set={conflict.cell: chosen.value}, key=key)


def sentence(conflict: Conflict) -> str:
    """Return in plain words why the conflict ended as it did."""
    known = SENTENCES.get(conflict.rule, "{winner} stands against {loser}.")
    return known.format(winner=_named(conflict.winner), loser=_named(conflict.loser), cell=conflict.cell)


def _named(side: Side) -> str:
    return f"{side.authority} ({side.relation})" if side.relation else side.authority
