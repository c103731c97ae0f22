"""What becomes of a delivery, given what the vendor answered: a table, and the waiting times.

A delivery is one thing that one system has to be told. Its states are a closed list:

    planned -> leased -> sent -> confirmed | rejected | unknown | superseded

`unknown` is the state of honesty: the request went out and no proof came back. It is never answered
by sending again blindly; first it is found out what is there (`Next.READ`), in the way that the
class of the write allows. Where nothing can be found out, a person decides.

What makes a delivery known again is made here too: the idempotency key, which is stored before the
first request and stays the same for all of them, and the marker, which stands in the object itself.

Pure: what came back, how often it was tried and how long ago go in, the next step comes out.
"""

from __future__ import annotations

import base64
import hashlib
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from uuid import UUID, uuid5

import msgspec

from upstream import holes
from upstream.manifest import ReplyKind, WriteClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from upstream.manifest import Target

State: TypeAlias = Literal["planned", "leased", "sent", "confirmed", "rejected", "unknown", "superseded"]

FIRST_WAIT_MS: Final = 2_000
WAIT_MS_MAX: Final = 15 * 60_000
AGE_MS_MAX: Final = 72 * 3_600_000
"""How long a peer that is down is waited for before a person is asked."""
CONFLICTS_MAX: Final = 3
"""How often a version that moved is read again before a person is asked."""
READS_MAX: Final = 12
"""How often it is looked whether a write has happened, before a person is asked."""

UNANSWERED: Final[tuple[ReplyKind, ...]] = ("throttled", "transient", "unknown")
"""What a look comes to that saw nothing: it is no look, and is repeated for as long as the vendor is waited for."""

KEYS: Final = UUID("b9b6f4a5-2c0f-5a0e-9d36-6f1f3f0a7c11")
"""The namespace of idempotency keys. It never changes: the same intent has to give the same key."""
MARKER_CHARACTERS: Final = 16
MARKER_PREFIX: Final = "FS"
"""A marker has 18 characters, capital letters and digits: it fits into the shortest document number in use."""


PAUSE_MS: Final = 60_000
"""How long a delivery rests at least where the connection as a whole has to be put right."""


class Next(Enum):
    """What to do with the delivery now."""

    CONFIRM = "confirm"
    SEND = "send"
    READ = "read"
    ASK = "ask"
    REJECT = "reject"
    PAUSE = "pause"
    LATE = "late"


class Step(msgspec.Struct, frozen=True):
    """The next step, and after how long. `reason` says why, for people."""

    next: Next
    wait_ms: int = 0
    reason: str = ""


