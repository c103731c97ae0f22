"""Who somebody is, and from which replica they write: tokens, enrolment, refresh.

A token is looked up in the database and then remembered for a few seconds, so that a hot route does
not ask each time and a token that was taken away still ends soon.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

import msgspec

from syncserver.commands.errors import EnrolmentRefused, Fenced, RefreshRefused
from syncserver.store import audit, db, devices, people, standing
from syncserver.store import errors as store_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncserver.store.db import Database

Principal: TypeAlias = people.Principal
Enrolled: TypeAlias = devices.Enrolled
Device: TypeAlias = devices.Device

REMEMBERED_SECONDS: Final = 10.0
REMEMBERED_MAX: Final = 10_000
LABEL_CHARACTERS_MAX: Final = 100

Key = TypeVar("Key")
Value = TypeVar("Value")


class Writer(msgspec.Struct, frozen=True):
    """The replica on which a request acts, and for whom."""

    tenant_id: int
    rid: int
    person: str
    fenced: bool


class Remembered(Generic[Key, Value]):
    """What was looked up a moment ago; the oldest is forgotten first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[Key, tuple[float, Value]] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Return what is known and not too old."""
        found = self._kept.get(key)
        return found[1] if found is not None and self._clock() < found[0] else None

    def put(self, key: Key, value: Value) -> Value:
        """Keep what was looked up, and return it."""
        self._kept[key] = (self._clock() + REMEMBERED_SECONDS, value)
        self._kept.move_to_end(key)
        if len(self._kept) > REMEMBERED_MAX:
            self._kept.popitem(last=False)
        return value

    def forget(self) -> None:
        """Forget everything: something was taken away, and here it ends at once."""
        self._kept.clear()


class Access:
    """The look-ups of one server process."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._principals: Remembered[str, Principal] = Remembered(clock)
        self._writers: Remembered[tuple[int, str, str], Writer] = Remembered(clock)
        self._persons: Remembered[tuple[int, int], frozenset[str]] = Remembered(clock)

    async def principal(self, token: str) -> Principal | None:
        """Return who the token stands for; None if for nobody."""
        known = self._principals.get(token)
        if known is not None:
            return known
        found = await people.find_token(self._database, token)
        return None if found is None else self._principals.put(token, found)

    async def writer(self, principal: Principal, label: str) -> Writer:
        """Return the replica of an enrolled device; for a bare token, that of (person, device label)."""
        if principal.rid is not None:
            return Writer(principal.tenant_id, principal.rid, principal.person, principal.fenced)
        key = (principal.tenant_id, principal.person, label)
        return self._writers.get(key) or self._writers.put(key, await self._labelled(*key))

    async def _labelled(self, tenant_id: int, person: str, label: str) -> Writer:
        source = devices.Source(
            kind="device", authority="device", handle=f"label:{person}:{label}", person=person, label=label
        )
        rid = await devices.replica(self._database, tenant_id, source)
        found = await standing.of(self._database, tenant_id, rid)
        return Writer(tenant_id, rid, person, fenced=found is not None and found.fenced)

    async def persons(self, tenant_id: int, rid: int) -> frozenset[str]:
        """Return who may act from a replica."""
        known = self._persons.get((tenant_id, rid))
        if known is not None:
            return known
        return self._persons.put((tenant_id, rid), await devices.persons_of(self._database, tenant_id, rid))

    async def enrol(self, code: str, *, name: str, platform: str | None) -> Enrolled:
        """Make a replica of the device that shows an enrolment code."""
        try:
            return await devices.enrol(self._database, code, name=name, platform=platform)
        except store_errors.EnrolmentRefused as exc:
            raise EnrolmentRefused(str(exc)) from exc

    async def refresh(self, secret: str, *, rescue: bool = False) -> str:
        """Return a new access token for the device that shows its refresh token.

        That of a revoked device opens the rescue of its work and nothing else, and is given only for it.
        """
        try:
            found = await devices.refresh(self._database, secret, rescue=rescue)
        except store_errors.NoSuchPerson as exc:
            raise RefreshRefused("the person of this device was removed") from exc
        if found is not None:
            return found[1]
        known = await people.find_token(self._database, secret, "refresh")
        if known is not None and known.fenced:
            raise Fenced("this device was revoked")
        raise RefreshRefused("the refresh token is unknown, revoked or too old: enrol again")

    async def devices(self, tenant_id: int) -> list[Device]:
        """Return the replicas of a tenant, and how far behind each is."""
        return await devices.listed(self._database, tenant_id)

    async def lags(self, tenant_id: int) -> dict[int, float]:
        """Return how many seconds late each device is that lacks something, by rid."""
        return {rid: seconds for (_, rid), seconds in (await standing.lags(self._database, [tenant_id])).items()}

    async def largest_lag(self) -> float | None:
        """Return how late the latest device of all tenants is, in seconds; None while the database does not answer."""
        try:
            tenants = [tenant.tenant_id for tenant in await people.tenants(self._database)]
            return max((await standing.lags(self._database, tenants)).values(), default=0.0)
        except db.TRANSIENT:
            return None

    async def fence(self, who: Principal, rid: int) -> None:
        """Shut a replica out. Its tokens stay known, so that the device is told why."""
        await devices.fence(self._database, who.tenant_id, rid, by=audit.person(who.person))
        self.forget()

    async def person(self, who: Principal) -> people.Person | None:
        """Return the person whom a token stands for."""
        return await people.person(self._database, who.tenant_id, who.person)

    def forget(self) -> None:
        """Look everybody up again: something was taken away, and here it ends at once."""
        self._principals.forget()
        self._writers.forget()
