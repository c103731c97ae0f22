"""Deliveries, and what people decide about those that were given up or of which nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, get_args

import msgspec

from syncserver.commands.errors import BadFilter, BadPayload, CommandError
from syncserver.commands.upstream import payloads
from syncserver.commands.upstream.acting import note
from syncserver.commands.upstream.connections import ID, REASON_CHARACTERS_MAX
from syncserver.commands.upstream.told import told
from upstream import connections, deadletter, deliveries, discovery
from upstream.deadletter import Intervention, Word
from upstream.delivery import State
from upstream.errors import UnknownConnection, UnknownDelivery

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from syncserver.commands.access import Principal
    from syncserver.commands.upstream.payloads import Surroundings
    from syncserver.commands.upstream.systems import Systems
    from syncserver.store.db import Connection as Session
    from syncserver.store.db import Database
    from upstream.compare import Difference
    from upstream.deadletter import Letter

LIMIT: Final = 100
LIMIT_MAX: Final = 500
BULK_MAX: Final = 500
"""How many one word holds for; one more is looked for, to tell whether there are."""
TEXT_CHARACTERS_MAX: Final = 200
STATES: Final[tuple[str, ...]] = get_args(State)
DEAD: Final = ("rejected", "unknown")

T = TypeVar("T")

Delivery: TypeAlias = deliveries.Shown
Attempt: TypeAlias = deliveries.Attempt


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries are wanted; what is empty asks for any. The times are about when it ended or was last sent."""

    connection: str = ""
    state: str = ""
    object: str = ""
    key: str = ""
    collection: str = ""
    record_id: str = ""
    error_class: str = ""
    error_code: str = ""
    mode: str = ""
    since: datetime | None = None
    until: datetime | None = None
    before: str = ""


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other fields to be sent, all of them, and why. `retry` sends them; a `new_operation` under a new key."""

    fields: dict[str, Any]
    reason: str
    retry: bool = False
    new_operation: bool = False
    absent: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A word on a dead letter. `absent`: somebody has looked, and it does not stand there."""

    reason: str = ""
    absent: bool = False
    new_operation: bool = False


