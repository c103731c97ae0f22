"""What devices and the hub say to each other: enrol, refresh, push and pull, as JSON or MessagePack.

The structs bear the protocol's own names and serve both sides and both forms. Only the decoding of a push is
more than a type: one mutation that nobody can read must not keep its neighbours from being
settled, so a push that is not well-typed as a whole is read again one mutation at a time. A
mutation that has nothing but its number becomes `Malformed` and is answered by that number.
"""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import msgspec

from replication import forms, malformed
from replication.forms import Form
from replication.mutation import Mutation, digest
from replication.verdict import Malformed, MutationVerdict
from replication.versions import Dot, Vector

if TYPE_CHECKING:
    from collections.abc import Iterable

PATH_ENROL: Final = "/v1/devices/enrol"
PATH_REFRESH: Final = "/v1/devices/refresh"
PATH_PUSH: Final = "/v1/sync/push"
PATH_PULL: Final = "/v1/sync/pull"

COUNTER_MAX: Final = malformed.COUNTER_MAX

_DIGITS_MAX: Final = 400


class BadRequest(ValueError):
    """The body cannot be read as the message it should be; nothing of it was judged."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub takes at once. Devices are told and cut their pushes accordingly.

    `bytes` bounds a body as it is read, `compressed_bytes` one as it is sent compressed, `page` and
    `page_bytes` a page of changes.
    """

    mutations: int = 1_000
    bytes: int = 4_194_304
    compressed_bytes: int = 4_194_304
    fields: int = 200
    tx: int = 200
    page: int = 1_000
    page_bytes: int = 8_000_000


class EnrolRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device that asks to become a replica, by a code that the office gave its person."""

    code: str
    name: str
    platform: str | None = None


class EnrolAnswer(msgspec.Struct, frozen=True):
    """Who the device is from now on. `token` names its person and its replica."""

    replica: str
    rid: int
    token: str
    refresh: str
    epoch: str
    schema: int
    limits: Limits


class RefreshRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A device whose token ran out. A revoked one gets a token, for a rescue alone, by `rescue`."""

    refresh: str
    rescue: bool = False


class RefreshAnswer(msgspec.Struct, frozen=True):
    """The next token, the next means to refresh it, and the epoch it is good in."""

    token: str
    refresh: str
    epoch: str


class Clock(msgspec.Struct, frozen=True):
    """The device's clocks when it sent the push: its wall, a steady one, and its zone."""

    wall_ms: int
    mono_ms: int
    zone: str


