"""Canaries: one named record of an object there, read again and again to see whether the system has changed.

What a vendor announces is one thing, what it does is another. A canary is read as it was when it was named:
a field that went, another type, an instant that moved by an hour are told as drift, with the field, what it
was and what it is. Where it may be written, it is also told once more what stands here, by the same way as
any other change, and what then comes back is held against what was told: that is the mapping's round trip.

Nothing follows from a finding but an alert. Whoever has looked at it names the canary again, and so takes
what stands there for right.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from upstream import drift, holes, outbox, remotes, store
from upstream.drift import Finding
from upstream.errors import BadConnection, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.connections import Connection
    from upstream.knowledge import Caller
    from upstream.manifest import Manifest
    from upstream.mapping import MappingSet
    from upstream.replies import Reply
    from upstream.store import Database, Session

EVERY_SECONDS: Final = 3_600
EVERY_SECONDS_MIN: Final = 60
EVERY_SECONDS_MAX: Final = 7 * 86_400
REMOTE_ID_CHARACTERS_MAX: Final = 200
KEPT_BYTES_MAX: Final = 256 * 1_024
LEASE_SECONDS: Final = 120.0
"""Longer than one record takes to be read."""
RETRY_SECONDS: Final = 600.0
ECHO_SECONDS: Final = 60.0
"""How long after a canary was told once more it is looked what came back."""
REASON_CHARACTERS_MAX: Final = 300

_SQL: Final = store.statements("canaries")

log = structlog.get_logger()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which record of an object is its canary, whether it may be written, and how often it is read."""

    object: str
    remote_id: str
    writes: bool = False
    every_seconds: int = EVERY_SECONDS


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A canary as people are shown it. `reason`: why it could not be read the last time."""

    object: str
    remote_id: str
    writes: bool
    every_seconds: int
    kept_at: datetime | None
    read_at: datetime | None
    findings: tuple[Finding, ...]
    reason: str


class _Due(msgspec.Struct, frozen=True, kw_only=True):
    object: str
    remote_id: str
    writes: bool
    every_seconds: int
    kept: dict[str, Any] | None
    ways: tuple[str, ...] | None
    asked_at: datetime | None


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the system was told of the record. `is_back`: it has confirmed that since it was asked to."""

    fields: dict[str, Any] | None = None
    closed: bool = False
    collection: str | None = None
    record_id: str | None = None
    is_back: bool | None = None


class _Unread(Exception):
    """The record could not be read now."""


async def put(database: Database, connection: Connection, manifest: Manifest, wanted: Wanted) -> None:
    """Name the canary of an object; what stands there when it is read first is taken for right.

    Raises `BadConnection` with what is wrong.
    """
    _check(manifest, wanted)
    async with database.transaction(connection.tenant_id) as session:
        if wanted.writes or _is_looked_for(manifest, wanted.object):
            await _check_told(session, connection, wanted)
        place = (connection.tenant_id, connection.connection, wanted.object)
        await session.execute(_SQL["put"], *place, wanted.remote_id, wanted.writes, wanted.every_seconds)


async def remove(session: Session, tenant_id: int, connection_id: str, object_name: str) -> bool:
    """Have an object no canary any more; False if it had none."""
    return await session.fetchval(_SQL["remove"], tenant_id, connection_id, object_name) is not None


async def listed(database: Database, tenant_id: int, connection_id: str) -> list[Shown]:
    """Return the canaries of a connection, and what they show."""
    async with database.transaction(tenant_id) as session:
        rows = await session.fetch(_SQL["listed"], tenant_id, connection_id)
    return [msgspec.convert({**dict(row), "findings": store.from_json(row["findings"])}, Shown) for row in rows]


async def look(
    database: Database, connection: Connection, manifest: Manifest, mappings: MappingSet, caller: Caller
) -> int:
    """Read the canaries of a connection that are due; return how many that were."""
    place = (connection.tenant_id, connection.connection)
    async with database.transaction(connection.tenant_id) as session:
        rows = await session.fetch(_SQL["due"], *place, LEASE_SECONDS)
    for row in rows:
        loaded = {name: store.from_json(row[name]) for name in ("kept", "ways")}
        due = msgspec.convert({**dict(row), **loaded}, _Due)
        await _Look(database, connection, manifest, mappings, caller, due).guarded()
    return len(rows)


