"""The hub's half: submissions in, verdicts and rows out, in one order, without I/O.

A `State` holds what one tenant's part of a group touches. `judge` takes one submission after the
other and each mutation sees the results of those before it, so that any way to cut the same order
into groups gives the same verdicts. The effects pile up in `State.effects`; the caller writes them
in the same database transaction as the counters, and answers only then.
"""

from __future__ import annotations

from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

import msgspec

from replication import rows
from replication.commit import Commit, digest_of, not_judged
from replication.mutation import Mutation, Trouble
from replication.state import Answer, Problem, Replica, Shown, State, Submission
from replication.verdict import Malformed, MutationVerdict
from replication.versions import Dot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from replication.catalog import Catalog, Collection
    from replication.record import Record
    from replication.rows import Key


class Needs(msgspec.Struct):
    """What must be in the State: records by key, the closure of `walk`, ledger rows by dot."""

    records: set[Key] = set()
    walk: set[Key] = set()
    ledger: set[Dot] = set()


def needs(submission: Submission, catalog: Catalog) -> Needs:
    """Return what judging the submission will look at."""
    wanted = Needs()
    for mutation in submission.mutations:
        if submission.numbered:
            wanted.ledger.add(Dot(submission.rid, mutation.n))
        if isinstance(mutation, Malformed) or mutation.collection not in catalog.collections:
            continue
        key = (mutation.collection, mutation.id)
        wanted.records.add(key)
        if mutation.op == "create" or _touches_scope(mutation, catalog):
            wanted.walk.add(key)
            targets = _targets(mutation, catalog.collections[mutation.collection])
            carried = {to for _, to in catalog.carried(mutation.collection)}
            wanted.records |= targets
            wanted.walk |= {target for target in targets if target[0] in carried}
    return wanted


def _touches_scope(mutation: Mutation, catalog: Catalog) -> bool:
    collection = catalog.collections[mutation.collection]
    named = mutation.set.keys() | mutation.do.keys()
    touched = catalog.scope_fields(mutation.collection)
    return any(
        name in touched or (name in collection.cells and touched & {*collection.cells[name].members}) for name in named
    )


def _targets(mutation: Mutation, collection: Collection) -> set[Key]:
    """Return the records that the mutation's references name."""
    found: set[Key] = set()
    for name, value in mutation.set.items():
        flat = value if isinstance(value, dict) else {name: value}
        for field_name, target in flat.items():
            field = collection.fields.get(field_name)
            if field is not None and field.kind == "reference" and isinstance(target, str):
                found.add((field.to, target.strip().lower()))
    return found


def judge(state: State, submission: Submission) -> Answer:
    """Judge one submission in hub order and move the state forward."""
    replica = state.replicas[submission.rid]
    if submission.idempotency in state.remembered:
        return _again(state.remembered[submission.idempotency], submission, replica)
    problem = _problem(state, submission, replica)
    if problem is not None:
        return Answer(replica.applied, problem=problem)
    answer = _judge_runs(state, submission, replica, _numbered(submission, replica))
    if answer.expected is None:
        _remember(state, submission, answer)
    return answer


def _numbered(submission: Submission, replica: Replica) -> tuple[Mutation | Malformed, ...]:
    """Return the mutations under their numbers; one that a device sends twice was found equal, and is judged once."""
    given = submission.mutations
    if submission.numbered:
        return tuple({mutation.n: mutation for mutation in given}.values())
    start = replica.applied + 1
    return tuple(msgspec.structs.replace(mutation, n=n) for n, mutation in enumerate(given, start))


def _judge_runs(
    state: State, submission: Submission, replica: Replica, mutations: tuple[Mutation | Malformed, ...]
) -> Answer:
    """Judge what is new, repeat what was said of the rest; stop where a number is missing."""
    verdicts: list[MutationVerdict | msgspec.Raw] = []
    runs = list(_runs(mutations, replica.applied))
    for run, following in zip_longest(runs, runs[1:]):
        fresh = run[0].n > replica.applied
        if run[0].n > replica.applied + 1 or (fresh and _cut_off(run, following)):
            return Answer(replica.applied, tuple(verdicts), expected=replica.applied + 1)
        if run[0].n <= replica.applied:
            verdicts += [_stored(state, submission.rid, mutation) for mutation in run]
        else:
            verdicts += Commit(state, submission, replica).judge(run)
    return Answer(replica.applied, tuple(verdicts))


