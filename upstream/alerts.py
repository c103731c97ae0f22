"""What is wrong, so that it leaves the system: found by rules, told once, and told when it is over.

A rule looks at what is stored and names subjects. What it names for the first time is opened; what it
names no more is resolved; whatever it names again and again is one alert. What somebody else finds
(`report`) stays until that one settles it. Sinks are told each alert twice at most, and again when it
has become worse: a sink that fails is tried again until it knows.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
from uuid_utils.compat import uuid7

from upstream import drift, store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from upstream.store import Database, Session

    Announce = Callable[[Session, int, "Turned"], Awaitable[None]]

Severity: TypeAlias = Literal["warning", "critical"]

DAY_SECONDS: Final = 86_400
LOCK: Final = 1718839721
LIST_MAX: Final = 500
POLL_FAILURES_MAX: Final = 5
WEEKS_COMPARED: Final = 2
CHANGES_SHOWN_MAX: Final = 10
CANARY_MISSES_MAX: Final = 3
"""After how many of its own pauses a canary that was not read is told of."""

_SQL: Final = store.statements("alerts")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """From when on something is wrong. Times are in seconds."""

    late_seconds: int = 900
    very_late_seconds: int = 3_600
    expiry_days: int = 14
    urgent_expiry_days: int = 3
    silence_seconds: int = 6 * 3_600
    """The stretch that is compared with the same one of the weeks before."""
    silence_pieces_min: int = 5
    """What came in each of those weeks at least, so that nothing at all is strange."""
    inbox_seconds: int = 900
    dead_many: int = 20
    """So many dead letters of one connection are no exceptions any more."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong: by which rule, with what, and in words for people."""

    rule: str
    subject: str
    severity: Severity
    message: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as people are shown it."""

    alert_id: str
    rule: str
    subject: str
    severity: Severity
    message: str
    opened_at: datetime
    seen_at: datetime
    resolved_at: datetime | None
    told: tuple[str, ...]
    trouble: str


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """What changed with one look: alerts that were opened, and that were resolved."""

    opened: tuple[dict[str, Any], ...] = ()
    resolved: tuple[dict[str, Any], ...] = ()


# The rules.


async def _latched(session: Session, tenant_id: int, _: Limits) -> list[Finding]:
    rows = await session.fetch(_SQL["latched"], tenant_id)
    said = {"reauthorise": "has to be signed in again", "broken": "cannot be used"}
    return [
        _found("connection_latched", row, "critical", f"{row['name']} {said[row['state']]}: {row['reason']}")
        for row in rows
    ]


async def _dead(session: Session, tenant_id: int, limits: Limits) -> list[Finding]:
    found = []
    for row in await session.fetch(_SQL["dead"], tenant_id):
        if row["rejected"]:
            severity: Severity = "critical" if row["rejected"] >= limits.dead_many else "warning"
            said = f"{row['rejected']} deliveries to {row['name']} were given up and wait for a person"
            found.append(_found("dead_letters", row, severity, said))
        if row["unknown"]:
            said = f"of {row['unknown']} deliveries to {row['name']} nobody knows whether they arrived"
            found.append(_found("deliveries_unknown", row, "critical", said))
    return found


async def _expiring(session: Session, tenant_id: int, limits: Limits) -> list[Finding]:
    rows = await session.fetch(_SQL["expiring"], tenant_id, float(limits.expiry_days * DAY_SECONDS))
    found = []
    for row in rows:
        days = row["seconds"] / DAY_SECONDS
        severity: Severity = "critical" if days < limits.urgent_expiry_days else "warning"
        when = f"ends in {days:.1f} days" if days > 0 else "has ended"
        subject = f"{row['subject']}/{row['kind'].replace(' ', '_')}"
        said = f"the {row['kind']} of {row['name']} {when}"
        found.append(Finding(rule="expiry", subject=subject, severity=severity, message=said))
    return found


async def _late(session: Session, tenant_id: int, limits: Limits) -> list[Finding]:
    rows = await session.fetch(_SQL["late"], tenant_id, float(limits.late_seconds))
    return [
        _found(
            "lag",
            row,
            "critical" if row["seconds"] >= limits.very_late_seconds else "warning",
            f"{row['waiting']} changes were not told to {row['name']}, the oldest for {row['seconds'] // 60} min",
        )
        for row in rows
    ]


async def _silent(session: Session, tenant_id: int, limits: Limits) -> list[Finding]:
    rows = await session.fetch(_SQL["traffic"], tenant_id, float(limits.silence_seconds))
    each: dict[str, list[Any]] = {}
    for row in rows:
        each.setdefault(row["subject"], []).append(row)
    hours = limits.silence_seconds // 3_600
    return [
        _found(
            "silent",
            weeks[0],
            "critical",
            f"nothing came from or went to {weeks[0]['name']} for {hours} hours; a week ago: {weeks[1]['pieces']}",
        )
        for weeks in each.values()
        # Once it is told it is over when something comes: not by night, nor when the silence is itself a week old.
        if weeks[0]["pieces"] == 0 and (weeks[0]["is_open"] or _is_expected(weeks, limits))
    ]


def _is_expected(weeks: list[Any], limits: Limits) -> bool:
    """Tell whether there was traffic in the same stretch of each week that the connection has seen whole."""
    seen = [
        week["pieces"]
        for week in weeks[1:]
        if week["age_seconds"] >= week["weeks"] * 7 * DAY_SECONDS + limits.silence_seconds
    ]
    return bool(seen) and min(seen) >= limits.silence_pieces_min


async def _quiet(session: Session, tenant_id: int, _: Limits) -> list[Finding]:
    rows = await session.fetch(_SQL["quiet"], tenant_id)
    said = "{name} calls no more about {object}, though there are changes; it is polled instead"
    return [_found("webhooks_quiet", row, "warning", said.format(**row)) for row in rows]


async def _unpolled(session: Session, tenant_id: int, _: Limits) -> list[Finding]:
    rows = await session.fetch(_SQL["unpolled"], tenant_id, POLL_FAILURES_MAX)
    said = "{object} of {name} could not be polled {failures} times: {reason}"
    return [_found("polling_failed", row, "warning", said.format(**row)) for row in rows]


async def _inbox(session: Session, tenant_id: int, limits: Limits) -> list[Finding]:
    found = []
    for row in await session.fetch(_SQL["inbox"], tenant_id):
        if row["failed"]:
            said = f"{row['failed']} events of {row['name']} could not be taken in and wait for a person"
            found.append(_found("inbox_failed", row, "warning", said))
        if row["seconds"] >= limits.inbox_seconds:
            said = f"an event of {row['name']} waits for {row['seconds'] // 60} minutes"
            found.append(_found("inbox_late", row, "warning", said))
    return found


async def _drifted(session: Session, tenant_id: int, _: Limits) -> list[Finding]:
    found = []
    said = "{object} of {name} has other fields than when its mapping was published (schema {version})"
    for row in await session.fetch(_SQL["drifted"], tenant_id):
        changes = msgspec.convert(store.from_json(row["findings"]), tuple[drift.Finding, ...])
        told = [change for change in changes if change.matters]
        if changes and not told:
            continue
        shown = "".join(f"; {change}" for change in told[:CHANGES_SHOWN_MAX])
        severity: Severity = "critical" if any(change.is_urgent for change in told) else "warning"
        found.append(_found("schema_changed", row, severity, said.format(**row) + shown))
    return found


async def _canaries(session: Session, tenant_id: int, _: Limits) -> list[Finding]:
    found = []
    for row in await session.fetch(_SQL["canaries"], tenant_id, CANARY_MISSES_MAX):
        changes = msgspec.convert(store.from_json(row["findings"]), tuple[drift.Finding, ...])
        if changes:
            severity: Severity = "critical" if any(change.is_urgent for change in changes) else "warning"
            shown = "; ".join(map(str, changes[:CHANGES_SHOWN_MAX]))
            said = f"the canary {row['remote_id']} of {row['name']} is not what it was: {shown}"
            found.append(_found("canary", row, severity, said))
        if row["is_unread"]:
            said = f"the canary {row['remote_id']} ({row['object']}) of {row['name']} cannot be read: {row['reason']}"
            found.append(_found("canary_unread", row, "warning", said))
    return found


async def _disabled(session: Session, tenant_id: int, _: Limits) -> list[Finding]:
    rows = await session.fetch(_SQL["disabled"], tenant_id)
    return [_found("endpoint_disabled", row, "warning", f"a webhook was disabled: {row['reason']}") for row in rows]


RULES: Final[dict[str, Callable[[Session, int, Limits], Awaitable[list[Finding]]]]] = {
    "connection_latched": _latched,
    "dead_letters deliveries_unknown": _dead,
    "expiry": _expiring,
    "lag": _late,
    "silent": _silent,
    "webhooks_quiet": _quiet,
    "polling_failed": _unpolled,
    "inbox_failed inbox_late": _inbox,
    "schema_changed": _drifted,
    "canary canary_unread": _canaries,
    "endpoint_disabled": _disabled,
}
"""The rules by the names of what they find."""

FOUND: Final = tuple(name for names in RULES for name in names.split())


async def look(database: Database, tenant_id: int, limits: Limits, announce: Announce | None = None) -> Turned:
    """Look at everything once; return what is new and what is over. One worker at a time looks at a tenant.

    `announce` is told of both in the same transaction.
    """
    async with database.transaction(tenant_id) as session:
        if not await session.fetchval(_SQL["claim"], LOCK, tenant_id):
            return Turned()
        findings = [finding for rule in RULES.values() for finding in await rule(session, tenant_id, limits)]
        opened = await _open(session, tenant_id, findings)
        seen = store.columns([(finding.rule, finding.subject) for finding in findings], 2)
        resolved = await session.fetch(_SQL["resolve"], tenant_id, list(FOUND), *seen)
        turned = Turned(opened=tuple(opened), resolved=tuple(dict(row) for row in resolved))
        if announce is not None and (opened or resolved):
            await announce(session, tenant_id, turned)
    return turned


async def report(session: Session, tenant_id: int, findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Open alerts for what somebody else has found, in the caller's transaction; return those that are new."""
    found = list(findings)
    taken = sorted({finding.rule for finding in found} & {*FOUND})
    assert not taken, f"{taken} are found by rules, which would resolve them"
    return await _open(session, tenant_id, found)


