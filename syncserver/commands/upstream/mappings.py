"""Versions of mappings: drafted, validated, compared, published, put back; and the fields found out there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from syncserver.commands.errors import MappingUnusable
from syncserver.commands.upstream.acting import note
from syncserver.commands.upstream.connections import REASON_CHARACTERS_MAX, found
from syncserver.commands.upstream.told import told
from upstream import deliveries, discovery, documents, mappings, presence, remotes, shadow
from upstream.compare import Difference
from upstream.schema import Schema
from upstream.trial import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncserver.commands.access import Principal
    from syncserver.commands.office import Office
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.audit import Action
    from syncserver.store.db import Database
    from upstream.connections import Connection
    from upstream.jsonnet import Pool
    from upstream.manifest import Target
    from upstream.presence import Presence

LIMIT: Final = 50
LIMIT_MAX: Final = mappings.LIST_MAX
ASKED_MAX: Final = 50
"""How many objects a system is asked for at a time, so that looking uses up little of what may be asked."""

Version: TypeAlias = mappings.Version
Comparison: TypeAlias = mappings.Comparison


class Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text of a mapping, as TOML, for a connection, and what is new in it."""

    connection: str
    content: str
    note: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What validating came to. What has the severity `error` keeps the version from being published."""

    version: int
    samples: int
    applied: int
    publishable: bool
    issues: tuple[Issue, ...]


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What would have been sent, against what is there: `new` (nothing is), `same` or `other`.

    `problem` is what kept it from being made. `unseen`: why the system could not say what is there; then it is
    held against what it confirmed last, and is `unseen` itself if that is nothing.
    """

    delivery: str
    object: str
    key: str
    collection: str
    record_id: str
    mapping_version: int
    verdict: str
    differences: tuple[Difference, ...]
    problem: str
    unseen: str = ""