class Withheld(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a device sends in place of a mutation that no push can carry, so that what follows it can be settled."""

    n: int
    collection: str
    id: str
    tx: str | None = None
    withheld: bool

    @classmethod
    def of(cls, mutation: Mutation) -> Withheld:
        """Return what stands for the mutation."""
        return cls(n=mutation.n, collection=mutation.collection, id=mutation.id, tx=mutation.tx, withheld=True)


class PushHead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a push says beside its mutations. `verdicts_seen` lets the hub trim its ledger.

    `rescue` hands over the unsent work of a device that was revoked: all of it is held for a person.
    """

    epoch: str | None = None
    schema: int = 0
    cursor: str | None = None
    verdicts_seen: int = 0
    clock: Clock | None = None
    rescue: bool = False


class Push(PushHead, frozen=True, kw_only=True, omit_defaults=True):
    """A push in which every mutation is whole, in the order in which they were made."""

    mutations: list[Mutation]


class SentPush(PushHead, frozen=True, kw_only=True, omit_defaults=True):
    """A push as its sender makes it: in place of what is too large stands what tells so."""

    mutations: tuple[Mutation | Withheld, ...]


class PushRequest(PushHead, frozen=True, kw_only=True, omit_defaults=True):
    """A push as the hub reads it: what could not be read of it is among the mutations, by number."""

    mutations: tuple[Mutation | Malformed, ...]

    @property
    def names_no_base(self) -> bool:
        """Whether nothing in it depends on the epoch: no mutation says what its writer had seen."""
        return not any(isinstance(m, Mutation) and (m.base or m.rev) for m in self.mutations)


class PushAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Verdicts, one for each mutation up to `applied`; with `expected` the push had a gap.

    A verdict that was stored comes as the bytes it was stored as.
    """

    epoch: str
    applied: int
    verdicts: tuple[MutationVerdict | msgspec.Raw, ...]
    now: int
    limits: Limits
    durable: int
    expected: int | None = None
    retry_after_ms: int | None = None


class PullRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What follows `cursor`; without one, everything in scope."""

    cursor: str | None = None
    limit: int | None = None
    max_bytes: int | None = None
    wait_ms: int = 0
    versions: bool = False


class SiblingVersion(msgspec.Struct, frozen=True):
    """A value that waits beside the winner until a person chooses."""

    dot: Dot
    value: Any


class CellVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who wrote a cell and what that writer had absorbed."""

    dot: Dot
    seq: int
    vv: Vector
    siblings: tuple[SiblingVersion, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record's part in a commit: put, delete, enter or leave.

    `fields` is the whole visible record at `rev`. The hub sends it as the bytes it stored
    (`msgspec.Raw`); a device reads a dictionary.
    """

    op: str
    collection: str
    id: str
    rev: int
    fields: Any = msgspec.UNSET
    versions: dict[str, CellVersion] | msgspec.UnsetType = msgspec.UNSET


class Commit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Changes that belong together; `seq` is the last of their numbers."""

    seq: int
    changes: tuple[Change, ...]
    tx: str | None = None


class PullAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A page. `complete` says of each class of priority whether nothing of it is left to fetch."""

    epoch: str
    commits: tuple[Commit, ...]
    cursor: str
    more: bool
    complete: dict[str, bool]
    applied: int
    durable: int
    retry_after_ms: int | None = None


class _LoosePush(PushHead, frozen=True, kw_only=True):
    mutations: list[dict[str, Any]]


class _PackedPush(PushHead, frozen=True, kw_only=True):
    mutations: list[msgspec.Raw]


_JSON: Final = msgspec.json.Decoder(Push)
_MSGPACK: Final = msgspec.msgpack.Decoder(Push)
_PACKED: Final = msgspec.msgpack.Decoder(_PackedPush)


def decode_push(body: bytes, limits: Limits, form: Form = "json") -> PushRequest:
    """Return the push. `BadRequest` if it is no message in this form, or a mutation in it has no number."""
    try:
        typed = (_JSON if form == "json" else _MSGPACK).decode(body)
        if not any(fault(mutation, limits) for mutation in typed.mutations):
            return _request(typed, tuple(typed.mutations), limits)
    except (ValueError, RecursionError):
        pass  # something in it is not as it should be: read again, one mutation at a time
    try:
        return _loosely(body, limits, form)
    except RecursionError:
        cut = _shallow(body, form)
    try:
        return _loosely(cut, limits, form)
    except RecursionError as exc:
        raise BadRequest("the body is no push: it is nested without end") from exc


def within(mutations: tuple[Mutation | Malformed, ...], limit: int) -> tuple[Mutation | Malformed, ...]:
    """Return the first `limit` mutations, and the rest of the tx in which the limit falls."""
    end = limit
    while 0 < end < len(mutations) and _tx(mutations[end]) and _tx(mutations[end]) == _tx(mutations[end - 1]):
        end += 1
    return mutations[:end]


def fault(mutation: Mutation, limits: Limits) -> str | None:
    """Return what keeps a well-typed mutation from being judged or stored."""
    return malformed.fault(mutation, limits.fields)


def _tx(mutation: Mutation | Malformed) -> str | None:
    return mutation.tx


def _request(head: PushHead, mutations: tuple[Mutation | Malformed, ...], limits: Limits) -> PushRequest:
    for mutation in mutations:
        if not 1 <= mutation.n <= COUNTER_MAX:
            raise BadRequest(f"a mutation has the number {mutation.n}; numbers begin with 1 and fit into 64 bits")
    said = {name: getattr(head, name) for name in PushHead.__struct_fields__}
    return PushRequest(**said, mutations=_without_long_tx(mutations, limits.tx))


def _shallow(body: bytes, form: Form) -> bytes:
    try:
        return forms.shallow(body, form)
    except forms.NotSaid as exc:
        raise BadRequest(f"the body is no push: {exc}") from exc


def _loosely(body: bytes, limits: Limits, form: Form) -> PushRequest:
    """Read the push one mutation at a time, so that a bad one blocks no queue behind it."""
    try:
        loose = _json_parts(body) if form == "json" else _PACKED.decode(body)
    except ValueError as exc:
        raise BadRequest(f"the body is no push: {exc}") from exc
    parts: Iterable[tuple[int, dict[str, Any] | msgspec.Raw]] = enumerate(loose.mutations, 1)
    read = (
        _unpacked(place, bytes(each), limits)
        if isinstance(each, msgspec.Raw)
        else _convert(_number(place, each), each, limits)
        for place, each in parts
    )
    return _request(loose, tuple(read), limits)


def _json_parts(body: bytes) -> _LoosePush:
    """Read with the standard parser: it also reads what must not be stored, as NaN or half a surrogate pair."""
    return msgspec.convert(json.loads(body, parse_int=_whole), _LoosePush)


def _unpacked(place: int, raw: bytes, limits: Limits) -> Mutation | Malformed:
    try:
        parts, found = forms.parts_of(raw, Mutation.__struct_fields__)
    except ValueError as exc:
        raise BadRequest(f"mutation {place} of the push has no number n: {exc}") from exc
    n = _number(place, parts)
    return _convert(n, parts, limits) if found is None else malformed.made(n, parts, found)


def _whole(digits: str) -> float:
    # Python refuses to read very long numbers; no kind of field has room for one anyway.
    return int(digits) if len(digits) <= _DIGITS_MAX else float("inf")


def _number(place: int, parts: dict[str, Any]) -> int:
    n = parts.get("n")
    if not isinstance(n, int) or isinstance(n, bool):
        raise BadRequest(f"mutation {place} of the push has no number n; send one, a whole number from 1 on")
    return n


def _convert(n: int, parts: dict[str, Any], limits: Limits) -> Mutation | Malformed:
    if malformed.is_withheld(parts):
        return malformed.withheld(n, parts)
    try:
        mutation = msgspec.convert(parts, Mutation, str_keys=True)
        found = fault(mutation, limits)
        if found is None:
            json.dumps(parts, allow_nan=False)
            digest(mutation)
            return mutation
    except (ValueError, RecursionError) as exc:
        found = malformed.unfit(exc, parts)
    return malformed.made(n, parts, found)


def _without_long_tx(mutations: tuple[Mutation | Malformed, ...], limit: int) -> tuple[Mutation | Malformed, ...]:
    """Make the mutations of a tx beyond the limit malformed, all of them: none is carried out."""
    if len(mutations) <= limit:
        return mutations
    kept: list[Mutation | Malformed] = []
    for tx, members in groupby(mutations, _tx):
        run = list(members)
        if tx is not None and len(run) > limit:
            found = f"tx: it has {len(run)} mutations, and at most {limit} are taken; make smaller ones"
            run = [malformed.made(m.n, msgspec.to_builtins(m), found) if isinstance(m, Mutation) else m for m in run]
        kept += run
    return tuple(kept)
