"""What objects are made of, read in one snapshot: a record, those it names, those that belong beside it.

Reads nothing that a mapping does not name.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication import catalog_file
from upstream import connections, holes, making, plan, remotes, store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable

    import asyncpg

    from replication.catalog import Catalog
    from upstream.connections import Connection
    from upstream.mapping import Gather, MappingSet, ObjectMapping, Period
    from upstream.store import Session

_SQL: Final = store.statements("planning")

DEPTH_MAX: Final = 2
"""How far references are followed: the customer of the work order of a time entry."""
PAGE_ROWS: Final = 1_000
"""How many records, or states of one, are read at once; there may be any number of such pages."""
CATALOGUES_MAX: Final = 256
PEOPLE: Final = "technicians"
"""The collection that a field of the kind `person` points into."""
SHIFT_DAYS: Final = 2
"""How far the day that the text of an instant begins with may lie from its day in some zone."""

_SEQ_MAX: Final = 2**63 - 1

Key = tuple[str, str]
Place = tuple[str, dict[str, Any], dict[str, Any]]
"""Collection and fields of a record, and where what it names is put: `ref` and `remote`."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it stands; `fields` have its id among them."""

    collection: str
    record_id: str
    alive: bool
    fields: dict[str, Any]


class Catalogues:
    """Catalogues that were read, by tenant and version; those not used for longest go first."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int], Catalog] = OrderedDict()

    async def get(self, session: Session, tenant_id: int, version: int) -> Catalog:
        """Return a version."""
        held = self._held.pop((tenant_id, version), None)
        if held is None:
            held = catalog_file.parse(await session.fetchval(_SQL["catalog"], tenant_id, version))
        self._held[tenant_id, version] = held
        while len(self._held) > CATALOGUES_MAX:
            self._held.popitem(last=False)
        return held


class Reading:
    """One snapshot of a tenant, for one connection. `seq` is the state that it shows."""

    def __init__(
        self, session: Session, connection: Connection, mappings: MappingSet, catalog: Catalog, seq: int
    ) -> None:
        self.session = session
        self.connection = connection
        self.mappings = mappings
        self.catalog = catalog
        self.seq = seq
        self._records: dict[Key, Source | None] = {}

    async def load(self, keys: Iterable[Key]) -> dict[Key, Source]:
        """Return those of the records that there are."""
        wanted = list(dict.fromkeys(keys))
        if missing := [key for key in wanted if key not in self._records]:
            columns = store.columns(missing, 2)
            found = await self.session.fetch(_SQL["records"], self.connection.tenant_id, *columns)
            self._records |= dict.fromkeys(missing)
            self._records |= {(source.collection, source.record_id): source for source in map(_source, found)}
        return {key: source for key in wanted if (source := self._records[key]) is not None}

    async def former(self, key: Key, from_seq: int, matters: Collection[str]) -> list[dict[str, Any]]:
        """Return the states of a record that a connection may have been told of, newest first.

        Of those that are alike in the fields that matter only the newest: what was told is found however often a
        record has changed since.
        """
        states: dict[str, dict[str, Any]] = {}
        place, before = (self.connection.tenant_id, *key, from_seq), _SEQ_MAX
        while True:
            page = await self.session.fetch(_SQL["former"], *place, before, PAGE_ROWS)
            for row in page:
                state = {"id": key[1], **store.from_json(row["state"])}
                states.setdefault(store.as_json([state.get(field) for field in matters]), state)
            if len(page) < PAGE_ROWS:
                return list(states.values())
            before = page[-1]["seq"]

    async def context(self, each: ObjectMapping, record: dict[str, Any]) -> dict[str, Any]:
        """Return all that the mapping may name when it is made from this record.

        Where more belongs beside it than may be, there is more than that too, and nothing whole is made of it.
        """
        made = light(each, record, self.connection)
        refs, there = plan.named(each)
        await self._follow([(each.collection, record, made)], refs, there, DEPTH_MAX)
        made["rows"] = {}
        for name, gather in each.gather.items():
            rows: list[dict[str, Any]] = []
            async for page in self._gather(each, gather, made):
                await self._follow([(gather.collection, row, row) for row in page], refs, there, DEPTH_MAX)
                rows += [row for row in page if making.holds(gather.where, {"item": row})]
                if len(rows) > making.ITEMS_MAX:
                    break
            made["rows"][name] = rows
        return made

    async def _gather(
        self, each: ObjectMapping, gather: Gather, context: dict[str, Any]
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the records beside this one, in order of their ids, some at a time."""
        values = {field: holes.at(context, path) for field, path in gather.match.items()}
        absent = [field for field, value in values.items() if value is None]
        wanted = {field: value for field, value in values.items() if value is not None}
        period = each.period if gather.period_field else None
        if not wanted or (period is not None and "period" not in context):
            return
        place = (self.connection.tenant_id, gather.collection, next(iter(wanted)), store.as_json(wanted))
        span = ("", "", "") if period is None else (gather.period_field, *_days_around(context["period"]))
        last = connections.NO_RECORD
        while True:
            found = await self.session.fetch(_SQL["gathered"], *place, *span, last, PAGE_ROWS)
            page = [_source(row).fields for row in found]
            rows = [row for row in page if all(row.get(name) is None for name in absent)]
            if period is not None:
                rows = [row for row in rows if in_period(period, gather.period_field, row, context["period"])]
            yield rows
            if len(page) < PAGE_ROWS:
                return
            last = page[-1]["id"]

    async def _follow(
        self,
        places: list[tuple[str, dict[str, Any], dict[str, Any]]],
        refs: frozenset[str],
        there: frozenset[str],
        depth: int,
    ) -> None:
        """Put the named records beside those that name them: `ref` and `remote` at each place."""
        if depth == 0 or not places or not (refs or there):
            return
        wanted = [(place, name, key) for place in places for name, key in self._references(place, refs | there)]
        loaded = await self.load(key for _, name, key in wanted if name in refs)
        known = await remotes.ids(
            self.session,
            self.connection.tenant_id,
            self.connection.connection,
            sorted({key[1] for _, name, key in wanted if name in there}),
        )
        further = []
        for (_, _, holder), name, key in wanted:
            if name in there and (remote_id := self._id_there(key, known.get(key[1], {}))):
                holder.setdefault("remote", {})[name] = remote_id
            if name in refs and key in loaded:
                beside = dict(loaded[key].fields)
                holder.setdefault("ref", {})[name] = beside
                further.append((key[0], beside, beside))
        await self._follow(further, refs, there, depth - 1)

    def _references(self, place: Place, names: frozenset[str]) -> list[tuple[str, Key]]:
        collection, record, _ = place
        declared = self.catalog.collections.get(collection)
        if declared is None:
            return []
        found = []
        for name in sorted(names):
            field, value = declared.fields.get(name), record.get(name)
            if field is not None and isinstance(value, str) and field.kind in ("reference", "person"):
                found.append((name, (field.to or PEOPLE, value)))
        return found

    def _id_there(self, key: Key, ids: dict[str, str]) -> str | None:
        """Return the id of a record there: that of the object which is made of it, where there are several."""
        objects = [each.object for each in self.mappings.out if each.collection == key[0] and not each.is_shared]
        return next((ids[name] for name in objects if name in ids), next(iter(ids.values()), None))

    def missing(self, each: ObjectMapping, context: dict[str, Any], requires: tuple[str, ...]) -> tuple[Key, ...]:
        """Return the records that have to be there before, and are not: `requires` are objects of that system."""
        _, there = plan.named(each)
        collections = {other.collection for other in self.mappings.out if other.object in requires}
        places = [(each.collection, context["record"], context)]
        for name, rows in context["rows"].items():
            places += [(each.gather[name].collection, row, row) for row in rows]
        found = (
            key
            for place in places
            for name, key in self._references(place, there)
            if key[0] in collections and name not in place[2].get("remote", {})
        )
        return tuple(dict.fromkeys(found))


