"""`fieldsync connections shadow | promote`: what a connection would send, and to let it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import cyclopts
import msgspec
from cyclopts import validators

from syncserver import settings
from syncserver.cli import aligned, outcome, reaching
from syncserver.commands.commit import Committers
from syncserver.commands.office import Office
from syncserver.commands.upstream.acting import operator
from syncserver.commands.upstream.connections import Connections
from syncserver.commands.upstream.mappings import ASKED_MAX, Mappings
from syncserver.store.catalogs import Catalogs
from upstream.jsonnet import Pool
from upstream.shadow import LEAST

if TYPE_CHECKING:
    from syncserver.commands.upstream.mappings import Recorded
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store import db

RECORDED: Final = 100
RECORDED_MAX: Final = 500
Limit = Annotated[int, cyclopts.Parameter(validator=validators.Number(gte=1, lte=RECORDED_MAX))]
Least = Annotated[int, cyclopts.Parameter(validator=validators.Number(gte=0, lte=RECORDED_MAX))]


def shadow(connection: str, *, there: bool = False, limit: Limit = RECORDED, tenant: int = 1) -> int:
    """Print what a connection in shadow mode would have sent, what differs, and what is open before it goes live.

    Parameters
    ----------
    connection
        The connection's id, as `fieldsync connections list` prints it.
    there
        Ask the system what stands there now; else it is what was confirmed last.
    limit
        How many recorded deliveries are looked at.
    tenant
        Number of the tenant.
    """
    most = min(limit, ASKED_MAX) if there else limit

    async def work(database: db.Database, systems: Systems) -> str:
        with Pool(settings.load().code) as jsonnet:
            # Nothing is written here: the office only knows the catalogue.
            own = Mappings(database, systems, Office(database, Committers(database), Catalogs()), jsonnet)
            found = await own.recorded(operator(tenant), connection, most, ask=there)
            checks = await Connections(database, systems).checks(operator(tenant), connection)
        rows = [(each.name, "ok" if each.passed else "open", each.said) for each in checks]
        return "\n".join([*(line for each in found for line in _said(each)), aligned.table(("check", "", ""), rows)])

    return outcome.tell(reaching.reached(work, tenant))


def promote(connection: str, *, least: Least = LEAST, catch_up: bool = True, tenant: int = 1) -> int:
    """Take a connection live, if its check list allows.

    Parameters
    ----------
    connection
        The connection's id.
    least
        How many deliveries have to be recorded at least.
    catch_up
        Tell now what was only recorded.
    tenant
        Number of the tenant.
    """

    async def work(database: db.Database, systems: Systems) -> str:
        own = Connections(database, systems)
        records = await own.promote(operator(tenant), connection, least=least, catch_up=catch_up)
        return f"{connection} is live, and is told of {records} records that were only recorded"

    return outcome.tell(reaching.reached(work, tenant))


def _said(each: Recorded) -> list[str]:
    problem = each.problem or each.unseen
    head = f"{each.verdict:<8} {each.object} {each.key}{f'  ! {problem}' if problem else ''}"
    return [head, *(f"  {at.path}: {_json(at.before)} -> {_json(at.after)}" for at in each.differences)]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
