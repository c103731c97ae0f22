"""OpenAPI documents: what they offer, what is drafted of them, and what another one of them changes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from syncserver.commands.upstream.acting import note
from syncserver.commands.upstream.connections import found
from syncserver.commands.upstream.told import told
from upstream import discovery, documents
from upstream.auth import signing
from upstream.errors import NotDiscovered
from upstream.schema import Field
from upstream.vendors.openapi import drafting
from upstream.vendors.openapi.choices import Offer, SignIn

if TYPE_CHECKING:
    from syncserver.commands.access import Principal
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.db import Database
    from upstream.connections import Connection
    from upstream.drift import Finding
    from upstream.manifest import WriteClass

PROMISES: Final[dict[WriteClass, str]] = {
    "native": "the system is said to know a repeated key; no document tells, so see it refuse a repeat once",
    "upsert": "its address is of our making, so a repeat writes the same object",
    "versioned": "a change names the version that it replaces, and is looked at again before a repeat",
    "search": "it bears a mark, which is looked for before a repeat; what its search shows late may be made twice",
    "none": "nothing tells whether a lost answer was done: it waits as unknown, and a person decides",
}
"""What can be said of repeats, by the class of a write."""


class Choosing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document, or its text in JSON or YAML; and what is chosen of it (upstream/vendors/openapi/choices.py)."""

    document: dict[str, Any] | str
    choice: dict[str, Any]


class Showing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document, or its text in JSON or YAML."""

    document: dict[str, Any] | str


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """What a document offers: its operations, and its ways of signing in."""

    title: str
    base_url: str
    sign_in: tuple[SignIn, ...]
    operations: tuple[Offer, ...]


class WrittenObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that would be told: how a write of it is made once, what that is worth, and its fields."""

    object: str
    write: str
    promise: str
    fields: tuple[Field, ...]


class Drafted(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest as text, to be read and completed, and what a connection by it needs.

    `credentials` have to be given as `auth`, `config` are its settings by name.
    """

    manifest: str
    system: str
    grade: str
    assumed: bool
    credentials: tuple[str, ...]
    config: dict[str, str]
    objects: tuple[WrittenObject, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change from a document to the next; `urgent`: a row of the mapping is hit, or one is missing."""

    object: str
    field: str
    change: str
    old: str
    new: str
    rows: tuple[str, ...]
    urgent: bool
    said: str


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The document that a connection has, if it has one; what it changed, and which objects it does not describe."""

    document: documents.Kept | None
    changes: tuple[Change, ...] = ()
    problems: tuple[str, ...] = ()


class Documents:
    """What people can do about documents. `bytes_max` is how large one may be."""

    def __init__(self, database: Database, systems: Systems, bytes_max: int) -> None:
        self._database = database
        self._systems = systems
        self._bytes_max = bytes_max

    async def offered(self, document: dict[str, Any] | str) -> Offered:
        """Return what can be chosen of a document; raises `BadManifest`."""
        return await asyncio.to_thread(self._offered, document)

    async def drafted(self, chosen: Choosing) -> Drafted:
        """Return the manifest of what is chosen; raises `BadManifest` with all that is wrong."""
        return await asyncio.to_thread(self._drafted, chosen)

    async def shown(self, who: Principal, connection_id: str) -> Standing:
        """Return which document a connection has."""
        await found(self._database, who.tenant_id, connection_id)
        return Standing(document=await documents.shown(self._database, who.tenant_id, connection_id))

    async def put(self, who: Principal, connection_id: str, document: dict[str, Any] | str) -> Standing:
        """Give a connection another document, and tell what has changed. Manifest and mapping stay as they are."""
        connection = await found(self._database, who.tenant_id, connection_id)
        with told():
            read = await asyncio.to_thread(drafting.read, document, self._bytes_max)
        before = await documents.read(self._database, who.tenant_id, connection_id)
        if before is not None:
            # Whoever never asked for the fields has not seen what this document now changes.
            await learned(self._database, self._systems, connection, msgspec.json.decode(before))
        async with self._database.transaction(who.tenant_id) as session:
            text, title = msgspec.json.encode(read), drafting.title(read)
            await documents.put(session, (who.tenant_id, connection_id), text, title, who.person)
            await note(session, who, "document_put", f"connection:{connection_id}")
        return await learned(self._database, self._systems, connection, read)

    def _offered(self, document: dict[str, Any] | str) -> Offered:
        with told():
            read = drafting.read(document, self._bytes_max)
            return Offered(
                title=drafting.title(read),
                base_url=drafting.base_url(read),
                sign_in=drafting.sign_ins(read),
                operations=drafting.offered(read),
            )

    def _drafted(self, chosen: Choosing) -> Drafted:
        with told():
            read = drafting.read(chosen.document, self._bytes_max)
            made = drafting.draft(read, drafting.choice(chosen.choice))
        manifest = made.parsed
        return Drafted(
            manifest=made.manifest,
            system=manifest.system,
            grade=manifest.grade,
            assumed=manifest.is_assumed,
            credentials=signing.missing(manifest.auth, {}),
            config={name: entry.title for name, entry in manifest.config.items()},
            objects=tuple(
                WrittenObject(
                    object=name,
                    write=manifest.targets[name].write,
                    promise=PROMISES[manifest.targets[name].write],
                    fields=schema.fields,
                )
                for name, schema in made.schemas.items()
            ),
        )


async def learned(database: Database, systems: Systems, connection: Connection, document: dict[str, Any]) -> Standing:
    """Find out anew, from a connection's document, the fields of all objects that it describes."""
    place = (connection.tenant_id, connection.connection)
    manifest, mapping = await systems.mapping(connection)
    caller, changes, problems = systems.connector(connection), [], []
    for name, how in manifest.discovery.items():
        if how.kind != "openapi" or how.operation:
            continue
        try:
            schema = await discovery.discover(caller, manifest, name, document=document)
        except NotDiscovered as exc:
            problems.append(str(exc))
            continue
        kept = await discovery.keep(database, *place, schema, mapping)
        changes += [_change(each) for each in kept.findings]
    return Standing(document=await documents.shown(database, *place), changes=tuple(changes), problems=tuple(problems))


def _change(finding: Finding) -> Change:
    return Change(
        object=finding.object,
        field=finding.field,
        change=finding.change,
        old=finding.old,
        new=finding.new,
        rows=finding.rows,
        urgent=finding.is_urgent,
        said=str(finding),
    )
