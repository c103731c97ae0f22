"""Shadow mode: all is done but the request; what would have been sent is compared, and then it goes live.

A connection in shadow mode records each delivery and sends none. What was recorded can be held against
what the system has, or against what another version of the mapping would have made. Going live has a
check list, and nothing on it can be passed over silently.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from upstream import compare, connections, outbox, store
from upstream.errors import NotReady, UnknownConnection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upstream.compare import Difference
    from upstream.manifest import Target
    from upstream.store import Database, Session

LEAST: Final = 20
"""How many recorded deliveries of the present mapping are looked at before going live."""
RECORDS_PER_STEP: Final = 1_000
NOTHING: Final = ("", "")

_SQL: Final = store.statements("shadow")


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What would have been sent against what is there: `new` there is nothing, `same`, or `other`."""

    object: str
    key: str
    verdict: Literal["new", "same", "other"]
    differences: tuple[Difference, ...] = ()


class Check(msgspec.Struct, frozen=True):
    """One thing that has to be so before a connection goes live."""

    name: str
    passed: bool
    said: str


def against(
    object_name: str, key: str, would_send: Mapping[str, Any], there: Mapping[str, Any] | None, target: Target | None
) -> Comparison:
    """Compare what would have been sent with what the system has, in the fields that would have been sent.

    What the system has besides is its own. `target.compare` narrows it, as it does after a write.
    """
    if there is None:
        return Comparison(object=object_name, key=key, verdict="new")
    found = compare.differences(_as_sent(there, would_send), dict(would_send))
    found = compare.of_those(found, target.compare if target else ())
    return Comparison(object=object_name, key=key, verdict="other" if found else "same", differences=found)


def summary(comparisons: Sequence[Comparison]) -> dict[str, int]:
    """Return how many objects would be new, the same, and other."""
    words: tuple[Literal["new", "same", "other"], ...] = ("new", "same", "other")
    return {word: sum(each.verdict == word for each in comparisons) for word in words}


async def checks(database: Database, tenant_id: int, connection_id: str, *, least: int = LEAST) -> tuple[Check, ...]:
    """Return the check list of a connection."""
    async with database.transaction(tenant_id) as session:
        return await _checks(session, tenant_id, connection_id, least)


async def promote(
    database: Database, tenant_id: int, connection_id: str, *, least: int = LEAST, catch_up: bool = True
) -> int:
    """Let a connection go live, if its check list allows; raises `NotReady` with what does not.

    With `catch_up` all that was recorded is said now, in the backfill lane; returns for how many records.
    """
    async with database.transaction(tenant_id) as session:
        await connections.turn(session, connection_id)
        found = await _checks(session, tenant_id, connection_id, least)
        if failed := [f"{check.name}: {check.said}" for check in found if not check.passed]:
            raise NotReady(failed)
        await session.execute(_SQL["go_live"], tenant_id, connection_id)
    return await _catch_up(database, tenant_id, connection_id) if catch_up else 0


async def _catch_up(database: Database, tenant_id: int, connection_id: str) -> int:
    place, marked = NOTHING, 0
    while True:
        async with database.transaction(tenant_id) as session:
            rows = await session.fetch(_SQL["recorded_records"], tenant_id, connection_id, *place, RECORDS_PER_STEP)
            keys = [(row["collection"], row["record_id"]) for row in rows]
            if keys:
                marked += await outbox.mark(session, tenant_id, connection_id, keys, lane="backfill")
        if len(keys) < RECORDS_PER_STEP:
            return marked
        place = keys[-1]


async def _checks(session: Session, tenant_id: int, connection_id: str, least: int) -> tuple[Check, ...]:
    row = await session.fetchrow(_SQL["lock"], tenant_id, connection_id)
    if row is None:
        raise UnknownConnection(f"tenant {tenant_id} has no connection {connection_id}")
    version = row["mapping_version"] or 0
    seen = await session.fetch(_SQL["open"], tenant_id, connection_id, version, least)
    wrong = [each for each in seen if each["error_class"] or each["state"] == "rejected"]
    shown = "; ".join(f"{each['object']} {each['key']}: {each['error_message']}" for each in wrong[:3])
    return (
        Check("mode", row["mode"] == "shadow", f"the connection is {row['mode']}"),
        Check("state", row["state"] == "ok", f"the connection is {row['state']}: {row['state_reason']}".rstrip(": ")),
        Check("mapping", version > 0, f"version {version} holds" if version else "no version is published"),
        Check("recorded", len(seen) >= least, f"{len(seen)} of {least} deliveries were recorded under it"),
        Check("problems", not wrong, f"{len(wrong)} of them could not have been sent: {shown}" if wrong else "none"),
    )


def _as_sent(there: Any, would_send: Any) -> Any:
    """Return of what is there that part of which something would be sent."""
    if isinstance(there, dict) and isinstance(would_send, dict):
        return {key: _as_sent(there[key], value) for key, value in would_send.items() if key in there}
    if isinstance(there, list) and isinstance(would_send, list):
        pairs = zip(there, would_send, strict=False)
        return [*(_as_sent(mine, theirs) for mine, theirs in pairs), *there[len(would_send) :]]
    return there
