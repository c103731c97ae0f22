"""Messages on their way to the endpoints of tenants.

A message is tried over days, at the times of `SCHEDULE_SECONDS`. Any status of 200 to 299 is success, a
redirect is a failure. An endpoint that answers 410 is disabled at once; one at which nothing has arrived
for `DISABLE_SECONDS` is disabled too, and the tenant's other endpoints are told.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from uuid_utils.compat import uuid7

from upstream import places, redaction, replies, sealing, signing, store, webhooks
from upstream.calls import Answer, Call, Lost
from upstream.places import Limits, Places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upstream.calls import Exchange
    from upstream.places import Room, Tenants
    from upstream.store import Database
    from upstream.transport import Http

SCHEDULE_SECONDS: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The pauses before each try: about three days in all."""
JITTER: Final = 0.1
"""By how much of itself a pause may be longer, so that what failed together is not tried together."""
DISABLE_SECONDS: Final = 5 * 86_400
SEND_SECONDS: Final = 20.0
LEASE_SECONDS: Final = 60.0
LIMITS: Final = Limits(total=24, tenant=8, each=3)
LOOK_SECONDS: Final = 2.0
REPLY_CHARACTERS_MAX: Final = 1_000
GONE: Final = 410
BUSY: Final = frozenset({429, 502, 503, 504})

_SQL: Final = store.statements("webhooks")

log = structlog.get_logger()


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is leased, with where it goes."""

    tenant_id: int
    endpoint_id: str
    message_id: str
    tries: int
    type: str
    body: str
    url: str
    secret: bytes
    old_secret: bytes | None

    def __repr__(self) -> str:
        """Return a text without the secrets."""
        return f"Posted({self.endpoint_id}, {self.message_id})"


class _Came(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a try: the status, 0 where no answer came; what was said; what becomes of the message, and when."""

    status: int
    said: str
    state: str
    seconds: float


