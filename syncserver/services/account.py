"""Whose hands the servers run in.

PostgreSQL refuses to run as root, so root lends its servers to the account `nobody`, which every system has:
no account is made, and no permission outside the state folder is touched. Anybody else runs them himself.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from syncserver.services import errors

NAME: Final = "nobody"
TRY_SECONDS: Final = 20.0
ENTER_OWNER, ENTER_GROUP, ENTER_OTHERS = 0o100, 0o010, 0o001


class Account(msgspec.Struct, frozen=True):
    """The account that root lends its servers to."""

    uid: int
    gid: int


def choose() -> Account | None:
    """The account for root's servers; None where the servers simply run as we do."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError as exc:
        message = f"root may not run PostgreSQL, and there is no account {NAME!r}: start fieldsync as another user"
        raise errors.ServiceAccountMissing(message) from exc
    return Account(entry.pw_uid, entry.pw_gid)


def blocker(folder: Path, account: Account | None) -> Path | None:
    """The topmost folder on the way to `folder`, itself included, that the account may not enter."""
    if account is None:
        return None
    way = [*reversed(folder.parents), folder]
    return next((step for step in way if not _may_enter(step, account)), None)


def _may_enter(folder: Path, account: Account) -> bool:
    seen = folder.stat()
    if seen.st_uid == account.uid:
        return bool(seen.st_mode & ENTER_OWNER)
    if seen.st_gid == account.gid:
        return bool(seen.st_mode & ENTER_GROUP)
    return bool(seen.st_mode & ENTER_OTHERS)


def can_run(program: Path, account: Account | None) -> bool:
    """Whether the program starts in the account's hands: tried, since permissions alone do not tell."""
    return version_line(program, account) is not None


def version_line(program: Path, account: Account | None = None) -> str | None:
    """What the program says to `--version`; None when it does not run here."""
    command = [str(program), "--version"]
    user, group = (account.uid, account.gid) if account else (None, None)
    groups: list[int] | None = [] if account else None
    try:
        said = subprocess.run(
            command, user=user, group=group, extra_groups=groups, cwd="/", capture_output=True, text=True,
            timeout=TRY_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()
