"""`fieldsync dead-letters list | show | edit | retry | replan | skip | done | bulk`: what waits for a person."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import cyclopts
import msgspec
from cyclopts import validators

from syncserver.cli import aligned, outcome, reaching
from syncserver.commands.upstream.acting import operator
from syncserver.commands.upstream.letters import (
    BULK_MAX,
    LIMIT,
    LIMIT_MAX,
    Bulk,
    Chosen,
    Decision,
    Done,
    Edit,
    Letters,
    Sought,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from syncserver.commands.access import Principal
    from syncserver.commands.upstream.letters import Attempt, Delivery, Detail
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store import db

FAILED: Final = 1
NAMES: Final = ("id", "connection", "state", "object", "key", "class", "code", "tried", "since", "message")
MESSAGE_CHARACTERS: Final = 60
Many = Annotated[int, cyclopts.Parameter(validator=validators.Number(gte=1, lte=BULK_MAX))]
Limit = Annotated[int, cyclopts.Parameter(validator=validators.Number(gte=1, lte=LIMIT_MAX))]

app = cyclopts.App(name="dead-letters", help="Deliveries that wait for a person.")


@app.command(name="list")
def listed(
    *, tenant: int = 1, connection: str = "", state: str = "", error_class: str = "", limit: Limit = LIMIT
) -> int:
    """Print what was given up, or of which nobody knows what became, newest first.

    Parameters
    ----------
    tenant
        Number of the tenant.
    connection
        Only those of this connection.
    state
        rejected or unknown.
    error_class
        Only those with this kind of trouble, like data.
    limit
        How many at most.
    """
    sought = Sought(connection=connection, state=state, error_class=error_class)

    async def work(letters: Letters, who: Principal) -> str:
        found, names = await letters.listed(who, sought, limit=limit, dead=True), await letters.names(who)
        return aligned.table(NAMES, (_row(each, names) for each in found))

    return _told(tenant, work)


@app.command
def show(delivery: str, *, tenant: int = 1) -> int:
    """Print a dead letter: what would be sent, all attempts and answers, what people did, what usually helps.

    Parameters
    ----------
    delivery
        Its id, as `fieldsync dead-letters list` prints it.
    tenant
        Number of the tenant.
    """

    async def work(letters: Letters, who: Principal) -> str:
        return _shown(await letters.one(who, delivery), await letters.names(who))

    return _told(tenant, work)


@app.command
def edit(  # noqa: PLR0913  (each option is an argument)
    delivery: str,
    fields: Path,
    *,
    reason: str,
    retry: bool = False,
    absent: bool = False,
    new_operation: bool = False,
    tenant: int = 1,
) -> int:
    """Put the fields of a JSON file in place of those that would be sent, and print what differs.

    Parameters
    ----------
    delivery
        Its id.
    fields
        A JSON file with all fields.
    reason
        Why.
    retry
        Send it too.
    absent
        Somebody has looked: it does not stand there. Needed while nobody knows.
    new_operation
        Send it under a new key. The system then cannot tell it from something else.
    tenant
        Number of the tenant.
    """
    try:
        given = msgspec.json.decode(fields.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{fields}: {error}\n")
        return FAILED

    async def work(letters: Letters, who: Principal) -> str:
        wanted = Edit(fields=given, reason=reason, retry=retry, absent=absent, new_operation=new_operation)
        changes = await letters.edit(who, delivery, wanted)
        rows = ((each.path, each.change, _json(each.before), _json(each.after)) for each in changes)
        return aligned.table(("path", "change", "before", "after"), rows)

    return _told(tenant, work)


@app.command
def retry(
    delivery: str, *, reason: str = "", absent: bool = False, new_operation: bool = False, tenant: int = 1
) -> int:
    """Have it sent again. What may stand there is looked for first, unless it is said to be absent.

    Parameters
    ----------
    delivery
        Its id.
    reason
        Why.
    absent
        Somebody has looked: it does not stand there.
    new_operation
        Send it under a new key.
    tenant
        Number of the tenant.
    """
    decision = Decision(reason=reason, absent=absent, new_operation=new_operation)

    async def work(letters: Letters, who: Principal) -> str:
        await letters.retry(who, delivery, decision)
        return await _state(letters, who, delivery)

    return _told(tenant, work)


@app.command
def replan(delivery: str, *, reason: str = "", absent: bool = False, tenant: int = 1) -> int:
    """Have it made anew of the records as they are, by the mapping that holds.

    Parameters
    ----------
    delivery
        Its id.
    reason
        Why.
    absent
        Somebody has looked: it does not stand there.
    tenant
        Number of the tenant.
    """

    async def work(letters: Letters, who: Principal) -> str:
        await letters.replan(who, delivery, Decision(reason=reason, absent=absent))
        return await _state(letters, who, delivery)

    return _told(tenant, work)


@app.command
def skip(delivery: str, *, reason: str, absent: bool = False, tenant: int = 1) -> int:
    """Let it go untold; what comes later of the same object is told.

    Parameters
    ----------
    delivery
        Its id.
    reason
        Why.
    absent
        Somebody has looked: it does not stand there.
    tenant
        Number of the tenant.
    """

    async def work(letters: Letters, who: Principal) -> str:
        await letters.skip(who, delivery, Decision(reason=reason, absent=absent))
        return await _state(letters, who, delivery)

    return _told(tenant, work)


@app.command
def done(delivery: str, *, reason: str, remote_id: str = "", tenant: int = 1) -> int:
    """Note that it stands there, under which id.

    Parameters
    ----------
    delivery
        Its id.
    reason
        How that is known.
    remote_id
        Its id there.
    tenant
        Number of the tenant.
    """

    async def work(letters: Letters, who: Principal) -> str:
        await letters.done(who, delivery, Done(reason=reason, remote_id=remote_id))
        return await _state(letters, who, delivery)

    return _told(tenant, work)


@app.command
def bulk(  # noqa: PLR0913  (a filter, each of its parts by its name)
    action: Literal["retry", "replan", "skip"],
    *,
    reason: str,
    connection: str = "",
    state: Literal["", "rejected", "unknown"] = "",
    object: str = "",  # noqa: A002  (what people type)
    error_class: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    absent: bool = False,
    dry_run: bool = False,
    limit: Many = BULK_MAX,
    tenant: int = 1,
) -> int:
    """One word for all dead letters that fit a filter, each for itself.

    Parameters
    ----------
    action
        retry, replan or skip.
    reason
        Why.
    connection
        Only those of this connection.
    state
        rejected or unknown.
    object
        Only those of this object there.
    error_class
        Only those with this kind of trouble, like data.
    since
        Only those that ended, or were last sent, from this instant on; without an offset, in UTC.
    until
        And before this one.
    absent
        Somebody has looked: they do not stand there.
    dry_run
        Only say how many these would be.
    limit
        How many at most.
    tenant
        Number of the tenant.
    """
    chosen = Chosen(connection=connection, state=state, object=object, error_class=error_class)
    wanted = Bulk(action=action, filter=chosen, reason=reason, absent=absent, dry_run=dry_run, limit=limit)

    async def work(letters: Letters, who: Principal) -> str:
        came = await letters.bulk(who, wanted, _in_utc(since), _in_utc(until))
        lines = [f"{left.id}  {left.code}: {left.message}" for left in came.left]
        more = "; there are more" if came.more else ""
        return "\n".join([*lines, f"{came.found} found, {action} holds for {came.done}{more}"])

    return _told(tenant, work)


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _told(tenant_id: int, work: Callable[[Letters, Principal], Awaitable[str]]) -> int:
    async def worked(database: db.Database, systems: Systems) -> str:
        return await work(Letters(database, systems), operator(tenant_id))

    return outcome.tell(reaching.reached(worked, tenant_id))


async def _state(letters: Letters, who: Principal, delivery: str) -> str:
    return f"{delivery} is {(await letters.one(who, delivery)).delivery.state}"


def _row(each: Delivery, names: Mapping[str, str]) -> tuple[object, ...]:
    since = each.ended_at or each.last_sent_at or each.made_at
    told = (each.error_class, each.error_code, each.tried, since, each.error_message[:MESSAGE_CHARACTERS])
    name = names.get(each.connection, each.connection)
    return (each.delivery_id, name, each.state, each.object, each.key, *told)


def _shown(found: Detail, names: Mapping[str, str]) -> str:
    each = found.delivery
    lines = [
        f"{each.object} {each.key}: {each.state} ({each.error_class} {each.error_code})",
        f"system    {names.get(each.connection, 'removed')} ({each.connection})",
        f"said      {each.error_message}",
        f"made of   {each.collection} {each.record_id}, mapping version {each.mapping_version}",
        f"key       {each.idempotency_key}, mark {each.marker}",
        f"fields    {_json(each.fields)}",
        *(f"problem   {problem}" for problem in found.problems),
        *(line for attempt in found.attempts for line in _attempt(attempt)),
        *(f"{done.action:<9} {done.at:%Y-%m-%d %H:%M:%S} {done.person}: {done.reason}" for done in found.interventions),
    ]
    return "\n".join([*lines, f"helps     {found.suggestion}"] if found.suggestion else lines)


def _attempt(each: Attempt) -> Iterator[str]:
    yield f"attempt   {each.n} {each.at:%Y-%m-%d %H:%M:%S} {each.operation}: {each.status} {each.outcome}"
    if each.reply:
        # What a vendor says may have lines of its own, which would look like ours.
        yield f"answer    {each.reply if each.reply.isprintable() else _json(each.reply)}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
