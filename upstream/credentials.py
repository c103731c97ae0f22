"""The keeper of credentials: sealed in the database, and renewed by one worker at a time.

A refresh token is often good only once. So who renews first takes a lease on the row, which says in
the database that an answer is awaited; the answer is stored under the version that was asked with,
before anything is done with it. Three things can go wrong, and none of them goes by in silence:

- Somebody else was quicker: the version has moved on, and what is stored is used.
- The worker died between answer and storing: the note that an answer is awaited stays. The next one
  asks again with what is there, and if that is refused, a person is told what happened.
- The issuer says no: the credentials are latched until a person puts others. Nothing is sent meanwhile.

No transaction is open while an issuer is asked. Time is the database's.
"""

from __future__ import annotations

import asyncio
import random
import unicodedata
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import asyncpg
import msgspec
import structlog
from cryptography import x509

from upstream import redaction, sealing, store
from upstream.errors import BadConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from upstream.store import Database

RENEW_SECONDS: Final = 20.0
"""How long an issuer is waited for."""
LEASE_MS: Final = 40_000
"""How long one worker has for a renewal, storing included; more than the issuer may take."""
PATIENCE_SECONDS: Final = 25.0
"""How long a call waits for a renewal that another worker does."""
PAUSE_SECONDS: Final = (0.05, 0.5)
"""Between looks at whether that worker is done: the first pause, and the longest."""
SLACK_MS: Final = 5_000
"""A token that ends sooner than this is not sent any more."""
RETRY_MS: Final = 30_000
"""When an issuer that could not be asked is asked again."""
STORE_TRIES: Final = 8
GIVEN_MAX: Final = 32
GIVEN_CHARACTERS_MAX: Final = 16_384
PEM: Final = "-----BEGIN "
"""How a certificate or key begins, the one kind of credential that has lines."""
LINE_BREAKS: Final = "\r\n"

Code: TypeAlias = Literal["no_credentials", "reauthorise", "token_unavailable", "credentials_sealed"]

_SQL: Final = store.statements("credentials")

log = structlog.get_logger()


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """What an issuer gave. `seconds` is how long the token is good; 0: nobody knows."""

    token: str
    seconds: int = 0
    refresh_token: str = ""
    refresh_seconds: int = 0
    host: str = ""


class Refused(msgspec.Struct, frozen=True):
    """The issuer said no, in its own words."""

    code: str
    message: str = ""


class NotNow(msgspec.Struct, frozen=True):
    """The issuer gave no answer that can be used. `settled`: it is certain that it gave no token away."""

    message: str
    settled: bool = True
    retry_after_ms: int = 0


Renewed: TypeAlias = Granted | Refused | NotNow


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a connection's credentials, opened. `given` is what a person gave, by name."""

    version: int
    given: dict[str, str]
    token: str = ""
    refresh_token: str = ""
    host: str = ""
    state: str = "ok"
    reason: str = ""
    token_ms: int | None = None
    renew_ms: int | None = None
    leased_ms: int = 0

    @property
    def names(self) -> dict[str, str]:
        """What holes of the kind `auth` are filled from."""
        return {**self.given, "token": self.token or self.given.get("token", ""), "host": self.host}

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that nobody may read in a log or an attempt."""
        return (*self.given.values(), self.token, self.refresh_token)

    @property
    def is_spent(self) -> bool:
        """Whether there is no token to send."""
        return not self.token or (self.token_ms is not None and self.token_ms < SLACK_MS)

    def __repr__(self) -> str:
        """Return a text without the secrets."""
        return f"Credential(version={self.version}, state={self.state!r})"


Renew: TypeAlias = "Callable[[Credential], Awaitable[Renewed]]"
"""Asks an issuer for a new token."""


class Unusable(msgspec.Struct, frozen=True, kw_only=True):
    """Why nothing can be sent. With `token_unavailable` it may be otherwise in a while, without a person."""

    code: Code
    message: str
    retry_after_ms: int = 0


class Expiry(msgspec.Struct, frozen=True, kw_only=True):
    """When something ends; negative seconds: it has ended. Kinds: token, refresh_token, certificate, password."""

    tenant_id: int
    connection: str
    kind: str
    seconds: float


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials that need a person (`reauthorise`), or a renewal of which nobody knows how it ended."""

    tenant_id: int
    connection: str
    state: str
    reason: str
    unsettled: bool


