"""One commit: a tx, or one mutation without. What it does, and the rows it leaves.

A tx is atomic in structure: if one of its mutations cannot be meant, none is carried out. Lost
conflicts, scope and authority are judged for each cell and never refuse a tx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from replication import fold, rows, scope, validity
from replication.merge import Place
from replication.mutation import Mutation, Trouble, digest
from replication.record import ALIVE, Record, fields
from replication.state import PRIORITIES, SEQUENTIAL, Replica, Settled, State, Submission
from replication.verdict import KEEPS, MOVES, CellVerdict, Malformed, MutationVerdict, gravest
from replication.versions import Dot

if TYPE_CHECKING:
    from replication.rows import Key


def digest_of(mutation: Mutation | Malformed) -> bytes:
    """Return the hash by which a re-sent mutation is known."""
    return digest(mutation) if isinstance(mutation, Mutation) else mutation.digest()


def refused(state: State, mutation: Mutation | Malformed, trouble: Trouble) -> MutationVerdict:
    """Return the verdict of a mutation that was not carried out."""
    return MutationVerdict(
        n=mutation.n,
        verdict="refused",
        schema=state.catalog.version,
        collection=mutation.collection,
        id=mutation.id,
        rev=state.record((mutation.collection, mutation.id)).rev,
        code=trouble.code,
        message=trouble.message,
    )


class Commit:
    """One commit: a tx, or one mutation. Its rows get their `commit_seq` when it is complete."""

    def __init__(self, state: State, submission: Submission, replica: Replica) -> None:
        self.state = state
        self.submission = submission
        self.replica = replica
        self.sequential = replica.kind in SEQUENTIAL
        self.served = max(submission.served, replica.served) if submission.numbered else state.seq
        self.changes: list[rows.Change] = []
        self.feed: list[rows.FeedRow] = []

    def judge(self, run: list[Mutation | Malformed]) -> list[MutationVerdict]:
        """Judge the run: if one mutation of a tx cannot be meant, none of the tx is carried out.

        That a merged value outgrows its field shows only when it is made; then all is taken back.
        """
        prepared = [self._prepare(mutation) for mutation in run]
        troubles = self._troubles(prepared)
        before = _Checkpoint(self.state, self.replica) if _may_outgrow(prepared) else None
        verdicts = self._carry_out(run, prepared, troubles)
        outgrown = next(((i, said) for i, told in enumerate(verdicts) if (said := _invalid(told))), None)
        if before is not None and outgrown is not None:
            before.restore(self.state, self.replica)
            self.changes, self.feed = [], []
            troubles[outgrown[0]] = Trouble("invalid", outgrown[1])
            verdicts = self._carry_out(run, prepared, troubles)
        self._commit()
        return verdicts

    def _carry_out(
        self,
        run: list[Mutation | Malformed],
        prepared: list[validity.Prepared | Trouble],
        troubles: list[Trouble | None],
    ) -> list[MutationVerdict]:
        """Settle each mutation of the run, or refuse all of them if one is in trouble."""
        culprit = next((i for i, trouble in enumerate(troubles) if trouble is not None), None)
        verdicts = []
        for place, mutation in enumerate(run):
            ready, trouble = prepared[place], troubles[place]
            if culprit is not None and trouble is None:
                trouble = _tx_refused(run[culprit].n)
            if trouble is not None or isinstance(ready, Trouble):
                refusal = trouble or Trouble("bad_mutation", "not judged")
                verdicts.append(self._keep(mutation, refused(self.state, mutation, refusal)))
            else:
                verdicts.append(self._keep(mutation, self._settle(ready)))
        return verdicts

    def _prepare(self, mutation: Mutation | Malformed) -> validity.Prepared | Trouble:
        if isinstance(mutation, Malformed):
            return Trouble("bad_mutation", mutation.message)
        if mutation.by is not None and mutation.by not in self.submission.persons:
            return Trouble("unknown_person", f"`by` names {mutation.by}, not enrolled here")
        return validity.prepare(mutation, self.state.catalog)

    def _troubles(self, prepared: list[validity.Prepared | Trouble]) -> list[Trouble | None]:
        """Look at the run's structure alone, each mutation after those before it."""
        alive: dict[Key, bool] = {}
        found: list[Trouble | None] = []
        for ready in prepared:
            trouble = ready if isinstance(ready, Trouble) else self._structure(ready, alive)
            found.append(trouble)
            if trouble is None and not isinstance(ready, Trouble):
                self._foresee(ready, alive)
        return found

    def _foresee(self, ready: validity.Prepared, alive: dict[Key, bool]) -> None:
        """Note which records the rest of the run will find there or deleted."""
        op, authority = ready.mutation.op, self.submission.authority
        other = self.submission.authorities.get(ready.mutation.collection, {})
        if op == "create" and (ready.drafts or not ready.bad):
            rules = ready.collection.cells
            granted = (rules[cell] for cell in ready.drafts) if ready.drafts else rules.values()
            if any(other.get(rule.name, authority) in rule.write for rule in granted):
                alive[ready.key] = True
        elif op in ("delete", "restore") and authority in ready.collection.delete:
            alive[ready.key] = op == "restore"

    def _structure(self, ready: validity.Prepared, alive: dict[Key, bool]) -> Trouble | None:
        mutation, record = ready.mutation, self.state.record(ready.key)
        if mutation.op != "create" and not record.exists and ready.key not in alive:
            return Trouble("unknown_record", f"no {mutation.collection} {mutation.id} is known")
        if mutation.op in ("create", "set") and self._knew_deleted(record, ready, alive):
            return Trouble("record_deleted", "the record was deleted and the writer knew it")
        if mutation.tx is not None and ready.bad:
            return next(iter(ready.bad.values()))
        return self._missing_parent(ready, alive)

    def _knew_deleted(self, record: Record, ready: validity.Prepared, alive: dict[Key, bool]) -> bool:
        if ready.key in alive:
            return not alive[ready.key]
        dead = record.cells.get(ALIVE)
        if dead is None or dead.value is True:
            return False
        return fold.saw(ALIVE, dead, ready, self._actor(ready, record))

    def _missing_parent(self, ready: validity.Prepared, alive: dict[Key, bool]) -> Trouble | None:
        for name in self.state.catalog.parents(ready.mutation.collection):
            cell = ready.collection.cell_of(name)
            draft = ready.drafts.get(cell)
            if draft is None:
                continue
            target = draft.value.get(name) if ready.collection.cells[cell].is_group else draft.value
            if target is None:
                continue
            key = (ready.collection.fields[name].to, str(target))
            if not self.state.record(key).exists and key not in alive:
                return Trouble("missing_parent", f"{name} names {key[0]} {key[1]}, not known")
        return None

    def _settle(self, ready: validity.Prepared) -> MutationVerdict:
        """Fold the mutation into its record and note what follows from it."""
        state, mutation = self.state, ready.mutation
        before = state.record(ready.key)
        hub = state.replicas[state.hub_rid]
        hub_dot = Dot(hub.rid, hub.applied + 1)
        place = Place(ready.collection, mutation.id, state.seq + 1, hub_dot, state.catalog.version)
        outcome = fold.fold(before, ready, self._actor(ready, before), place)
        if any(cell.dot == hub_dot for cell in outcome.cells.values()):
            hub.applied += 1
        if outcome.record is not before:
            state.records[ready.key] = state.effects.records[ready.key] = outcome.record
        if outcome.moved:
            state.seq += 1
            self._travel(ready, before, outcome)
        self._conflicts(ready, outcome)
        return self._verdict(ready, outcome)

    def _actor(self, ready: validity.Prepared, record: Record) -> fold.Actor:
        mutation = ready.mutation
        person = mutation.by or self.submission.person
        return fold.Actor(
            dot=Dot(self.replica.rid, mutation.n),
            person=person,
            authority=self.submission.authority,
            relations=self._relations(ready, record, person),
            sequential=self.sequential,
            served=self.served,
            at=mutation.at,
            authorities=self.submission.authorities.get(mutation.collection, {}),
        )

    def _relations(self, ready: validity.Prepared, record: Record, person: str) -> tuple[str, ...]:
        """Return what the person is to the record; nothing means out of scope."""
        if self.submission.authority != "device" or not self.sequential:
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

    def _travel(self, ready: validity.Prepared, before: Record, outcome: fold.Outcome) -> None:
        """Number the change and the enters and leaves that follow from it; fan them out."""
        state, mutation, after = self.state, ready.mutation, outcome.record
        creator = None
        if not before.exists and self.replica.kind == "device":
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

    def _change(self, ready: validity.Prepared, outcome: fold.Outcome, seq: int) -> rows.Change:
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

    def _conflicts(self, ready: validity.Prepared, outcome: fold.Outcome) -> None:
        effects, seq = self.state.effects, self.state.seq
        effects.conflicts += [rows.ConflictRow(seq, entry) for entry in outcome.conflicts]
        dot = Dot(self.replica.rid, ready.mutation.n)
        ended = dict.fromkeys(outcome.closed, True)
        if self.submission.ends is not None and not any(told.verdict in KEEPS for told in outcome.cells.values()):
            ended[self.submission.ends[0]] = self.submission.ends[1]
        effects.updates += [
            rows.ConflictUpdate(entry, "settled" if settled else "undone", dot) for entry, settled in ended.items()
        ]

    def _verdict(self, ready: validity.Prepared, outcome: fold.Outcome) -> MutationVerdict:
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

    def _keep(self, mutation: Mutation | Malformed, verdict: MutationVerdict) -> MutationVerdict:
        """Advance the counter and keep the verdict, whatever it is."""
        self.replica.applied = mutation.n
        dot = Dot(self.replica.rid, mutation.n)
        kept = verdict.verdict in KEEPS or any(cell.verdict in KEEPS for cell in verdict.cells.values())
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
        self.applied, self.served = replica.applied, replica.served
        self.records, self.changed = dict(state.records), dict(state.effects.records)
        self.memberships = state.memberships.copy()
        effects = state.effects
        self.lengths = len(effects.ledger), len(effects.conflicts), len(effects.updates)

    def restore(self, state: State, replica: Replica) -> None:
        """Bring the state back; what the ledger says of the run is written over by its second judging."""
        state.seq, state.replicas[state.hub_rid].applied = self.seq, self.hub
        replica.applied, replica.served = self.applied, self.served
        state.records, state.effects.records = self.records, self.changed
        state.memberships = self.memberships
        ledger, conflicts, updates = self.lengths
        del state.effects.ledger[ledger:], state.effects.conflicts[conflicts:], state.effects.updates[updates:]


def _may_outgrow(prepared: list[validity.Prepared | Trouble]) -> bool:
    """Whether a tx has a cell whose value is made by a merge or an operation."""
    return any(
        ready.mutation.tx is not None and any(ready.collection.cells[cell].merge for cell in ready.drafts)
        for ready in prepared
        if not isinstance(ready, Trouble)
    )


def _invalid(told: MutationVerdict) -> str | None:
    """Return why a cell of the mutation could not be meant, if one could not."""
    return next((cell.message for cell in told.cells.values() if cell.code == "invalid"), None)


def _tx_refused(culprit: int) -> Trouble:
    return Trouble("tx_refused", f"mutation {culprit} of the same tx was refused")


def _highest_base(mutation: Mutation) -> int:
    if isinstance(mutation.base, int):
        return mutation.base
    return max(mutation.base.values(), default=0)
