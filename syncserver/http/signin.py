"""Signing in with a browser: out to the company's issuer, back with a session, and out again.

The session is a cookie that no script can read. A page that writes sends beside it what
/v1/auth/session tells: a page of somebody else can have the cookie sent, but cannot read that.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath

from syncserver.commands import signin
from syncserver.http import auth, body, parts, query
from syncserver.http.operation import Operation, opt
from syncserver.http.parts import Asking
from syncserver.http.problems import Problem

FLOW_COOKIES: Final = ("__Host-fieldsync-signin", "fieldsync-signin")
SAME_SITE: Final = "lax"
TENANT_DIGITS_MAX: Final = 9
UNKEPT: Final = {"cache-control": "no-store", "referrer-policy": "no-referrer"}


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Who a token stands for. `csrf` is there for a session that came by cookie."""

    tenant: int
    person: str
    name: str | None
    role: str
    kind: str
    expires_at: datetime | None
    csrf: str | None


class HandedOn(msgspec.Struct, frozen=True):
    """A token for a tool, and when it ends."""

    token: str
    expires_at: datetime | None


class SignedOut(msgspec.Struct, frozen=True):
    """The session is over."""

    signed_out: bool


BEGIN: Final = Operation(
    summary="Sign in: sends the browser to the issuer of the tenant.",
    right=None,
    gives="redirect",
    query={"tenant": "number of the tenant", "return_to": "a path of this service, where the browser ends up"},
    problems=("bad_request", "bad_filter", "signin_not_configured", "signin_issuer_failed"),
)
CALLBACK: Final = Operation(
    summary="Where the issuer sends the browser back to; begins the session.",
    right=None,
    gives="redirect",
    query={"code": "as the issuer gives it", "state": "as it was sent", "iss": "the issuer", "error": "why not"},
    problems=(
        "bad_request",
        "bad_filter",
        "signin_broken",
        "signin_untrusted",
        "signin_denied",
        "signin_not_allowed",
        "signin_not_configured",
        "signin_issuer_failed",
        "keys_missing",
    ),
)
WHO: Final = Operation(summary="Who the token or session stands for.", right="self", gives=Session)
TOKEN: Final = Operation(
    summary="Get a token for a tool, of the same person, role and end as the session.",
    right="self",
    gives=HandedOn,
    problems=("no_session", "csrf_refused"),
)
LOGOUT: Final = Operation(
    summary="Sign out: the session is over at once.",
    right="self",
    gives=SignedOut,
    problems=("no_session", "csrf_refused"),
)


@get("/v1/auth/signin", opt=opt(BEGIN))
async def begin(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Send the browser to the issuer."""
    asked = query.given(request)
    tenant_id, return_to = _tenant(asked.get("tenant", "")), asked.get("return_to") or signin.RETURN_TO
    if not signin.is_path(return_to):
        most = signin.RETURN_CHARACTERS_MAX
        raise Problem("bad_request", f"return_to is a path of this service, of at most {most} characters")
    begun = await parts.found(request).signins.begin(tenant_id, return_to)
    return _go(begun.url, _cookie(FLOW_COOKIES, begun.flow, signin.FLOW_SECONDS, is_secure=begun.is_secure))


@get(signin.CALLBACK + "/{tenant:str}", opt=opt(CALLBACK))
async def callback(request: Request[Any, Any, Any], tenant: FromPath[str]) -> Response[bytes]:
    """Begin the session of somebody who comes back from the issuer."""
    secure, plain = map(request.cookies.get, FLOW_COOKIES)
    kept = signin.Kept(secure=secure, plain=plain)
    done = await parts.found(request).signins.finish(_tenant(tenant), query.given(request), kept)
    return _go(
        done.return_to,
        _cookie(auth.COOKIES, done.token, done.seconds, is_secure=done.is_secure),
        _cookie(FLOW_COOKIES, "", 0, is_secure=done.is_secure),
    )


@get("/v1/auth/session", opt=opt(WHO))
async def session(request: Asking) -> Response[bytes]:
    """Say who the token stands for."""
    who, given = request.auth, auth.shown(request)
    person = await parts.found(request).access.person(who)
    told = Session(
        tenant=who.tenant_id,
        person=who.person,
        name=person.name if person else None,
        role=who.role,
        kind=who.kind,
        expires_at=who.expires_at,
        csrf=signin.csrf(given.token) if given.by_cookie else None,
    )
    return body.answer(request, msgspec.json.encode(told), UNKEPT)


@post("/v1/auth/token", opt=opt(TOKEN), status_code=200)
async def token(request: Asking) -> Response[bytes]:
    """Give a token for a tool."""
    made = await parts.found(request).signins.hand_on(request.auth)
    return body.answer(request, msgspec.json.encode(HandedOn(made, request.auth.expires_at)), UNKEPT)


@post("/v1/auth/logout", opt=opt(LOGOUT), status_code=200)
async def logout(request: Asking) -> Response[bytes]:
    """Sign out."""
    own = parts.found(request)
    await own.signins.end(request.auth, auth.shown(request).token)
    own.access.forget()
    answer = body.answer(request, msgspec.json.encode(SignedOut(signed_out=True)), UNKEPT)
    for name in auth.COOKIES:
        answer.set_cookie(
            Cookie(key=name, value="", path="/", max_age=0, secure=name == auth.COOKIES[0], httponly=True)
        )
    return answer


def _tenant(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > TENANT_DIGITS_MAX:
        raise Problem("bad_request", "tenant is the number of a tenant")
    return int(text)


def _go(url: str, *cookies: Cookie) -> Response[bytes]:
    return Response(b"", status_code=302, headers={"location": url, **UNKEPT}, cookies=list(cookies))


def _cookie(names: tuple[str, str], value: str, seconds: int, *, is_secure: bool) -> Cookie:
    name = names[0] if is_secure else names[1]
    return Cookie(key=name, value=value, path="/", max_age=seconds, secure=is_secure, httponly=True, samesite=SAME_SITE)


ROUTER: Final = Router("/", route_handlers=[begin, callback, session, token, logout])
