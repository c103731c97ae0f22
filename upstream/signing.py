"""Signatures as Standard Webhooks has them: over id, time and body, with secrets that can overlap.

A message is signed with every secret that is good at the moment, so that whoever receives it can
change over without a gap. Pure: time and secrets are arguments.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX: Final = "whsec_"
VERSION: Final = "v1"
SECRET_BYTES: Final = 32
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"


class BadSecret(ValueError):
    """The text is no secret to sign with."""


def written(secret: bytes) -> str:
    """Return the secret as people copy it: `whsec_…`."""
    return PREFIX + base64.b64encode(secret).decode()


def read(text: str) -> bytes:
    """Return the secret that a text stands for; raises `BadSecret`."""
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise BadSecret(f"a secret is {PREFIX} and base64") from exc
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise BadSecret(f"a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return secret


def content(message_id: str, timestamp: int | str, body: bytes) -> bytes:
    """Return what is signed. `timestamp` is in seconds since 1970."""
    return b".".join((message_id.encode(), str(timestamp).encode(), body))


def sign(secret: bytes, signed: bytes) -> str:
    """Return the signature of one secret, with its version."""
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"{VERSION},{base64.b64encode(digest).decode()}"


def headers(message_id: str, timestamp: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of a message that is signed with each of the secrets."""
    signed = content(message_id, timestamp, body)
    return {
        ID: message_id,
        TIMESTAMP: str(timestamp),
        SIGNATURE: " ".join(sign(secret, signed) for secret in secrets),
    }
