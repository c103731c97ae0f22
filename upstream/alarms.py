"""The worker's half of the alerts: it looks from time to time, and tells the sinks what they do not know yet.

A sink that fails is tried again, later each time; the others are not told a second time because of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog
from uuid_utils.compat import uuid7

from upstream import alerts, store, webhooks
from upstream.sinks import NotTold, Told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from upstream.alerts import Limits, Turned
    from upstream.sinks import Sink
    from upstream.store import Database, Session

LOOK_SECONDS: Final = 30.0
BATCH_MAX: Final = 100
LEASE_SECONDS: Final = 120.0
"""Longer than all sinks may take."""
RETRY_SECONDS: Final = 30.0
RETRY_SECONDS_MAX: Final = 1_800.0

_SQL: Final = store.statements("alerts")

log = structlog.get_logger()


class Alarms:
    """Looks, and tells."""

    def __init__(self, database: Database, sinks: Sequence[Sink], limits: Limits) -> None:
        self._database = database
        self._sinks = {sink.name: sink for sink in sinks}
        self._limits = limits

    async def run(self, tenants: Callable[[], Awaitable[Sequence[int]]], stop: asyncio.Event) -> None:
        """Work until told to stop."""
        while not stop.is_set():
            mine = await tenants()
            await self.look(mine)
            while await self.tell(mine):
                pass
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)

    async def look(self, tenants: Sequence[int]) -> None:
        """Look at each tenant once."""
        for tenant_id in tenants:
            try:
                turned = await alerts.look(self._database, tenant_id, self._limits, announce)
            except OSError:
                raise
            except Exception:
                # What is odd about one tenant keeps no other's alerts from being told.
                log.exception("alerts_not_looked_at", tenant=tenant_id)
                continue
            for row in turned.opened:
                log.warning("alert_opened", tenant=tenant_id, rule=row["rule"], subject=row["subject"])
            for row in turned.resolved:
                log.info("alert_resolved", tenant=tenant_id, rule=row["rule"], subject=row["subject"])

    async def tell(self, tenants: Sequence[int]) -> int:
        """Tell the sinks what they do not know yet; return how many alerts that were."""
        if not self._sinks or not tenants:
            return 0
        async with self._database.transaction(*tenants) as session:
            rows = await session.fetch(_SQL["untold"], tenants, list(self._sinks), BATCH_MAX)
            await session.execute(_SQL["postpone"], tenants, [row["alert_id"] for row in rows], LEASE_SECONDS)
        told = [_told(row) for row in rows]
        wanted = {row["alert_id"]: set(row["sinks"]) for row in rows}
        failed: dict[str, str] = {}
        for name, sink in self._sinks.items():
            mine = [alert for alert in told if name in wanted[alert.alert_id]]
            if not mine:
                continue
            try:
                await sink.tell(mine)
            except NotTold as exc:
                failed[name] = f"{name}: {exc}"
                log.warning("alert_not_told", sink=name, alerts=len(mine), reason=str(exc))
        for row, alert in zip(rows, told, strict=True):
            await self._note(row, alert, wanted[alert.alert_id], failed)
        return len(rows)

    async def _note(self, row: Any, alert: Told, wanted: set[str], failed: dict[str, str]) -> None:
        know = sorted(wanted - failed.keys())
        trouble = "; ".join(failed[name] for name in sorted(wanted & failed.keys()))
        seconds = min(RETRY_SECONDS_MAX, RETRY_SECONDS * float(2 ** min(row["tries"], 10))) if trouble else 0.0
        place = (alert.tenant_id, alert.alert_id, alert.state == "resolved", know, alert.severity)
        async with self._database.transaction(alert.tenant_id) as session:
            await session.execute(_SQL["told"], *place, trouble, seconds)


async def announce(session: Session, tenant_id: int, turned: Turned) -> None:
    """Make messages for the tenant's own webhooks of what is new and what is over."""
    made = [
        webhooks.message(
            str(uuid7()),
            f"alert.{state}",
            {name: row[name] for name in ("alert_id", "rule", "subject", "severity", "message")},
            webhooks.datetime_text(row["opened_at"] if state == "opened" else row["resolved_at"]),
            part=row["rule"],
        )
        for state, rows in (("opened", turned.opened), ("resolved", turned.resolved))
        for row in rows
    ]
    await webhooks.put(session, tenant_id, made)


def _told(row: Any) -> Told:
    state = "opened" if row["resolved_at"] is None else "resolved"
    names = ("alert_id", "tenant_id", "rule", "subject", "severity", "message", "opened_at", "resolved_at")
    return Told(state=state, **{name: row[name] for name in names})
