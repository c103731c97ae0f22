"""Laws of the merge: what holds for every cell, every policy and every write."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from replication import kinds, merge, policy, text3
from replication.catalog import MERGES_BY_OP, MERGES_BY_VALUE
from replication.merge import Write
from replication.record import Cell
from replication.versions import covers
from tests import strategies
from tests.strategies import BASE_MAX, CELLS, JOBS, Step, cell_histories, place, played

replace = msgspec.structs.replace

MERGING = tuple(name for name in CELLS if JOBS.cells[name].merge in MERGES_BY_OP)
JOINING = tuple(name for name in CELLS if JOBS.cells[name].merge in MERGES_BY_VALUE)
PLAIN = tuple(name for name in CELLS if not JOBS.cells[name].merge)
RANKED = ("status", "finding", "title", "window")
SEEN_ALL = 10 * BASE_MAX

_WORD = st.sampled_from(["pump", "valve", "leaks", "dry", "hot"])
_TEXT = st.text("ab \n|", max_size=12)


def last(history: tuple[str, list[Write]]) -> Step:
    """Play a history and return its last step."""
    return played(*history)[-1]


@given(cell_histories())
def test_what_was_seen_is_overwritten_whatever_the_ranks(history) -> None:
    """A write whose writer had seen the incumbent is installed, or says the same."""
    name, given_writes = history
    *before, write = given_writes

    step = last((name, [*before, replace(write, base=SEEN_ALL)]))

    assert step.outcome.verdict.verdict in ("applied", "converged")
    assert step.outcome.conflict is None


@given(cell_histories())
def test_a_conflict_if_and_only_if_neither_had_seen_the_other(history) -> None:
    """A write leaves an entry exactly if it met something unseen that was not equal and took it in."""
    for before, write, outcome in played(*history):
        met_unseen = before is not None and not merge.seen(write, before)
        differs = outcome.verdict.verdict != "converged"

        assert (outcome.conflict is not None) == (met_unseen and differs)
        assert (outcome.verdict.conflict is not None) == (outcome.conflict is not None)


@given(cell_histories())
def test_a_write_that_lost_leaves_the_cell_as_it_was(history) -> None:
    """A superseded write moves no value, no seq, no twin and no vector, so nobody after it is accused of anything."""
    for before, _, outcome in played(*history):
        if outcome.verdict.verdict == "superseded":
            assert outcome.cell is not None
            assert replace(outcome.cell, siblings=()) == replace(before, siblings=())


@given(cell_histories(RANKED), st.data())
def test_a_lost_write_changes_no_later_verdict(history, data) -> None:
    """Whoever writes after a write that lost gets the verdict they would have got without it."""
    steps = played(*history)
    later = data.draw(strategies.writes(history[0], len(steps) + 1))

    for lost in steps:
        if lost.outcome.verdict.verdict == "superseded":
            assert merge.judge(lost.before, later, place(50)) == merge.judge(lost.outcome.cell, later, place(50))


@given(cell_histories())
def test_only_what_is_installed_takes_a_seq(history) -> None:
    """Applied and merged install at the seq of their place; all others leave winner, value and seq alone."""
    for number, (before, _, outcome) in enumerate(played(*history), start=1):
        assert outcome.cell is not None
        if outcome.verdict.verdict in ("applied", "merged"):
            assert outcome.cell.seq == place(number).seq
        else:
            assert before is not None
            assert (before.value, before.stamp, before.seq) == (
                outcome.cell.value,
                outcome.cell.stamp,
                outcome.cell.seq,
            )


@given(cell_histories())
def test_nothing_is_lost(history) -> None:
    """What a write asked for and what stood before are both still there, unless one had seen the other."""
    for before, write, outcome in played(*history):
        assert outcome.cell is not None
        kept = [outcome.cell.value, *(sibling.value for sibling in outcome.cell.siblings)]
        kept += [outcome.conflict.loser.value] if outcome.conflict else []
        knew = before is None or merge.seen(write, before)

        if outcome.verdict.verdict == "merged":
            assert write.op in kept or write.value in kept
        elif before is not None and not knew:
            assert before.value in kept
        if write.op is None and outcome.verdict.verdict not in ("merged", "converged"):
            assert any(holds(each, write.value) for each in kept)


def holds(kept: Any, value: Any) -> bool:
    """Tell whether a kept value is the one that was written, or has the part of a group that was."""
    if isinstance(kept, dict) and isinstance(value, dict):
        return all(kinds.same(kept.get(name), part) for name, part in value.items())
    return kinds.same(kept, value)


@given(cell_histories())
def test_a_cell_never_forgets_what_it_has_absorbed(history) -> None:
    """The vector only grows; it takes in what was installed, merged or equal, and nothing that lost."""
    for before, write, outcome in played(*history):
        assert outcome.cell is not None
        old, new = (before.vv if before else {}), outcome.cell.vv
        taken = outcome.verdict.verdict in ("applied", "merged", "converged")

        assert all(new[rid] >= n for rid, n in old.items())
        assert covers(new, write.stamp.dot) if taken else new == old


@given(cell_histories())
def test_what_waits_goes_only_by_name_or_by_its_own_writer(history) -> None:
    """A value that waits for a person stays until it is named, or the device that wrote it writes again."""
    for before, write, outcome in played(*history):
        waiting = before.siblings if before else ()
        assert outcome.cell is not None
        gone = [each for each in waiting if each not in outcome.cell.siblings]

        assert all(write.is_own(each.stamp.made_as) for each in gone)
        assert list(outcome.closed) == gone


@given(cell_histories())
def test_a_name_closes_what_waits(history) -> None:
    """A write that has seen all and names what waits leaves nothing waiting."""
    name, given_writes = history
    *before, write = given_writes
    cell = played(name, before)[-1].outcome.cell if before else None
    named = tuple(each.stamp.dot for each in cell.siblings) if cell else ()

    outcome = merge.judge(cell, replace(write, base=SEEN_ALL, closes=named), place(50))

    assert outcome.cell is not None
    assert outcome.cell.siblings == ()
    assert [each.stamp.dot for each in outcome.closed] == list(named)


@given(cell_histories(), st.data())
def test_a_context_says_what_a_base_says(history, data) -> None:
    """A writer who says what it saw as a vector gets the verdict that its base would have got."""
    steps = played(*history)
    shown = data.draw(st.integers(1, len(steps)))
    write = data.draw(strategies.writes(history[0], len(steps) + 1))
    vector = dict[int, int]()
    for step in steps[:shown]:
        for stamp in step.outcome.cell.stamps() if step.outcome.cell else ():
            vector[stamp.dot.rid] = max(stamp.dot.n, vector.get(stamp.dot.rid, 0))

    by_base = merge.judge(steps[-1].outcome.cell, replace(write, base=place(shown).seq), place(50))
    by_context = merge.judge(steps[-1].outcome.cell, replace(write, base=0, context=vector), place(50))

    assert by_base.verdict == by_context.verdict
    assert by_base.conflict == by_context.conflict


@given(cell_histories())
def test_saying_it_again_is_no_news(history) -> None:
    """Who writes the value that they were shown changes nothing, and no seq is taken."""
    step = last(history)
    cell = step.outcome.cell
    assert cell is not None
    again = replace(step.write, value=cell.value, sent=cell.value, op=None, base=SEEN_ALL)

    outcome = merge.judge(cell, again, place(50))

    assert outcome.verdict.verdict == "converged"
    assert outcome.cell is not None
    assert (cell.value, cell.seq, cell.stamp) == (outcome.cell.value, outcome.cell.seq, outcome.cell.stamp)


@given(cell_histories())
def test_the_writer_is_told_what_stands_there(history) -> None:
    """A verdict carries the winner and its seq, and its value unless that is what was sent."""
    for _, write, outcome in played(*history):
        cell, told = outcome.cell, outcome.verdict
        assert cell is not None
        value = write.sent if told.value is msgspec.UNSET else told.value

        assert (cell.stamp.dot, cell.seq) == (told.dot, told.seq)
        assert kinds.same(value, cell.value)


@given(st.sampled_from(PLAIN), st.data())
def test_of_two_that_had_not_seen_each_other_the_higher_stays(name, data) -> None:
    """Between two ranks the order of arrival does not matter; between equals it is for the tie rule to say."""
    first, second = (replace(data.draw(strategies.writes(name, n, whole=True)), base=0) for n in (1, 2))
    assume(not second.is_own(first.stamp.dot) and not first.is_own(second.stamp.dot))
    assume(not kinds.same(first.value, second.value))
    rule = JOBS.cells[name]
    one, other = (rule.rank_of(each.stamp.authority, each.stamp.relation) for each in (first, second))

    forth, back = (played(name, order)[-1].outcome.cell for order in ([first, second], [second, first]))

    assert forth is not None
    assert back is not None
    if one != other:
        assert forth.value == back.value == (first.value if one < other else second.value)
    elif rule.tie == "clock" and first.stamp.time != second.stamp.time:
        assert forth.value == back.value == max(first, second, key=lambda each: each.stamp.time).value
    elif rule.tie == "last":
        assert (forth.value, back.value) == (second.value, first.value)
    else:
        assert (forth.value, back.value) == (first.value, second.value)


@given(st.sampled_from(MERGING), st.data())
def test_merged_operations_come_to_the_same_in_any_order(name, data) -> None:
    """Sums of steps and unions of additions do not depend on the order; appended tails are all there."""
    start = replace(data.draw(strategies.writes(name, 1)), value=None, op=None)
    rids = (21, 22, 23)
    asked = [data.draw(strategies.operations(name).filter(lambda op: "remove" not in op)) for _ in rids]
    concurrent = [
        replace(start, stamp=replace(start.stamp, dot=strategies.Dot(rid, 1)), base=0, op=op, chain=None)
        for rid, op in zip(rids, asked, strict=True)
    ]

    ends = [played(name, [start, *order])[-1].outcome.cell for order in permutations(concurrent)]
    shown = [end.value for end in ends if end is not None]

    assert len(shown) == 6
    if "append" in asked[0]:
        assert len({"".join(sorted(value or "")).replace(" ", "") for value in shown}) == 1
    else:
        assert all(value == shown[0] for value in shown)


@given(st.sampled_from(JOINING), st.data())
def test_joined_values_come_to_the_same_in_any_order(name, data) -> None:
    """The greatest, the least, the least above all: who arrives first makes no difference, nor who comes twice."""
    first = replace(data.draw(strategies.writes(name, 1)), chain=None)
    asked = [data.draw(strategies.values(name)) for _ in range(3)]
    concurrent = [
        replace(first, stamp=replace(first.stamp, dot=strategies.Dot(21 + i, 1)), base=0, value=value)
        for i, value in enumerate([*asked, asked[0]])
    ]

    ends = [played(name, [first, *order])[-1].outcome.cell for order in permutations(concurrent)]

    assert len({str(end.value) for end in ends if end is not None}) == 1


@given(st.lists(_WORD, max_size=8), st.data())
def test_edits_of_different_words_are_both_kept(words, data) -> None:
    """Where two edits leave a word between them untouched, the text has both, whoever comes first."""
    cut = data.draw(st.integers(0, len(words)))
    before, after = words[:cut], words[cut:]
    was = " ".join([*before, "|", *after])
    one = " ".join([*data.draw(st.lists(_WORD, max_size=8)), "|", *after])
    other = " ".join([*before, "|", *data.draw(st.lists(_WORD, max_size=8))])

    expected = one.partition("|")[0] + "|" + other.partition("|")[2]

    assert text3.merge(was, one, other) == text3.merge(was, other, one) == expected


@given(_TEXT, _TEXT, _TEXT)
def test_a_three_way_merge_is_fair(was, one, other) -> None:
    """Nobody's edit is preferred, an edit against none is taken whole, and equal edits are made once."""
    assert text3.merge(was, one, other) == text3.merge(was, other, one)
    assert text3.merge(was, one, was) == one
    assert text3.merge(was, one, one) == one


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_changes_lead_from_one_text_to_the_other_by_the_shortest_way(old, new) -> None:
    """What is found to have changed makes the new text of the old one, and no shorter list would."""
    found = text3.changes(old, new)
    assert found is not None
    rebuilt, place = [], 0
    for change in found:
        rebuilt += [*old[place : change.start], *change.words]
        place = change.end

    assert [*rebuilt, *old[place:]] == new
    assert sum(change.end - change.start + len(change.words) for change in found) == _distance(old, new)


