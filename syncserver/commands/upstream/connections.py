"""Connections as people make and watch them. Secrets go in and never come out."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import asyncpg
import msgspec

from syncserver.commands.errors import BadConnection, ConnectionInUse
from syncserver.commands.upstream.acting import note
from syncserver.commands.upstream.told import told
from upstream import addresses, connections, credentials, deliveries, documents, outbox, shadow, vendors
from upstream.auth import signing
from upstream.connections import Connection, Pulse
from upstream.errors import UnknownConnection
from upstream.manifest import OAuth2Code
from upstream.vendors.openapi import drafting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncserver.commands.access import Principal
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.audit import Action
    from syncserver.store.db import Connection as Session
    from syncserver.store.db import Database
    from upstream.manifest import Manifest

NAME_CHARACTERS_MAX: Final = 100
REASON_CHARACTERS_MAX: Final = 500
VALUE_CHARACTERS_MAX: Final = 2_000
ID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)
DAY_SECONDS: Final = 86_400

Authority = Literal["crm", "erp", "payroll", "telematics", "portal"]


class NewConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a connection is made of. `system` names one that is shipped; `manifest` describes another, as TOML.

    `document` is a system's OpenAPI, or its text in JSON or YAML; with a `choice` of it, the manifest is drafted,
    and need not be given. What describes a system names it too, so that `system` may be left away. `auth` are the
    credentials by name: they are sealed, and never shown again.
    """

    system: str | None = None
    name: str | None = None
    base_url: str | None = None
    auth: dict[str, str] = {}
    password_expires_at: datetime | None = None
    """When the password or key in `auth` ends, where somebody knows: it is told of in time."""
    config: dict[str, str] = {}
    mapping_version: int | None = None
    mode: Literal["shadow", "live"] = "shadow"
    authority: Authority | None = None
    manifest: str | None = None
    document: dict[str, Any] | str | None = None
    choice: dict[str, Any] | None = None


class ChangedConnection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of a connection is to be another; what is not given stays. `base_url` may be given as null."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    base_url: str | msgspec.UnsetType | None = msgspec.UNSET
    auth: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    password_expires_at: datetime | None = None
    """When the password or key in `auth` ends; given with it only."""
    config: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    mode: Literal["shadow", "live"] | msgspec.UnsetType = msgspec.UNSET
    in_flight_max: int | msgspec.UnsetType = msgspec.UNSET
    backfill_share: int | msgspec.UnsetType = msgspec.UNSET


