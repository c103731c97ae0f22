"""TOML held against types: what the reader calls right is exactly what the decoder takes."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests import manifests
from upstream import typed_toml
from upstream.contract import Contract
from upstream.manifest import Manifest
from upstream.mapping import MappingSet

TABLES = (Manifest, MappingSet, Contract)
WORDS = st.sampled_from(
    ["kind", "method", "path", "GET", "none", "bearer", "read", "A", "x", "out", "rows", "target", "copy", "operations"]
)
KEYS = WORDS | st.sampled_from(
    [
        "system",
        "title",
        "grade",
        "base_url",
        "auth",
        "verify",
        "config",
        "effect",
        "query",
        "size",
        "object",
        "collection",
    ]
)
VALUES = st.recursive(
    WORDS | st.integers(-3, 300) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False, width=16),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


def shapes(table: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Give values that have the keys of a table and, mostly, something fitting in them."""
    names = [field.encode_name for field in msgspec.structs.fields(table)]
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, VALUES))


@st.composite
def nearly_right(draw: st.DrawFn) -> dict[str, Any]:
    """Give a real manifest in which one value, however deep, is another one, or gone, or not."""
    whole: Any = tomllib.loads(manifests.TEXT)
    at = whole
    for _ in range(draw(st.integers(0, 4))):
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or not at[key]:
            at[key] = draw(VALUES)
            break
        at = at[key]
    return whole


@given(nearly_right())
def test_a_slip_in_a_real_file_is_seen_exactly_if_the_decoder_sees_it(value):
    """A manifest with one value replaced has misfits exactly if the decoder refuses it."""
    found = list(typed_toml.misfits(value, Manifest))

    try:
        msgspec.convert(value, Manifest)
    except msgspec.ValidationError:
        event("wrong")
        assert found
    else:
        event("right")
        assert found == []


@given(pair=st.sampled_from(TABLES).flatmap(lambda table: st.tuples(st.just(table), shapes(table))))
def test_what_is_right_is_what_the_decoder_takes(pair):
    """A value has no misfits exactly if the decoder makes the table of it."""
    table, value = pair

    found = list(typed_toml.misfits(value, table))

    try:
        msgspec.convert(value, table)
    except msgspec.ValidationError:
        event("wrong")
        assert found
    else:
        event("right")
        assert found == []


class Small(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a test."""

    size: int = 1
    parts: tuple[str, ...] = ()
    rest: Any = None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("siz = 1", 'page, line 1: siz: is no key of this table; did you mean "size"? (allowed: size, parts, rest)'),
        ("\nsize = true", "page, line 2: size: True is not allowed here: it must be a whole number"),
        ("parts = [\n 'a',\n 3]", "page, line 3: parts.1: 3 is not allowed here: it must be text"),
        ("parts = 'a'", "page, line 1: parts: must be a list, each of it text"),
        ("rest = { on = 2026-01-01 }", "page, line 1: rest.on: is a time; write it as text in quotes"),
        ("rest = [1.5, nan]", "page, line 1: rest.1: nan is no number that could be sent"),
        (f"rest = {2**70}", "page, line 1: rest: is a number of more than 64 bits; write it as text in quotes"),
        (f"size = {2**70}", f"page, line 1: size: {2**70} is not allowed here: it must be a whole number"),
    ],
)
def test_a_misfit_is_told_with_line_key_and_what_is_allowed(text, said):
    """Each sentence names the page, the line, the key and what would be right."""
    with pytest.raises(typed_toml.BadText) as refused:
        typed_toml.fit(typed_toml.read(text, "page", bytes_max=1_000), Small)

    assert refused.value.problems == (said,)


def test_a_page_that_fits_is_the_table():
    """What has no misfits comes out as the table, with its defaults."""
    page = typed_toml.read("parts = ['a', 'b']", "page", bytes_max=1_000)

    assert typed_toml.fit(page, Small) == Small(parts=("a", "b"))
