"""Signing in for the office: out to the company's issuer and back, by authorization code with PKCE.

What has to be known again when the person comes back travels with their browser, sealed; so any
server may finish what another began. The session is a token like the others: kept as a digest,
listed, revoked, and gone with its person.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID, uuid5

import msgspec
import structlog

from syncserver.commands import errors
from syncserver.commands.claims import NotAllowed, name_of, role_of
from syncserver.oidc import id_token
from syncserver.oidc.errors import IssuerFailed, OidcError, TokenRefused
from syncserver.store import audit, people, signins
from upstream import sealing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from syncserver.oidc.fetch import Fetcher
    from syncserver.oidc.issuers import Issuers, Metadata
    from syncserver.store.db import Database
    from syncserver.store.people import Principal
    from syncserver.store.signins import SignIn

CALLBACK: Final = "/v1/auth/callback"
"""Each tenant has its own below this one: by where an answer comes back it is known whose issuer gave it."""

FLOW: Final = "signin-flow"
FLOW_SECONDS: Final = 600
CODE_CHARACTERS_MAX: Final = 2_000
RETURN_CHARACTERS_MAX: Final = 500
RETURN_TO: Final = "/v1/auth/session"
FAILURES_NOTED_PER_MINUTE: Final = 60
"""Whoever begins sign-ins only to have them fail must not fill the audit log; the rest is counted there no more."""

PERSONS: Final = UUID("0d8d7b52-53a4-5f5c-b7f1-6d0a4f0c2e6b")
"""Ids of people who sign in are derived from tenant, issuer and subject."""

_RETURN: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)
"""A path on this service: no host can stand in it, and no backslash that a browser takes for a slash."""

log = structlog.get_logger()


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that is under way."""

    tenant_id: int
    state: str
    nonce: str
    verifier: str
    return_to: str
    ends_at: float


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """Where the browser goes, and what it has to bring back."""

    url: str
    flow: str
    is_secure: bool


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser kept of a sign-in: `secure` by https alone, `plain` where a neighbour could have set it."""

    secure: str | None
    plain: str | None


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A session, how long it lasts, and where the person wanted to go."""

    token: str
    seconds: int
    return_to: str
    is_secure: bool


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The token answer of an issuer, as far as it matters here."""

    id_token: str


_FLOW: Final = msgspec.msgpack.Decoder(Flow)
_ANSWER: Final = msgspec.json.Decoder(TokenAnswer)


class SignIns:
    """The sign-ins of one server process."""

    def __init__(
        self,
        database: Database,
        fetcher: Fetcher,
        issuers: Issuers,
        *,
        keys: Sequence[bytes],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._fetcher = fetcher
        self._issuers = issuers
        self._keys = keys
        self._clock = clock
        self._noted: dict[int, tuple[int, int]] = {}

    async def begin(self, tenant_id: int, return_to: str) -> Begun:
        """Return where to send the browser. `return_to` is a path of ours."""
        assert is_path(return_to), "whoever signs in comes back to this service"
        signin = await self._configured(tenant_id)
        try:
            metadata = await self._issuers.metadata(signin.issuer)
        except OidcError as error:
            raise await self._failed(tenant_id, errors.IssuerFailed(str(error))) from error
        flow = Flow(
            tenant_id=tenant_id,
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            return_to=return_to,
            ends_at=self._clock() + FLOW_SECONDS,
        )
        sealed = sealing.seal(msgspec.msgpack.encode(flow), self._keys, FLOW)
        return Begun(
            url=_asking(metadata, signin, flow),
            flow=base64.urlsafe_b64encode(sealed).decode(),
            is_secure=is_secure(signin),
        )

    async def finish(self, tenant_id: int, query: Mapping[str, str], kept: Kept) -> Finished:
        """Return the session of somebody who came back from the tenant's issuer, or raise why there is none."""
        signin = await self._configured(tenant_id)
        flow = self._flow(kept.secure if is_secure(signin) else kept.plain, query.get("state"))
        if flow.tenant_id != tenant_id:
            raise errors.SignInBroken("the answer is for a sign-in of another tenant; begin again")
        try:
            told = await self._told(signin, flow, query)
            person = _person(signin, told)
        except (errors.CommandError, OidcError, NotAllowed) as error:
            raise await self._failed(flow.tenant_id, _as_answer(error)) from error
        seconds = signin.config.session_seconds
        token = await signins.begin_session(self._database, flow.tenant_id, person, seconds)
        if token is None:
            raise await self._failed(
                flow.tenant_id, errors.SignInNotAllowed("this person was removed; ask an administrator")
            )
        return Finished(token=token, seconds=seconds, return_to=flow.return_to, is_secure=is_secure(signin))

    async def takes_plain_cookies(self, tenant_id: int) -> bool:
        """Whether a tenant's browsers come by http on this machine, where no cookie can have the prefix."""
        signin = await signins.find(self._database, tenant_id)
        return signin is not None and not is_secure(signin)

    async def hand_on(self, who: Principal) -> str:
        """Return another token of the same person, role and end, for a tool that has no cookies."""
        _require_session(who)
        assert who.expires_at is not None, "a session ends"
        left = who.expires_at.timestamp() - self._clock()
        grant = people.Grant(person=who.person, kind="session", role=who.role, seconds=left)
        return await people.create_token(self._database, who.tenant_id, grant, by=audit.person(who.person))

    async def end(self, who: Principal, token: str) -> None:
        """Sign out."""
        _require_session(who)
        await signins.end_session(self._database, who.tenant_id, token, by=audit.person(who.person))

    async def _configured(self, tenant_id: int) -> SignIn:
        signin = await signins.find(self._database, tenant_id)
        if signin is None:
            raise errors.SignInNotConfigured(f"tenant {tenant_id} has no sign-in")
        return signin

    def _flow(self, kept: str | None, state: str | None) -> Flow:
        """Return the sign-in that this browser began, if the issuer's answer is for it."""
        try:
            sealed = base64.urlsafe_b64decode(kept or "")
            flow = _FLOW.decode(sealing.unseal(sealed, self._keys, FLOW))
        except ValueError as exc:
            raise errors.SignInBroken("no sign-in was begun in this browser; begin again") from exc
        if not hmac.compare_digest(flow.state.encode(), (state or "").encode(errors="replace")):
            raise errors.SignInBroken("the answer is for another sign-in than the one begun last; begin again")
        if self._clock() > flow.ends_at:
            raise errors.SignInBroken(f"a sign-in takes at most {FLOW_SECONDS} s; begin again")
        return flow

    async def _told(self, signin: SignIn, flow: Flow, query: Mapping[str, str]) -> id_token.Told:
        """Return what the issuer says of the person, once everything about it was checked."""
        metadata = await self._issuers.metadata(signin.issuer)
        named = query.get("iss")
        if named != signin.issuer and (named or metadata.authorization_response_iss_parameter_supported):
            raise TokenRefused("iss: the answer is of another issuer")
        if query.get("error"):
            raise errors.SignInDenied("the issuer did not let the person in")
        code = query.get("code")
        if not code or len(code) > CODE_CHARACTERS_MAX:
            raise TokenRefused("code: the answer has none that can be used")
        expected = id_token.Expected(
            issuer=signin.issuer,
            client_id=signin.client_id,
            nonce=flow.nonce,
            algorithms=signin.config.algorithms,
        )
        token = await self._exchange(signin, metadata, code, flow.verifier)
        return await id_token.believe(token, self._issuers, expected, now=self._clock())

    async def _exchange(self, signin: SignIn, metadata: Metadata, code: str, verifier: str) -> str:
        """Return the ID token that the issuer gives for the code."""
        secret = self._secret(signin)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri(signin),
            "client_id": signin.client_id,
            "code_verifier": verifier,
        }
        basic = "client_secret_basic" in metadata.token_endpoint_auth_methods_supported
        if not basic:
            form["client_secret"] = secret
        told = await self._fetcher.post(
            metadata.token_endpoint, form, basic=(signin.client_id, secret) if basic else None
        )
        try:
            return _ANSWER.decode(told).id_token
        except (ValueError, RecursionError) as exc:
            raise IssuerFailed("the issuer's answer to the code has no ID token") from exc

    def _secret(self, signin: SignIn) -> str:
        try:
            return sealing.unseal(signin.secret, self._keys, signins.purpose(signin.tenant_id)).decode()
        except sealing.Unopened as exc:
            raise errors.KeysMissing(str(exc)) from exc

    async def _failed(self, tenant_id: int, error: errors.CommandError) -> errors.CommandError:
        """Note that a sign-in failed, unless too many did, and return why."""
        minute = int(self._clock() // 60)
        seen = self._noted.get(tenant_id, (minute, 0))
        count = seen[1] + 1 if seen[0] == minute else 1
        self._noted[tenant_id] = (minute, count)
        log.warning("sign_in_failed", tenant=tenant_id, code=error.code, why=str(error))
        if count <= FAILURES_NOTED_PER_MINUTE:
            await signins.note_failure(self._database, tenant_id, error.code)
        return error


def is_path(text: str) -> bool:
    """Whether a text is a path on this service and no way to another one."""
    return len(text) <= RETURN_CHARACTERS_MAX and _RETURN.fullmatch(text) is not None


def csrf(token: str) -> str:
    """Return what a page has to send beside the cookie: only whoever may read our answers knows it."""
    return base64.urlsafe_b64encode(hmac.digest(token.encode(), b"csrf", hashlib.sha256)).rstrip(b"=").decode()


def redirect_uri(signin: SignIn) -> str:
    """Return where the issuer sends the browser back to; it has to be registered there.

    Were it the same for two issuers, one of them could pass a code of the other on as its own.
    """
    return f"{signin.config.public_url.rstrip('/')}{CALLBACK}/{signin.tenant_id}"


def is_secure(signin: SignIn) -> bool:
    """Whether browsers reach this service by https only."""
    return urlsplit(signin.config.public_url).scheme == "https"


def _asking(metadata: Metadata, signin: SignIn, flow: Flow) -> str:
    challenge = hashlib.sha256(flow.verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": signin.client_id,
        "redirect_uri": redirect_uri(signin),
        "scope": " ".join(signin.config.scopes),
        "state": flow.state,
        "nonce": flow.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    glue = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
    return f"{metadata.authorization_endpoint}{glue}{urlencode(asked)}"


def _person(signin: SignIn, told: id_token.Told) -> people.Person:
    """Return who somebody is here; raise `NotAllowed` if they have no place."""
    role = role_of(told.claims, signin.config)
    derived = uuid5(PERSONS, f"{signin.tenant_id}/{signin.issuer}/{told.subject}")
    return people.Person(str(derived), name_of(told.claims, told.subject), role)


def _as_answer(error: Exception) -> errors.CommandError:
    """Return what the browser is told of a failure."""
    match error:
        case errors.CommandError():
            return error
        case NotAllowed():
            return errors.SignInNotAllowed(str(error))
        case TokenRefused():
            return errors.SignInUntrusted(str(error))
        case _:
            return errors.IssuerFailed(str(error))


def _require_session(who: Principal) -> None:
    if who.kind != "session":
        raise errors.NoSession("this token was not given by a sign-in; an administrator can revoke it")
