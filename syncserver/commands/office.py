"""The office reads records and writes them as mutations of the office's replica.

A write names what its person was shown: the record's rev, as base of all cells. It then takes the
road of every mutation, so that a stale page against a device's edit is settled by the policy.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from uuid_utils.compat import uuid7

from replication import kinds
from replication.catalog import ROUTE_NAMES
from replication.mutation import Mutation
from replication.record import ALIVE
from replication.state import Submission
from replication.verdict import MutationVerdict
from replication.versions import Dot
from syncserver.commands import catalog as catalogs
from syncserver.commands.errors import (
    BadFilter,
    BadMutation,
    NotFound,
    UnknownCollection,
    UnknownRecord,
    UnknownTechnician,
)
from syncserver.store import devices, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from replication.catalog import Catalog, Collection, Field
    from replication.state import Answer, Shown
    from syncserver.commands.commit import Committers
    from syncserver.store.catalogs import Catalogs
    from syncserver.store.db import Database
    from syncserver.store.people import Principal

LIST_LIMIT: Final = 100
LIST_LIMIT_MAX: Final = 1_000
HISTORY_LIMIT_MAX: Final = 500
MOVED_AFTER: Final = "updated_since_rev"
CANCELLED: Final = "cancelled"
TECHNICIANS: Final = "technicians"
WINDOW: Final = ("window_start", "window_end")

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_VERDICT: Final = msgspec.json.Decoder(MutationVerdict)
_INTEGER: Final = re.compile(r"-?\d{1,19}", re.ASCII)
_REV: Final = re.compile(r"\d{1,18}", re.ASCII)
_INSTANT: Final = kinds.Shape(kind="instant")
_FIELDS: Final = msgspec.json.Decoder(dict[str, Any])
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")

OFFICE: Final = devices.Source(kind="office", authority="office", handle=devices.OFFICE, person="", label="the office")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One write of the office: the record, what to do, the rev that was shown, the key of a repeat.

    `rev` is None for a create alone: whoever creates has seen nothing. `base` says for each cell how
    much of it was seen, where that is not the rev for all.
    """

    op: str
    collection: str
    id: str
    rev: int | None = None
    base: dict[str, int] = {}
    set: dict[str, Any] = {}
    do: dict[str, dict[str, Any]] = {}
    was: dict[str, Any] = {}
    key: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word on a conflict: the cell state they were shown, and whose value it restores.

    `authorities` names, by collection and cell, where the class is another than `authority`.
    """

    conflict: str
    settles: bool
    shown: Shown
    authority: str
    relation: str = ""
    authorities: dict[str, dict[str, str]] = {}

    @property
    def closes(self) -> frozenset[Dot]:
        """What no longer waits after it: all values that were shown, for one of them was chosen.

        Edits of a deleted record do not exclude each other. Only the one that was decided has ended.
        """
        if self.shown.cell != ALIVE:
            return self.shown.siblings
        rid, n, _ = self.conflict.split("-", 2)
        return self.shown.siblings & {Dot(int(rid), int(n))}


class Office:
    """What the office can do at one server. Holds no state but the catalogues it has met."""

    def __init__(self, database: Database, committers: Committers, held: Catalogs) -> None:
        self._database = database
        self._committers = committers
        self._held = held
        self._replicas: dict[int, int] = {}

    async def catalog(self, tenant_id: int) -> Catalog:
        """Return the tenant's catalogue."""
        return await catalogs.current(self._database, self._held, tenant_id)

    async def collection(self, tenant_id: int, name: str) -> Collection:
        """Return the collection, or raise `UnknownCollection` with those that there are."""
        if name in ROUTE_NAMES:
            raise NotFound("there is nothing at this address")
        known = (await self.catalog(tenant_id)).collections
        if name not in known:
            raise UnknownCollection(f"no collection {name!r}; there are {', '.join(sorted(known))}")
        return known[name]

    async def record(self, who: Principal, collection: str, record_id: str) -> shown.Shown:
        """Return the record, alive or deleted. A technician sees what they hold and nothing else."""
        found = await self.collection(who.tenant_id, collection)
        if _UUID.fullmatch(record_id):
            record = await shown.record(self._database, who.tenant_id, collection, record_id)
            if record is not None and await self._sees(who, found, record_id):
                return record
        raise UnknownRecord(f"no {collection} {record_id} is known")

    async def _sees(self, who: Principal, collection: Collection, record_id: str) -> bool:
        if who.role != "technician" or collection.is_for_all:
            return True
        return await shown.holds(self._database, who.tenant_id, collection.name, record_id, who.person)

    async def records(
        self, who: Principal, collection: str, query: Mapping[str, str], *, after: str | None, limit: int
    ) -> list[shown.Item]:
        """Return a page of living records: those whose fields equal the query, in order of id."""
        found = await self.collection(who.tenant_id, collection)
        moved_after = query.get(MOVED_AFTER, "0")
        if _REV.fullmatch(moved_after) is None:
            raise BadFilter(f"{MOVED_AFTER} is {moved_after!r}; a rev is needed")
        if after is not None and not _UUID.fullmatch(after):
            raise BadFilter("the cursor is not one that a list has given")
        page = shown.Page(
            limit=limit,
            equal={name: _wanted(found, name, text) for name, text in query.items() if name != MOVED_AFTER},
            after=after,
            moved_after=int(moved_after),
            person=who.person if who.role == "technician" and not found.is_for_all else None,
        )
        return await shown.records(self._database, who.tenant_id, collection, page)

    async def history(
        self, who: Principal, collection: str, record_id: str, *, before: int | None, limit: int
    ) -> list[shown.Past]:
        """Return the changes of a record, newest first, each cell with its verdict and rule."""
        await self.record(who, collection, record_id)
        seq = shown.SEQ_MAX if before is None else before
        return await shown.history(self._database, who.tenant_id, collection, record_id, seq, limit)

    async def write(
        self, who: Principal, ask: Ask, *then: Ask, now_ms: int, decision: Decision | None = None
    ) -> tuple[MutationVerdict | None, Answer]:
        """Have a write settled. The verdict is None if the answer names a problem instead.

        What comes `then` is carried out with it, in one tx; the verdict is that of the last of them.
        The first one's key, and the state that its decision names, count for all.
        """
        await self.collection(who.tenant_id, ask.collection)
        return await self.submit(who, await self._submission(who, (ask, *then), now_ms, decision))

    async def submit(self, who: Principal, submission: Submission) -> tuple[MutationVerdict | None, Answer]:
        """Have a submission in the office's name settled. Without a verdict the answer names a problem."""
        answer = await self.answered(who, submission)
        return None if answer.problem is not None else told(answer.verdicts[-1]), answer

    async def answered(self, who: Principal, submission: Submission) -> Answer:
        """Have a submission in the office's name settled; return the answer with all its verdicts."""
        return await self._committers.submit(who.tenant_id, submission)

    async def is_repeat(self, who: Principal, key: str | None) -> bool:
        """Return whether an answer is kept for the person under this key; only a repeat gets that one."""
        return key is not None and await shown.is_answered(self._database, who.tenant_id, kept_under(who, key))

    async def check_assignee(self, who: Principal, ask: Ask, technician: str | None) -> None:
        """See that whom the write names is a living technician of the tenant, or nobody."""
        if technician is None or await self.is_repeat(who, ask.key):
            return
        person, found = technician.strip().lower(), None
        if _UUID.fullmatch(person):
            found = await shown.record(self._database, who.tenant_id, TECHNICIANS, person)
        if found is None or not found.alive:
            raise UnknownTechnician(f"{technician[:40]!r} is no technician; name one of /v1/{TECHNICIANS}, or null")

    async def check_window(self, who: Principal, ask: Ask) -> None:
        """See that the window does not end before it starts, with what the write leaves as it is."""
        if not ask.set.keys() & {*WINDOW} or await self.is_repeat(who, ask.key):
            return
        stands: dict[str, Any] = {}
        if not ask.set.keys() >= {*WINDOW}:
            stands = _FIELDS.decode((await self.record(who, ask.collection, ask.id)).fields)
        start, end = (_instant((stands | ask.set).get(name)) for name in WINDOW)
        if start and end and end < start:
            raise BadMutation(f"the window would end at {end}, before it starts at {start}")

    async def _submission(
        self, who: Principal, asks: Sequence[Ask], now_ms: int, decision: Decision | None
    ) -> Submission:
        tx = fresh_id() if len(asks) > 1 else None
        first = asks[0]
        return Submission(
            rid=await self.replica(who.tenant_id),
            person=who.person,
            authority=decision.authority if decision else "office",
            relation=decision.relation if decision else "",
            authorities=decision.authorities if decision else {},
            mutations=tuple(_mutation(ask, now_ms, decision, tx) for ask in asks),
            numbered=False,
            idempotency=None if first.key is None else kept_under(who, first.key),
            request_hash=_request_hash(asks, decision),
            want_fields=True,
            shown=decision.shown if decision else None,
            rev_shown=first.rev,
            ends=(decision.conflict, decision.settles) if decision else None,
            received=now_ms,
        )

    async def replica(self, tenant_id: int) -> int:
        """Return the number of the office's replica, which is made when first asked for."""
        if tenant_id not in self._replicas:
            self._replicas[tenant_id] = await devices.replica(self._database, tenant_id, OFFICE)
        return self._replicas[tenant_id]