class _Kept(msgspec.Struct, frozen=True):
    """What is sealed."""

    given: dict[str, str]
    token: str = ""
    refresh_token: str = ""
    host: str = ""


class Keeper:
    """Keeps the credentials of all connections. The first of the keys seals, all of them open."""

    def __init__(
        self,
        database: Database,
        keys: Sequence[bytes],
        *,
        lease_ms: int = LEASE_MS,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._keys = keys
        self._lease_ms = lease_ms
        self._jitter = jitter
        self._flights: dict[tuple[int, str], asyncio.Task[Unusable | None]] = {}

    async def put(
        self,
        tenant_id: int,
        connection: str,
        given: Mapping[str, str],
        granted: Granted | None = None,
        *,
        password_expires_at: datetime | None = None,
    ) -> int:
        """Store what a person gave, with what a sign-in granted, and return its version.

        Ends whatever latched the credentials before. Raises `BadConnection` for what cannot be meant.
        """
        kept = _Kept(dict(given), *_pair(granted))
        until = _certificate_end(given)
        values = (self._sealed(tenant_id, connection, kept), *self._ends(granted), until, password_expires_at)
        async with self._database.transaction(tenant_id) as session:
            version: int = await session.fetchval(_SQL["put"], tenant_id, connection, *values)
            await session.execute(_SQL["resume_connection"], tenant_id, connection)
        log.info("credentials_put", connection=connection, version=version)
        return version

    async def read(self, tenant_id: int, connection: str) -> Credential | None:
        """Return the credentials as they stand; raise `sealing.Unopened` if the keys do not open them."""
        async with self._database.transaction(tenant_id) as session:
            row = await session.fetchrow(_SQL["read"], tenant_id, connection)
        if row is None:
            return None
        opened = sealing.unseal(row["secret"], self._keys, purpose(tenant_id, connection))
        kept = msgspec.json.decode(opened, type=_Kept)
        known = {name: row[name] for name in ("version", "state", "reason", "token_ms", "renew_ms", "leased_ms")}
        return Credential(**msgspec.structs.asdict(kept), **known)

    async def usable(
        self,
        tenant_id: int,
        connection: str,
        renew: Renew | None,
        *,
        refused: int = 0,
    ) -> Credential | Unusable:
        """Return credentials to send, renewed first if it is time.

        `renew` asks the issuer; None where nothing can be renewed. `refused` is the version that the
        vendor did not accept: it is not returned again.
        """
        key = (tenant_id, connection)
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        for pause in _pauses():
            found = await self._opened(tenant_id, connection)
            if isinstance(found, Unusable) or renew is None or not _is_due(found, refused):
                return found
            has_to = found.is_spent or found.version == refused
            if found.leased_ms <= 0 or key in self._flights:
                failed = _rests(found, refused) or await self._fly(key, found, renew)
                if failed is not None:
                    return failed if has_to else found
            elif not has_to:
                return found
            elif asyncio.get_running_loop().time() > until:
                break
            else:
                await asyncio.sleep(pause)
        return _waiting("another worker is still renewing the token", RETRY_MS)

    async def refuse(self, tenant_id: int, connection: str, version: int, reason: str) -> bool:
        """Latch credentials that the vendor does not accept; return whether they were still those."""
        return await self._refuse(tenant_id, connection, version, reason, None)

    async def expiries(self, tenants: Sequence[int]) -> list[Expiry]:
        """Return when what ends."""
        async with self._database.transaction(*tenants) as session:
            rows = await session.fetch(_SQL["expiries"], list(tenants))
        return [Expiry(**dict(row)) for row in rows]

    async def troubles(self, tenants: Sequence[int]) -> list[Trouble]:
        """Return which credentials need a person, and of which renewals the end is not known."""
        async with self._database.transaction(*tenants) as session:
            rows = await session.fetch(_SQL["troubles"], list(tenants))
        return [Trouble(**dict(row)) for row in rows]

    async def close(self) -> None:
        """Wait for renewals under way: an answer that is not stored may be the only one there is."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    async def _opened(self, tenant_id: int, connection: str) -> Credential | Unusable:
        try:
            found = await self.read(tenant_id, connection)
        except sealing.Unopened as exc:
            return Unusable(code="credentials_sealed", message=str(exc))
        if found is None:
            return Unusable(code="no_credentials", message="nobody has given credentials for this connection yet")
        if found.state != "ok":
            return Unusable(code="reauthorise", message=found.reason)
        return found

    async def _fly(self, key: tuple[int, str], found: Credential, renew: Renew) -> Unusable | None:
        """Renew, or join the renewal under way in this process; return why nothing came of it."""
        flight = self._flights.get(key)
        if flight is None:
            # A task of its own: whoever waits may be cancelled, but an answer under way has to be stored.
            flight = asyncio.create_task(self._renew(*key, found, renew), name="renewal")
            self._flights[key] = flight
            flight.add_done_callback(lambda _done: self._flights.pop(key, None))
        return await asyncio.shield(flight)

    async def _renew(self, tenant_id: int, connection: str, found: Credential, renew: Renew) -> Unusable | None:
        mine = str(uuid.uuid4())
        async with self._database.transaction(tenant_id) as session:
            claimed = await session.fetchrow(_SQL["claim"], tenant_id, connection, found.version, self._lease_ms, mine)
        if claimed is None:
            return None
        unsettled: bool = claimed["unsettled"]
        if unsettled:
            log.warning("renewal_unsettled", connection=connection, version=found.version)
        answer = _told(await renew(found), found)
        match answer:
            case Granted():
                return await self._keep(tenant_id, connection, found, answer)
            case Refused():
                reason = _reason(answer, unsettled=unsettled)
                await self._refuse(tenant_id, connection, found.version, reason, mine)
                return None
            case NotNow():
                wait = max(RETRY_MS, answer.retry_after_ms)
                values = (found.version, mine, wait, answer.settled and not unsettled)
                async with self._database.transaction(tenant_id) as session:
                    await session.execute(_SQL["release"], tenant_id, connection, *values)
                log.warning("renewal_failed", connection=connection, message=answer.message, settled=answer.settled)
                return _waiting(answer.message, wait)

    async def _keep(self, tenant_id: int, connection: str, found: Credential, granted: Granted) -> Unusable | None:
        """Store the new pair; tries for long, since there is no other copy of it."""
        token, refresh_token, host = _pair(granted)
        kept = _Kept(found.given, token, refresh_token or found.refresh_token, host or found.host)
        values = (found.version, self._sealed(tenant_id, connection, kept), *self._ends(granted))
        for attempt in range(STORE_TRIES):
            try:
                async with self._database.transaction(tenant_id) as session:
                    version = await session.fetchval(_SQL["keep"], tenant_id, connection, *values)
                    if version is not None:
                        await session.execute(_SQL["resume_connection"], tenant_id, connection)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
                log.warning("renewal_not_stored", connection=connection, error=type(exc).__name__, attempt=attempt)
                await asyncio.sleep(PAUSE_SECONDS[0] * 2**attempt)
            else:
                log.info("credentials_renewed", connection=connection, version=version, kept=version is not None)
                return None
        log.error("renewal_lost", connection=connection, version=found.version)
        return _waiting("the new token could not be stored", RETRY_MS)

    async def _refuse(self, tenant_id: int, connection: str, version: int, reason: str, mine: str | None) -> bool:
        async with self._database.transaction(tenant_id) as session:
            latched = await session.fetchval(_SQL["refuse"], tenant_id, connection, version, reason, mine)
            if latched is not None:
                await session.execute(_SQL["pause_connection"], tenant_id, connection, reason)
        if latched is not None:
            log.error("credentials_refused", connection=connection, version=version, reason=reason)
        return latched is not None

    def _sealed(self, tenant_id: int, connection: str, kept: _Kept) -> bytes:
        return sealing.seal(msgspec.json.encode(kept), self._keys, purpose(tenant_id, connection))

    def _ends(self, granted: Granted | None) -> tuple[int | None, int | None, int | None]:
        """Return in how many ms the token ends, is renewed ahead, and the refresh token ends."""
        if granted is None:
            return None, None, None
        whole = granted.seconds * 1_000 or None
        ahead = None if whole is None else round(whole * (0.5 + 0.2 * self._jitter()))
        return whole, ahead, granted.refresh_seconds * 1_000 or None


def purpose(tenant_id: int, connection: str) -> str:
    """Return what the credentials of a connection are sealed for: moved to another, they do not open."""
    return f"connection {tenant_id} {connection}"


def check(given: Mapping[str, Any]) -> dict[str, str]:
    """Return what a person gave, if it can be credentials; else raise `BadConnection`."""
    if len(given) > GIVEN_MAX:
        raise BadConnection(f"credentials: {len(given)} values are given, more than {GIVEN_MAX}")
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise BadConnection(f"credentials.{name}: must be a text that is not empty")
        if len(value) > GIVEN_CHARACTERS_MAX:
            raise BadConnection(f"credentials.{name}: has {len(value)} characters, more than {GIVEN_CHARACTERS_MAX}")
        if any(unicodedata.category(each) in ("Cc", "Cs") for each in _in_one_line(value)):
            raise BadConnection(
                f"credentials.{name}: must have no control characters, and line breaks only as PEM; give it anew"
            )
    return dict(given)


def _in_one_line(value: str) -> str:
    """Return a text in PEM without its line breaks; any other as it is."""
    return value.translate(dict.fromkeys(map(ord, LINE_BREAKS))) if value.lstrip().startswith(PEM) else value


def _is_due(found: Credential, refused: int) -> bool:
    return found.version == refused or found.is_spent or (found.renew_ms is not None and found.renew_ms <= 0)


def _rests(found: Credential, refused: int) -> Unusable | None:
    """Return why the issuer is not asked yet: it could not be a moment ago."""
    wait = found.renew_ms or 0
    if found.version == refused or wait <= 0:
        return None
    return _waiting("the issuer could not be asked a moment ago", wait)


def _told(answer: Renewed, found: Credential) -> Renewed:
    """Return an answer without what it repeats of the credentials: its words are shown to people and logged."""
    if isinstance(answer, Granted):
        return answer
    hidden = {name: redaction.hidden(text, found.secrets) for name, text in _words(answer)}
    return msgspec.structs.replace(answer, **hidden)


def _words(answer: Refused | NotNow) -> list[tuple[str, str]]:
    return [(name, text) for name in ("code", "message") if isinstance(text := getattr(answer, name, None), str)]


def _pauses() -> Iterator[float]:
    pause, longest = PAUSE_SECONDS
    while True:
        yield pause
        pause = min(longest, pause * 2)


def _pair(granted: Granted | None) -> tuple[str, str, str]:
    return (granted.token, granted.refresh_token, granted.host) if granted else ("", "", "")


def _waiting(message: str, retry_after_ms: int) -> Unusable:
    return Unusable(code="token_unavailable", message=message, retry_after_ms=retry_after_ms)


def _reason(answer: Refused, *, unsettled: bool) -> str:
    """Return why a person has to sign in again, and what may have led there."""
    said = f"the issuer refused to renew the token ({': '.join(filter(None, (answer.code, answer.message)))})"
    lost = "; an earlier renewal was cut off before its answer was stored, so the token it gave is lost"
    return f"{said}{lost if unsettled else ''}; sign in again"


def _certificate_end(given: Mapping[str, str]) -> datetime | None:
    """Return when a client certificate that was given ends."""
    text = given.get("certificate")
    if not text:
        return None
    try:
        return min(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(text.encode()))
    except ValueError as exc:
        raise BadConnection("credentials.certificate: must be a certificate in PEM") from exc
