"""How the back door is, as numbers: read from the database now and then, shown by whoever is asked.

A connection is labelled by its id, which is the same at every worker; where several workers tell the
same, they tell the same number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import store

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upstream.store import Database

_SQL: Final = store.statements("readings")


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """One metric: its name, what it means, the names of its labels, and a number for each of their values."""

    name: str
    text: str
    labels: tuple[str, ...]
    samples: tuple[tuple[tuple[str, ...], float], ...] = ()


UNDELIVERED: Final = Gauge(
    name="fieldsync_undelivered_seconds",
    text="Age of the oldest change that a connection has not been told of; a backfill does not count.",
    labels=("connection",),
)
DELIVERIES: Final = Gauge(
    name="fieldsync_deliveries",
    text="Deliveries that are open, given up (rejected) or in doubt, and those confirmed in the last day.",
    labels=("connection", "state"),
)
FRESHNESS: Final = Gauge(
    name="fieldsync_connection_freshness_seconds",
    text="How long ago anything last came from or went to a live connection: a confirmed delivery, an event, a poll.",
    labels=("connection",),
)
STAGES: Final = Gauge(
    name="fieldsync_delivery_stage_seconds",
    text="How long each stage took on average for what was confirmed in the last 15 minutes.",
    labels=("connection", "stage"),
)
STATES: Final = Gauge(
    name="fieldsync_connection_state", text="1 for the state that a connection is in.", labels=("connection", "state")
)
INBOX: Final = Gauge(
    name="fieldsync_inbox_events", text="Events that wait, or could not be taken in.", labels=("connection", "state")
)
INBOX_AGE: Final = Gauge(
    name="fieldsync_inbox_oldest_seconds", text="Age of the oldest event that waits.", labels=("connection",)
)
QUIET: Final = Gauge(
    name="fieldsync_webhooks_quiet",
    text="1 where a vendor calls no more though there are changes, and polling has taken over.",
    labels=("connection", "object"),
)
CANARIES: Final = Gauge(
    name="fieldsync_canary_findings",
    text="In how much a canary is not what it was; its alert names the fields.",
    labels=("connection", "object"),
)
CANARIES_AGE: Final = Gauge(
    name="fieldsync_canary_read_seconds", text="How long ago a canary was read.", labels=("connection", "object")
)
POSTINGS: Final = Gauge(name="fieldsync_messages_waiting", text="Messages on their way to webhooks.", labels=())
POSTINGS_AGE: Final = Gauge(name="fieldsync_messages_oldest_seconds", text="Age of the oldest of them.", labels=())
ALERTS: Final = Gauge(name="fieldsync_alerts_open", text="Alerts that are open.", labels=("rule", "severity"))

ALL: Final = (
    UNDELIVERED,
    DELIVERIES,
    FRESHNESS,
    STAGES,
    STATES,
    INBOX,
    INBOX_AGE,
    QUIET,
    CANARIES,
    CANARIES_AGE,
    POSTINGS,
    POSTINGS_AGE,
    ALERTS,
)


async def read(database: Database, tenants: Sequence[int]) -> list[Gauge]:
    """Return every metric with its numbers now, one moment of all."""
    async with database.transaction(*tenants, snapshot=True) as session:
        rows = {
            name: [dict(row) for row in await session.fetch(statement, tenants)] for name, statement in _SQL.items()
        }
    inbox, postings = rows["inbox"], rows["postings"][0]
    stages = [
        {"connection": row["connection"], "stage": stage, "seconds": row[stage]}
        for row in rows["stages"]
        for stage in ("planned", "sent", "confirmed")
    ]
    states = [{**row, "n": 1} for row in rows["connections"]]
    return [
        _with(UNDELIVERED, rows["undelivered"], "seconds"),
        _with(DELIVERIES, rows["deliveries"], "n"),
        _with(FRESHNESS, rows["freshness"], "seconds"),
        _with(STAGES, stages, "seconds"),
        _with(STATES, states, "n"),
        _with(INBOX, inbox, "n"),
        _with(INBOX_AGE, [row for row in inbox if row["state"] == "waiting"], "seconds"),
        _with(QUIET, rows["quiet"], "n"),
        _with(CANARIES, rows["canaries"], "n"),
        _with(CANARIES_AGE, rows["canaries"], "seconds"),
        _with(POSTINGS, [postings], "waiting"),
        _with(POSTINGS_AGE, [postings], "seconds"),
        _with(ALERTS, rows["alerts"], "n"),
    ]


def _with(gauge: Gauge, rows: Iterable[dict[str, Any]], number: str) -> Gauge:
    samples = tuple((tuple(str(row[label]) for label in gauge.labels), float(row[number])) for row in rows)
    return msgspec.structs.replace(gauge, samples=samples)
