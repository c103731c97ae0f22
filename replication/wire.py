"""What devices and the hub say to each other: enrol, refresh, push and pull, as JSON.

The structs bear the protocol's own names and serve both sides. Only the decoding of a push is
more than a type: one mutation that nobody can read must not keep its neighbours from being
settled, so a push that is not well-typed as a whole is read again one mutation at a time. A
mutation that has nothing but its number becomes `Malformed` and is answered by that number.
"""

from __future__ import annotations

import json
import re
from itertools import groupby
from typing import Any, Final

import msgspec

from replication.mutation import Mutation, digest
from replication.verdict import Malformed, MutationVerdict
from replication.versions import Dot, Vector

PATH_ENROL: Final = "/v1/devices/enrol"
PATH_REFRESH: Final = "/v1/devices/refresh"
PATH_PUSH: Final = "/v1/sync/push"
PATH_PULL: Final = "/v1/sync/pull"

COUNTER_MAX: Final = 2**63 - 1
NAME_CHARACTERS_MAX: Final = 200
VALUE_DEPTH_MAX: Final = 64
"""Deeper than any field allows; it keeps a value from exhausting the stack where it is encoded."""

_BODY_DEPTH_MAX: Final = VALUE_DEPTH_MAX + 8
"""Depth of a value plus that of what a push wraps around it."""

_DIGITS_MAX: Final = 400
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_NO_VALUE: Final = b"NaN"
"""Stands for a part that was cut out: no field takes it, so that its mutation is refused."""

_ASKED: Final[dict[str, Any]] = {
    "n": None,
    "tx": None,
    "op": None,
    "collection": None,
    "id": None,
    "set": {},
    "do": {},
    "was": {},
    "closes": {},
    "at": None,
}
"""What a mutation is known by, as in `mutation.digest`, and what a missing part stands for."""


class BadRequest(ValueError):
    """The body cannot be read as the message it should be; nothing of it was judged."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub takes at once. Devices are told and cut their pushes accordingly."""

    mutations: int = 1_000
    bytes: int = 4_194_304
    fields: int = 200
    tx: int = 200
    page: int = 1_000


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


class RefreshRequest(msgspec.Struct, frozen=True):
    """A device whose token ran out."""

    refresh: str


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


