"""Secrets that people and devices show: made here, kept only as digests.

Each names its tenant in the clear, so that the look-up stays behind the wall of that tenant. A
tenant that somebody made up leads to no digest.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Final

SECRET_BYTES: Final = 24
CODE_BYTES: Final = 10
CODE_PART: Final = 4
TENANT_DIGITS_MAX: Final = 9
SHOWN_CHARACTERS: Final = 12


def mint(tenant_id: int) -> str:
    """Return a new token."""
    return f"{tenant_id}.{secrets.token_urlsafe(SECRET_BYTES)}"


def mint_code(tenant_id: int) -> str:
    """Return a new enrolment code, which people can read to each other: `7.K2QF-9M…`."""
    letters = base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode()
    return f"{tenant_id}." + "-".join(letters[i : i + CODE_PART] for i in range(0, len(letters), CODE_PART))


def tenant_of(secret: str) -> int | None:
    """Return the tenant that a token or code names; None if it is neither."""
    head, dot, rest = secret.partition(".")
    known = dot and rest and head.isascii() and head.isdigit() and len(head) <= TENANT_DIGITS_MAX
    return int(head) if known else None


def digest(secret: str) -> bytes:
    """Return what is kept of a token or code."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def shown(digest: bytes) -> str:
    """Return how a token is named to people: the beginning of its digest, which opens nothing."""
    return digest.hex()[:SHOWN_CHARACTERS]


def same_code(code: str) -> str:
    """Return the code as it was made, however it was typed."""
    return code.strip().upper()
