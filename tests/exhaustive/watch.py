"""Every answer of the hub held against what it must be: no false conflict, no missed one, each dot once.

A verdict is compared when its mutation is judged, and again, byte for byte, whenever it is given again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

import msgspec

from replication.mutation import Mutation
from replication.state import Submission
from replication.verdict import CellVerdict, MutationVerdict
from tests.exhaustive import truth
from tests.exhaustive.truth import Asked, Broken, Known, Place, Told, Truth
from tests.exhaustive.worlds import JOB, World

Seen: TypeAlias = Mapping[int, Mapping[Place, Known]]
"""What the writer of each mutation had on the screen, by number."""


class Watch:
    """One submission beside the hub. Afterwards it holds the new truth, and what each verdict tells its reader."""

    def __init__(self, world: World, before: Truth, submission: Submission, seen: Seen, hub_rid: int) -> None:
        self._world = world
        self._rid, self._authority = submission.rid, submission.authority
        self._seen = seen
        self._hub = (hub_rid, before.hub_n)
        self._mutations = list(_numbered(submission, before.applied[submission.rid]))
        self.applied = dict(before.applied)
        self.lines = dict(before.lines)
        self.told = dict(before.told)
        self.entries = set(before.entries)
        self.told_so = before.told_so
        self.knows: dict[int, Mapping[Place, Known]] = {}

    def truth(self) -> Truth:
        """Return what is true after the submission."""
        return Truth(self.lines, self.applied, self.told, frozenset(self.entries), self._hub[1], self.told_so)

    def follow(self, verdicts: Sequence[MutationVerdict], expected: int | None) -> None:
        """Go through the submission and compare each verdict."""
        due = iter(verdicts)
        for run in _runs(self._mutations, self.applied[self._rid]):
            first, applied = run[0][0], self.applied[self._rid]
            if first > applied + 1:
                _same("a gap is answered with the number that is due", applied + 1, expected)
                break
            for n, _ in run if first <= applied else ():
                self._again(n, next(due, None))
            if first == applied + 1:
                self._judge(run, due)
        else:
            _same("nothing is missing where there is no gap", None, expected)
        _same("there is a verdict for each mutation and no more", None, next(due, None))

    def _again(self, n: int, verdict: MutationVerdict | None) -> None:
        """A mutation that was settled gets the same verdict for ever."""
        stored, knows = self.told[self._rid, n]
        _same(f"the verdict of {self._rid}:{n} is given again as it was stored", stored, msgspec.json.encode(verdict))
        self.knows[n] = knows

    def _judge(self, run: list[tuple[int, Mutation]], due: Iterator[MutationVerdict]) -> None:
        """Judge what is decided together: a tx with a part that cannot be meant is not carried out at all."""
        bad = {n for n, mutation in run if self._bad(mutation)} if run[0][1].tx else set()
        for n, mutation in run:
            verdict = next(due, None)
            if verdict is None:
                raise Broken("a verdict for each mutation", f"{self._rid}:{n} got none")
            if bad:
                code = "invalid" if n in bad else "tx_refused"
                _same(f"the tx of {self._rid}:{n} is refused whole", ("refused", code), (verdict.verdict, verdict.code))
            else:
                self._compare(n, mutation, verdict)
            self.applied[self._rid] = n
            self.knows[n] = {place: line.known for place, line in self.lines.items()}
            self.told[self._rid, n] = msgspec.json.encode(verdict), self.knows[n]
            self.told_so |= {(self._rid, n, self.told[self._rid, n][0], frozenset(self.knows[n].items()))}

    def _compare(self, n: int, mutation: Mutation, verdict: MutationVerdict) -> None:
        hub = (self._hub[0], self._hub[1] + 1)
        _same(f"{self._rid}:{n} is told of the cells it wrote", {*mutation.set, *mutation.do}, set(verdict.cells))
        bad = self._bad(mutation)
        for name, told in verdict.cells.items():
            if name in bad:
                _same(f"{name} of {self._rid}:{n} cannot be meant", ("refused", "invalid"), (told.verdict, told.code))
                continue
            asked = self._asked(n, name, mutation)
            must = truth.judge(self._world.rules[name], self.lines[JOB, name], asked, hub)
            self._hub = hub if must.verdict == "merged" else self._hub
            self.lines[JOB, name] = must.line
            self._compare_cell(f"{name} of {self._rid}:{n}", asked, must, told)
            if must.clash:
                self.entries.add(f"{self._rid}-{n}-{name}")

    def _compare_cell(self, what: str, asked: Asked, must: Told, told: CellVerdict) -> None:
        if must.verdict != told.verdict:
            raise Broken(_promise(must, told), f"{what} must be {must.verdict}, but the hub says {told.verdict}")
        _same(f"{what}: an entry is named where there is a conflict", must.clash, told.conflict is not None)
        sent = asked.value if asked.op is None else truth.UNTOLD
        shown = sent if told.value is msgspec.UNSET else fixed(told.value)
        _same(f"{what} is told the value that stands", must.line.value, shown)

    def _asked(self, n: int, name: str, mutation: Mutation) -> Asked:
        op = next(iter(mutation.do[name].items())) if name in mutation.do else None
        seen = self._seen[n].get((JOB, name), truth.NOBODY)
        was = fixed(mutation.was[name]) if name in mutation.was else truth.UNTOLD
        return Asked((self._rid, n), self._authority, fixed(mutation.set.get(name)), op, was, seen)

    def _bad(self, mutation: Mutation) -> set[str]:
        """Return the cells whose value their kind does not have."""
        rules = self._world.rules
        return {
            name for name, value in mutation.set.items() if rules[name].kind == "integer" and isinstance(value, str)
        }


def _promise(must: Told, told: CellVerdict) -> str:
    if told.verdict == "refused":
        return "no edit is refused without a reason"
    if told.conflict is not None and not must.clash:
        return "no false conflict"
    if must.clash and told.conflict is None:
        return "no missed conflict"
    return "the policy decides"


def _same(what: str, must: object, found: object) -> None:
    if must != found:
        raise Broken(what, f"must be {must!r}, is {found!r}")


def _numbered(submission: Submission, applied: int) -> Iterator[tuple[int, Mutation]]:
    for place, mutation in enumerate(submission.mutations):
        assert isinstance(mutation, Mutation), "these worlds send what can be read"
        yield (mutation.n if submission.numbered else applied + 1 + place), mutation


def _runs(mutations: Sequence[tuple[int, Mutation]], applied: int) -> Iterator[list[tuple[int, Mutation]]]:
    for _, run in groupby(mutations, lambda each: (each[1].tx or each[0], each[0] <= applied)):
        yield list(run)


def fixed(value: Any) -> Any:
    """Return a value in a form that can stand in a set: a group as its sorted members."""
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


def by_cell(world: World, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return flat fields as cells."""
    cells: dict[str, Any] = {}
    for name, value in fields.items():
        cell = world.cell_of(name)
        if world.rules[cell].members:
            cells.setdefault(cell, {})[name] = value
        else:
            cells[cell] = value
    return cells
