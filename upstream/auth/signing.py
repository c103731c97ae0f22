"""What each way of signing in puts on a request. Pure: the time and the nonce are given."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import calls, holes
from upstream.auth import oauth1
from upstream.calls import Identity
from upstream.errors import BadConnection
from upstream.manifest import (
    ApiKey,
    Auth,
    Basic,
    Bearer,
    ClientCredentials,
    JwtBearer,
    Mtls,
    NoAuth,
    OAuth1,
    OAuth2Code,
    Session,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.calls import Call

NEEDED: Final[dict[type, tuple[str, ...]]] = {
    NoAuth: (),
    ApiKey: ("key",),
    Basic: (),
    Bearer: ("token",),
    OAuth2Code: ("client_id",),
    ClientCredentials: ("client_id", "client_secret"),
    JwtBearer: ("private_key",),
    OAuth1: ("consumer_key", "consumer_secret", "token_id", "token_secret"),
    Session: (),
    Mtls: ("certificate", "private_key"),
}
"""What a person has to give, by name, for each way of signing in; what holes name besides is needed too."""


def missing(auth: Auth, given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of what has to be given and is not."""
    needed = list(NEEDED[type(auth)])
    if isinstance(auth, Basic):
        needed += [name for text in (auth.user, auth.password) for kind, name in holes.named(text) if kind == "auth"]
    if isinstance(auth, Mtls) and auth.token_url:
        needed.append("client_id")
    return tuple(name for name in needed if not given.get(name))


def require(auth: Auth, given: Mapping[str, str]) -> None:
    """Raise `BadConnection` if something that has to be given is not, or cannot be sent as it is."""
    lacking = missing(auth, given)
    if lacking:
        raise BadConnection(f"credentials: {', '.join(lacking)} must be given for signing in")
    for name in _in_header(auth):
        if calls.HEADER_VALUE.fullmatch(given[name]) is None:
            raise BadConnection(
                f"credentials.{name}: must be printable ASCII without spaces at its ends, since it is sent in a header"
            )


def _in_header(auth: Auth) -> tuple[str, ...]:
    """Return the names of what is sent in a header as it was given."""
    match auth:
        case Bearer():
            return NEEDED[Bearer]
        case ApiKey(place="header"):
            return NEEDED[ApiKey]
        case _:
            return ()


def signed(auth: Auth, call: Call, names: Mapping[str, Any], *, nonce: str, now_s: int) -> Call:
    """Return the call with what shows who asks. Raises `holes.NothingThere` for what was not given."""
    match auth:
        case NoAuth():
            return call
        case ApiKey():
            return _shown(call, auth.place, auth.name, auth.prefix + holes.filled("${auth.key}", names))
        case Session():
            return _shown(call, auth.place, auth.name, auth.prefix + holes.filled("${auth.token}", names))
        case Mtls(token_url=""):
            return call
        case Basic() | Bearer() | OAuth2Code() | ClientCredentials() | JwtBearer() | Mtls() | OAuth1():
            shown = _authorization(auth, call, names, nonce=nonce, now_s=now_s)
            return msgspec.structs.replace(call, headers={**call.headers, "authorization": shown})


def identity(given: Mapping[str, str]) -> Identity | None:
    """Return who we are in TLS, if the credentials say something about that."""
    if not given.get("certificate") and not given.get("authority"):
        return None
    key = given.get("private_key", "") if given.get("certificate") else ""
    return Identity(given.get("certificate", ""), key, given.get("authority", ""))


def basic(user: str, password: str) -> str:
    """Return user name and password as HTTP writes them."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def _authorization(
    auth: Basic | Bearer | OAuth2Code | ClientCredentials | JwtBearer | Mtls | OAuth1,
    call: Call,
    names: Mapping[str, Any],
    *,
    nonce: str,
    now_s: int,
) -> str:
    """Return the value of the header of this name."""
    if isinstance(auth, Basic):
        return "Basic " + basic(holes.filled(auth.user, names), holes.filled(auth.password, names))
    if isinstance(auth, OAuth1):
        keys = oauth1.Keys(*(holes.filled(f"${{auth.{name}}}", names) for name in NEEDED[OAuth1]))
        return oauth1.header(call, keys, auth.method, auth.realm, nonce=nonce, now_s=now_s)
    return "Bearer " + holes.filled("${auth.token}", names)


def _shown(call: Call, place: str, name: str, value: str) -> Call:
    match place:
        case "header":
            return msgspec.structs.replace(call, headers={**call.headers, name.lower(): value})
        case "cookie":
            return msgspec.structs.replace(call, headers={**call.headers, "cookie": f"{name}={value}"})
        case "query":
            return msgspec.structs.replace(call, query=(*call.query, (name, value)))
        case _:
            return _in_body(call, name, value)


def _in_body(call: Call, name: str, value: str) -> Call:
    if call.form:
        return msgspec.structs.replace(call, form=(*call.form, (name, value)))
    body = msgspec.json.decode(call.body or b"{}")
    if not isinstance(body, dict):
        raise calls.Unfit("the session has no place in a body that is a list")
    holes.put(body, name, value)
    return msgspec.structs.replace(call, body=msgspec.json.encode(body))
