"""The tables as they must be. The migrations make them; a test compares the two.

Statements are in `sql/`.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

from syncserver.store import inbound_tables, mapping_tables, upstream_tables
from syncserver.store.shapes import ID, INSTANT, KEY, METADATA
from syncserver.store.shapes import now as _now
from syncserver.store.shapes import of_tenant as _of_tenant
from syncserver.store.shapes import tenant as _tenant

UPSTREAM: Final = (*upstream_tables.TABLES, *inbound_tables.TABLES, *mapping_tables.TABLES)
"""The tables of `upstream`, declared in files of their own."""

tenants: Final = Table(
    "tenants",
    METADATA,
    Column("tenant_id", Integer, Identity(), nullable=False),
    Column("name", Text, nullable=False),
    _now("created_at"),
    Column("weight", Integer, CheckConstraint("weight BETWEEN 1 AND 1000"), nullable=False, server_default="1"),
    PrimaryKeyConstraint("tenant_id"),
)

epochs: Final = Table(
    "epochs",
    METADATA,
    Column("epoch", Integer, nullable=False),
    _now("began_at"),
    PrimaryKeyConstraint("epoch"),
)

migrations: Final = Table(
    "migrations",
    METADATA,
    Column("name", KEY, nullable=False),
    Column("checksum", Text, nullable=False),
    _now("applied_at"),
    PrimaryKeyConstraint("name"),
)

counters: Final = Table(
    "counters",
    METADATA,
    _tenant(),
    Column("seq", BigInteger, nullable=False, server_default="0"),
    Column("last_rid", Integer, nullable=False, server_default="0"),
    Column("hub_rid", Integer, nullable=False),
    Column("catalog_version", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("tenant_id"),
    _of_tenant(),
)

catalogs: Final = Table(
    "catalogs",
    METADATA,
    _tenant(),
    Column("version", Integer, nullable=False),
    Column("hash", KEY, nullable=False),
    Column("content", Text, nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    _now("created_at"),
    PrimaryKeyConstraint("tenant_id", "version"),
    _of_tenant(),
)

persons: Final = Table(
    "persons",
    METADATA,
    _tenant(),
    Column("person", KEY, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    _now("created_at"),
    Column("removed_at", INSTANT),
    PrimaryKeyConstraint("tenant_id", "person"),
    _of_tenant(),
)

replicas: Final = Table(
    "replicas",
    METADATA,
    _tenant(),
    Column("rid", Integer, nullable=False),
    Column("replica", ID, nullable=False, server_default=func.gen_random_uuid()),
    Column("kind", Text, nullable=False),
    Column("authority", Text, nullable=False),
    Column("handle", KEY),
    Column("person", KEY, nullable=False),
    Column("label", Text, nullable=False),
    Column("platform", Text),
    Column("applied", BigInteger, nullable=False, server_default="0"),
    Column("served", BigInteger, nullable=False, server_default="0"),
    Column("fenced", Boolean, nullable=False, server_default="false"),
    Column("pushed_at", INSTANT),
    _now("created_at"),
    Column("clock", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("tenant_id", "rid"),
    UniqueConstraint("tenant_id", "replica"),
    UniqueConstraint("tenant_id", "handle"),
    _of_tenant(),
)

positions: Final = Table(
    "positions",
    METADATA,
    _tenant(),
    Column("rid", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("pulled_at", INSTANT, nullable=False),
    Column("sealed_by", KEY),
    PrimaryKeyConstraint("tenant_id", "rid"),
    ForeignKeyConstraint(["tenant_id", "rid"], ["replicas.tenant_id", "replicas.rid"]),
)

replica_persons: Final = Table(
    "replica_persons",
    METADATA,
    _tenant(),
    Column("rid", Integer, nullable=False),
    Column("person", KEY, nullable=False),
    PrimaryKeyConstraint("tenant_id", "rid", "person"),
    ForeignKeyConstraint(["tenant_id", "rid"], ["replicas.tenant_id", "replicas.rid"]),
    ForeignKeyConstraint(["tenant_id", "person"], ["persons.tenant_id", "persons.person"]),
)

tokens: Final = Table(
    "tokens",
    METADATA,
    _tenant(),
    Column("digest", BYTEA, nullable=False),
    Column("kind", Text, CheckConstraint("kind IN ('access', 'refresh', 'session')"), nullable=False),
    Column("person", KEY, nullable=False),
    Column("role", Text, nullable=False),
    Column("rid", Integer),
    Column("expires_at", INSTANT),
    Column("revoked_at", INSTANT),
    _now("created_at"),
    PrimaryKeyConstraint("tenant_id", "digest"),
    ForeignKeyConstraint(["tenant_id", "person"], ["persons.tenant_id", "persons.person"]),
    ForeignKeyConstraint(["tenant_id", "rid"], ["replicas.tenant_id", "replicas.rid"]),
)

enrolment_codes: Final = Table(
    "enrolment_codes",
    METADATA,
    _tenant(),
    Column("digest", BYTEA, nullable=False),
    Column("person", KEY, nullable=False),
    Column("reusable", Boolean, nullable=False),
    Column("expires_at", INSTANT),
    Column("used_at", INSTANT),
    _now("created_at"),
    PrimaryKeyConstraint("tenant_id", "digest"),
    ForeignKeyConstraint(["tenant_id", "person"], ["persons.tenant_id", "persons.person"]),
)

records: Final = Table(
    "records",
    METADATA,
    _tenant(),
    Column("collection", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    Column("rev", BigInteger, nullable=False),
    Column("alive", Boolean, nullable=False),
    Column("fields", JSONB, nullable=False),
    Column("cells", BYTEA, nullable=False),
    PrimaryKeyConstraint("tenant_id", "collection", "record_id"),
)

changes: Final = Table(
    "changes",
    METADATA,
    _tenant(),
    Column("seq", BigInteger, nullable=False),
    Column("commit_seq", BigInteger, nullable=False),
    Column("class", SmallInteger, nullable=False),
    Column("collection", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    Column("op", Text, nullable=False),
    Column("rid", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("tx", Text),
    Column("person", KEY, nullable=False),
    Column("authority", Text, nullable=False),
    Column("at", BigInteger),
    _now("received_at"),
    Column("state", BYTEA, nullable=False),
    Column("cells", BYTEA, nullable=False),
    PrimaryKeyConstraint("tenant_id", "seq"),
    Index("changes_of_record", "tenant_id", "collection", "record_id", "seq"),
)

feed: Final = Table(
    "feed",
    METADATA,
    _tenant(),
    Column("reader", KEY, nullable=False),
    Column("class", SmallInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("commit_seq", BigInteger, nullable=False),
    Column("op", Text, nullable=False),
    Column("collection", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    Column("lifted", Boolean, nullable=False),
    PrimaryKeyConstraint("tenant_id", "reader", "class", "seq"),
    Index("feed_lifted", "tenant_id", "reader", "collection", "record_id", "seq", postgresql_where=text("lifted")),
)

memberships: Final = Table(
    "memberships",
    METADATA,
    _tenant(),
    Column("collection", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    Column("key", KEY, nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    Column("to_seq", BigInteger),
    Column("refcount", Integer, nullable=False),
    Column("person", KEY, nullable=False),
    PrimaryKeyConstraint("tenant_id", "collection", "record_id", "key", "from_seq"),
    Index("memberships_of_person", "tenant_id", "person", "collection", "record_id"),
)

edges: Final = Table(
    "edges",
    METADATA,
    _tenant(),
    Column("giver_collection", KEY, nullable=False),
    Column("giver_id", ID, nullable=False),
    Column("field", KEY, nullable=False),
    Column("taker_collection", KEY, nullable=False),
    Column("taker_id", ID, nullable=False),
    Column("kind", Text, CheckConstraint("kind IN ('parent', 'reference')"), nullable=False),
    PrimaryKeyConstraint("tenant_id", "giver_collection", "giver_id", "field", "taker_collection", "taker_id"),
    Index("edges_of_taker", "tenant_id", "taker_collection", "taker_id"),
)

ledger: Final = Table(
    "ledger",
    METADATA,
    _tenant(),
    Column("rid", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("person", KEY, nullable=False),
    Column("digest", BYTEA, nullable=False),
    Column("verdict", BYTEA, nullable=False),
    Column("payload", BYTEA),
    _now("received_at"),
    PrimaryKeyConstraint("tenant_id", "rid", "n"),
)

conflicts: Final = Table(
    "conflicts",
    METADATA,
    _tenant(),
    Column("conflict_id", KEY, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("collection", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    Column("cell", KEY, nullable=False),
    Column("rule", Text, nullable=False),
    Column("state", Text, CheckConstraint("state IN ('open', 'decided', 'settled', 'undone')"), nullable=False),
    Column("entry", BYTEA, nullable=False),
    Column("ended_rid", Integer),
    Column("ended_n", BigInteger),
    _now("made_at"),
    Column("ended_at", INSTANT),
    PrimaryKeyConstraint("tenant_id", "conflict_id"),
    Index("conflicts_in_order", "tenant_id", "seq"),
    Index("conflicts_of_record", "tenant_id", "collection", "record_id", "seq"),
)

remembered: Final = Table(
    "remembered",
    METADATA,
    _tenant(),
    Column("key", KEY, nullable=False),
    Column("request_hash", BYTEA, nullable=False),
    Column("verdict", BYTEA, nullable=False),
    _now("made_at"),
    PrimaryKeyConstraint("tenant_id", "key"),
    Index("remembered_by_age", "tenant_id", "made_at"),
)

marks: Final = Table(
    "marks",
    METADATA,
    _tenant(),
    Column("mark", ID, nullable=False),
    PrimaryKeyConstraint("tenant_id", "mark"),
)

held: Final = Table(
    "held",
    METADATA,
    _tenant(),
    Column("rid", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("person", KEY, nullable=False),
    Column("collection", KEY, nullable=False),
    Column("record_id", KEY, nullable=False),
    Column("op", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("schema", Integer, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('waiting', 'released', 'discarded')"),
        nullable=False,
        server_default="waiting",
    ),
    _now("made_at"),
    Column("ended_at", INSTANT),
    Column("ended_by", KEY),
    Column("ended_rid", Integer),
    Column("ended_n", BigInteger),
    Column("reason", Text),
    PrimaryKeyConstraint("tenant_id", "rid", "n"),
    Index("held_in_order", "tenant_id", "seq"),
    Index(
        "held_creates",
        "tenant_id",
        "collection",
        "record_id",
        postgresql_where=text("state = 'waiting' AND op = 'create'"),
    ),
)

proofs: Final = Table(
    "proofs",
    METADATA,
    _tenant(),
    Column("vector", BYTEA, nullable=False),
    _now("made_at"),
    PrimaryKeyConstraint("tenant_id"),
    _of_tenant(),
)

seen_verdicts: Final = Table(
    "seen_verdicts",
    METADATA,
    _tenant(),
    Column("rid", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("durable", BigInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("tenant_id", "rid"),
    ForeignKeyConstraint(["tenant_id", "rid"], ["replicas.tenant_id", "replicas.rid"]),
)

upkeep: Final = Table(
    "upkeep",
    METADATA,
    _tenant(),
    Column("task", KEY, nullable=False),
    Column("done_at", INSTANT, nullable=False),
    PrimaryKeyConstraint("tenant_id", "task"),
    _of_tenant(),
)

signins: Final = Table(
    "signins",
    METADATA,
    _tenant(),
    Column("issuer", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("secret", BYTEA, nullable=False),
    Column("config", Text, nullable=False),
    _now("changed_at"),
    PrimaryKeyConstraint("tenant_id"),
    _of_tenant(),
)

audit: Final = Table(
    "audit",
    METADATA,
    _tenant(),
    Column("entry_id", ID, nullable=False),
    _now("at"),
    Column("person", KEY),
    Column("system", KEY),
    Column("action", KEY, nullable=False),
    Column("object", Text, nullable=False),
    Column("outcome", KEY, nullable=False),
    Column("request", KEY),
    PrimaryKeyConstraint("tenant_id", "entry_id"),
    CheckConstraint("(person IS NULL) <> (system IS NULL)"),
    _of_tenant(),
)
