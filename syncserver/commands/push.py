"""One push: is it of this epoch, what had the device been served, what did the committers say.

`served` bounds the bases of a push. The sealed cursor proves it. A device that sends none is
believed up to what this process handed it, or, after a restart, to where it last said it stood.

A device that was shut out may still hand over its unsent work, and nothing else: a push that says
`rescue` is taken, and all of it waits for a person.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from replication import cursor, wire
from replication.mutation import Mutation
from replication.state import Submission
from syncserver.commands.errors import EpochChanged, Fenced, ReplicaForked, UnknownReplica
from syncserver.store import standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from replication.state import Answer
    from syncserver.commands.access import Access, Writer
    from syncserver.commands.commit import Committers
    from syncserver.commands.seen import SeenVerdicts
    from syncserver.store.db import Database

HANDED_MAX: Final = 100_000
SCHEMA_MAX: Final = 2**31 - 1
"""The largest number that a catalogue version can have; above it nothing is known."""


class Pushes:
    """Carries pushes to the committers."""

    def __init__(
        self,
        database: Database,
        committers: Committers,
        access: Access,
        seen: SeenVerdicts,
        *,
        keys: Sequence[bytes],
        epoch: str,
    ) -> None:
        self._database = database
        self._committers = committers
        self._access = access
        self._seen = seen
        self._keys = keys
        self._epoch = epoch
        self._handed: OrderedDict[tuple[int, int], int] = OrderedDict()

    async def push(self, writer: Writer, request: wire.PushRequest, mutations_max: int, *, now_ms: int) -> Answer:
        """Have the first of the mutations settled, as many as are taken at once. `now_ms` is the receipt."""
        if writer.fenced and not request.rescue:
            raise Fenced("this device was revoked")
        if request.epoch != self._epoch and not (request.epoch is None and request.names_no_base):
            raise await self._epoch_changed(writer, "the push is of another epoch, and so are its bases")
        mutations = wire.within(request.mutations, mutations_max)
        named = any(isinstance(mutation, Mutation) and mutation.by is not None for mutation in mutations)
        answer = await self._committers.submit(
            writer.tenant_id,
            Submission(
                rid=writer.rid,
                person=writer.person,
                authority="device",
                mutations=mutations,
                served=await self._served(writer, request.cursor),
                persons=await self._access.persons(writer.tenant_id, writer.rid) if named else frozenset(),
                schema=request.schema if 0 < request.schema <= SCHEMA_MAX else 0,
                received=now_ms,
                offset=0 if request.clock is None else now_ms - request.clock.wall_ms,
                rescue=request.rescue,
            ),
        )
        if answer.problem == "fenced":
            raise Fenced("this device was revoked")
        if answer.problem is not None:
            assert answer.problem == "replica_forked", "the other problems are of writes that the office makes"
            raise ReplicaForked("a number that was settled stands for another mutation now", applied=answer.applied)
        self._seen.note(writer.tenant_id, writer.rid, request.verdicts_seen, applied=answer.applied)
        return answer

    async def position(self, writer: Writer, text: str | None) -> cursor.Cursor | None:
        """Return the cursor that a device pulls from, once it is seen to be that of its person."""
        at = await self._unsealed(writer, text)
        if at is not None and at.person != writer.person:
            raise cursor.BadCursor("the cursor is of another person on this device: begin without one")
        return at

    def hand(self, writer: Writer, at: cursor.Cursor) -> str:
        """Return the cursor as text, and remember how far the replica has been served."""
        key = (writer.tenant_id, writer.rid)
        self._handed[key] = max(at.served, self._handed.get(key, 0))
        self._handed.move_to_end(key)
        if len(self._handed) > HANDED_MAX:
            self._handed.popitem(last=False)
        return cursor.seal(at, self._keys)

    async def _served(self, writer: Writer, text: str | None) -> int:
        at = await self._unsealed(writer, text)
        handed = self._handed.get((writer.tenant_id, writer.rid))
        if at is not None:
            return max(at.served, handed or 0)
        return (await self._standing(writer)).position if handed is None else handed

    async def _unsealed(self, writer: Writer, text: str | None) -> cursor.Cursor | None:
        """Return the cursor if it is one of this replica; on a shared device it may be another person's."""
        if not text:
            return None
        at = cursor.unseal(text, self._keys)
        if at.epoch != self._epoch:
            raise await self._epoch_changed(writer, "the cursor is of another epoch")
        if (at.tenant, at.rid) != (writer.tenant_id, writer.rid):
            raise cursor.BadCursor("the cursor is of another replica")
        return at

    async def _epoch_changed(self, writer: Writer, message: str) -> EpochChanged:
        stands = await self._standing(writer)
        return EpochChanged(message, epoch=self._epoch, applied=stands.applied, position=stands.seq)

    async def _standing(self, writer: Writer) -> standing.Standing:
        found = await standing.of(self._database, writer.tenant_id, writer.rid)
        if found is None:
            raise UnknownReplica(f"tenant {writer.tenant_id} has no replica {writer.rid}")
        return found
