"""Webhooks to tenants: what they want to be told, at which addresses, and what they were told.

Signed as Standard Webhooks has it. What happened is made messages of after the fact, from what is stored
anyway: the change log and the conflicts by their numbers, dead deliveries and connections by their
states. That costs the writers nothing, and none is missed: a tenant's numbers are given under its lock.
An id is made of what happened, so that looking twice tells once.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from uuid import UUID, uuid5

import msgspec
from uuid_utils.compat import uuid7

from upstream import addresses, sealing, signing, store
from upstream.errors import BadEndpoint, UnknownEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from upstream.store import Database, Session

TYPES: Final = (
    "record.changed",
    "conflict.opened",
    "delivery.dead",
    "connection.state",
    "endpoint.disabled",
    "alert.opened",
    "alert.resolved",
    "ping",
)
"""What can be told. A subscription may name a part: `record.changed.work_orders`; `*` is everything."""

ENDPOINTS_MAX: Final = 20
TYPES_MAX: Final = 50
DESCRIPTION_CHARACTERS_MAX: Final = 500
BODY_BYTES_MAX: Final = 65_536
"""A message that would be larger leaves the fields out, and says so."""
ROTATION_SECONDS: Final = 86_400
"""How long the former secret signs beside the new one, unless it is said otherwise."""
ROTATION_SECONDS_MAX: Final = 30 * 86_400
ROWS_PER_TURN: Final = 500
DEAD_DAYS: Final = 7
LIST_MAX: Final = 500
REPLAY_MAX: Final = 10_000
EVERYTHING: Final = "*"
IDS: Final = UUID("9a6d3f5e-41b0-4a55-8d7c-3c9d1f1b7a20")
LOCK: Final = 1718839720
"""First half of the advisory lock under which messages are made of what happened in a tenant."""

State: TypeAlias = Literal["on", "off", "disabled"]

_SQL: Final = store.statements("webhooks")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. `part` is what a subscription may narrow it to."""

    message_id: str
    type: str
    body: str
    part: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address as people are shown it. `reason` says why it was disabled."""

    endpoint_id: str
    url: str
    description: str
    types: tuple[str, ...]
    state: State
    reason: str
    failing_since: datetime | None
    created_at: datetime
    old_until: datetime | None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint is to be like; what is None stays as it is."""

    url: str | None = None
    description: str | None = None
    types: tuple[str, ...] | None = None
    state: Literal["on", "off"] | None = None


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """A message on its way to an endpoint, as people are shown it."""

    message_id: str
    type: str
    made_at: datetime
    state: Literal["waiting", "delivered", "failed"]
    tries: int
    due_at: datetime
    ended_at: datetime | None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try: the status, 0 where no answer came, and what was said."""

    n: int
    at: datetime
    status: int
    reply: str
    took_ms: int


async def add(
    session: Session,
    tenant_id: int,
    endpoint_id: str,
    wanted: Wanted,
    *,
    keys: Sequence[bytes],
    allow_plain: bool = False,
) -> str:
    """Add an endpoint, and return the secret that its messages are signed with. Raises `BadEndpoint`."""
    url, types = _url(wanted.url or "", allow_plain=allow_plain), _types(wanted.types or ())
    secret = secrets.token_bytes(signing.SECRET_BYTES)
    if await session.fetchval(_SQL["count"], tenant_id) >= ENDPOINTS_MAX:
        raise BadEndpoint(f"a tenant has at most {ENDPOINTS_MAX} endpoints; remove one")
    await session.execute(_SQL["start"], tenant_id, endpoint_id)
    sealed = sealing.seal(secret, keys, purpose(tenant_id, endpoint_id))
    said = _description(wanted.description or "")
    await session.execute(_SQL["add"], tenant_id, endpoint_id, url, said, list(types), sealed)
    kept: bytes = await session.fetchval(_SQL["secret"], tenant_id, endpoint_id)
    return signing.written(sealing.unseal(kept, keys, purpose(tenant_id, endpoint_id)))


async def change(
    session: Session, tenant_id: int, endpoint_id: str, wanted: Wanted, *, allow_plain: bool = False
) -> None:
    """Change an endpoint; raises `BadEndpoint`, `UnknownEndpoint`. What is turned on begins anew."""
    url = None if wanted.url is None else _url(wanted.url, allow_plain=allow_plain)
    types = None if wanted.types is None else list(_types(wanted.types))
    said = None if wanted.description is None else _description(wanted.description)
    if wanted.state == "on":
        await session.execute(_SQL["start"], tenant_id, endpoint_id)
    done = await session.fetchval(_SQL["change"], tenant_id, endpoint_id, url, said, types, wanted.state)
    if done is None:
        raise _unknown(endpoint_id)


async def remove(session: Session, tenant_id: int, endpoint_id: str) -> None:
    """Remove an endpoint with all that waits for it."""
    if await session.fetchval(_SQL["remove"], tenant_id, endpoint_id) is None:
        raise _unknown(endpoint_id)


async def rotate(
    session: Session, tenant_id: int, endpoint_id: str, *, keys: Sequence[bytes], seconds: int = ROTATION_SECONDS
) -> str:
    """Change the secret for a new one, and return it. For so long messages are signed with both."""
    if not 0 <= seconds <= ROTATION_SECONDS_MAX:
        raise BadEndpoint(f"overlap_seconds: 0 to {ROTATION_SECONDS_MAX}, in which both secrets sign")
    secret = secrets.token_bytes(signing.SECRET_BYTES)
    sealed = sealing.seal(secret, keys, purpose(tenant_id, endpoint_id))
    if await session.fetchval(_SQL["rotate"], tenant_id, endpoint_id, sealed, float(seconds)) is None:
        raise _unknown(endpoint_id)
    return signing.written(secret)


async def listed(database: Database, tenant_id: int, endpoint_id: str | None = None) -> list[Endpoint]:
    """Return the endpoints, or the one of this id."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["listed"], tenant_id, endpoint_id)
    return [msgspec.convert(dict(row), Endpoint) for row in found]


