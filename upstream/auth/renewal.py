"""How each way of signing in comes by a new token; some never need one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upstream import calls, holes, replies
from upstream.auth import signing, tokens
from upstream.calls import Answer, Unsent
from upstream.credentials import RENEW_SECONDS, Granted, NotNow, Refused
from upstream.manifest import ClientCredentials, JwtBearer, Manifest, Mtls, OAuth2Code, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upstream.credentials import Credential, Renew, Renewed
    from upstream.transport import Http


def of(
    manifest: Manifest,
    base_url: str,
    config: Mapping[str, str],
    http: Http,
    clock: Callable[[], int],
    new_id: Callable[[], str],
) -> Renew | None:
    """Return what asks for a new token; None where there is none to ask for. `clock` gives ms."""
    auth = manifest.auth

    def names(found: Credential) -> dict[str, Any]:
        return {"config": config, "auth": found.names}

    async def renew(found: Credential) -> Renewed:
        match auth:
            case OAuth2Code():
                return await tokens.with_refresh(auth, names(found), http, found.refresh_token)
            case ClientCredentials():
                return await tokens.as_client(auth, names(found), http)
            case JwtBearer():
                now_s = clock() // 1_000
                return await tokens.with_statement(auth, names(found), http, now_s=now_s, statement_id=new_id())
            case Mtls():
                return await tokens.as_certified(auth, names(found), http)
            case Session():
                return await _log_in(manifest, auth, base_url, names(found), http, clock())
            case _:
                raise AssertionError("there is nothing to renew")

    renews = isinstance(auth, OAuth2Code | ClientCredentials | JwtBearer | Session)
    return renew if renews or (isinstance(auth, Mtls) and auth.token_url) else None


async def _log_in(
    manifest: Manifest, auth: Session, base_url: str, names: dict[str, Any], http: Http, now_ms: int
) -> Renewed:
    """Return what the login operation answers with."""
    operation = manifest.operations[auth.operation]
    try:
        url = base_url or holes.filled(manifest.base_url, names)
        call = calls.build(operation, url, {**names, "value": {}})
    except (holes.NothingThere, holes.NoPlace) as exc:
        return Refused("not_given", str(exc))
    exchange = await http.send(call, seconds=RENEW_SECONDS, identity=signing.identity(names["auth"]))
    if not isinstance(exchange, Answer):
        return NotNow(exchange.reason, settled=isinstance(exchange, Unsent))
    reply = replies.read(manifest, operation, exchange, now_ms)
    if reply.kind == "ok":
        token = _token(auth, reply)
        return Granted(token=token, seconds=auth.seconds) if token else NotNow(f"no token stands at {auth.token}")
    if reply.kind in ("auth", "config", "data", "not_found", "gone"):
        return Refused(reply.code or f"status {reply.status}", reply.message)
    return NotNow(f"the login answered with status {reply.status}", settled=True, retry_after_ms=reply.retry_after_ms)


def _token(auth: Session, reply: replies.Reply) -> str:
    """Return what shows the session: from the body, a header, or a cookie that was set."""
    kind, _dot, name = auth.token.partition(".")
    if kind == "header":
        return reply.headers.get(name.lower(), "")
    if kind == "cookie":
        crumbs = [part.strip() for part in reply.headers.get("set-cookie", "").replace(",", ";").split(";")]
        return next((crumb.partition("=")[2] for crumb in crumbs if crumb.partition("=")[0] == name), "")
    return str(holes.at(reply.body, auth.token) or "")
