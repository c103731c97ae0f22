"""The tables of mappings, of what they are tried on, and of the fields that systems were found to have."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

from syncserver.store.shapes import ID, INSTANT, KEY, METADATA, now, tenant


def _of_connection() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", "connection"], ["connections.tenant_id", "connections.connection"], ondelete="CASCADE"
    )


mappings: Final = Table(
    "mappings",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", KEY, nullable=False),
    Column("content", Text, nullable=False),
    Column("state", Text, CheckConstraint("state IN ('draft', 'published')"), nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("restores", Integer),
    Column("made_by", KEY, nullable=False),
    now("made_at"),
    Column("published_by", KEY),
    Column("published_at", INSTANT),
    PrimaryKeyConstraint("tenant_id", "connection", "version"),
    CheckConstraint("(state = 'published') = (published_at IS NOT NULL)"),
    _of_connection(),
)

samples: Final = Table(
    "samples",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("way", Text, CheckConstraint("way IN ('out', 'into')"), nullable=False),
    Column("object", KEY, nullable=False),
    Column("key", KEY, nullable=False),
    Column("collection", KEY, nullable=False),
    Column("context", JSONB, nullable=False),
    now("taken_at"),
    PrimaryKeyConstraint("tenant_id", "connection", "way", "object", "key"),
    Index("samples_by_age", "tenant_id", "connection", "way", "object", "taken_at"),
    _of_connection(),
)

schemas: Final = Table(
    "schemas",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("object", KEY, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", KEY, nullable=False),
    Column("source", KEY, nullable=False),
    Column("fields", JSONB, nullable=False),
    Column("findings", JSONB, nullable=False, server_default="[]"),
    now("found_at"),
    now("seen_at"),
    PrimaryKeyConstraint("tenant_id", "connection", "object", "version"),
    _of_connection(),
)

canaries: Final = Table(
    "canaries",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("object", KEY, nullable=False),
    Column("remote_id", KEY, nullable=False),
    Column("writes", Boolean, nullable=False),
    Column("every_seconds", Integer, CheckConstraint("every_seconds > 0"), nullable=False),
    Column("kept", JSONB),
    Column("kept_at", INSTANT),
    Column("ways", JSONB),
    Column("findings", JSONB, nullable=False, server_default="[]"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("asked_at", INSTANT),
    Column("read_at", INSTANT),
    now("due_at"),
    now("made_at"),
    PrimaryKeyConstraint("tenant_id", "connection", "object"),
    _of_connection(),
)

documents: Final = Table(
    "documents",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", KEY, nullable=False),
    Column("title", Text, nullable=False, server_default=""),
    Column("content", BYTEA, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("put_by", KEY, nullable=False),
    now("put_at"),
    PrimaryKeyConstraint("tenant_id", "connection"),
    _of_connection(),
)

TABLES: Final = (mappings, samples, schemas, canaries, documents)
