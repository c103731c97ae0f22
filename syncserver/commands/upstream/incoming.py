"""What people do about what vendors say: the secrets that verify it, what came of it, replays, polls, alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from syncserver.commands.errors import BadFilter, UnknownConnection
from syncserver.commands.upstream.connections import ID, found
from syncserver.commands.upstream.told import told
from syncserver.store import audit
from upstream import alerts, connections, inbox, polling
from upstream.inbox import Span

if TYPE_CHECKING:
    from datetime import datetime

    from syncserver.commands.access import Principal
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.audit import Action
    from syncserver.store.db import Connection as Session
    from syncserver.store.db import Database
    from upstream.inbox import Door

SECRET_CHARACTERS_MAX: Final = 4_096
OVERLAP_SECONDS_MAX: Final = 30 * 86_400


Event: TypeAlias = inbox.Shown
HookSecret: TypeAlias = inbox.HookSecret
Poll: TypeAlias = polling.Shown
Alert: TypeAlias = alerts.Alert


class NewSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret by which a vendor's calls are verified, and for how long the former ones go on."""

    secret: str
    overlap_seconds: int = inbox.OVERLAP_SECONDS


class Replaying(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events are looked at again: one, or those received in a stretch of time, in some states."""

    event: str | None = None
    since: str = ""
    until: str = ""
    states: tuple[str, ...] = ()


class Asking(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is polled at once: an object or all, on from where polling stands or from an instant."""

    object: str | None = None
    since: str = ""


class Inboxes:
    """The inboxes of a tenant's connections."""

    def __init__(self, database: Database, door: Door, systems: Systems) -> None:
        self._database = database
        self._door = door
        self._systems = systems

    async def secrets(self, who: Principal, connection_id: str) -> list[HookSecret]:
        """Return which secrets verify, and which wait for somebody to vouch for them."""
        await self._check(who, connection_id)
        return await self._door.secrets(who.tenant_id, connection_id)

    async def put_secret(self, who: Principal, connection_id: str, new: NewSecret) -> str:
        """Let a secret verify calls; return its id."""
        await self._check(who, connection_id)
        if not 0 < len(new.secret) <= SECRET_CHARACTERS_MAX or "\0" in new.secret:
            raise BadFilter(f"secret: 1 to {SECRET_CHARACTERS_MAX} characters")
        if not 0 <= new.overlap_seconds <= OVERLAP_SECONDS_MAX:
            raise BadFilter(f"overlap_seconds: 0 to {OVERLAP_SECONDS_MAX}, in which the former secrets verify too")
        async with self._database.transaction(who.tenant_id) as session:
            if reason := await self._door.unfit(session, who.tenant_id, connection_id, new.secret):
                raise BadFilter(f"secret: {reason}")
            secret_id = await self._door.put_secret(
                session, who.tenant_id, connection_id, new.secret, overlap_seconds=new.overlap_seconds
            )
            await _note(session, who, "hook_secret_put", connection_id)
        return secret_id

    async def vouch(self, who: Principal, connection_id: str, secret_id: str) -> None:
        """Let a secret that came by a vendor's handshake verify calls."""
        await self._check(who, connection_id)
        if not ID.fullmatch(secret_id):
            raise BadFilter("there is no such secret")
        async with self._database.transaction(who.tenant_id) as session:
            if not await self._door.vouch(session, who.tenant_id, connection_id, secret_id):
                raise BadFilter("there is no such secret, or it was vouched for before")
            await _note(session, who, "hook_secret_vouched", connection_id)

    async def candidates(self, who: Principal, connection_id: str) -> list[tuple[str, str, Any]]:
        """Return the secrets that came by handshake, to compare them with what the vendor shows."""
        await self._check(who, connection_id)
        with told():
            return await self._door.candidates(who.tenant_id, connection_id)

    async def events(
        self, who: Principal, connection_id: str, *, state: str | None, before: str | None, limit: int
    ) -> list[Event]:
        """Return what came, newest first."""
        await self._check(who, connection_id)
        if state is not None and state not in inbox.STATES:
            raise BadFilter(f"state is {state[:40]!r}; allowed: {', '.join(inbox.STATES)}")
        if before is not None and not ID.fullmatch(before):
            raise BadFilter("the cursor is not one that a list has given")
        return await inbox.listed(
            self._database, who.tenant_id, connection_id, state=state, before=before or inbox.LAST, limit=limit
        )

    async def body(self, who: Principal, connection_id: str, event: str) -> Any:
        """Return what an event said."""
        await self._check(who, connection_id)
        if not ID.fullmatch(event):
            raise BadFilter("there is no such event")
        return await inbox.body(self._database, who.tenant_id, connection_id, event)

    async def replay(
        self, who: Principal, connection_id: str, wanted: Replaying, since: datetime | None, until: datetime | None
    ) -> int:
        """Have events looked at again; return how many."""
        await self._check(who, connection_id)
        strange = sorted(set(wanted.states) - set(inbox.STATES))
        if strange or (wanted.event is not None and not ID.fullmatch(wanted.event)):
            raise BadFilter(f"name an event by its id, or states among {', '.join(inbox.STATES)}")
        if wanted.event is None and since is None and not wanted.states:
            raise BadFilter("name an event, since when, or in which states")
        states = tuple(state for state in inbox.STATES if state in wanted.states) or None
        span = Span(inbox_id=wanted.event, since=since, until=until, states=states)
        async with self._database.transaction(who.tenant_id) as session:
            count = await inbox.replay(session, who.tenant_id, connection_id, span)
            await _note(session, who, "inbox_replayed", connection_id)
        return count

    async def polls(self, who: Principal, connection_id: str) -> list[Poll]:
        """Return where polling stands."""
        await self._check(who, connection_id)
        return await polling.listed(self._database, who.tenant_id, connection_id)

    async def poll(self, who: Principal, connection_id: str, name: str | None, since: datetime | None) -> int:
        """Have it polled at the next look; return how many objects."""
        known = await found(self._database, who.tenant_id, connection_id)
        with told():
            manifest, mapping = await self._systems.mapping(known)
        polled = sorted({each.object for each in mapping.into} & manifest.sources.keys())
        if name is not None and name not in polled:
            listed = ", ".join(polled) or "none: no mapping that holds takes in what the system can be asked for"
            raise BadFilter(f"object: {name[:40]!r} is none that is polled ({listed})")
        async with self._database.transaction(who.tenant_id) as session:
            # Right after publishing no worker has seen yet which objects are polled.
            await polling.note(session, who.tenant_id, connection_id, polled)
            count = await polling.now(session, who.tenant_id, connection_id, name, since)
            await _note(session, who, "poll_asked", connection_id)
        return count

    async def alerts(self, who: Principal, *, is_open: bool | None) -> list[Alert]:
        """Return what is, or was, wrong, newest first."""
        return await alerts.listed(self._database, who.tenant_id, is_open=is_open)

    async def _check(self, who: Principal, connection_id: str) -> None:
        if not ID.fullmatch(connection_id):
            raise UnknownConnection(f"no connection {connection_id[:40]} is known")
        with told():
            await connections.get(self._database, who.tenant_id, connection_id)


async def _note(session: Session, who: Principal, action: Action, connection_id: str) -> None:
    by = audit.person(who.person)
    entry = audit.Entry(tenant_id=who.tenant_id, by=by, action=action, object=f"connection:{connection_id}")
    await audit.record(session, entry)
