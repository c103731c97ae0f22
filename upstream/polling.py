"""Polling: what changed at a vendor is asked for, and put into the inbox beside what webhooks bring.

A page is stored before the next one is asked for; where polling stands moves with the last one. While
webhooks bring changes it looks rarely, to notice when they stop. If it finds what none of them had
brought, it takes over: it looks often, and says so.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import msgspec
import structlog

from upstream import events, holes, inbound, inbox, pace, places, store, time_formats, times
from upstream.errors import UpstreamError
from upstream.events import Event
from upstream.manifest import TimeRule
from upstream.pace import Found, Standing
from upstream.places import Limits, Places

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from upstream.inbound import Systems
    from upstream.knowledge import Reached
    from upstream.manifest import Incremental
    from upstream.places import Room, Tenants
    from upstream.replies import Reply
    from upstream.store import Database, Session

LEASE_SECONDS: Final = 300.0
"""Longer than any page may take; it begins anew with each page."""
LIMITS: Final = Limits(total=24, tenant=8, each=2)
"""A list may take hours: whoever has many such lists leaves places for others."""
LOOK_SECONDS: Final = 5.0
BEGIN_SECONDS: Final = 60.0
"""How often it is looked which objects are polled at all."""

_SQL: Final = store.statements("polls")
_UTC: Final = ZoneInfo("UTC")

log = structlog.get_logger()


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """An object that is to be polled, leased."""

    tenant_id: int
    connection: str
    object: str
    since: datetime | None
    due_at: datetime
    polled_at: datetime | None
    hooked_at: datetime | None
    misses: int
    is_quiet: bool
    failures: int
    asked_at: datetime
    """When it was leased: nothing that is asked for is older."""

    @property
    def standing(self) -> Standing:
        """Where polling stands."""
        since = None if self.since is None else self.since.timestamp()
        return Standing(since=since, misses=self.misses, is_quiet=self.is_quiet)

    @property
    def was_hooked(self) -> bool:
        """Whether a webhook has come since the last poll."""
        return self.hooked_at is not None and (self.polled_at is None or self.hooked_at > self.polled_at)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Where polling of an object stands, for people."""

    object: str
    since: datetime | None
    due_at: datetime
    polled_at: datetime | None
    brought_at: datetime | None
    hooked_at: datetime | None
    is_quiet: bool
    failures: int
    reason: str


class _Failed(Exception):
    """A page could not be read; the position stays."""

    def __init__(self, reply: Reply) -> None:
        self.wait_ms = reply.retry_after_ms
        super().__init__(f"{reply.kind}: {reply.code} {reply.message}".strip())


class _LeaseLost(Exception):
    """Another worker polls by now."""


