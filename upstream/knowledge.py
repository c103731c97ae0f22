"""What is known of a vendor's record before it is taken in, and whether what came is older than that.

By three roads a record there is known to be one of ours: by what was taken in of it before, by what we
sent and had confirmed, and by the mark that it bears where we have just made it and do not know its id yet.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

import msgspec

from replication.mutation import Mutation
from upstream import holes, remotes, sighting, store
from upstream.inbox import Ended
from upstream.sighting import Confirmed, Sighting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from upstream.connections import Connection
    from upstream.manifest import Manifest
    from upstream.mapping import IntoMapping, MappingSet
    from upstream.replies import Reply
    from upstream.store import Database, Session

SHORT_SECONDS: Final = 5.0
LOCK: Final = 1718839730
"""First half of the advisory locks under which records of ours are tied to those that say the same."""

_SQL: Final = store.statements("inbox")


class Caller(Protocol):
    """Whoever carries out the operations of a manifest; `upstream.connector.Connector` does."""

    async def call(
        self, operation: str, values: Mapping[str, Any], *, remote: Mapping[str, Any] | None = None
    ) -> Reply:
        """Carry out an operation, and return what came of it; never raises for what a vendor does."""
        ...

    def pages(self, operation: str, values: Mapping[str, Any]) -> AsyncIterator[Reply]:
        """Yield the pages of a list; one that is not `ok` is the last."""
        ...


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """A connection with what it is spoken to by: its system, its published mapping, whoever calls it."""

    connection: Connection
    manifest: Manifest
    mappings: MappingSet
    caller: Caller


class There(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the vendor's: object, id, version, and the record itself; None: it is gone there.

    `received_at` is by the database's clock. `is_fresh`: it was asked for then, so it is no older than
    what was known then. `is_ours`: whoever writes to this record at the moment read it, and waits.
    `can_be_asked`: the system lets us ask for one record, so what is known may come from there.
    """

    object: str
    remote_id: str
    received_at: datetime
    version: str = ""
    record: dict[str, Any] | None = None
    is_fresh: bool = False
    is_ours: bool = False
    can_be_asked: bool = True