def _cut_off(run: list[Mutation | Malformed], following: list[Mutation | Malformed] | None) -> bool:
    """Whether a tx goes on behind a gap: then none of it is judged until all of it is there."""
    gap = following is not None and following[0].n > run[-1].n + 1
    return gap and following is not None and run[0].tx is not None and following[0].tx == run[0].tx


def _again(known: rows.Remembered, submission: Submission, replica: Replica) -> Answer:
    if known.request_hash != submission.request_hash:
        return Answer(replica.applied, problem="idempotency_key_reused")
    return Answer(replica.applied, known.verdicts)


def _remember(state: State, submission: Submission, answer: Answer) -> None:
    if submission.idempotency is not None:
        kept = rows.Remembered(submission.idempotency, submission.request_hash, answer.verdicts)
        state.remembered[submission.idempotency] = kept
        state.effects.remembered.append(kept)


def _problem(state: State, submission: Submission, replica: Replica) -> Problem | None:
    """Return what forbids to judge any of the submission."""
    if replica.fenced and not submission.rescue:
        return "fenced"
    if _forked(state, submission, replica):
        return "replica_forked"
    return _moved_on(state, submission)


def _moved_on(state: State, submission: Submission) -> Problem | None:
    """Return what is no longer as the person who acts upon it was shown it."""
    if not state.waiting.issuperset(submission.lets_go):
        return "not_waiting"
    first = submission.mutations[0] if submission.mutations else None
    if not isinstance(first, Mutation):
        return None
    record = state.record((first.collection, first.id))
    if submission.rev_shown is not None and submission.rev_shown > record.rev:
        return "rev_ahead"
    if submission.shown is not None and not _still(submission.shown, record):
        return "state_moved"
    return None


def _still(shown: Shown, record: Record) -> bool:
    cell = record.cells.get(shown.cell)
    if cell is None:
        return False
    return cell.stamp.dot == shown.dot and shown.siblings == {s.stamp.dot for s in cell.siblings}


def _forked(state: State, submission: Submission, replica: Replica) -> bool:
    """Whether a number that was settled, or comes twice, stands for another mutation now.

    One that is told to be withheld stands for no other: its device may not know yet that it arrived.
    """
    if not submission.numbered:
        return False
    met: dict[int, bytes] = {}
    for mutation in submission.mutations:
        mine = digest_of(mutation)
        if met.setdefault(mutation.n, mine) != mine:
            return True
        settled = state.ledger.get(Dot(submission.rid, mutation.n))
        differs = settled is not None and settled.hash != mine
        if mutation.n <= replica.applied and differs and not _is_withheld(mutation):
            return True
    return False


def _is_withheld(mutation: Mutation | Malformed) -> bool:
    return isinstance(mutation, Malformed) and mutation.code == "withheld"


def _stored(state: State, rid: int, mutation: Mutation | Malformed) -> MutationVerdict | msgspec.Raw:
    settled = state.ledger.get(Dot(rid, mutation.n))
    if settled is not None:
        return settled.verdict
    trouble = Trouble("verdict_expired", "settled before; its verdict is no longer kept")
    return not_judged(state, mutation, trouble)


def _runs(mutations: Iterable[Mutation | Malformed], applied: int) -> Iterator[list[Mutation | Malformed]]:
    """Cut a push into what is decided together: a tx, or one mutation.

    What was settled before is never decided together with what was not, even if both say one tx.
    """

    def same(numbered: tuple[int, Mutation | Malformed]) -> tuple[object, ...]:
        place, mutation = numbered
        if mutation.tx is None:
            return (None, place)
        return (mutation.tx, mutation.n - place, mutation.n <= applied)

    for _, run in groupby(enumerate(mutations), same):
        yield [mutation for _, mutation in run]
