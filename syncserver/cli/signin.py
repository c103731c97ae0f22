"""`fieldsync signin configure | show | remove`: where the people of a tenant sign in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from cyclopts import validators

from syncserver import settings
from syncserver.cli import outcome
from syncserver.commands import setup
from syncserver.commands.errors import SignInInvalid
from syncserver.store import db, signins

STDIN: Final = "-"
Hours = Annotated[float, cyclopts.Parameter(validator=validators.Number(gt=0, lte=setup.SESSION_HOURS_MAX))]

app = cyclopts.App(name="signin", help="Where the people of a tenant sign in.")


@app.command
def configure(  # noqa: PLR0913  (each is an option of the command)
    *,
    tenant: int = 1,
    issuer: str,
    client_id: str,
    secret_file: Path,
    public_url: str,
    role: tuple[str, ...],
    role_claim: str = "roles",
    domain: tuple[str, ...] = (),
    algorithm: tuple[str, ...] = ("RS256",),
    scope: tuple[str, ...] = ("openid", "profile", "email"),
    session_hours: Hours = signins.SESSION_SECONDS / 3_600,
    check: bool = True,
) -> int:
    """Let the people of a tenant sign in at their company's own issuer (OpenID Connect).

    Prints the address that has to be registered there.

    Parameters
    ----------
    tenant
        Number of the tenant.
    issuer
        The issuer's name, an address that begins with https://.
    client_id
        What this service is called at the issuer.
    secret_file
        A file with the secret that goes with it; - reads the standard input. It is kept sealed.
    public_url
        Where browsers reach this service.
    role
        VALUE=ROLE: who has VALUE in the claim gets ROLE. May be given several times; the first that fits counts.
    role_claim
        The claim that has the values, or a way through objects like realm_access.roles.
    domain
        Only people with a verified address of e-mail in this domain. May be given several times.
    algorithm
        How ID tokens may be signed. May be given several times.
    scope
        What the issuer is asked for. May be given several times.
    session_hours
        How long a session lasts.
    check
        Ask the issuer whether it is there and signs in a way that is allowed.
    """
    wanted = partial(
        setup.Wanted,
        tenant_id=tenant,
        issuer=issuer,
        client_id=client_id,
        public_url=public_url,
        roles=role,
        role_claim=role_claim,
        domains=domain,
        algorithms=algorithm,
        scopes=scope,
        session_hours=session_hours,
    )
    return outcome.tell(_configure(wanted, secret_file, check=check))


@app.command
def show(*, tenant: int = 1) -> int:
    """Print where the people of a tenant sign in; the secret is not shown.

    Parameters
    ----------
    tenant
        Number of the tenant.
    """
    return outcome.tell(outcome.asked(lambda database: setup.shown(database, tenant), tenant))


@app.command
def remove(*, tenant: int = 1) -> int:
    """Take the sign-in of a tenant away. Its sessions end; tokens stay.

    Parameters
    ----------
    tenant
        Number of the tenant.
    """
    return outcome.tell(outcome.asked(lambda database: setup.remove(database, tenant), tenant))


async def _configure(wanted: Callable[..., setup.Wanted], secret_file: Path, *, check: bool) -> str:
    given, whole = settings.load(), wanted(secret=_secret(secret_file))

    async def work(database: db.Database) -> str:
        return await setup.configure(
            database, whole, keys=given.secret_keys, allow_loopback=given.allow_loopback_vendors, check=check
        )

    return await outcome.asked(work)


def _secret(file: Path) -> str:
    """Return the secret; on the command line itself every process of the machine could read it."""
    try:
        return (sys.stdin.read() if str(file) == STDIN else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SignInInvalid(f"--secret-file: {getattr(exc, 'strerror', None) or 'it is no text'}") from exc
