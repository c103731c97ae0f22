"""One tenant of a random history: the real hub and the oracle side by side, with the same input.

Every submission goes to both, and every answer is compared, cell by cell; so is what the store
then holds, and each new entry of the conflict list.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from replication import catalog_file, rows
from replication.catalog import PRIORITIES
from replication.mutation import Mutation
from replication.state import Answer, Submission
from replication.verdict import MutationVerdict
from replication.versions import Dot
from tests import compare, dumb_store
from tests.compare import Disagreement
from tests.dumb_store import Store
from tests.oracle import Answer as Expected
from tests.oracle import Oracle
from tests.oracle_cell import Asked, Key, Known
from tests.oracle_values import Table

SOURCE: Final = Path(__file__).with_name("every_policy.toml").read_text(encoding="utf-8")
TABLE: Final = tomllib.loads(SOURCE)
CATALOG: Final = catalog_file.parse(SOURCE)

HUB, OFFICE, ERP, IMPORT = 1, 2, 3, 4
FIRST_DEVICE: Final = 10


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


class Tenant:
    """The hub, the oracle, and what either has told whom."""

    def __init__(self, devices: int) -> None:
        kinds = {HUB: "hub", OFFICE: "office", ERP: "connection", IMPORT: "import"}
        kinds |= {FIRST_DEVICE + place: "device" for place in range(devices)}
        self.store = Store(CATALOG, kinds, HUB)
        self.oracle = Oracle(TABLE, HUB)
        self.tally = Tally()
        self.submissions: list[Submission] = []
        self.expected: dict[Dot, Expected] = {}
        self.states: dict[tuple[Key, int], tuple[dict[str, Known], int]] = {}
        self.changes: dict[Key, list[rows.Change]] = {}

    def submit(self, submission: Submission, asked: Mapping[int, Asked]) -> Answer:
        """Give the submission to both, and compare. `asked` has each mutation as the oracle takes it, by n."""
        applied = self.store.replicas[submission.rid].applied
        conflicts, changes = len(self.store.conflicts), len(self.store.changes)
        self.submissions.append(submission)
        answer = self.store.group([submission])[0]
        fresh = self._ask_oracle(submission, asked, applied)
        self._compare_answer(submission, answer, applied)
        self._compare_rows(submission, fresh, conflicts, changes)
        return answer

    def knows(self, dot: Dot, cell: str) -> Known:
        """Return what somebody has seen who is told the verdict of a cell."""
        return self.oracle.after[dot][0][cell]

    def tell(self, submission: Submission) -> Iterator[str]:
        """Say in words what a submission asked for, and what it was answered."""
        for mutation in submission.mutations:
            assert isinstance(mutation, Mutation), "histories send what can be read"
            base = f"context {mutation.context}" if mutation.context else f"base {mutation.base}"
            asked = {**mutation.set, **mutation.do}
            yield (
                f"replica {submission.rid} for {(mutation.by or submission.person)[-1]}: n={mutation.n} {mutation.op}"
                f" {mutation.collection} {mutation.id[-2:]} {asked} was {mutation.was} {base} rev {mutation.rev}"
            )
            if told := self.expected.get(Dot(submission.rid, mutation.n)):
                verdicts = {name: f"{each.verdict} -> {each.value!r}" for name, each in told.cells.items()}
                yield f"    expected {told.code or verdicts}"

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
        own = CATALOG.collections[row.collection].priority
        place = PRIORITIES.index(row.priority)
        return place > 0 and any(
            (later.reader, later.collection, later.record_id) == (row.reader, row.collection, row.record_id)
            and later.seq > row.seq
            and later.priority != own
            and PRIORITIES.index(later.priority) < place
            for later in self.store.feed
        )

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
        compare.check("verdict", None, answer.problem, f"replica {submission.rid} has a problem")
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
        self.tally.codes.update(cell.code for cell in verdict.cells.values() if cell.code)
        self.tally.codes.update([expected.code] if expected.code else [])
        self.tally.rules.update(told.clash.rule for told in expected.cells.values() if told.clash)

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
        for change in self.store.changes[changes:]:
            key = (change.collection, change.record_id)
            self.states[key, change.seq] = self.oracle.after[change.dot]
            self.changes.setdefault(key, []).append(change)

    def _compare_record(self, key: Key) -> None:
        if key[0] in CATALOG.collections:
            expected = self.oracle.records.get(key)
            shown = self.oracle.fields(key) if expected else {}
            compare.record(self.store.record(key), expected, shown, CATALOG.collections[key[0]])


def runs(mutations: Sequence[tuple[int, Mutation]], applied: int) -> Iterator[list[tuple[int, Mutation]]]:
    """Cut what is sent into what is decided together: a tx, or one mutation. What is settled stays settled."""
    for _, run in groupby(mutations, lambda each: (each[1].tx or each[0], each[0] <= applied)):
        yield list(run)


def by_cell(collection: str, page: Table, shown: Mapping[str, Any]) -> tuple[Table, Table]:
    """Return flat fields as cells, and what the same cells showed before: groups whole."""
    groups: dict[str, list[str]] = TABLE["collections"][collection].get("groups", {})
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
