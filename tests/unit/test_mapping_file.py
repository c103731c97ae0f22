"""A mapping from its file: what comes out of a correct one, and what is said of a wrong row."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream import mapping_file
from upstream.errors import BadMapping

TEXT = """\
[[out]]
object = "bill"
collection = "invoices"
key = "${record.id}"
when = [{ path = "record.status", equals = ["approved"] }]
late = ["extra"]

[out.gather.lines]
collection = "parts_used"
match = { work_order_id = "record.work_order_id" }

[[out.rows]]
target = "number"
source = "record.number"
required = true

[[out.rows]]
target = "customer.name"
action = "concat"
sources = ["ref.customer_id.first_name", "ref.customer_id.last_name"]

[[out.rows]]
target = "kind"
action = "map"
source = "record.kind"
values = { repair = "R", install = "I" }

[[out.rows]]
target = "size"
action = "range"
source = "record.total"
steps = [{ below = "100", value = "S" }, { below = "1000", value = "M" }, { value = "L" }]

[[out.rows]]
target = "total"
action = "sum"
source = "rows.lines:quantity*unit_price"
places = 2

[[out.rows]]
target = "lines"
action = "each"
source = "rows.lines"

[[out.rows.rows]]
target = "text"
source = "item.name"

[[out]]
object = "extra"
collection = "invoices"
rows = [{ target = "amount", source = "late.amount" }]

