"""One tenant of a random history: the real hub and the oracle side by side, with the same input.

Every submission goes to both, and every answer is compared, cell by cell; so is what the store
then holds, and each new entry of the conflict list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, TypeAlias

from replication import rows
from replication.catalog import PRIORITIES, Catalog
from replication.mutation import Mutation
from replication.record import Record
from replication.state import Answer, Submission
from replication.verdict import MutationVerdict
from replication.versions import Dot, Vector
from tests import compare, dumb_store, editions
from tests.compare import Disagreement
from tests.dumb_store import Store
from tests.oracle import Answer as Expected
from tests.oracle import Oracle
from tests.oracle_cell import Asked, Key, Known
from tests.oracle_values import Table

CATALOG: Final = editions.CATALOGS[1]

HUB, OFFICE, ERP, IMPORT = 1, 2, 3, 4
FIRST_DEVICE: Final = 10
BACKUPS_MAX: Final = 3

Versions: TypeAlias = dict[str, tuple[Dot, Vector]]
Step: TypeAlias = Submission | tuple[str, Any]
"""What happened to the store: something was sent, or one of its operations with what was given to it."""


@dataclass
class Tally:
    """How much of what a history held."""

    verdicts: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take in the counts of another history."""
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine.update(theirs)


@dataclass(frozen=True)
class Backup:
    """All that is put back by a restore, and when it was taken."""

    place: int
    store: Store
    oracle: Oracle
    expected: dict[Dot, Expected]
    seq: int
    moment: int


