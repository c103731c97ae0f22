"""Canaries as people name and see them: records there that show whether a system has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from syncserver.commands.upstream.acting import note
from syncserver.commands.upstream.connections import found
from syncserver.commands.upstream.told import told
from upstream import canaries

if TYPE_CHECKING:
    from syncserver.commands.access import Principal
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.db import Database

Shown: TypeAlias = canaries.Shown


class Naming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which record it is by its id there, whether it may be told once more each time, and how often it is read."""

    remote_id: str
    writes: bool = False
    every_seconds: int = canaries.EVERY_SECONDS


class Canaries:
    """What people can do about canaries."""

    def __init__(self, database: Database, systems: Systems) -> None:
        self._database = database
        self._systems = systems

    async def listed(self, who: Principal, connection_id: str) -> list[Shown]:
        """Return the canaries of a connection by object, and in what they are not what they were."""
        await found(self._database, who.tenant_id, connection_id)
        return await canaries.listed(self._database, who.tenant_id, connection_id)

    async def put(self, who: Principal, connection_id: str, name: str, naming: Naming) -> Shown:
        """Name the canary of an object. What stands there when it is read next is taken for right."""
        connection = await found(self._database, who.tenant_id, connection_id)
        wanted = canaries.Wanted(
            object=name, remote_id=naming.remote_id, writes=naming.writes, every_seconds=naming.every_seconds
        )
        with told():
            await canaries.put(self._database, connection, self._systems.manifest(connection), wanted)
        async with self._database.transaction(who.tenant_id) as session:
            await note(session, who, "canary_named", f"connection:{connection_id}")
        return next(each for each in await self.listed(who, connection_id) if each.object == name)

    async def remove(self, who: Principal, connection_id: str, name: str) -> bool:
        """Have an object no canary any more; False if it had none."""
        await found(self._database, who.tenant_id, connection_id)
        async with self._database.transaction(who.tenant_id) as session:
            was_there = await canaries.remove(session, who.tenant_id, connection_id, name)
            if was_there:
                await note(session, who, "canary_removed", f"connection:{connection_id}")
        return was_there