def told(verdict: MutationVerdict | msgspec.Raw) -> MutationVerdict:
    """Return a verdict, whether it was given now or was stored."""
    return verdict if isinstance(verdict, MutationVerdict) else _VERDICT.decode(verdict)


def fresh_id() -> str:
    """Return an id for a record whose creator named none."""
    return str(uuid7())


def assign(who: str | None, crew: list[str] | None) -> dict[str, Any]:
    """Return the fields that give a work order to a technician, and to a crew if one is named."""
    return {"assignee_id": who} if crew is None else {"assignee_id": who, "crew": crew}


def cancel(reason: str | None) -> dict[str, Any]:
    """Return the fields of a cancelled work order."""
    return {"status": CANCELLED} if reason is None else {"status": CANCELLED, "summary": reason}


def kept_under(who: Principal, key: str) -> str:
    """Return under what the answer to a person's request is kept: no two people share a key."""
    return f"{who.person}:{key}"


def _request_hash(asks: Sequence[Ask], decision: Decision | None) -> bytes:
    """Return the hash by which a repeat is known: what is wanted, whatever the person was shown by then."""
    wanted = [msgspec.structs.replace(ask, rev=None, base={}, key=None) for ask in asks]
    return hashlib.sha256(_CANONICAL.encode((wanted, decision and (decision.conflict, decision.settles)))).digest()


