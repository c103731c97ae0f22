"""Signing in as a person at the vendor's own page: the authorisation code, with PKCE (RFC 7636).

Somebody is sent to `begun(...).url` and comes back with `state` and a code; `tokens.with_code` makes
a pair of tokens of it. State and verifier are kept until then, for this one person's browser.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from upstream import holes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.manifest import OAuth2Code

VERIFIER_BYTES: Final = 48
"""Of randomness in a verifier: 64 characters."""


class Begun(msgspec.Struct, frozen=True):
    """A sign-in under way: where to send the person, and what to keep until they come back."""

    url: str
    state: str
    verifier: str


def begun(auth: OAuth2Code, names: Mapping[str, Any], redirect_uri: str, *, state: str, verifier: str) -> Begun:
    """Return the beginning of a sign-in; state and verifier are random texts."""
    params = {
        "response_type": "code",
        "client_id": holes.filled("${auth.client_id}", names),
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
    }
    if auth.scopes:
        params["scope"] = " ".join(auth.scopes)
    url = holes.filled(auth.authorize_url, names)
    return Begun(f"{url}{'&' if '?' in url else '?'}{urlencode(params)}", state, verifier)


def challenge(verifier: str) -> str:
    """Return what of the verifier is shown beforehand."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
