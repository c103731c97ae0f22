"""What people decided in a group, for the audit log: words on conflicts, and held mutations released."""

from __future__ import annotations

from typing import TYPE_CHECKING

from replication.state import Answer
from syncserver.store import audit, held
from syncserver.store.audit import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from syncserver.commands.commit import Pending
    from syncserver.store import group


def said(pendings: Iterable[Pending], found: group.Read) -> Iterator[Entry]:
    """Yield an entry for each word that took hold; a repeat of it, or one that came too late, has none."""
    told: set[tuple[int, str]] = set()
    for pending in pendings:
        if isinstance(pending.outcome, Answer) and pending.outcome.problem is None:
            for entry in (_on_conflict(pending, found), *_on_held(pending, found)):
                if entry is not None and (entry.tenant_id, entry.object) not in told:
                    told.add((entry.tenant_id, entry.object))
                    yield entry


def _on_conflict(pending: Pending, found: group.Read) -> Entry | None:
    ends, updates = pending.submission.ends, found.states[pending.tenant_id].effects.updates
    if ends is None or all(update.id != ends[0] for update in updates):
        return None
    return Entry(
        tenant_id=pending.tenant_id,
        by=audit.person(pending.submission.person),
        action="conflict_settled" if ends[1] else "conflict_undone",
        object=f"conflict:{ends[0]}",
        request=pending.request,
    )


def _on_held(pending: Pending, found: group.Read) -> Iterator[Entry]:
    released = {each.dot: each for each in found.states[pending.tenant_id].effects.released}
    for dot in pending.submission.lets_go:
        if dot in released:
            yield Entry(
                tenant_id=pending.tenant_id,
                by=audit.person(released[dot].person),
                action="held_released",
                object=f"held:{held.id_of(dot)}",
                request=pending.request,
            )
