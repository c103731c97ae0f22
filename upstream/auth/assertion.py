"""The signed statement that some issuers give a token for (RFC 7523)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from upstream import holes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.manifest import JwtBearer


def made(auth: JwtBearer, names: Mapping[str, Any], *, now_s: int, statement_id: str) -> str:
    """Return the statement, signed; raises `ValueError` for a private key that cannot be used."""
    header = {"alg": auth.algorithm, "typ": "JWT"}
    if key_id := names["auth"].get("key_id"):
        header["kid"] = key_id
    claims = {
        "iss": holes.filled(auth.issuer, names),
        "sub": holes.filled(auth.subject, names),
        "aud": holes.filled(auth.audience, names),
        "iat": now_s,
        "exp": now_s + auth.seconds,
        "jti": statement_id,
    }
    if auth.as_client and auth.scopes:
        claims["scope"] = " ".join(auth.scopes)
    kind = ECKey if auth.algorithm == "ES256" else RSAKey
    try:
        key = kind.import_key(names["auth"].get("private_key", ""))
        return jwt.encode(header, claims, key, algorithms=[auth.algorithm])
    except (JoseError, TypeError, ValueError) as exc:
        raise ValueError(f"the private key cannot sign with {auth.algorithm} ({type(exc).__name__})") from exc
