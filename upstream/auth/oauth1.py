"""Requests signed with two secrets (RFC 5849), as token-based authentication does it."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upstream.calls import Call

    Method = Literal["HMAC-SHA256", "HMAC-SHA1"]

DIGESTS: Final = {"HMAC-SHA256": "sha256", "HMAC-SHA1": "sha1"}
PORTS: Final = {"http": 80, "https": 443}


class Keys(msgspec.Struct, frozen=True):
    """The two pairs: of the program, and of whoever let it in."""

    consumer_key: str
    consumer_secret: str
    token: str
    token_secret: str


def header(call: Call, keys: Keys, method: Method, realm: str, *, nonce: str, now_s: int) -> str:
    """Return the value of `Authorization` for a call."""
    said = {
        "oauth_consumer_key": keys.consumer_key,
        "oauth_token": keys.token,
        "oauth_signature_method": method,
        "oauth_timestamp": str(now_s),
        "oauth_nonce": nonce,
        "oauth_version": "1.0",
    }
    base = base_string(call.method, call.url, [*call.query, *call.form, *said.items()])
    said["oauth_signature"] = signature(base, keys.consumer_secret, keys.token_secret, method)
    parts = [f'realm="{realm}"'] if realm else []
    return "OAuth " + ", ".join(parts + [f'{name}="{escaped(value)}"' for name, value in said.items()])


def base_string(method: str, url: str, params: Iterable[tuple[str, str]]) -> str:
    """Return what is signed (section 3.4.1): the method, the address without query, all parameters in order."""
    pairs = sorted((escaped(name), escaped(value)) for name, value in params)
    together = "&".join(f"{name}={value}" for name, value in pairs)
    return "&".join((method.upper(), escaped(_base_url(url)), escaped(together)))


def signature(base: str, consumer_secret: str, token_secret: str, method: Method) -> str:
    """Return the signature of a base string (section 3.4.2)."""
    key = f"{escaped(consumer_secret)}&{escaped(token_secret)}"
    return base64.b64encode(hmac.digest(key.encode(), base.encode(), DIGESTS[method])).decode()


def escaped(text: str) -> str:
    """Return a text as section 3.6 writes it."""
    return quote(text, safe="~")


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    port = f":{parts.port}" if parts.port and parts.port != PORTS.get(parts.scheme.lower()) else ""
    return f"{parts.scheme.lower()}://{host}{port}{parts.path or '/'}"
