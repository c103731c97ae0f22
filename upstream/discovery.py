"""Finding out which fields an object has there, kept for a while, and what has changed since the last time."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from upstream import drift, openapi, schema, store
from upstream.errors import NotDiscovered
from upstream.schema import Schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from upstream.drift import Finding
    from upstream.manifest import Discovery, Manifest
    from upstream.mapping import MappingSet
    from upstream.replies import Reply
    from upstream.store import Database

KEPT_MS: Final = 24 * 3_600_000
"""How long what was found out is taken for true."""
PAGES_MAX: Final = 3
"""How many pages of records are looked at where there are only samples to go by."""

_HOLE: Final = re.compile(r"\$\{(?:\w+\.)?([^{}]*)\}")
_SQL: Final = store.statements("mappings")


class Caller(Protocol):
    """What is needed of a connector."""

    async def call(self, operation: str, values: Mapping[str, Any]) -> Reply:
        """Carry out an operation."""
        ...

    def pages(self, operation: str, values: Mapping[str, Any]) -> AsyncIterator[Reply]:
        """Yield the pages of a list."""
        ...


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an object, whether they were asked for just now, and what had changed then."""

    schema: Schema
    version: int
    is_fresh: bool
    findings: tuple[Finding, ...] = ()


async def discover(
    caller: Caller, manifest: Manifest, object_name: str, *, document: Mapping[str, Any] | None = None
) -> Schema:
    """Ask the system which fields an object has; raises `NotDiscovered`. `document` is the connection's OpenAPI."""
    how = manifest.discovery.get(object_name)
    if how is None:
        there = ", ".join(manifest.discovery) or "none"
        raise NotDiscovered(f"nothing says how the fields of {object_name} are found out (there are: {there})")
    try:
        if how.kind == "openapi":
            if document is None and not how.operation:
                raise NotDiscovered(f"{object_name}: the connection has no OpenAPI document at hand; put one there")
            described = document if document is not None else await _answer(caller, how.operation)
            # It may be as long as a document is allowed to be, and others are served meanwhile.
            return await asyncio.to_thread(_of_document, manifest, how, described, object_name)
        if how.kind == "sample":
            return schema.of_samples(object_name, await _records(caller, how))
        return schema.of_listing(object_name, how, await _answer(caller, how.operation))
    except schema.Unreadable as exc:
        raise NotDiscovered(f"{object_name}: {exc}") from exc


async def current(database: Database, tenant_id: int, connection_id: str, object_name: str) -> Found | None:
    """Return what was found out last, if it is young enough."""
    async with database.transaction(tenant_id) as session:
        row = await session.fetchrow(_SQL["newest_schema"], tenant_id, connection_id, object_name)
    if row is None or row["age_ms"] > KEPT_MS:
        return None
    return Found(schema=_schema(object_name, row), version=row["version"], is_fresh=False)


async def keep(database: Database, tenant_id: int, connection_id: str, found: Schema, mappings: MappingSet) -> Found:
    """Keep what was found out, and return it with what has changed since the last time."""
    async with database.transaction(tenant_id) as session:
        await session.fetchrow(_SQL["lock"], tenant_id, connection_id)
        row = await session.fetchrow(_SQL["newest_schema"], tenant_id, connection_id, found.object)
        if row is not None and row["digest"] == found.digest:
            await session.execute(_SQL["seen_schema"], tenant_id, connection_id, found.object, row["version"])
            return Found(schema=found, version=row["version"], is_fresh=True)
        old = _schema(found.object, row) if row is not None else None
        findings = drift.compare(connection_id, old, found, mappings) if old is not None else ()
        fields, said = (store.as_json(msgspec.to_builtins(each)) for each in (found.fields, findings))
        place = (tenant_id, connection_id, found.object, found.digest, found.source, fields, said)
        version: int = await session.fetchval(_SQL["keep_schema"], *place)
    return Found(schema=found, version=version, is_fresh=True, findings=findings)


async def known(database: Database, tenant_id: int, connection_id: str) -> dict[str, Schema]:
    """Return the last that was found out of each object, however old."""
    async with database.transaction(tenant_id) as session:
        rows = await session.fetch(_SQL["schemas"], tenant_id, connection_id)
    return {row["object"]: _schema(row["object"], row) for row in rows}


def _schema(object_name: str, row: Any) -> Schema:
    fields = msgspec.convert(store.from_json(row["fields"]), tuple[schema.Field, ...])
    return Schema(object=object_name, source=row["source"], fields=fields)


async def _answer(caller: Caller, operation: str) -> Any:
    reply = await caller.call(operation, {})
    if reply.kind != "ok":
        raise NotDiscovered(f"{operation} was answered with {reply.kind}: {reply.message or reply.status}")
    return reply.body


async def _records(caller: Caller, how: Discovery) -> list[Any]:
    """Return some records, however many there are."""
    found: list[Any] = []
    pages = 0
    async for reply in caller.pages(how.operation, {}):
        if reply.kind != "ok":
            raise NotDiscovered(f"{how.operation} was answered with {reply.kind}: {reply.message or reply.status}")
        found += reply.items
        pages += 1
        if pages == PAGES_MAX or len(found) >= schema.SAMPLES_MAX:
            break
    return found


def _of_document(manifest: Manifest, how: Discovery, document: Any, object_name: str) -> Schema:
    if not isinstance(document, dict):
        raise schema.Unreadable("there is no OpenAPI document")
    operation = manifest.operations[how.describes]
    return openapi.request_schema(document, operation.method, _template(operation.path), object_name)


def _template(path: str) -> str:
    """Return a path of a manifest as the document would write it: a hole is `{…}`."""
    return _HOLE.sub(r"{\1}", path).partition("?")[0]