class Polling:
    """Polls what is due. `worker` is its UUID."""

    def __init__(self, database: Database, worker: str, systems: Systems) -> None:
        self._database = database
        self._worker = worker
        self._systems = systems

    async def run(self, tenants: Tenants, stop: asyncio.Event) -> None:
        """Work until told to stop. A list that takes long keeps no other waiting."""

        async def begin() -> None:
            await self.begin(await tenants())

        await asyncio.gather(
            places.again("polling", begin, stop, seconds=BEGIN_SECONDS),
            self._places().run(tenants, stop, seconds=LOOK_SECONDS),
        )

    async def begin(self, tenants: Sequence[int]) -> None:
        """See that every object that a mapping takes in, and a manifest can ask for, is polled."""
        if not tenants:
            return
        async with self._database.transaction(*tenants) as session:
            found = await session.fetch(_SQL["unpolled"], tenants)
        for row in found:
            try:
                reached = await inbound.reach(self._database, self._systems, row["tenant_id"], row["connection"])
            except UpstreamError as error:
                log.warning("polling_not_begun", connection=row["connection"], error=type(error).__name__)
                continue
            except OSError:
                raise
            except Exception:
                log.exception("polling_not_begun", tenant=row["tenant_id"], connection=row["connection"])
                continue
            taken = {each.object for each in reached.mappings.into} & reached.manifest.sources.keys()
            async with self._database.transaction(row["tenant_id"]) as session:
                await note(session, row["tenant_id"], row["connection"], taken)

    async def turn(self, tenants: Sequence[int]) -> int:
        """Poll what is due, once; return how many objects that were."""
        return await self._places().turn(tenants)

    def _places(self) -> Places[Due]:
        return Places("polling", LIMITS, lease=self._leased, work=self._one, owner=_owner)

    async def _leased(self, tenants: Sequence[int], room: Room) -> list[Due]:
        async with self._database.transaction(*tenants) as session:
            rows = await session.fetch(_SQL["lease"], *room.asked(tenants), self._worker, LEASE_SECONDS)
        return [msgspec.convert(dict(row), Due) for row in rows]

    async def _one(self, due: Due) -> None:
        wait_ms, reason = 0, ""
        try:
            reached = await inbound.reach(self._database, self._systems, due.tenant_id, due.connection)
            await self._poll(reached, due)
        except _LeaseLost:
            return
        except _Failed as failed:
            wait_ms, reason = failed.wait_ms, str(failed)
        except UpstreamError as error:
            reason = str(error)
        except Exception as error:
            log.exception("polling_failed", tenant=due.tenant_id, connection=due.connection, object=due.object)
            reason = f"a mistake on our side: {type(error).__name__}"
        if reason:
            seconds = pace.pause_after_failure(due.failures, wait_ms)
            async with self._database.transaction(due.tenant_id) as session:
                await session.execute(_SQL["failed"], *_place(due), self._worker, seconds, reason)

    async def _poll(self, reached: Reached, due: Due) -> None:
        """Read all pages, store each, then move on."""
        source = reached.manifest.sources[due.object]
        since = pace.begins(due.standing, source)
        is_news, times_found = False, []
        asked, asked_at = {source.since: _said(since, source)}, due.asked_at
        async for reply in reached.caller.pages(source.operation, asked):
            if reply.kind != "ok":
                raise _Failed(reply)
            found = [_event(due.object, source, item) for item in reply.items]
            times_found += [_moment(reached, due.object, source, item) for item in reply.items]
            has_news, asked_at = await self._stored(reached, due, found, asked_at)
            is_news |= has_news
        newest = pace.newest(times_found, due.asked_at.timestamp())
        await self._move_on(reached, due, Found(newest=newest, is_news=is_news))

    async def _stored(
        self, reached: Reached, due: Due, found: Sequence[Event], asked_at: datetime
    ) -> tuple[bool, datetime]:
        """Store a page that was asked for then; return whether any of it was news, and when that is settled.

        It shows what stood there when it was asked for: what we had confirmed since is newer.
        """
        states = store.columns([(event.id, event.remote_id, event.version) for event in found], 3)
        async with self._database.transaction(due.tenant_id) as session:
            now = await session.fetchval(_SQL["holds"], *_place(due), self._worker, LEASE_SECONDS)
            if now is None:
                raise _LeaseLost
            rows = await session.fetch(_SQL["known"], *_place(due), *states)
            known = {row["event"] for row in rows}
            await inbox.put(session, reached.connection, "poll", found, asked_at=asked_at)
        return any(event.id not in known for event in found), now

    async def _move_on(self, reached: Reached, due: Due, found: Found) -> None:
        source = reached.manifest.sources[due.object]
        async with self._database.transaction(due.tenant_id) as session:
            has_hooks = reached.manifest.webhook is not None and await session.fetchval(
                _SQL["has_hooks"], due.tenant_id, due.connection
            )
            now = pace.after(due.standing, found, has_hooks=has_hooks, was_hooked=due.was_hooked)
            seconds = pace.pause(now, source, has_hooks=has_hooks)
            since = None if now.since is None else datetime.fromtimestamp(now.since, UTC)
            news = found.is_news and due.since is not None
            leased = (due.since, due.due_at)
            told = (since, seconds, news, now.misses, due.hooked_at, now.is_quiet, *leased)
            if await session.fetchval(_SQL["done"], *_place(due), self._worker, *told) is None:
                raise _LeaseLost
        if now.is_quiet and not due.is_quiet:
            log.warning("webhooks_quiet", tenant=due.tenant_id, connection=due.connection, object=due.object)
        elif due.is_quiet and not now.is_quiet:
            log.info("webhooks_back", tenant=due.tenant_id, connection=due.connection, object=due.object)


async def listed(database: Database, tenant_id: int, connection_id: str) -> list[Shown]:
    """Return where polling of a connection stands."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["listed"], tenant_id, connection_id)
    return [msgspec.convert(dict(row), Shown) for row in found]


async def note(session: Session, tenant_id: int, connection_id: str, names: Collection[str]) -> None:
    """Note which objects are polled; one that is new is due at once, one that is not among them is polled no more."""
    await session.execute(_SQL["begin"], tenant_id, connection_id, sorted(names))


async def now(
    session: Session, tenant_id: int, connection_id: str, name: str | None, since: datetime | None = None
) -> int:
    """Have an object, or all, polled at the next look, from an instant on if one is given; return how many."""
    return len(await session.fetch(_SQL["now"], tenant_id, connection_id, name, since))


def _owner(due: Due) -> tuple[int, str]:
    return due.tenant_id, due.connection


def _place(due: Due) -> tuple[int, str, str]:
    return due.tenant_id, due.connection, due.object


def _said(since: float, source: Incremental) -> Any:
    """Return the time as the vendor is asked for it."""
    moment = time_formats.written_here(datetime.fromtimestamp(since, UTC))
    return times.to_wire(moment, TimeRule(kind="instant", format=source.format), _UTC)


def _event(name: str, source: Incremental, item: Any) -> Event:
    """Return the event that a record in this state is."""
    remote_id = _word(item, source.id)
    version = _word(item, source.version or source.modified)
    record = msgspec.json.encode(item)
    return Event(
        id=events.record_key(name, remote_id, version, record),
        is_named=True,
        object=name,
        remote_id=remote_id,
        version=version,
        body=record,
        record=record,
    )


def _moment(reached: Reached, name: str, source: Incremental, item: Any) -> float | None:
    """Return when the vendor says that a record changed, in seconds since 1970; None if it cannot be read."""
    found = holes.at(item, source.modified) if source.modified else None
    if found is None:
        return None
    rules = times.rules_of(reached.manifest.time, name)
    rule = rules.get(source.modified, TimeRule(kind="instant", format=source.format))
    try:
        return datetime.fromisoformat(str(times.from_wire(found, rule, _UTC))).timestamp()
    except time_formats.BadTime:
        return None


def _word(item: Any, path: str) -> str:
    found = holes.at(item, path) if path else None
    return "" if found is None else str(found)[: events.KEY_CHARACTERS_MAX]
