"""Mutations that wait for a person: what each asked for, what is wrong with it now, release or discard.

A release is judged as the write of whoever made the mutation, by the present catalogue and in its place
among the writer's own, so that neither the writer nor the one who releases it gets more than was theirs.
Both endings happen once: they are written under the tenant's lock, in the transaction that decides.
A tx ends as the one thing that it is: whichever of its mutations is named, all are released or none.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from replication import validity, wire
from replication.mutation import Mutation, Trouble
from replication.state import Submission
from replication.versions import Dot
from syncserver.commands import office
from syncserver.commands.errors import BadFilter, BadMutation, NotWaiting, UnknownHeld
from syncserver.commands.office import Office, kept_under
from syncserver.store import audit, group, held, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from replication.catalog import Catalog
    from replication.state import Answer
    from replication.verdict import MutationVerdict
    from syncserver.store.db import Database
    from syncserver.store.people import Principal

HELD_LIMIT: Final = 100
HELD_LIMIT_MAX: Final = 500
REASON_CHARACTERS_MAX: Final = 500
STATES: Final = ("waiting", "released", "discarded")

Entry: TypeAlias = held.Entry
Sought: TypeAlias = held.Sought
id_of = held.id_of

_ID: Final = re.compile(r"(\d{1,9})-(\d{1,18})", re.ASCII)
_MUTATION: Final = msgspec.json.Decoder(Mutation)
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


class Values(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be written instead of what was sent: all of `set`, all of `do`, or neither."""

    set: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    do: dict[str, dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


class Edited(Values, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same, and in `others` for other mutations of the tx, by their ids."""

    others: dict[str, Values] = {}


class Released(msgspec.Struct, frozen=True):
    """What became of the mutations of a tx that was released, in order, and which of them was named."""

    members: tuple[Entry, ...]
    named: int
    verdicts: tuple[MutationVerdict, ...]
    answer: Answer


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """Something that keeps a held mutation from being judged now; without a field, all of it."""

    field: str | None
    code: str
    message: str


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """A held mutation as it was sent, what the present catalogue says of it, and its record now."""

    entry: Entry
    mutation: Mutation
    schema: int
    flaws: tuple[Flaw, ...]
    record: shown.Shown | None


class Held:
    """What people can do about mutations that are held."""

    def __init__(self, database: Database, office: Office, limits: wire.Limits) -> None:
        self._database = database
        self._office = office
        self._limits = limits

    async def listed(self, who: Principal, sought: Sought) -> list[Entry]:
        """Return held mutations, newest first."""
        if sought.state is not None and sought.state not in STATES:
            raise BadFilter(f"state is {sought.state!r}; allowed: {', '.join(STATES)}")
        if sought.collection is not None and not sought.collection.isprintable():
            raise BadFilter(f"collection is {sought.collection!r}, which is no name")
        return await held.listed(self._database, who.tenant_id, sought)

    async def one(self, who: Principal, held_id: str) -> Detail:
        """Return one of them with what a person needs to decide."""
        members = await self._found(who, held_id)
        entry, mutation = members[_place(members, held_id)]
        catalog = await self._office.catalog(who.tenant_id)
        record = None
        if validity.UUID.fullmatch(entry.record_id):
            record = await shown.record(self._database, who.tenant_id, entry.collection, entry.record_id)
        return Detail(
            entry=entry,
            mutation=mutation,
            schema=catalog.version,
            flaws=tuple(flaws_of(mutation, catalog)),
            record=record,
        )

    async def release(self, who: Principal, held_id: str, edited: Edited, *, key: str | None) -> Released:
        """Have its whole tx judged after all. All of it goes on waiting if nothing of it can be carried out."""
        members = await self._found(who, held_id)
        named = _place(members, held_id)
        if members[named][0].state != "waiting" and not await self._office.is_repeat(who, key):
            raise NotWaiting(f"held mutation {held_id} was {members[named][0].state} before")
        answer = await self._office.answered(who, await self._submission(who, held_id, members, edited, key))
        verdicts = () if answer.problem is not None else tuple(map(office.told, answer.verdicts))
        return Released(tuple(entry for entry, _ in members), named, verdicts, answer)

    async def discard(self, who: Principal, held_id: str, reason: str) -> Entry:
        """End its whole tx without judging it. The same word a second time changes nothing."""
        if not 0 < len(reason.strip()) <= REASON_CHARACTERS_MAX or "\0" in reason:
            raise BadMutation(f"reason: 1 to {REASON_CHARACTERS_MAX} characters that say why it is not carried out")
        dot = (await self._found(who, held_id))[0][0].dot
        async with self._database.transaction(who.tenant_id) as connection:
            await group.lock(connection, [who.tenant_id])
            for ended in await held.discard(connection, who.tenant_id, dot, who.person, reason):
                await audit.record(connection, _discarded(who, held.id_of(ended)))
        members = await self._found(who, held_id)
        entry, _ = members[_place(members, held_id)]
        if (entry.state, entry.ended_by, entry.reason) != ("discarded", who.person, reason):
            raise NotWaiting(f"held mutation {held_id} was {entry.state} before")
        return entry

    async def _found(self, who: Principal, held_id: str) -> list[tuple[Entry, Mutation]]:
        """Return the tx of the one of this id, in order."""
        named = _ID.fullmatch(held_id)
        dot = Dot(int(named[1]), int(named[2])) if named else None
        found = await held.found(self._database, who.tenant_id, dot) if dot else []
        if not found:
            raise UnknownHeld(f"no held mutation {held_id} is known")
        return [(entry, _MUTATION.decode(payload)) for entry, payload in found]

    async def _submission(
        self, who: Principal, held_id: str, members: Sequence[tuple[Entry, Mutation]], edited: Edited, key: str | None
    ) -> Submission:
        """Return the tx as its writer's, made when its last mutation was."""
        writers = [entry.person for entry, _ in members]
        first, last = members[0][0], members[-1][0]
        return Submission(
            rid=await self._office.replica(who.tenant_id),
            person=writers[0],
            persons=frozenset(writers),
            authority=first.authority,
            mutations=tuple(self._to_judge(members, _edits(held_id, members, edited))),
            numbered=False,
            idempotency=None if key is None else kept_under(who, key),
            request_hash=hashlib.sha256(_CANONICAL.encode((held_id, edited))).digest(),
            want_fields=True,
            received=last.time,
            released=first.dot,
            releaser=who.person,
        )

    def _to_judge(self, members: Sequence[tuple[Entry, Mutation]], edits: dict[Dot, Values]) -> Iterator[Mutation]:
        """Yield what is to be judged. In a tx even if it is alone, so that one bad field refuses all of it."""
        for entry, sent in members:
            edit = edits.get(entry.dot, Values())
            wanted = msgspec.structs.replace(
                sent,
                n=1,
                tx=str(members[0][1].n),
                by=entry.person,
                set=sent.set if edit.set is msgspec.UNSET else edit.set,
                do=sent.do if edit.do is msgspec.UNSET else edit.do,
            )
            fault = wire.fault(wanted, self._limits)
            if fault is not None:
                raise BadMutation(f"{held.id_of(entry.dot)}: {fault}")
            yield wanted


def _place(members: Sequence[tuple[Entry, Mutation]], held_id: str) -> int:
    """Return which of its tx the named one is; a number may be written with zeros before it."""
    n = int(held_id.split("-")[1])
    return [entry.dot.n for entry, _ in members].index(n)


def _edits(held_id: str, members: Sequence[tuple[Entry, Mutation]], edited: Edited) -> dict[Dot, Values]:
    """Return what is to be written instead, by mutation. An id that is not of the tx is a mistake."""
    dots = {held.id_of(entry.dot): entry.dot for entry, _ in members}
    strange = next((name for name in edited.others if name not in dots), None)
    if strange is not None:
        raise BadMutation(f"others: {strange[:40]!r} is not of the same tx; its mutations are {', '.join(dots)}")
    named = members[_place(members, held_id)][0].dot
    return {dots[name]: values for name, values in edited.others.items()} | {named: edited}


def _discarded(who: Principal, held_id: str) -> audit.Entry:
    by = audit.person(who.person)
    return audit.Entry(tenant_id=who.tenant_id, by=by, action="held_discarded", object=f"held:{held_id}")


def flaws_of(mutation: Mutation, catalog: Catalog) -> list[Flaw]:
    """Return what the catalogue finds wrong with a mutation, whatever is stored."""
    ready = validity.prepare(mutation, catalog)
    if isinstance(ready, Trouble):
        return [Flaw(field=None, code=ready.code, message=ready.message)]
    return [Flaw(field=name, code=bad.code, message=bad.message) for name, bad in ready.bad.items()]
