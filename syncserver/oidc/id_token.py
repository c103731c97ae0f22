"""An ID token and what is believed of it: the signature first, then each claim.

Every check has a name, which is all that a refusal tells. What the token says stays with us.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc import jwk, jws
from joserfc.errors import JoseError

from syncserver.oidc.errors import TokenRefused
from syncserver.oidc.issuers import ALGORITHMS

if TYPE_CHECKING:
    from syncserver.oidc.issuers import Issuers, Jwk

LEEWAY_SECONDS: Final = 30
AGE_SECONDS_MAX: Final = 600
"""An ID token is fetched for one sign-in; one that was made long before it is of another."""

TOKEN_CHARACTERS_MAX: Final = 16_384
SUBJECT_CHARACTERS_MAX: Final = 255
RSA_BYTES_MIN: Final = 256
KEY_PARTS: Final = frozenset({"kty", "n", "e", "crv", "x", "y"})
"""What makes a public key; whatever else an issuer publishes with it is not looked at."""

UNUSABLE: Final = (
    JoseError,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
)
"""What the libraries raise for a key or a signature that is none."""


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the token of this sign-in has to say."""

    issuer: str
    client_id: str
    nonce: str
    algorithms: tuple[str, ...]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a signed token."""

    alg: str
    kid: str | None = None
    crit: tuple[str, ...] | None = None


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims that each ID token is checked by."""

    iss: str
    sub: str
    aud: str | tuple[str, ...]
    exp: int | float
    iat: int | float
    nonce: str
    nbf: int | float | None = None
    azp: str | None = None


class Told(msgspec.Struct, frozen=True):
    """What an ID token says, once it is believed: who, and all claims."""

    subject: str
    claims: dict[str, Any]


_HEADER: Final = msgspec.json.Decoder(Header)
_CLAIMS: Final = msgspec.json.Decoder(Claims)
_ALL: Final = msgspec.json.Decoder(dict[str, Any])


async def believe(token: str, issuers: Issuers, expected: Expected, *, now: float) -> Told:
    """Return what the token says; raise `TokenRefused` if a check fails."""
    header = read_header(token, expected.algorithms)
    key = await issuers.key(expected.issuer, header.kid, header.alg)
    payload = verified(token, key, header.alg)
    try:
        claims, everything = _CLAIMS.decode(payload), _ALL.decode(payload)
    except (ValueError, RecursionError) as exc:
        raise TokenRefused("claims: one is missing or of the wrong kind") from exc
    check(claims, expected, now=now)
    return Told(claims.sub, everything)


def read_header(token: str, algorithms: tuple[str, ...]) -> Header:
    """Return the head of a token that is signed in an allowed way."""
    if len(token) > TOKEN_CHARACTERS_MAX or token.count(".") != 2:
        raise TokenRefused("token: it is no signed token of a size that is taken")
    try:
        first = token.partition(".")[0]
        header = _HEADER.decode(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (ValueError, binascii.Error) as exc:
        raise TokenRefused("header: it cannot be read") from exc
    if header.alg not in algorithms or header.alg not in ALGORITHMS:
        raise TokenRefused("alg: the token is not signed in a way that is allowed")
    if header.crit is not None:
        raise TokenRefused("crit: the token asks for more than is understood")
    return header


def verified(token: str, key: Jwk, algorithm: str) -> bytes:
    """Return the payload, if the key signed it."""
    if ALGORITHMS[algorithm] == "RSA" and _rsa_bytes(key) < RSA_BYTES_MIN:
        raise TokenRefused("key: the issuer's key is too short")
    try:
        public = jwk.import_key({name: part for name, part in key.items() if name in KEY_PARTS})
        return jws.deserialize_compact(token, public, algorithms=[algorithm]).payload
    except UNUSABLE as exc:
        raise TokenRefused("signature: it is not the issuer's") from exc


def check(claims: Claims, expected: Expected, *, now: float) -> None:
    """Raise `TokenRefused` for the first claim that does not hold."""
    audience = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
    holds = {
        "iss": claims.iss == expected.issuer,
        "aud": expected.client_id in audience,
        "azp": claims.azp == expected.client_id or (claims.azp is None and len(audience) == 1),
        "exp": claims.exp > now - LEEWAY_SECONDS,
        "nbf": claims.nbf is None or claims.nbf <= now + LEEWAY_SECONDS,
        "iat": now - AGE_SECONDS_MAX <= claims.iat <= now + LEEWAY_SECONDS,
        "nonce": hmac.compare_digest(claims.nonce.encode(), expected.nonce.encode()),
        "sub": 0 < len(claims.sub) <= SUBJECT_CHARACTERS_MAX,
    }
    failed = [name for name, held in holds.items() if not held]
    if failed:
        raise TokenRefused(f"{failed[0]}: the token is not for this sign-in")


def _rsa_bytes(key: Jwk) -> int:
    return len(str(key.get("n", ""))) * 3 // 4
