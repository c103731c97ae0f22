"""Carrying out an operation of a manifest: everything between "do this" and "this is what came of it".

In this order: is the vendor believed to be up (breaker), who are we (credentials), what is asked
(manifest), may it be asked now (budgets), asking, and what the answer means. Whatever ends it before
asking is a reply that says `sent=False`: nothing was tried. Nothing that a vendor does is raised.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from upstream import breaker, budgets, calls, holes, paging, redaction, replies
from upstream.auth import renewal, signing
from upstream.bucket import Heard
from upstream.calls import Answer, Page
from upstream.credentials import Unusable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from upstream.bucket import Purpose
    from upstream.budgets import Take
    from upstream.calls import Call
    from upstream.connections import Connection
    from upstream.credentials import Credential, Keeper
    from upstream.manifest import Manifest, Operation
    from upstream.replies import Reply
    from upstream.transport import Http

WAIT_HERE_MS: Final[dict[Purpose, int]] = {"interactive": 3_000, "normal": 1_000, "backfill": 0}
"""A wait of the budgets up to this is waited for; longer ones are handed back with the reply."""
PAGE_WAIT_MS_MAX: Final = 90_000
"""Between pages of a list it is waited longer: to begin it anew would cost more."""
NONCE_BYTES: Final = 16


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the connector was asked for."""

    name: str
    operation: Operation
    values: Mapping[str, Any]
    remote: Mapping[str, Any]
    key: str | None
    purpose: Purpose
    page: Page


