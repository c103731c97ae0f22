"""What of the wishes has to be said: decided and stored in one transaction, under the locks of their keys.

What was said before is looked at only when the locks are held, so that two plans of one object come one
after the other, and the one that knows less says nothing.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from upstream import delivery, holes, making, plan, remotes, store
from upstream.mapping import Problem
from upstream.plan import Known, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import asyncpg

    from upstream.connections import Connection
    from upstream.contexts import Catalogues
    from upstream.making import Jsonnet
    from upstream.manifest import Manifest, Target
    from upstream.mapping import Made, MappingSet, ObjectMapping
    from upstream.outbox import Row
    from upstream.plan import Verdict
    from upstream.remotes import Remote
    from upstream.sampling import Sampling
    from upstream.store import Session

_SQL: Final = store.statements("planning")
_DELIVERIES: Final = store.statements("deliveries")
_KEY_LOCKS: Final = 1718839600
"""First half of the advisory locks of keys, which tells them from others."""

PERIODS_AHEAD_MAX: Final = 54


class Using(msgspec.Struct, frozen=True, kw_only=True):
    """What a row is planned with: the connection, its published mapping, its system, who works.

    `new_id` gives UUIDs in order of time.
    """

    connection: Connection
    mappings: MappingSet
    manifest: Manifest
    catalogues: Catalogues
    worker: str
    new_id: Callable[[], str]
    jsonnet: Jsonnet | None = None
    sampling: Sampling | None = None


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery that is to be: a wish, or the late object that carries what it changes."""

    wish: Wish
    marker: str
    state: Literal["planned", "rejected"] = "planned"
    late_of: Wish | None = None
    trouble: tuple[str, str, str] = ("", "", "")


async def make(each: ObjectMapping, context: dict[str, Any], using: Using) -> Made:
    """Return what a mapping makes of a context, as the vendor writes it; code in it is run in a thread."""
    if making.has_code(each.rows):
        made = await asyncio.to_thread(making.make, each.rows, context, using.jsonnet)
    else:
        made = making.make(each.rows, context, using.jsonnet)
    return making.as_written(made, each.object, using.manifest.time, context)


