"""Where the people of a tenant sign in: the issuer, what we are there, and which role they get here."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from syncserver.store import audit, handed, people, statements, tokens
from syncserver.store.audit import Actor, Entry

if TYPE_CHECKING:
    from syncserver.store.db import Database

SESSION_SECONDS: Final = 12 * 3_600

_SQL: Final = statements.of("signins")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """How a sign-in becomes a session.

    `public_url` is where browsers reach this service. `roles` is tried in order: the first value that
    the claim has gives the role. Without `domains` no address of e-mail is asked for.
    """

    public_url: str
    role_claim: str
    roles: tuple[tuple[str, str], ...]
    domains: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ("RS256",)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    session_seconds: int = SESSION_SECONDS


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """The sign-in of a tenant. `secret` is sealed."""

    tenant_id: int
    issuer: str
    client_id: str
    secret: bytes
    config: Config
    changed_at: datetime | None = None


_CONFIG: Final = msgspec.json.Decoder(Config)


def purpose(tenant_id: int) -> str:
    """Return what the secret of a tenant is sealed for."""
    return f"signin/{tenant_id}"


async def find(database: Database, tenant_id: int) -> SignIn | None:
    """Return the sign-in of a tenant; None if it has none."""
    async with database.transaction(tenant_id) as connection:
        row = await connection.fetchrow(_SQL["find"], tenant_id)
    if row is None:
        return None
    return SignIn(
        tenant_id=tenant_id,
        issuer=row["issuer"],
        client_id=row["client_id"],
        secret=row["secret"],
        config=_CONFIG.decode(row["config"]),
        changed_at=row["changed_at"],
    )


async def put(database: Database, signin: SignIn, *, by: Actor = audit.OPERATOR) -> None:
    """Put a sign-in in force. Sessions that are there stay."""
    told = (signin.issuer, signin.client_id, signin.secret, msgspec.json.encode(signin.config).decode())
    async with database.transaction(signin.tenant_id) as connection:
        await connection.execute(_SQL["put"], signin.tenant_id, *told)
        await audit.record(connection, _entry(signin.tenant_id, "signin_configured", by))


async def remove(database: Database, tenant_id: int, *, by: Actor = audit.OPERATOR) -> bool:
    """Take the sign-in away and end its sessions; False if there was none."""
    async with database.transaction(tenant_id) as connection:
        if await connection.fetchval(_SQL["remove"], tenant_id) is None:
            return False
        await connection.execute(_SQL["end_sessions"], tenant_id)
        await audit.record(connection, _entry(tenant_id, "signin_removed", by))
    return True


async def begin_session(database: Database, tenant_id: int, person: people.Person, seconds: float) -> str | None:
    """Return the token of a new session for somebody who signed in; None if they were removed here."""
    async with database.transaction(tenant_id) as connection:
        if not await people.greet(connection, tenant_id, person):
            return None
        grant = people.Grant(person=person.person, kind="session", role=person.role, seconds=seconds)
        token = await people.token_for(connection, tenant_id, grant)
        by = audit.person(person.person)
        what = f"token:{tokens.shown(tokens.digest(token))}"
        await audit.record(connection, Entry(tenant_id=tenant_id, by=by, action="sign_in", object=what))
    return token


async def note_failure(database: Database, tenant_id: int, code: str) -> None:
    """Write down that a sign-in failed, and why."""
    by = Actor(system="sign-in")
    async with database.transaction(tenant_id) as connection:
        entry = Entry(tenant_id=tenant_id, by=by, action="sign_in", object=f"tenant:{tenant_id}", outcome=code)
        await audit.record(connection, entry)


async def end_session(database: Database, tenant_id: int, token: str, *, by: Actor) -> bool:
    """End a session; False if it had ended before."""
    async with database.transaction(tenant_id) as connection:
        return await handed.end(connection, tenant_id, tokens.digest(token), by=by, action="sign_out")


def _entry(tenant_id: int, action: audit.Action, by: Actor) -> Entry:
    return Entry(tenant_id=tenant_id, by=by, action=action, object=f"tenant:{tenant_id}")
