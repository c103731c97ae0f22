"""Signing in at a system's own page (OAuth 2, authorisation code with PKCE) for a connection.

What has to be kept until the person comes back travels in `state`, sealed: for which connection, who
began it, and the verifier. So any server can end what another began, and only who began it can.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from syncserver.commands.errors import AuthorizationBroken, AuthorizationRefused, BadConnection
from syncserver.commands.upstream.acting import note
from syncserver.commands.upstream.connections import found
from syncserver.commands.upstream.told import told
from upstream import connections, sealing
from upstream.auth import code as codes
from upstream.auth import tokens
from upstream.credentials import Granted
from upstream.manifest import OAuth2Code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from syncserver.commands.access import Principal
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.db import Database
    from upstream.connections import Connection

STATE_SECONDS: Final = 600
STATE_CHARACTERS_MAX: Final = 2_000
CODE_CHARACTERS_MAX: Final = 4_000
URL_CHARACTERS_MAX: Final = 500
SETTING_CHARACTERS_MAX: Final = 200
SETTING: Final = re.compile(rf"[\w.-]{{1,{SETTING_CHARACTERS_MAX}}}", re.ASCII)
PURPOSE: Final = "sign-in of a connection"


class Begun(msgspec.Struct, frozen=True):
    """Where the person has to be sent, and until when (ms since 1970) they have to be back."""

    url: str
    until: int


class _State(msgspec.Struct, frozen=True):
    tenant_id: int
    connection: str
    person: str
    verifier: str
    redirect_uri: str
    until: int


class Authorizing:
    """Sign-ins at systems. `now_ms` is the clock."""

    def __init__(self, database: Database, systems: Systems, keys: Sequence[bytes], now_ms: Callable[[], int]) -> None:
        self._database = database
        self._systems = systems
        self._keys = keys
        self._now_ms = now_ms

    async def begin(self, who: Principal, connection_id: str, redirect_uri: str) -> Begun:
        """Return where to send the person. `redirect_uri` is where the system sends them back to."""
        self._check_redirect(redirect_uri)
        connection = await found(self._database, who.tenant_id, connection_id)
        auth, names = await self._names(connection)
        verifier = secrets.token_urlsafe(codes.VERIFIER_BYTES)
        until = self._now_ms() + STATE_SECONDS * 1_000
        kept = _State(who.tenant_id, connection_id, who.person, verifier, redirect_uri, until)
        sealed = sealing.seal(msgspec.json.encode(kept), self._keys, PURPOSE)
        state = base64.urlsafe_b64encode(sealed).decode()
        return Begun(codes.begun(auth, names, redirect_uri, state=state, verifier=verifier).url, until)

    async def finish(self, who: Principal, asked: Mapping[str, str]) -> str:
        """Make tokens of what the system sent the person back with; return the id of the connection.

        What it says beside the code, such as which company the person chose, becomes settings.
        """
        kept, code, error = self._kept(who, asked.get("state", "")), asked.get("code", ""), asked.get("error", "")
        if error or not 0 < len(code) <= CODE_CHARACTERS_MAX:
            raise AuthorizationRefused(f"the system did not let the person in ({error[:100] or 'it gave no code'})")
        connection = await found(self._database, who.tenant_id, kept.connection)
        auth, names = await self._names(connection)
        brought = _brought(auth, connection, asked)
        given = {name: value for name, value in names["auth"].items() if name not in ("token", "host") and value}
        granted = await tokens.with_code(
            auth, names, self._systems.http, code=code, verifier=kept.verifier, redirect_uri=kept.redirect_uri
        )
        if not isinstance(granted, Granted):
            raise AuthorizationRefused(f"the system gave no token: {granted.message or 'it refused the code'}")
        await self._settle(who, auth, connection, brought)
        with told():
            await self._systems.keeper.put(who.tenant_id, kept.connection, given, granted)
        async with self._database.transaction(who.tenant_id) as session:
            await note(session, who, "credentials_put", f"connection:{kept.connection}")
        return kept.connection

    async def _settle(
        self, who: Principal, auth: OAuth2Code, connection: Connection, brought: Mapping[str, str]
    ) -> None:
        """Store what was brought along as settings, unless somebody gave others meanwhile."""
        async with self._database.transaction(who.tenant_id) as session:
            held = await connections.held(session, who.tenant_id, connection.connection)
            _check_same(auth, held, brought)
            after = msgspec.structs.replace(held, config={**held.config, **brought})
            if after != held:
                await connections.put(session, after)
                await note(session, who, "connection_changed", f"connection:{held.connection}")

    async def _names(self, connection: Connection) -> tuple[OAuth2Code, dict[str, Any]]:
        """Return how to sign in, and what fills its holes; raises `BadConnection` where nobody has to."""
        with told():
            manifest = self._systems.manifest(connection)
            held = await self._systems.keeper.read(connection.tenant_id, connection.connection)
        if not isinstance(manifest.auth, OAuth2Code):
            raise BadConnection(f"{manifest.title} has no page to sign in at: put its credentials as `auth`")
        given = {} if held is None else held.given
        if not given.get("client_id"):
            raise BadConnection("auth.client_id: is missing; put client_id and client_secret of the app first")
        defaults = {name: entry.default for name, entry in manifest.config.items() if entry.default}
        return manifest.auth, {"config": {**defaults, **connection.config}, "auth": given}

    def _kept(self, who: Principal, state: str) -> _State:
        """Return what was kept; raise `AuthorizationBroken` for what was not begun by this person, here, lately."""
        try:
            sealed = base64.b64decode(state[:STATE_CHARACTERS_MAX], altchars=b"-_", validate=True)
            kept = msgspec.json.decode(sealing.unseal(sealed, self._keys, PURPOSE), type=_State)
        except (binascii.Error, ValueError) as exc:
            raise AuthorizationBroken("this state was not given here") from exc
        if (kept.tenant_id, kept.person) != (who.tenant_id, who.person):
            raise AuthorizationBroken("somebody else began this: who begins it has to end it")
        if kept.until < self._now_ms():
            raise AuthorizationBroken(f"this was begun more than {STATE_SECONDS // 60} minutes ago: begin again")
        return kept

    def _check_redirect(self, url: str) -> None:
        try:
            place = urlsplit(url)
            fits = bool(place.hostname) and not place.fragment and len(url) <= URL_CHARACTERS_MAX
            is_local = place.hostname in ("127.0.0.1", "localhost", "::1")
        except ValueError:
            fits, is_local, place = False, False, urlsplit("")
        if not fits or not (place.scheme == "https" or (place.scheme == "http" and is_local)):
            raise BadConnection("redirect_uri: must be an https address of yours, or http on this machine")


def _brought(auth: OAuth2Code, connection: Connection, asked: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the person was sent back with; raises `AuthorizationRefused` if they cannot be used."""
    brought = {setting: asked[name] for name, setting in auth.brings.items() if asked.get(name)}
    for name, setting in auth.brings.items():
        if setting not in {**connection.config, **brought}:
            raise AuthorizationRefused(f"{name}: is missing in what the system sent the person back with")
        if not SETTING.fullmatch(brought.get(setting, "")) and setting in brought:
            raise AuthorizationRefused(f"{name}: must be 1 to {SETTING_CHARACTERS_MAX} letters, digits, . _ or -")
    _check_same(auth, connection, brought)
    return brought


def _check_same(auth: OAuth2Code, connection: Connection, brought: Mapping[str, str]) -> None:
    """Refuse a sign-in to another place: what was told to the first would be told to a stranger from then on."""
    for name, setting in auth.brings.items():
        known, came = connection.config.get(setting), brought.get(setting)
        if known and came and known != came:
            raise AuthorizationRefused(
                f"{name}: the person chose {came!r} there, and config.{setting} of this connection is {known!r}; "
                "sign in to that one, or make another connection"
            )
