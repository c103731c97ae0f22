"""Secrets of others, kept by us: sealed at rest with the secret keys of the installation.

Each secret is sealed with a key of its own, and that one is wrapped with the newest secret key. When
the secret keys are changed only the wrapping is made anew. What is sealed says by which key, so that
it can be told what still needs an old one. It is bound to its purpose: moved to another place, it
does not open.

    version · key id · nonce · wrapped key · nonce · sealed secret
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = b"\x01"
KEY_BYTES: Final = 32
ID_BYTES: Final = 4
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16

_WRAPPED_AT: Final = len(VERSION) + ID_BYTES
_SECRET_AT: Final = _WRAPPED_AT + NONCE_BYTES + KEY_BYTES + TAG_BYTES


class Unopened(ValueError):
    """What was to be opened was not sealed with any of the keys, or not for this purpose."""


def key_id(key: bytes) -> str:
    """Return the name by which people and sealed things speak of a key."""
    return _id(key).hex()


def seal(secret: bytes, keys: Sequence[bytes], purpose: str) -> bytes:
    """Return the secret sealed for a purpose, with the first of the keys."""
    own = secrets.token_bytes(KEY_BYTES)
    return VERSION + _id(keys[0]) + _closed(own, _wrapping(keys[0]), purpose) + _closed(secret, own, purpose)


def unseal(sealed: bytes, keys: Sequence[bytes], purpose: str) -> bytes:
    """Return the secret; raise `Unopened` if none of the keys sealed it for this purpose."""
    return _opened(sealed[_SECRET_AT:], _own_key(sealed, keys, purpose), purpose)


def rewrap(sealed: bytes, keys: Sequence[bytes], purpose: str) -> bytes:
    """Return the same sealed secret, its key wrapped with the first of the keys."""
    own = _own_key(sealed, keys, purpose)
    return VERSION + _id(keys[0]) + _closed(own, _wrapping(keys[0]), purpose) + sealed[_SECRET_AT:]


def sealed_by(sealed: bytes) -> str:
    """Return the id of the key that a sealed secret depends on."""
    return sealed[len(VERSION) : _WRAPPED_AT].hex()


def _own_key(sealed: bytes, keys: Sequence[bytes], purpose: str) -> bytes:
    if not sealed.startswith(VERSION) or len(sealed) < _SECRET_AT:
        raise Unopened("this was not sealed here")
    wanted = sealed_by(sealed)
    for key in keys:
        if key_id(key) == wanted:
            return _opened(sealed[_WRAPPED_AT:_SECRET_AT], _wrapping(key), purpose)
    raise Unopened(f"this was sealed with the key {wanted}, which FIELDSYNC_SECRET_KEYS does not have")


def _closed(secret: bytes, key: bytes, purpose: str) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret, purpose.encode())


def _opened(closed: bytes, key: bytes, purpose: str) -> bytes:
    if len(closed) < NONCE_BYTES + TAG_BYTES:
        raise Unopened("this was not sealed here")
    try:
        return AESGCM(key).decrypt(closed[:NONCE_BYTES], closed[NONCE_BYTES:], purpose.encode())
    except InvalidTag as exc:
        raise Unopened("this was not sealed here, or not for this purpose") from exc


def _id(key: bytes) -> bytes:
    return hashlib.sha256(b"fieldsync key id" + key).digest()[:ID_BYTES]


def _wrapping(key: bytes) -> bytes:
    """Derive the key that wraps from a secret key, which also seals cursors in another way."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"fieldsync wrapping").derive(key)
