"""The tables of `upstream` as they must be: migrations make them, and a test compares the two."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB

from syncserver.store.shapes import ID, INSTANT, KEY, METADATA, now, tenant


def _lane() -> Column[str]:
    one_of = CheckConstraint("lane IN ('live', 'backfill')")
    return Column("lane", Text, one_of, nullable=False, server_default="live")


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0")


def _whether(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default="false")


def _index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, "tenant_id", *columns, postgresql_where=text(where), unique=unique)


# Connections, outbox, deliveries.

connections: Final = Table(
    "connections",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("system", KEY, nullable=False),
    Column("name", Text, nullable=False),
    Column("rid", Integer, nullable=False),
    Column("manifest", KEY, nullable=False),
    Column("manifest_text", Text),
    Column("base_url", Text),
    Column("config", JSONB, nullable=False, server_default="{}"),
    Column("mapping_version", Integer),
    Column("mode", Text, CheckConstraint("mode IN ('shadow', 'live')"), nullable=False, server_default="shadow"),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('ok', 'paused', 'reauthorise', 'broken')"),
        nullable=False,
        server_default="ok",
    ),
    _text("state_reason"),
    Column(
        "in_flight_max",
        Integer,
        CheckConstraint("in_flight_max BETWEEN 1 AND 1000"),
        nullable=False,
        server_default="8",
    ),
    Column(
        "backfill_share",
        Integer,
        CheckConstraint("backfill_share BETWEEN 1 AND 100"),
        nullable=False,
        server_default="10",
    ),
    _whether("backfill_paused"),
    now("created_at"),
    PrimaryKeyConstraint("tenant_id", "connection"),
    UniqueConstraint("tenant_id", "name"),
    ForeignKeyConstraint(["tenant_id", "rid"], ["replicas.tenant_id", "replicas.rid"]),
)

interests: Final = Table(
    "interests",
    METADATA,
    tenant(),
    Column("collection", KEY, nullable=False),
    Column("connection", ID, nullable=False),
    Column("rid", Integer, nullable=False),
    Column("fields", ARRAY(Text), nullable=False, server_default="{}"),
    PrimaryKeyConstraint("tenant_id", "collection", "connection"),
    ForeignKeyConstraint(
        ["tenant_id", "connection"], ["connections.tenant_id", "connections.connection"], ondelete="CASCADE"
    ),
)

lookups: Final = Table(
    "lookups",
    METADATA,
    tenant(),
    Column("collection", KEY, nullable=False),
    Column("field", KEY, nullable=False),
    Column("value", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    PrimaryKeyConstraint("tenant_id", "collection", "field", "value", "record_id"),
)

outbox: Final = Table(
    "outbox",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("collection", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    Column("cause_rid", Integer, nullable=False),
    _whether("correct"),
    _lane(),
    now("marked_at"),
    now("due_at"),
    Column("leased_until", INSTANT),
    Column("leased_by", ID),
    _count("attempts"),
    Column("waits_on", ID),
    _text("reason"),
    PrimaryKeyConstraint("tenant_id", "connection", "collection", "record_id"),
    _index("outbox_due", "connection", "lane", "due_at", where="due_at IS NOT NULL"),
    _index("outbox_waiting", "connection", "waits_on", where="waits_on IS NOT NULL"),
)

deliveries: Final = Table(
    "deliveries",
    METADATA,
    tenant(),
    Column("delivery_id", ID, nullable=False),
    Column("connection", ID, nullable=False),
    Column("object", KEY, nullable=False),
    Column("key", KEY, nullable=False),
    Column("collection", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    Column("cause_seq", BigInteger, nullable=False),
    Column("seen_seq", BigInteger, nullable=False),
    Column("action", Text, CheckConstraint("action IN ('upsert', 'void')"), nullable=False),
    _lane(),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('planned', 'leased', 'sent', 'confirmed', 'rejected', 'unknown', 'superseded')"),
        nullable=False,
    ),
    Column("mode", Text, CheckConstraint("mode IN ('shadow', 'live')"), nullable=False),
    Column("idempotency_key", ID, nullable=False),
    Column("marker", KEY, nullable=False),
    Column("fields", JSONB, nullable=False),
    Column("mapping_version", Integer, nullable=False),
    Column("late_object", KEY),
    Column("late_key", KEY),
    Column("covers", JSONB),
    _count("sends"),
    _count("reads"),
    _count("conflicts"),
    _count("tried"),
    Column("first_sent_at", INSTANT),
    Column("last_sent_at", INSTANT),
    Column("due_at", INSTANT),
    Column("leased_until", INSTANT),
    Column("leased_by", ID),
    Column("remote_id", KEY),
    Column("remote_version", KEY),
    _text("error_class"),
    _text("error_code"),
    _text("error_message"),
    Column("marked_at", INSTANT, nullable=False),
    now("made_at"),
    Column("ended_at", INSTANT),
    Column("superseded_by", ID),
    Column("taken_up_at", INSTANT),
    PrimaryKeyConstraint("tenant_id", "delivery_id"),
    _index("deliveries_by_idempotency", "idempotency_key", where="idempotency_key IS NOT NULL", unique=True),
    _index("deliveries_leased", "connection", where="leased_until IS NOT NULL"),
    _index("deliveries_due", "connection", "lane", "due_at", where="due_at IS NOT NULL"),
    _index("deliveries_late", "connection", "late_object", "late_key", where="late_object IS NOT NULL"),
    _index("deliveries_of_record", "collection", "record_id", where="record_id IS NOT NULL"),
    _index("deliveries_of_key", "connection", "object", "key", "seen_seq", where="key IS NOT NULL"),
    _index("deliveries_marked", "connection", "object", "marker", where="marker IS NOT NULL"),
    _index("deliveries_confirmed", "connection", "ended_at", where="state = 'confirmed'"),
    _index(
        "deliveries_dead",
        "connection",
        "delivery_id",
        where="state = 'rejected' OR (state = 'unknown' AND due_at IS NULL)",
    ),
)

attempts: Final = Table(
    "attempts",
    METADATA,
    tenant(),
    Column("delivery_id", ID, nullable=False),
    Column("n", Integer, nullable=False),
    now("at"),
    Column("operation", KEY, nullable=False),
    Column("request", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("reply", Text, nullable=False),
    Column("outcome", KEY, nullable=False),
    Column("took_ms", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "delivery_id", "n"),
)

remotes: Final = Table(
    "remotes",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("object", KEY, nullable=False),
    Column("key", KEY, nullable=False),
    Column("remote_id", KEY),
    Column("remote_version", KEY),
    Column("fields", JSONB),
    Column("confirmed_seq", BigInteger, nullable=False, server_default="0"),
    Column("confirmed_at", INSTANT),
    _whether("voided"),
    _count("lives"),
    _whether("locked"),
    _text("locked_reason"),
    PrimaryKeyConstraint("tenant_id", "connection", "object", "key"),
    _index("remotes_by_id", "connection", "object", "remote_id", where="remote_id IS NOT NULL", unique=True),
    _index("remotes_of_key", "connection", "key", where="key IS NOT NULL"),
)

closures: Final = Table(
    "closures",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("object", KEY, nullable=False),
    Column("period", KEY, nullable=False),
    _text("reason"),
    now("closed_at"),
    PrimaryKeyConstraint("tenant_id", "connection", "object", "period"),
)

# Credentials.

credentials: Final = Table(
    "credentials",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("secret", BYTEA, nullable=False),
    Column("state", Text, CheckConstraint("state IN ('ok', 'reauthorise')"), nullable=False, server_default="ok"),
    _text("reason"),
    Column("token_expires_at", INSTANT),
    Column("renew_at", INSTANT),
    Column("refresh_expires_at", INSTANT),
    Column("certificate_expires_at", INSTANT),
    Column("password_expires_at", INSTANT),
    Column("asked_at", INSTANT),
    Column("leased_until", INSTANT),
    Column("leased_by", ID),
    now("changed_at"),
    PrimaryKeyConstraint("tenant_id", "connection"),
    ForeignKeyConstraint(
        ["tenant_id", "connection"], ["connections.tenant_id", "connections.connection"], ondelete="CASCADE"
    ),
)

# Dead letters.

interventions: Final = Table(
    "interventions",
    METADATA,
    tenant(),
    Column("delivery_id", ID, nullable=False),
    Column("n", Integer, nullable=False),
    now("at"),
    Column("person", KEY, nullable=False),
    Column(
        "action",
        KEY,
        CheckConstraint("action IN ('edit', 'retry', 'replan', 'skip', 'done')"),
        nullable=False,
    ),
    _text("reason"),
    Column("before", JSONB),
    Column("after", JSONB),
    PrimaryKeyConstraint("tenant_id", "delivery_id", "n"),
)

TABLES: Final = (
    connections,
    interests,
    lookups,
    outbox,
    deliveries,
    attempts,
    remotes,
    closures,
    credentials,
    interventions,
)
