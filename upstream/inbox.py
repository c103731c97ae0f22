"""The inbox: what vendors said, kept before anything is made of it.

Whoever calls is answered as soon as what was said is in the database: nothing is fetched, mapped or
judged meanwhile. An event that comes twice is one. Workers take the events up one record at a time, the
oldest first, and note what came of each: `absorbed` (written, or nothing to write), `echo` (what we had
sent), `stale` (an older state than is known), `ignored` (the mapping does not want it), `failed`.

What one call is refused for is not told to whoever sent it: an unknown connection, one without a secret
and a wrong signature get the same answer.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
import structlog
from uuid_utils.compat import uuid7

from upstream import connections, events, sealing, store, verify
from upstream.errors import UpstreamError
from upstream.events import Echo, Event, Secret, TooMany
from upstream.verify import Incoming, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from upstream.connections import Connection
    from upstream.manifest import Manifest, Webhook
    from upstream.places import Room
    from upstream.store import Database, Session

__all__ = ["Refused", "TooMany"]  # what `Door.receive` gives and raises, for those who know this module alone

Source: TypeAlias = Literal["hook", "poll", "reference"]
State: TypeAlias = Literal["waiting", "absorbed", "echo", "stale", "ignored", "failed"]

STATES: Final[tuple[State, ...]] = ("waiting", "absorbed", "echo", "stale", "ignored", "failed")
SECRETS_MAX: Final = 5
"""How many secrets a call is tried with."""
CANDIDATES_MAX: Final = 3
ADDRESSES_MAX: Final = 20_000
STRANGERS_SECONDS: Final = 30
"""How long an address that leads nowhere is not looked up again."""
OVERLAP_SECONDS: Final = 86_400
"""How long the former secret verifies beside a new one, unless it is said otherwise."""
LIST_MAX: Final = 500
REASON_CHARACTERS_MAX: Final = 1_000
LAST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"

_SQL: Final = store.statements("inbox")

log = structlog.get_logger()


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was believed: how many of its events were new, how many had come before."""

    new: int = 0
    repeated: int = 0
    echo: Echo | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is leased. `body` is the record if `is_whole`, else what the vendor said.

    `age_seconds` counts from when it came, or from when a person or its connection took it up again.
    """

    tenant_id: int
    inbox_id: str
    connection: str
    event: str
    source: Source
    object: str
    remote_id: str
    remote_version: str
    is_whole: bool
    body: str
    tries: int
    received_at: datetime
    age_seconds: int


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an event."""

    state: State
    reason: str = ""
    verdict: str = ""
    collection: str | None = None
    record_id: str | None = None


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """An event as people are shown it. `times` is how often it was received."""

    inbox_id: str
    event: str
    source: str
    object: str
    remote_id: str
    remote_version: str
    is_whole: bool
    state: State
    reason: str
    verdict: str
    collection: str | None
    record_id: str | None
    times: int
    tries: int
    received_at: datetime
    due_at: datetime
    ended_at: datetime | None


class HookSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as people are shown it: never itself. A `candidate` came by a handshake and verifies nothing yet."""

    secret_id: str
    state: Literal["active", "candidate"]
    made_at: datetime
    ends_at: datetime | None


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are replayed: one, or those received in a stretch of time, in some states."""

    inbox_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    states: tuple[State, ...] | None = None


