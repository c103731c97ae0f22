"""The suite against itself: mistakes are put into the code one at a time, and the tests must notice.

`run.py test --planted` runs a part of the suite for each mistake in a process of its own, until the
first test fails, and prints which one that was. A mistake that no test notices fails the run; so
does a part of the suite that fails without any mistake, because then its failing would say nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

import pytest

from tests import histories
from tests.planted import rules, store
from tests.planted.rules import Mistake
from tests.tidy import sources

VARIABLE: Final = "FIELDSYNC_PLANTED"
SECONDS_MAX: Final = 600
TESTS_FAILED: Final = 1
"""What pytest ends with when tests ran and some of them failed; any other trouble is a greater number."""

RULES: Final = ("tests/scenarios", "tests/unit", "tests/laws", "--ignore=tests/laws/test_oracle_notices.py")
MISTAKES: Final = {mistake.__name__: mistake for mistake in (*rules.MISTAKES, *store.MISTAKES)}


class Trial(NamedTuple):
    """A part of the suite with one mistake in the code: what pytest ended with, and who noticed."""

    name: str
    code: int
    caught_by: str
    seconds: float


def plant(patch: pytest.MonkeyPatch) -> str | None:
    """Put in the mistake that the environment names, if it names one, and return its sentence."""
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    # Nobody reads the story of a failure that was asked for.
    patch.setattr(histories, "shrink", lambda events, _: list(events))
    MISTAKES[name](patch)
    return MISTAKES[name].__doc__


def main() -> int:
    """Try each mistake, print who noticed it, and fail if one went unnoticed."""
    begun = time.monotonic()
    sound = [
        _try("", "rules", RULES),
        _try("", "store", _files(sorted({f for fs in store.MISTAKES.values() for f in fs}))),
    ]
    trials = [_try(mistake.__name__, mistake.__name__, _tests_for(mistake)) for mistake in MISTAKES.values()]
    failed = [trial for trial in sound if trial.code] + [trial for trial in trials if trial.code != TESTS_FAILED]
    for trial in failed:
        print(f"NOT AS IT SHOULD BE: {trial.name} ended with {trial.code} {trial.caught_by}")
    noticed = len(trials) - sum(trial in failed for trial in trials)
    print(f"{noticed} of {len(trials)} planted mistakes noticed, in {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


def _tests_for(mistake: Mistake) -> tuple[str, ...]:
    files = store.MISTAKES.get(mistake)
    return RULES if files is None else _files(files)


def _files(names: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"tests/integration/{name}" for name in names)


def _try(planted: str, name: str, tests: tuple[str, ...]) -> Trial:
    begun = time.monotonic()
    report = sources.CHECKOUT / ".cache" / "planted.xml"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    workers = ("-n2", "--dist=worksteal") if tests is RULES else ("-n0",)
    options = ("-x", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", "--hypothesis-profile=planted", *workers)
    command = (sys.executable, "-m", "pytest", *options, *tests)
    try:
        code = subprocess.run(
            command,
            env={**os.environ, VARIABLE: planted},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS_MAX,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        code = -1
    trial = Trial(name, code, _first_failure(report), time.monotonic() - begun)
    said = f"noticed by {trial.caught_by}" if planted and code == TESTS_FAILED else "sound" if not code else "?"
    print(f"{trial.seconds:>6.1f} s  {name:<50}{said}", flush=True)
    return trial


def _first_failure(report: Path) -> str:
    """Return the first test that failed in the run, as its report has it."""
    if not report.exists():
        return ""
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            return f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name', '')}"
    return ""
