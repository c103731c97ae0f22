"""The OpenAPI document of a connection: kept as it was given, so that fields can be found out without asking."""

from __future__ import annotations

import hashlib
import zlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import store

if TYPE_CHECKING:
    from upstream.manifest import Manifest
    from upstream.store import Database, Session

TITLE_CHARACTERS_MAX: Final = 200

_SQL: Final = store.statements("documents")


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept: how often it was another one, what it is called, and who gave it when."""

    version: int
    digest: str
    title: str
    bytes: int
    put_by: str
    put_at: datetime


async def put(session: Session, place: tuple[int, str], text: bytes, title: str, by: str) -> None:
    """Keep a document in place of the one before, in the caller's transaction. The same one stays as it is."""
    digest, packed = hashlib.sha256(text).hexdigest(), zlib.compress(text)
    called = title.replace("\0", "")[:TITLE_CHARACTERS_MAX]
    await session.execute(_SQL["put"], *place, digest, called, packed, len(text), by)


async def shown(database: Database, tenant_id: int, connection_id: str) -> Kept | None:
    """Return what is kept, without the document; None if there is none."""
    async with database.transaction(tenant_id) as session:
        row = await session.fetchrow(_SQL["shown"], tenant_id, connection_id)
    return None if row is None else msgspec.convert(dict(row), Kept)


async def read(database: Database, tenant_id: int, connection_id: str) -> bytes | None:
    """Return the document as it was given; None if there is none."""
    async with database.transaction(tenant_id) as session:
        packed = await session.fetchval(_SQL["content"], tenant_id, connection_id)
    return None if packed is None else zlib.decompress(packed)


async def needed(database: Database, tenant_id: int, connection_id: str, manifest: Manifest) -> dict[str, Any] | None:
    """Return the document for finding out fields; None where the manifest needs none, or there is none.

    Where the manifest says which operation gives the document, the system itself is asked, as it knows better.
    """
    if not any(each.kind == "openapi" and not each.operation for each in manifest.discovery.values()):
        return None
    text = await read(database, tenant_id, connection_id)
    found = None if text is None else msgspec.json.decode(text)
    return found if isinstance(found, dict) else None
