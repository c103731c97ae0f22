"""A vendor's record becomes a mutation of that connection's replica.

One record at a time: what is known of it is read, the vendor's fields are mapped into ours, what differs
from its last known state is an edit, and the edit is handed to the same committers as everybody's.

A crash at any point leaves either nothing or a `pending` edit. Whoever comes next hands a pending edit
over again under the same key, so that it is judged once, and learns its verdict, before it looks at
anything newer. Without that, a second state of the vendor's would be compared with what was before the
first, and lose against its own predecessor.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import msgspec

from replication.mutation import Mutation
from replication.state import Submission
from replication.verdict import MutationVerdict
from upstream import holes, knowledge, making, sighting, store, time_formats, times, verify
from upstream.inbox import Ended
from upstream.knowledge import Known, Later, Pending, Reached, There
from upstream.sighting import Edit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from replication.state import Answer
    from upstream.contexts import Catalogues
    from upstream.making import Jsonnet
    from upstream.mapping import IntoMapping
    from upstream.store import Database, Session

    Submit = Callable[[int, Submission], Awaitable[Answer]]
    Guard = Callable[[Session], Awaitable[bool]]

IDS: Final = UUID("5b0d2c52-6d5e-4c5f-9f0e-6f7d1c0f8a11")
"""The namespace of ids of records that a vendor's records become: the same record becomes the same one."""
UNHEARD: Final = frozenset({"unknown_record", "missing_parent", "bad_id", "unknown_collection", "bad_mutation"})
"""Refusals after which a person has to look: nothing was judged."""

_SQL: Final = store.statements("inbox")
_UNKNOWN: Final = Ended(state="ignored", reason="it is not known here, and the mapping makes none of its own")
_VERDICT: Final = msgspec.json.Decoder(MutationVerdict)
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


