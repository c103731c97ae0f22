"""Setting up where the people of a tenant sign in: everything is checked before anything is kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from syncserver.commands import claims, signin
from syncserver.commands.errors import IssuerFailed, SignInInvalid, SignInNotConfigured
from syncserver.oidc import fetch
from syncserver.oidc.errors import IssuerFailed as NotReached
from syncserver.oidc.issuers import ALGORITHMS, Issuers
from syncserver.store import people, signins
from syncserver.store.signins import Config, SignIn
from upstream import sealing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncserver.store.db import Database

SESSION_HOURS_MAX: Final = 30 * 24
TEXT_CHARACTERS_MAX: Final = 500

_DOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9-]+(\.[a-z0-9-]+)+")
_SCOPE: Final = re.compile(r"[!#-\[\]-~]{1,100}")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in as it is asked for."""

    tenant_id: int
    issuer: str
    client_id: str
    secret: str
    public_url: str
    roles: tuple[str, ...]
    role_claim: str
    domains: tuple[str, ...]
    algorithms: tuple[str, ...]
    scopes: tuple[str, ...]
    session_hours: float

    def __repr__(self) -> str:
        """Return a text without the secret."""
        return f"Wanted(tenant_id={self.tenant_id}, issuer={self.issuer!r})"


async def configure(
    database: Database, wanted: Wanted, *, keys: Sequence[bytes], allow_loopback: bool, check: bool
) -> str:
    """Put a sign-in in force, and return what has to be registered at the issuer."""
    config = _config(wanted, allow_loopback=allow_loopback)
    await people.require_tenant(database, wanted.tenant_id)
    if check:
        await _ask(wanted, allow_loopback=allow_loopback)
    made = SignIn(
        tenant_id=wanted.tenant_id,
        issuer=wanted.issuer,
        client_id=wanted.client_id,
        secret=sealing.seal(wanted.secret.encode(), keys, signins.purpose(wanted.tenant_id)),
        config=config,
    )
    await signins.put(database, made)
    return (
        f"register at the issuer   {signin.redirect_uri(made)}\n"
        f"people sign in at        {config.public_url}/v1/auth/signin?tenant={wanted.tenant_id}"
    )


async def shown(database: Database, tenant_id: int) -> str:
    """Return the sign-in of a tenant for people."""
    found = await signins.find(database, tenant_id)
    if found is None:
        raise SignInNotConfigured(f"tenant {tenant_id} has no sign-in")
    config = found.config
    lines = {
        "issuer": found.issuer,
        "client id": found.client_id,
        "secret": f"sealed with the key {sealing.sealed_by(found.secret)}",
        "public url": config.public_url,
        "register": signin.redirect_uri(found),
        "role claim": config.role_claim,
        "roles": ", ".join(f"{value}={role}" for value, role in config.roles),
        "domains": ", ".join(config.domains) or "any",
        "algorithms": ", ".join(config.algorithms),
        "scopes": " ".join(config.scopes),
        "session": f"{config.session_seconds / 3_600:g} h",
        "changed": str(found.changed_at),
    }
    return "\n".join(f"{name:<12}{text}" for name, text in lines.items())


async def remove(database: Database, tenant_id: int) -> str:
    """Take a sign-in away, with its sessions."""
    if not await signins.remove(database, tenant_id):
        raise SignInNotConfigured(f"tenant {tenant_id} has no sign-in")
    return f"tenant {tenant_id} has no sign-in any more; its sessions are over"


def _config(wanted: Wanted, *, allow_loopback: bool) -> Config:
    """Return the configuration, or raise `SignInInvalid` that names the option."""
    _issuer(wanted.issuer, allow_loopback=allow_loopback)
    given = {"--client-id": wanted.client_id, "--secret-file": wanted.secret, "--role-claim": wanted.role_claim}
    for option, text in given.items():
        if not 0 < len(text) <= TEXT_CHARACTERS_MAX or not text.isprintable():
            raise SignInInvalid(f"{option}: 1 to {TEXT_CHARACTERS_MAX} printable characters are needed")
    strange = [name for name in wanted.algorithms if name not in ALGORITHMS]
    if strange or not wanted.algorithms:
        raise SignInInvalid(f"--algorithm: {strange or 'none'}; allowed: {', '.join(ALGORITHMS)}")
    if "openid" not in wanted.scopes or not all(map(_SCOPE.fullmatch, wanted.scopes)):
        raise SignInInvalid("--scope: openid has to be among them, and none has a space")
    domains = tuple(domain.lower() for domain in wanted.domains)
    for domain in domains:
        if _DOMAIN.fullmatch(domain) is None:
            raise SignInInvalid(f"--domain: {domain[:40]!r} is no domain like example.com")
    return Config(
        public_url=_public_url(wanted.public_url),
        role_claim=wanted.role_claim,
        roles=tuple(map(_role, wanted.roles)),
        domains=domains,
        algorithms=wanted.algorithms,
        scopes=wanted.scopes,
        session_seconds=max(1, int(wanted.session_hours * 3_600)),
    )


def _issuer(issuer: str, *, allow_loopback: bool) -> None:
    try:
        fetch.allowed(urlsplit(issuer), allow_loopback=allow_loopback)
    except (NotReached, ValueError) as exc:
        raise SignInInvalid(f"--issuer: {exc}") from exc
    parts = urlsplit(issuer)
    if parts.query or not issuer.isascii() or not issuer.isprintable() or " " in issuer:
        raise SignInInvalid("--issuer: an issuer's name has no query and no spaces")
    if parts.scheme == "http" and not fetch.is_loopback(parts.hostname or ""):
        raise SignInInvalid("--issuer: http is for this machine alone; an issuer's address begins with https://")


def _public_url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname or parts.query or parts.fragment or parts.username or parts.path not in ("", "/"):
        raise SignInInvalid("--public-url: scheme and host are needed, and nothing behind them")
    if parts.scheme != "https" and not (parts.scheme == "http" and fetch.is_loopback(parts.hostname)):
        raise SignInInvalid("--public-url: begins with https://; http is for this machine alone")
    return text.rstrip("/")


def _role(text: str) -> tuple[str, str]:
    value, equals, role = text.rpartition("=")
    if not equals or not value or role not in claims.ROLES:
        raise SignInInvalid(f"--role: {text[:60]!r} is not VALUE=ROLE with one of {', '.join(claims.ROLES)}")
    return value, role


async def _ask(wanted: Wanted, *, allow_loopback: bool) -> None:
    """See that the issuer is there, and signs in one of the ways that are allowed."""
    fetcher = fetch.Fetcher(allow_loopback=allow_loopback)
    try:
        told = await Issuers(fetcher, allow_loopback=allow_loopback).metadata(wanted.issuer)
    except NotReached as exc:
        raise IssuerFailed(f"{exc}; --no-check keeps the sign-in all the same") from exc
    finally:
        await fetcher.close()
    if not {*told.id_token_signing_alg_values_supported} & {*wanted.algorithms}:
        offered = ", ".join(told.id_token_signing_alg_values_supported)[:100]
        raise SignInInvalid(f"--algorithm: the issuer signs with {offered} only")
