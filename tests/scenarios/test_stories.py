"""Each *.txt here is a story with the verdicts it expects; this plays them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncserver.catalogs import source
from tests.scenarios.stage import Stage

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    """What a story says happens."""
    stage = Stage(source.text(None))
    lines = path.read_text(encoding="utf-8").splitlines()

    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith(("#", ">")):
            continue
        try:
            stage.play(line)
        except (AssertionError, KeyError) as error:
            pytest.fail(f"{path.name}:{number}: {line}\n{error}")
        expected = _expected(lines[number:])
        assert not expected or stage.verdicts() == expected, f"{path.name}:{number}: {line}"


def test_there_are_stories() -> None:
    """A folder that lost its stories must not look green."""
    assert len(STORIES) >= 12


def _expected(following: list[str]) -> list[str]:
    """Return the verdicts that the story lists below a line."""
    found: list[str] = []
    for line in following:
        if not line.startswith("  >"):
            return found
        found.append(line.removeprefix("  >").strip())
    return found
