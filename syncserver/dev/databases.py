"""The databases of a development start, begun again in the same folder when one of them dies."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from syncserver.services import postgres, valkey

if TYPE_CHECKING:
    from pathlib import Path


class Databases:
    """PostgreSQL and Valkey. Their addresses may be others after a restart, so ask again for them."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.postgres = self._start_postgres()
        try:
            self.valkey = self._start_valkey()
        except BaseException:
            self.postgres.stop()
            raise

    def dead(self) -> list[str]:
        """Return the names of those that we started and that have ended."""
        found = [] if self.postgres.alive() else ["PostgreSQL"]
        if self.valkey is not None and not self.valkey.alive():
            found.append("Valkey")
        return found

    def revive(self) -> None:
        """Start again what has ended. What was committed is still there."""
        if not self.postgres.alive():
            self.postgres.stop()
            self.postgres = self._start_postgres()
        if self.valkey is not None and not self.valkey.alive():
            self.valkey.stop()
            self.valkey = self._start_valkey()

    def _start_postgres(self) -> postgres.RunningPostgres:
        return postgres.start(self._data, url=os.environ.get("FIELDSYNC_DATABASE_URL"))

    def _start_valkey(self) -> valkey.RunningValkey | None:
        return valkey.start(self._data, url=os.environ.get("FIELDSYNC_REDIS_URL"))

    def __enter__(self) -> Self:
        """Give the databases; they are stopped at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop those that are ours, however the block ended."""
        try:
            if self.valkey is not None:
                self.valkey.stop()
        finally:
            self.postgres.stop()