async def settle(session: Session, tenant_id: int, rule: str, subject: str) -> list[dict[str, Any]]:
    """Resolve what was reported, in the caller's transaction; return it, nothing if it was not open."""
    return [dict(row) for row in await session.fetch(_SQL["settle"], tenant_id, rule, subject)]


async def listed(database: Database, tenant_id: int, *, is_open: bool | None = None) -> list[Alert]:
    """Return alerts, newest first; only those that are open, or are over, if that is asked for."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["listed"], tenant_id, is_open, LIST_MAX)
    return [msgspec.convert(dict(row), Alert) for row in found]


async def prune(session: Session, tenant_id: int, *, days: int, limit: int) -> int:
    """Forget alerts that were over this long ago; return how many."""
    done: str = await session.execute(_SQL["prune"], tenant_id, days, limit)
    return int(done.rpartition(" ")[2])


async def _open(session: Session, tenant_id: int, findings: list[Finding]) -> list[dict[str, Any]]:
    each = {(finding.rule, finding.subject): finding for finding in findings}
    rows = [(str(uuid7()), f.rule, f.subject, f.severity, f.message) for f in each.values()]
    stored = await session.fetch(_SQL["opened"], tenant_id, *store.columns(rows, 5))
    return [dict(row) for row in stored if row["is_new"]]


def _found(rule: str, row: Any, severity: Severity, message: str) -> Finding:
    return Finding(rule=rule, subject=row["subject"], severity=severity, message=message)
