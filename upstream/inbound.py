"""The worker's half of the inbox: events are taken up, fetched where they are thin, and taken in.

Of one record of a vendor's only the oldest event is worked on, so its states are taken in one after the
other, by however many workers. What cannot be taken in now is put off: a record that waits for another
asks for that one itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import structlog

from upstream import connections, holes, inbox, knowledge, store, verify
from upstream.errors import UpstreamError
from upstream.events import Event
from upstream.inbox import Ended
from upstream.knowledge import Later, Reached, There
from upstream.places import Limits, Places

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from upstream.absorbing import Absorber
    from upstream.connections import Connection
    from upstream.deliveries import Delivery
    from upstream.inbox import Item
    from upstream.knowledge import Caller
    from upstream.manifest import Manifest
    from upstream.mapping import IntoMapping, MappingSet
    from upstream.places import Room, Tenants
    from upstream.replies import Reply
    from upstream.store import Database, Session


class System(Protocol):
    """What a connection is spoken to with."""

    @property
    def manifest(self) -> Manifest:
        """What the system is."""
        ...

    @property
    def caller(self) -> Caller:
        """Who carries out its operations."""
        ...


class Systems(Protocol):
    """Where a connection's system and mapping come from; whoever puts the process together knows."""

    async def system(self, connection: Connection) -> System:
        """Return what the connection is spoken to with."""
        ...

    async def mapping(self, connection: Connection) -> tuple[Manifest, MappingSet]:
        """Return the connection's manifest and the version of its mapping that holds."""
        ...


LEASE_SECONDS: Final = 120.0
LIMITS: Final = Limits(total=32, tenant=16, each=8)
LOOK_SECONDS: Final = 2.0
"""How long a worker that has nothing to do waits before it looks again; a notification wakes it sooner."""
WAIT_SECONDS: Final = 2.0
WAIT_SECONDS_MAX: Final = 900.0
AGE_SECONDS_MAX: Final = 72 * 3_600
"""What could not be taken in for this long, while its connection did not rest, fails, for a person to look at."""

_SQL: Final = store.statements("inbox")
_PASSING: Final = frozenset({"throttled", "transient", "unknown", "auth"})

log = structlog.get_logger()


