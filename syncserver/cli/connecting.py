"""`fieldsync connections connect`: a connection made of a system's folder, and of a file with its credentials."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from syncserver.cli import outcome, reaching
from syncserver.commands.upstream import once
from syncserver.commands.upstream.acting import operator
from syncserver.commands.upstream.connections import Connections, NewConnection
from upstream import vendors

if TYPE_CHECKING:
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store import db

FAULTY = 1


class Unusable(Exception):
    """What was named cannot be read; the message says which file and why."""


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str | None = None
    base_url: str | None = None
    auth: dict[str, str] = {}
    config: dict[str, str] = {}


def connect(system: str, *, tenant: int = 1, given: Path | None = None) -> int:
    """Make a connection to a system, in shadow mode, and print its id.

    Parameters
    ----------
    system
        Name of a system that is shipped, or the folder of one that `new` has made.
    tenant
        Number of the tenant.
    given
        A TOML file with what else a connection is made of: name, base_url, and the tables auth and config.
        Credentials stand there, and not on the command line, where others can see them.
    """
    try:
        made = of_folder(system, given)
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
        return FAULTY
    return outcome.tell(reaching.reached(lambda database, systems: _connect(database, systems, tenant, made), tenant))


async def _connect(database: db.Database, systems: Systems, tenant_id: int, made: NewConnection) -> str:
    who = operator(tenant_id)
    standing = await Connections(database, systems).make(who, made, once.new_id(who, None))
    grade = f"{standing.grade} *assumed*" if standing.assumed else standing.grade
    return f"{standing.connection.connection}  {standing.title} ({grade})"


def of_folder(system: str, given: Path | None) -> NewConnection:
    """Return what a connection is made of; raises `Unusable`. `system` is a name that is shipped, or a folder."""
    parts: dict[str, Any] = {} if given is None else msgspec.structs.asdict(_given(given))
    if system in vendors.names():
        return NewConnection(system=system, **parts)
    folder = Path(system)
    manifest = _text(folder / vendors.MANIFEST)
    file = folder / vendors.DOCUMENT
    try:
        document = msgspec.json.decode(_text(file), type=dict[str, Any]) if file.is_file() else None
    except msgspec.DecodeError as exc:
        raise Unusable(f"{file}: {exc}") from exc
    return NewConnection(system=folder.name, manifest=manifest, document=document, **parts)


def _given(file: Path) -> _Given:
    try:
        return msgspec.convert(tomllib.loads(_text(file)), _Given)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as exc:
        raise Unusable(f"{file}: {exc}") from exc


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise Unusable(f"{file}: {getattr(exc, 'strerror', None) or exc}") from exc
