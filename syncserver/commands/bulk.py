"""What an import or a seeding needs of the hub, for one tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from syncserver.store import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from replication.state import Answer, Submission
    from syncserver.commands.commit import Committers
    from syncserver.store.db import Database

_SQL: Final = statements.of("known")


class Hub:
    """One tenant's way to the committers, and to which records are known already."""

    def __init__(self, database: Database, committers: Committers, tenant_id: int) -> None:
        self._database = database
        self._committers = committers
        self._tenant_id = tenant_id

    async def known(self, collection: str, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that the hub has heard of."""
        async with self._database.transaction(self._tenant_id) as connection:
            found = await connection.fetch(_SQL["known"], self._tenant_id, collection, ids)
        return {row["record_id"] for row in found}

    async def submit(self, submission: Submission) -> Answer:
        """Have a submission settled."""
        return await self._committers.submit(self._tenant_id, submission)
