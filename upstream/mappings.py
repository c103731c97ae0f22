"""The versions of a connection's mapping: drafted, validated, compared, published, put back.

What a version says never changes. A delivery carries the version that planned it and is never made anew
by another. Publishing is one step: the version is published, the connection follows it, and what the
connection wants to be told of follows from it. To go back, an older version is published once more,
under a new number.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from upstream import connections, discovery, mapping_file, plan, store, trial
from upstream.compare import Difference
from upstream.errors import MappingRefused, UnknownConnection, UnknownMapping
from upstream.mapping import MappingSet
from upstream.trial import Issue, Sample, Shift

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

    from replication.catalog import Catalog
    from upstream.making import Jsonnet
    from upstream.manifest import Manifest
    from upstream.schema import Schema
    from upstream.store import Database, Session
    from upstream.trial import Way

SAMPLES_PER_OBJECT: Final = 20
SAMPLE_BYTES_MAX: Final = 200_000
PARSED_MAX: Final = 500
LIST_MAX: Final = 200
VERSION_MAX: Final = 2**31 - 1

_SQL: Final = store.statements("mappings")


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version as it stands. `content` is empty in a list; `restores` is the version that it repeats."""

    version: int
    digest: str
    content: str
    state: Literal["draft", "published"]
    note: str
    restores: int | None
    made_by: str
    made_at: datetime
    published_by: str | None
    published_at: datetime | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What validating a version came to: on how many samples it was tried, and what is wrong."""

    version: int
    samples: int
    applied: int
    issues: tuple[Issue, ...]

    @property
    def errors(self) -> tuple[str, ...]:
        """What keeps it from being published, as sentences."""
        return tuple(str(issue) for issue in self.issues if issue.severity == "error")


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What a version does otherwise than another one: its rows, and what comes out of the samples."""

    before: int
    after: int
    rows: tuple[Difference, ...]
    samples: int
    shifts: tuple[Shift, ...]


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a mapping is tried in: the system's manifest, our catalogue, and who runs its Jsonnet."""

    manifest: Manifest
    catalog: Catalog | None = None
    jsonnet: Jsonnet | None = None


