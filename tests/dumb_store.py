"""A store in memory that keeps what a database would keep, and loads no more than is asked for.

Everything goes through bytes, so that nothing can survive from one group to the next by being the
same object. What `hub.needs` does not name is not there: a rule that looks further than it says
finds nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from replication import hub, rows
from replication.catalog import Catalog
from replication.memberships import Edge, Interval, Key, Memberships
from replication.record import Record
from replication.state import Answer, Replica, Settled, State, Submission
from replication.verdict import MutationVerdict
from replication.versions import Dot, Vector

_RECORD = msgspec.msgpack.Decoder(Record)
_VERDICT = msgspec.json.Decoder(MutationVerdict)


class Store:
    """One tenant. `group` is one database transaction."""

    def __init__(self, catalog: Catalog, kinds: dict[int, str], hub_rid: int) -> None:
        self.catalog = catalog
        self.hub_rid = hub_rid
        self.seq = 0
        self.replicas = {rid: Replica(rid, kind) for rid, kind in kinds.items()}
        self.records: dict[Key, bytes] = {}
        self.intervals: dict[Key, dict[tuple[str, int], Interval]] = {}
        self.edges: set[Edge] = set()
        self.ledger: dict[Dot, tuple[bytes, bytes, rows.LedgerRow]] = {}
        self.remembered: dict[str, rows.Remembered] = {}
        self.older: dict[int, Catalog] = {}
        self.held: dict[Dot, rows.HeldRow] = {}
        self.proof: Vector = {}
        self.restored_to = 0
        self.changes: list[rows.Change] = []
        self.feed: list[rows.FeedRow] = []
        self.conflicts: list[rows.ConflictRow] = []
        self.updates: list[rows.ConflictUpdate] = []

    def group(self, submissions: Sequence[Submission]) -> list[Answer]:
        """Load what these submissions need, judge them in order, keep what came of it."""
        state = self._load(submissions)
        answers = [hub.judge(state, submission) for submission in submissions]
        self._save(state)
        return answers

    # What happens to the hub as a whole. None of it may stand in the middle of a group.

    def publish(self, catalog: Catalog) -> None:
        """Let another catalogue hold from now on."""
        self.older[self.catalog.version] = self.catalog
        self.catalog = catalog

    def fence(self, rid: int) -> None:
        """Take nothing more from a replica."""
        self.replicas[rid].fenced = True

    def prove(self, proof: Vector) -> None:
        """Take it as proven up to where vectors are needed no more."""
        self.proof = dict(proof)

    def back_up(self) -> Store:
        """Return a backup. What is kept is never changed in place, so that containers are all there is to copy."""
        twin = copy.copy(self)
        for name, kept in vars(self).items():
            if isinstance(kept, dict | list | set):
                setattr(twin, name, kept.copy())
        twin.replicas = {rid: msgspec.structs.replace(each) for rid, each in self.replicas.items()}
        twin.intervals = {key: dict(each) for key, each in self.intervals.items()}
        return twin

    def restore(self, backup: Store) -> None:
        """Be put back to a backup. What was given out since is not given out again, and who is fenced stays so."""
        seq, replicas = self.seq, self.replicas
        self.__dict__.update(backup.back_up().__dict__)
        self.restored_to, self.seq, self.proof = self.seq, seq, {}
        for rid, replica in replicas.items():
            mine = self.replicas[rid]
            mine.fenced = replica.fenced
            if replica.kind != "device":
                mine.applied = max(mine.applied, replica.applied)

    def record(self, key: Key) -> Record | None:
        """Return a record as it is kept."""
        return _RECORD.decode(self.records[key]) if key in self.records else None

    def verdict(self, dot: Dot) -> MutationVerdict:
        """Return a verdict as it was given first."""
        return _VERDICT.decode(self.ledger[dot][1])

    def content(self) -> list[object]:
        """Return all that is kept, in a form that can be compared."""
        ledger = {dot: (digest, verdict) for dot, (digest, verdict, _) in self.ledger.items()}
        replicas = [msgspec.structs.astuple(each) for each in self.replicas.values()]
        records = {key: _RECORD.decode(each) for key, each in self.records.items()}
        intervals = {key: dict(each) for key, each in self.intervals.items() if each}
        logs = [self.changes, self.feed, self.conflicts, self.updates, self.held]
        return [self.seq, replicas, records, intervals, self.edges, ledger, *logs]

    def _load(self, submissions: Sequence[Submission]) -> State:
        state = State(
            seq=self.seq,
            hub_rid=self.hub_rid,
            catalog=self.catalog,
            replicas={rid: msgspec.structs.replace(each) for rid, each in self.replicas.items()},
            records={},
            memberships=Memberships(),
            remembered=dict(self.remembered),
            older=self.older,
            held={(row.collection, row.record_id) for row in self.held.values() if row.op == "create"},
            waiting=set(self.held),
            proof=self.proof,
            restored_to=self.restored_to,
        )
        wanted = [hub.needs(submission, self.catalog) for submission in submissions]
        named = set().union(*(each.records | each.walk for each in wanted))
        walked = set().union(*(each.walk for each in wanted))
        below = self._below(walked)
        above = {edge.giver for edge in self.edges if edge.kind == "parent" and edge.taker in walked}
        for key in named | below:
            if key in self.records:
                state.records[key] = _RECORD.decode(self.records[key])
        self._load_memberships(state.memberships, named, below, above)
        for dot in set().union(*(each.ledger for each in wanted)) & self.ledger.keys():
            digest, verdict, _ = self.ledger[dot]
            state.ledger[dot] = Settled(digest, msgspec.Raw(verdict))
        return state

    def _load_memberships(self, memberships: Memberships, named: set[Key], below: set[Key], above: set[Key]) -> None:
        for key in named | below | above:
            for interval in self.intervals.get(key, {}).values():
                if interval.to_seq is None or key in named:
                    memberships.load(key, interval)
        for edge in self.edges:
            if edge.giver in below:
                memberships.load_edge(edge)

    def _below(self, start: Iterable[Key]) -> set[Key]:
        """Return these records and all that they give to, as far as edges go."""
        found, ahead = set(start), set(start)
        while ahead:
            ahead = {edge.taker for edge in self.edges if edge.giver in ahead} - found
            found |= ahead
        return found

    def _save(self, state: State) -> None:
        self.seq, self.replicas = state.seq, state.replicas
        effects, dirty = state.effects, state.memberships.dirty
        for key, record in effects.records.items():
            self.records[key] = msgspec.msgpack.encode(record)
        for (key, scope_key, from_seq), interval in dirty.intervals.items():
            self.intervals.setdefault(key, {})[scope_key, from_seq] = interval
        self.edges |= set(dirty.added)
        self.edges -= set(dirty.removed)
        for row in effects.ledger:
            self.ledger[row.dot] = row.hash, msgspec.json.encode(row.verdict), row
        self.held |= {row.dot: row for row in effects.held}
        for update in effects.released:
            del self.held[update.dot]
        self.remembered |= {each.key: each for each in effects.remembered}
        self.changes += effects.changes
        self.feed += effects.feed
        self.conflicts += effects.conflicts
        self.updates += effects.updates


def verdicts_of(answer: Answer) -> Iterator[MutationVerdict]:
    """Yield the verdicts of an answer as the wire would give them."""
    for each in answer.verdicts:
        yield _VERDICT.decode(msgspec.json.encode(each))
