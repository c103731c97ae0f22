"""Numbered SQL files, each applied once, in order, in a transaction of its own.

`NNNN_before_….sql` goes in while the previous release still runs and must not disturb it;
`NNNN_after_….sql` goes in when none of it runs any more. A file that was applied never changes:
its checksum is kept and compared.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal

import asyncpg
import msgspec

from syncserver.store import statements
from syncserver.store.errors import MigrationChanged, MigrationUnknown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

Phase = Literal["before", "after"]

CONNECT_SECONDS: Final = 10
_FILE: Final = re.compile(r"(\d{4})_(before|after)_\w+\.sql")
_SQL: Final = statements.of("migrations")


class Migration(msgspec.Struct, frozen=True):
    """One file."""

    name: str
    phase: str
    script: str

    @property
    def checksum(self) -> str:
        """Return the digest by which a later change of the file is noticed."""
        return hashlib.sha256(self.script.encode()).hexdigest()


def known() -> list[Migration]:
    """Return the migrations of this release, in order."""
    folder = resources.files("syncserver.store") / "migrations"
    found = [
        Migration(file.name, match[2], file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if (match := _FILE.fullmatch(file.name)) is not None
    ]
    return sorted(found, key=lambda migration: migration.name)


async def migrate(
    database_url: str, *, phases: Sequence[Phase] = ("before", "after"), migrations: Sequence[Migration] | None = None
) -> list[str]:
    """Apply what is missing, and return the names of what was applied."""
    wanted = known() if migrations is None else migrations
    async with _alone(database_url) as connection:
        await connection.execute(_SQL["prepare"])
        applied = {row["name"]: row["checksum"] for row in await connection.fetch(_SQL["applied"])}
        _check(applied, wanted)
        missing = [m for m in wanted if m.name not in applied and m.phase in phases]
        for migration in missing:
            async with connection.transaction():
                await connection.execute(migration.script)
                await connection.execute(_SQL["record"], migration.name, migration.checksum)
        await connection.execute(_APP_ROLE)
    return [migration.name for migration in missing]


_APP_ROLE: Final = (resources.files("syncserver.store") / "sql" / "app_role.sql").read_text(encoding="utf-8")


@asynccontextmanager
async def _alone(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Connect, and keep every other migration of this database waiting."""
    connection = await asyncpg.connect(database_url, timeout=CONNECT_SECONDS)
    try:
        await connection.execute(_SQL["lock"])
        yield connection
        await connection.execute(_SQL["unlock"])
    finally:
        await connection.close()


def _check(applied: dict[str, str], wanted: Sequence[Migration]) -> None:
    ours = {migration.name: migration.checksum for migration in wanted}
    for name, checksum in applied.items():
        if name not in ours:
            raise MigrationUnknown(f"{name} was applied by a newer release than this one")
        if ours[name] != checksum:
            raise MigrationChanged(f"{name} was applied with another content: the database was made by another release")
