"""What is forgotten of vendors' events, of messages and of alerts once nobody needs it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upstream import alerts, inbox, webhooks

if TYPE_CHECKING:
    from syncserver.commands.upkeep import Job


async def events(job: Job) -> int:
    """Forget events that came to an end; those that failed stay for a person."""
    return await inbox.prune(job.connection, job.tenant_id, days=job.rules.inbox_days, limit=job.rules.rows)


async def messages(job: Job) -> int:
    """Forget messages that are on their way to nobody any more."""
    return await webhooks.prune(job.connection, job.tenant_id, days=job.rules.messages_days, limit=job.rules.rows)


async def over(job: Job) -> int:
    """Forget alerts that are over."""
    return await alerts.prune(job.connection, job.tenant_id, days=job.rules.alerts_days, limit=job.rules.rows)
