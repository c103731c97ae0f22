"""One commit: a tx, or one mutation without. What it does, and the rows it leaves.

A tx is atomic in structure: if one of its mutations cannot be meant, none is carried out. Lost
conflicts, scope and authority are judged for each cell and never refuse a tx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from replication import existence, fold, rows, scope, validity
from replication.actor import Actor, Outcome
from replication.merge import Place
from replication.mutation import Hold, Mutation, Trouble, digest
from replication.record import ALIVE, Record, fields
from replication.state import PRIORITIES, SEQUENTIAL, Replica, Settled, State, Submission
from replication.verdict import KEEPS, MOVES, CellVerdict, Malformed, MutationVerdict, gravest
from replication.versions import Dot

if TYPE_CHECKING:
    from replication.rows import Key


def digest_of(mutation: Mutation | Malformed) -> bytes:
    """Return the hash by which a re-sent mutation is known."""
    return digest(mutation) if isinstance(mutation, Mutation) else mutation.digest()


def not_judged(state: State, mutation: Mutation | Malformed, why: Trouble | Hold) -> MutationVerdict:
    """Return the verdict of a mutation that was not carried out: refused, or held for a person."""
    return MutationVerdict(
        n=mutation.n,
        verdict="held" if isinstance(why, Hold) else "refused",
        schema=state.catalog.version,
        collection=mutation.collection,
        id=mutation.id,
        rev=state.record((mutation.collection, mutation.id)).rev,
        code=why.code,
        message=why.message,
    )


class Commit:
    """One commit: a tx, or one mutation. Its rows get their `commit_seq` when it is complete."""

    def __init__(self, state: State, submission: Submission, replica: Replica) -> None:
        self.state = state
        self.submission = submission
        self.replica = replica
        self.by_device = replica.kind in SEQUENTIAL or submission.released is not None
        self.served = max(submission.served, replica.served, state.restored_to) if submission.numbered else state.seq
        self.first = None if submission.released is None else replica.applied + 1
        self.changes: list[rows.Change] = []
        self.feed: list[rows.FeedRow] = []

    def judge(self, run: list[Mutation | Malformed]) -> list[MutationVerdict]:
        """Judge the run, and give its rows to the state."""
        self.state.tentative.begin()
        self.state.memberships.tentative.begin()
        verdicts = self._together(run) if run[0].tx is not None else [self._alone(run[0])]
        if self.submission.ends is not None and not any(_keeps(verdict) for verdict in verdicts):
            entry, settled = self.submission.ends
            self._end(entry, Dot(self.replica.rid, run[-1].n), settled=settled)
        if not all(map(_is_refused_whole, verdicts)):
            self._let_go(run)
        self._commit()
        return verdicts

    def _alone(self, mutation: Mutation | Malformed) -> MutationVerdict:
        before = _Checkpoint(self.state, self.replica)
        found = self._judged(mutation)
        if isinstance(found, MutationVerdict):
            return self._keep(mutation, found)
        if isinstance(found, Hold):
            before.restore(self.state, self.replica)
            self.changes, self.feed = [], []
        return self._turn_away(mutation, found, (mutation.n, 1))

    def _let_go(self, run: list[Mutation | Malformed]) -> None:
        """Note that what a person released waits no more: all of it, for a tx is one."""
        for dot, mutation in zip(self.submission.lets_go, run, strict=False):
            by = Dot(self.replica.rid, mutation.n)
            self.state.effects.released.append(rows.HeldUpdate(dot, by, self.submission.releaser))
            self.state.waiting.discard(dot)
            self.state.held.discard((mutation.collection, mutation.id))

    def _judged(self, mutation: Mutation | Malformed) -> MutationVerdict | Trouble | Hold:
        """Judge one mutation. A mistake of ours must not stop all that comes after it: a person looks at it."""
        try:
            ready = self._examine(mutation)
            return self._settle(ready) if isinstance(ready, validity.Prepared) else ready
        except Exception as fault:
            if not self.submission.numbered:
                raise
            self.state.faults.append(fault)
            return Hold("held_fault", "it could not be judged, which is a mistake of the server; nothing of it is lost")

    def _together(self, run: list[Mutation | Malformed]) -> list[MutationVerdict]:
        """Carry out a tx, each mutation after those before it; take all back if one cannot be meant."""
        before = _Checkpoint(self.state, self.replica)
        outcomes = [self._attempt(mutation) for mutation in run]
        culprit = _first(run, outcomes, Trouble) or _first(run, outcomes, Hold)
        if culprit is None:
            return [outcome for outcome in outcomes if isinstance(outcome, MutationVerdict)]
        before.restore(self.state, self.replica)
        self.changes, self.feed = [], []
        whole = _tx_refused(culprit[0]) if isinstance(culprit[1], Trouble) else _tx_held(culprit[0])
        own = [outcome if isinstance(outcome, type(whole)) else whole for outcome in outcomes]
        tx = run[0].n, len(run)
        return [self._turn_away(mutation, why, tx) for mutation, why in zip(run, own, strict=True)]

    def _attempt(self, mutation: Mutation | Malformed) -> MutationVerdict | Trouble | Hold:
        """Settle one mutation of a tx. That a merged value outgrows its field shows only when it is made."""
        found = self._judged(mutation)
        if isinstance(found, Hold) and isinstance(mutation, Mutation) and mutation.op == "create":
            self.state.held.add((mutation.collection, mutation.id))
        if not isinstance(found, MutationVerdict):
            return found
        verdict = self._keep(mutation, found)
        cells = verdict.cells.items()
        outgrown = next((f"{name}: {cell.message}" for name, cell in cells if cell.code == "invalid"), None)
        return Trouble("invalid", outgrown) if outgrown is not None else verdict

    # Whether it can be judged.

    def _examine(self, mutation: Mutation | Malformed) -> validity.Prepared | Trouble | Hold:
        if isinstance(mutation, Malformed):
            return Trouble(mutation.code, mutation.message)
        if mutation.by is not None and mutation.by not in self.submission.persons:
            return Trouble("unknown_person", f"`by` names {mutation.by}, not enrolled here")
        if self.submission.rescue and self.replica.fenced:
            return Hold("held_fenced", "the device was revoked; a person decides what becomes of this")
        ready = validity.prepare(mutation, self.state.catalog)
        if self._fitted_before(mutation, ready):
            written, present = self.submission.schema, self.state.catalog.version
            return Hold("held_schema", f"it fits catalogue version {written} and not the present one, {present}")
        return ready if isinstance(ready, Trouble) else self._structure(ready)

    def _fitted_before(self, mutation: Mutation, ready: validity.Prepared | Trouble) -> bool:
        """Whether what is wrong with the mutation was right by the catalogue that its writer went by."""
        older = self.state.older.get(self.submission.schema)
        if older is None or (isinstance(ready, validity.Prepared) and not ready.bad):
            return False
        before = validity.prepare(mutation, older)
        if isinstance(before, Trouble):
            return False
        return isinstance(ready, Trouble) or bool(ready.bad.keys() - before.bad.keys())

    def _structure(self, ready: validity.Prepared) -> validity.Prepared | Trouble | Hold:
        """Look at what the mutation presupposes: that its record and its parent are there."""
        mutation, record = ready.mutation, self.state.record(ready.key)
        if mutation.op != "create" and not record.exists:
            missing = f"no {mutation.collection} {mutation.id} is known"
            return self._wait_for(ready.key) or Trouble("unknown_record", missing)
        if mutation.op in ("create", "set") and self._knew_deleted(record, ready):
            return Trouble("record_deleted", "the record was deleted and the writer knew it")
        if mutation.tx is not None and ready.bad:
            return next(iter(ready.bad.values()))
        return self._missing_parent(ready) or ready

    def _wait_for(self, key: Key) -> Hold | None:
        """Return why to wait for a record whose create waits; only what a device sends waits, others are told."""
        if key not in self.state.held or not self.submission.numbered:
            return None
        return Hold("held_before", f"{key[0]} {key[1]} is made by a mutation that is held")

    def _knew_deleted(self, record: Record, ready: validity.Prepared) -> bool:
        dead = record.cells.get(ALIVE)
        if dead is None or dead.value is True:
            return False
        return existence.saw(ALIVE, dead, ready, self._actor(ready, record))

    def _missing_parent(self, ready: validity.Prepared) -> Trouble | Hold | None:
        for name in self.state.catalog.parents(ready.mutation.collection):
            cell = ready.collection.cell_of(name)
            draft = ready.drafts.get(cell)
            if draft is None:
                continue
            target = draft.value.get(name) if ready.collection.cells[cell].is_group else draft.value
            if target is None:
                continue
            key = (ready.collection.fields[name].to, str(target))
            if not self.state.record(key).exists:
                return self._wait_for(key) or Trouble("missing_parent", f"{name} names {key[0]} {key[1]}, not known")
        return None

    # What it does.

    def _settle(self, ready: validity.Prepared) -> MutationVerdict:
        """Fold the mutation into its record and note what follows from it."""
        state, mutation = self.state, ready.mutation
        before = state.record(ready.key)
        hub = state.replicas[state.hub_rid]
        hub_dot = Dot(hub.rid, hub.applied + 1)
        catalog = state.catalog
        place = Place(
            ready.collection, mutation.id, state.seq + 1, hub_dot, catalog.version, catalog.siblings, state.proof
        )
        outcome = fold.fold(before, ready, self._actor(ready, before), place)
        if any(cell.dot == hub_dot for cell in outcome.cells.values()):
            hub.applied += 1
        if outcome.record is not before:
            state.tentative.put(state.records, ready.key, outcome.record)
            state.tentative.put(state.effects.records, ready.key, outcome.record)
        if outcome.moved:
            state.seq += 1
            self._travel(ready, before, outcome)
        self._conflicts(ready, outcome)
        return self._verdict(ready, outcome)

    def _actor(self, ready: validity.Prepared, record: Record) -> Actor:
        mutation = ready.mutation
        person, dot = mutation.by or self.submission.person, Dot(self.replica.rid, mutation.n)
        held = self._released_as(dot)
        return Actor(
            dot=dot,
            person=person,
            authority=self.submission.authority,
            relations=self._relations(ready, record, person),
            chain=dot if self.replica.kind in SEQUENTIAL else held,
            along=None if self.first is None else Dot(dot.rid, self.first),
            served=self.served,
            restored_to=self.state.restored_to,
            at=mutation.at,
            time=self._time(mutation),
            authorities=self.submission.authorities.get(mutation.collection, {}),
            held=held,
        )

    def _released_as(self, dot: Dot) -> Dot | None:
        """Return under which number the mutation was held that is now judged under this one."""
        released = self.submission.released
        if released is None or self.first is None:
            return None
        return Dot(released.rid, released.n + dot.n - self.first)

    def _time(self, mutation: Mutation) -> int:
        """Return when the mutation was made, in the hub's time: not before the one before it, not after now."""
        submission = self.submission
        if not submission.numbered or mutation.at is None:
            return submission.received
        return max(self.replica.clock, min(mutation.at + submission.offset, submission.received))

    def _relations(self, ready: validity.Prepared, record: Record, person: str) -> tuple[str, ...]:
        """Return what the person is to the record; nothing means out of scope."""
        if self.submission.authority != "device" or not self.by_device:
            return (self.submission.relation,)
        if not record.exists:
            return ("creator",)
        if ready.collection.is_for_all:
            return ("linked",)
        memberships = self.state.memberships
        today = scope.relations(memberships, ready.key, person)
        if today:
            return today
        held = scope.was_member(memberships, ready.key, person, ready.mutation.rev)
        return ("former",) if held else ()

    def _travel(self, ready: validity.Prepared, before: Record, outcome: Outcome) -> None:
        """Number the change and the enters and leaves that follow from it; fan them out."""
        state, mutation, after = self.state, ready.mutation, outcome.record
        creator = None
        if not before.exists and self.by_device:
            creator = mutation.by or self.submission.person
        seq = state.seq
        moves = scope.refresh(state.memberships, state.catalog, before, after, creator, seq)
        self.changes.append(self._change(ready, outcome, seq))
        entering = {person for person, key in moves.enters if key == ready.key}
        op = "enter" if not before.exists else outcome.op
        for reader in sorted(scope.readers(state.memberships, ready.key, ready.collection)):
            if reader not in entering:
                self._row(reader, op, ready.key, seq)
        for person, key in moves.enters:
            if state.record(key).alive:
                state.seq += 1
                self._row(person, "enter", key, state.seq)
        for person, key in moves.leaves:
            state.seq += 1
            self._row(person, "leave", key, state.seq)

    def _change(self, ready: validity.Prepared, outcome: Outcome, seq: int) -> rows.Change:
        mutation, after = ready.mutation, outcome.record
        other = self.submission.authorities.get(mutation.collection, {})
        cells = {
            name: rows.CellChange(told.verdict, after.cells[name].value, dot, told.rule, other.get(name))
            for name, told in outcome.cells.items()
            if (dot := told.dot) is not None and name in after.cells and told.verdict in MOVES
        }
        return rows.Change(
            seq=seq,
            commit_seq=0,
            priority=ready.collection.priority,
            collection=after.collection,
            record_id=after.id,
            op=outcome.op,
            dot=Dot(self.replica.rid, mutation.n),
            tx=mutation.tx,
            person=mutation.by or self.submission.person,
            authority=self.submission.authority,
            at=mutation.at,
            cells=cells,
            state=fields(after, ready.collection),
        )

    def _row(self, reader: str, op: str, key: Key, seq: int) -> None:
        priority = self.state.catalog.collections[key[0]].priority
        self.feed.append(
            rows.FeedRow(
                reader=reader,
                priority=priority,
                seq=seq,
                commit_seq=0,
                op=op,
                collection=key[0],
                record_id=key[1],
            )
        )

    def _conflicts(self, ready: validity.Prepared, outcome: Outcome) -> None:
        effects, seq = self.state.effects, self.state.seq
        effects.conflicts += [rows.ConflictRow(seq, entry) for entry in outcome.conflicts]
        dot = Dot(self.replica.rid, ready.mutation.n)
        for entry in outcome.closed:
            self._end(entry, dot, settled=True)

    def _end(self, entry: str, by: Dot, *, settled: bool) -> None:
        """Note that a conflict has ended: settled, or undone. What is said last counts."""
        updates = self.state.effects.updates
        updates[:] = [each for each in updates if (each.id, each.by.rid) != (entry, by.rid)]
        updates.append(rows.ConflictUpdate(entry, "settled" if settled else "undone", by))

    def _verdict(self, ready: validity.Prepared, outcome: Outcome) -> MutationVerdict:
        mutation = ready.mutation
        seqs = [cell.seq for cell in outcome.cells.values()]
        self.replica.served = max([self.replica.served, *seqs])
        clamped = self.submission.numbered and _highest_base(mutation) > self.served
        alone = next(iter(outcome.cells.values())) if len(outcome.cells) == 1 else CellVerdict(verdict="converged")
        return MutationVerdict(
            n=mutation.n,
            verdict=gravest(cell.verdict for cell in outcome.cells.values()),
            schema=self.state.catalog.version,
            collection=mutation.collection,
            id=mutation.id,
            rev=outcome.record.rev,
            cells=outcome.cells,
            code=alone.code or ("base_clamped" if clamped else None),
            message=alone.message,
            fields=fields(outcome.record, ready.collection) if self.submission.want_fields else msgspec.UNSET,
        )

    def _turn_away(self, mutation: Mutation | Malformed, why: Trouble | Hold, tx: tuple[int, int]) -> MutationVerdict:
        """Keep a mutation that is not carried out: refused, or held until a person has looked at its tx."""
        if isinstance(why, Hold) and isinstance(mutation, Mutation):
            mutation = _clamped(mutation, self.served)
            self.state.effects.held.append(
                rows.HeldRow(
                    dot=Dot(self.replica.rid, mutation.n),
                    first=tx[0],
                    size=tx[1],
                    collection=mutation.collection,
                    record_id=mutation.id,
                    op=mutation.op,
                    code=why.code,
                    schema=self.submission.schema,
                    time=self._time(mutation),
                )
            )
            self.state.waiting.add(Dot(self.replica.rid, mutation.n))
            if mutation.op == "create":
                self.state.held.add((mutation.collection, mutation.id))
        return self._keep(mutation, not_judged(self.state, mutation, why))

    def _keep(self, mutation: Mutation | Malformed, verdict: MutationVerdict) -> MutationVerdict:
        """Advance the counter and the replica's clock, and keep the verdict, whatever it is."""
        self.replica.applied = mutation.n
        if self.submission.numbered and isinstance(mutation, Mutation) and mutation.at is not None:
            self.replica.clock = self._time(mutation)
        dot = Dot(self.replica.rid, mutation.n)
        kept = _keeps(verdict)
        hashed = digest_of(mutation)
        self.state.ledger[dot] = Settled(hashed, verdict)
        self.state.effects.ledger.append(
            rows.LedgerRow(
                dot=dot,
                hash=hashed,
                verdict=verdict,
                payload=mutation if kept else None,
                person=getattr(mutation, "by", None) or self.submission.person,
                seq=self.state.seq,
            )
        )
        return verdict

    def _commit(self) -> None:
        """Give the run's rows the seq of its end and the class of the most urgent record it tells of."""
        if not self.changes:
            return
        end = self.state.seq
        classes = {row.priority for row in self.changes} | {row.priority for row in self.feed}
        urgent = min(classes, key=PRIORITIES.index)
        stamp = msgspec.structs.replace
        effects = self.state.effects
        effects.changes += [stamp(row, commit_seq=end, priority=urgent) for row in self.changes]
        effects.feed += [stamp(row, commit_seq=end, priority=urgent) for row in self.feed]


