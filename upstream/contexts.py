"""What objects are made of, read in one snapshot: a record, those it names, those that belong beside it.

Reads nothing that a mapping does not name.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication import catalog_file
from upstream import holes, making, plan, remotes, store

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from replication.catalog import Catalog
    from upstream.connections import Connection
    from upstream.mapping import Gather, MappingSet, ObjectMapping, Period
    from upstream.store import Session

_SQL: Final = store.statements("planning")

DEPTH_MAX: Final = 2
"""How far references are followed: the customer of the work order of a time entry."""
FORMER_STATES_MAX: Final = 100
CATALOGUES_MAX: Final = 256
PEOPLE: Final = "technicians"
"""The collection that a field of the kind `person` points into."""

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

    async def former(self, key: Key, from_seq: int) -> list[dict[str, Any]]:
        """Return the states of a record that a connection may have been told of, newest first."""
        found = await self.session.fetch(_SQL["former"], self.connection.tenant_id, *key, from_seq, FORMER_STATES_MAX)
        return [{"id": key[1], **store.from_json(row["state"])} for row in found]

    async def context(self, each: ObjectMapping, record: dict[str, Any]) -> dict[str, Any]:
        """Return all that the mapping may name when it is made from this record."""
        made = light(each, record, self.connection)
        refs, there = plan.named(each)
        await self._follow([(each.collection, record, made)], refs, there, DEPTH_MAX)
        made["rows"] = {}
        for name, gather in each.gather.items():
            rows = await self._gather(each, gather, made)
            await self._follow([(gather.collection, row, row) for row in rows], refs, there, DEPTH_MAX)
            made["rows"][name] = [row for row in rows if making.holds(gather.where, {"item": row})]
        return made

    async def _gather(self, each: ObjectMapping, gather: Gather, context: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the records beside this one, in order of their ids."""
        wanted = {field: holes.at(context, path) for field, path in gather.match.items()}
        absent = [field for field, value in wanted.items() if value is None]
        wanted = {field: value for field, value in wanted.items() if value is not None}
        if not wanted:
            return []
        field, value = next(iter(wanted.items()))
        found = await self.session.fetch(
            _SQL["gathered"],
            self.connection.tenant_id,
            gather.collection,
            field,
            str(value),
            store.as_json(wanted),
            making.ITEMS_MAX + 1,
        )
        rows = [_source(row).fields for row in found]
        rows = [row for row in rows if all(row.get(name) is None for name in absent)]
        if gather.period_field and each.period is not None:
            rows = [row for row in rows if in_period(each.period, gather.period_field, row, context.get("period"))]
        return rows

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

    def missing(self, each: ObjectMapping, context: dict[str, Any], requires: tuple[str, ...]) -> Key | None:
        """Return a record that has to be there before, and is not: `requires` are objects of that system."""
        _, there = plan.named(each)
        collections = {other.collection for other in self.mappings.out if other.object in requires}
        places = [(each.collection, context["record"], context)]
        for name, rows in context["rows"].items():
            places += [(each.gather[name].collection, row, row) for row in rows]
        for place in places:
            for name, key in self._references(place, there):
                if key[0] in collections and name not in place[2].get("remote", {}):
                    return key
        return None


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
    except ValueError:
        return None
    return {"first": first.isoformat(), "last": last.isoformat()}


def in_period(period: Period, field: str, row: dict[str, Any], wanted: dict[str, str] | None) -> bool:
    """Tell whether the row's instant lies in the period."""
    return wanted is not None and _period(msgspec.structs.replace(period, field=field), row) == wanted


def _source(row: asyncpg.Record) -> Source:
    fields = {"id": row["record_id"], **store.from_json(row["fields"])}
    return Source(collection=row["collection"], record_id=row["record_id"], alive=row["alive"], fields=fields)