class Tenant:
    """The hub, the oracle, and what either has told whom.

    `now` is the true time in milliseconds. `restores` has for each restore up to where the hub was put back,
    as a seq and as a moment of the oracle.
    """

    def __init__(self, devices: int) -> None:
        kinds = {HUB: "hub", OFFICE: "office", ERP: "connection", IMPORT: "import"}
        kinds |= {FIRST_DEVICE + place: "device" for place in range(devices)}
        self.store = Store(CATALOG, kinds, HUB)
        self.oracle = Oracle(editions.TABLES, HUB)
        self.tally = Tally()
        self.steps: list[Step] = []
        self.expected: dict[Dot, Expected] = {}
        self.states: dict[tuple[Key, int], tuple[dict[str, Known], int, Versions]] = {}
        self.changes: dict[Key, list[rows.Change]] = {}
        self.now = 1_000_000
        self.backups: list[Backup] = []
        self.restores: list[tuple[int, int]] = []
        self.proven: Vector = {}
        self.fenced: set[int] = set()

    @property
    def edition(self) -> int:
        """The version of the present catalogue."""
        return self.oracle.edition

    @property
    def epoch(self) -> int:
        """How often the hub was put back."""
        return len(self.restores)

    @property
    def submissions(self) -> list[Submission]:
        """What was sent, in the order in which the hub took it."""
        return [step for step in self.steps if isinstance(step, Submission)]

    # What happens to the hub as a whole.

    def publish(self) -> None:
        """Put the next edition of the catalogue in force, if there is one."""
        if self.edition < editions.LAST:
            catalog = editions.CATALOGS[self.edition + 1]
            self.steps.append(("publish", catalog))
            self.store.publish(catalog)
            self.oracle.publish(catalog.version)

    def fence(self, rid: int) -> None:
        """Take nothing more from a device."""
        self.steps.append(("fence", rid))
        self.store.fence(rid)
        self.fenced.add(rid)

    def back_up(self) -> None:
        """Take a backup; of the earlier ones only the newest are still offered."""
        place = len(self.steps)
        self.steps.append(("back_up", place))
        backup = Backup(
            place, self.store.back_up(), self.oracle.copy(), dict(self.expected), self.store.seq, self.oracle.moment
        )
        self.backups = [*self.backups, backup][-BACKUPS_MAX:]

    def restore(self, backup: Backup) -> None:
        """Put the hub back. The backups of what is forgotten now are offered no more."""
        self.steps.append(("restore", backup.place))
        self.store.restore(backup.store)
        self.oracle.back_to(backup.oracle)
        self.expected = dict(backup.expected)
        self.restores.append((backup.seq, backup.moment))
        self.backups = [each for each in self.backups if each.place <= backup.place]
        self.changes = {}
        for change in self.store.changes:
            self.changes.setdefault((change.collection, change.record_id), []).append(change)

    def prove(self, proof: Vector) -> None:
        """Let the hub leave out of its vectors what nobody can ask for any more."""
        self.steps.append(("prove", proof))
        self.store.prove(proof)
        self.proven = {rid: max(n, self.proven.get(rid, 0)) for rid, n in ({**self.proven, **proof}).items()}

    def position_since(self, epoch: int) -> int:
        """Return up to which seq the hub still knows what it had told in this epoch."""
        return min((seq for seq, _ in self.restores[epoch:]), default=self.store.seq)

    def moment_since(self, epoch: int) -> int:
        """Return up to which moment the hub still knows what it had told in this epoch."""
        return min((moment for _, moment in self.restores[epoch:]), default=self.oracle.moment)

    def holds(self, key: Key, person: str) -> bool:
        """Tell whether the hub has a record, and counts it as this person's."""
        collection, record = editions.collection_of(key[0], self.edition), self.store.record(key)
        if record is None or not record.alive or (collection is not None and collection.is_for_all):
            return record is not None and record.alive
        open_keys = (each for each in self.store.intervals.get(key, {}).values() if each.to_seq is None)
        return any(each.key.endswith(f":{person}") for each in open_keys)

    # What is sent.

    def submit(self, submission: Submission, asked: Mapping[int, Asked]) -> Answer:
        """Give the submission to both, and compare. `asked` has each mutation as the oracle takes it, by n."""
        applied = self.store.replicas[submission.rid].applied
        conflicts, changes = len(self.store.conflicts), len(self.store.changes)
        self.steps.append(submission)
        answer = self.store.group([submission])[0]
        problem = self._problem(submission)
        compare.check("verdict", problem, answer.problem, f"replica {submission.rid} has a problem")
        if problem is not None:
            self.tally.happened[problem] += 1
            return answer
        fresh = self._ask_oracle(submission, asked, applied)
        self._compare_answer(submission, answer, applied)
        self._compare_rows(submission, fresh, conflicts, changes)
        return answer

    def _problem(self, submission: Submission) -> str | None:
        """Return what forbids to judge any of it: what was shown, or waited, does so no longer."""
        if submission.rid in self.fenced and not submission.rescue:
            return "fenced"
        if submission.released is not None and tuple(submission.released) not in self.oracle.waiting:
            return "not_waiting"
        first, shown = submission.mutations[0] if submission.mutations else None, submission.shown
        if shown is None or not isinstance(first, Mutation):
            return None
        rec = self.oracle.records.get((first.collection, first.id))
        line = rec.lines.get(shown.cell) if rec else None
        if line is None or line.current is None:
            return "state_moved"
        still = line.current.dot == shown.dot and {each.dot for each in line.siblings} == shown.siblings
        return None if still else "state_moved"

    def tell(self, step: Step) -> Iterator[str]:
        """Say in words what happened: what a submission asked for and what it was answered, or what else."""
        if not isinstance(step, Submission):
            what, given = step
            yield f"{what} {given.version if isinstance(given, Catalog) else given}"
            return
        if step.released or step.rescue or step.shown:
            yield f"released {step.released}, rescue {step.rescue}, shown {step.shown}, ends {step.ends}"
        for mutation in step.mutations:
            assert isinstance(mutation, Mutation), "histories send what can be read"
            asked = {**mutation.set, **mutation.do}
            yield (
                f"replica {step.rid} for {(mutation.by or step.person)[-4:]}: n={mutation.n} tx={mutation.tx} "
                f"{mutation.op} {mutation.collection} {mutation.id[-2:]} {asked} was {mutation.was} "
                f"base {mutation.base} context {mutation.context} rev {mutation.rev} at {mutation.at}"
            )
            if told := self.expected.get(Dot(step.rid, mutation.n)):
                verdicts = {name: f"{each.verdict} -> {each.value!r}" for name, each in told.cells.items()}
                yield f"    expected {told.code or verdicts}"

    def told(self, dot: Dot, cell: str, winner: Dot) -> Known:
        """Return what somebody has seen who is told the verdict of a cell: a value of others with all its past."""
        return frozenset({(winner.rid, winner.n)}) if winner == dot else self.oracle.after[dot][0][cell]

    def changes_of(self, key: Key) -> list[rows.Change]:
        """Return what happened to a record, in order."""
        return self.changes[key]

    def feed_after(self, priority: str, reader: str, position: int) -> list[rows.FeedRow]:
        """Return what follows a position in one part of a reader's feed."""
        return [
            row
            for row in self.store.feed[bisect_right(self.store.feed, position, key=lambda row: row.commit_seq) :]
            if row.priority == priority and row.reader == reader
        ]

    def overtaken(self, row: rows.FeedRow) -> bool:
        """Whether a later row of the record went ahead with its tx in a more urgent class: this one would undo it."""
        own = self.priority_of(row.collection)
        place = PRIORITIES.index(row.priority)
        return place > 0 and any(
            (later.reader, later.collection, later.record_id) == (row.reader, row.collection, row.record_id)
            and later.seq > row.seq
            and later.priority != own
            and PRIORITIES.index(later.priority) < place
            for later in self.store.feed
        )

    def priority_of(self, collection: str) -> str:
        """Return how urgent a collection is; one that is no more was no less so."""
        return CATALOG.collections[collection].priority

    def numbered(self, submission: Submission, applied: int) -> Iterator[tuple[int, Mutation]]:
        """Yield each mutation with its number; the hub numbers those that come without."""
        for place, mutation in enumerate(submission.mutations):
            assert isinstance(mutation, Mutation), "histories send what can be read"
            yield (mutation.n if submission.numbered else applied + 1 + place), mutation

    def _ask_oracle(self, submission: Submission, asked: Mapping[int, Asked], applied: int) -> dict[Dot, Mutation]:
        """Let the oracle judge what is new, as far as there is no gap."""
        fresh: dict[Dot, Mutation] = {}
        due = applied + 1
        for run in runs(list(self.numbered(submission, applied)), applied):
            if run[0][0] < due:
                continue
            if run[0][0] > due:
                break
            answers = self.oracle.judge([asked[n] for n, _ in run], tx=run[0][1].tx is not None)
            for (n, mutation), expected in zip(run, answers, strict=True):
                dot = Dot(submission.rid, n)
                self.expected[dot], fresh[dot] = expected, mutation
            due += len(run)
        return fresh

    def _compare_answer(self, submission: Submission, answer: Answer, applied: int) -> None:
        """Each verdict is the one that the oracle gave when the mutation came first."""
        told = list(dumb_store.verdicts_of(answer))
        numbers = list(self.numbered(submission, applied))
        due = self.store.replicas[submission.rid].applied
        judged = [(n, mutation) for n, mutation in numbers if n <= due]
        compare.check("verdict", len(judged), len(told), f"replica {submission.rid} gets so many verdicts")
        for (n, mutation), verdict in zip(judged, told, strict=True):
            dot = Dot(submission.rid, n)
            compare.verdict(mutation, verdict, self.expected[dot], f"{dot.rid}:{n}")
            if n > applied:
                self._count(verdict, self.expected[dot])
            elif verdict != self.store.verdict(dot):
                raise Disagreement("verdict", f"{dot.rid}:{n} was told two things")

    def _count(self, verdict: MutationVerdict, expected: Expected) -> None:
        self.tally.verdicts.update(cell.verdict for cell in verdict.cells.values())
        self.tally.verdicts.update(["held"] if verdict.verdict == "held" else [])
        self.tally.codes.update(cell.code for cell in verdict.cells.values() if cell.code)
        self.tally.codes.update([expected.code] if expected.code else [])
        rules = {told.clash.cell: told.clash.rule for told in expected.cells.values() if told.clash}
        self.tally.rules.update(rules.values())

    def _compare_rows(self, submission: Submission, fresh: dict[Dot, Mutation], conflicts: int, changes: int) -> None:
        entries = {row.entry.id: row.entry for row in self.store.conflicts[conflicts:]}
        compare.check(
            "false conflict", len(self.store.conflicts) - conflicts, len(entries), "each entry has its own id"
        )
        by_dot = {change.dot: change for change in self.store.changes[changes:]}
        wanted = {
            f"{dot.rid}-{dot.n}-{told.clash.cell}": told.clash
            for dot in fresh
            for told in self.expected[dot].cells.values()
            if told.clash
        }
        compare.entries(entries, wanted, f"replica {submission.rid}")
        for dot, mutation in fresh.items():
            compare.kept(self.store.ledger[dot][2], by_dot.get(dot), self.expected[dot], f"{dot.rid}:{dot.n}")
            self._compare_record((mutation.collection, mutation.id))
        compare.check("state", set(self.oracle.waiting), set(self.store.held), "these wait to be judged")
        self._note_states(
            self.store.changes[changes:], {(each.collection, each.id): dot for dot, each in fresh.items()}
        )

    def compare_open(self) -> None:
        """What waits for a person is what the list of open conflicts says."""
        ended = {update.id for update in self.store.updates}
        waiting = {
            f"{write.dot[0]}-{write.dot[1]}-{name}"
            for rec in self.oracle.records.values()
            for name, line in rec.lines.items()
            for write in line.siblings
        }
        listed = {row.entry.id for row in self.store.conflicts if row.entry.state == "open"} - ended
        compare.check("lost value", sorted(waiting), sorted(listed), "these conflicts are open")

    def _note_states(self, changes: Sequence[rows.Change], last: Mapping[Key, Dot]) -> None:
        """Keep what somebody is shown who is given each change: in the middle of a push nobody can look."""
        for change in changes:
            key = (change.collection, change.record_id)
            known, moment = self.oracle.after[change.dot]
            versions = {cell: (Dot(*min(dots)), vector(dots)) for cell, dots in known.items() if dots}
            record = self.store.record(key)
            if last.get(key) == change.dot and record is not None:
                versions = versions_of(record)
            self.states[key, change.seq] = known, moment, versions
            self.changes.setdefault(key, []).append(change)

    def _compare_record(self, key: Key) -> None:
        collection = editions.collection_of(key[0], self.edition)
        if collection is not None:
            expected = self.oracle.records.get(key)
            shown = self.oracle.fields(key) if expected else {}
            compare.record(self.store.record(key), expected, shown, collection, self.proven)