class Posting:
    """Makes messages of what happened and sends them. `worker` is its UUID; `keys` open the secrets."""

    def __init__(
        self,
        database: Database,
        worker: str,
        http: Http,
        keys: Sequence[bytes],
        *,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._worker = worker
        self._http = http
        self._keys = keys
        self._clock = clock
        self._jitter = jitter

    async def run(self, tenants: Tenants, stop: asyncio.Event) -> None:
        """Work until told to stop. An endpoint that takes its time keeps no other waiting."""
        made = asyncio.Event()

        async def gather() -> int:
            new = await self.gather(await tenants())
            if new:
                made.set()
            return new

        await asyncio.gather(
            places.again("posting", gather, stop, seconds=LOOK_SECONDS),
            self._places().run(tenants, stop, seconds=LOOK_SECONDS, wake=made),
        )

    async def gather(self, tenants: Sequence[int]) -> int:
        """Make messages of what happened in the tenants that want to be told; return how many."""
        if not tenants:
            return 0
        async with self._database.transaction(*tenants) as session:
            found = await session.fetch(_SQL["with_endpoints"], tenants)
        return sum([await self._gather(row["tenant_id"]) for row in found])

    async def turn(self, tenants: Sequence[int]) -> int:
        """Send what is due, once; return how many messages that were."""
        return await self._places().turn(tenants)

    async def _gather(self, tenant_id: int) -> int:
        """Make messages of what happened in a tenant; whatever is wrong with it, the others are told of theirs."""
        try:
            return await webhooks.gather(self._database, tenant_id)
        except OSError:
            raise
        except Exception:
            log.exception("messages_not_made", tenant=tenant_id)
            return 0

    def _places(self) -> Places[Posted]:
        return Places("posting", LIMITS, lease=self._leased, work=self._one, owner=_owner)

    async def _leased(self, tenants: Sequence[int], room: Room) -> list[Posted]:
        """Take what is due to those who answer; what then is left of the room, to those who fail."""
        found: list[Posted] = []
        async with self._database.transaction(*tenants) as session:
            for is_failing in (False, True):
                left = room.beside([_owner(posted) for posted in found])
                rows = await session.fetch(_SQL["lease"], *left.asked(tenants), self._worker, LEASE_SECONDS, is_failing)
                found += [msgspec.convert(dict(row), Posted) for row in rows]
        return found

    async def _one(self, posted: Posted) -> None:
        """Send a message, and note what came of it; a mistake on our side is a try that failed."""
        begun = time.monotonic()
        try:
            exchange = await self._http.send(self._call(posted), seconds=SEND_SECONDS)
            came = self._came(posted, exchange)
        except Exception as error:
            log.exception("posting_failed", tenant=posted.tenant_id, endpoint=posted.endpoint_id)
            came = self._came(posted, Lost(f"a mistake on our side: {type(error).__name__}"))
        await self._note(posted, came, round((time.monotonic() - begun) * 1_000))

    async def _note(self, posted: Posted, came: _Came, took_ms: int) -> None:
        async with self._database.transaction(posted.tenant_id) as session:
            place = (posted.tenant_id, posted.endpoint_id, posted.message_id)
            await session.execute(_SQL["attempted"], *place, came.status, came.said, took_ms)
            if await session.fetchval(_SQL["ended"], *place, self._worker, came.state, came.seconds) is None:
                return
            if came.state == "delivered":
                await session.execute(_SQL["arrived"], *place[:2])
                return
            failing = await session.fetchval(_SQL["missed"], *place[:2])
            if came.status == GONE or (failing or 0) >= DISABLE_SECONDS:
                days = f"nothing arrived for {DISABLE_SECONDS // 86_400} days"
                await self._disable(session, posted, "it answered 410" if came.status == GONE else days)

    async def _disable(self, session: store.Session, posted: Posted, reason: str) -> None:
        url = await session.fetchval(_SQL["disable"], posted.tenant_id, posted.endpoint_id, reason)
        if url is None:
            return
        log.warning("endpoint_disabled", tenant=posted.tenant_id, endpoint=posted.endpoint_id, reason=reason)
        data = {"endpoint": posted.endpoint_id, "url": url, "reason": reason}
        at = webhooks.datetime_text(await session.fetchval(_SQL["clock"]))
        told = webhooks.message(str(uuid7()), "endpoint.disabled", data, at)
        await webhooks.put(session, posted.tenant_id, [told])

    def _call(self, posted: Posted) -> Call:
        purpose = webhooks.purpose(posted.tenant_id, posted.endpoint_id)
        held = [sealed for sealed in (posted.secret, posted.old_secret) if sealed is not None]
        opened = [sealing.unseal(sealed, self._keys, purpose) for sealed in held]
        body = posted.body.encode()
        headers = signing.headers(posted.message_id, int(self._clock()), body, opened)
        return Call(method="POST", url=posted.url, headers={"content-type": "application/json", **headers}, body=body)

    def _came(self, posted: Posted, exchange: Exchange) -> _Came:
        state, seconds = self._next(posted, exchange)
        status = exchange.status if isinstance(exchange, Answer) else 0
        return _Came(status=status, said=_said(exchange), state=state, seconds=seconds)

    def _next(self, posted: Posted, exchange: Exchange) -> tuple[str, float]:
        """Return what becomes of the message, and in how many seconds it is tried again."""
        if isinstance(exchange, Answer) and 200 <= exchange.status < 300:
            return "delivered", 0.0
        if posted.tries >= len(SCHEDULE_SECONDS):
            return "failed", 0.0
        seconds = SCHEDULE_SECONDS[posted.tries] * (1 + JITTER * self._jitter())
        if isinstance(exchange, Answer) and exchange.status in BUSY:
            asked = replies.wait_ms(exchange.headers, round(self._clock() * 1_000)) / 1_000
            seconds = max(seconds, asked)
        return "waiting", seconds


def _owner(posted: Posted) -> tuple[int, str]:
    return posted.tenant_id, posted.endpoint_id


def _said(exchange: Exchange) -> str:
    if isinstance(exchange, Answer):
        return redaction.told(exchange.body, ())[:REPLY_CHARACTERS_MAX]
    return exchange.reason[:REPLY_CHARACTERS_MAX]
