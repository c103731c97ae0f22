"""The page about mappings says what is so: each example on it makes what it says, each table is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tidy import sources
from upstream import jsonnet, making, mapping_file, shadow
from upstream.mapping import ROOTS_INTO, ROOTS_OUT
from upstream.mapping_file import USED_BY

PAGE = (sources.CHECKOUT / "docs" / "mappings.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(PAGE)
EXAMPLES = [
    (text, json.loads(BLOCKS[place + 1][1]), json.loads(BLOCKS[place + 2][1]))
    for place, (kind, text) in enumerate(BLOCKS)
    if kind == "toml"
]


@pytest.fixture(scope="module")
def pool() -> Iterator[jsonnet.Pool]:
    """Give somebody who runs the code of the examples."""
    with jsonnet.Pool(jsonnet.Limits(children=1, waiting_ms=60_000)) as made:
        yield made


def test_each_example_is_a_mapping_with_what_it_is_given_and_what_it_makes():
    """Blocks come in threes, so that none is left out of the test below."""
    assert [kind for kind, _ in BLOCKS] == ["toml", "json", "json"] * len(EXAMPLES)
    assert len(EXAMPLES) >= 7


@pytest.mark.parametrize(("text", "context", "expected"), EXAMPLES, ids=[str(place) for place in range(len(EXAMPLES))])
def test_each_example_makes_what_the_page_says(text: str, context: Any, expected: Any, pool: jsonnet.Pool):
    """The mapping is read without a problem, its conditions hold, and its rows make exactly what stands there."""
    found = mapping_file.parse(text)
    each = (*found.out, *found.into)[0]

    made = making.make(each.rows, context, pool.evaluate)

    assert making.holds(each.when, context)
    assert made == making.Made(expected)


def table(heading: str) -> dict[str, list[str]]:
    """Give the words in code style of each line of the table under a heading, by the first of them."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return {re.findall(r"`(\w+)`", line)[0]: re.findall(r"`(\w+)`", line.split("|")[-2]) for line in lines}


def test_the_page_lists_the_actions_and_words_that_there_are():
    """No action, no key of one, and no word that a path can begin with is missing or too many."""
    assert {action: set(keys) for action, keys in table("Actions").items()} == {
        action: set(keys) for action, keys in USED_BY.items()
    }
    assert set(table("Where values come from")) == {*ROOTS_OUT, *ROOTS_INTO}


def test_the_page_names_the_limits_as_they_are():
    """The numbers on the page are those of the code."""
    limits = jsonnet.Limits()

    assert f"work for {limits.processor_ms} ms, use {limits.memory_bytes >> 20} MiB" in PAGE
    assert f"be given {limits.input_bytes >> 10} KiB and\nmake as much" in PAGE
    assert limits.input_bytes == limits.output_bytes
    assert shadow.LEAST == 20
    assert "none of the last twenty" in PAGE