class Mappings:
    """What people can do about mappings."""

    def __init__(self, database: Database, systems: Systems, office: Office, jsonnet: Pool) -> None:
        self._database = database
        self._systems = systems
        self._office = office
        self._jsonnet = jsonnet

    async def listed(self, who: Principal, connection_id: str, *, below: int | None, limit: int) -> list[Version]:
        """Return the versions of a connection's mapping, the newest first, without their texts."""
        await found(self._database, who.tenant_id, connection_id)
        bound = mappings.VERSION_MAX if below is None else min(below, mappings.VERSION_MAX)
        return await mappings.listed(self._database, who.tenant_id, connection_id, below=bound, limit=limit)

    async def one(self, who: Principal, connection_id: str, version: int) -> Version:
        """Return a version with its text."""
        await found(self._database, who.tenant_id, connection_id)
        with told():
            return await mappings.get(self._database, who.tenant_id, connection_id, version)

    async def draft(self, who: Principal, draft: Draft) -> Version:
        """Keep a text as the next version. The text of the newest one makes no new one."""
        await found(self._database, who.tenant_id, draft.connection)
        if len(draft.note) > REASON_CHARACTERS_MAX or "\0" in draft.note + draft.content:
            raise MappingUnusable(f"note: at most {REASON_CHARACTERS_MAX} characters; no text may have the character 0")
        place = (who.tenant_id, draft.connection, draft.content)
        with told():
            made = await mappings.save(self._database, *place, by=who.person, note=draft.note)
        await self._note(who, "mapping_drafted", draft.connection, made.version)
        return made

    async def validate(self, who: Principal, connection_id: str, version: int) -> Report:
        """Hold a version against our fields, the fields there, and captured samples."""
        around = await self._around(who, connection_id)
        with told():
            report = await mappings.validate(self._database, who.tenant_id, connection_id, version, around)
        return Report(
            version=report.version,
            samples=report.samples,
            applied=report.applied,
            publishable=not report.errors,
            issues=report.issues,
        )

    async def diff(self, who: Principal, connection_id: str, version: int, before: int | None) -> Comparison:
        """Return what a version does otherwise than another; without one, than the one that holds."""
        connection = await found(self._database, who.tenant_id, connection_id)
        other = (connection.mapping_version or 0) if before is None else before
        around = await self._around(who, connection_id)
        place = (who.tenant_id, connection_id, version, around)
        with told():
            return await mappings.diff(self._database, *place, before=other)

    async def publish(self, who: Principal, connection_id: str, version: int) -> Version:
        """Let a version hold, if nothing is wrong with it."""
        around = await self._around(who, connection_id)
        with told():
            held = await mappings.publish(self._database, who.tenant_id, connection_id, version, around, by=who.person)
        await self._note(who, "mapping_published", connection_id, held.version)
        return held

    async def roll_back(self, who: Principal, connection_id: str, version: int, note: str) -> Version:
        """Let an older version hold again, under a new number."""
        await found(self._database, who.tenant_id, connection_id)
        if len(note) > REASON_CHARACTERS_MAX or "\0" in note:
            raise MappingUnusable(f"note: at most {REASON_CHARACTERS_MAX} characters")
        place = (who.tenant_id, connection_id, version)
        with told():
            held = await mappings.roll_back(self._database, *place, by=who.person, note=note)
        await self._note(who, "mapping_rolled_back", connection_id, held.version)
        return held

    async def fields(self, who: Principal, connection_id: str, name: str, *, fresh: bool) -> Schema:
        """Return the fields of an object there: as found out lately, or asked for now."""
        connection = await found(self._database, who.tenant_id, connection_id)
        with told():
            kept = None if fresh else await discovery.current(self._database, who.tenant_id, connection_id, name)
            if kept is not None:
                return kept.schema
            manifest = self._systems.manifest(connection)
            document = await documents.needed(self._database, who.tenant_id, connection_id, manifest)
            caller = (await self._systems.system(connection)).caller
            asked = await discovery.discover(caller, manifest, name, document=document)
            _, wanted = await self._systems.mapping(connection)
            return (await discovery.keep(self._database, who.tenant_id, connection_id, asked, wanted)).schema

    async def recorded(self, who: Principal, connection_id: str, limit: int, *, ask: bool = False) -> list[Recorded]:
        """Return what a connection in shadow mode would have sent, against what was confirmed there last.

        With `ask` the system is asked what stands there now: that reads up to so many objects, and writes none.
        """
        connection = await found(self._database, who.tenant_id, connection_id)
        with told():
            manifest = self._systems.manifest(connection)
        asked = deliveries.Filter(connection=connection_id, mode="shadow")
        newest: dict[tuple[str, str], deliveries.Shown] = {}
        for each in await deliveries.listed(self._database, who.tenant_id, asked, limit=limit):
            newest.setdefault((each.object, each.key), each)
        async with self._database.transaction(who.tenant_id) as session:
            there = await remotes.get(session, who.tenant_id, connection_id, newest)
        seen = await self._seen(connection, newest, there) if ask else {}
        return [
            _recorded(each, seen.get(place), there.get(place), manifest.targets.get(each.object))
            for place, each in newest.items()
        ]

    async def _seen(
        self,
        connection: Connection,
        wanted: Mapping[tuple[str, str], deliveries.Shown],
        known: Mapping[tuple[str, str], remotes.Remote],
    ) -> dict[tuple[str, str], Presence]:
        """Ask the system for each object, one after the other."""
        system = await self._systems.system(connection)
        found_there: dict[tuple[str, str], Presence] = {}
        for place, each in wanted.items():
            remote_id = (known[place].remote_id or "") if place in known else ""
            with told():
                found_there[place] = await presence.there(
                    system.caller, system.manifest, each.object, each.fields, remote_id=remote_id
                )
        return found_there

    async def _around(self, who: Principal, connection_id: str) -> mappings.Surroundings:
        connection = await found(self._database, who.tenant_id, connection_id)
        with told():
            manifest = self._systems.manifest(connection)
        catalog = await self._office.catalog(who.tenant_id)
        return mappings.Surroundings(manifest=manifest, catalog=catalog, jsonnet=self._jsonnet.evaluate)

    async def _note(self, who: Principal, action: Action, connection_id: str, version: int) -> None:
        async with self._database.transaction(who.tenant_id) as session:
            await note(session, who, action, f"mapping:{connection_id}/{version}")


def _recorded(
    each: deliveries.Shown, seen: Presence | None, known: remotes.Remote | None, target: Target | None
) -> Recorded:
    confirmed = None if known is None else known.fields
    there = confirmed if seen is None or seen.unseen else seen.record
    compared = shadow.against(each.object, each.key, each.fields, there, target)
    return Recorded(
        delivery=each.delivery_id,
        object=each.object,
        key=each.key,
        collection=each.collection,
        record_id=each.record_id,
        mapping_version=each.mapping_version,
        verdict="unseen" if seen is not None and seen.unseen and confirmed is None else compared.verdict,
        differences=compared.differences,
        problem=each.error_message if each.state == "rejected" else "",
        unseen="" if seen is None else seen.unseen,
    )