class Done(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That it stands there, under which id and version, and how that is known."""

    reason: str
    remote_id: str = ""
    version: str = ""


class Chosen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters a word is about; what is not given asks for any."""

    connection: str = ""
    state: Literal["", "rejected", "unknown"] = ""
    object: str = ""
    collection: str = ""
    error_class: str = ""
    error_code: str = ""
    since: str = ""
    until: str = ""


class Bulk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One word for many dead letters. With `dry_run` it is only told which these would be."""

    action: Literal["retry", "replan", "skip"]
    filter: Chosen
    reason: str
    absent: bool = False
    dry_run: bool = False
    limit: int = BULK_MAX


class Left(msgspec.Struct, frozen=True):
    """A dead letter that the word did not hold for, and why."""

    id: str
    code: str
    message: str


class Bulked(msgspec.Struct, frozen=True, kw_only=True):
    """For how many the word held, which it did not hold for, and whether there are more."""

    found: int
    done: int
    left: tuple[Left, ...]
    more: bool


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with all its attempts, what people did about it, what usually helps, what is wrong with its fields."""

    delivery: Delivery
    attempts: tuple[Attempt, ...]
    interventions: tuple[Intervention, ...]
    is_dead: bool
    suggestion: str
    problems: tuple[str, ...]


class Letters:
    """What people see of deliveries, and can do about dead letters."""

    def __init__(self, database: Database, systems: Systems) -> None:
        self._database = database
        self._systems = systems

    async def listed(self, who: Principal, sought: Sought, *, limit: int, dead: bool = False) -> list[Delivery]:
        """Return deliveries, newest first: all, or those that wait for a person."""
        return await deliveries.listed(self._database, who.tenant_id, _filter(sought, dead=dead), limit=limit)

    async def names(self, who: Principal) -> dict[str, str]:
        """Return what the tenant's connections are called, by their ids."""
        return {each.connection: each.name for each in await connections.listed(self._database, who.tenant_id)}

    async def counts(self, who: Principal) -> dict[tuple[str, str], int]:
        """Return how many deliveries there are by connection and state."""
        return await deliveries.counts(self._database, who.tenant_id)

    async def one(self, who: Principal, delivery_id: str) -> Detail:
        """Return a delivery with all that is known of it."""
        with told():
            found = await self._found(who, delivery_id)
        async with self._database.transaction(who.tenant_id) as session:
            done = await deadletter.history(session, who.tenant_id, delivery_id)
        is_dead = found.state == "rejected" or (found.state == "unknown" and found.due_at is None)
        return Detail(
            delivery=found,
            attempts=tuple(await deliveries.attempts(self._database, who.tenant_id, delivery_id)),
            interventions=tuple(done),
            is_dead=is_dead,
            suggestion=deadletter.suggestion(found.error_class, found.error_code) if is_dead else "",
            problems=await self._problems(who, found) if is_dead else (),
        )

    async def edit(self, who: Principal, delivery_id: str, edit: Edit) -> tuple[Difference, ...]:
        """Put other fields in place of a dead letter's, and send them if that is asked for; return what differs."""
        _check_reason(edit.reason, is_needed=True)
        with told():
            around = await self._around(who, await self._found(who, delivery_id))
        word = Word(person=who.person, reason=edit.reason, absent=edit.absent, new_operation=edit.new_operation)

        async def work(session: Session) -> tuple[Difference, ...]:
            place = (session, who.tenant_id, delivery_id)
            changes = await deadletter.edit(*place, edit.fields, word, lambda *asked: _problems_of(around, *asked))
            if changes:
                await note(session, who, "dead_letter_edited", f"delivery:{delivery_id}")
            if edit.retry:
                await deadletter.retry(*place, word)
                await note(session, who, "dead_letter_retried", f"delivery:{delivery_id}")
            return changes

        return await self._within(who, work)

    async def retry(self, who: Principal, delivery_id: str, decision: Decision) -> None:
        """Have it sent again."""

        async def work(session: Session) -> None:
            await deadletter.retry(session, who.tenant_id, delivery_id, _word(who, decision))
            await note(session, who, "dead_letter_retried", f"delivery:{delivery_id}")

        await self._decided(who, delivery_id, decision, work)

    async def replan(self, who: Principal, delivery_id: str, decision: Decision) -> None:
        """Have it made anew by the mapping that holds now."""

        async def work(session: Session) -> None:
            await deadletter.replan(session, who.tenant_id, delivery_id, _word(who, decision))
            await note(session, who, "dead_letter_replanned", f"delivery:{delivery_id}")

        await self._decided(who, delivery_id, decision, work)

    async def skip(self, who: Principal, delivery_id: str, decision: Decision) -> None:
        """Let it go untold."""
        _check_reason(decision.reason, is_needed=True)

        async def work(session: Session) -> None:
            await deadletter.skip(session, who.tenant_id, delivery_id, _word(who, decision))
            await note(session, who, "dead_letter_skipped", f"delivery:{delivery_id}")

        await self._decided(who, delivery_id, decision, work)

    async def done(self, who: Principal, delivery_id: str, done: Done) -> None:
        """Note that it stands there."""
        _check_reason(done.reason, is_needed=True)
        _check_text("remote_id", done.remote_id)
        _check_text("version", done.version)
        word = Word(person=who.person, reason=done.reason)

        async def work(session: Session) -> None:
            place = (session, who.tenant_id, delivery_id, word)
            await deadletter.done(*place, remote_id=done.remote_id, version=done.version)
            await note(session, who, "dead_letter_done", f"delivery:{delivery_id}")

        with told():
            await self._found(who, delivery_id)
        await self._within(who, work)

    async def bulk(self, who: Principal, bulk: Bulk, since: datetime | None, until: datetime | None) -> Bulked:
        """Let one word hold for many, oldest last; each for itself, so that one that cannot keeps no other."""
        _check_reason(bulk.reason, is_needed=True)
        most = min(max(1, bulk.limit), BULK_MAX)
        names = {name: value for name, value in msgspec.structs.asdict(bulk.filter).items() if name not in _TIMES}
        sought = Sought(**names, since=since, until=until)
        found = await deliveries.listed(self._database, who.tenant_id, _filter(sought, dead=True), limit=most + 1)
        chosen, decision = found[:most], Decision(reason=bulk.reason, absent=bulk.absent)
        left: list[Left] = []
        acts = {"retry": self.retry, "replan": self.replan, "skip": self.skip}
        for each in () if bulk.dry_run else chosen:
            try:
                await acts[bulk.action](who, each.delivery_id, decision)
            except CommandError as exc:
                left.append(Left(each.delivery_id, exc.code, str(exc)))
        held = 0 if bulk.dry_run else len(chosen) - len(left)
        return Bulked(found=len(chosen), done=held, left=tuple(left), more=len(found) > most)

    async def _decided(
        self, who: Principal, delivery_id: str, decision: Decision, work: Callable[[Session], Awaitable[None]]
    ) -> None:
        _check_reason(decision.reason, is_needed=False)
        with told():
            await self._found(who, delivery_id)
        await self._within(who, work)

    async def _within(self, who: Principal, work: Callable[[Session], Awaitable[T]]) -> T:
        """Do what was decided and note it, both or neither."""
        with told():
            async with self._database.transaction(who.tenant_id) as session:
                return await work(session)

    async def _found(self, who: Principal, delivery_id: str) -> Delivery:
        found = await deliveries.get(self._database, who.tenant_id, delivery_id) if ID.fullmatch(delivery_id) else None
        if found is None:
            raise UnknownDelivery(f"no delivery {delivery_id[:40]!r} is known")
        return found

    async def _around(self, who: Principal, found: Delivery) -> Surroundings | None:
        """Return what fields are held against; None where the connection was removed."""
        try:
            connection = await connections.get(self._database, who.tenant_id, found.connection)
        except UnknownConnection:
            return None
        return payloads.Surroundings(
            connection=connection,
            manifest=self._systems.manifest(connection),
            contract=self._systems.contract(connection),
            schemas=await discovery.known(self._database, who.tenant_id, found.connection),
        )

    async def _problems(self, who: Principal, found: Delivery) -> tuple[str, ...]:
        with told():
            around = await self._around(who, found)
        async with self._database.transaction(who.tenant_id) as session:
            letter = await deadletter.letter(session, who.tenant_id, found.delivery_id)
        return tuple(_problems_of(around, letter, letter.fields))


_TIMES: Final = ("since", "until")


def _problems_of(around: Surroundings | None, letter: Letter, fields: dict[str, Any]) -> Sequence[str]:
    if around is None:
        return ["connection: it was removed; skip what it was not told"]
    return payloads.problems(around, letter, fields)


def _filter(sought: Sought, *, dead: bool) -> deliveries.Filter:
    allowed = DEAD if dead else STATES
    if sought.state and sought.state not in allowed:
        raise BadFilter(f"state is {sought.state[:40]!r}; allowed: {', '.join(allowed)}")
    if sought.mode not in ("", "shadow", "live"):
        raise BadFilter(f"mode is {sought.mode[:40]!r}; allowed: shadow, live")
    for name in ("connection", "record_id", "before"):
        value = getattr(sought, name)
        if value and not ID.fullmatch(value):
            raise BadFilter(f"{'cursor' if name == 'before' else name} is {value[:40]!r}, which is no id")
    texts = {name: getattr(sought, name) for name in ("object", "key", "collection", "error_class", "error_code")}
    for name, value in texts.items():
        if len(value) > TEXT_CHARACTERS_MAX or "\0" in value:
            raise BadFilter(f"{name} is longer than {TEXT_CHARACTERS_MAX} characters, or no text")
    return deliveries.Filter(
        connection=sought.connection,
        states=() if not sought.state else msgspec.convert((sought.state,), tuple[State, ...]),
        before=sought.before or deliveries.LAST,
        record_id=sought.record_id,
        since=sought.since,
        until=sought.until,
        dead=dead,
        mode=sought.mode,
        **texts,
    )


def _word(who: Principal, decision: Decision) -> Word:
    return Word(person=who.person, reason=decision.reason, absent=decision.absent, new_operation=decision.new_operation)


def _check_reason(reason: str, *, is_needed: bool) -> None:
    if len(reason) > REASON_CHARACTERS_MAX or "\0" in reason or (is_needed and not reason.strip()):
        raise BadPayload(f"reason: {1 if is_needed else 0} to {REASON_CHARACTERS_MAX} characters that say why")


def _check_text(name: str, text: str) -> None:
    if len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
        raise BadPayload(f"{name}: at most {TEXT_CHARACTERS_MAX} printable characters")