class _Checkpoint:
    """What a tx may have to be taken back to: all of the state that judging it moves."""

    def __init__(self, state: State, replica: Replica) -> None:
        self.seq, self.hub = state.seq, state.replicas[state.hub_rid].applied
        self.applied, self.served, self.clock = replica.applied, replica.served, replica.clock
        effects = state.effects
        self.lengths = len(effects.ledger), len(effects.conflicts), len(effects.updates)
        self.waiting, self.held = set(state.waiting), set(state.held)

    def restore(self, state: State, replica: Replica) -> None:
        """Bring the state back; what the ledger says of the run is written over by its second judging."""
        state.seq, state.replicas[state.hub_rid].applied = self.seq, self.hub
        replica.applied, replica.served, replica.clock = self.applied, self.served, self.clock
        state.tentative.undo()
        state.memberships.tentative.undo()
        state.waiting, state.held = self.waiting, self.held
        ledger, conflicts, updates = self.lengths
        del state.effects.ledger[ledger:], state.effects.conflicts[conflicts:], state.effects.updates[updates:]


def _keeps(verdict: MutationVerdict) -> bool:
    """Whether not all of what was asked for came to be."""
    return verdict.verdict in KEEPS or any(cell.verdict in KEEPS for cell in verdict.cells.values())


