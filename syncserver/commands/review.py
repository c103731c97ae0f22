"""Conflicts for people: what was decided and why, what waits, and a person's word on either.

An undo puts back the value that lost, a settling chooses for a conflict that waits. Both name the
state of the cell that the person was shown; if it moved meanwhile they are turned away, because
what they would overwrite is not what was seen.

Of an edit that lost to a delete both come back, the record by the office's word and the edit as its
writer's, in one tx.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from replication import kinds
from replication.mutation import Mutation
from replication.record import ALIVE
from replication.state import Shown
from replication.verdict import conflict_id
from replication.versions import Dot
from syncserver.commands import reasons
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
from syncserver.store import ledger, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from replication.catalog import Collection
    from replication.state import Answer
    from replication.verdict import Conflict, MutationVerdict, Side
    from syncserver.store.db import Database
    from syncserver.store.people import Principal

CONFLICTS_LIMIT: Final = 100
CONFLICTS_LIMIT_MAX: Final = 500
STATES: Final = ("open", "decided", "settled", "undone")

_PAYLOAD: Final = msgspec.json.Decoder(Mutation)
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
            sentence=reasons.sentence(found, entry.state),
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
        free = settles and word.choose == "value"
        if free:
            chosen = msgspec.structs.replace(chosen, value=word.value)
        ask = _restore(conflict, chosen, word, key)
        then = None if free or ask.op != "restore" else await self._lost_edit(who, conflict, chosen, ask)
        free = free or (conflict.cell == ALIVE and then is None)
        decision = Decision(
            conflict=conflict.id,
            settles=settles,
            shown=Shown(conflict.cell, word.dot, frozenset(word.siblings)),
            authority="office" if free or then is not None else chosen.authority,
            relation="" if free else chosen.relation,
            authorities={} if then is None else {then.collection: dict.fromkeys(then.base, chosen.authority)},
        )
        return await self._office.write(who, ask, *filter(None, [then]), now_ms=now_ms, decision=decision)

    async def _lost_edit(self, who: Principal, conflict: Conflict, chosen: Side, restore: Ask) -> Ask | None:
        """Return the edit that lost to a delete, as the ledger keeps it, to be carried out with the restore.

        None where it was the delete that came later: what it had not seen is in the record still. A cell
        that merges is judged by what the edit itself had seen, so that nobody's part of it is undone.
        """
        if conflict.id != conflict_id(chosen.dot, ALIVE) or not isinstance(chosen.value, dict):
            return None
        payload = await ledger.payload(self._database, who.tenant_id, chosen.dot)
        if payload is None:
            raise NothingToRestore("the edit is no longer kept; write the values that are wanted")
        lost = _PAYLOAD.decode(payload)
        collection = await self._office.collection(who.tenant_id, conflict.collection)
        rev = restore.rev or 0
        return Ask(
            op="set",
            collection=conflict.collection,
            id=conflict.record_id,
            rev=rev,
            base={cell: lost.base_of(cell) if merges else rev for cell, merges in _cells_of(lost, collection)},
            set=lost.set,
            do=lost.do,
            was=lost.was,
        )


def _cells_of(lost: Mutation, collection: Collection) -> Iterator[tuple[str, bool]]:
    """Yield the cells that an edit writes, as far as the catalogue still has them, and whether each merges."""
    for name in (*lost.set, *lost.do):
        cell = name if name in collection.cells else collection.cell_names.get(name, name)
        rule = collection.cells.get(cell)
        yield cell, rule is not None and rule.merge is not None


def _restore(conflict: Conflict, chosen: Side, word: Word, key: str | None) -> Ask:
    """Return the write that puts a side's value in place.

    Whether a record exists is for the office to say, whoever said so before.
    """
    collection, record_id = conflict.collection, conflict.record_id
    if conflict.cell == ALIVE:
        if word.rev is None:
            raise BadMutation("send the rev that the conflict was shown with: a delete has read the whole record")
        if word.choose == "value" and not isinstance(chosen.value, bool):
            raise BadMutation("value: true for a record that exists, false for one that is deleted")
        op = "delete" if chosen.value is False else "restore"
        return Ask(op=op, collection=collection, id=record_id, rev=word.rev, key=key)
    if _took_both_in(conflict) and word.choose != "value":
        raise NothingToRestore(f"nothing of {conflict.cell} was lost: both were taken in; write the value you want")
    return Ask(op="set", collection=collection, id=record_id, set={conflict.cell: chosen.value}, key=key)


def _took_both_in(conflict: Conflict) -> bool:
    """Whether a merge left nothing to put back: the loser is an operation, or stands as it is."""
    lost = conflict.loser.value
    return conflict.rule.startswith("merge:") and (isinstance(lost, dict) or kinds.same(lost, conflict.winner.value))
