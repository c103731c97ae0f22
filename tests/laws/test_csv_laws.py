"""Laws of files of rows: whatever is in a cell comes out again, no spreadsheet runs it, no bad row hides a good one."""

from __future__ import annotations

import csv
import io
import re

from hypothesis import given
from hypothesis import strategies as st

from upstream.vendors.csv import feed

DIALECTS = st.builds(
    feed.Dialect,
    delimiter=st.sampled_from(feed.DELIMITERS),
    encoding=st.sampled_from(feed.ENCODINGS),
    decimal=st.sampled_from([".", ","]),
)
CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.decimals(-(10**6), 10**6, places=3).map(str),
    st.text(max_size=30),
    st.tuples(st.sampled_from(feed.FORMULA), st.text(max_size=10)).map("".join),
)
ROWS = st.lists(st.fixed_dictionaries({"mark": st.uuids().map(str), "a": CELLS, "b": CELLS}), min_size=1, max_size=8)


def meant(value: object, dialect: feed.Dialect) -> str:
    """Give what a reader is to find in a cell."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    is_number = re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", str(value), re.ASCII) is not None
    return str(value).replace(".", dialect.decimal) if is_number else str(value)


def readable(content: bytes, dialect: feed.Dialect) -> list[list[str]]:
    """Read a file as anybody would who knows the dialect."""
    text = content.decode(dialect.encoding)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter, strict=True))


@given(rows=ROWS, dialect=DIALECTS)
def test_whatever_can_be_written_comes_out_again(rows, dialect):
    """Quotes, delimiters, line ends, any letters: each cell is read as it was, but for the apostrophe of a formula."""
    fine = [row for row in rows if not feed.misfit(row, dialect)]
    if not fine:
        return
    heading, *found = readable(feed.written(fine, dialect), dialect)

    assert sorted(heading) == ["a", "b", "mark"]
    for cells, row in zip(found, fine, strict=True):
        for name, cell in zip(heading, cells, strict=True):
            wanted = meant(row[name], dialect)
            assert cell == wanted or (cell == f"'{wanted}" and wanted.startswith(feed.FORMULA))


@given(rows=ROWS, dialect=DIALECTS)
def test_no_cell_begins_as_a_formula(rows, dialect):
    """What a spreadsheet would run begins with an apostrophe; only numbers begin with a minus."""
    fine = [row for row in rows if not feed.misfit(row, dialect)]
    if not fine:
        return
    for cells in readable(feed.written(fine, dialect), dialect)[1:]:
        for cell in cells:
            digits = cell.removeprefix("-").replace(dialect.decimal, "", 1)
            assert not cell.startswith(feed.FORMULA) or (digits.isascii() and digits.isdecimal())


@given(row=st.fixed_dictionaries({"mark": st.just("m"), "a": CELLS}), dialect=DIALECTS)
def test_a_row_that_cannot_be_written_is_told_and_any_other_is_written(row, dialect):
    """One that is told as fine is written without an error, in every encoding."""
    if not feed.misfit(row, dialect):
        assert feed.written([row], dialect)
    else:
        assert "a: has" in feed.misfit(row, dialect)


@given(rows=ROWS, dialect=DIALECTS)
def test_the_manifest_that_is_read_off_a_file_knows_its_rows(rows, dialect):
    """Whoever only has the file vouches for the same rows as whoever wrote it."""
    fine = [row for row in rows if not feed.misfit(row, dialect)]
    if not fine:
        return
    content = feed.written(fine, dialect)
    manifest = feed.vouched("f.csv", content, dialect)

    feed.check(content, manifest)
    feed.count(len(fine), manifest)
    assert manifest.marks == {row["mark"]: feed.digest(row, dialect) for row in fine}


@given(
    kinds=st.lists(st.sampled_from(["good", "no id", "short", "long", "nul"]), min_size=1, max_size=20),
    dialect=DIALECTS.filter(lambda each: each.encoding != "utf-16"),
    mark=st.booleans(),
)
def test_every_row_is_either_taken_or_told_with_its_line(kinds, dialect, mark):
    """Good rows go in, the others are named by line and reason; none is lost, none is both."""
    shapes = {"good": ["7", "x"], "no id": ["", "x"], "short": ["7"], "long": ["7", "x", "y"], "nul": ["7", "\0"]}
    lines = [dialect.delimiter.join(cells) for cells in (["id", "name"], *(shapes[kind] for kind in kinds))]
    before = "\ufeff" if mark and dialect.encoding == "utf-8" else ""
    good, bad = feed.read((before + "\r\n".join(lines)).encode(dialect.encoding), dialect, "id")

    assert len(good) == kinds.count("good")
    assert [each.line for each in bad] == [line for line, kind in enumerate(kinds, 2) if kind != "good"]
    assert all(each.reason for each in bad)