class Inbound:
    """Takes in what waits in the inbox. `worker` is its UUID."""

    def __init__(self, database: Database, worker: str, systems: Systems, absorber: Absorber) -> None:
        self._database = database
        self._worker = worker
        self._systems = systems
        self._absorber = absorber

    async def run(self, tenants: Tenants, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Work until told to stop; `wake` cuts a pause short. A fetch that takes long keeps no other event waiting."""
        await self._places().run(tenants, stop, seconds=LOOK_SECONDS, wake=wake)

    async def turn(self, tenants: Sequence[int]) -> int:
        """Take up what is due, once; return how many events that were."""
        return await self._places().turn(tenants)

    def _places(self) -> Places[Item]:
        return Places("inbound", LIMITS, lease=self._leased, work=self._one, owner=_owner)

    async def _leased(self, tenants: Sequence[int], room: Room) -> list[Item]:
        async with self._database.transaction(*tenants) as session:
            return await inbox.lease(session, tenants, room, worker=self._worker, seconds=LEASE_SECONDS)

    async def take_in(self, delivery: Delivery, record: Any) -> Ended | Later | None:
        """Take in what somebody who is about to write there has found changed; see `upstream.writing`.

        None: the mapping takes in no such record.
        """
        reached = await reach(self._database, self._systems, delivery.tenant_id, delivery.connection)
        into = _into(reached, delivery.object)
        if into is None or not isinstance(record, dict):
            return None
        target = reached.manifest.targets[delivery.object]
        there = There(
            object=delivery.object,
            remote_id=delivery.remote_id,
            version=_version(reached, target.read, record),
            record=record,
            is_ours=True,
            received_at=await self._clock(delivery.tenant_id),
        )

        async def still_ours(_: Session) -> bool:
            return True

        came = await self._absorber.absorb(reached, into, there, still_ours)
        if isinstance(came, Later) and came.missing:
            await self._ask_for(reached, came.missing)
        return came

    async def _one(self, item: Item) -> None:
        """Take one event up; whatever goes wrong with it keeps nothing else from being taken in."""
        came: Ended | Later
        fetched_at: datetime | None = None
        try:
            reached = await reach(self._database, self._systems, item.tenant_id, item.connection)
            came, fetched_at = await self._taken(reached, item)
        except UpstreamError as error:
            came = Later(f"the connection cannot be spoken to, or has no mapping: {error}", seconds=60.0)
        except Exception as error:
            log.exception("inbound_failed", tenant=item.tenant_id, connection=item.connection, object=item.object)
            came = Later(f"a mistake on our side: {type(error).__name__}", seconds=_pause(item))
        if isinstance(came, Later) and item.age_seconds > AGE_SECONDS_MAX:
            came = Ended(state="failed", reason=f"given up after {AGE_SECONDS_MAX // 3_600} hours: {came.reason}")
        await self._note(item, came, fetched_at)

    async def _note(self, item: Item, came: Ended | Later, fetched_at: datetime | None) -> None:
        async with self._database.transaction(item.tenant_id) as session:
            if isinstance(came, Later):
                seconds = max(came.seconds, _pause(item))
                await inbox.put_off(session, item, worker=self._worker, seconds=seconds, reason=came.reason)
            elif await inbox.end(session, item, came, worker=self._worker) and fetched_at is not None:
                await inbox.end_overtaken(session, item, came, fetched_at=fetched_at)
        if isinstance(came, Ended):
            log.info(
                "inbound_taken",
                tenant=item.tenant_id,
                connection=item.connection,
                object=item.object,
                state=came.state,
                verdict=came.verdict,
            )

    async def _taken(self, reached: Reached, item: Item) -> tuple[Ended | Later, datetime | None]:
        into = _into(reached, item.object)
        if into is None:
            return Ended(state="ignored", reason=f"the mapping takes in no {item.object or 'such event'}"), None
        if not item.remote_id:
            return Ended(state="failed", reason="the event names no record"), None
        if not item.is_whole:
            return await self._fetched(reached, into, item)
        there = There(
            object=item.object,
            remote_id=item.remote_id,
            version=item.remote_version,
            record=store.from_json(item.body),
            received_at=item.received_at,
            can_be_asked=_fetch_of(reached, item.object) is not None,
        )
        came = await self._absorb(reached, into, there, item)
        if not isinstance(came, Later) or not came.fetch:
            return came, None
        if _fetch_of(reached, item.object) is None:
            return Ended(state="stale", reason=came.reason), None
        return await self._fetched(reached, into, item)

    async def _fetched(self, reached: Reached, into: IntoMapping, item: Item) -> tuple[Ended | Later, datetime | None]:
        """Ask for the record, and take it in as it is now."""
        operation = _fetch_of(reached, item.object)
        if operation is None:
            return Ended(state="failed", reason=f"the manifest does not say how a {item.object} is fetched"), None
        known = await knowledge.read(
            self._database,
            reached,
            into,
            There(object=item.object, remote_id=item.remote_id, received_at=item.received_at),
        )
        if not item.is_whole and known.is_newer_than(item.remote_version):
            return Ended(state="stale", reason="a newer state of it is known"), None
        begun = await self._clock(item.tenant_id)
        reply = await reached.caller.call(operation, {"id": item.remote_id}, remote={"id": item.remote_id})
        if reply.kind in _PASSING:
            said = reply.message or reply.code or reply.kind
            return Later(f"it could not be fetched: {said}", seconds=reply.retry_after_ms / 1_000), None
        if reply.kind not in ("ok", "not_found", "gone"):
            return Ended(state="failed", reason=f"it could not be fetched: {reply.code} {reply.message}"), None
        there = There(
            object=item.object,
            remote_id=item.remote_id,
            version=reply.version,
            record=_record(reply),
            is_fresh=True,
            received_at=begun,
        )
        return await self._absorb(reached, into, there, item), begun

    async def _absorb(self, reached: Reached, into: IntoMapping, there: There, item: Item) -> Ended | Later:
        async def still_held(session: Session) -> bool:
            return await inbox.holds(session, item, worker=self._worker, seconds=LEASE_SECONDS)

        came = await self._absorber.absorb(reached, into, there, still_held)
        if isinstance(came, Later) and came.missing:
            await self._ask_for(reached, came.missing)
        return came

    async def _ask_for(self, reached: Reached, missing: Sequence[tuple[str, str]]) -> None:
        """Have fetched what a record names and we do not know yet."""
        wanted = [
            Event(
                id=f"reference:{verify.digest(name.encode(), remote_id.encode())}",
                is_named=False,
                object=name,
                remote_id=remote_id,
                body=msgspec.json.encode({"object": name, "id": remote_id}),
            )
            for name, remote_id in missing
            if _fetch_of(reached, name) is not None
        ]
        async with self._database.transaction(reached.connection.tenant_id) as session:
            await inbox.put(session, reached.connection, "reference", wanted)

    async def _clock(self, tenant_id: int) -> datetime:
        """Return the time as the database has it, which is what confirmations are dated by."""
        async with self._database.transaction(tenant_id) as session:
            now: datetime = await session.fetchval(_SQL["clock"])
        return now


async def reach(database: Database, systems: Systems, tenant_id: int, connection_id: str) -> Reached:
    """Return a connection with what it is spoken to by; raises an `UpstreamError` if that cannot be told."""
    connection = await connections.get(database, tenant_id, connection_id)
    system = await systems.system(connection)
    _, mappings = await systems.mapping(connection)
    return Reached(connection=connection, manifest=system.manifest, mappings=mappings, caller=system.caller)


def _owner(item: Item) -> tuple[int, str]:
    return item.tenant_id, item.connection


def _into(reached: Reached, name: str) -> IntoMapping | None:
    return next((each for each in reached.mappings.into if each.object == name), None)


def _fetch_of(reached: Reached, name: str) -> str | None:
    """Return the operation that gets a record: that of the webhooks, or the one that deliveries read with."""
    webhook, target = reached.manifest.webhook, reached.manifest.targets.get(name)
    fetch = webhook.fetch.get(name) if webhook else None
    return fetch or (target.read if target else None) or None


def _record(reply: Reply) -> dict[str, Any] | None:
    return reply.item if reply.kind == "ok" and isinstance(reply.item, dict) else None


def _version(reached: Reached, operation: str, record: Any) -> str:
    path = reached.manifest.operations[operation].answer.version if operation else ""
    found = holes.at(record, path) if path else None
    return "" if found is None else str(found)


def _pause(item: Item) -> float:
    return min(WAIT_SECONDS_MAX, WAIT_SECONDS * float(2 ** min(item.tries - 1, 10)))
