"""Where each key of a TOML text stands, in all the ways TOML has of writing it down."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.toml_lines import Path, key_lines
from syncserver.catalogs import source

ODD = r'''# a comment with [brackets] and = signs
top = 1 # one

[a.b]   # a header
'quoted.key' = """
text over [lines]
key = "no key"
\""" end"""
dotted . "key" = 'a # b'
list = [ # begins
  "x",
  [1, 2,
   3],
  { inline = true, deep.er = [ "]" ] },
]
empty = []
also = {}
when = 1979-05-27 07:32:00

[[rows]]
name = 'first'
[rows.inner]
x = 1
[[rows]]
name = """"quotes""""
[rows.inner]
x = 2'''

PLACES: dict[Path, int] = {
    ("top",): 2,
    ("a",): 4,
    ("a", "b"): 4,
    ("a", "b", "quoted.key"): 5,
    ("a", "b", "dotted", "key"): 9,
    ("a", "b", "list", 0): 11,
    ("a", "b", "list", 1): 12,
    ("a", "b", "list", 1, 2): 13,
    ("a", "b", "list", 2, "deep", "er", 0): 14,
    ("a", "b", "also"): 17,
    ("a", "b", "when"): 18,
    ("rows", 0, "name"): 21,
    ("rows", 0, "inner", "x"): 23,
    ("rows", 1): 24,
    ("rows", 1, "name"): 25,
    ("rows", 1, "inner", "x"): 27,
}


@pytest.mark.parametrize(("path", "line"), PLACES.items(), ids=str)
def test_a_key_is_found_on_its_line(path: Path, line: int) -> None:
    """Comments, strings over many lines and nested values do not lead the count astray."""
    assert line == key_lines(ODD)[path]


@pytest.mark.parametrize("text", [ODD, ODD.replace("\n", "\r\n"), source.text(None)], ids=["odd", "crlf", "shipped"])
def test_no_key_is_overlooked_and_none_invented(text: str) -> None:
    """Exactly what the standard parser finds has a line."""
    assert set(paths(tomllib.loads(text))) == set(key_lines(text))


def paths(value: object, inside: Path = ()) -> Iterator[Path]:
    """Yield the path of everything in a parsed text, itself included."""
    yield inside
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*inside, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from paths(inner, (*inside, place))


KEYS = st.from_regex(r"[a-z]{1,3}", fullmatch=True) | st.sampled_from(['"a b"', "'c.d'", '"\\u00e9"'])
VALUES = st.recursive(
    st.sampled_from(["1", "true", '"]"', "'#'", '"""\n[x]\n"""', "'''\n= '''", "2026-03-01", "-1.5e3"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: "[\n" + "".join(f"{part}, # [,\n" for part in parts) + "]")
        | st.lists(inner.filter(lambda part: "\n" not in part), max_size=3).map(
            lambda parts: "{" + ", ".join(f"k{place}.x = {part}" for place, part in enumerate(parts)) + "}"
        )
    ),
    max_leaves=5,
)


@given(st.lists(st.tuples(KEYS, VALUES, st.sampled_from(["", "# [note]", "\n"])), max_size=6, unique_by=lambda e: e[0]))
def test_any_text_is_walked_to_its_end(entries: list[tuple[str, str, str]]) -> None:
    """Each entry of a generated text stands on the line on which it was written."""
    lines, expected = ["[table]"], {}
    for key, value, end in entries:
        path: Path = ("table", tomllib.loads(f"k = {key}" if key[0] in "\"'" else f"k = '{key}'")["k"])
        expected[path] = "\n".join(lines).count("\n") + 2
        lines += [f"{key} = {value} {end}"]
    text = "\n".join(lines)

    found = key_lines(text)

    assert set(paths(tomllib.loads(text))) == set(found)
    assert expected == {path: found[path] for path in expected}
