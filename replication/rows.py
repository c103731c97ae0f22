"""What a settled group leaves behind, as plain rows: the output of the hub.

The hub decides and numbers; whoever called it writes these down, all in one transaction, and only
then answers. `commit_seq` is the last seq of the commit a row belongs to: pages of a pull end
only there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from replication.mutation import Mutation
from replication.record import Record
from replication.verdict import Conflict, ConflictState, Malformed, MutationVerdict
from replication.versions import Dot

Key = tuple[str, str]
"""Collection and record id."""


class CellChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One cell of a change, for the record's history; `authority` where it is another than the change's."""

    verdict: str
    value: Any
    dot: Dot
    rule: str | None = None
    authority: str | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one mutation did to one record: an entry of the change log.

    `state` is the record's whole visible state after it, which a put or an enter carries.
    """

    seq: int
    commit_seq: int
    priority: str
    collection: str
    record_id: str
    op: str
    dot: Dot
    tx: str | None
    person: str
    authority: str
    at: int | None
    cells: dict[str, CellChange]
    state: dict[str, Any]


class FeedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of one reader's feed. A reader is a person, or "all"."""

    reader: str
    priority: str
    seq: int
    commit_seq: int
    op: str
    collection: str
    record_id: str


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict of one mutation, kept to be given again; the payload where it did not all land."""

    dot: Dot
    hash: bytes
    verdict: MutationVerdict
    payload: Mutation | Malformed | None
    person: str
    seq: int


class ConflictRow(msgspec.Struct, frozen=True):
    """A conflict entry and the seq under which it was made."""

    seq: int
    entry: Conflict


class ConflictUpdate(msgspec.Struct, frozen=True):
    """A conflict that a later write ended: the new state and who ended it."""

    id: str
    state: ConflictState
    by: Dot


class HeldRow(msgspec.Struct, frozen=True, kw_only=True):
    """A mutation that a person has to look at before it is judged. Its payload is in the ledger.

    `schema` is the catalogue version that its writer went by, `time` when it was made as far as the
    hub can tell (ms since 1970). Its tx begins with number `first` and has `size` mutations, all of
    them held; without a tx it is alone.
    """

    dot: Dot
    first: int
    size: int
    collection: str
    record_id: str
    op: str
    code: str
    schema: int
    time: int


class HeldUpdate(msgspec.Struct, frozen=True):
    """A held mutation that was released: under which dot it was judged, and which person let it be."""

    dot: Dot
    by: Dot
    person: str


class Remembered(msgspec.Struct, frozen=True):
    """The answer kept under an idempotency key, and the hash of the request it answers."""

    key: str
    request_hash: bytes
    verdicts: tuple[MutationVerdict | msgspec.Raw, ...]


class Effects(msgspec.Struct):
    """All rows of one tenant's part of a group, in hub order. Filled by the hub."""

    records: dict[Key, Record] = {}
    changes: list[Change] = []
    feed: list[FeedRow] = []
    ledger: list[LedgerRow] = []
    conflicts: list[ConflictRow] = []
    updates: list[ConflictUpdate] = []
    held: list[HeldRow] = []
    released: list[HeldUpdate] = []
    remembered: list[Remembered] = []