def _instant(value: Any) -> str | None:
    """Return the instant in the form that sorts by time; what is none is left to the judging."""
    try:
        return None if value is None else str(kinds.canonical(_INSTANT, value))
    except kinds.BadValue:
        return None


def _mutation(ask: Ask, now_ms: int, decision: Decision | None, tx: str | None) -> Mutation:
    context: dict[str, dict[int, int]] = {}
    closes: dict[str, list[Dot]] = {}
    if decision is not None:
        context = {decision.shown.cell: {decision.shown.dot.rid: decision.shown.dot.n}}
        closes = {decision.shown.cell: sorted(decision.closes)}
    return Mutation(
        n=1,
        op=ask.op,
        collection=ask.collection,
        id=ask.id,
        tx=tx,
        base=ask.base or ask.rev or 0,
        rev=ask.rev or 0,
        set=ask.set,
        do=ask.do,
        was=ask.was,
        context=context,
        closes=closes,
        at=now_ms,
    )


def _wanted(collection: Collection, name: str, text: str) -> Any:
    """Return the canonical value that a field must equal, read from a query string."""
    field = collection.fields.get(name)
    if field is None:
        raise BadFilter(f"{collection.name} has no field {name!r} to filter by")
    try:
        return kinds.canonical(field, _read(field, text))
    except kinds.BadValue as error:
        raise BadFilter(f"{name} is {text!r}: {error}") from error


def _read(field: Field, text: str) -> Any:
    """Return what the text stands for in JSON; an empty one is null."""
    if not text:
        return None
    if field.kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if field.kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    return [text] if field.kind == "set" else text