def versions_of(record: Record) -> Versions:
    """Return of each cell of a record who wrote it and what it has absorbed."""
    return {name: (cell.stamp.dot, cell.vv) for name, cell in record.cells.items()}


def vector(known: Known) -> Vector:
    """Write a set of dots as the highest number of each replica."""
    return {rid: max(n for each, n in known if each == rid) for rid, _ in known}


def runs(mutations: Sequence[tuple[int, Mutation]], applied: int) -> Iterator[list[tuple[int, Mutation]]]:
    """Cut what is sent into what is decided together: a tx, or one mutation. What is settled stays settled."""
    for _, run in groupby(mutations, lambda each: (each[1].tx or each[0], each[0] <= applied)):
        yield list(run)


def by_cell(collection: str, page: Table, shown: Mapping[str, Any]) -> tuple[Table, Table]:
    """Return flat fields as cells, and what the same cells showed before: groups whole."""
    groups = editions.groups_of(collection, 1)
    group_of = {member: name for name, members in groups.items() for member in members}
    cells: Table = {}
    for name, value in page.items():
        if name in group_of:
            cells.setdefault(group_of[name], {})[name] = value
        else:
            cells[name] = value
    was = {
        cell: {member: shown.get(member) for member in groups[cell]} if cell in groups else shown.get(cell)
        for cell in cells
    }
    return cells, was
