"""The retry protocol as a model in Promela, searched by Spin: `retry.pml` says what is modelled."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

MODEL: Final = Path(__file__).with_name("retry.pml")
DEPTH_MAX: Final = 100_000
SECONDS_MAX: Final = 1_200
STATES_MIN: Final = {1: 250_000, 2: 900_000}
COMPILER: Final = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)

pytestmark = [
    pytest.mark.skipif(shutil.which("spin") is None, reason="spin is not installed (Debian: apt-get install spin)"),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed; spin makes a C program of the model"),
]


def search(folder: Path, promise: str, *, faults: int, broken: str | None = None) -> str:
    """Have Spin search the whole model for a history that breaks a promise; return what it reports."""
    defines = [f"-DFAULTS={faults}", *([f"-D{broken}"] if broken else [])]
    run(folder, "spin", "-a", *defines, str(MODEL))
    assert COMPILER is not None
    run(folder, COMPILER, "-O2", "-w", "-DNFAIR=3", "-o", "pan", "pan.c")
    return run(folder, "./pan", "-a", "-f", f"-m{DEPTH_MAX}", "-N", promise)


def run(folder: Path, *command: str) -> str:
    """Run a command to its end; return what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def number(pattern: str, report: str) -> int:
    """Return a number of the report."""
    found = re.search(pattern, report)
    assert found is not None, report
    return int(found[1])


def hold(promise: str, folder: Path, faults: int, record_property) -> None:
    """Expect that no history breaks the promise, and that all of the model was searched."""
    report = search(folder, promise, faults=faults)
    states = number(r"(\d+) states, stored", report)
    record_property("shares", f"{promise}, faults besides restores {faults}: {states} states, no history breaks it")

    assert number(r"errors: (\d+)", report) == 0, report
    assert "max search depth too small" not in report
    assert states >= STATES_MIN[faults], report
    assert set(re.findall(r'retry\.pml:\d+, state \d+, "(.*)"', report)) <= {"-end-"}, (
        "a part of the model was never run"
    )


@pytest.mark.parametrize("promise", ["once", "kept", "answered"])
def test_no_history_of_retries_breaks_a_promise(promise: str, tmp_path, record_property) -> None:
    """Each edit has one effect, none is lost in a restore, and all are answered in the end."""
    hold(promise, tmp_path, 1, record_property)


@pytest.mark.long
@pytest.mark.parametrize("promise", ["once", "kept", "answered"])
def test_no_history_with_more_faults_breaks_a_promise(promise: str, tmp_path, record_property) -> None:
    """What holds with one fault beside the restores holds with two."""
    hold(promise, tmp_path, 2, record_property)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        ("COUNTER_OUTSIDE", "once"),
        ("ANSWER_FIRST", "answered"),
        ("TRIM_WHEN_ANSWERED", "kept"),
        ("NEWEST_BACKUP", "kept"),
        ("ONE_EPOCH", "answered"),
        ("NO_RECALL", "answered"),
    ],
)
def test_a_broken_model_is_refuted(broken: str, promise: str, tmp_path) -> None:
    """Each thing that the protocol insists on is needed: without it there is a history that breaks a promise."""
    report = search(tmp_path, promise, faults=1, broken=broken)

    assert number(r"errors: (\d+)", report) == 1, report
    assert re.search(r"assertion violated|acceptance cycle", report), report