def _first(
    run: list[Mutation | Malformed], outcomes: list[MutationVerdict | Trouble | Hold], kind: type[Trouble | Hold]
) -> tuple[int, Trouble | Hold] | None:
    """Return the number of the first mutation with such an outcome, and the outcome."""
    found = ((each.n, outcome) for each, outcome in zip(run, outcomes, strict=True) if isinstance(outcome, kind))
    return next(found, None)


def _clamped(mutation: Mutation, served: int) -> Mutation:
    """Return the mutation with no base above what its writer had been served."""
    if isinstance(mutation.base, int):
        return msgspec.structs.replace(mutation, base=min(mutation.base, served))
    base = {cell: min(seq, served) for cell, seq in mutation.base.items()}
    return msgspec.structs.replace(mutation, base=base)


def _is_refused_whole(verdict: MutationVerdict) -> bool:
    """Whether nothing of it was carried out: then what a person released goes on waiting."""
    return verdict.verdict == "refused" and all(cell.verdict == "refused" for cell in verdict.cells.values())


def _tx_held(culprit: int) -> Hold:
    return Hold("held_tx", f"mutation {culprit} of the same tx is held")


def _tx_refused(culprit: int) -> Trouble:
    return Trouble("tx_refused", f"mutation {culprit} of the same tx was refused")


def _highest_base(mutation: Mutation) -> int:
    if isinstance(mutation.base, int):
        return mutation.base
    return max(mutation.base.values(), default=0)
