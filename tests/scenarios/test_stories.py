"""Each *.txt here is a story with the verdicts it expects; this plays them all."""

from __future__ import annotations

import re

import pytest

from tests.scenarios import story
from tests.scenarios.stage import Stage
from tests.scenarios.story import Story

STORIES = story.everything()
PAGE = (story.FOLDER / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^\| ([A-Z]) \| .* \| (.*) \|$", re.MULTILINE)
DUE = re.compile(r"^\| `(\w+)\.txt` \| (.*) \|$", re.MULTILINE)


def marked(told: Story) -> object:
    """Give a story as a case; one that is due must fail, and whoever makes it true takes the mark away."""
    due = [pytest.mark.xfail(reason=f"due later: {told.due}", strict=True)] if told.due else []
    return pytest.param(told, id=told.name, marks=due)


@pytest.mark.parametrize("told", [marked(each) for each in STORIES])
def test_story(told: Story) -> None:
    """What a story says happens."""
    stage = Stage(story.catalogue(told.catalogue))

    for sentence in told.sentences:
        place = f"{told.name}.txt:{sentence.number}: {sentence.text}"
        try:
            stage.play(sentence.text)
        except (AssertionError, KeyError) as error:
            pytest.fail(f"{place}\n{error!r}")
        assert not sentence.verdicts or stage.verdicts() == sentence.verdicts, place


def test_every_story_checks_something() -> None:
    """A story that expects nothing would pass whatever happened."""
    checks = re.compile(r"\S+ (sees|misses|shows|keeps|has|holds) ")
    silent = [told.name for told in STORIES if not any(s.verdicts or checks.match(s.text) for s in told.sentences)]

    assert len(STORIES) >= 40
    assert not silent


def test_the_page_names_the_stories_of_each_worked_example() -> None:
    """Whoever looks for an example finds its stories, and a story that tells one is found there."""
    listed = {letter: set(re.findall(r"`(\w+)\.txt`", files)) for letter, files in EXAMPLE.findall(PAGE)}
    told = {letter: {each.name for each in STORIES if letter in each.example.split()} for letter in listed}

    assert "".join(sorted(listed)) == "ABCDEFGHIJKL"
    assert listed == told
    assert {letter for each in STORIES for letter in each.example.split()} <= set(listed)


def test_the_page_names_the_stories_that_are_due_later() -> None:
    """What cannot be played yet is listed with what it waits for, and nothing else is."""
    assert dict(DUE.findall(PAGE)) == {told.name: told.due for told in STORIES if told.due}


def test_every_catalogue_is_used() -> None:
    """A catalogue beside the stories belongs to one of them."""
    there = {path.stem for path in story.CATALOGUES.glob("*.toml")}
    adopting = re.compile(r"hub adopts (\w+)")
    adopted = {found[1] for told in STORIES for s in told.sentences if (found := adopting.fullmatch(s.text))}

    assert there == adopted | {told.catalogue for told in STORIES if told.catalogue}