class PushHead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a push says beside its mutations. `verdicts_seen` lets the hub trim its ledger."""

    epoch: str | None = None
    schema: int = 0
    cursor: str | None = None
    verdicts_seen: int = 0
    clock: Clock | None = None


class Push(PushHead, frozen=True, kw_only=True, omit_defaults=True):
    """A push as its sender makes it: mutations in the order in which they were made."""

    mutations: list[Mutation]


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


_TYPED: Final = msgspec.json.Decoder(Push)
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


def decode_push(body: bytes, limits: Limits) -> PushRequest:
    """Return the push. `BadRequest` if it is no JSON, or a mutation in it has no number."""
    try:
        typed = _TYPED.decode(body)
        mutations = tuple(_checked(mutation, limits) for mutation in typed.mutations)
    except ValueError:
        return _decode_loosely(body, limits)
    except RecursionError:
        return _decode_loosely(_shallow(body), limits)
    return _request(typed, mutations, limits)


def within(mutations: tuple[Mutation | Malformed, ...], limit: int) -> tuple[Mutation | Malformed, ...]:
    """Return the first `limit` mutations, and the rest of the tx in which the limit falls."""
    end = limit
    while 0 < end < len(mutations) and _tx(mutations[end]) and _tx(mutations[end]) == _tx(mutations[end - 1]):
        end += 1
    return mutations[:end]


def fault(mutation: Mutation, limits: Limits) -> str | None:
    """Return what keeps a well-typed mutation from being judged or stored."""
    if len(mutation.set) + len(mutation.do) > limits.fields:
        return f"more than {limits.fields} fields"
    if not all(map(_is_name, _names(mutation))):
        return f"a name is longer than {NAME_CHARACTERS_MAX} characters or cannot be printed"
    if not all(0 <= number <= COUNTER_MAX for number in _numbers(mutation)):
        return "a number is negative or does not fit into 64 bits"
    if mutation.at is not None and not -COUNTER_MAX <= mutation.at <= COUNTER_MAX:
        return "`at` does not fit into 64 bits"
    if not all(_is_shallow(part, VALUE_DEPTH_MAX) for part in (mutation.set, mutation.do, mutation.was)):
        return f"a value is nested deeper than {VALUE_DEPTH_MAX}"
    return None


def _tx(mutation: Mutation | Malformed) -> str | None:
    return mutation.tx


def _request(head: PushHead, mutations: tuple[Mutation | Malformed, ...], limits: Limits) -> PushRequest:
    for mutation in mutations:
        if not 1 <= mutation.n <= COUNTER_MAX:
            raise BadRequest(f"a mutation has the number {mutation.n}; numbers begin with 1 and fit into 64 bits")
    return PushRequest(
        epoch=head.epoch,
        schema=head.schema,
        cursor=head.cursor,
        verdicts_seen=head.verdicts_seen,
        clock=head.clock,
        mutations=_without_long_tx(mutations, limits.tx),
    )


def _shallow(body: bytes) -> bytes:
    """Cut out what is nested too deeply to be read, so that it spoils its own mutation alone."""
    kept: list[bytes] = []
    depth, begin = 0, 0
    for token in _TOKENS.finditer(body):
        if token[0] in (b"[", b"{"):
            depth += 1
            if depth == _BODY_DEPTH_MAX + 1:
                kept += [body[begin : token.start()], _NO_VALUE]
        elif token[0] in (b"]", b"}"):
            if depth == _BODY_DEPTH_MAX + 1:
                begin = token.end()
            depth -= 1
    return b"".join([*kept, body[begin:]]) if depth <= _BODY_DEPTH_MAX else body


def _decode_loosely(body: bytes, limits: Limits) -> PushRequest:
    """Read the push one mutation at a time.

    The standard parser is used because it also reads what must not be stored, such as NaN or half
    a surrogate pair: the mutation alone is refused, and the queue behind it is not blocked.
    """
    try:
        tree = json.loads(body, parse_int=_whole)
        loose = msgspec.convert(tree, _LoosePush)
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"the body is no push: {exc}") from exc
    return _request(loose, tuple(_convert(parts, limits) for parts in loose.mutations), limits)


def _whole(digits: str) -> float:
    # Python refuses to read very long numbers; no kind of field has room for one anyway.
    return int(digits) if len(digits) <= _DIGITS_MAX else float("inf")


def _convert(parts: dict[str, Any], limits: Limits) -> Mutation | Malformed:
    n = parts.get("n")
    if not isinstance(n, int) or isinstance(n, bool):
        raise BadRequest("a mutation has no number n")
    try:
        mutation = msgspec.convert(parts, Mutation)
        found = fault(mutation, limits)
        if found is None:
            json.dumps(parts, allow_nan=False)
            digest(mutation)
            return mutation
    except (ValueError, RecursionError) as exc:
        found = str(exc)
    return _malformed(n, parts, found)


def _checked(mutation: Mutation, limits: Limits) -> Mutation | Malformed:
    found = fault(mutation, limits)
    if found is None:
        return mutation
    return _malformed(mutation.n, msgspec.to_builtins(mutation), found)


def _malformed(n: int, parts: dict[str, Any], found: str) -> Malformed:
    """Keep all that was sent, in one order of keys, so that a repeat is known as such."""
    collection, record_id, tx = (_name(parts.get(key)) for key in ("collection", "id", "tx"))
    payload = _payload(parts)
    message = found.encode(errors="replace").decode()
    return Malformed(n, collection or "", record_id or "", message, payload, tx, _asked(parts))


def _asked(parts: dict[str, Any]) -> bytes:
    """Return what the mutation is known by when it is sent again, whole or with other neighbours.

    For one that is well-typed this is what `mutation.digest` hashes.
    """
    asked = [parts.get(name, missing) for name, missing in _ASKED.items()]
    try:
        return _CANONICAL.encode(asked)
    except (ValueError, TypeError, RecursionError):
        return _payload(dict(zip(_ASKED, asked, strict=True)))


def _payload(parts: dict[str, Any]) -> bytes:
    try:
        return json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()
    except RecursionError:
        shallow = {key: value for key, value in parts.items() if not isinstance(value, dict | list)}
        return _CANONICAL.encode(shallow)


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and _is_name(value) else None


def _is_name(text: str) -> bool:
    return len(text) <= NAME_CHARACTERS_MAX and text.isprintable()


def _names(mutation: Mutation) -> list[str]:
    names = [mutation.op, mutation.collection, mutation.id, *mutation.set, *mutation.do, *mutation.was]
    if mutation.tx is not None:
        names.append(mutation.tx)
    if mutation.by is not None:
        names.append(mutation.by)
    if isinstance(mutation.base, dict):
        names += mutation.base
    return [*names, *mutation.context, *mutation.closes]


def _numbers(mutation: Mutation) -> list[int]:
    numbers = [mutation.rev]
    if isinstance(mutation.base, int):
        numbers.append(mutation.base)
    else:
        numbers += mutation.base.values()
    for vector in mutation.context.values():
        numbers += [*vector, *vector.values()]
    for dots in mutation.closes.values():
        numbers += [number for dot in dots for number in dot]
    return numbers


def _is_shallow(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > 0 and all(_is_shallow(part, depth - 1) for part in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_shallow(part, depth - 1) for part in value)
    return True


def _without_long_tx(mutations: tuple[Mutation | Malformed, ...], limit: int) -> tuple[Mutation | Malformed, ...]:
    """Make the mutations of a tx beyond the limit malformed, all of them: none is carried out."""
    if len(mutations) <= limit:
        return mutations
    kept: list[Mutation | Malformed] = []
    for tx, members in groupby(mutations, _tx):
        run = list(members)
        if tx is not None and len(run) > limit:
            found = f"the tx {tx} has more than {limit} mutations"
            run = [_malformed(m.n, msgspec.to_builtins(m), found) if isinstance(m, Mutation) else m for m in run]
        kept += run
    return tuple(kept)