async def postings(
    database: Database, tenant_id: int, endpoint_id: str, *, state: str | None = None, limit: int = LIST_MAX
) -> list[Posting]:
    """Return what an endpoint was told or will be, newest first."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["messages"], tenant_id, endpoint_id, state, min(limit, LIST_MAX))
    return [msgspec.convert(dict(row), Posting) for row in found]


async def attempts(database: Database, tenant_id: int, endpoint_id: str, message_id: str) -> list[Attempt]:
    """Return how often a message was tried at an endpoint, and what came back."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["attempts"], tenant_id, endpoint_id, message_id)
    return [msgspec.convert(dict(row), Attempt) for row in found]


async def replay(
    session: Session,
    tenant_id: int,
    endpoint_id: str,
    *,
    message_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """Tell an endpoint again: one message, or all of a stretch of time that it subscribes to; return how many."""
    found = await session.fetch(_SQL["listed"], tenant_id, endpoint_id)
    if not found:
        raise _unknown(endpoint_id)
    rows = await session.fetch(_SQL["in_range"], tenant_id, message_id, since, until, REPLAY_MAX)
    types = found[0]["types"]
    wanted = [row["message_id"] for row in rows if message_id or wants(types, row["type"], _part(row["body"]))]
    told = await session.fetch(_SQL["repeat"], tenant_id, endpoint_id, wanted)
    await session.execute(_SQL["notify"], str(tenant_id))
    return len(told)


async def ping(session: Session, tenant_id: int, endpoint_id: str) -> str:
    """Send an endpoint a message that says nothing, whatever it subscribes to; return its id."""
    at = datetime_text(await session.fetchval(_SQL["clock"]))
    made = message(str(uuid7()), "ping", {"endpoint": endpoint_id}, at)
    await session.fetch(_SQL["put"], tenant_id, [made.message_id], [made.type], [made.body])
    await session.execute(_SQL["post"], tenant_id, [endpoint_id], [made.message_id])
    await session.execute(_SQL["notify"], str(tenant_id))
    return made.message_id


async def put(session: Session, tenant_id: int, made: Sequence[Message]) -> int:
    """Keep messages, in the caller's transaction, and have all who subscribe be told; return how many are new."""
    if not made:
        return 0
    each = {one.message_id: one for one in made}
    rows = store.columns([(one.message_id, one.type, one.body) for one in each.values()], 3)
    new = [row["message_id"] for row in await session.fetch(_SQL["put"], tenant_id, *rows)]
    subscribers = await session.fetch(_SQL["subscribers"], tenant_id)
    posts = [
        (row["endpoint_id"], message_id)
        for message_id in new
        for row in subscribers
        if wants(row["types"], each[message_id].type, each[message_id].part)
    ]
    if posts:
        await session.execute(_SQL["post"], tenant_id, *store.columns(posts, 2))
    return len(new)


async def prune(session: Session, tenant_id: int, *, days: int, limit: int) -> int:
    """Forget messages this old that are on their way to nobody; return how many."""
    done: str = await session.execute(_SQL["prune"], tenant_id, days, limit)
    return int(done.rpartition(" ")[2])


async def gather(database: Database, tenant_id: int) -> int:
    """Make messages of what happened since it was last looked; return how many."""
    async with database.transaction(tenant_id) as session:
        if not await session.fetchval(_SQL["claim"], LOCK, tenant_id):
            return 0
        position = await session.fetchrow(_SQL["position"], tenant_id)
        if position is None:
            return 0
        changes = await session.fetch(_SQL["changes"], tenant_id, position["changes_seq"], ROWS_PER_TURN)
        conflicts = await session.fetch(_SQL["conflicts"], tenant_id, position["conflict_seq"], ROWS_PER_TURN)
        dead = await _dead(session, tenant_id)
        connections = await session.fetch(_SQL["connections"], tenant_id)
        at = datetime_text(position["at"])
        told = store.from_json(position["connections"])
        made = [
            *(_of_change(tenant_id, dict(row)) for row in changes),
            *(_of_conflict(tenant_id, dict(row)) for row in conflicts),
            *(_of_dead(tenant_id, dict(row), at) for row in dead),
            *(
                _of_connection(dict(row), at)
                for row in connections
                if told.get(row["connection"], "ok") != row["state"]
            ),
        ]
        new = await put(session, tenant_id, made)
        moved = (
            max((row["seq"] for row in changes), default=position["changes_seq"]),
            max((row["seq"] for row in conflicts), default=position["conflict_seq"]),
            store.as_json({row["connection"]: row["state"] for row in connections}),
        )
        if moved != tuple(position)[:3]:
            await session.execute(_SQL["move"], tenant_id, *moved)
    return new


def wants(types: Iterable[str], name: str, part: str = "") -> bool:
    """Tell whether a subscription covers what happened."""
    whole = f"{name}.{part}" if part else name
    return any(each in (EVERYTHING, name, whole) for each in types)


def message(message_id: str, name: str, data: Mapping[str, Any], at: str, *, part: str = "") -> Message:
    """Return a message. One that would be too large leaves the fields out."""
    body = {"type": name, "timestamp": at, "data": dict(data)}
    content = msgspec.json.encode(body)
    if len(content) > BODY_BYTES_MAX:
        cut = {key: value for key, value in data.items() if key != "fields"}
        content = msgspec.json.encode({**body, "data": {**cut, "left_out": ["fields"]}})
    return Message(message_id=message_id, type=name, body=content.decode(), part=part)


def fixed_id(tenant_id: int, *parts: str | int) -> str:
    """Return the id that the same happening has each time."""
    return str(uuid5(IDS, ":".join(map(str, (tenant_id, *parts)))))


def purpose(tenant_id: int, endpoint_id: str) -> str:
    """Return what an endpoint's secret is sealed for."""
    return f"endpoint:{tenant_id}:{endpoint_id}"


def datetime_text(moment: datetime) -> str:
    """Return an instant as messages have it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _of_change(tenant_id: int, row: dict[str, Any]) -> Message:
    data = {
        "collection": row["collection"],
        "id": row["record_id"],
        "rev": row["seq"],
        "op": row["op"],
        "authority": row["authority"],
        "person": row["person"],
        "fields": store.from_json(row["state"]),
    }
    at = datetime_text(row["received_at"])
    name = fixed_id(tenant_id, "change", row["seq"])
    return message(name, "record.changed", data, at, part=row["collection"])


def _of_conflict(tenant_id: int, row: dict[str, Any]) -> Message:
    data = {
        "conflict": row["conflict_id"],
        "collection": row["collection"],
        "id": row["record_id"],
        "cell": row["cell"],
        "rule": row["rule"],
        "state": row["state"],
    }
    at = datetime_text(row["made_at"])
    name = fixed_id(tenant_id, "conflict", row["conflict_id"])
    return message(name, "conflict.opened", data, at, part=row["collection"])


async def _dead(session: Session, tenant_id: int) -> Sequence[Any]:
    """Return deliveries that wait for a person and of which no message was made yet, as many as a turn tells."""
    rows = await session.fetch(_SQL["dead"], tenant_id, DEAD_DAYS)
    if not rows:
        return []
    named = {_dead_id(tenant_id, row): row["delivery_id"] for row in rows}
    told = {row["message_id"] for row in await session.fetch(_SQL["told"], tenant_id, list(named))}
    new = [delivery_id for message_id, delivery_id in named.items() if message_id not in told]
    return await session.fetch(_SQL["dead_ones"], tenant_id, new[:ROWS_PER_TURN])


def _of_dead(tenant_id: int, row: dict[str, Any], at: str) -> Message:
    data = {key: value for key, value in row.items() if key != "tried"}
    return message(_dead_id(tenant_id, row), "delivery.dead", data, at, part=row["object"])


def _dead_id(tenant_id: int, row: Any) -> str:
    return fixed_id(tenant_id, "dead", row["delivery_id"], row["state"], row["tried"])


def _of_connection(row: dict[str, Any], at: str) -> Message:
    return message(str(uuid7()), "connection.state", row, at, part=row["state"])


def _part(body: str) -> str:
    data = store.from_json(body).get("data", {})
    return str(data.get("collection") or data.get("object") or data.get("state") or "")


def _url(text: str, *, allow_plain: bool) -> str:
    try:
        return addresses.checked(text, allow_plain=allow_plain)
    except ValueError as exc:
        raise BadEndpoint(f"url: {exc}") from exc


def _types(types: Sequence[str]) -> tuple[str, ...]:
    if not 0 < len(types) <= TYPES_MAX:
        raise BadEndpoint(f"types: 1 to {TYPES_MAX} of {EVERYTHING}, {', '.join(TYPES)}")
    for name in types:
        known = name == EVERYTHING or any(name == each or name.startswith(f"{each}.") for each in TYPES)
        if not known:
            raise BadEndpoint(f"types: {name[:60]!r} is none; there are {EVERYTHING}, {', '.join(TYPES)}")
    return tuple(dict.fromkeys(types))


def _description(text: str) -> str:
    if len(text) > DESCRIPTION_CHARACTERS_MAX or "\0" in text:
        raise BadEndpoint(f"description: at most {DESCRIPTION_CHARACTERS_MAX} characters")
    return text


def _unknown(endpoint_id: str) -> UnknownEndpoint:
    return UnknownEndpoint(f"no endpoint {endpoint_id} is known")