class Connector:
    """Speaks to the system of one connection. `clock` gives ms."""

    def __init__(  # noqa: PLR0913  (what it works with, each by its name)
        self,
        manifest: Manifest,
        connection: Connection,
        *,
        http: Http,
        credentials: Keeper,
        budgets: budgets.Budgets,
        breaker: breaker.Breaker,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._manifest = manifest
        self._connection = connection
        self._http = http
        self._keeper = credentials
        self._budgets = budgets
        self._breaker = breaker
        self._clock = clock
        config = {name: entry.default for name, entry in manifest.config.items() if entry.default}
        self._config = {**config, **connection.config}
        self._renew = renewal.of(
            manifest,
            connection.base_url or "",
            self._config,
            http,
            clock=clock,
            new_id=lambda: str(uuid.uuid4()),
        )

    async def call(
        self,
        operation: str,
        values: Mapping[str, Any],
        *,
        remote: Mapping[str, Any] | None = None,
        key: str | None = None,
        purpose: Purpose = "normal",
    ) -> Reply:
        """Carry out an operation and return what came of it.

        `values` are its fields, which also fill the holes `value`; `remote` fills those that name what
        is there already. `key` goes where the vendor looks for it to know a repeated request.
        """
        found = self._manifest.operations[operation]
        page = paging.first(found.pagination)
        asked = Asked(
            name=operation,
            operation=found,
            values=values,
            remote=remote or {},
            key=key,
            purpose=purpose,
            page=page,
        )
        return await self._carried(asked)

    async def pages(
        self, operation: str, values: Mapping[str, Any], *, purpose: Purpose = "normal"
    ) -> AsyncIterator[Reply]:
        """Yield the pages of a list. One that is not `ok` is the last, and says why the list ends there."""
        found = self._manifest.operations[operation]
        page: Page | None = paging.first(found.pagination)
        seen: set[Page] = set()
        while page is not None:
            asked = Asked(
                name=operation, operation=found, values=values, remote={}, key=None, purpose=purpose, page=page
            )
            reply = await self._patiently(asked)
            seen.add(page)
            yield reply
            if reply.kind != "ok":
                return
            page = paging.following(found.pagination, page, reply.body, reply.headers, len(reply.items))
            if page in seen or len(seen) >= paging.PAGES_MAX:
                message = (
                    "the vendor names a page that was read already" if page in seen else "there are too many pages"
                )
                yield replies.stopped("endless_list", message)
                return

    @property
    def place(self) -> tuple[int, str]:
        """Whose connection it is: tenant and connection."""
        return self._place

    @property
    def allow_loopback(self) -> bool:
        """Whether this machine and private networks may be called: for trials."""
        return self._http.allow_loopback

    async def credential(self) -> Credential | None:
        """Return what was given for signing in, for a hook that speaks to a system by other means."""
        return await self._keeper.read(*self._place)

    async def verify(self, *, purpose: Purpose = "interactive") -> Reply:
        """Return what the verification call says: whether we are let in, and whether anybody is there."""
        return await self.call(self._manifest.verify, {}, purpose=purpose)

    async def _patiently(self, asked: Asked) -> Reply:
        waited = 0
        while True:
            reply = await self._carried(asked)
            wait = max(1, reply.retry_after_ms)
            if reply.kind != "throttled" or waited + wait > PAGE_WAIT_MS_MAX:
                return reply
            await asyncio.sleep(wait / 1_000)
            waited += wait

    async def _carried(self, asked: Asked) -> Reply:
        """Carry out what is asked, unless the vendor is left alone for now."""
        gate = self._gate(asked.operation)
        admitted = await self._breaker.admit(gate)
        if admitted == "probe":
            down = await self._probed(gate, asked.purpose)
            if down is not None:
                return down
        elif admitted != "closed":
            return _resting(admitted)
        reply, version = await self._tried(asked)
        if reply.kind == "auth" and reply.sent:
            await self._doubt(asked, reply, version)
        return reply

    async def _probed(self, gate: str, purpose: Purpose) -> Reply | None:
        """Ask the vendor by the verification call; return what to answer if it is still down."""
        reply, _version = await self._exchanged(self._verification(purpose), counts=False)
        if not reply.sent and reply.code != replies.UNREACHABLE:
            return _resting(max(reply.retry_after_ms, 1))
        fault = reply.kind in breaker.FAULTS
        await self._breaker.record(gate, fault=fault, probe=True)
        return _resting(breaker.OPEN_MS) if fault else None

    async def _tried(self, asked: Asked) -> tuple[Reply, int]:
        """Ask; if the vendor does not accept the token, renew it and ask once more."""
        reply, version = await self._exchanged(asked)
        if reply.kind == "auth" and reply.sent and self._renew is not None:
            return await self._exchanged(asked, refused=version)
        return reply, version

    async def _doubt(self, asked: Asked, reply: Reply, version: int) -> None:
        """Latch the credentials if it is them, and not this one operation, that the vendor refuses."""
        if asked.name != self._manifest.verify:
            reply, version = await self._exchanged(self._verification(asked.purpose))
        if reply.kind == "auth" and reply.sent:
            said = reply.message or reply.code or f"status {reply.status}"
            reason = f"the vendor does not accept the credentials any more ({said}); sign in again"
            await self._keeper.refuse(*self._place, version, reason)

    async def _exchanged(self, asked: Asked, *, refused: int = 0, counts: bool = True) -> tuple[Reply, int]:
        """Ask once. Returns the version of the credentials too, for the vendor may refuse those."""
        found = await self._keeper.usable(*self._place, self._renew, refused=refused)
        if isinstance(found, Unusable):
            return replies.stopped(found.code, found.message, retry_after_ms=found.retry_after_ms), 0
        try:
            call = self._built(asked, found)
        except holes.NothingThere as exc:
            is_ours = any(f"${{{name}." in str(exc) for name in ("config", "auth"))
            return replies.stopped("setting_missing" if is_ours else "value_missing", str(exc)), found.version
        except holes.NoPlace as exc:
            return replies.stopped("does_not_fit", str(exc)), found.version
        # Only what comes with the service, at its usual address, can tell of a limit that all tenants share.
        is_shipped = self._connection.manifest_text is None and self._connection.base_url is None
        taken = budgets.takes(self._manifest, asked.operation, *self._place, is_shipped=is_shipped)
        slip = str(uuid.uuid4())
        wait = await self._room(taken, asked.purpose, slip)
        if wait:
            message = "what may be asked in this time is used up"
            return replies.stopped("budget_used", message, retry_after_ms=wait), found.version
        reply = await self._sent(asked, call, found, taken, slip)
        if counts and reply.code != replies.NO_ROOM:
            await self._breaker.record(self._gate(asked.operation), fault=reply.kind in breaker.FAULTS)
        return reply, found.version

    async def _room(self, taken: Sequence[Take], purpose: Purpose, slip: str) -> int:
        """Take from the budgets, after a short wait if need be; return how long it would have to be otherwise."""
        waited = 0
        while wait := await self._budgets.take(taken, purpose, slip):
            if waited + wait > WAIT_HERE_MS[purpose]:
                return wait
            await asyncio.sleep(wait / 1_000)
            waited += wait
        return 0

    async def _sent(self, asked: Asked, call: Call, found: Credential, taken: Sequence[Take], slip: str) -> Reply:
        began = self._clock()
        reply = replies.Reply(kind="unknown")
        said: tuple[Heard, ...] = tuple(Heard() for _each in taken)
        try:
            identity = signing.identity(found.given)
            exchange = await self._http.send(call, seconds=asked.operation.seconds, identity=identity)
            reply = replies.read(self._manifest, asked.operation, exchange, self._clock())
            said = self._heard(taken, reply)
        finally:
            await self._budgets.settle(taken, said, slip)
        rests = max((each.hold_ms for each in said), default=0) if reply.kind == "throttled" else 0
        return msgspec.structs.replace(
            reply,
            retry_after_ms=reply.retry_after_ms or rests,
            request=_request(call, found.secrets),
            raw=redaction.told(exchange.body, found.secrets) if isinstance(exchange, Answer) else "",
            message=redaction.hidden(reply.message, found.secrets),
            took_ms=self._clock() - began,
        )

    def _heard(self, taken: Sequence[Take], reply: Reply) -> tuple[Heard, ...]:
        rests = reply.kind == "throttled" or (reply.kind in breaker.FAULTS and reply.retry_after_ms > 0)
        hold_ms = reply.retry_after_ms if rests else None
        now = self._clock()
        return budgets.heard(self._manifest, taken, reply.headers, now, ok=reply.kind == "ok", hold_ms=hold_ms)

    def _built(self, asked: Asked, found: Credential) -> Call:
        names = {
            "config": self._config,
            "auth": found.names,
            "value": asked.values,
            "remote": asked.remote,
            "page": {"at": asked.page.at, "size": asked.page.size},
        }
        url = self._connection.base_url or holes.filled(self._manifest.base_url, names)
        call = paging.placed(
            calls.build(asked.operation, url, names, key=asked.key), asked.operation.pagination, asked.page
        )
        nonce, now_s = secrets.token_hex(NONCE_BYTES), self._clock() // 1_000
        return signing.signed(self._manifest.auth, call, names, nonce=nonce, now_s=now_s)

    def _verification(self, purpose: Purpose) -> Asked:
        name = self._manifest.verify
        found = self._manifest.operations[name]
        page = paging.first(found.pagination)
        return Asked(name=name, operation=found, values={}, remote={}, key=None, purpose=purpose, page=page)

    def _gate(self, operation: Operation) -> str:
        return breaker.key(self._manifest.system, *self._place, operation.effect)

    @property
    def _place(self) -> tuple[int, str]:
        return self._connection.tenant_id, self._connection.connection


def _resting(wait_ms: int) -> Reply:
    return replies.stopped("breaker_open", "the vendor is left alone for a while", retry_after_ms=wait_ms)


def _request(call: Call, secret: tuple[str, ...]) -> str:
    """Return a request for people, redacted and cut."""
    query = urlencode(redaction.pairs(call.query), safe="*")
    lines = [f"{call.method} {call.url}{'?' if query else ''}{query}"]
    lines += [f"{name}: {value}" for name, value in redaction.pairs(call.headers).items()]
    body = urlencode(redaction.pairs(call.form), safe="*").encode() if call.form else call.body
    return redaction.cut(redaction.hidden("\n".join(lines), secret) + "\n\n" + redaction.told(body, secret))