def test_texts_that_are_too_much_work_are_not_compared() -> None:
    """Two long texts that have nothing in common are given up, and nobody waits for them."""
    one, other = ([f"{name}{i}" for i in range(5_000)] for name in "xy")

    assert text3.changes(one, other) is None
    assert text3.merge(" ".join(one), " ".join(other), " ".join([*one, "end"])) is None


def _distance(old: list[str], new: list[str]) -> int:
    """Return how many words have to be taken out and put in, by trying everything."""
    row = list(range(len(new) + 1))
    for i, word in enumerate(old, start=1):
        last, row = row, [i]
        for j, other in enumerate(new, start=1):
            row.append(last[j - 1] if word == other else 1 + min(last[j], row[j - 1]))
    return row[-1]


@given(cell_histories(MERGING))
def test_a_merge_ranks_as_its_highest_part(history) -> None:
    """What the hub makes of two values ranks no lower than either."""
    for before, write, outcome in played(*history):
        if outcome.verdict.verdict == "merged":
            assert before is not None
            assert outcome.cell is not None
            stamps = [*before.stamps(), write.stamp]
            ranks = [write.rule.rank_of(stamp.authority, stamp.relation) for stamp in stamps]
            mine = outcome.cell.stamp

            assert min(ranks) == write.rule.rank_of(mine.authority, mine.relation)
            assert mine.dot.rid == strategies.HUB


@given(cell_histories(), st.data())
def test_the_policy_has_an_answer_for_everybody(history, data) -> None:
    """Whoever meets whomever: one wins, loses or waits, and the rule has a name."""
    cell = last(history).outcome.cell
    assert isinstance(cell, Cell)
    challenger = data.draw(strategies.writes(history[0], 99)).stamp
    rule = JOBS.cells[history[0]]

    ruling, name = policy.settle(rule, cell, challenger)

    assert ruling in ("wins", "loses", "waits")
    assert name in ("rank", f"tie:{rule.tie}")
