"""What people do about webhooks to their own addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from syncserver.commands.errors import BadFilter, UnknownEndpoint
from syncserver.commands.upstream.connections import ID
from syncserver.commands.upstream.told import told
from syncserver.store import audit
from upstream import webhooks
from upstream.webhooks import Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from syncserver.commands.access import Principal
    from syncserver.store.audit import Action
    from syncserver.store.db import Connection as Session
    from syncserver.store.db import Database

STATES: Final = ("waiting", "delivered", "failed")

Endpoint: TypeAlias = webhooks.Endpoint
Posting: TypeAlias = webhooks.Posting
Attempt: TypeAlias = webhooks.Attempt


class NewEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to be added: an https address, and what it is told of."""

    url: str
    types: tuple[str, ...]
    description: str = ""


class ChangedEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of an endpoint is to be otherwise. `on` begins anew from now."""

    url: str | None = None
    types: tuple[str, ...] | None = None
    description: str | None = None
    state: Literal["on", "off"] | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long messages are signed with the former secret beside the new one."""

    overlap_seconds: int = webhooks.ROTATION_SECONDS


class Replay(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told again: one message, or what happened from `since` on and before `until`."""

    message: str | None = None
    since: str = ""
    until: str = ""


class Endpoints:
    """The addresses of a tenant. `allow_plain`: also without TLS, for trials on one machine."""

    def __init__(self, database: Database, keys: Sequence[bytes], *, allow_plain: bool) -> None:
        self._database = database
        self._keys = keys
        self._allow_plain = allow_plain

    async def listed(self, who: Principal) -> list[Endpoint]:
        """Return all endpoints."""
        return await webhooks.listed(self._database, who.tenant_id)

    async def one(self, who: Principal, endpoint_id: str) -> Endpoint:
        """Return one endpoint, or raise `UnknownEndpoint`."""
        found = await webhooks.listed(self._database, who.tenant_id, endpoint_id) if ID.fullmatch(endpoint_id) else []
        if not found:
            raise UnknownEndpoint(f"no endpoint {endpoint_id[:40]} is known")
        return found[0]

    async def add(self, who: Principal, new: NewEndpoint, endpoint_id: str) -> tuple[Endpoint, str]:
        """Add an endpoint; return it with its secret, which is shown this once. A repeat gives the same."""
        wanted = Wanted(url=new.url, types=new.types, description=new.description)
        with told():
            async with self._database.transaction(who.tenant_id) as session:
                secret = await webhooks.add(
                    session, who.tenant_id, endpoint_id, wanted, keys=self._keys, allow_plain=self._allow_plain
                )
                await _note(session, who, "endpoint_added", endpoint_id)
        return await self.one(who, endpoint_id), secret

    async def change(self, who: Principal, endpoint_id: str, changed: ChangedEndpoint) -> Endpoint:
        """Change what is given."""
        await self.one(who, endpoint_id)
        wanted = Wanted(**msgspec.structs.asdict(changed))
        with told():
            async with self._database.transaction(who.tenant_id) as session:
                await webhooks.change(session, who.tenant_id, endpoint_id, wanted, allow_plain=self._allow_plain)
                await _note(session, who, "endpoint_changed", endpoint_id)
        return await self.one(who, endpoint_id)

    async def remove(self, who: Principal, endpoint_id: str) -> None:
        """Remove an endpoint with all that waits for it."""
        await self.one(who, endpoint_id)
        with told():
            async with self._database.transaction(who.tenant_id) as session:
                await webhooks.remove(session, who.tenant_id, endpoint_id)
                await _note(session, who, "endpoint_removed", endpoint_id)

    async def rotate(self, who: Principal, endpoint_id: str, rotation: Rotation) -> str:
        """Change the secret for a new one, which is shown this once."""
        await self.one(who, endpoint_id)
        with told():
            async with self._database.transaction(who.tenant_id) as session:
                secret = await webhooks.rotate(
                    session, who.tenant_id, endpoint_id, keys=self._keys, seconds=rotation.overlap_seconds
                )
                await _note(session, who, "endpoint_rotated", endpoint_id)
        return secret

    async def ping(self, who: Principal, endpoint_id: str) -> str:
        """Send it a message that says nothing; return the message's id."""
        await self.one(who, endpoint_id)
        async with self._database.transaction(who.tenant_id) as session:
            message_id = await webhooks.ping(session, who.tenant_id, endpoint_id)
            await _note(session, who, "endpoint_pinged", endpoint_id)
        return message_id

    async def replay(
        self, who: Principal, endpoint_id: str, message: str | None, since: datetime | None, until: datetime | None
    ) -> int:
        """Tell it again; return of how many messages."""
        await self.one(who, endpoint_id)
        if message is not None and not ID.fullmatch(message):
            raise BadFilter("message is no id of one")
        if message is None and since is None:
            raise BadFilter("name a message, or since when")
        async with self._database.transaction(who.tenant_id) as session:
            count = await webhooks.replay(
                session, who.tenant_id, endpoint_id, message_id=message, since=since, until=until
            )
            await _note(session, who, "messages_replayed", endpoint_id)
        return count

    async def messages(self, who: Principal, endpoint_id: str, state: str | None, limit: int) -> list[Posting]:
        """Return what it was told or will be, newest first."""
        await self.one(who, endpoint_id)
        if state is not None and state not in STATES:
            raise BadFilter(f"state is {state[:40]!r}; allowed: {', '.join(STATES)}")
        return await webhooks.postings(self._database, who.tenant_id, endpoint_id, state=state, limit=limit)

    async def attempts(self, who: Principal, endpoint_id: str, message: str) -> list[Attempt]:
        """Return how often a message was tried, and what came back."""
        await self.one(who, endpoint_id)
        if not ID.fullmatch(message):
            raise BadFilter("message is no id of one")
        return await webhooks.attempts(self._database, who.tenant_id, endpoint_id, message)


async def _note(session: Session, who: Principal, action: Action, endpoint_id: str) -> None:
    by = audit.person(who.person)
    entry = audit.Entry(tenant_id=who.tenant_id, by=by, action=action, object=f"endpoint:{endpoint_id}")
    await audit.record(session, entry)