[[into]]
object = "customer"
collection = "customers"
rows = [{ target = "name", source = "record.DisplayName" }]
"""


def problems(text: str) -> str:
    """Give what is wrong with a text, as one text of lines."""
    with pytest.raises(BadMapping) as refused:
        mapping_file.parse(text, "standard.toml")
    return "\n".join(refused.value.problems)


def test_a_mapping_says_what_its_file_says():
    """Objects, rows and rows within rows come out as they were written."""
    found = mapping_file.parse(TEXT)

    assert [each.object for each in found.out] == ["bill", "extra"]
    assert [row.target for row in found.out[0].rows] == ["number", "customer.name", "kind", "size", "total", "lines"]
    assert found.out[0].rows[-1].rows[0].source == "item.name"
    assert found.into[0].rows[0].target == "name"


WRONG = [
    (
        'action = "map"',
        'action = "mop"',
        r"out\.0\.rows\.2\.action: \"mop\" is not allowed here; did you mean \"map\"\?",
    ),
    (
        'source = "record.number"',
        'sorce = "record.number"',
        r"out\.0\.rows\.0\.sorce: is no key.*did you mean \"source\"",
    ),
    ('source = "record.number"\n', "", r"out\.0\.rows\.0\.source: bill: row 'number': is missing: \"copy\" needs it"),
    (
        "required = true",
        'separator = "-"',
        r"out\.0\.rows\.0\.separator: bill: .*means nothing for \"copy\" \(allowed: target",
    ),
    (
        '"record.number"',
        '"recrd.number"',
        r"'recrd.number' begins with none of record, rows.*did you mean \"record\"\?",
    ),
    ('"record.number"', '"item.number"', "'item.number' begins with none of"),
    ('"record.number"', '"rows"', "'rows' names all of rows; say which"),
    ('"record.number"', '"record.number:x"', "has a colon, which only a sum has"),
    (":quantity*unit_price", "", "names no field to add up"),
    ('"number"\n', '"customer"\n', r"'customer.name' and 'customer' cannot both be made"),
    ('"number"\n', '"kind"\n', "'kind' is there twice; give both rows a when"),
    ('"number"\n', '"lines.0.text"\n', "'lines.0.text' is no field"),
    ('"number"\n', '""\n', "'' is no field"),
    ('below = "1000"', 'below = "10"', r"out\.0\.rows\.3\.steps\.1\.below: bill: must be above the one before"),
    ('below = "1000"', 'below = "many"', "'many' is no number"),
    ('{ below = "100", value', "{ value", "only the last step has none"),
    ("places = 2", "places = 20", "must be from 0 to 12"),
    ("places = 2", 'scale = "1/0"', "'1/0' is neither a number nor a fraction like 1/60"),
    ('match = { work_order_id = "record.work_order_id" }', "match = {}", "every record would be gathered"),
    ('key = "${record.id}"', 'key = "${recor.id}"', r"out\.0\.key: bill: 'recor.id' begins with none of"),
    ('key = "${record.id}"', 'key = "${record.id"', "a hole that is not closed"),
    ('late = ["extra"]', 'late = ["extras"]', "names 'extras', which no mapping makes"),
    (
        "[out.gather.lines]",
        '[out.period]\nfield = "x"\ndays = 0\nfirst = 2026-01-05\n[out.gather.lines]',
        "from 1 to 366",
    ),
    (
        "[out.gather.lines]",
        '[out.period]\nfield = "x"\ndays = 7\nfirst = 2026-01-05\nzone = "Mars"\n[out.gather.lines]',
        "'Mars' is no time zone",
    ),
    ('target = "name", source', 'target = "name.first", source', "'name.first' is no field of ours"),
    ('equals = ["approved"]', 'equals = ["approved"], present = false', "means nothing beside equals"),
    ('equals = ["approved"]', 'equals = ["approved"], begins = "app"', "stands alone, without equals and present"),
]


@pytest.mark.parametrize(("right", "wrong", "said"), WRONG, ids=[said[:40] for _, _, said in WRONG])
def test_a_mistake_is_told_with_line_row_and_what_is_allowed(right, wrong, said):
    """One wrong thing gives a sentence that names file, line and row, and what would be right."""
    assert right in TEXT

    found = problems(TEXT.replace(right, wrong, 1))

    assert re.search(rf"^standard\.toml, line \d+: .*{said}", found, re.MULTILINE), found


def test_rows_of_one_target_need_conditions_or_make_one_list():
    """Two rows may give one field under different conditions, and two lists may be one after the other."""
    either = '{ target = "a", source = "record.a", when = [{ path = "record.a" }] }'
    each = '{ target = "b", action = "each", source = "rows.x", rows = [{ target = "c", source = "item.c" }] }'
    text = f'[[out]]\nobject = "o"\ncollection = "c"\nrows = [{either}, {either}, {each}, {each}]'

    assert len(mapping_file.parse(text).out[0].rows) == 4


def test_rows_do_not_nest_without_end():
    """Lists in lists in lists have an end."""
    row = '{ target = "a", source = "item.a" }'
    for _ in range(5):
        row = f'{{ target = "a", action = "each", source = "rows.x", rows = [{row}] }}'

    assert "is nested more than 3 deep" in problems(f'[[out]]\nobject = "o"\ncollection = "c"\nrows = [{row}]')


def read(text: str) -> tuple[str, ...] | None:
    """Give what is wrong with a text, or None."""
    try:
        mapping_file.parse(text)
    except BadMapping as exc:
        return exc.problems
    return None


def is_refused_with(problems: tuple[str, ...] | None) -> bool:
    """Tell whether a text was taken, or refused with sentences that name it."""
    return problems is None or (bool(problems) and all(each.startswith("mapping") for each in problems))


PIECES = st.sampled_from([*TEXT.splitlines(keepends=True), "= 1\n", "[[out]]\n", '"', "{", "rows = [3]\n", "\n"])


@given(st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=200))
def test_no_text_makes_the_reader_stumble(text):
    """Whatever the text, it is a mapping or it is refused with sentences; nothing else is raised."""
    assert is_refused_with(read(text))


@given(
    place=st.integers(0, len(TEXT) - 1),
    length=st.integers(0, 12),
    put=st.sampled_from(["", "x", '"', "1", "[", "]", "\n", "= ", "${", "true", ":", "..", "*", "item", "-1"]),
)
def test_no_slip_of_the_pen_makes_the_reader_stumble(place, length, put):
    """A correct mapping with a piece replaced is a mapping or refused with sentences; nothing else is raised."""
    assert is_refused_with(read(TEXT[:place] + put + TEXT[place + length :]))