class Absorber:
    """Takes vendors' records in. `submit` hands a submission to the committers and returns their answer."""

    def __init__(
        self,
        database: Database,
        submit: Submit,
        catalogues: Catalogues,
        jsonnet: Jsonnet | None = None,
        saw: Callable[[int, str, str, Mapping[str, Any]], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._submit = submit
        self._catalogues = catalogues
        self._jsonnet = jsonnet
        self._saw = saw

    async def absorb(self, reached: Reached, into: IntoMapping, there: There, guard: Guard) -> Ended | Later:
        """Take a record in. `guard` says, in the transaction that announces the edit, whether it is still ours."""
        known = await knowledge.read(self._database, reached, into, there)
        if known.pending is not None:
            known = await self._finish(reached, there, known, known.pending)
        stop = knowledge.age(there, known) or await self._in_the_way(reached, there, known)
        if stop is not None:
            return stop
        if there.record is None:
            return await self._gone(reached, into, there, known, guard)
        self._saw(reached.connection.tenant_id, reached.connection.connection, there.object, there.record)
        if not known.record_id and not into.create and not into.match:
            return _UNKNOWN
        return await self._state(reached, into, there, known, guard)

    async def _state(
        self, reached: Reached, into: IntoMapping, there: There, known: Known, guard: Guard
    ) -> Ended | Later:
        """Take in a record that is there."""
        assert there.record is not None, "what is gone is no state"
        local, missing = await self._locals(reached, into, there.record)
        if missing:
            names = ", ".join(f"{name} {remote_id}" for name, remote_id in missing)
            return Later(f"waits for {names}, which is not known here", missing=missing)
        # Code may take a while, and others work in this process too.
        with_code = making.has_code(into.rows)
        place = (reached, into, there, known, local)
        made = await asyncio.to_thread(self._made, *place) if with_code else self._made(*place)
        if isinstance(made, Ended):
            return made
        if not known.record_id and into.match:
            known = await self._matched(reached, into, there, made[0])
        if not known.record_id and not into.create:
            return _UNKNOWN
        return await self._write(reached, into, there, known, made, guard)

    async def _matched(self, reached: Reached, into: IntoMapping, there: There, now: Mapping[str, Any]) -> Known:
        """Return the one record of ours that says the same in all fields of `match`; none if there are several.

        One that is tied to another record there is none of them.
        """
        wanted = {name: now.get(name) for name in into.match}
        if any(value in (None, "") for value in wanted.values()):
            return Known()
        place = (reached.connection.tenant_id, reached.connection.connection, there.object)
        async with self._database.transaction(place[0]) as session:
            rows = await session.fetch(_SQL["matched"], *place, into.collection, store.as_json(wanted))
        if len(rows) != 1:
            return Known()
        record_id = rows[0]["record_id"]
        return Known(collection=into.collection, record_id=record_id, key=record_id, is_match=True)

    # What keeps it from being taken in.

    async def _in_the_way(self, reached: Reached, there: There, known: Known) -> Later | None:
        if there.is_ours:
            return None
        place = (reached.connection.tenant_id, reached.connection.connection, there.object)
        async with self._database.transaction(place[0]) as session:
            if await session.fetchval(_SQL["under_way"], *place, known.key or None):
                return Later("something is on its way there, of which it is not known yet what became")
        return None

    async def _gone(
        self, reached: Reached, into: IntoMapping, there: There, known: Known, guard: Guard
    ) -> Ended | Later:
        if not known.record_id:
            return Ended(state="ignored", reason="it is gone there, and was not known here")
        if into.gone == "keep":
            reason = "it is gone there; the mapping keeps it here"
            return Ended(state="ignored", reason=reason, collection=known.collection, record_id=known.record_id)
        base = {
            **known.sighting.base,
            sighting.ALIVE: max(known.sighting.base.get(sighting.ALIVE, 0), known.confirmed.seq),
        }
        mutation = Mutation(
            n=1, op="delete", collection=known.collection, id=known.record_id, base=base, rev=_top(base)
        )
        return await self._hand_over(reached, there, known, _pending(reached, there, known, mutation, {}), guard)

    # What it says.

    async def _locals(
        self, reached: Reached, into: IntoMapping, record: Mapping[str, Any]
    ) -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
        """Return our ids of what the record names, and what it names that should be known here and is not."""
        named = {
            name: (ref.object, str(found))
            for name, ref in into.refs.items()
            if (found := holes.at(record, ref.path.removeprefix("record."))) not in (None, "")
        }
        if not named:
            return {}, ()
        place = (reached.connection.tenant_id, reached.connection.connection)
        async with self._database.transaction(place[0]) as session:
            rows = await session.fetch(_SQL["locals"], *place, *store.columns(named.values(), 2))
        found_here = {(row["object"], row["remote_id"]): row["record_id"] for row in rows}
        taken_in = {each.object for each in reached.mappings.into}
        missing = [key for key in named.values() if key not in found_here and key[0] in taken_in]
        local = {name: found_here[key] for name, key in named.items() if key in found_here}
        return local, tuple(dict.fromkeys(missing))

    def _made(
        self, reached: Reached, into: IntoMapping, there: There, known: Known, local: Mapping[str, str]
    ) -> tuple[dict[str, Any], dict[str, Any]] | Ended:
        """Return the vendor's fields as ours: as they are, and as they were when we last told them."""
        try:
            context = _context(reached, there, there.record, local)
            if not making.holds(into.when, context):
                return Ended(state="ignored", reason="the mapping does not want it")
            now = making.make(into.rows, context, self._jsonnet)
            overlaid = sighting.overlaid(there.record, known.confirmed.fields)
            before = making.make(into.rows, _context(reached, there, overlaid, local), self._jsonnet).fields
        except time_formats.BadTime as exc:
            return Ended(state="failed", reason=str(exc))
        if now.problems:
            said = "; ".join(f"{problem.target}: {problem.message}" for problem in now.problems)
            return Ended(state="failed", reason=said)
        shown = {**known.sighting.fields, **before}
        cleared = {
            row.target: None
            for row in into.rows
            if row.target not in now.fields and shown.get(row.target) is not None and making.holds(row.when, context)
        }
        return {**now.fields, **cleared}, before

    # What is written.

    async def _write(
        self,
        reached: Reached,
        into: IntoMapping,
        there: There,
        known: Known,
        made: tuple[dict[str, Any], dict[str, Any]],
        guard: Guard,
    ) -> Ended | Later:
        now, before = made
        if not known.record_id:
            return await self._create(reached, into, there, now, guard)
        edit = sighting.edit(
            now,
            before,
            await self._cells(reached, known.collection),
            sighting=known.sighting,
            confirmed=known.confirmed,
            told=sighting.told_fields(into, known.confirmed.fields),
        )
        if edit.set:
            mutation = _set(known, edit, there)
            return await self._hand_over(reached, there, known, _pending(reached, there, known, mutation, now), guard)
        after = sighting.after(now, there.version, None, before=known.sighting, confirmed=known.confirmed)
        async with self._database.transaction(reached.connection.tenant_id) as session:
            if not await knowledge.keep(session, reached, there, known, after, None):
                return Later("somebody else has just taken this record in")
            await knowledge.link(session, reached, there, known)
        state: Any = "echo" if known.confirmed.fields else "absorbed"
        reason = "it is what was sent" if known.confirmed.fields else "nothing is different"
        return Ended(state=state, reason=reason, collection=known.collection, record_id=known.record_id)

    async def _create(
        self, reached: Reached, into: IntoMapping, there: There, now: dict[str, Any], guard: Guard
    ) -> Ended | Later:
        """Make a record of ours; its id follows from the vendor's, so that it is made once."""
        connection = reached.connection
        name = f"{connection.tenant_id}:{connection.connection}:{there.object}:{there.remote_id}"
        record_id = str(uuid5(IDS, name))
        known = Known(collection=into.collection, record_id=record_id, key=record_id)
        wanted = {field: value for field, value in now.items() if value is not None}
        mutation = Mutation(
            n=1, op="create", collection=into.collection, id=record_id, set=wanted, at=_instant_ms(there.version)
        )
        return await self._hand_over(reached, there, known, _pending(reached, there, known, mutation, now), guard)

    async def _hand_over(
        self, reached: Reached, there: There, known: Known, pending: Pending, guard: Guard
    ) -> Ended | Later:
        """Announce the edit, have it judged, and note the verdict."""
        async with self._database.transaction(reached.connection.tenant_id) as session:
            if not await guard(session):
                return Later("the lease was lost")
            seen_at = await knowledge.keep(session, reached, there, known, known.sighting, pending)
            if seen_at is None:
                return Later("somebody else has just taken this record in")
        known = msgspec.structs.replace(known, seen_at=seen_at, pending=pending, is_match=False)
        verdict = await self._judged(reached, pending)
        if isinstance(verdict, Later):
            return verdict
        await self._note(reached, there, known, pending, verdict)
        said = verdict.code or ""
        unheard = verdict.verdict == "refused" and (said in UNHEARD or _made_nothing(pending, verdict))
        state: Any = "failed" if unheard else "absorbed"
        reason = f"{said}: {verdict.message}" if said else ""
        place = {"collection": known.collection, "record_id": known.record_id}
        return Ended(state=state, reason=reason, verdict=verdict.verdict, **place)

    async def _finish(self, reached: Reached, there: There, known: Known, pending: Pending) -> Known:
        """Bring to its end what somebody else had begun: judged once, whoever asks."""
        verdict = await self._judged(reached, pending)
        assert isinstance(verdict, MutationVerdict), "an edit that was announced is judged"
        return await self._note(reached, there, known, pending, verdict)

    async def _judged(self, reached: Reached, pending: Pending) -> MutationVerdict | Later:
        connection = reached.connection
        async with self._database.transaction(connection.tenant_id) as session:
            authority = await session.fetchval(_SQL["authority"], connection.tenant_id, connection.rid)
        answer = await self._submit(
            connection.tenant_id,
            Submission(
                rid=connection.rid,
                person=f"connection:{connection.connection}",
                authority=authority,
                mutations=(pending.mutation,),
                numbered=False,
                idempotency=pending.key,
                request_hash=_digest(pending.mutation),
            ),
        )
        if answer.problem is not None:
            return Later(f"the replica of the connection is {answer.problem}", seconds=300.0)
        told = answer.verdicts[-1]
        return told if isinstance(told, MutationVerdict) else _VERDICT.decode(told)

    async def _note(
        self, reached: Reached, there: There, known: Known, pending: Pending, verdict: MutationVerdict
    ) -> Known:
        after = sighting.after(
            pending.now, pending.version, verdict, before=known.sighting, confirmed=pending.confirmed
        )
        place = msgspec.structs.replace(there, version=pending.version)
        async with self._database.transaction(reached.connection.tenant_id) as session:
            if _made_nothing(pending, verdict):
                here = (reached.connection.tenant_id, reached.connection.connection, there.object, there.remote_id)
                await session.execute(_SQL["drop_sighting"], *here)
                return Known()
            seen_at = await knowledge.keep(session, reached, place, known, after, None)
            await knowledge.link(session, reached, place, known)
        return msgspec.structs.replace(known, sighting=after, seen_at=seen_at, pending=None)

    async def _cells(self, reached: Reached, collection: str) -> dict[str, str]:
        connection = reached.connection
        async with self._database.transaction(connection.tenant_id) as session:
            version = await session.fetchval(_SQL["catalog_version"], connection.tenant_id)
            catalog = await self._catalogues.get(session, connection.tenant_id, version)
        found = catalog.collections.get(collection)
        return {name: found.cell_of(name) for name in found.fields} if found else {}


def _context(reached: Reached, there: There, record: Any, local: Mapping[str, str]) -> dict[str, Any]:
    """Return what a mapping may name; times are as they are kept here. Raises `time_formats.BadTime`."""
    config = {name: entry.default for name, entry in reached.manifest.config.items() if entry.default}
    made = {"record": record, "config": {**config, **reached.connection.config}, "local": dict(local)}
    rules = times.rules_of(reached.manifest.time, there.object)
    return {**made, "record": times.inward(record, rules, making.zones_of(made))}


def _set(known: Known, edit: Edit, there: There) -> Mutation:
    return Mutation(
        n=1,
        op="set",
        collection=known.collection,
        id=known.record_id,
        base=edit.base,
        rev=_top(edit.base),
        set=edit.set,
        was=edit.was,
        at=_instant_ms(there.version),
    )


def _pending(reached: Reached, there: There, known: Known, mutation: Mutation, now: dict[str, Any]) -> Pending:
    """Return the edit under a key that the same edit has each time, and no other."""
    connection = reached.connection.connection
    parts = (there.object, there.remote_id, there.version, store.as_json(known.sighting.base))
    name = verify.digest(*(part.encode() for part in parts), _digest(mutation))
    return Pending(
        key=f"{connection}:{name}", mutation=mutation, now=now, version=there.version, confirmed=known.confirmed
    )


def _made_nothing(pending: Pending, verdict: MutationVerdict) -> bool:
    """Tell whether a record that was to be made is not there, and does not wait for a person either."""
    return pending.mutation.op == "create" and verdict.verdict == "refused" and not verdict.rev


def _digest(mutation: Mutation) -> bytes:
    return hashlib.sha256(_CANONICAL.encode(mutation)).digest()


def _top(base: Mapping[str, int]) -> int:
    return max(base.values(), default=0)


def _instant_ms(version: str) -> int | None:
    """Return when the vendor changed it, where its version is a time."""
    return None if version.isdigit() else verify.moment_ms(version)
