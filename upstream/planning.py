"""From a row of the outbox to deliveries: what is made of the record, and what of that has to be said.

Reading is one snapshot, writing one short transaction; what the mapping makes is made between the two,
with no transaction open. Two workers may plan the same object at once, of two of its records: each
plan says of which state it was made (`seen_seq`), and under the lock of the object's key the one that
knows less is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from upstream import connections, contexts, holes, making, mappings, outbox, plan, saying, store
from upstream.contexts import Reading
from upstream.plan import Wish
from upstream.saying import Saying
from upstream.trial import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstream.contexts import Key, Source
    from upstream.mapping import MappingSet, ObjectMapping
    from upstream.outbox import Row
    from upstream.saying import Using
    from upstream.store import Database, Session

_SQL: Final = store.statements("planning")

WAIT_SECONDS: Final = 2.0
WAIT_SECONDS_MAX: Final = 900.0

Came = Literal["planned", "nothing", "waits", "lost"]
Needed = tuple[str, str, str]
"""An object of the system, and the collection and id of the record that it is made of."""

_OWN: Final = ("record.", "config.", "period.")
"""What a record says itself, without those that it names."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An object that a record belongs to, with what it is made of.

    `alive`: the record is there. `wanted`: the mapping wants the object, of the record as it is or was.
    """

    each: ObjectMapping
    key: str
    record: dict[str, Any]
    context: dict[str, Any]
    alive: bool
    wanted: bool
    missing: tuple[Key, ...]


class _LeaseLost(Exception):
    """Another worker has the row: nothing of this plan is stored."""


async def plan_row(database: Database, row: Row, using: Using) -> Came:
    """Plan what a connection has to be told because of a record, and take the row out of the outbox."""
    async with database.transaction(row.tenant_id, snapshot=True) as session:
        reading = await _reading(session, using)
        drafts = await _drafts(reading, row, using)
        needed = await _needed(reading, drafts, using)
    waits_on = next((key for draft in drafts for key in draft.missing), None)
    ready = [draft for draft in drafts if not draft.missing]
    wishes = _each_once([wish for draft in ready if (wish := await _wish(draft, using)) is not None])
    try:
        async with database.transaction(row.tenant_id) as session:
            if not await connections.stands(session, using.connection):
                await outbox.put_off(session, row, worker=using.worker, seconds=0.0)
                return "waits"
            said, reason = await Saying(session, row, using, reading.seq).say(wishes)
            if waits_on is not None or reason:
                await _see_to(session, row, using, needed)
                await _put_off(session, row, using, waits_on, reason)
                return "waits"
            await _done(session, row, using)
            await _sample(session, ready, using)
    except _LeaseLost:
        return "lost"
    return "planned" if said else "nothing"


def _each_once(wishes: Sequence[Wish]) -> list[Wish]:
    """Return one wish for each object: records that share it, or a record and what it belongs to, make the same."""
    return list({(wish.object, wish.key): wish for wish in reversed(wishes)}.values())[::-1]


async def _done(session: Session, row: Row, using: Using) -> None:
    if not await outbox.done(session, row, worker=using.worker):
        raise _LeaseLost


async def _sample(session: Session, drafts: Sequence[Draft], using: Using) -> None:
    """Keep what some of the objects are made of, so that other versions of the mapping can be tried on it."""
    place = (using.connection.tenant_id, using.connection.connection)
    for draft in drafts:
        if using.sampling is not None and draft.alive and using.sampling.is_due(place[1], draft.each.object):
            sample = Sample(
                way="out",
                object=draft.each.object,
                key=draft.key,
                collection=draft.each.collection,
                context=draft.context,
            )
            await mappings.take_sample(session, *place, sample)


async def _see_to(session: Session, row: Row, using: Using, needed: Sequence[Needed]) -> None:
    """Have told what is needed first, where nobody sees to it: at each look, for whoever looked before may have died.

    What cannot be told is not planned anew because something waits for it.
    """
    if not needed:
        return
    now = (using.connection.mode, using.connection.mapping_version or 0, row.lane)
    found = await session.fetch(_SQL["untold"], row.tenant_id, row.connection, *now, *store.columns(needed, 3))
    keys = [(each["collection"], each["record_id"]) for each in found]
    if keys:
        await outbox.mark(session, row.tenant_id, row.connection, keys, lane=row.lane)


async def _put_off(session: Session, row: Row, using: Using, waits_on: Key | None, reason: str) -> None:
    """Look at the row again later, or as soon as the record that it waits for is there."""
    seconds = min(WAIT_SECONDS_MAX, WAIT_SECONDS * 2 ** min(row.attempts - 1, 10))
    if waits_on is not None:
        reason = f"waits for {waits_on[0]} {waits_on[1]}, which the system does not have yet"
    await outbox.put_off(
        session,
        row,
        worker=using.worker,
        seconds=seconds,
        waits_on=waits_on[1] if waits_on else None,
        reason=reason,
    )


# Reading.


async def _reading(session: Session, using: Using) -> Reading:
    tenant_id = using.connection.tenant_id
    head = await session.fetchrow(_SQL["head"], tenant_id)
    assert head is not None, "a tenant has counters"
    catalog = await using.catalogues.get(session, tenant_id, head["catalog_version"])
    return Reading(session, using.connection, using.mappings, catalog, head["seq"])


async def _drafts(reading: Reading, row: Row, using: Using) -> list[Draft]:
    """Return all objects that the record belongs to now, or belonged to when the system was last told."""
    lates = {name for each in using.mappings.out for name in each.late}
    key = (row.collection, row.record_id)
    source = (await reading.load([key])).get(key)
    if source is None:
        return []
    states = [source.fields, *await reading.former(key, row.from_seq, _telling(using.mappings, row.collection))]
    drafts: list[Draft] = []
    for each in using.mappings.out:
        if each.object in lates or each.object not in using.manifest.targets:
            continue
        if each.collection == row.collection:
            drafts += await _of_itself(reading, each, source, states, using)
        if row.collection in each.triggers:
            field = each.triggers[row.collection]
            named = dict.fromkeys(str(state[field]) for state in states if state.get(field) is not None)
            parents = await reading.load((each.collection, record_id) for record_id in named)
            for parent in parents.values():
                drafts += await _of_itself(reading, each, parent, [parent.fields], using)
    return drafts


def _telling(mappings: MappingSet, collection: str) -> list[str]:
    """Return the fields of a record that tell which objects it belongs to, and whether these are wanted."""
    paths = {f"record.{each.triggers[collection]}" for each in mappings.out if collection in each.triggers}
    for each in mappings.out:
        if each.collection == collection:
            paths |= {f"{kind}.{name}" for kind, name in holes.named(each.key)}
            paths |= {condition.path for condition in each.when}
            paths |= {f"record.{each.period.field}"} if each.period is not None else set()
    return sorted({path.split(".")[1] for path in paths if path.startswith("record.")})


async def _needed(reading: Reading, drafts: Sequence[Draft], using: Using) -> list[Needed]:
    """Return what has to be told first: of the records that are not there, what the mapping may make of them."""
    missing = {
        (name, key)
        for draft in drafts
        for key in draft.missing
        for name in using.manifest.targets[draft.each.object].requires
    }
    found = await reading.load(sorted({key for _, key in missing}))
    return sorted(
        (each.object, *key)
        for each in using.mappings.out
        for key, source in found.items()
        if each.collection == key[0] and (each.object, key) in missing and _may_be(each, source, using)
    )


def _may_be(each: ObjectMapping, source: Source, using: Using) -> bool:
    """Whether the mapping may want the object of a record, by all that this says itself."""
    known = contexts.light(each, source.fields, using.connection)
    when = tuple(condition for condition in each.when if condition.path.startswith(_OWN))
    void = bool(each.void_when) and all(condition.path.startswith(_OWN) for condition in each.void_when)
    if not source.alive or plan.key_of(each, known) is None or not making.holds(when, known):
        return False
    return not (void and making.holds(each.void_when, known))


async def _of_itself(
    reading: Reading, each: ObjectMapping, source: Source, states: Sequence[dict[str, Any]], using: Using
) -> list[Draft]:
    """Return the objects that a record makes, or made in the states that it had."""
    by_key: dict[str, list[dict[str, Any]]] = {}
    for state in states if each.is_shared else states[:1]:
        key = plan.key_of(each, contexts.light(each, state, using.connection))
        if key is not None:
            by_key.setdefault(key, []).append(state)
    drafts = []
    for key, had in by_key.items():
        context = await reading.context(each, had[0])
        wanted = making.holds(each.when, context) or any(
            making.holds(each.when, contexts.light(each, state, using.connection)) for state in had[1:]
        )
        requires = using.manifest.targets[each.object].requires
        missing = reading.missing(each, context, requires) if source.alive and wanted else ()
        drafts.append(
            Draft(
                each=each,
                key=key,
                record=had[0],
                context={**context, "key": key},
                alive=source.alive,
                wanted=wanted,
                missing=missing,
            )
        )
    return drafts


async def _wish(draft: Draft, using: Using) -> Wish | None:
    """Return what the object should be; None if the mapping has nothing to say about it."""
    each, context = draft.each, draft.context
    made = await saying.make(each, context, using)
    if each.is_shared:
        void = making.holds(each.void_when, context) if each.void_when else _is_empty(each, context, using)
    else:
        void = not draft.alive or (bool(each.void_when) and making.holds(each.void_when, context))
        if not void and not draft.wanted:
            return None
    return Wish(
        object=each.object,
        key=draft.key,
        collection=each.collection,
        record_id=draft.record["id"],
        action="void" if void else "upsert",
        fields=made.fields,
        problems=() if void else made.problems,
        period=context.get("period", {}).get("first", ""),
        context=context,
        if_told=not draft.wanted,
    )


def _is_empty(each: ObjectMapping, context: dict[str, Any], using: Using) -> bool:
    """Whether nothing belongs to the object any more, and it can be taken back there."""
    nothing = bool(each.gather) and not any(context["rows"].values())
    return nothing and bool(using.manifest.targets[each.object].void)
