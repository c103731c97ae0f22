"""The suite against itself: mistakes are put into the code one at a time, and the tests must notice.

`run.py test --planted` runs for each mistake the tests that could notice it, in a process of its own,
until the first one fails, and prints which one that was. A mistake that no test notices fails the run.
At the end the tests that noticed are run once more without any mistake: what fails then as well has
said nothing about its mistake, and fails the run too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

import pytest

from tests import histories
from tests.planted import rules, store
from tests.planted.rules import Mistake

VARIABLE: Final = "FIELDSYNC_PLANTED"
SECONDS_MAX: Final = 600
"""For one part of the tests: what the slowest of them need on a busy machine, and a good deal more."""

AT_ONCE: Final = 2
TESTS_FAILED: Final = 1
"""What pytest ends with when tests ran and some of them failed; any other trouble is a greater number."""

RULES: Final = (
    ("tests/scenarios",),
    (
        "tests/laws/test_verdict_vectors.py",
        "tests/laws/test_device_vectors.py",
        "tests/laws/test_hub_cases.py",
        "tests/unit/test_device_half.py",
        "tests/unit/test_refused_late.py",
        "tests/unit/test_scope.py",
        "tests/unit/test_kinds.py",
        "tests/laws/test_merge_laws.py",
        "tests/laws/test_kinds_laws.py",
    ),
    (
        "tests/laws/test_scope_laws.py",
        "tests/laws/test_device_laws.py",
        "tests/laws/test_grouping.py",
        "tests/laws/test_oracle.py",
    ),
)
"""The tests of the rules, those first that take least time and name best what is wrong."""

MISTAKES: Final = {mistake.__name__: mistake for mistake in (*rules.MISTAKES, *store.MISTAKES)}


class Trial(NamedTuple):
    """Tests with one mistake in the code, or with none: what pytest ended with, and which test failed first."""

    name: str
    code: int
    failed: str

    @property
    def noticed(self) -> bool:
        """Whether a test failed, rather than the run itself."""
        return self.code == TESTS_FAILED and bool(self.failed)


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
    with ThreadPoolExecutor(AT_ONCE) as pool:
        trials = list(pool.map(_try, MISTAKES))
    unnoticed = [trial.name for trial in trials if not trial.noticed]
    sound = _is_sound(sorted({trial.failed for trial in trials if trial.noticed}))
    print(*(f"NOT NOTICED: {name}" for name in unnoticed), sep="\n", end="\n" if unnoticed else "")
    noticed = len(trials) - len(unnoticed)
    print(f"{noticed} of {len(trials)} planted mistakes noticed, in {time.monotonic() - begun:.0f} s")
    return 0 if sound and not unnoticed else 1


def _try(name: str) -> Trial:
    """Let the tests look for one mistake."""
    begun = time.monotonic()
    for tests in tests_for(MISTAKES[name]):
        trial = _run(name, tests, "-x")
        if trial.code:
            break
    said = f"noticed by {trial.failed}" if trial.noticed else f"NOT NOTICED (pytest ended with {trial.code})"
    _tell(begun, name, said)
    return trial


def tests_for(mistake: Mistake) -> tuple[tuple[str, ...], ...]:
    """Return the tests of which one has to notice a mistake, in parts: the next is run if nobody noticed."""
    files = store.MISTAKES.get(mistake)
    return RULES if files is None else tuple((f"tests/integration/{name}",) for name in files)


def _is_sound(tests: Sequence[str]) -> bool:
    """Tell whether these tests pass when there is no mistake."""
    if not tests:
        return False
    begun = time.monotonic()
    trial = _run("", tests, "-n2", "--dist=loadfile")
    said = f"pytest ended with {trial.code}: {trial.failed}" if trial.code else "sound"
    _tell(begun, f"{len(tests)} tests without a mistake", said)
    return trial.code == 0


def _tell(begun: float, name: str, said: str) -> None:
    print(f"{time.monotonic() - begun:>6.1f} s  {name:<50}{said}", flush=True)


def _run(planted: str, tests: Sequence[str], *options: str) -> Trial:
    """Run tests in a process of their own, with a mistake or with none."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        usual = ("-q", "-p", "no:cacheprovider", f"--junit-xml={report}", "--hypothesis-profile=planted")
        try:
            code = subprocess.run(
                (sys.executable, "-m", "pytest", *usual, *options, *tests),
                env={**os.environ, VARIABLE: planted},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS_MAX,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
        return Trial(planted, code, _first_failure(report))


def _first_failure(report: Path) -> str:
    """Return the first test that failed in the run, as pytest can be asked for it."""
    if not report.exists():
        return ""
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            return f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}"
    return ""
