"""Dead letters: deliveries that were given up, or of which nobody knows what became, and what people decide.

A dead letter is a delivery in the state `rejected`, or one in the state `unknown` that nobody looks at by
itself any more. A person may

- `edit` what would be sent: the key under which the vendor knows the request stays, unless a new operation
  is asked for, since with a new key the vendor cannot tell a repeat from something else;
- `retry` it: what may have happened is looked for first, unless the person knows that it is not there;
- `replan` it: have it made anew of the records as they are, by the mapping that holds now;
- `skip` it: this version is not told. What comes later is;
- mark it `done`: it stands there, under this id.

Each of these is refused for what has been overtaken: an old state is never sent over a newer one. Each is
noted with who did it and why, in the same transaction. Everything here works in the caller's transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from upstream import compare, delivery, holes, store
from upstream.compare import Difference
from upstream.errors import BadPayload, NotDead, Overtaken, StillInDoubt, UnknownDelivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upstream.store import Session

Action: TypeAlias = Literal["edit", "retry", "replan", "skip", "done"]

CHANGES_MAX: Final = 200
"""How many differences of an edit are shown."""
_SQL: Final = store.statements("deadletter")
_REMOTES: Final = store.statements("remotes")
_OUTBOX: Final = store.statements("outbox")

SUGGESTIONS: Final[dict[str, str]] = {
    "data": "correct the record and plan it anew, or edit what is sent; then retry",
    "config": "put the connection, its permissions or its mapping right, then plan it anew",
    "auth": "sign in again at the connection, then retry",
    "transient": "see whether the system can be reached (verify the connection), then retry",
    "throttled": "wait until the system takes requests again, then retry",
    "not_found": "see what became of it there; mark it done with another id, or plan it anew",
    "gone": "see what became of it there; mark it done with another id, or skip it",
    "conflict": "compare with what stands there; plan it anew, or mark it done",
    "duplicate": "look for it there: mark it done with its id, or retry if it is not there",
    "locked": "it is closed there: plan it anew, so that the difference goes into an object of its own",
    "unknown": "look whether it stands there: mark it done with its id, or retry and say that it is absent",
}
"""What usually helps, by the kind of the last answer."""
OTHERWISE: Final = "see the last attempt; then retry, plan it anew or skip it"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter under lock."""

    tenant_id: int
    delivery_id: str
    connection: str
    object: str
    key: str
    collection: str
    record_id: str
    seen_seq: int
    action: str
    lane: str
    state: delivery.State
    mode: str
    idempotency_key: str
    marker: str
    fields: dict[str, Any]
    late_object: str | None
    late_key: str | None
    covers: dict[str, Any] | None
    due_at: datetime | None
    remote_id: str | None
    remote_version: str | None
    error_class: str
    error_code: str

    @property
    def is_dead(self) -> bool:
        """Whether it waits for a person."""
        return self.state == "rejected" or (self.state == "unknown" and self.due_at is None)

    @property
    def is_incomplete(self) -> bool:
        """Whether the mapping could not make all of it, so that nothing can be sent as it is."""
        return self.error_code == "mapping"


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says: who, why; `absent`: they have looked, and it does not stand there."""

    person: str
    reason: str = ""
    absent: bool = False
    new_operation: bool = False


class Intervention(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did about a delivery. The changes are there for an edit."""

    n: int
    at: datetime
    person: str
    action: Action
    reason: str
    changes: tuple[Difference, ...] = ()


def suggestion(error_class: str, error_code: str) -> str:
    """Return what usually helps."""
    if error_code == "mapping":
        return "a field could not be made: correct the record or the mapping, then plan it anew"
    return SUGGESTIONS.get(error_class, OTHERWISE)


async def edit(
    session: Session,
    tenant_id: int,
    delivery_id: str,
    fields: dict[str, Any],
    word: Word,
    check: Callable[[Letter, dict[str, Any]], Sequence[str]],
) -> tuple[Difference, ...]:
    """Put other fields in place of those that would be sent, and return what differs.

    `check` says what is wrong with fields; raises `BadPayload` with all of it. Of what may stand there nothing is
    changed: under its key a system may answer with what it made of the former fields, and others would be noted.
    """
    letter = await _taken(session, tenant_id, delivery_id)
    if letter.state == "unknown" and not word.absent:
        raise StillInDoubt("the former fields may stand there: mark it done, or say that it is absent, then edit it")
    problems = check(letter, fields)
    if problems:
        raise BadPayload(problems)
    changes = compare.differences(letter.fields, fields)
    if changes:
        await session.execute(_SQL["edit"], tenant_id, delivery_id, store.as_json(fields))
        await _note(session, letter, "edit", word, letter.fields, fields)
    return changes


async def retry(session: Session, tenant_id: int, delivery_id: str, word: Word) -> str:
    """Let it be sent again, as it is; return the key under which it will be.

    One of which nobody knows what became is looked for before, unless the person says that it is absent.
    """
    letter = await _taken(session, tenant_id, delivery_id)
    if letter.mode != "live":
        raise NotDead("it was recorded in shadow mode and is never sent: plan it anew, or skip it")
    if letter.is_incomplete and not await _was_edited(session, letter):
        raise BadPayload(["the mapping could not make all of it: edit it first, or plan it anew"])
    is_open = letter.state == "unknown" and not word.absent
    if not is_open and await session.fetchval(_SQL["moved"], tenant_id, delivery_id):
        raise Overtaken("the system itself has changed the record since this was made: plan it anew, or skip it")
    if is_open and word.new_operation:
        raise StillInDoubt("whether it stands there is not known: a new operation needs `absent`")
    key = await _key(session, letter) if word.new_operation else letter.idempotency_key
    await session.execute(_SQL["again"], tenant_id, delivery_id, "unknown" if is_open else "planned", key)
    await _note(session, letter, "retry", word)
    await session.execute(_OUTBOX["notify"], str(tenant_id))
    return key


