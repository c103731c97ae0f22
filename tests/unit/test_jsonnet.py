"""Jsonnet of a tenant: it makes values, and whatever else it tries ends with its child and a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tidy import sources
from upstream import jsonnet, making
from upstream.errors import CodeUnavailable
from upstream.jsonnet import CodeFailed, Limits, Pool
from upstream.mapping import Row

LOOP = "local count(n) = if n < 0 then n else count(n + 1) tailstrict; count(0)"
EATER = "std.length([std.repeat('x', 1000) + i for i in std.range(1, 100000000)])"
BOMB = "std.foldl(function(text, i) text + text, std.range(1, 60), 'x')"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Give a pool with one child, which is told to be patient with a busy machine."""
    with Pool(Limits(children=1, waiting_ms=60_000)) as made:
        yield made


def children(pool: Pool) -> list[Any]:
    """Give the children that wait for work."""
    return [child for child in pool._free.queue if child is not None]


def failure(pool: Pool, code: str, context: Any = None) -> str:
    """Give the sentence with which a snippet fails."""
    with pytest.raises(CodeFailed) as failed:
        pool.evaluate(code, {} if context is None else context)
    return str(failed.value)


def test_code_makes_a_value_of_the_context(pool):
    """A snippet names the roots of the context; what is not there is null, and any text arrives as it is."""
    context = {"record": {"hours": 2, "note": "é\u2028\"'\\"}, "local": {"customer_id": "c"}}

    made = pool.evaluate(
        "{ twice: record.hours * 2, note: record.note, none: period, ours: ours.customer_id }", context
    )

    assert made == {"twice": 4, "note": "é\u2028\"'\\", "none": None, "ours": "c"}


def test_the_same_code_is_sent_once_and_forgotten_code_again(pool):
    """A child keeps the code that it met, up to a number; code that it let go is sent again, and works."""
    for number in range(250):
        assert pool.evaluate(f"record.x + {number}", {"record": {"x": 1}}) == 1 + number

    child = children(pool)[0]
    assert pool.evaluate("record.x + 0", {"record": {"x": 5}}) == 5
    assert children(pool) == [child]


def test_what_was_made_once_is_not_made_again(pool):
    """The same code with the same context is answered from memory, whatever became of the children."""
    first = pool.evaluate("record.once", {"record": {"once": 1}})
    done = children(pool)[0].evaluations

    assert pool.evaluate("record.once", {"record": {"once": 1}}) == first
    assert children(pool)[0].evaluations == done


@pytest.mark.parametrize("code", ["import 'x.libsonnet'", "importstr '/etc/hostname'", "importbin '/etc/hostname'",
                                  "{ hidden: [importstr '/etc/passwd', 1] }"])  # fmt: skip
def test_nothing_can_be_imported(pool, code):
    """Files are not read, wherever in the code it is tried, and the child lives on."""
    assert failure(pool, code).startswith("imports are not allowed here ('")
    assert pool.evaluate("1 + 1", {}) == 2


def test_neither_environment_nor_anything_else_of_the_machine_is_there(pool, monkeypatch):
    """A secret in the environment of the service is not in that of the child, and Jsonnet has no way to ask for it."""
    monkeypatch.setenv("FIELDSYNC_SECRET_KEYS", "hush")
    with Pool(Limits(children=1, waiting_ms=60_000)) as fresh:
        fresh.evaluate("1", {})
        seen = Path(f"/proc/{children(fresh)[0]._process.pid}/environ")
        if not seen.exists():
            pytest.skip("this system does not show the environment of a process")
        assert b"hush" not in seen.read_bytes()
    assert "Undefined external variable" in failure(pool, "std.extVar('FIELDSYNC_SECRET_KEYS')")
    assert failure(pool, "std.native('open')('/etc/passwd')")


def test_a_mistake_is_told_with_the_line_that_its_author_counts(pool):
    """Syntax errors, errors at run time and errors of the author's own come with their line, counted from 1."""
    assert failure(pool, "{\n  a: ,\n}").startswith("line 2:")
    assert failure(pool, "local x = 1;\nx + nothere").startswith("line 2:")
    assert "the period is closed" in failure(pool, "error 'the period is closed'")
    assert "Division by zero" in failure(pool, "1 / 0")


def test_a_loop_is_killed_and_the_next_one_served(pool):
    """Code without end is ended with its child; a new child answers the next."""
    before = failure(pool, LOOP)

    assert "took longer than 250 ms" in before
    assert children(pool) == []
    assert pool.evaluate("'again'", {}) == "again"


@pytest.mark.parametrize("code", [EATER, BOMB])
def test_code_that_eats_memory_is_killed(code):
    """Memory ends at the limit: the child is gone, the service is not, and the next one is served."""
    with Pool(Limits(children=1, waiting_ms=60_000, processor_ms=30_000)) as patient:
        assert "it took more memory than it may" in failure(patient, code)
        assert patient.evaluate("2", {}) == 2