class Parsed:
    """The mappings that this process has met, parsed once. A version never changes, so none grows old."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, str, int], MappingSet] = OrderedDict()

    async def get(self, database: Database, tenant_id: int, connection_id: str, version: int) -> MappingSet:
        """Return a version, or raise `UnknownMapping`."""
        place = (tenant_id, connection_id, version)
        if place not in self._held:
            async with database.transaction(tenant_id) as session:
                content = await session.fetchval(_SQL["content"], *place)
            if content is None:
                raise _unknown(connection_id, version)
            self._held[place] = mapping_file.parse(content, f"version {version}")
        self._held.move_to_end(place)
        while len(self._held) > PARSED_MAX:
            self._held.popitem(last=False)
        return self._held[place]


async def save(
    database: Database, tenant_id: int, connection_id: str, content: str, *, by: str, note: str = ""
) -> Version:
    """Keep a draft as the next version; raises `BadMapping` with all that is wrong with the text.

    A text that the newest version has already makes no new one.
    """
    mapping_file.parse(content)
    async with database.transaction(tenant_id) as session:
        await _lock(session, tenant_id, connection_id)
        newest = await session.fetchrow(_SQL["newest"], tenant_id, connection_id)
        digest = _digest(content)
        if newest is not None and newest["digest"] == digest:
            return await _get(session, tenant_id, connection_id, newest["version"])
        version: int = await session.fetchval(_SQL["add"], tenant_id, connection_id, digest, content, note, None, by)
        return await _get(session, tenant_id, connection_id, version)


async def get(database: Database, tenant_id: int, connection_id: str, version: int) -> Version:
    """Return a version, or raise `UnknownMapping`."""
    async with database.transaction(tenant_id) as session:
        return await _get(session, tenant_id, connection_id, version)


async def listed(
    database: Database, tenant_id: int, connection_id: str, *, below: int = VERSION_MAX, limit: int = 50
) -> list[Version]:
    """Return the versions of a connection, the newest first."""
    async with database.transaction(tenant_id) as session:
        rows = await session.fetch(_SQL["listed"], tenant_id, connection_id, below, min(limit, LIST_MAX))
    return [msgspec.convert(dict(row), Version) for row in rows]


async def validate(
    database: Database, tenant_id: int, connection_id: str, version: int, around: Surroundings
) -> Report:
    """Hold a version against our fields, the fields found out there, and what was captured."""
    wanted, schemas, samples = await _loaded(database, tenant_id, connection_id, version)
    return await asyncio.to_thread(_report, version, wanted, schemas, samples, around)


async def diff(
    database: Database, tenant_id: int, connection_id: str, version: int, around: Surroundings, *, before: int
) -> Comparison:
    """Say what a version does otherwise than the version `before`, on all samples; 0: than having none."""
    after_set, _, samples = await _loaded(database, tenant_id, connection_id, version)
    before_set = MappingSet()
    if before:
        before_set, _, _ = await _loaded(database, tenant_id, connection_id, before)

    def compared() -> tuple[Shift, ...]:
        sides = [trial.tried(each, samples, around.manifest, around.jsonnet) for each in (before_set, after_set)]
        return trial.shifts(*sides)

    return Comparison(
        before=before,
        after=version,
        rows=trial.rows_changed(before_set, after_set),
        samples=len(samples),
        shifts=await asyncio.to_thread(compared),
    )


async def publish(
    database: Database, tenant_id: int, connection_id: str, version: int, around: Surroundings, *, by: str
) -> Version:
    """Let a version hold, if nothing is wrong with it; raises `MappingRefused` with what is.

    Deliveries under way keep the version that planned them. Publishing what holds already changes nothing.
    """
    report = await validate(database, tenant_id, connection_id, version, around)
    if report.errors:
        raise MappingRefused(report.errors)
    return await _put_in_force(database, tenant_id, connection_id, version, by=by)


async def roll_back(
    database: Database, tenant_id: int, connection_id: str, version: int, *, by: str, note: str = ""
) -> Version:
    """Let an older version hold again, as a new one. It held before, so it is not validated anew."""
    async with database.transaction(tenant_id) as session:
        await _lock(session, tenant_id, connection_id)
        older = await _get(session, tenant_id, connection_id, version)
        if older.state != "published":
            raise MappingRefused([f"version {version} never held; publish it instead"])
        place = (tenant_id, connection_id, older.digest, older.content, note, version, by)
        again: int = await session.fetchval(_SQL["add"], *place)
    return await _put_in_force(database, tenant_id, connection_id, again, by=by)


async def take_sample(session: Session, tenant_id: int, connection_id: str, sample: Sample) -> None:
    """Keep what an object was made of, in place of what was kept of it before; the oldest of an object go."""
    context = store.as_json(sample.context)
    if len(context.encode()) > SAMPLE_BYTES_MAX:
        return
    place = (tenant_id, connection_id, sample.way, sample.object)
    await session.execute(_SQL["keep_sample"], *place, sample.key, sample.collection, context)
    await session.execute(_SQL["trim_samples"], *place, SAMPLES_PER_OBJECT)


async def samples(
    database: Database, tenant_id: int, connection_id: str, *, way: Way | None = None, object_name: str = ""
) -> list[Sample]:
    """Return what was captured, all of it or that of one way or object, the newest of each object first."""
    async with database.transaction(tenant_id) as session:
        found = _samples(await session.fetch(_SQL["samples"], tenant_id, connection_id))
    return [each for each in found if way in (None, each.way) and object_name in ("", each.object)]


def _report(
    version: int,
    wanted: MappingSet,
    schemas: Mapping[str, Schema],
    captured: list[Sample],
    around: Surroundings,
) -> Report:
    known = trial.Known(manifest=around.manifest, schemas=schemas, catalog=around.catalog)
    trials = trial.tried(wanted, captured, around.manifest, around.jsonnet)
    return Report(
        version=version,
        samples=len(captured),
        applied=sum(each.applies for each in trials),
        issues=(*trial.issues(wanted, known), *trial.issues_of(trials, schemas)),
    )


async def _loaded(
    database: Database, tenant_id: int, connection_id: str, version: int
) -> tuple[MappingSet, dict[str, Schema], list[Sample]]:
    schemas = await discovery.known(database, tenant_id, connection_id)
    async with database.transaction(tenant_id) as session:
        found = await _get(session, tenant_id, connection_id, version)
        rows = await session.fetch(_SQL["samples"], tenant_id, connection_id)
    return mapping_file.parse(found.content, f"version {version}"), schemas, _samples(rows)


async def _put_in_force(database: Database, tenant_id: int, connection_id: str, version: int, *, by: str) -> Version:
    found = await get(database, tenant_id, connection_id, version)
    interests = plan.interests(mapping_file.parse(found.content, f"version {version}"))
    # Before it holds, so that whatever is planned by it finds all that it looks up.
    filled = 0 if found.state == "published" else await connections.fill_lookups(database, tenant_id, interests)
    async with database.transaction(tenant_id) as session:
        holding = await _lock(session, tenant_id, connection_id)
        found = await _get(session, tenant_id, connection_id, version)
        if found.state == "published" and holding == version:
            return found
        if found.state == "published":
            raise MappingRefused([f"version {version} held before; roll back to it, which makes a new version"])
        await session.execute(_SQL["publish"], tenant_id, connection_id, version, by)
        await connections.put_in_force(
            session, tenant_id, connection_id, mapping_version=version, interests=interests, filled=filled
        )
        return await _get(session, tenant_id, connection_id, version)


async def _lock(session: Session, tenant_id: int, connection_id: str) -> int | None:
    """Let versions be made and put in force one after the other; return which one holds."""
    row = await session.fetchrow(_SQL["lock"], tenant_id, connection_id)
    if row is None:
        raise UnknownConnection(f"tenant {tenant_id} has no connection {connection_id}")
    holding: int | None = row["mapping_version"]
    return holding


async def _get(session: Session, tenant_id: int, connection_id: str, version: int) -> Version:
    row = await session.fetchrow(_SQL["get"], tenant_id, connection_id, version)
    if row is None:
        raise _unknown(connection_id, version)
    return msgspec.convert(dict(row), Version)


def _samples(rows: list[asyncpg.Record]) -> list[Sample]:
    found: list[dict[str, Any]] = [{**dict(row), "context": store.from_json(row["context"])} for row in rows]
    return [msgspec.convert(each, Sample) for each in found]


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _unknown(connection_id: str, version: int) -> UnknownMapping:
    return UnknownMapping(f"the connection {connection_id} has no version {version} of its mapping")