class Backfilling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which collections all living records are to be told; none: of all that the mapping names."""

    collections: tuple[str, ...] = ()


class Backfilled(msgspec.Struct, frozen=True, kw_only=True):
    """Of how many records of each collection the connection will be told."""

    records: dict[str, int]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, and how it is: `deliveries` by state, `expires` by kind in seconds from now."""

    connection: Connection
    title: str
    grade: str
    assumed: bool
    pulse: Pulse
    deliveries: dict[str, int]
    expires: dict[str, float]


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What the verification call came to. `kind` is `ok`, or what kind of trouble there is."""

    kind: str
    status: int
    code: str
    message: str
    took_ms: int
    retry_after_ms: int


class Connections:
    """What people can do about connections."""

    def __init__(
        self, database: Database, systems: Systems, document_bytes_max: int = drafting.DOCUMENT_BYTES_MAX
    ) -> None:
        self._database = database
        self._systems = systems
        self._document_bytes_max = document_bytes_max

    async def listed(self, who: Principal) -> list[Standing]:
        """Return all connections of the tenant by name, and how each is."""
        found = await connections.listed(self._database, who.tenant_id)
        return await self._standing(who, found)

    async def one(self, who: Principal, connection_id: str) -> Standing:
        """Return one connection, and how it is."""
        return (await self._standing(who, [await self.found(who, connection_id)]))[0]

    async def found(self, who: Principal, connection_id: str) -> Connection:
        """Return a connection; raises `UnknownConnection`."""
        return await found(self._database, who.tenant_id, connection_id)

    async def make(self, who: Principal, new: NewConnection, connection_id: str) -> Standing:
        """Make a connection. Whoever makes the same one again is shown the one that is there."""
        new, described = await asyncio.to_thread(self._described, new)
        with told():
            manifest = self._systems.parsed(new.manifest) if new.manifest is not None else _shipped(new.system)
            given = credentials.check(new.auth)
            if given:
                signing.require(manifest.auth, given)
        made = self._new(new, manifest)
        try:
            async with self._database.transaction(who.tenant_id) as session:
                await connections.add(session, who.tenant_id, connection_id, made)
                await note(session, who, "connection_made", f"connection:{connection_id}")
                if described is not None:
                    await self._keep(session, who, connection_id, described)
        except asyncpg.UniqueViolationError as exc:
            if exc.constraint_name == "connections_pkey":
                return await self.one(who, connection_id)
            raise BadConnection(f"name: there is a connection {made.name!r} already; choose another name") from exc
        if given:
            await self._put_credentials(who, connection_id, given, new.password_expires_at)
        return await self.one(who, connection_id)

    def _described(self, new: NewConnection) -> tuple[NewConnection, dict[str, Any] | None]:
        """Return what a connection is made of, with the manifest that was chosen, and the document that was given."""
        if new.choice is not None and (new.document is None or new.manifest is not None):
            raise BadConnection("choice: needs document, and no manifest: it is what the manifest is drafted of")
        if new.document is None:
            shipped = vendors.document(new.system) if new.manifest is None and new.system in vendors.names() else None
            return new, None if shipped is None else drafting.read(shipped)
        with told():
            document = drafting.read(new.document, self._document_bytes_max)
            if new.choice is not None:
                given = {} if new.system is None else {"system": new.system}
                chosen = drafting.choice({**given, **new.choice})
                new = msgspec.structs.replace(new, manifest=drafting.draft(document, chosen).manifest)
        return new, document

    async def _keep(self, session: Session, who: Principal, connection_id: str, document: dict[str, Any]) -> None:
        text, title = msgspec.json.encode(document), drafting.title(document)
        await documents.put(session, (who.tenant_id, connection_id), text, title, who.person)
        await note(session, who, "document_put", f"connection:{connection_id}")

    async def change(self, who: Principal, connection_id: str, changed: ChangedConnection) -> Standing:
        """Change what is given. To go live has a check list; back to shadow is always possible."""
        known = await self.found(who, connection_id)
        given = None
        if changed.auth is not msgspec.UNSET:
            with told():
                given = credentials.check(changed.auth)
                signing.require(self._systems.manifest(known).auth, given)
        self._check_changed(changed, self._systems.manifest(known))
        try:
            async with self._database.transaction(who.tenant_id) as session:
                held = await connections.held(session, who.tenant_id, connection_id)
                after = _changed(held, changed, self._systems.manifest(held))
                if after != held:
                    await connections.put(session, after)
                    await note(session, who, "connection_changed", f"connection:{connection_id}")
        except asyncpg.UniqueViolationError as exc:
            raise BadConnection(f"name: there is a connection {changed.name!r} already; choose another name") from exc
        if given is not None:
            await self._put_credentials(who, connection_id, given, changed.password_expires_at)
        if changed.mode == "live" and known.mode != "live":
            await self.promote(who, connection_id)
        return await self.one(who, connection_id)

    async def pause(self, who: Principal, connection_id: str, reason: str) -> Standing:
        """Let it rest: what has to be told waits, and no attempt is used up."""
        return await self._turned(who, connection_id, "connection_paused", state="paused", state_reason=reason)

    async def resume(self, who: Principal, connection_id: str) -> Standing:
        """Let it go on. One that waits for a sign-in goes on when that is there, and not before."""
        known = await self.found(who, connection_id)
        troubles = await self._systems.keeper.troubles([who.tenant_id])
        # A pause hides that the credentials were refused, and does not mend them.
        latched = {each.connection for each in troubles if each.state == "reauthorise"}
        if known.state == "reauthorise" or connection_id in latched:
            raise BadConnection("the connection waits for new credentials: put them, or sign in; then it can go on")
        return await self._turned(who, connection_id, "connection_resumed", state="ok", state_reason="")

    async def remove(self, who: Principal, connection_id: str, *, forget: bool) -> None:
        """Forget a connection. One that has told something is forgotten only if that is meant."""
        await self.found(who, connection_id)
        told_so_far = await deliveries.listed(
            self._database, who.tenant_id, deliveries.Filter(connection=connection_id, mode="live"), limit=1
        )
        if told_so_far and not forget:
            raise ConnectionInUse(
                "something was told to it: pause it; or remove it with forget=true, and know that "
                "a new connection to the same system will not know what stands there"
            )
        async with self._database.transaction(who.tenant_id) as session:
            await connections.remove(session, who.tenant_id, connection_id)
            await note(session, who, "connection_removed", f"connection:{connection_id}")

    async def verify(self, who: Principal, connection_id: str) -> Verified:
        """Make the verification call, which tells whether we are let in and whether anybody is there."""
        with told():
            reply = await self._systems.verify(await self.found(who, connection_id))
        return Verified(
            kind=reply.kind,
            status=reply.status,
            code=reply.code,
            message=reply.message,
            took_ms=reply.took_ms,
            retry_after_ms=reply.retry_after_ms,
        )

    async def checks(self, who: Principal, connection_id: str) -> tuple[shadow.Check, ...]:
        """Return the check list for going live."""
        await self.found(who, connection_id)
        return await shadow.checks(self._database, who.tenant_id, connection_id)

    async def promote(
        self, who: Principal, connection_id: str, *, least: int = shadow.LEAST, catch_up: bool = True
    ) -> int:
        """Go live, if the check list allows; return how many records are told of that were only recorded."""
        await self.found(who, connection_id)
        with told():
            marked = await shadow.promote(self._database, who.tenant_id, connection_id, least=least, catch_up=catch_up)
        async with self._database.transaction(who.tenant_id) as session:
            await note(session, who, "connection_promoted", f"connection:{connection_id}")
        return marked

    async def backfill(self, who: Principal, connection_id: str, wanted: tuple[str, ...]) -> Backfilled:
        """Tell it of all living records of collections, in the lane that gives way to everything else."""
        await self.found(who, connection_id)
        known = await connections.interests(self._database, who.tenant_id, connection_id)
        strange = sorted(set(wanted) - set(known))
        if strange or not known:
            listed = ", ".join(known) or "none, since no mapping is published"
            raise BadConnection(f"collections: the mapping names no {', '.join(strange) or 'collection'} ({listed})")
        rows = dict.fromkeys(wanted or known, 0)
        for name in rows:
            rows[name] = await outbox.backfill(self._database, who.tenant_id, connection_id, name)
        async with self._database.transaction(who.tenant_id) as session:
            await note(session, who, "backfill_started", f"connection:{connection_id}")
        return Backfilled(records=rows)

    async def rest_backfill(self, who: Principal, connection_id: str, *, paused: bool) -> Standing:
        """Let a backfill rest, or go on."""
        action: Action = "backfill_paused" if paused else "backfill_resumed"
        return await self._turned(who, connection_id, action, backfill_paused=paused)

    async def _turned(self, who: Principal, connection_id: str, action: Action, **changed: Any) -> Standing:
        await self.found(who, connection_id)
        async with self._database.transaction(who.tenant_id) as session:
            held = await connections.held(session, who.tenant_id, connection_id)
            after = msgspec.structs.replace(held, **changed)
            if after != held:
                await connections.put(session, after)
                await note(session, who, action, f"connection:{connection_id}")
        return await self.one(who, connection_id)

    async def _put_credentials(
        self, who: Principal, connection_id: str, given: Mapping[str, str], password_ends: datetime | None
    ) -> None:
        with told():
            await self._systems.keeper.put(who.tenant_id, connection_id, given, password_expires_at=password_ends)
        async with self._database.transaction(who.tenant_id) as session:
            await note(session, who, "credentials_put", f"connection:{connection_id}")

    async def _standing(self, who: Principal, found: list[Connection]) -> list[Standing]:
        pulses = await connections.pulses(self._database, who.tenant_id)
        counts = await deliveries.counts(self._database, who.tenant_id)
        expiries = await self._systems.keeper.expiries([who.tenant_id])
        made = []
        for each in found:
            with told():
                manifest = self._systems.manifest(each)
            made.append(
                Standing(
                    connection=each,
                    title=manifest.title,
                    grade=manifest.grade,
                    assumed=manifest.is_assumed,
                    pulse=pulses.get(each.connection) or Pulse(connection=each.connection),
                    deliveries={state: n for (name, state), n in counts.items() if name == each.connection},
                    expires={end.kind: end.seconds for end in expiries if end.connection == each.connection},
                )
            )
        return made

    def _new(self, new: NewConnection, manifest: Manifest) -> connections.New:
        if new.mode != "shadow":
            raise BadConnection("mode: a connection begins in shadow; publish a mapping, then promote it")
        if new.mapping_version is not None:
            raise BadConnection("mapping_version: a new connection has no mapping yet; publish one afterwards")
        if new.system not in (None, manifest.system):
            given = new.system[:NAME_CHARACTERS_MAX]
            raise BadConnection(f"system: is {given!r}, but what describes it says {manifest.system!r}; leave it away")
        name = manifest.title if new.name is None else new.name
        _check_name(name)
        _check_end(new.password_expires_at, is_given=bool(new.auth))
        self._check_base_url(new.base_url)
        _check_config(new.config, manifest)
        return connections.New(
            system=manifest.system,
            name=name,
            manifest=manifest.system,
            authority=new.authority or manifest.authority,
            manifest_text=new.manifest,
            base_url=new.base_url,
            config=new.config,
        )

    def _check_changed(self, changed: ChangedConnection, manifest: Manifest) -> None:
        _check_end(changed.password_expires_at, is_given=bool(changed.auth))
        if changed.name is not msgspec.UNSET:
            _check_name(changed.name)
        if changed.base_url is not msgspec.UNSET:
            self._check_base_url(changed.base_url)
        if changed.config is not msgspec.UNSET:
            _check_config(changed.config, manifest)
        for name, most in (("in_flight_max", 1_000), ("backfill_share", 100)):
            value = getattr(changed, name)
            if value is not msgspec.UNSET and not 1 <= value <= most:
                raise BadConnection(f"{name}: must be from 1 to {most}")

    def _check_base_url(self, url: str | None) -> None:
        if url is None:
            return
        try:
            addresses.checked(url, allow_plain=self._systems.allow_loopback, is_base=True)
        except ValueError as exc:
            raise BadConnection(f"base_url: {exc}") from exc


async def found(database: Database, tenant_id: int, connection_id: str) -> Connection:
    """Return a connection; raises `UnknownConnection`, also for what is no id."""
    with told():
        if not ID.fullmatch(connection_id):
            raise UnknownConnection(f"there is no connection {connection_id[:40]!r}")
        return await connections.get(database, tenant_id, connection_id)


def _shipped(name: str | None) -> Manifest:
    if name is None:
        raise BadConnection("system: must be given, unless manifest, or document with choice, describes one")
    return vendors.manifest(name)


def _check_end(moment: datetime | None, *, is_given: bool) -> None:
    if moment is None:
        return
    if moment.tzinfo is None:
        raise BadConnection("password_expires_at: must be an instant with its offset, like 2026-03-01T08:00:00Z")
    if not is_given:
        raise BadConnection("password_expires_at: says when what is in auth ends; give auth too")


def _check_name(name: str) -> None:
    if not 0 < len(name.strip()) <= NAME_CHARACTERS_MAX or not name.isprintable():
        raise BadConnection(f"name: must have 1 to {NAME_CHARACTERS_MAX} printable characters")


def _check_config(config: Mapping[str, str], manifest: Manifest) -> None:
    for name, value in config.items():
        if name not in manifest.config:
            there = ", ".join(manifest.config) or "none"
            raise BadConnection(f"config.{name[:40]}: {manifest.title} has no such setting (there are: {there})")
        if len(value) > VALUE_CHARACTERS_MAX or "\0" in value:
            raise BadConnection(f"config.{name}: must have at most {VALUE_CHARACTERS_MAX} characters")
    brought = _brought(manifest)
    for name, entry in manifest.config.items():
        if entry.required and not entry.default and not config.get(name) and name not in brought:
            raise BadConnection(f"config.{name}: is missing ({entry.title})")


def _brought(manifest: Manifest) -> frozenset[str]:
    """Return the settings that nobody has to give, since whoever signs in comes back with them."""
    return frozenset(manifest.auth.brings.values() if isinstance(manifest.auth, OAuth2Code) else ())


def _changed(held: Connection, changed: ChangedConnection, manifest: Manifest) -> Connection:
    names = ("name", "base_url", "config", "in_flight_max", "backfill_share")
    given = {name: value for name in names if (value := getattr(changed, name)) is not msgspec.UNSET}
    if "config" in given:
        brought = {name: value for name, value in held.config.items() if name in _brought(manifest)}
        given["config"] = {**brought, **given["config"]}
    if changed.mode == "shadow":
        given["mode"] = "shadow"
    return msgspec.structs.replace(held, **given)