class Saying:
    """The transaction in which it is decided, under the locks of the keys, what has to be said."""

    def __init__(self, session: Session, row: Row, using: Using, seen_seq: int) -> None:
        self.session = session
        self.row = row
        self.using = using
        self.connection = using.connection
        self.place = (row.tenant_id, row.connection)
        self.seen_seq = seen_seq
        self.remotes: dict[tuple[str, str], Remote] = {}
        self.alike: dict[tuple[str, str], int] = {}

    async def say(self, wishes: Sequence[Wish]) -> tuple[int, str]:
        """Store what has to be said; return how much that is, and why something has to wait."""
        if not wishes:
            return 0, ""
        names = [f"{self.row.tenant_id}|{self.row.connection}|{wish.object}|{wish.key}" for wish in wishes]
        await self.session.execute(_DELIVERIES["lock_keys"], _KEY_LOCKS, names)
        known = await self._known(wishes)
        intents: list[Intent] = []
        quiet: list[tuple[str, str]] = []
        waits = ""
        for given in wishes:
            wish, facts = self._marked(given), known[given.object, given.key]
            verdict = self._decide(wish, facts)
            if verdict.next == "say":
                intents.append(self._intent(wish))
            elif verdict.next == "late":
                intents.append(await self._late(wish, facts))
            elif verdict.next == "wait":
                waits = verdict.reason
            else:
                quiet.append((wish.object, wish.key))
        await self._insert(intents)
        if quiet:
            await self.session.execute(
                _DELIVERIES["drop_obsolete"], *self.place, *store.columns(quiet, 2), self.seen_seq
            )
        return len(intents), waits

    def _decide(self, wish: Wish, facts: Known) -> Verdict:
        return plan.decide(
            wish,
            facts,
            seen_seq=self.seen_seq,
            mode=self.connection.mode,
            correct=self.row.correct,
            matters=self._target(wish).compare,
        )

    async def _known(self, wishes: Sequence[Wish]) -> dict[tuple[str, str], Known]:
        """Return what was said about these objects, and what stands there."""
        places = [(wish.object, wish.key) for wish in wishes]
        self.remotes = await remotes.get(self.session, *self.place, places)
        columns = store.columns(places, 2)
        newest = await self.session.fetch(_DELIVERIES["newest"], *self.place, *columns, self.seen_seq)
        self.alike = {(row["object"], row["key"]): row["alike"] for row in newest}
        found = {}
        for wish, row in zip(wishes, _in_order(newest, places), strict=True):
            there = self.remotes.get((wish.object, wish.key))
            closed = bool(there and there.locked) or await self._is_closed(wish)
            lates = await self.session.fetchrow(_DELIVERIES["lates"], *self.place, wish.object, wish.key)
            facts = _known(row, there)
            found[wish.object, wish.key] = msgspec.structs.replace(
                facts, closed=closed, moved=await self._moved(wish), late_open=bool(lates and lates["open"])
            )
        return found

    async def _moved(self, wish: Wish) -> bool:
        """Whether the system itself has changed the record since it confirmed what it was told."""
        there = self.remotes.get((wish.object, wish.key))
        if there is None:
            return False
        place = (self.row.tenant_id, wish.collection, wish.record_id)
        newest: int = await self.session.fetchval(_SQL["moved"], *place, self.connection.rid)
        return newest > there.confirmed_seq

    async def _is_closed(self, wish: Wish) -> bool:
        if not wish.period:
            return False
        return await remotes.is_closed(self.session, *self.place, wish.object, wish.period)

    def _marked(self, wish: Wish) -> Wish:
        """Return the wish with our mark in its fields, where the system has a place for it."""
        path = self._target(wish).marker
        if not path or holes.at(wish.fields, path) is not None:
            return wish
        fields = msgspec.json.decode(msgspec.json.encode(wish.fields))
        try:
            holes.put(fields, path, self._marker(wish))
        except holes.NoPlace as exc:
            problem = Problem(path, f"the mark by which it is known again cannot be put there ({exc})")
            return msgspec.structs.replace(wish, problems=(*wish.problems, problem))
        return msgspec.structs.replace(wish, fields=fields)

    def _marker(self, wish: Wish) -> str:
        there = self.remotes.get((wish.object, wish.key))
        return delivery.marker(*self.place, wish.object, wish.key, there.lives if there else 0)

    def _target(self, wish: Wish) -> Target:
        return self.using.manifest.targets[wish.object]

    def _intent(self, wish: Wish) -> Intent:
        if not wish.problems:
            return Intent(wish=wish, marker=self._marker(wish))
        said = "; ".join(f"{problem.target}: {problem.message}" for problem in wish.problems)
        return Intent(wish=wish, marker=self._marker(wish), state="rejected", trouble=("data", "mapping", said))

    async def _late(self, wish: Wish, facts: Known) -> Intent:
        """Return the object that carries what came after this one was closed."""
        each = next(each for each in self.using.mappings.out if each.object == wish.object)
        gap = plan.late(facts.told, wish, each.late_by) or {}
        gap["period"] = await self._next_period(each, wish)
        context = {**wish.context, "late": {**gap, "key": wish.key}}
        chosen = next((other for other in self._lates(each) if making.holds(other.when, context)), None)
        if chosen is None:
            said = "it is closed there, and the mapping names no object that could carry what came later"
            return Intent(
                wish=wish, marker=self._marker(wish), state="rejected", trouble=("locked", "no_late_object", said)
            )
        await self.session.execute(_DELIVERIES["drop_late"], *self.place, wish.object, wish.key)
        lates = await self.session.fetchrow(_DELIVERIES["lates"], *self.place, wish.object, wish.key)
        number = (lates["made"] if lates else 0) + 1
        made = await make(chosen, context, self.using)
        late = Wish(
            object=chosen.object,
            key=f"{wish.object}|{wish.key}|{number}",
            collection=wish.collection,
            record_id=wish.record_id,
            action="upsert",
            fields=made.fields,
            problems=made.problems,
        )
        place = (late.object, late.key)
        self.alike[place] = await self.session.fetchval(_DELIVERIES["alike"], *self.place, *place, self.seen_seq)
        intent = self._intent(self._marked(late))
        return msgspec.structs.replace(intent, late_of=wish)

    def _lates(self, each: ObjectMapping) -> list[ObjectMapping]:
        by_name = {other.object: other for other in self.using.mappings.out}
        return [by_name[name] for name in each.late if name in self.using.manifest.targets]

    async def _next_period(self, each: ObjectMapping, wish: Wish) -> dict[str, str] | None:
        """Return the first period after the wish's own that is not closed."""
        if each.period is None or not wish.period:
            return None
        first, days = date.fromisoformat(wish.period), each.period.days
        ahead = [(first + timedelta(days=days * n)).isoformat() for n in range(1, PERIODS_AHEAD_MAX)]
        opens = await remotes.next_open(self.session, *self.place, wish.object, ahead)
        if opens is None:
            return None
        return {"first": opens, "last": (date.fromisoformat(opens) + timedelta(days=days - 1)).isoformat()}

    async def _insert(self, intents: Sequence[Intent]) -> None:
        if not intents:
            return
        ids = [self.using.new_id() for _ in intents]
        rows = [self._row(intent, new_id) for intent, new_id in zip(intents, ids, strict=True)]
        await self.session.execute(
            _DELIVERIES["insert"],
            *self.place,
            self.seen_seq,
            self.row.lane,
            self.connection.mode,
            self.connection.mapping_version or 0,
            self.row.marked_at,
            *store.columns(rows, 19),
        )
        overtaken = [(intent.wish.object, intent.wish.key, new_id) for intent, new_id in zip(intents, ids, strict=True)]
        await self.session.execute(_DELIVERIES["supersede"], *self.place, *store.columns(overtaken, 3))

    def _row(self, intent: Intent, new_id: str) -> tuple[Any, ...]:
        wish, late_of = intent.wish, intent.late_of
        place = (wish.object, wish.key)
        number = self.alike.get(place, 0)
        key = delivery.idempotency_key(*self.place, *place, self.seen_seq, number)
        covers = None if late_of is None else store.as_json({} if late_of.action == "void" else late_of.fields)
        return (
            new_id,
            *place,
            wish.collection,
            wish.record_id,
            self.row.seq,
            wish.action,
            intent.state,
            key,
            intent.marker,
            store.as_json(wish.fields),
            late_of.object if late_of else None,
            late_of.key if late_of else None,
            covers,
            None,
            None,
            *intent.trouble,
        )


def _in_order(rows: Sequence[asyncpg.Record], places: Sequence[tuple[str, str]]) -> list[asyncpg.Record]:
    by_place = {(row["object"], row["key"]): row for row in rows}
    return [by_place[place] for place in places]


def _known(row: asyncpg.Record, there: Remote | None) -> Known:
    return Known(
        seen_seq=-1 if row["seen_seq"] is None else row["seen_seq"],
        state=row["state"] or "",
        mode=row["mode"] or "",
        action=row["action"] or "",
        fields=store.from_json(row["fields"]),
        told=there.fields if there else None,
        is_there=there is not None and (there.remote_id is not None or there.fields is not None),
        voided=there is not None and there.voided,
    )
