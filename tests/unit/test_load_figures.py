"""The figures of a run, and the schedule they are about."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.load import command, plan, report
from clients.load.figures import BUCKET_GROWTH, SHORTEST_MS, Histogram, Meter
from clients.load.plan import Options
from clients.load.sums import Sums
from clients.load.watch import Watch
from replication.mutation import Mutation

TIMES = st.lists(st.floats(SHORTEST_MS, 1e6), min_size=1, max_size=300)


def options(**others: object) -> Options:
    """Give what a run is asked to do."""
    return msgspec.structs.replace(Options(ready_file=Path("ready.json")), **others)


@given(TIMES, st.floats(0.01, 1))
def test_a_quantile_is_right_to_a_bucket(times: list[float], share: float) -> None:
    """A quantile lies between the true one and what a bucket is wide."""
    histogram = Histogram()
    for ms in times:
        histogram.add(ms)

    true = sorted(times)[math.ceil(len(times) * share) - 1]
    assert true * 0.999 <= histogram.quantile(share) <= true * BUCKET_GROWTH * 1.001


@given(TIMES)
def test_a_spread_tells_all_that_was_counted(times: list[float]) -> None:
    """Count, mean, longest and the buckets are those of all times."""
    histogram = Histogram()
    for ms in times:
        histogram.add(ms)

    spread = histogram.spread()
    assert spread.count == sum(times for _, times in spread.buckets) == len(times)
    assert spread.mean_ms == pytest.approx(statistics.fmean(times), abs=0.01)
    assert spread.max_ms == pytest.approx(max(times), abs=0.01)
    assert spread.p50_ms <= spread.p95_ms <= spread.p99_ms <= spread.max_ms + 0.01


def test_nothing_counted_is_told_as_nothing() -> None:
    """A histogram without a time has zeroes and no bucket."""
    assert msgspec.structs.astuple(Histogram().spread()) == (0, 0.0, 0.0, 0.0, 0.0, 0.0, ())


def test_an_outage_lasts_from_the_first_refusal_to_the_next_answer() -> None:
    """However many connections are refused, it is one outage; a lost answer is none."""
    meter = Meter()
    meter.failed("push", "ReadError", 1.0)
    meter.answered("push", 5, 1.5)
    for now in (2.0, 2.5, 3.0):
        meter.unreachable(now)
    meter.answered("pull", 5, 4.25)
    meter.answered("pull", 5, 9.0)

    assert [(outage.since, outage.until) for outage in meter.outages] == [(2.0, 4.25)]


def test_each_second_has_its_count() -> None:
    """What happened is counted in the second in which it happened, from the begin to the last one of all."""
    meter = Meter()
    for now in (0.1, 0.9, 3.2):
        meter.happened("edits", now)
    meter.acknowledged(12, 4.0, away=False)

    assert meter.seconds() == {"acknowledged": [0, 0, 0, 0, 1], "edits": [2, 0, 0, 1, 0]}


def test_a_report_has_a_line_for_each_part() -> None:
    """The report is JSON, and each of its parts stands on a line of its own."""
    meter = Meter()
    watch = Watch(Path("none.json"), lambda: 0.0)
    watch.look()
    made = report.Report(
        options={"devices": 1},
        began_at="2026-03-01T08:00:00+00:00",
        durations={"work": 1.0},
        stopped_early=False,
        counts={},
        edits_per_second=0,
        verdicts_per_second=0,
        phases=report.phases(meter),
        edit_to_verdict_online=meter.online.spread(),
        edit_to_verdict_backlog=meter.backlog.spread(),
        edit_made_late=meter.late.spread(),
        by_second={},
        restarts=(),
        outages=(),
        server=watch.server(),
        load=watch.own(),
        check=None,
        failure="the server did not answer",
        well=False,
    )

    text = report.text(made)
    assert [*json.loads(text)] == [line.split('"')[1] for line in text.splitlines()[1:-1]]
    assert [*report.lines(made)][-1] == "NOT CHECKED: the server did not answer"
    early = msgspec.structs.replace(made, durations={}, phases={})
    assert [*report.lines(early)] == ["NOT CHECKED: the server did not answer"]


def test_what_cannot_be_read_or_written_is_named_before_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken ready file and a report that would have no folder are told by their names."""
    broken, lost = tmp_path / "broken.json", tmp_path / "none" / "report.json"
    broken.write_text("{")

    codes = [command.load(command.Asked(ready_file=broken, json=json)) for json in (None, lost)]

    first, second = capsys.readouterr().err.splitlines()
    assert codes == [command.FAILED, command.MISUSED]
    assert str(broken) in first
    assert str(lost) in second


# The schedule.


def test_the_same_seed_gives_the_same_schedule() -> None:
    """Arrivals and absences are those of the seed; another purpose or another seed has others."""
    one, same, other = (list(plan.arrivals(plan.chance(seed, "edits"), 20, 30)) for seed in (1, 1, 2))
    assert one == same != other
    assert plan.chance(1, "edits").random() != plan.chance(1, "desk").random()
    assert plan.absences(plan.chance(1, "absences"), options()) == plan.absences(plan.chance(1, "absences"), options())


def test_edits_are_due_at_random_and_in_order_at_the_rate() -> None:
    """In a long time the number of edits is that of the rate, and each is due within the time."""
    due = list(plan.arrivals(plan.chance(7, "edits"), 50, 400))
    assert due == sorted(due)
    assert 0 <= due[0] < due[-1] < 400
    assert len(due) == pytest.approx(50 * 400, rel=0.05)
    assert list(plan.arrivals(plan.chance(7, "edits"), 0, 400)) == []


def test_absences_fall_into_the_run() -> None:
    """The share of devices that is away is so by number, and each is back before the end."""
    away = plan.absences(plan.chance(1, "absences"), options(devices=200, seconds=60, away_share=0.25))
    assert len(away) == 50
    for begin, end in away.values():
        assert 0 <= begin < end <= 60
        assert plan.AWAY_SHARE_MIN * 60 <= end - begin <= plan.AWAY_SHARE_MAX * 60
    assert plan.overlap((0, 2), (1, 3))
    assert not plan.overlap((0, 1), (1, 3))


# Sums.


class Told:
    """A hub that has one record."""

    def __init__(self, **fields: str) -> None:
        self.records = {(1, "parts_used", "p"): self}
        self.fields = fields


def summed(*mutations: Mutation) -> Sums:
    """Add mutations of one record up."""
    sums = Sums()
    for mutation in mutations:
        sums.add(1, mutation)
    return sums


def edit(n: int, **others: object) -> Mutation:
    """Give an edit of the record."""
    return msgspec.structs.replace(Mutation(n=n, op="set", collection="parts_used", id="p"), **others)


def test_sums_find_what_is_missing_and_what_counts_twice() -> None:
    """A count has to be the sum of its steps, and a line has to stand in its text as often as it was added."""
    sums = summed(
        edit(1, set={"quantity": "1"}),
        edit(2, do={"quantity": {"inc": "2"}}),
        edit(3, do={"notes": {"append": "\n[1.3] seen"}}),
    )

    assert [*sums.differences(Told(quantity="3", notes="before\n[1.3] seen\nafter"))] == []
    for fields in ({"quantity": "3", "notes": ""}, {"quantity": "3", "notes": "\n[1.3] seen\n[1.3] seen"}):
        (difference,) = sums.differences(Told(**fields))
        assert "'[1.3] seen' stands" in difference
    (difference,) = sums.differences(Told(quantity="5", notes="\n[1.3] seen"))
    assert difference == "parts_used p: quantity is 5, its steps add up to 3"
