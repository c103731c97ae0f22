"""Asking an issuer for tokens (OAuth 2), and reading what it says.

Only what the issuer says itself counts as a refusal. An answer that cannot be read, or none at all,
leaves open whether a token was given away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from upstream import calls, holes, replies
from upstream.auth import assertion, signing
from upstream.calls import Answer, Call, Lost, Unsent
from upstream.credentials import RENEW_SECONDS, Granted, NotNow, Refused, Renewed
from upstream.manifest import ClientCredentials, JwtBearer, Mtls, OAuth2Code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.transport import Http

MESSAGE_CHARACTERS_MAX: Final = 300
TOKEN_SECONDS_MAX: Final = 3_650 * 86_400
"""What is said to be good for longer is renewed after this; a time further off could not be stored."""
PASSING: Final = ("temporarily_unavailable", "server_error", "slow_down", "authorization_pending")
"""Errors of OAuth that say nothing about the credentials."""
BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLIENT_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def with_code(
    auth: OAuth2Code, names: Mapping[str, Any], http: Http, *, code: str, verifier: str, redirect_uri: str
) -> Renewed:
    """Return what an authorisation code is good for; it and the verifier come from the sign-in."""
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier, "redirect_uri": redirect_uri}
    return await _ask(auth, names, http, form)


async def with_refresh(auth: OAuth2Code, names: Mapping[str, Any], http: Http, refresh_token: str) -> Renewed:
    """Return a new pair for a refresh token, which may be good for this one time only."""
    if not refresh_token:
        return Refused("no_refresh_token", "nobody has signed in yet, or the issuer gives no refresh tokens")
    return await _ask(auth, names, http, {"grant_type": "refresh_token", "refresh_token": refresh_token})


async def as_client(auth: ClientCredentials, names: Mapping[str, Any], http: Http) -> Renewed:
    """Return a token for the program itself."""
    return await _ask(auth, names, http, {"grant_type": "client_credentials", **_scope(auth.scopes)})


async def as_certified(auth: Mtls, names: Mapping[str, Any], http: Http) -> Renewed:
    """Return a token for the program itself, which its certificate speaks for."""
    form = {"grant_type": "client_credentials", **_scope(auth.scopes)}
    plain = ClientCredentials(token_url=auth.token_url, token_seconds=auth.token_seconds, client="body")
    return await _ask(plain, names, http, form)


async def with_statement(
    auth: JwtBearer, names: Mapping[str, Any], http: Http, *, now_s: int, statement_id: str
) -> Renewed:
    """Return a token for a signed statement (RFC 7523)."""
    try:
        signed = assertion.made(auth, names, now_s=now_s, statement_id=statement_id)
    except ValueError as exc:
        return Refused("bad_private_key", str(exc))
    if auth.as_client:
        form = {"grant_type": "client_credentials", "client_assertion_type": CLIENT_ASSERTION}
        return await _ask(auth, names, http, {**form, "client_assertion": signed, **_scope(auth.scopes)})
    return await _ask(auth, names, http, {"grant_type": BEARER, "assertion": signed, **_scope(auth.scopes)})


async def _ask(
    auth: OAuth2Code | ClientCredentials | JwtBearer, names: Mapping[str, Any], http: Http, form: dict[str, str]
) -> Renewed:
    given: Mapping[str, str] = names["auth"]
    try:
        params = {name: holes.filled(text, names) for name, text in auth.params.items()}
        call = Call(
            method="POST",
            url=holes.filled(auth.token_url, names),
            headers={"accept": "application/json", "content-type": calls.CONTENT_TYPE["form"]},
            form=tuple({**form, **params}.items()),
        )
    except holes.NothingThere as exc:
        return Refused("not_given", str(exc))
    call = _named(auth, call, given)
    exchange = await http.send(call, seconds=RENEW_SECONDS, identity=signing.identity(given))
    match exchange:
        case Unsent():
            return NotNow(exchange.reason)
        case Lost():
            return NotNow(exchange.reason, settled=False)
        case Answer():
            return read(exchange, auth.token_seconds, auth.host_from, _refresh_seconds(auth))


def _named(auth: OAuth2Code | ClientCredentials | JwtBearer, call: Call, given: Mapping[str, str]) -> Call:
    """Return the call with the client's own name, in the header or in the body."""
    client, secret = given.get("client_id", ""), given.get("client_secret", "")
    if not client or isinstance(auth, JwtBearer):
        return call
    if auth.client == "basic" and secret:
        user, password = (calls.form_word(word) for word in (client, secret))
        headers = {**call.headers, "authorization": f"Basic {signing.basic(user, password)}"}
        return msgspec.structs.replace(call, headers=headers)
    own = (("client_id", client), *((("client_secret", secret),) if secret else ()))
    return msgspec.structs.replace(call, form=(*call.form, *own))


def read(answer: Answer, token_seconds: int, host_from: str = "", refresh_seconds: int = 0) -> Renewed:
    """Return what an issuer's answer says."""
    body = replies.decoded(answer.body)
    said = body if isinstance(body, dict) else {}
    token = said.get("access_token")
    if answer.status < 300 and isinstance(token, str) and token:
        return Granted(
            token=token,
            seconds=_seconds(said.get("expires_in"), token_seconds),
            refresh_token=str(said.get("refresh_token") or ""),
            refresh_seconds=_seconds(_refresh_end(said), refresh_seconds),
            host=str(holes.at(said, host_from) or "") if host_from else "",
        )
    error = said.get("error")
    if isinstance(error, str) and error not in PASSING and answer.status != 429 and answer.status < 500:
        return Refused(error, str(said.get("error_description") or "")[:MESSAGE_CHARACTERS_MAX])
    settled = 400 <= answer.status < 500
    wait = replies.wait_ms(answer.headers, 0) if "date" in answer.headers or "retry-after" in answer.headers else 0
    return NotNow(f"the issuer answered with status {answer.status}", settled, wait)


def _refresh_end(said: Mapping[str, Any]) -> Any:
    return said.get("x_refresh_token_expires_in", said.get("refresh_token_expires_in", said.get("refresh_expires_in")))


def _refresh_seconds(auth: OAuth2Code | ClientCredentials | JwtBearer) -> int:
    return auth.refresh_days * 86_400 if isinstance(auth, OAuth2Code) else 0


def _seconds(said: Any, otherwise: int) -> int:
    try:
        return min(TOKEN_SECONDS_MAX, max(0, int(said)))
    except (TypeError, ValueError, OverflowError):
        return otherwise


def _scope(scopes: tuple[str, ...]) -> dict[str, str]:
    return {"scope": " ".join(scopes)} if scopes else {}
