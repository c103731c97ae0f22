"""Laws of polling: whatever the vendor's clock and our crashes do, no state is lost, within the overlap."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from upstream import events, pace
from upstream.manifest import Incremental
from upstream.pace import Found, Standing

SOURCE = Incremental(operation="changed", since="since", modified="modified", overlap_seconds=10)
PAGE = 3


class Row(msgspec.Struct):
    """A record at the vendor's: its content, when it says that it changed, and from when on it can be read."""

    id: int
    content: int
    modified: float
    visible: float


@st.composite
def vendors(draw: st.DrawFn) -> list[Row]:
    """Draw changes on few ticks, many of them at the same time, each readable at most an overlap after its time."""
    rows = []
    for place in range(draw(st.integers(1, 14))):
        tick = draw(st.integers(0, 6)) * 10.0
        late = draw(st.integers(0, int(SOURCE.overlap_seconds)))
        rows.append(Row(draw(st.integers(0, 5)), place, tick, tick + late))
    return sorted(rows, key=lambda row: row.visible)


class Inbox:
    """What was stored, by event; and where polling stands."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, int]] = {}
        self.standing = Standing()


def shown(rows: list[Row], at: float) -> dict[int, Row]:
    """Return the records as the vendor shows them at a time: each in its last state that can be read."""
    now: dict[int, Row] = {}
    for row in rows:
        if row.visible <= at:
            # A later change of a record never has an earlier time than the one before it.
            before = now.get(row.id)
            moment = max(row.modified, before.modified) if before else row.modified
            now[row.id] = msgspec.structs.replace(row, modified=moment)
    return now


def poll(inbox: Inbox, rows: list[Row], at: float, dies_after: int | None) -> None:
    """Poll once, page by page; die after so many pages."""
    since = pace.begins(inbox.standing, SOURCE)
    found = [row for row in shown(rows, at).values() if row.modified >= since]
    for page in range(0, len(found), PAGE):
        if dies_after is not None and page // PAGE >= dies_after:
            return
        for row in found[page : page + PAGE]:
            name = events.record_key("o", str(row.id), str(row.modified), str(row.content).encode())
            inbox.held[name] = (row.id, row.content)
    if dies_after is not None:
        return
    newest = pace.newest((row.modified for row in found), at)
    inbox.standing = pace.after(inbox.standing, Found(newest=newest), has_hooks=False, was_hooked=False)


@given(vendors(), st.lists(st.tuples(st.floats(0, 80), st.none() | st.integers(0, 2)), max_size=8))
def test_the_last_state_of_every_record_is_stored(rows: list[Row], polls: list[tuple[float, int | None]]) -> None:
    """After any polls, some of which died between pages, one poll at the end has every record's last state."""
    inbox = Inbox()
    for at, dies_after in sorted(polls, key=lambda each: each[0]):
        poll(inbox, rows, at, dies_after)
    poll(inbox, rows, 1_000.0, None)

    last = shown(rows, 1_000.0)
    assert {(row.id, row.content) for row in last.values()} <= set(inbox.held.values())


@given(vendors(), st.lists(st.floats(0, 80), max_size=6), st.floats(0, 80))
def test_a_time_that_is_yet_to_come_hides_nothing(rows: list[Row], polls: list[float], erred: float) -> None:
    """Whenever a record appears that is dated in years ahead: the others' last states are stored all the same."""
    odd = Row(99, 99, 1e9, erred)
    inbox, told = Inbox(), sorted([*rows, odd], key=lambda row: row.visible)
    for at in sorted(polls):
        poll(inbox, told, at, None)
    poll(inbox, told, 1_000.0, None)

    last = shown(told, 1_000.0)
    assert {(row.id, row.content) for row in last.values()} <= set(inbox.held.values())


@given(vendors(), st.floats(0, 80))
def test_reading_again_stores_nothing_new(rows: list[Row], at: float) -> None:
    """A second poll straight after the first finds only what is stored."""
    inbox = Inbox()
    poll(inbox, rows, at, None)
    before = dict(inbox.held)
    poll(inbox, rows, at, None)

    assert inbox.held == before


@given(vendors(), st.lists(st.floats(0, 80), min_size=1, max_size=6))
def test_the_position_never_goes_back(rows: list[Row], polls: list[float]) -> None:
    """Where polling stands only grows, and never beyond what the vendor has shown."""
    inbox = Inbox()
    stood = [-1.0]
    for at in sorted(polls):
        poll(inbox, rows, at, None)
        if inbox.standing.since is not None:
            stood.append(inbox.standing.since)

    assert stood == sorted(stood)
    assert stood[-1] <= max(row.modified for row in rows)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20))
def test_polling_takes_over_after_misses_in_a_row_alone(turns: list[tuple[bool, bool]]) -> None:
    """Webhooks count as quiet after so many polls in a row that found news while none of them called."""
    standing, missed = Standing(since=0.0), 0
    for is_news, was_hooked in turns:
        standing = pace.after(standing, Found(newest=1.0, is_news=is_news), has_hooks=True, was_hooked=was_hooked)
        missed = 0 if was_hooked else missed + is_news

        assert standing.is_quiet is (missed >= pace.MISSES_MAX)
        seconds = pace.pause(standing, SOURCE, has_hooks=True)
        assert seconds == (SOURCE.seconds if standing.is_quiet else SOURCE.calm_seconds)


@given(st.integers(0, 40), st.integers(0, 10_000_000))
def test_a_pause_after_a_failure_grows_to_an_end_and_keeps_what_was_asked(failures: int, asked_ms: int) -> None:
    """It is never shorter than what the vendor asked for, and otherwise at most an hour."""
    seconds = pace.pause_after_failure(failures, asked_ms)

    assert seconds >= asked_ms / 1_000
    assert seconds <= max(asked_ms / 1_000, pace.FAILURE_SECONDS_MAX)
