"""Noticing that a system has changed: its fields are found out again each day, its answers are counted, canaries read.

What is noticed is told as an alert with the field, what it was, what it is and the rows that it hits.
Nothing else follows from it: no data are deleted and no mapping is rewritten.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from upstream import alarms, alerts, canaries, connections, discovery, documents, drift
from upstream.errors import UpstreamError
from upstream.places import Limits, Places

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from upstream.connections import Connection
    from upstream.drift import Finding
    from upstream.knowledge import Caller
    from upstream.manifest import Manifest
    from upstream.mapping import MappingSet
    from upstream.places import Room, Tenants
    from upstream.store import Database

    Place = tuple[int, str, str]

EVERY_SECONDS: Final = 60.0
"""How often each tenant is looked at."""
LOOK_SECONDS: Final = 5.0
"""How often it is looked whose time it is."""
LIMITS: Final = Limits(total=8, tenant=1, each=1)
COUNTED_MAX: Final = 2_000
"""Of how many objects of connections answers are counted at a time; those not heard of for longest go first."""
SHOWN_MAX: Final = 5
RULE: Final = "answers_changed"

log = structlog.get_logger()


class System(Protocol):
    """What a connection is spoken to with."""

    @property
    def caller(self) -> Caller:
        """Who calls it."""
        ...


class Systems(Protocol):
    """Where a connection's system and mapping come from; whoever puts the process together knows."""

    async def system(self, connection: Connection) -> System:
        """Return what the connection is spoken to with."""
        ...

    async def mapping(self, connection: Connection) -> tuple[Manifest, MappingSet]:
        """Return the connection's manifest and the version of its mapping that holds."""
        ...


class Noticing:
    """Looks from time to time. Other workers may look too: what is known for a while is not asked again.

    `failed` is told of each mistake on our side.
    """

    def __init__(self, database: Database, systems: Systems, failed: Callable[[str], None] = lambda _: None) -> None:
        self._database = database
        self._systems = systems
        self._failed = failed
        self._begun: dict[int, float] = {}
        self._counted: OrderedDict[Place, drift.Answers | None] = OrderedDict()

    def saw(self, tenant_id: int, connection_id: str, object_name: str, record: Mapping[str, Any]) -> None:
        """Count a record as the system gave it. Counting begins once the object's fields are known."""
        place = (tenant_id, connection_id, object_name)
        answers = self._counted.setdefault(place, None)
        self._counted.move_to_end(place)
        while len(self._counted) > COUNTED_MAX:
            self._counted.popitem(last=False)
        if answers is not None:
            answers.saw(record)

    async def run(self, tenants: Tenants, stop: asyncio.Event) -> None:
        """Work until told to stop. A tenant whose systems answer slowly keeps no other waiting."""
        places: Places[int] = Places("noticing", LIMITS, lease=self._due, work=self.look, owner=_owner)
        await places.run(tenants, stop, seconds=LOOK_SECONDS)

    async def _due(self, tenants: Sequence[int], room: Room) -> list[int]:
        """Return whose time it is, those first that were looked at longest ago."""
        now, busy = time.monotonic(), {tenant for tenant, _ in room.taken}
        begun = {tenant: self._begun.get(tenant, float("-inf")) for tenant in tenants}
        due = [each for each in begun if each not in busy and now - begun[each] >= EVERY_SECONDS]
        found = sorted(due, key=begun.__getitem__)[: room.free]
        self._begun = {**begun, **dict.fromkeys(found, now)}
        return found

    async def look(self, tenant_id: int) -> None:
        """Look at the connections of a tenant once. One that cannot be looked at keeps no other from it."""
        for connection in await connections.listed(self._database, tenant_id):
            if connection.state != "ok":
                continue
            try:
                await self._look(connection)
            except UpstreamError as exc:
                log.warning("not_looked_at", tenant=tenant_id, connection=connection.connection, code=exc.code)
            except Exception:
                log.exception("looking_failed", tenant=tenant_id, connection=connection.connection)
                self._failed("noticing")

    async def _look(self, connection: Connection) -> None:
        manifest, mappings = await self._systems.mapping(connection)
        # A description that cannot be had keeps no canary from being read.
        caller = (await self._systems.system(connection)).caller
        await canaries.look(self._database, connection, manifest, mappings, caller)
        place = (connection.tenant_id, connection.connection)
        for name in manifest.discovery:
            if await discovery.current(self._database, *place, name) is None:
                described = await documents.needed(self._database, *place, manifest)
                found = await discovery.discover(caller, manifest, name, document=described)
                kept = await discovery.keep(self._database, *place, found, mappings)
                for finding in kept.findings:
                    log.warning("schema_drift", tenant=place[0], connection=place[1], finding=str(finding))
        await self._count(connection, mappings)

    async def _count(self, connection: Connection, mappings: MappingSet) -> None:
        """Tell what the answers since the last time showed, and begin to count anew."""
        schemas = await discovery.known(self._database, connection.tenant_id, connection.connection)
        for place, answers in list(self._counted.items()):
            if place[:2] != (connection.tenant_id, connection.connection) or place[2] not in schemas:
                continue
            if answers is None or answers.schema != schemas[place[2]]:
                self._counted[place] = drift.Answers(connection.connection, schemas[place[2]])
            elif answers.answers >= drift.ANSWERS_LEAST:
                await self._tell(place, connection.name, answers.findings(mappings))
                self._counted[place] = drift.Answers(connection.connection, schemas[place[2]])

    async def _tell(self, place: Place, name: str, findings: Sequence[Finding]) -> None:
        """Open an alert, or end it. A field that nobody knows is told of beside one that is missed, not alone."""
        subject = f"{place[1]}/{place[2]}"
        hit = [finding for finding in findings if finding.rows]
        async with self._database.transaction(place[0]) as session:
            if not hit:
                over = await alerts.settle(session, place[0], RULE, subject)
                await alarms.announce(session, place[0], alerts.Turned(resolved=tuple(over)))
                return
            shown = [*hit, *(each for each in findings if not each.rows)][:SHOWN_MAX]
            said = f"answers of {name} are not as its fields were found to be: {'; '.join(map(str, shown))}"
            found = alerts.Finding(rule=RULE, subject=subject, severity="critical", message=said)
            new = await alerts.report(session, place[0], [found])
            await alarms.announce(session, place[0], alerts.Turned(opened=tuple(new)))


def _owner(tenant_id: int) -> tuple[int, str]:
    return tenant_id, ""
