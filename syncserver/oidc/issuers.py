"""What issuers say of themselves: where they are asked, and by which keys they sign.

Both are kept for a while. A key that is not known yet makes the keys be fetched anew, but not more
often than every few seconds: an ID token that somebody made up must not make us knock all the time.
An issuer that just failed is left alone for a moment, so that a queue of people does not wait one
timeout after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from syncserver.oidc import fetch
from syncserver.oidc.errors import IssuerFailed, TokenRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncserver.oidc.fetch import Fetcher

KEPT_SECONDS: Final = 3_600.0
ROTATION_SECONDS: Final = 10.0
FAILED_SECONDS: Final = 5.0
ISSUERS_MAX: Final = 1_000
KEYS_MAX: Final = 100
WELL_KNOWN: Final = "/.well-known/openid-configuration"
ALGORITHMS: Final = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
}
"""How an ID token may be signed at all, and the kind of key that takes. None of them shares a secret."""

T = TypeVar("T")
Jwk = dict[str, Any]


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an issuer's own description that is used here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    authorization_response_iss_parameter_supported: bool = False


class KeySet(msgspec.Struct, frozen=True):
    """The keys of an issuer, as it publishes them."""

    keys: tuple[Jwk, ...]


class Known(msgspec.Struct):
    """What is known of one issuer, and since when. Its lock lets one at a time ask."""

    lock: asyncio.Lock
    metadata: Metadata | None = None
    metadata_at: float = 0.0
    keys: tuple[Jwk, ...] = ()
    keys_at: float | None = None
    looked_again_at: float | None = None
    failure: IssuerFailed | None = None
    failed_at: float = 0.0


_METADATA: Final = msgspec.json.Decoder(Metadata)
_KEYS: Final = msgspec.json.Decoder(KeySet)


class Issuers:
    """The issuers that this process has met."""

    def __init__(self, fetcher: Fetcher, *, allow_loopback: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher = fetcher
        self._allow_loopback = allow_loopback
        self._clock = clock
        self._known: OrderedDict[str, Known] = OrderedDict()

    async def metadata(self, issuer: str) -> Metadata:
        """Return what the issuer says of itself; raise `IssuerFailed` if that cannot be had or meant."""
        known = self._of(issuer)
        async with known.lock:
            if known.metadata is None or self._clock() - known.metadata_at > KEPT_SECONDS:
                known.metadata = await self._guarded(known, lambda: self._discover(issuer))
                known.metadata_at = self._clock()
            return known.metadata

    async def key(self, issuer: str, kid: str | None, algorithm: str) -> Jwk:
        """Return the key that signs under this name; raise `TokenRefused` if the issuer has none."""
        metadata = await self.metadata(issuer)
        known = self._of(issuer)
        async with known.lock:
            if not self._within(known.keys_at, KEPT_SECONDS):
                await self._renew(known, metadata)
            found = _fitting(known.keys, kid, algorithm)
            if found is None and not self._within(known.looked_again_at, ROTATION_SECONDS):
                known.looked_again_at = self._clock()
                await self._renew(known, metadata)
                found = _fitting(known.keys, kid, algorithm)
        if found is None:
            raise TokenRefused("kid: the issuer has no such key")
        return found

    def _of(self, issuer: str) -> Known:
        known = self._known.setdefault(issuer, Known(asyncio.Lock()))
        self._known.move_to_end(issuer)
        if len(self._known) > ISSUERS_MAX:
            self._known.popitem(last=False)
        return known

    def _within(self, then: float | None, seconds: float) -> bool:
        return then is not None and self._clock() - then <= seconds

    async def _renew(self, known: Known, metadata: Metadata) -> None:
        known.keys = await self._guarded(known, lambda: self._fetch_keys(metadata))
        known.keys_at = self._clock()

    async def _guarded(self, known: Known, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, unless the issuer failed a moment ago; then that failure is told again."""
        if known.failure is not None and self._within(known.failed_at, FAILED_SECONDS):
            raise IssuerFailed(str(known.failure))
        try:
            got = await ask()
        except IssuerFailed as error:
            known.failure, known.failed_at = error, self._clock()
            raise
        known.failure = None
        return got

    async def _discover(self, issuer: str) -> Metadata:
        told = await self._fetcher.get(issuer.rstrip("/") + WELL_KNOWN)
        try:
            metadata = _METADATA.decode(told)
        except (ValueError, RecursionError) as exc:
            raise IssuerFailed("the issuer's description of itself cannot be read") from exc
        if metadata.issuer != issuer:
            raise IssuerFailed("the issuer calls itself by another name than the one that is configured")
        for url in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
            fetch.allowed(urlsplit(url), allow_loopback=self._allow_loopback)
        return metadata

    async def _fetch_keys(self, metadata: Metadata) -> tuple[Jwk, ...]:
        try:
            return _KEYS.decode(await self._fetcher.get(metadata.jwks_uri)).keys[:KEYS_MAX]
        except (ValueError, RecursionError) as exc:
            raise IssuerFailed("the issuer's keys cannot be read") from exc


def _fitting(keys: tuple[Jwk, ...], kid: str | None, algorithm: str) -> Jwk | None:
    """Return the one key that fits; without a name there must be no choice."""
    able = [key for key in keys if _signs(key, algorithm)]
    named = [key for key in able if kid is None or key.get("kid") == kid]
    return named[0] if len(named) == 1 else None


def _signs(key: Jwk, algorithm: str) -> bool:
    """Whether a key is for signatures of this algorithm, by what the issuer says of it."""
    return (
        key.get("kty") == ALGORITHMS[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )
