"""Laws of documents in YAML: what JSON says they say too, and however they are laid out they say the same."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from upstream.errors import BadManifest
from upstream.vendors.openapi import yaml_text

CHARACTERS = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=20)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)
NUMBERLESS = st.one_of(st.none(), st.booleans(), TEXTS.map("t{}".format))
"""Where PyYAML writes by YAML 1.1, which takes `1e5` and `0o17` for text."""


def nested(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Give tables and lists of leaves, and leaves alone."""
    keys = TEXTS.map("k{}".format)
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


@given(nested(SCALARS), st.sampled_from([None, 1, 4]))
def test_what_is_json_means_in_yaml_what_it_means_in_json(value, indent):
    """YAML 1.2 has all of JSON in it."""
    assert yaml_text.read(json.dumps(value, indent=indent).encode()) == value


@given(
    nested(NUMBERLESS),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, "'", '"', "|", ">"]),
    st.integers(2, 6),
    st.integers(20, 120),
)
def test_the_layout_does_not_matter(value, flow, style, indent, width):
    """Blocks or braces, quotes, folds and narrow lines: another writer's document is read as it was meant."""
    text = yaml.dump(value, default_flow_style=flow, default_style=style, indent=indent, width=width, Dumper=Plain)
    # The writer has faults of its own (a control character in a name that is folded), which no reader can mend.
    assume(yaml.safe_load(text) == value)

    assert yaml_text.read(text.encode()) == value


class Plain(yaml.SafeDumper):
    """A writer that writes a thing twice where it stands twice."""

    def ignore_aliases(self, data: object) -> bool:
        """Never write an alias."""
        del data
        return True


@given(nested(NUMBERLESS), st.integers(1, 2))
def test_an_alias_says_what_it_repeats(value, times):
    """A document with anchors is the one in which each is written out."""
    shared = [value, "a text"]
    repeated = {"first": shared, "more": [shared] * times}

    assert yaml_text.read(yaml.safe_dump(repeated).encode()) == repeated


@given(st.integers(2, 12), st.integers(2, 9))
def test_what_repeats_itself_without_measure_is_refused(levels, wide):
    """Aliases of aliases amount to far more than their text: they are refused before they are built."""
    lines = [f"l{at}: &l{at} [{', '.join([f'*l{at - 1}'] * wide)}]" for at in range(1, levels)]
    text = "\n".join(["l0: &l0 [x, x]", *lines]).encode()
    assume(2 * wide ** (levels - 1) > yaml_text.EXPANSION * len(text))

    with pytest.raises(BadManifest, match="aliases put in"):
        yaml_text.read(text)


def problems(text: bytes) -> tuple[str, ...]:
    """Return what is wrong with a text; nothing if it says what JSON could say."""
    try:
        found = yaml_text.read(text)
    except BadManifest as exc:
        return exc.problems
    assert json.loads(json.dumps(found)) == found
    return ()


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>?'\"#%@`, \n\t", max_size=80).map(str.encode))
def test_whatever_it_is_the_reading_ends_with_a_word_on_it(text):
    """Nothing but `BadManifest` comes out, with one problem in one line."""
    found = problems(text)

    assert len(found) <= 1
    assert not any("\n" in said for said in found)
