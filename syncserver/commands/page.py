"""A page of what a replica has not been told yet: the next commits, or a part of a snapshot.

The feed has a part for each class of priority and each of private and shared. A page takes the most
urgent class first and within a class keeps the order of commits. It ends at the end of a commit.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec

from replication import cursor, wire
from replication.catalog import PRIORITIES
from replication.cursor import PRIVATE, SHARED, Cursor, Snapshot
from replication.scope import EVERYBODY
from syncserver.commands.errors import NoCatalogue
from syncserver.commands.versions import Versions
from syncserver.store import feed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from syncserver.store.db import Connection

LIMIT: Final = 500
BYTES: Final = 1_000_000
ROW_BYTES: Final = 150
"""What a change costs on the wire beside its fields, roughly."""


class Reader(msgspec.Struct, frozen=True):
    """On whose behalf is read: the replica, and the person it acts for."""

    tenant_id: int
    rid: int
    person: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """How much is wanted, within the limits that devices are told; of nothing, one is wanted."""

    limit: int | None = None
    max_bytes: int | None = None
    wait_ms: int = 0
    versions: bool = False

    @property
    def rows(self) -> int:
        """Return how many changes a page may have."""
        return max(1, self.limit or LIMIT)

    @property
    def bytes(self) -> int:
        """Return how large a page may be; one commit is always sent."""
        return max(1, self.max_bytes or BYTES)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What the replica is told, and the cursor to seal.

    A class is complete when nothing of it was left to tell at the moment the page stands for.
    """

    commits: tuple[wire.Commit, ...]
    cursor: Cursor
    more: bool
    complete: dict[str, bool]
    applied: int
    durable: int = 0


async def after(connection: Connection, reader: Reader, asked: Asked, head: feed.Head, at: Cursor) -> Page:
    """Return the page that follows a cursor. All of it is read in the caller's transaction."""
    if at.snapshot is not None:
        return await _Snapshot(connection, reader, asked, head, at.snapshot).page(at)
    return await _feed_page(connection, reader, asked, head, at)


async def _feed_page(connection: Connection, reader: Reader, asked: Asked, head: feed.Head, at: Cursor) -> Page:
    """Return the next commits. One that is larger than a page is sent whole all the same."""
    parts = list(_parts(reader, at))
    limit = asked.rows
    while True:
        rows = await feed.page(connection, reader.tenant_id, parts, limit + 1)
        commits = [list(commit) for _, commit in groupby(rows, lambda row: (row.priority, row.commit_seq))]
        if len(rows) <= limit:
            break
        if len(commits) > 1:
            commits.pop()  # perhaps not all of it was read
            break
        limit *= 4
    versions = Versions(head.catalog) if asked.versions else None
    if versions is not None:
        await versions.read(connection, reader.tenant_id, (row.key for row in rows if row.state is not None))
    taken = list(_within(commits, asked.bytes, versions))
    told = sum(map(len, taken))
    waiting = rows[told].priority if told < len(rows) else len(PRIORITIES)
    positions = _positions(at, head.seq, waiting, taken[-1][-1] if taken else None)
    return Page(
        commits=tuple(_told(taken) if versions is None else map(versions.dressed, _told(taken))),
        cursor=msgspec.structs.replace(at, parts=positions, served=max(at.served, *positions.values())),
        more=told < len(rows),
        complete=_complete(waiting),
        applied=head.applied,
    )


def _complete(classes: int) -> dict[str, bool]:
    """Say which classes are complete: the most urgent ones, so many."""
    return {name: place < classes for place, name in enumerate(PRIORITIES)}


def _names() -> Iterator[tuple[str, int]]:
    """Yield the name of each part, and its class."""
    for priority, name in enumerate(PRIORITIES):
        yield cursor.part(name, PRIVATE), priority
        yield cursor.part(name, SHARED), priority


def _parts(reader: Reader, at: Cursor) -> Iterator[feed.Part]:
    for name, priority in _names():
        who = EVERYBODY if name.endswith(SHARED) else reader.person
        yield feed.Part(who, priority, at.parts.get(name, 0))


def _size(each: feed.Row | feed.Held, versions: Versions | None) -> int:
    """Return what a change costs in a page."""
    if each.state is None:
        return ROW_BYTES
    return ROW_BYTES + len(each.state) + (versions.size(each.key, each.rev) if versions is not None else 0)


def _within(commits: Iterable[list[feed.Row]], limit_bytes: int, versions: Versions | None) -> Iterator[list[feed.Row]]:
    """Yield the commits that fit, and the first in any case."""
    size = 0
    for place, commit in enumerate(commits):
        size += sum(_size(row, versions) for row in commit)
        if place > 0 and size > limit_bytes:
            return
        yield commit