class Later(msgspec.Struct, frozen=True):
    """It cannot be taken in now; why, and after how long it is looked at again. `fetch`: it has to be asked for."""

    reason: str
    seconds: float = SHORT_SECONDS
    fetch: bool = False
    missing: tuple[tuple[str, str], ...] = ()


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """An edit that is being handed over, and what is known of the vendor's record once it was judged."""

    key: str
    mutation: Mutation
    now: dict[str, Any]
    version: str
    confirmed: Confirmed


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a record of the vendor's before it is taken in. Without `record_id`: nothing.

    `is_match`: it says the same as this record of ours, and nothing has tied the two yet.
    """

    collection: str = ""
    record_id: str = ""
    key: str = ""
    sighting: Sighting = Sighting()
    seen_at: datetime | None = None
    pending: Pending | None = None
    confirmed: Confirmed = Confirmed()
    confirmed_at: datetime | None = None
    is_match: bool = False

    def is_newer_than(self, version: str) -> bool:
        """Tell whether a newer state than this is known for sure."""
        each = (self.sighting.version, self.confirmed.version)
        return "older" in [sighting.order(version, known) for known in each if known]


async def read(database: Database, reached: Reached, into: IntoMapping, there: There) -> Known:
    """Return what is known of a record: by what was taken in, by what we sent, by the mark that it bears."""
    place = (reached.connection.tenant_id, reached.connection.connection, there.object)
    async with database.transaction(place[0]) as session:
        seen = await session.fetchrow(_SQL["sighting"], *place, there.remote_id)
        sent = await session.fetchrow(_SQL["confirmed"], *place, there.remote_id)
        marker = _marker(reached.manifest, there)
        marked = None
        if seen is None and sent is None and marker:
            marked = await session.fetchrow(_SQL["marked"], *place, marker)
        if marked is not None:
            await remotes.link(session, *place[:2], (there.object, marked["key"]), there.remote_id)
    return _known(into, seen, sent, marked)


def age(there: There, known: Known) -> Ended | Later | None:
    """Tell whether what was said is older than what is known, or whether that cannot be told."""
    if not known.record_id or there.is_ours:
        return None
    if there.is_fresh:
        # What was read before something was confirmed there may show what stood there before that.
        overtaken = known.confirmed_at is not None and there.received_at < known.confirmed_at
        return Later("something was confirmed there meanwhile", fetch=True) if overtaken else None
    place = {"collection": known.collection, "record_id": known.record_id}
    if known.is_newer_than(there.version):
        return Ended(state="stale", reason="a newer state of it is known", **place)
    orders = [sighting.order(there.version, each) for each in (known.sighting.version, known.confirmed.version) if each]
    was_confirmed = known.confirmed_at is not None and there.received_at < known.confirmed_at
    # Of one record the events come one after the other: only what was asked for meanwhile can be newer than this.
    was_seen = there.can_be_asked and known.seen_at is not None and there.received_at < known.seen_at
    if ("unknown" in orders and (was_confirmed or was_seen)) or (not orders and was_confirmed):
        return Later("it cannot be told whether this is older than what is known", fetch=True)
    return None


async def keep(
    session: Session, reached: Reached, there: There, known: Known, after: Sighting, pending: Pending | None
) -> datetime | None:
    """Store what is known of a record now, if nobody else has meanwhile; return when that was."""
    if known.is_match and await _is_tied(session, reached, there, known):
        return None
    kept: datetime | None = await session.fetchval(
        _SQL["put_sighting"],
        reached.connection.tenant_id,
        reached.connection.connection,
        there.object,
        there.remote_id,
        known.collection,
        known.record_id,
        after.version,
        store.as_json(after.fields),
        store.as_json(after.base),
        after.confirmed_seq,
        None if pending is None else msgspec.json.encode(pending).decode(),
        known.seen_at,
    )
    return kept


async def _is_tied(session: Session, reached: Reached, there: There, known: Known) -> bool:
    """Tell whether our record was tied to another one there since it was looked up; until we end nobody ties it."""
    place = (reached.connection.tenant_id, reached.connection.connection, there.object)
    await session.execute(_SQL["lock_record"], LOCK, ":".join((place[1], place[2], known.record_id)))
    tied: bool = await session.fetchval(_SQL["tied"], *place, known.collection, known.record_id)
    return tied


async def link(session: Session, reached: Reached, there: There, known: Known) -> None:
    """Note which id the record has there, and which version of it has been taken in."""
    connection = reached.connection
    place = (there.object, known.key or known.record_id)
    await remotes.link(session, connection.tenant_id, connection.connection, place, there.remote_id, there.version)


def _known(into: IntoMapping, seen: Any, sent: Any, marked: Any) -> Known:
    confirmed = Confirmed()
    if sent is not None:
        confirmed = Confirmed(
            fields=store.from_json(sent["fields"]) or {},
            seq=sent["confirmed_seq"],
            version=sent["remote_version"] or "" if sent["confirmed_at"] else "",
        )
    key = sent["key"] if sent is not None else marked["key"] if marked is not None else ""
    record_id = marked["record_id"] if marked is not None else key if _is_uuid(key) else ""
    told = Known(
        collection=into.collection if record_id else "",
        record_id=record_id,
        key=key,
        confirmed=confirmed,
        confirmed_at=sent["confirmed_at"] if sent is not None else None,
    )
    if seen is None:
        return told
    return msgspec.structs.replace(
        told,
        collection=seen["collection"],
        record_id=seen["record_id"],
        key=key or seen["record_id"],
        sighting=Sighting(
            version=seen["version"],
            fields=store.from_json(seen["fields"]),
            base=store.from_json(seen["base"]),
            confirmed_seq=seen["confirmed_seq"],
        ),
        seen_at=seen["seen_at"],
        pending=msgspec.json.decode(seen["pending"], type=Pending) if seen["pending"] else None,
    )


def _marker(manifest: Manifest, there: There) -> str:
    target = manifest.targets.get(there.object)
    found = holes.at(there.record, target.marker) if target is not None and target.marker else None
    return str(found) if found is not None else ""


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
