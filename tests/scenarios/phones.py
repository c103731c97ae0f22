"""A person's device: its copies, what waits for an answer, what was answered, and how far it has pulled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from replication import device

if TYPE_CHECKING:
    from replication.mutation import Mutation
    from replication.record import Record
    from replication.rows import Change, FeedRow
    from replication.verdict import MutationVerdict

Key = tuple[str, str]


class Phone:
    """The real device half for all records of one device; only storage and wires are left out.

    `schema` is the catalogue version it goes by. `skew_ms` is how far its clock is ahead.
    """

    def __init__(self, rid: int, person: str, schema: int, layout: Callable[[int, str], device.Layout]) -> None:
        self.rid = rid
        self.person = person
        self.schema = schema
        self.skew_ms = 0
        self.position = 0
        self.tx: str | None = None
        self.outbox: list[Mutation] = []
        self._copies: dict[Key, device.Copy] = {}
        self._answered: list[Mutation] = []
        self._layout = layout
        self._n = 0

    def edit(self, key: Key, act: device.Act) -> None:
        """Put an edit on top of a copy and into the outbox."""
        self._n += 1
        self._copies[key], mutation = device.edit(self._copy(key), self._of(key), act, self._n)
        self.outbox.append(mutation)

    def view(self, key: Key) -> dict[str, Any] | None:
        """Return what the screen shows of a record; None if it is not there."""
        copy = self._copy(key)
        return None if copy.gone else device.view(copy, self._of(key))

    def to_send(self, count: int | None) -> tuple[Mutation, ...]:
        """Return what waits for an answer, or the first few of it, as it goes out on a working day."""
        return tuple(device.as_sent(mutation, contexts=False) for mutation in self.outbox[:count])

    def to_send_again(self, applied: int) -> tuple[Mutation, ...]:
        """Return all that a restored hub does not know any more, with what was seen of each cell."""
        return tuple(mutation for mutation in (*self._answered, *self.outbox) if mutation.n > applied)

    def answered(self, verdicts: list[MutationVerdict]) -> None:
        """Take verdicts, of waiting edits and of those that were sent again."""
        for verdict in verdicts:
            sent = next(each for each in (*self.outbox, *self._answered) if each.n == verdict.n)
            key = (sent.collection, sent.id)
            self._copies[key] = device.settle(self._copy(key), self._of(key), sent, verdict)
        told = {verdict.n for verdict in verdicts}
        self._answered += [mutation for mutation in self.outbox if mutation.n in told]
        self.outbox = [mutation for mutation in self.outbox if mutation.n not in told]

    def deliver(self, row: FeedRow, newest: Change, record: Record) -> None:
        """Take one row of the feed."""
        key = (row.collection, row.record_id)
        copy, layout = self._copy(key), self._of(key)
        match row.op:
            case "leave":
                self._copies[key] = device.leave(copy, row.commit_seq)
            case "delete":
                self._copies[key] = device.delete(copy, newest.seq, row.commit_seq)
            case _:
                versions = {name: (cell.stamp.dot, cell.vv) for name, cell in record.cells.items()}
                self._copies[key] = device.put(copy, layout, newest.seq, newest.state, row.commit_seq, versions)

    def restart(self, position: int) -> None:
        """Go on in the epoch of a hub that was restored to this position."""
        self._copies = {key: device.restart(copy, position) for key, copy in self._copies.items()}
        self.outbox = [device.rebase(mutation, position) for mutation in self.outbox]
        self._answered = [device.rebase(mutation, position) for mutation in self._answered]
        self.position = min(self.position, position)

    def _copy(self, key: Key) -> device.Copy:
        return self._copies.get(key) or device.Copy(*key)

    def _of(self, key: Key) -> device.Layout:
        return self._layout(self.schema, key[0])