def test_too_much_in_and_too_much_out_are_refused():
    """Code, context and value have their largest sizes, each with its name in the sentence."""
    limits = Limits(
        children=1, waiting_ms=60_000, processor_ms=10_000, code_bytes=500, input_bytes=1_000, output_bytes=1_000
    )
    with Pool(limits) as small:
        assert failure(small, "1" + " " * 500) == "the code is longer than 500 bytes"
        assert failure(small, "1", {"record": "x" * 1_000}) == "what it is given is larger than 1000 bytes"
        assert (
            failure(small, "std.repeat('x', 990) + std.repeat('é', 500)") == "what it makes is larger than 1000 bytes"
        )
        assert small.evaluate("std.repeat('x', 900)", {}) == "x" * 900


def test_what_is_no_json_is_not_sent(pool):
    """A context that has no JSON is refused before a child sees it."""
    assert failure(pool, "record", {"record": float("nan")}).startswith("what it is given cannot be written as JSON")


def test_a_child_that_crashed_is_told_of_and_replaced(pool):
    """A child that dies in the middle of its work fails that one row; the next is served by another child."""
    pool.evaluate("'warm'", {})
    victim = children(pool)[0]._process
    killer = threading.Timer(0.05, victim.send_signal, [signal.SIGABRT])
    killer.start()

    said = failure(pool, f"[{LOOP}, 'crash']")

    killer.join()
    assert said.startswith("it broke off")
    assert victim.poll() is not None
    assert pool.evaluate("'alive'", {}) == "alive"


def test_a_child_that_died_while_it_waited_is_replaced(pool):
    """Somebody else's kill costs nothing: the next who asks gets another child and an answer."""
    pool.evaluate("'before'", {})
    victim = children(pool)[0]._process
    victim.kill()
    os.waitid(os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)

    assert pool.evaluate("'after'", {}) == "after"
    assert children(pool)[0]._process.pid != victim.pid


def test_a_child_is_replaced_after_so_many_evaluations():
    """A child does not grow old: what it might have leaked goes with it."""
    with Pool(Limits(children=1, waiting_ms=60_000, evaluations_per_child=3)) as short:
        pids = set()
        for number in range(7):
            assert short.evaluate("record", {"record": number}) == number
            pids |= {child._process.pid for child in children(short)}
        assert len(pids) == 3


def test_those_who_wait_too_long_for_a_child_are_told_so():
    """When all children are busy for longer than is waited, the row is not to blame, and the error says so."""
    with Pool(Limits(children=1, waiting_ms=50)) as busy:
        held = busy._free.get()
        with pytest.raises(CodeUnavailable, match="busy"):
            busy.evaluate("1", {})
        busy._free.put(held)


def test_several_threads_share_the_children():
    """Whoever asks gets the answer to their own question."""
    answers: dict[int, Any] = {}
    with Pool(Limits(children=2, waiting_ms=60_000)) as shared:

        def ask(number: int) -> None:
            answers[number] = [shared.evaluate("record * 2", {"record": number * 100 + i}) for i in range(20)]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == {number: [(number * 100 + i) * 2 for i in range(20)] for number in range(4)}


PARENT = f"""
import sys, threading
from upstream import jsonnet
pool = jsonnet.Pool(jsonnet.Limits(children=1, waiting_ms=600_000, processor_ms=500_000))
pool.evaluate("1", {{}})
print(pool._free.queue[0]._process.pid, flush=True)
pool.evaluate({LOOP!r}, {{}})
"""


def test_a_child_does_not_outlive_its_parent():
    """When the service is killed in the middle of an evaluation, its child ends by itself, though it loops."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=sources.CHECKOUT)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)

    parent.kill()
    parent.communicate()

    until = time.monotonic() + 60
    while is_running(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    """Tell whether there is such a process that has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_row_of_a_mapping_runs_its_code(pool):
    """Jsonnet is an action like the others: its value goes into the field, its failure is the row's problem."""
    rows = (
        Row(target="label", action="jsonnet", code="std.asciiUpper(record.title)"),
        Row(target="broken", action="jsonnet", code="record.nothing.more"),
    )

    made = making.make(rows, {"record": {"title": "boiler"}}, pool.evaluate)

    assert made.fields == {"label": "BOILER"}
    assert [(problem.target, "nothing" in problem.message) for problem in made.problems] == [("broken", True)]


def test_every_root_of_a_context_has_a_name_in_code():
    """Whatever a mapping's paths can begin with, code can name too."""
    with Pool(Limits(children=1, waiting_ms=60_000)) as fresh:
        names = ["ours" if root == "local" else root for root in jsonnet.ROOTS]
        assert fresh.evaluate(f"[{', '.join(names)}]", {root: root for root in jsonnet.ROOTS}) == [*jsonnet.ROOTS]
