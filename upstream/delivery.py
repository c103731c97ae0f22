"""What becomes of a delivery, given what the vendor answered: a table, and the waiting times.

A delivery is one thing that one system has to be told. Its states are a closed list:

    planned -> leased -> sent -> confirmed | rejected | unknown | superseded

`unknown` is the state of honesty: the request went out and no proof came back. It is never answered
by sending again blindly; first it is found out what is there (`Next.READ`), in the way that the
class of the write allows. Where nothing can be found out, a person decides.

Pure: what came back, how often it was tried and how long ago go in, the next step comes out.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, TypeAlias

import msgspec

from upstream.manifest import ReplyKind, WriteClass

State: TypeAlias = Literal["planned", "leased", "sent", "confirmed", "rejected", "unknown", "superseded"]

FIRST_WAIT_MS: Final = 2_000
WAIT_MS_MAX: Final = 15 * 60_000
AGE_MS_MAX: Final = 72 * 3_600_000
"""How long a peer that is down is waited for before a person is asked."""
CONFLICTS_MAX: Final = 3
"""How often a version that moved is read again before a person is asked."""
READS_MAX: Final = 12
"""How often it is looked whether a write has happened, before a person is asked."""


class Next(Enum):
    """What to do with the delivery now."""

    CONFIRM = "confirm"
    SEND = "send"
    READ = "read"
    ASK = "ask"
    REJECT = "reject"
    PAUSE = "pause"


class Step(msgspec.Struct, frozen=True):
    """The next step, and after how long. `reason` says why, for people."""

    next: Next
    wait_ms: int = 0
    reason: str = ""


class Tries(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried so far: sends and looks since it was made, conflicts met, its age."""

    sends: int = 0
    reads: int = 0
    conflicts: int = 0
    age_ms: int = 0


PLAIN: Final[dict[ReplyKind, Step]] = {
    "ok": Step(Next.CONFIRM),
    "duplicate": Step(Next.READ, 0, "the vendor says that it has this already"),
    "auth": Step(Next.PAUSE, 0, "the vendor does not accept the sign-in"),
    "not_found": Step(Next.REJECT, 0, "what should be changed is not there"),
    "gone": Step(Next.REJECT, 0, "what should be changed is not there any more"),
    "config": Step(Next.REJECT, 0, "the connection or its mapping has to be put right"),
    "data": Step(Next.REJECT, 0, "the vendor will not take it as it is"),
}
"""The answers to a write after which there is one next step, whatever was tried before."""


def after_write(write: WriteClass, kind: ReplyKind, tries: Tries, *, asked_ms: int = 0, jitter: float) -> Step:
    """Return what follows the answer to a write. `asked_ms` is how long the vendor said to wait."""
    if kind in PLAIN:
        return PLAIN[kind]
    if kind == "unknown":
        return _find_out(write, tries, asked_ms, jitter)
    if kind == "conflict":
        return _resolve(write, tries)
    return _again(tries, asked_ms, jitter)


def after_read(write: WriteClass, kind: ReplyKind, tries: Tries, *, found: bool | None, jitter: float) -> Step:
    """Return what follows a look: `found` says whether what was sent stands there, None if that is open."""
    if kind in ("throttled", "transient", "unknown"):
        return Step(Next.READ, wait_ms(tries.reads, jitter), "it could not be looked up")
    if kind == "auth":
        return PLAIN[kind]
    if kind in ("config", "data") or found is None or (write == "none" and not found):
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
    if tries.reads >= READS_MAX:
        return Step(Next.ASK, 0, "it could not be found out for too long")
    return Step(Next.READ, max(asked_ms, wait_ms(tries.reads, jitter)), "no answer came")


def _resolve(write: WriteClass, tries: Tries) -> Step:
    if write == "versioned" and tries.conflicts < CONFLICTS_MAX:
        return Step(Next.READ, 0, "the vendor has a newer version")
    return Step(Next.REJECT, 0, "the vendor has another version")
