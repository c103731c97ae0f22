"""Well-known mistakes around the database, each to be put in alone."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from syncserver.store import changes, conflicts, feed, group, held
from tests.planted.rules import Mistake

replace = msgspec.structs.replace

_ROWS: Final = "SELECT set_config('fieldsync.tenants', array_to_string($1::integer[], ','), true), $2::integer"
_LOCK_AND_READ: Final = """WITH locked AS MATERIALIZED (
  SELECT pg_advisory_xact_lock({locks}, t.tenant_id) FROM unnest($1::integer[]) AS t (tenant_id)
), got AS MATERIALIZED (
  SELECT count(*) FROM locked
) {rest} FROM got"""


def a_verdict_is_not_stored(patch: pytest.MonkeyPatch) -> None:
    """A device that missed the answer never hears what became of its work."""
    _forget(patch, changes, "ledger_columns_of")


def a_conflict_is_not_stored(patch: pytest.MonkeyPatch) -> None:
    """What lost is nowhere to be found."""
    _forget(patch, conflicts, "columns_of")


def an_answer_is_not_remembered(patch: pytest.MonkeyPatch) -> None:
    """A request of the office that is repeated under its key is carried out twice."""
    _forget(patch, changes, "remembered_columns_of")


def a_release_leaves_it_waiting(patch: pytest.MonkeyPatch) -> None:
    """Two people who let the same held work through let it through twice."""
    _forget(patch, held, "released_columns_of")


def a_counter_is_not_written(patch: pytest.MonkeyPatch) -> None:
    """What a device sends again is carried out again."""
    patch.setattr(group, "_heard", lambda _: ())


def a_leave_is_not_told(patch: pytest.MonkeyPatch) -> None:
    """Whoever a job is taken from keeps it on the screen for ever."""
    real = changes.feed_columns_of

    def feed_columns_of(states: Any) -> Any:
        for state in states.values():
            state.effects.feed = [row for row in state.effects.feed if row.op != "leave"]
        return real(states)

    patch.setattr(changes, "feed_columns_of", feed_columns_of)


def the_lock_is_in_the_reading_statement(patch: pytest.MonkeyPatch) -> None:
    """Whoever waited for the lock judges by what was there before the holder wrote."""

    async def lock(connection: Any, tenants: Any) -> list[int]:
        await connection.fetchrow(_ROWS, sorted(tenants), 0)
        return sorted(tenants)

    rest = group._SQL["read_heads"]
    patch.setattr(group, "lock", lock)
    patch.setitem(group._SQL, "read_heads", _LOCK_AND_READ.format(locks=group._LOCKS, rest=rest))


def a_late_commit_is_skipped(patch: pytest.MonkeyPatch) -> None:
    """A reader's position moves to the newest number given, past one whose writer has not committed."""
    given: dict[int, int] = {}
    write, head = group.write, feed.head

    async def number_first(connection: Any, found: Any, *rest: Any, **named: Any) -> None:
        given.update({tenant: state.seq for tenant, state in found.states.items()})
        await write(connection, found, *rest, **named)

    async def newest(connection: Any, tenant_id: int, *rest: Any, **named: Any) -> Any:
        stands = await head(connection, tenant_id, *rest, **named)
        return replace(stands, seq=max(stands.seq, given.get(tenant_id, 0))) if stands else None

    patch.setattr(group, "write", number_first)
    patch.setattr(feed, "head", newest)


def _forget(patch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Let a table's rows be left out of what a group writes."""
    real = getattr(module, name)
    patch.setattr(module, name, lambda _: real({}))


MISTAKES: Final[dict[Mistake, tuple[str, ...]]] = {
    a_verdict_is_not_stored: ("test_http_sync.py", "test_crash.py"),
    a_conflict_is_not_stored: ("test_http_conflicts.py",),
    an_answer_is_not_remembered: ("test_commit.py", "test_http_office.py"),
    a_release_leaves_it_waiting: ("test_http_held.py",),
    a_counter_is_not_written: ("test_http_sync.py", "test_crash.py"),
    a_leave_is_not_told: ("test_pull.py",),
    the_lock_is_in_the_reading_statement: ("test_commit.py",),
    a_late_commit_is_skipped: ("test_pull.py",),
}
"""Each mistake, and the integration tests among which one has to notice it."""
