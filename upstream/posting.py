"""Messages on their way to the endpoints of tenants.

A message is tried over days, at the times of `SCHEDULE_SECONDS`. Any status of 200 to 299 is success, a
redirect is a failure. An endpoint that answers 410 is disabled at once; one at which nothing has arrived
for `DISABLE_SECONDS` is disabled too, and the tenant's other endpoints are told.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from uuid_utils.compat import uuid7

from upstream import redaction, replies, sealing, signing, store, webhooks
from upstream.calls import Answer, Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from upstream.calls import Exchange
    from upstream.store import Database
    from upstream.transport import Http

SCHEDULE_SECONDS: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""The pauses before each try: about three days in all."""
JITTER: Final = 0.1
"""By how much of itself a pause may be longer, so that what failed together is not tried together."""
DISABLE_SECONDS: Final = 5 * 86_400
SEND_SECONDS: Final = 20.0
LEASE_SECONDS: Final = 60.0
LEASE_MAX: Final = 50
LEASE_PER_ENDPOINT_MAX: Final = 5
AT_ONCE_MAX: Final = 10
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

    async def run(self, tenants: Callable[[], Awaitable[Sequence[int]]], stop: asyncio.Event) -> None:
        """Work until told to stop."""
        while not stop.is_set():
            mine = await tenants()
            made = await self.gather(mine)
            if await self.turn(mine) or made:
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)

    async def gather(self, tenants: Sequence[int]) -> int:
        """Make messages of what happened in the tenants that want to be told; return how many."""
        if not tenants:
            return 0
        async with self._database.transaction(*tenants) as session:
            found = await session.fetch(_SQL["with_endpoints"], tenants)
        return sum([await webhooks.gather(self._database, row["tenant_id"]) for row in found])

    async def turn(self, tenants: Sequence[int]) -> int:
        """Send what is due, once; return how many messages that were."""
        if not tenants:
            return 0
        async with self._database.transaction(*tenants) as session:
            limits = (LEASE_MAX, LEASE_PER_ENDPOINT_MAX)
            rows = await session.fetch(_SQL["lease"], tenants, self._worker, LEASE_SECONDS, *limits)
        room = asyncio.Semaphore(AT_ONCE_MAX)

        async def within(posted: Posted) -> None:
            async with room:
                await self._one(posted)

        await asyncio.gather(*(within(msgspec.convert(dict(row), Posted)) for row in rows))
        return len(rows)

    async def _one(self, posted: Posted) -> None:
        begun = time.monotonic()
        exchange = await self._http.send(self._call(posted), seconds=SEND_SECONDS)
        took_ms = round((time.monotonic() - begun) * 1_000)
        status = exchange.status if isinstance(exchange, Answer) else 0
        async with self._database.transaction(posted.tenant_id) as session:
            place = (posted.tenant_id, posted.endpoint_id, posted.message_id)
            await session.execute(_SQL["attempted"], *place, status, _said(exchange), took_ms)
            state, seconds = self._next(posted, exchange)
            if await session.fetchval(_SQL["ended"], *place, self._worker, state, seconds) is None:
                return
            if state == "delivered":
                await session.execute(_SQL["arrived"], *place[:2])
                return
            failing = await session.fetchval(_SQL["missed"], *place[:2])
            if status == GONE or (failing or 0) >= DISABLE_SECONDS:
                reason = (
                    "it answered 410" if status == GONE else f"nothing arrived for {DISABLE_SECONDS // 86_400} days"
                )
                await self._disable(session, posted, reason)

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


def _said(exchange: Exchange) -> str:
    if isinstance(exchange, Answer):
        return redaction.told(exchange.body, ())[:REPLY_CHARACTERS_MAX]
    return exchange.reason[:REPLY_CHARACTERS_MAX]
