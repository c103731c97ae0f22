"""`fieldsync keys rotate | rewrap | check`: changing the secret keys without losing anything."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cyclopts

from syncserver import settings
from syncserver.cli import aligned, outcome
from syncserver.commands import keys
from syncserver.store import db
from upstream import sealing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from syncserver.commands.keys import Use

DONE, FAILED = 0, 1
STEPS: Final = """\
1. Put this in place of FIELDSYNC_SECRET_KEYS and start all servers and workers again, one after the other:

{value}

2. fieldsync keys rewrap   what is sealed at rest depends on the new key alone
3. fieldsync keys check    tells what still depends on an old key; take it away when nothing does"""
IN_FILE: Final = "the new key {key} stands first in {file}; start all servers again, then: fieldsync keys rewrap"

WITHOUT: Final = "Once it is away they read everything anew when they come, and lose nothing"

app = cyclopts.App(name="keys", help="The secret keys of the installation.")


@app.command
def rotate(*, file: Path | None = None) -> int:
    """Make a new key, to stand before those that FIELDSYNC_SECRET_KEYS has, and say what to do with it.

    Nothing is changed by it, but for the file if one is named.

    Parameters
    ----------
    file
        A file that holds the keys, as a state folder does: the new key is put in front in it.
    """
    try:
        held = settings.secret_keys(_text(file))
        fresh = keys.fresh(held)
        if file is None:
            sys.stdout.write(f"{STEPS.format(value=','.join(fresh))}\n")
        else:
            _replace(file, ",".join(fresh))
            sys.stdout.write(f"{IN_FILE.format(key=sealing.key_id(fresh[0].encode()), file=file)}\n")
    except (settings.SettingsInvalid, OSError) as error:
        sys.stderr.write(f"{outcome.sentence(error)}\n")
        return FAILED
    return DONE


@app.command
def rewrap() -> int:
    """Have every secret that is kept sealed depend on the first of FIELDSYNC_SECRET_KEYS alone."""
    return outcome.tell(outcome.asked(_rewrap))


@app.command
def check() -> int:
    """Say what depends on each key, and which may be taken away. Keys are shown by ids that open nothing."""
    return outcome.tell(outcome.asked(_check))


async def _rewrap(database: db.Database) -> str:
    held = settings.secret_keys()
    count = await keys.rewrap(database, held)
    return f"{count} sealed secrets wrapped anew; all depend on the key {sealing.key_id(held[0])}"


async def _check(database: db.Database) -> str:
    uses = await keys.check(database, settings.secret_keys())
    names = ("key", "is", "sealed secrets", "devices' cursors", "last given")
    rows = ((use.key, _standing(use), use.secrets, use.devices, use.pulled_at) for use in uses)
    return "\n".join([aligned.table(names, rows), *_advice(uses)])


def _standing(use: Use) -> str:
    if use.seals:
        return "newest"
    return "old" if use.is_set else "not set"


def _advice(uses: Sequence[Use]) -> list[str]:
    """Return a sentence for each key about which something can be done."""
    said = []
    for use in uses:
        if use.is_free:
            said.append(f"{use.key}: nothing depends on it; take it away")
        elif use.secrets and not use.is_set:
            said.append(f"{use.key}: not set, and {use.secrets} secrets are sealed with it; set it again, then rewrap")
        elif use.secrets and not use.seals:
            said.append(f"{use.key}: fieldsync keys rewrap first")
        elif use.is_set and not use.seals:
            said.append(f"{use.key}: {use.devices} devices hold a cursor of it. {WITHOUT}")
        elif use.key == keys.UNKNOWN:
            said.append(f"{use.key}: {use.devices} devices have not pulled since keys are noted; their key may be any")
    return said


def _text(file: Path | None) -> str | None:
    return None if file is None else file.read_text(encoding="ascii").strip()


def _replace(file: Path, text: str) -> None:
    """Put a text in place of a file's, which only its owner may read, whole or not at all."""
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(text)
        out.flush()
        os.fsync(descriptor)
    beside.replace(file)
