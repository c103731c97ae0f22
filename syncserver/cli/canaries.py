"""`fieldsync connections canary list | put | remove`: records there that show whether a system has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cyclopts

from syncserver.cli import aligned, outcome, reaching
from syncserver.commands.upstream.acting import operator
from syncserver.commands.upstream.canaries import Canaries, Naming
from upstream import canaries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from syncserver.commands.upstream.canaries import Shown
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store import db

NAMES: Final = ("object", "remote id", "writes", "every", "kept", "read", "what is not as it was")

app = cyclopts.App(name="canary", help="Records there that are read again and again to see what has changed.")


@app.command(name="list")
def listed(connection: str, *, tenant: int = 1) -> int:
    """Print the canaries of a connection, and in what they are not what they were.

    Parameters
    ----------
    connection
        The connection's id.
    tenant
        Number of the tenant.
    """

    async def work(own: Canaries) -> str:
        return aligned.table(NAMES, map(_row, await own.listed(operator(tenant), connection)))

    return _told(tenant, work)


@app.command
def put(
    connection: str,
    name: str,
    remote_id: str,
    *,
    writes: bool = False,
    every_seconds: int = canaries.EVERY_SECONDS,
    tenant: int = 1,
) -> int:
    """Name the canary of an object; named again, what stands there now is taken for right.

    Parameters
    ----------
    connection
        The connection's id.
    name
        The object, as the manifest calls it.
    remote_id
        The record's id there.
    writes
        Also tell it once more what stands here, and hold what comes back against that.
    every_seconds
        How often it is read.
    tenant
        Number of the tenant.
    """
    naming = Naming(remote_id=remote_id, writes=writes, every_seconds=every_seconds)

    async def work(own: Canaries) -> str:
        made = await own.put(operator(tenant), connection, name, naming)
        return f"{made.object} {made.remote_id} is read every {made.every_seconds} seconds"

    return _told(tenant, work)


@app.command
def remove(connection: str, name: str, *, tenant: int = 1) -> int:
    """Have an object no canary any more.

    Parameters
    ----------
    connection
        The connection's id.
    name
        The object.
    tenant
        Number of the tenant.
    """

    async def work(own: Canaries) -> str:
        was_there = await own.remove(operator(tenant), connection, name)
        return f"{name} has no canary {'any more' if was_there else 'and had none'}"

    return _told(tenant, work)


def _told(tenant: int, work: Callable[[Canaries], Awaitable[str]]) -> int:
    async def worked(database: db.Database, systems: Systems) -> str:
        return await work(Canaries(database, systems))

    return outcome.tell(reaching.reached(worked, tenant))


def _row(each: Shown) -> tuple[object, ...]:
    said = "; ".join(map(str, each.findings)) or each.reason
    return (each.object, each.remote_id, each.writes, f"{each.every_seconds} s", each.kept_at, each.read_at, said)