class Door:
    """Where calls from vendors come in. `manifest_of` tells what a connection's system is."""

    def __init__(
        self, database: Database, keys: Sequence[bytes], manifest_of: Callable[[Connection], Manifest]
    ) -> None:
        self._database = database
        self._keys = keys
        self._manifest_of = manifest_of
        self._known: OrderedDict[str, int] = OrderedDict()
        self._strangers: OrderedDict[str, float] = OrderedDict()

    async def receive(self, connection_id: str, request: Incoming, now_ms: int) -> Taken | Refused:
        """Take in a call, or say (for the log) why it is not believed. Raises `TooMany`."""
        tenant_id = await self._whose(connection_id, now_ms)
        if tenant_id is None:
            return Refused("no such connection")
        async with self._database.transaction(tenant_id) as session:
            connection = await connections.read(session, tenant_id, connection_id)
            rule = self._rule(connection) if connection else None
            if connection is None or rule is None:
                return Refused("the connection takes no calls")
            request = msgspec.structs.replace(request, config=connection.config)
            secrets = await self._secrets(session, tenant_id, connection_id)
            refused = verify.check(rule, request, secrets, now_ms)
            hand = events.handshake(rule, request)
            if isinstance(hand, Secret) and refused is not None:
                await self._candidate(session, tenant_id, connection_id, hand)
                return Taken()
            if refused is not None:
                return Taken(echo=hand) if isinstance(hand, Echo) else refused
            if request.method == "GET":
                return Taken(echo=hand if isinstance(hand, Echo) else None)
            told = events.events(rule, request)
            new, repeated = await put(session, connection, "hook", told)
            return Taken(new=new, repeated=repeated, echo=hand if isinstance(hand, Echo) else None)

    def _rule(self, connection: Connection) -> Webhook | None:
        try:
            return self._manifest_of(connection).webhook
        except UpstreamError:
            return None

    async def put_secret(
        self,
        session: Session,
        tenant_id: int,
        connection_id: str,
        secret: str,
        *,
        overlap_seconds: float = OVERLAP_SECONDS,
    ) -> str:
        """Let a secret verify calls; the former ones go on for a while. Return its id."""
        secret_id = str(uuid7())
        sealed = self._sealed(tenant_id, connection_id, secret)
        await session.execute(_SQL["drop_ended"], tenant_id, connection_id)
        await session.execute(_SQL["put_secret"], tenant_id, connection_id, secret_id, sealed, "active", "")
        await session.execute(_SQL["retire_secrets"], tenant_id, connection_id, secret_id, float(overlap_seconds))
        return secret_id

    async def unfit(self, session: Session, tenant_id: int, connection_id: str, secret: str) -> str:
        """Return why a secret can never verify a call to the connection; empty if it may."""
        connection = await connections.read(session, tenant_id, connection_id)
        rule = self._rule(connection) if connection else None
        return verify.unfit(rule, secret) if rule else ""

    async def secrets(self, tenant_id: int, connection_id: str) -> list[HookSecret]:
        """Return which secrets there are, newest first."""
        async with self._database.transaction(tenant_id) as session:
            found = await session.fetch(_SQL["secret_list"], tenant_id, connection_id)
        return [msgspec.convert(dict(row), HookSecret) for row in found]

    async def candidates(self, tenant_id: int, connection_id: str) -> list[tuple[str, str, Any]]:
        """Return the secrets that came by handshake: id, secret, and all that the vendor said with it."""
        async with self._database.transaction(tenant_id) as session:
            found = await session.fetch(_SQL["candidates"], tenant_id, connection_id)
        return [
            (row["secret_id"], self._opened(tenant_id, connection_id, row["secret"]), store.from_json(row["said"]))
            for row in found
        ]

    async def vouch(self, session: Session, tenant_id: int, connection_id: str, secret_id: str) -> bool:
        """Let a secret that came by handshake verify calls; False if there is none of this id."""
        done = await session.fetchval(_SQL["vouch"], tenant_id, connection_id, secret_id)
        if done is not None:
            await session.execute(_SQL["retire_secrets"], tenant_id, connection_id, secret_id, float(OVERLAP_SECONDS))
        return done is not None

    async def _candidate(self, session: Session, tenant_id: int, connection_id: str, said: Secret) -> None:
        """Keep a secret of which nobody knows yet whether the vendor sent it; it must not verify anything."""
        held = [secret for _, secret, _ in await self._held_candidates(session, tenant_id, connection_id)]
        if said.value in held:
            return
        sealed = self._sealed(tenant_id, connection_id, said.value)
        text = said.body.decode("utf-8", "replace")
        await session.execute(_SQL["put_secret"], tenant_id, connection_id, str(uuid7()), sealed, "candidate", text)
        await session.execute(_SQL["drop_candidates"], tenant_id, connection_id, CANDIDATES_MAX)

    async def _held_candidates(
        self, session: Session, tenant_id: int, connection_id: str
    ) -> list[tuple[str, str, str]]:
        found = await session.fetch(_SQL["candidates"], tenant_id, connection_id)
        return [(row["secret_id"], self._opened(tenant_id, connection_id, row["secret"]), row["said"]) for row in found]

    async def _secrets(self, session: Session, tenant_id: int, connection_id: str) -> list[str]:
        found = await session.fetch(_SQL["secrets"], tenant_id, connection_id, SECRETS_MAX)
        return [self._opened(tenant_id, connection_id, row["secret"]) for row in found]

    async def _whose(self, connection_id: str, now_ms: int) -> int | None:
        """Return the tenant of a connection, which never changes."""
        if connection_id in self._known:
            self._known.move_to_end(connection_id)
            return self._known[connection_id]
        if self._strangers.get(connection_id, 0) > now_ms:
            return None
        async with self._database.transaction() as session:
            await session.execute(_SQL["name_all"])
            tenant_id: int | None = await session.fetchval(_SQL["whose"], connection_id)
        if tenant_id is None:
            _keep(self._strangers, connection_id, now_ms + STRANGERS_SECONDS * 1_000.0)
        else:
            _keep(self._known, connection_id, tenant_id)
            self._strangers.pop(connection_id, None)
        return tenant_id

    def _sealed(self, tenant_id: int, connection_id: str, secret: str) -> bytes:
        return sealing.seal(secret.encode(), self._keys, purpose(tenant_id, connection_id))

    def _opened(self, tenant_id: int, connection_id: str, sealed: bytes) -> str:
        return sealing.unseal(sealed, self._keys, purpose(tenant_id, connection_id)).decode()