def operation(manifest: Manifest, object_name: str) -> str:
    """Return the operation that reads one record of an object, or looks for it; empty if there is none."""
    target = manifest.targets.get(object_name)
    if target is not None and target.read:
        return target.read
    fetched = _fetched(manifest).get(object_name, "")
    return fetched or (target.find if target is not None else "")


class _Look:
    """One canary, looked at once."""

    def __init__(
        self,
        database: Database,
        connection: Connection,
        manifest: Manifest,
        mappings: MappingSet,
        caller: Caller,
        due: _Due,
    ) -> None:
        self.database = database
        self.connection = connection
        self.manifest = manifest
        self.mappings = mappings
        self.caller = caller
        self.due = due
        self.place = (connection.tenant_id, connection.connection, due.object, due.remote_id)

    async def guarded(self) -> None:
        """Look at it; whatever goes wrong keeps neither the other canaries nor what else is noticed from their look."""
        try:
            await self.run()
        except (UpstreamError, OSError):
            raise
        except Exception as error:
            log.exception("canary_failed", tenant=self.place[0], connection=self.place[1], object=self.due.object)
            await self._unread(f"a mistake on our side: {type(error).__name__}")

    async def run(self) -> None:
        """Tell it once more if it may be, or read it and say what differs."""
        told = await self._told()
        if self._is_to_be_asked(told):
            await self._ask(told)
            return
        try:
            now = await self._read(told)
        except _Unread as exc:
            await self._unread(str(exc))
            return
        await self._keep(now, told)

    def _is_to_be_asked(self, told: _Told) -> bool:
        may = self.due.writes and self.connection.mode == "live" and not told.closed and told.record_id is not None
        # What it was is kept before anything is written over it.
        return may and self.due.kept is not None and self.due.asked_at is None

    async def _ask(self, told: _Told) -> None:
        """Have it told what stands here by the way that all changes go, which writes it once and confirms it."""
        assert told.collection is not None
        assert told.record_id is not None
        async with self.database.transaction(self.connection.tenant_id) as session:
            key = (told.collection, told.record_id)
            await outbox.mark(session, self.connection.tenant_id, self.connection.connection, [key], correct=True)
            await session.execute(_SQL["asked"], *self.place, ECHO_SECONDS)

    async def _told(self) -> _Told:
        async with self.database.transaction(self.connection.tenant_id) as session:
            row = await session.fetchrow(_SQL["told"], *self.place, self.due.asked_at)
        if row is None:
            return _Told()
        return msgspec.convert({**dict(row), "fields": store.from_json(row["fields"])}, _Told)

    async def _read(self, told: _Told) -> dict[str, Any]:
        """Return the record as it stands there; what is gone is an empty one."""
        name, remote_id = operation(self.manifest, self.due.object), self.due.remote_id
        if not name:
            raise _Unread("the manifest does not say any more how it is read")
        values = {**(told.fields or {}), "id": remote_id}
        reply = await self.caller.call(name, values, remote={"id": remote_id})
        if reply.kind in ("not_found", "gone"):
            return {}
        if reply.kind != "ok":
            raise _Unread(f"{name} was answered with {reply.kind}: {reply.message or reply.code or reply.status}")
        found = self._one_of(name, reply)
        if len(msgspec.json.encode(found)) > KEPT_BYTES_MAX:
            raise _Unread(f"the record has more than {KEPT_BYTES_MAX} bytes; name a smaller one")
        return found

    def _one_of(self, name: str, reply: Reply) -> dict[str, Any]:
        """Return the record of an answer, or the one with its id of those that were found."""
        places = self.manifest.operations[name].answer
        if not places.items:
            return reply.item if isinstance(reply.item, dict) else {}
        wanted = self.due.remote_id
        return next((each for each in reply.items if str(holes.at(each, places.id)) == wanted), {})

    async def _unread(self, reason: str) -> None:
        async with self.database.transaction(self.connection.tenant_id) as session:
            await session.execute(_SQL["unread"], *self.place, reason[:REASON_CHARACTERS_MAX], RETRY_SECONDS)

    async def _keep(self, now: Mapping[str, Any], told: _Told) -> None:
        if self.due.kept is None and not now:
            await self._unread(f"there is no {self.due.object} {self.due.remote_id}")
            return
        findings, ways = self._compared(now, told)
        kept, said = store.as_json(dict(now)), store.as_json(msgspec.to_builtins(findings))
        async with self.database.transaction(self.connection.tenant_id) as session:
            await session.execute(_SQL["read"], *self.place, kept, None if ways is None else store.as_json(ways), said)
        for finding in findings:
            log.warning("canary_drift", connection=self.connection.connection, field=finding.field, kind=finding.change)

    def _compared(self, now: Mapping[str, Any], told: _Told) -> tuple[tuple[Finding, ...], list[str] | None]:
        """Return what differs, and in which fields the system has always had a way of its own to write them."""
        name, identity = self.due.object, self.connection.connection
        if not now:
            gone = Finding(connection=identity, object=name, field="*", change="removed", old=self.due.remote_id)
            return (gone,), None if self.due.ways is None else list(self.due.ways)
        kept = now if self.due.kept is None else self.due.kept
        found = drift.canary(identity, name, kept, now, self.mappings, moving=_moving(self.manifest, name))
        ways = None if self.due.ways is None else list(self.due.ways)
        if not (told.is_back and told.fields):
            return found, ways
        back = self._narrowed(drift.returned(identity, name, told.fields, now, self.mappings))
        if ways is None:
            ways = [each.field for each in back if each.change == "comes_back_otherwise"]
        seen = {each.field for each in found}
        own = set(ways)
        news = [each for each in back if each.field not in seen and not _is_own_way(each, own)]
        return (*found, *news), ways

    def _narrowed(self, found: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """Leave out fields which even a write is not held to."""
        target = self.manifest.targets.get(self.due.object)
        if target is None or not target.compare:
            return found
        # An instant that moved is a mistake in whichever field.
        held = [each for each in found if any(_is_within(each.field, path) for path in target.compare)]
        return tuple(each for each in found if each in held or each.change != "comes_back_otherwise")


def _is_own_way(finding: Finding, ways: set[str]) -> bool:
    return finding.change == "comes_back_otherwise" and finding.field in ways


def _is_within(field: str, path: str) -> bool:
    return field == path or field.startswith(f"{path}.")


def _moving(manifest: Manifest, name: str) -> tuple[str, ...]:
    """Return the fields of a record that change whenever it does."""
    source = manifest.sources.get(name)
    places = manifest.operations[operation(manifest, name)].answer
    return tuple(filter(None, (places.version, *((source.modified, source.version) if source is not None else ()))))


def _check(manifest: Manifest, wanted: Wanted) -> None:
    readable = sorted(name for name in {*manifest.targets, *_fetched(manifest)} if operation(manifest, name))
    if wanted.object not in readable:
        there = ", ".join(readable) or "none"
        raise BadConnection(f"object: one {wanted.object[:80]!r} cannot be read there (there are: {there})")
    if not 0 < len(wanted.remote_id) <= REMOTE_ID_CHARACTERS_MAX or not wanted.remote_id.isprintable():
        raise BadConnection(f"remote_id: must have 1 to {REMOTE_ID_CHARACTERS_MAX} printable characters")
    if not EVERY_SECONDS_MIN <= wanted.every_seconds <= EVERY_SECONDS_MAX:
        raise BadConnection(f"every_seconds: must be from {EVERY_SECONDS_MIN} to {EVERY_SECONDS_MAX}")
    target = manifest.targets.get(wanted.object)
    if wanted.writes and (target is None or not (target.update or target.write == "upsert")):
        raise BadConnection(f"writes: a {wanted.object} that is there cannot be written again; leave it false")


def _fetched(manifest: Manifest) -> Mapping[str, str]:
    return manifest.webhook.fetch if manifest.webhook is not None else {}


def _is_looked_for(manifest: Manifest, name: str) -> bool:
    """Tell whether a record of an object can only be found by what it was told."""
    target = manifest.targets.get(name)
    return target is not None and operation(manifest, name) == target.find != target.read


async def _check_told(session: Session, connection: Connection, wanted: Wanted) -> None:
    place = (connection.tenant_id, connection.connection, wanted.object, wanted.remote_id)
    there = await remotes.by_remote_id(session, *place)
    if there is None or there.fields is None or there.voided or there.locked:
        field = "writes" if wanted.writes else "remote_id"
        raise BadConnection(
            f"{field}: {wanted.object} {wanted.remote_id} is not one that this connection told of and may still "
            "change; name one that it was told of"
        )