async def replan(session: Session, tenant_id: int, delivery_id: str, word: Word) -> None:
    """Have it made anew of the records as they are, by the mapping that holds.

    One of which nobody knows what became stays until what is planned anew has been looked for.
    """
    letter = await _taken(session, tenant_id, delivery_id)
    if letter.state != "unknown" or word.absent:
        await session.execute(_SQL["drop"], tenant_id, delivery_id)
    place = store.columns([(letter.collection, letter.record_id)], 2)
    await session.execute(_OUTBOX["mark"], tenant_id, letter.connection, *place, "live", _CORRECT)
    await _note(session, letter, "replan", word)
    await session.execute(_OUTBOX["notify"], str(tenant_id))


async def skip(session: Session, tenant_id: int, delivery_id: str, word: Word) -> None:
    """Let it go untold. One that may stand there can be skipped only by somebody who knows that it does not."""
    letter = await _taken(session, tenant_id, delivery_id, checks=False)
    if letter.state == "unknown" and not word.absent:
        raise StillInDoubt("whether it stands there is not known: mark it done, or say that it is absent")
    await session.execute(_SQL["drop"], tenant_id, delivery_id)
    await _note(session, letter, "skip", word)


async def done(
    session: Session, tenant_id: int, delivery_id: str, word: Word, *, remote_id: str, version: str = ""
) -> None:
    """Note that it stands there. `remote_id` is its id there; empty for what has none, or one that is known."""
    letter = await _taken(session, tenant_id, delivery_id)
    if letter.mode != "live":
        raise NotDead("it was recorded in shadow mode and was never sent: plan it anew, or skip it")
    known = remote_id or letter.remote_id or ""
    place = (tenant_id, letter.connection, letter.object)
    if known and (other := await session.fetchval(_SQL["taken"], *place, known, letter.key)) is not None:
        raise BadPayload([f"remote_id: {known!r} already stands for {letter.object} {other}"])
    await session.execute(_SQL["done"], tenant_id, delivery_id, known, version)
    told = store.as_json(letter.fields)
    there = (known, version or letter.remote_version or "")
    voided = letter.action == "void"
    await session.execute(_REMOTES["confirmed"], *place, letter.key, *there, told, letter.seen_seq, voided)
    if letter.late_object is not None and letter.covers is not None:
        base = (tenant_id, letter.connection, letter.late_object, letter.late_key)
        await session.execute(_REMOTES["covered"], *base, store.as_json(letter.covers), letter.seen_seq)
    await session.execute(_OUTBOX["wake"], tenant_id, letter.connection, letter.record_id)
    await _note(session, letter, "done", word)


async def letter(session: Session, tenant_id: int, delivery_id: str) -> Letter:
    """Return it as it stands, and keep others from it."""
    row = await session.fetchrow(_SQL["lock"], tenant_id, delivery_id)
    if row is None:
        raise UnknownDelivery(f"no delivery {delivery_id} is known")
    texts = {"fields": store.from_json(row["fields"]), "covers": store.from_json(row["covers"])}
    return msgspec.convert({**dict(row), **texts, "tenant_id": tenant_id}, Letter)


async def history(session: Session, tenant_id: int, delivery_id: str) -> list[Intervention]:
    """Return what people did about a delivery, in order."""
    return [
        Intervention(
            n=row["n"],
            at=row["at"],
            person=row["person"],
            action=row["action"],
            reason=row["reason"],
            changes=compare.differences(store.from_json(row["before"]) or {}, store.from_json(row["after"]) or {}),
        )
        for row in await session.fetch(_SQL["history"], tenant_id, delivery_id)
    ]


def keeps_marks(letter: Letter, fields: dict[str, Any], paths: Sequence[str]) -> list[str]:
    """Return which of the marks, by which it is known again at the vendor, other fields would not have."""
    marks = {path: mark for path in paths if path and (mark := holes.at(letter.fields, path)) is not None}
    said = "{path}: must stay {mark!r}: by this it is known again there"
    return [said.format(path=path, mark=mark) for path, mark in marks.items() if holes.at(fields, path) != mark]


_CORRECT: Final = True


async def _taken(session: Session, tenant_id: int, delivery_id: str, *, checks: bool = True) -> Letter:
    """Return the letter under lock; raise what keeps it from being acted on."""
    found = await letter(session, tenant_id, delivery_id)
    if not found.is_dead:
        raise NotDead(f"delivery {delivery_id} is {found.state} and waits for nobody")
    if checks and found.mode == "live":
        newer: str | None = await session.fetchval(_SQL["overtaken"], tenant_id, delivery_id)
        if newer is not None:
            raise Overtaken(f"delivery {newer} tells a newer state of the same {found.object}: skip this one")
    return found


async def _was_edited(session: Session, letter: Letter) -> bool:
    found = await session.fetch(_SQL["history"], letter.tenant_id, letter.delivery_id)
    return any(row["action"] == "edit" for row in found)


async def _key(session: Session, letter: Letter) -> str:
    """Return a key that was never used: of the same parts, and how often people have acted before."""
    times = len(await session.fetch(_SQL["history"], letter.tenant_id, letter.delivery_id))
    place = (letter.tenant_id, letter.connection, letter.object, letter.key)
    return delivery.idempotency_key(*place, letter.delivery_id, "operation", times + 1)


async def _note(
    session: Session,
    letter: Letter,
    action: Action,
    word: Word,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    texts = (None if before is None else store.as_json(before), None if after is None else store.as_json(after))
    place = (letter.tenant_id, letter.delivery_id, word.person, action, word.reason)
    await session.fetchval(_SQL["note"], *place, *texts)