class Tries(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried so far: looks that saw something, other requests (`sends`), conflicts met, for how long."""

    sends: int = 0
    reads: int = 0
    conflicts: int = 0
    age_ms: int = 0


PLAIN: Final[dict[ReplyKind, Step]] = {
    "ok": Step(Next.CONFIRM),
    "auth": Step(Next.PAUSE, PAUSE_MS, "the vendor does not accept the sign-in"),
    "not_found": Step(Next.REJECT, 0, "what should be changed is not there"),
    "gone": Step(Next.REJECT, 0, "what should be changed is not there any more"),
    "config": Step(Next.REJECT, 0, "the connection or its mapping has to be put right"),
    "data": Step(Next.REJECT, 0, "the vendor will not take it as it is"),
    "locked": Step(Next.LATE, 0, "it is closed there: what came later has to go into an object of its own"),
}
"""The answers to a write after which there is one next step, whatever was tried before."""


def after_write(write: WriteClass, kind: ReplyKind, tries: Tries, *, asked_ms: int = 0, jitter: float) -> Step:
    """Return what follows the answer to a write. `asked_ms` is how long the vendor said to wait."""
    if kind == "auth" and tries.age_ms > AGE_MS_MAX:
        return Step(Next.REJECT, 0, "the vendor has not accepted the sign-in for too long")
    if kind in PLAIN:
        return PLAIN[kind]
    if kind == "unknown":
        return _find_out(write, tries, asked_ms, jitter)
    if kind == "duplicate":
        return _look_for(write, tries, jitter)
    if kind == "conflict":
        return _resolve(write, tries)
    return _again(tries, asked_ms, jitter)


def after_void(write: WriteClass, kind: ReplyKind, tries: Tries, *, asked_ms: int = 0, jitter: float) -> Step:
    """Return what follows the answer to a request that takes something back. What is gone is taken back."""
    if kind in ("not_found", "gone"):
        return Step(Next.CONFIRM)
    return after_write(write, kind, tries, asked_ms=asked_ms, jitter=jitter)


def after_read(
    write: WriteClass, kind: ReplyKind, tries: Tries, *, found: bool | None, asked_ms: int = 0, jitter: float
) -> Step:
    """Return what follows a look: `found` says whether what was sent stands there, None if that is open."""
    if kind in UNANSWERED:
        if tries.age_ms > AGE_MS_MAX:
            return Step(Next.ASK, 0, "it could not be looked up for too long")
        pause = wait_ms(tries.reads + tries.sends, jitter)
        return Step(Next.READ, max(asked_ms, pause), "it could not be looked up")
    if kind == "auth" and tries.age_ms <= AGE_MS_MAX:
        return PLAIN[kind]
    if kind in ("auth", "config", "data") or found is None or (write == "none" and not found):
        return Step(Next.ASK, 0, "it cannot be found out whether the vendor has it")
    return Step(Next.CONFIRM if found else Next.SEND)


def wait_ms(times: int, jitter: float) -> int:
    """Return the pause before the next try: doubled each time, of random length up to that (full jitter)."""
    longest = min(WAIT_MS_MAX, FIRST_WAIT_MS << min(times, 20))
    return round(longest * jitter)


def _again(tries: Tries, asked_ms: int, jitter: float) -> Step:
    """It was not processed, so it can be sent again, as long as there is hope."""
    if tries.age_ms > AGE_MS_MAX:
        return Step(Next.REJECT, 0, "the vendor could not be reached for too long")
    return Step(Next.SEND, max(asked_ms, wait_ms(tries.sends, jitter)), "the vendor was not ready")


def _find_out(write: WriteClass, tries: Tries, asked_ms: int, jitter: float) -> Step:
    if write == "none":
        return Step(Next.ASK, 0, "no answer came, and this vendor cannot be asked")
    if tries.reads >= READS_MAX or tries.age_ms > AGE_MS_MAX:
        return Step(Next.ASK, 0, "it could not be found out for too long")
    return Step(Next.READ, max(asked_ms, wait_ms(tries.sends, jitter)), "no answer came")


def _look_for(write: WriteClass, tries: Tries, jitter: float) -> Step:
    """The vendor says that it has this already. What it means may take a while to be found there."""
    times = max(tries.reads, tries.sends - 1)
    if write == "none" or times >= READS_MAX:
        return Step(Next.ASK, 0, "the vendor says that it has this already, and it cannot be found there")
    pause = wait_ms(times, jitter) if tries.reads else 0
    return Step(Next.READ, pause, "the vendor says that it has this already")


def _resolve(write: WriteClass, tries: Tries) -> Step:
    if write == "versioned" and tries.conflicts < CONFLICTS_MAX:
        return Step(Next.READ, 0, "the vendor has a newer version")
    return Step(Next.REJECT, 0, "the vendor has another version")


def operation(target: Target, action: str, remote_id: str) -> str:
    """Return the operation by which an object is written; empty if there is none.

    What stands there under an id of the vendor's is changed and never made anew: that would be a second one. Only
    what is addressed by our own key is the same again, and of what has no handle each state is one of its own.
    """
    if action == "void":
        return target.void
    if remote_id and target.update:
        return target.update
    return "" if remote_id and target.write not in ("upsert", "none") else target.create


def idempotency_key(*parts: str | int) -> str:
    """Return the key of one intent: of tenant, connection, object, key, the state it is made of, and its number."""
    return str(uuid5(KEYS, _joined(parts)))


def marker(*parts: str | int) -> str:
    """Return the mark of one object: of tenant, connection, object, key, and how often it was voided before."""
    digest = base64.b32encode(hashlib.sha256(_joined(parts).encode()).digest()).decode()
    return MARKER_PREFIX + digest[:MARKER_CHARACTERS]


def stands(sent: Any, found: Any, paths: Iterable[str] = ()) -> bool:
    """Tell whether what was sent stands in what was found: all of it, or what is at these paths.

    What the vendor adds by itself does not matter, nor how a number is written.
    """
    places = tuple(paths)
    if not places:
        return _within(sent, found)
    return all(_within(holes.at(sent, path), holes.at(found, path)) for path in places)


def emptied(told: Mapping[str, Any], now: Mapping[str, Any], blank: str | None) -> dict[str, Any]:
    """Return `now` with `blank` wherever a single value was told before and nothing is to be there any more."""
    made = dict(now)
    for name, before in told.items():
        if isinstance(before, dict) and isinstance(now.get(name, {}), dict):
            made[name] = emptied(before, now.get(name, {}), blank)
        elif name not in now and not isinstance(before, list):
            made[name] = blank
    return made


def _within(sent: Any, found: Any) -> bool:
    if sent is None or sent == "":
        return found is None or found == ""
    if isinstance(sent, dict):
        return isinstance(found, dict) and all(_within(value, found.get(name)) for name, value in sent.items())
    if isinstance(sent, list):
        return isinstance(found, list) and len(sent) == len(found) and all(map(_within, sent, found))
    number = _number(sent)
    return sent == found or (number is not None and number == _number(found))


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _joined(parts: tuple[str | int, ...]) -> str:
    """Join the parts so that no two lists of them give the same text."""
    return "".join(f"{len(str(part))}:{part}" for part in parts)
