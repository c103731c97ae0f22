"""The tables of what comes in from vendors, and of what leaves by webhook and as an alert."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from syncserver.store.shapes import ID, INSTANT, KEY, METADATA, now, tenant

WAITING: Final = text("state = 'waiting'")


def _text(name: str, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def _count(name: str, default: int = 0) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=str(default))


def _state(*states: str, default: str | None) -> Column[str]:
    allowed = ", ".join(f"'{state}'" for state in states)
    return Column("state", Text, CheckConstraint(f"state IN ({allowed})"), nullable=False, server_default=default)


def _leased() -> tuple[Column[Any], Column[Any]]:
    return Column("leased_until", INSTANT), Column("leased_by", ID)


def _of_connection() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", "connection"], ["connections.tenant_id", "connections.connection"], ondelete="CASCADE"
    )


hook_secrets: Final = Table(
    "hook_secrets",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("secret_id", ID, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    _state("active", "candidate", default=None),
    _text("said"),
    now("made_at"),
    Column("ends_at", INSTANT),
    PrimaryKeyConstraint("tenant_id", "connection", "secret_id"),
    _of_connection(),
)

inbox: Final = Table(
    "inbox",
    METADATA,
    tenant(),
    Column("inbox_id", ID, nullable=False),
    Column("connection", ID, nullable=False),
    Column("event", KEY, nullable=False),
    Column("source", Text, CheckConstraint("source IN ('hook', 'poll', 'reference')"), nullable=False),
    Column("object", KEY, nullable=False),
    Column("remote_id", KEY, nullable=False),
    Column("remote_version", KEY, nullable=False),
    Column("is_whole", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    _state("waiting", "absorbed", "echo", "stale", "ignored", "failed", default="waiting"),
    _text("reason"),
    _text("verdict"),
    Column("collection", KEY),
    Column("record_id", ID),
    _count("times", 1),
    _count("tries"),
    now("received_at"),
    now("due_at"),
    *_leased(),
    Column("ended_at", INSTANT),
    Column("taken_up_at", INSTANT),
    PrimaryKeyConstraint("tenant_id", "inbox_id"),
    UniqueConstraint("tenant_id", "connection", "event"),
    Index("inbox_due", "tenant_id", "connection", "due_at", postgresql_where=WAITING),
    Index("inbox_lane", "tenant_id", "connection", "object", "remote_id", "inbox_id", postgresql_where=WAITING),
    Index("inbox_record", "tenant_id", "connection", "remote_id", "inbox_id"),
    Index("inbox_received", "tenant_id", "connection", "received_at"),
)

sightings: Final = Table(
    "sightings",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("object", KEY, nullable=False),
    Column("remote_id", KEY, nullable=False),
    Column("collection", KEY, nullable=False),
    Column("record_id", ID, nullable=False),
    Column("version", KEY, nullable=False, server_default=""),
    _text("fields", "{}"),
    _text("base", "{}"),
    Column("confirmed_seq", BigInteger, nullable=False, server_default="0"),
    Column("pending", Text),
    now("seen_at"),
    PrimaryKeyConstraint("tenant_id", "connection", "object", "remote_id"),
    Index("sightings_of_record", "tenant_id", "connection", "collection", "record_id"),
)

polls: Final = Table(
    "polls",
    METADATA,
    tenant(),
    Column("connection", ID, nullable=False),
    Column("object", KEY, nullable=False),
    Column("since", INSTANT),
    now("due_at"),
    Column("polled_at", INSTANT),
    Column("brought_at", INSTANT),
    Column("hooked_at", INSTANT),
    _count("misses"),
    Column("is_quiet", Boolean, nullable=False, server_default="false"),
    _count("failures"),
    _text("reason"),
    *_leased(),
    PrimaryKeyConstraint("tenant_id", "connection", "object"),
    _of_connection(),
)

endpoints: Final = Table(
    "endpoints",
    METADATA,
    tenant(),
    Column("endpoint_id", ID, nullable=False),
    Column("url", Text, nullable=False),
    _text("description"),
    Column("types", ARRAY(Text), nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("old_secret", LargeBinary),
    Column("old_until", INSTANT),
    _state("on", "off", "disabled", default="on"),
    _text("reason"),
    Column("failing_since", INSTANT),
    now("created_at"),
    PrimaryKeyConstraint("tenant_id", "endpoint_id"),
)

message_positions: Final = Table(
    "message_positions",
    METADATA,
    tenant(),
    Column("changes_seq", BigInteger, nullable=False),
    Column("conflict_seq", BigInteger, nullable=False),
    _text("connections", "{}"),
    PrimaryKeyConstraint("tenant_id"),
)

messages: Final = Table(
    "messages",
    METADATA,
    tenant(),
    Column("message_id", ID, nullable=False),
    Column("type", KEY, nullable=False),
    Column("body", Text, nullable=False),
    now("made_at"),
    PrimaryKeyConstraint("tenant_id", "message_id"),
    Index("messages_made", "tenant_id", "made_at"),
)

postings: Final = Table(
    "postings",
    METADATA,
    tenant(),
    Column("endpoint_id", ID, nullable=False),
    Column("message_id", ID, nullable=False),
    _state("waiting", "delivered", "failed", default="waiting"),
    _count("tries"),
    now("made_at"),
    now("due_at"),
    *_leased(),
    Column("ended_at", INSTANT),
    PrimaryKeyConstraint("tenant_id", "endpoint_id", "message_id"),
    ForeignKeyConstraint(
        ["tenant_id", "endpoint_id"], ["endpoints.tenant_id", "endpoints.endpoint_id"], ondelete="CASCADE"
    ),
    ForeignKeyConstraint(
        ["tenant_id", "message_id"], ["messages.tenant_id", "messages.message_id"], ondelete="CASCADE"
    ),
    Index("postings_due", "tenant_id", "endpoint_id", "due_at", postgresql_where=WAITING),
)

message_attempts: Final = Table(
    "message_attempts",
    METADATA,
    tenant(),
    Column("endpoint_id", ID, nullable=False),
    Column("message_id", ID, nullable=False),
    Column("n", Integer, nullable=False),
    now("at"),
    Column("status", Integer, nullable=False),
    Column("reply", Text, nullable=False),
    Column("took_ms", Integer, nullable=False),
    PrimaryKeyConstraint("tenant_id", "endpoint_id", "message_id", "n"),
    ForeignKeyConstraint(
        ["tenant_id", "endpoint_id", "message_id"],
        ["postings.tenant_id", "postings.endpoint_id", "postings.message_id"],
        ondelete="CASCADE",
    ),
)

alerts: Final = Table(
    "alerts",
    METADATA,
    tenant(),
    Column("alert_id", ID, nullable=False),
    Column("rule", KEY, nullable=False),
    Column("subject", KEY, nullable=False),
    Column("severity", Text, CheckConstraint("severity IN ('warning', 'critical')"), nullable=False),
    Column("message", Text, nullable=False),
    now("opened_at"),
    now("seen_at"),
    Column("resolved_at", INSTANT),
    Column("told", ARRAY(Text), nullable=False, server_default="{}"),
    Column("told_resolved", ARRAY(Text), nullable=False, server_default="{}"),
    _count("tries"),
    now("due_at"),
    _text("trouble"),
    PrimaryKeyConstraint("tenant_id", "alert_id"),
    Index("alerts_open", "tenant_id", "rule", "subject", unique=True, postgresql_where=text("resolved_at IS NULL")),
)

TABLES: Final = (
    hook_secrets,
    inbox,
    sightings,
    polls,
    endpoints,
    message_positions,
    messages,
    postings,
    message_attempts,
    alerts,
)