def light(each: ObjectMapping, record: dict[str, Any], connection: Connection) -> dict[str, Any]:
    """Return what is known without reading further: enough for the key."""
    made: dict[str, Any] = {"record": record, "config": connection.config, "ref": {}, "remote": {}, "rows": {}}
    if each.period is not None and (found := _period(each.period, record)) is not None:
        made["period"] = found
    return made


def _period(period: Period, record: dict[str, Any]) -> dict[str, str] | None:
    """Return the period in which a record lies; None if it does not say when it was."""
    try:
        first, last = making.period_of(period, record)
    except (ValueError, OverflowError):  # also a day at the end of the calendar, whose period has no first or last one
        return None
    return {"first": first.isoformat(), "last": last.isoformat()}


def _days_around(period: dict[str, str]) -> tuple[str, str]:
    """Return between which days the text of an instant begins that may lie in the period."""
    first, last = (date.fromisoformat(period[end]).toordinal() for end in ("first", "last"))
    days = (max(first - SHIFT_DAYS, date.min.toordinal()), min(last + SHIFT_DAYS, date.max.toordinal()))
    return date.fromordinal(days[0]).isoformat(), date.fromordinal(days[1]).isoformat()


def in_period(period: Period, field: str, row: dict[str, Any], wanted: dict[str, str]) -> bool:
    """Tell whether the row's instant lies in the period."""
    return _period(msgspec.structs.replace(period, field=field), row) == wanted


def _source(row: asyncpg.Record) -> Source:
    fields = {"id": row["record_id"], **store.from_json(row["fields"])}
    return Source(collection=row["collection"], record_id=row["record_id"], alive=row["alive"], fields=fields)
