"""What has to be said, decided: of a made object, and of what was said about it before.

What a system should have is *desired state*: it is made anew of all records that belong to it, compared
with what the system was told, and told only where the two differ. An object that is closed there is
told by another one, which carries the difference.

Pure: records and ledger go in as values, intents come out.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from upstream import holes, mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from upstream.mapping import MappingSet, ObjectMapping

Action: TypeAlias = Literal["upsert", "void"]
OPEN: Final = ("planned", "leased", "sent", "unknown")
"""States of a delivery whose end is still to come."""
GOING: Final = ("leased", "sent", "unknown")
"""States of a delivery of which part may have happened."""

_NAMED: Final = re.compile(rb"\b(ref|remote)\.([A-Za-z_]\w*)")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What an object should be: made of records, not yet compared with what was told.

    `period` is the first day of its period. `context` is what it was made of, for what may be late.
    `if_told`: the mapping does not want it, so only a system that was told of it is told more.
    """

    object: str
    key: str
    collection: str
    record_id: str
    action: Action
    fields: dict[str, Any]
    problems: tuple[mapping.Problem, ...] = ()
    period: str = ""
    context: dict[str, Any] = {}
    if_told: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What was said about an object: its newest delivery that counts, and what is known to stand there.

    `moved`: the system itself has changed it since. `late_open`: a late object of it is under way.
    """

    seen_seq: int = -1
    state: str = ""
    mode: str = ""
    action: str = ""
    fields: dict[str, Any] | None = None
    told: dict[str, Any] | None = None
    is_there: bool = False
    voided: bool = False
    closed: bool = False
    moved: bool = False
    late_open: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """What is to be done: nothing, say it, carry the difference by a late object, or wait."""

    next: Literal["nothing", "say", "late", "wait"]
    reason: str = ""


NOTHING: Final = Verdict("nothing")


def decide(
    wish: Wish, known: Known, *, seen_seq: int, mode: str, correct: bool, matters: tuple[str, ...] = ()
) -> Verdict:
    """Return what is to be done about a wish that was made of the state `seen_seq`.

    `correct`: what the system itself wrote did not stand, so it is told even what it was told before.
    `matters`: paths of what has to be carried on where the object is closed; without any, all does.
    """
    if known.seen_seq > seen_seq:
        return Verdict("nothing", "it was planned of a newer state meanwhile")
    if (wish.action == "void" or wish.if_told) and not _was_told(known):
        return NOTHING
    if wish.problems:
        return Verdict("say")
    if known.closed:
        return _decide_late(wish, known, matters)
    if _is_said(wish, known, mode) and (known.state == "planned" or not (correct or known.moved)):
        return NOTHING
    return Verdict("say")


def difference(before: Any, now: Any) -> Any:
    """Return what `now` has beyond `before`: of numbers the difference, of lists what came and what went.

    Whatever is the same is left out; None if all is.
    """
    if isinstance(before, dict) or isinstance(now, dict):
        return _tables(before if isinstance(before, dict) else {}, now if isinstance(now, dict) else {})
    if isinstance(before, list) or isinstance(now, list):
        return _lists(before if isinstance(before, list) else [], now if isinstance(now, list) else [])
    if before == now:
        return None
    was, has = _number(before), _number(now)
    if was is None or has is None:
        return now
    return format((has - was).normalize(), "f") if has != was else None


def late(told: Mapping[str, Any] | None, wish: Wish, by: str) -> dict[str, Any] | None:
    """Return what a late object is made of; None if nothing differs."""
    before = dict(told or {})
    now = {} if wish.action == "void" else wish.fields
    gap = difference(before, now)
    if gap is None:
        return None
    amount = _number(holes.at(gap, by)) if by else None
    sign = "same" if not amount else "more" if amount > 0 else "less"
    size = format(abs(amount), "f") if amount is not None else "0"
    return {"before": before, "now": now, "difference": gap, "sign": sign, "amount": size}


def interests(mappings: MappingSet) -> dict[str, tuple[str, ...]]:
    """Return of which collections a connection has to be told, each with the fields it is looked up by."""
    found: dict[str, set[str]] = {}
    lates = {name for each in mappings.out for name in each.late}
    for each in mappings.out:
        if each.object in lates:
            continue
        for collection in (each.collection, *each.triggers):
            found.setdefault(collection, set())
        for gather in each.gather.values():
            found.setdefault(gather.collection, set()).update(gather.match)
    return {collection: tuple(sorted(fields)) for collection, fields in sorted(found.items())}


def named(each: ObjectMapping) -> tuple[frozenset[str], frozenset[str]]:
    """Return the reference fields whose records, and those whose ids there, a mapping names anywhere."""
    text = msgspec.json.encode(each)
    found = [(kind.decode(), name.decode()) for kind, name in _NAMED.findall(text)]
    refs = frozenset(name for kind, name in found if kind == "ref")
    return refs, frozenset(name for kind, name in found if kind == "remote")


def key_of(each: ObjectMapping, context: Mapping[str, Any]) -> str | None:
    """Return the key of the object that a record belongs to; None if the record does not say."""
    try:
        return holes.filled(each.key, context)
    except holes.NothingThere:
        return None


def _was_told(known: Known) -> bool:
    if known.state in OPEN and known.action == "upsert":
        return True
    return known.is_there and not known.voided


def _is_said(wish: Wish, known: Known, mode: str) -> bool:
    """Whether the last that was said, or is about to be said, is this."""
    if known.state in OPEN and known.mode == mode:
        return known.action == wish.action and (wish.action == "void" or known.fields == wish.fields)
    if wish.action == "void":
        return known.voided
    return not known.voided and known.told == wish.fields


def _decide_late(wish: Wish, known: Known, matters: tuple[str, ...]) -> Verdict:
    if known.state in GOING:
        return Verdict("wait", "it is closed there, and what becomes of its last delivery is still open")
    if known.late_open:
        return Verdict("wait", "what becomes of the late object before this one is still open")
    told, now = known.told or {}, {} if wish.action == "void" else wish.fields
    if matters:
        told, now = (
            {path: found for path in matters if (found := holes.at(each, path)) is not None} for each in (told, now)
        )
    return NOTHING if difference(told, now) is None else Verdict("late")


def _tables(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any] | None:
    names = [*now, *(name for name in before if name not in now)]
    gaps = (
        (name, _gone(before[name]) if name not in now else difference(before.get(name), now[name])) for name in names
    )
    return {name: gap for name, gap in gaps if gap is not None} or None


def _gone(before: Any) -> Any:
    """Return the difference to nothing: of a number its negative; a text that is gone says nothing."""
    if isinstance(before, dict | list):
        return difference(before, type(before)())
    number = _number(before)
    return format((-number).normalize(), "f") if number else None


def _lists(before: list[Any], now: list[Any]) -> dict[str, Any] | None:
    added, removed = list(_beyond(now, before)), list(_beyond(before, now))
    return {"added": added, "removed": removed} if added or removed else None


def _beyond(items: list[Any], others: list[Any]) -> Iterator[Any]:
    """Yield the items that the others do not have, each as often as it is there more often."""
    left = list(others)
    for item in items:
        if item in left:
            left.remove(item)
        else:
            yield item


def _number(value: Any) -> Decimal | None:
    if value is None or isinstance(value, bool | dict | list):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