def _positions(at: Cursor, newest: int, waiting: int, last: feed.Row | None) -> dict[str, int]:
    """Return the position in each part after a page.

    `waiting` is the most urgent class of which something is left, `last` the last row of the page.
    """
    stand = {}
    for part, priority in _names():
        stand[part] = newest if priority < waiting else at.parts.get(part, 0)
        if last is not None and priority == waiting == last.priority:
            stand[part] = last.commit_seq
    return stand


def _told(commits: Iterable[list[feed.Row]]) -> Iterator[wire.Commit]:
    """Yield the commits as they are told: of each record only the last put, none that is overtaken.

    A put that was lifted may come before the record's enter, which waits in a less urgent class. It
    carries the whole record, so it travels as the enter.
    """
    listed = list(commits)
    last: dict[tuple[str, str], int] = {}
    for row in (row for commit in listed for row in commit if row.state is not None and not row.overtaken):
        last[row.key] = max(row.seq, last.get(row.key, 0))
    for commit in listed:
        rows = [
            row for row in commit if not row.overtaken and (row.op != "put" or row.lifted or last[row.key] == row.seq)
        ]
        if rows:
            tx = next((row.tx for row in commit if row.tx is not None), None)
            yield wire.Commit(seq=commit[-1].commit_seq, changes=tuple(map(_change, rows)), tx=tx)


def _change(row: feed.Row) -> wire.Change:
    op = "enter" if row.op == "put" and row.lifted else row.op
    state = msgspec.UNSET if row.state is None else msgspec.Raw(row.state)
    return wire.Change(op=op, collection=row.key[0], id=row.key[1], rev=row.rev, fields=state)


class _Snapshot:
    """One page of everything in scope as it was at one number, in order of class, collection, id."""

    def __init__(
        self, connection: Connection, reader: Reader, asked: Asked, head: feed.Head, snapshot: Snapshot
    ) -> None:
        if head.catalog is None:
            raise NoCatalogue(f"tenant {reader.tenant_id} has no catalogue")
        self._connection = connection
        self._reader = reader
        self._asked = asked
        self._head = head
        self._catalog = head.catalog
        self._seq = snapshot.seq
        self._after = snapshot.after
        self._versions = Versions(head.catalog) if asked.versions else None
        self._held: list[feed.Held] = []
        self._bytes = 0

    async def page(self, at: Cursor) -> Page:
        """Read until the page is full or nothing is left; then the feed follows from that number."""
        order = sorted((PRIORITIES.index(each.priority), name) for name, each in self._catalog.collections.items())
        names = [name for _, name in order]
        waiting = len(PRIORITIES)
        for priority, name in order[names.index(self._after[0]) if self._after[0] else 0 :]:
            if not await self._read_to_end(name):
                waiting = priority
                break
        finished = waiting == len(PRIORITIES)
        return Page(
            commits=tuple(self._told()),
            cursor=msgspec.structs.replace(
                at,
                parts={part: self._seq for part, _ in _names()} if finished else {},
                served=max(at.served, self._seq),
                snapshot=None if finished else Snapshot(self._seq, self._after),
            ),
            more=not finished or self._head.seq > self._seq,
            complete=_complete(waiting),
            applied=self._head.applied,
        )

    async def _read_to_end(self, collection: str) -> bool:
        """Read what is left of a collection; False if the page was full before its end."""
        reader = EVERYBODY if self._catalog.collections[collection].is_for_all else self._reader.person
        last = self._after[1] if self._after[0] == collection else ""
        while (room := self._asked.rows - len(self._held)) > 0:
            stretch = feed.Stretch(collection, last, self._seq, room)
            found = await feed.snapshot(self._connection, self._reader.tenant_id, reader, stretch)
            if self._versions is not None:
                keys = (each.key for each in found if each.state is not None)
                await self._versions.read(self._connection, self._reader.tenant_id, keys)
            for each in found:
                size = _size(each, self._versions)
                if self._held and self._bytes + size > self._asked.bytes:
                    return False
                self._take(each, size)
            if len(found) < room:
                return True
            last = self._after[1]
        return False

    def _take(self, each: feed.Held, size: int) -> None:
        self._after = each.key
        if each.state is not None:
            self._held.append(each)
            self._bytes += size

    def _told(self) -> Iterator[wire.Commit]:
        """Yield the records of the page as one commit, if there are any."""
        if self._held:
            commit = wire.Commit(seq=self._seq, changes=tuple(map(_entered, self._held)))
            yield commit if self._versions is None else self._versions.dressed(commit)


def _entered(held: feed.Held) -> wire.Change:
    assert held.state is not None, "a record that is gone is not taken"
    fields = msgspec.Raw(held.state)
    return wire.Change(op="enter", collection=held.key[0], id=held.key[1], rev=held.rev, fields=fields)
