"""`fieldsync demo`, as a newcomer starts it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.served import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.served import Served

SECONDS_MAX = 60
SCENES = 7


def tell(*options: str) -> subprocess.CompletedProcess[str]:
    """Tell the story to its end."""
    command = [sys.executable, "-m", "clients", "demo", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=CHECKOUT, timeout=SECONDS_MAX, check=False)


@pytest.mark.parametrize("time", ["first", "second"])
def test_the_story_ends_well(served: Served, time: str) -> None:
    """The demo tells all its scenes and ends with everybody in agreement, also on a server that knows it already."""
    told = tell("--ready-file", str(served.ready_file))

    assert told.returncode == 0, f"the {time} time:\n{told.stdout}\n{told.stderr}"
    assert not told.stderr
    assert re.findall(r"^(\d)\. ", told.stdout, re.MULTILINE) == [str(number) for number in range(1, SCENES + 1)]
    for verdict in ("applied", "merged", "superseded", "parked"):
        assert verdict in told.stdout
    assert "All is well: 0 differences, 0 promises not kept." in told.stdout


def test_the_story_says_what_it_needs(tmp_path: Path) -> None:
    """Without people to play it, or without a server, the demo says so in a sentence."""
    assert "--ready-file" in tell().stderr
    missing = tell("--ready-file", str(tmp_path / "none.json"))
    assert (missing.returncode, len(missing.stderr.splitlines())) == (1, 1)