def incoming(method: str, url: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Incoming:
    """Return a call as it is looked at. A header that comes twice has both values."""
    return Incoming(method=method, url=url, headers=dict(verify.each_header(headers)), body=body)


def purpose(tenant_id: int, connection_id: str) -> str:
    """Return what a secret by which calls are verified is sealed for."""
    return f"hook:{tenant_id}:{connection_id}"


async def put(
    session: Session,
    connection: Connection,
    source: Source,
    found: Iterable[Event],
    *,
    asked_at: datetime | None = None,
) -> tuple[int, int]:
    """Keep events; return how many were new, and how many had come before.

    `asked_at`: when what they say was asked for, by the database's clock. It is no newer than that, however
    late it is kept.
    """
    counts = [await _put(session, connection, source, each, asked_at) for each in _rounds(source, found)]
    return sum(new for new, _ in counts), sum(repeated for _, repeated in counts)


def _rounds(source: Source, found: Iterable[Event]) -> list[list[Event]]:
    """Return events as they are kept: what a poll tells of one record, one state after the other."""
    if source != "poll":
        each = list({event.id: event for event in found}.values())
        return [each] if each else []
    rounds: list[list[Event]] = []
    told: Counter[str] = Counter()
    for event in found:
        record = event.remote_id or event.id
        if told[record] == len(rounds):
            rounds.append([])
        rounds[told[record]].append(event)
        told[record] += 1
    return rounds


async def _put(
    session: Session, connection: Connection, source: Source, each: Sequence[Event], asked_at: datetime | None
) -> tuple[int, int]:
    rows = [
        (
            str(uuid7()),
            event.id,
            event.object,
            event.remote_id,
            event.version,
            event.record is not None,
            (event.record if event.record is not None else event.body).decode(),
        )
        for event in each
    ]
    unnamed = [event.id for event in each if not event.is_named]
    place = (connection.tenant_id, connection.connection)
    stored = await session.fetch(_SQL["put"], *place, source, *store.columns(rows, 7), unnamed, asked_at)
    if source == "hook":
        await session.execute(_SQL["hooked"], *place, sorted({event.object for event in each}))
    await session.execute(_SQL["notify"], str(connection.tenant_id))
    new = sum(row["is_new"] for row in stored)
    return new, len(stored) - new


async def lease(session: Session, tenants: Sequence[int], room: Room, *, worker: str, seconds: float) -> list[Item]:
    """Take events that are due and that there is room for, for so many seconds."""
    found = await session.fetch(_SQL["lease"], *room.asked(tenants), worker, seconds)
    return [msgspec.convert(dict(row), Item) for row in found]


async def end(session: Session, item: Item, ended: Ended, *, worker: str) -> bool:
    """Note what came of an event; False if the lease was lost, or the event came again meanwhile."""
    done = await session.fetchval(
        _SQL["end"],
        item.tenant_id,
        item.inbox_id,
        worker,
        ended.state,
        ended.reason[:REASON_CHARACTERS_MAX],
        ended.verdict,
        ended.collection,
        ended.record_id,
    )
    return done is not None


async def end_overtaken(session: Session, item: Item, ended: Ended, *, fetched_at: datetime) -> None:
    """End thin events of the same record that had come before it was fetched."""
    place = (item.object, item.remote_id, ended.collection, ended.record_id)
    await session.execute(_SQL["end_overtaken"], item.tenant_id, item.connection, fetched_at, ended.state, *place)


async def put_off(session: Session, item: Item, *, worker: str, seconds: float, reason: str) -> None:
    """Give an event back, to be looked at again after so long."""
    cut = reason[:REASON_CHARACTERS_MAX]
    await session.execute(_SQL["put_off"], item.tenant_id, item.inbox_id, worker, float(seconds), cut)


async def holds(session: Session, item: Item, *, worker: str, seconds: float) -> bool:
    """Tell whether the lease is still held, which then begins anew."""
    found = await session.fetchval(_SQL["holds"], item.tenant_id, item.inbox_id, worker, float(seconds))
    return found is not None


async def listed(
    database: Database,
    tenant_id: int,
    connection_id: str,
    *,
    state: str | None = None,
    before: str = LAST,
    limit: int = LIST_MAX,
) -> list[Shown]:
    """Return events of a connection, newest first."""
    async with database.transaction(tenant_id) as session:
        found = await session.fetch(_SQL["listed"], tenant_id, connection_id, state, before, min(limit, LIST_MAX))
    return [msgspec.convert(dict(row), Shown) for row in found]


async def body(database: Database, tenant_id: int, connection_id: str, inbox_id: str) -> Any:
    """Return what an event said; None if there is none of this id."""
    async with database.transaction(tenant_id) as session:
        return store.from_json(await session.fetchval(_SQL["body"], tenant_id, connection_id, inbox_id))


async def replay(session: Session, tenant_id: int, connection_id: str, span: Span) -> int:
    """Have events that had ended looked at again; return how many."""
    states = None if span.states is None else list(span.states)
    found = await session.fetch(_SQL["replay"], tenant_id, connection_id, span.inbox_id, span.since, span.until, states)
    await session.execute(_SQL["notify"], str(tenant_id))
    return len(found)


async def prune(session: Session, tenant_id: int, *, days: int, limit: int) -> int:
    """Forget events that have ended this long ago, but not those that failed; return how many."""
    done: str = await session.execute(_SQL["prune"], tenant_id, days, limit)
    return int(done.rpartition(" ")[2])


def _keep(held: OrderedDict[str, Any], key: str, value: Any) -> None:
    held[key] = value
    while len(held) > ADDRESSES_MAX:
        held.popitem(last=False)
