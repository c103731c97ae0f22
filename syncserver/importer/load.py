"""Drafts become mutations of the import's replica, through the same committers as all others.

Records that are known already are left alone: an import brings in what is missing and never
argues with what people did since.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from replication.mutation import Mutation
from replication.state import Submission
from replication.verdict import MutationVerdict
from syncserver.importer.table import Draft, Reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from replication.state import Answer
    from syncserver.importer.mapping import Mapping

ROWS_PER_SUBMISSION: Final = 500


class Hub(Protocol):
    """What an import needs of the server: which ids are known, and a way to submit."""

    async def known(self, collection: str, ids: Sequence[str]) -> set[str]:
        """Return those of the ids that the hub has heard of."""

    async def submit(self, submission: Submission) -> Answer:
        """Have a submission settled."""


class Writer(msgspec.Struct, frozen=True):
    """In whose name the import writes: its replica, and the person who is named as acting."""

    rid: int
    person: str


class Report(msgspec.Struct, kw_only=True):
    """What became of the file's rows; `made` counts records that labels stand for."""

    imported: int = 0
    known: int = 0
    made: int = 0
    rejects: list[Reject] = []


async def load(
    rows: Iterable[Draft | Reject],
    mapping: Mapping,
    hub: Hub,
    writer: Writer,
    *,
    progress: Callable[[int], None],
) -> Report:
    """Write what is not known yet and return the report. `progress` is told each line reached."""
    report = Report()
    for batch in _batches(rows):
        report.rejects += [row for row in batch if isinstance(row, Reject)]
        fresh = await _unknown([row for row in batch if isinstance(row, Draft)], hub, report)
        if fresh:
            answer = await hub.submit(_submission(fresh, mapping, writer))
            _note(fresh, answer, report)
        progress(max(row.line for row in batch))
    return report


def _batches(rows: Iterable[Draft | Reject]) -> Iterator[list[Draft | Reject]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, ROWS_PER_SUBMISSION)):
        yield batch


async def _unknown(drafts: list[Draft], hub: Hub, report: Report) -> list[Draft]:
    """Return the drafts whose records the hub has not heard of."""
    known: set[tuple[str, str]] = set()
    for collection in {draft.collection for draft in drafts}:
        ids = [draft.id for draft in drafts if draft.collection == collection]
        known |= {(collection, known_id) for known_id in await hub.known(collection, ids)}
    fresh = [draft for draft in drafts if (draft.collection, draft.id) not in known]
    rows = sum(1 for draft in drafts if draft.line)
    report.known += rows - sum(1 for draft in fresh if draft.line)
    return fresh


def _submission(drafts: list[Draft], mapping: Mapping, writer: Writer) -> Submission:
    """Return one submission; each record is a mutation of its own, so that each is answered."""
    cells = {column.field: column.authority for column in mapping.columns.values() if column.authority is not None}
    return Submission(
        rid=writer.rid,
        person=writer.person,
        authority=mapping.authority,
        authorities={mapping.collection: cells},
        numbered=False,
        mutations=tuple(
            Mutation(n=place, op="create", collection=draft.collection, id=draft.id, set=draft.fields)
            for place, draft in enumerate(drafts, start=1)
        ),
    )


def _note(drafts: list[Draft], answer: Answer, report: Report) -> None:
    """Count what was taken; a row of which any cell was refused is a reject with the reason."""
    for draft, verdict in zip(drafts, answer.verdicts, strict=True):
        assert isinstance(verdict, MutationVerdict), "an import is never answered from the ledger"
        reasons = _reasons(verdict)
        if reasons:
            report.rejects.append(Reject(draft.line, reasons, tuple(map(str, draft.fields.values()))))
        elif draft.line:
            report.imported += 1
        else:
            report.made += 1


def _reasons(verdict: MutationVerdict) -> tuple[str, ...]:
    if verdict.verdict != "refused":
        return ()
    cells = [f"{name}: {cell.message}" for name, cell in verdict.cells.items() if cell.message]
    return tuple(cells) or (verdict.message or verdict.verdict,)
