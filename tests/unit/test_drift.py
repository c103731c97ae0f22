"""What changed at a vendor: told by its description, its answers and one record, with the rows that are hit."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream import drift, mapping_file
from upstream.drift import Finding
from upstream.mapping import MappingSet
from upstream.schema import Field, Schema, made_of

MAPPING = mapping_file.parse("""
[[out]]
object = "bill"
collection = "invoices"
rows = [
  { target = "number", source = "record.number" },
  { target = "state", action = "map", source = "record.status", values = { approved = "open" } },
  { target = "customer", action = "static", value = { id = "${remote.customer_id}" } },
  { target = "lines", action = "each", source = "rows.lines", rows = [{ target = "amount", source = "item.amount" }] },
]
[[into]]
object = "bill"
collection = "invoices"
rows = [{ target = "status", source = "record.state" }, { target = "total", source = "record.lines.0.amount" }]
""")
FIELDS = (
    Field(path="number", type="text"),
    Field(path="state", type="text", choices=("draft", "open")),
    Field(path="customer", type="object"),
    Field(path="customer.id", type="text", required=True),
    Field(path="lines", type="list"),
    Field(path="lines.*.amount", type="number"),
    Field(path="memo", type="text"),
)


def bill(*changed: Field, without: tuple[str, ...] = (), source: Any = "describe") -> Schema:
    """Give the schema of a bill with fields changed, added, or left out."""
    fields = {field.path: field for field in (*FIELDS, *changed) if field.path not in without}
    return made_of("bill", source, list(fields.values()))


def found(new: Schema, old: Schema | None = None, mappings: MappingSet = MAPPING) -> list[tuple[str, ...]]:
    """Give what changed: field, change, old, new and the rows that are hit."""
    findings = drift.compare("c1", old or bill(), new, mappings)
    assert all(each.connection == "c1" and each.object == "bill" for each in findings)
    return [(each.field, each.change, each.old, each.new, *each.rows) for each in findings]


def test_what_did_not_change_is_no_finding():
    """The same description twice says nothing."""
    assert found(bill()) == []


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (bill(without=("memo",)), [("memo", "removed", "text", "")]),
        (bill(without=("number",)), [("number", "removed", "text", "", "out bill number")]),
        (
            bill(Field(path="Number_", type="text"), without=("number",)),
            [("number", "renamed", "number", "Number_", "out bill number")],
        ),
        (
            bill(Field(path="number", type="integer")),
            [("number", "type_changed", "text", "integer", "out bill number")],
        ),
        (
            bill(Field(path="lines.*.amount", type="decimal_text")),
            [
                (
                    "lines.*.amount",
                    "type_changed",
                    "number",
                    "decimal_text",
                    "out bill lines",
                    "out bill lines.*.amount",
                    "into invoices total",
                )
            ],
        ),
        (
            bill(Field(path="state", type="text", choices=("draft", "sent"))),
            [
                (
                    "state",
                    "choice_removed",
                    "open",
                    "",
                    "out bill state",
                    "into invoices status",
                    "out bill state (open)",
                ),
                ("state", "choice_added", "", "sent", "out bill state", "into invoices status"),
            ],
        ),
        (bill(Field(path="memo", type="text", required=True)), [("memo", "required", "", "text")]),
        (bill(Field(path="memo", type="text", writable=False)), [("memo", "read_only", "", "")]),
        (bill(Field(path="colour", type="text")), [("colour", "added", "", "text")]),
        (bill(Field(path="vat", type="number", required=True)), [("vat", "required", "", "number")]),
        (
            bill(without=("customer.id",)),
            [("customer.id", "removed", "text", "", "out bill customer", "out bill customer.id")],
        ),
    ],
)
def test_each_kind_of_change_is_told_with_the_rows_that_it_hits(new, expected):
    """Removed, renamed, another type, choices, newly required, read-only, new: each with field, old and new."""
    assert found(new) == expected


def test_samples_never_show_that_something_is_gone():
    """A field that a few records happened not to have is not told to be removed."""
    assert found(bill(without=("memo", "number"), source="sample")) == []


def test_urgent_is_what_may_break_and_is_used():
    """A removed field is urgent where a row writes it; a newly required one always is; a new choice never."""

    def urgent(new: Schema) -> list[bool]:
        return [each.is_urgent for each in drift.compare("c1", bill(), new, MAPPING)]

    assert urgent(bill(without=("number",))) == [True]
    assert urgent(bill(without=("memo",))) == [False]
    assert urgent(bill(Field(path="vat", type="number", required=True))) == [True]
    assert urgent(bill(Field(path="state", type="text", choices=("draft", "open", "sent")))) == [False]


def test_a_finding_is_a_sentence():
    """A person reads what changed, from what to what, and what it hits."""
    new = bill(Field(path="bill_number", type="text"), without=("number",))

    assert [str(each) for each in drift.compare("c1", bill(), new, MAPPING)] == [
        "bill.number: is probably called bill_number now; hits out bill number"
    ]


ANY_FIELD = st.builds(
    Field,
    path=st.sampled_from(["number", "state", "lines", "lines.*.amount", "memo", "nummer", "x"]),
    type=st.sampled_from(["text", "number", "list", "any"]),
    required=st.booleans(),
    writable=st.booleans(),
    choices=st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True).map(tuple),
)
SCHEMAS = st.lists(ANY_FIELD, min_size=1, max_size=6).map(lambda fields: made_of("bill", "describe", fields))


@given(SCHEMAS, SCHEMAS)
def test_every_change_is_told(old, new):
    """Two descriptions have no findings exactly if nothing that matters differs, and no field is told twice as gone."""
    findings = drift.compare("c1", old, new, MAPPING)
    gone = {each.field for each in findings if each.change in ("removed", "renamed")}

    assert gone == old.by_path().keys() - new.by_path().keys()
    assert {each.new for each in findings if each.change == "renamed"} <= new.by_path().keys()
    for path in old.by_path().keys() & new.by_path().keys():
        changed = old.by_path()[path].type != new.by_path()[path].type
        assert changed == any(each.field == path and each.change == "type_changed" for each in findings)
    if old == new:
        assert findings == ()


RECORD = {"number": "1", "state": "open", "customer": {"id": "c"}, "lines": [{"amount": 2}], "memo": None}


def told(answers: drift.Answers) -> list[tuple[str, str, str, str]]:
    """Give what answers showed."""
    return [(each.field, each.change, each.old, each.new) for each in answers.findings(MAPPING)]


def test_answers_as_they_should_be_show_nothing():
    """Fields that are known, of their types, or null, are no finding."""
    answers = drift.Answers("c1", bill())
    for _ in range(drift.ANSWERS_LEAST):
        answers.saw(RECORD)

    assert told(answers) == []


def test_answers_show_what_nobody_knew_and_what_is_not_there():
    """A field that is new, one of another type, and one that rows need and no answer has, are told with numbers."""
    answers = drift.Answers("c1", bill())
    for _ in range(drift.ANSWERS_LEAST - 1):
        answers.saw({"number": 1, "customer": {"id": "c"}, "lines": [{"amount": 2}], "extra": {"deep": 1}})
    few = told(answers)
    answers.saw({})

    assert few == [
        ("extra", "unknown_in_answers", "", "19"),
        ("extra.deep", "unknown_in_answers", "", "19"),
        ("number", "type_changed", "text", "int"),
    ]
    assert told(answers) == [*few, ("state", "missing_in_answers", "text", "20")]


def test_an_object_that_nothing_is_known_of_may_have_anything():
    """What lies within a field of which no parts are known is not unknown."""
    answers = drift.Answers("c1", made_of("bill", "describe", [Field(path="extra", type="object")]))
    answers.saw({"extra": {"deep": {"er": 1}}})

    assert told(answers) == []


def test_a_canary_shows_a_field_that_went_another_type_and_an_instant_that_moved():
    """One record that nobody changes, read twice, is the same; else it is told what is not."""
    before = {"number": "1", "due": "2026-03-01T08:00:00Z", "lines": [{"amount": 2}], "memo": "x"}
    now = {"number": 1, "due": "2026-03-01T09:00:00+00:00", "lines": [{"amount": 2.5}]}

    assert drift.canary("c1", "bill", before, before, MAPPING) == ()
    assert [
        (each.field, each.change, each.new, each.rows) for each in drift.canary("c1", "bill", before, now, MAPPING)
    ] == [
        ("memo", "removed", "", ()),
        ("due", "moved_in_time", "2026-03-01T09:00:00+00:00 (+60 minutes)", ()),
        ("number", "type_changed", "number", ("out bill number",)),
    ]
    assert drift.canary("c1", "bill", {"due": before["due"]}, {"due": "2026-03-01T09:00:00+01:00"}, MAPPING) == ()


def test_a_canary_that_somebody_touched_is_no_drift():
    """An instant that moved as no zone could, and what changes with each change, are told of nobody."""
    before = {"due": "2026-03-01T08:00:00Z", "seen": "2026-03-01T08:00:00Z"}
    touched = {"due": "2026-03-01T09:20:00Z", "seen": "2026-03-01T10:00:00Z"}

    assert drift.canary("c1", "bill", before, touched, MAPPING, moving=("seen",)) == ()
    assert [each.field for each in drift.canary("c1", "bill", before, touched, MAPPING)] == ["seen"]


def test_a_canary_shows_an_instant_that_lost_its_zone():
    """A time without an offset, where there was one, is told as that."""
    found = drift.canary("c1", "bill", {"due": "2026-03-01T08:00:00-07:00"}, {"due": "2026-03-01T08:00:00"}, MAPPING)

    assert [str(each) for each in found] == [
        "bill.due: was the instant 2026-03-01T08:00:00-07:00, is 2026-03-01T08:00:00, which says of no zone"
    ]


def test_what_comes_back_is_held_against_what_was_told():
    """Moved, without a zone, or another value is told; the same written otherwise, or not given back, is not."""
    told = {"due": "2026-03-01T08:00:00Z", "till": "2026-03-01T08:00:00Z", "number": "7", "amount": "2.50", "key": "k"}
    there = {"due": "2026-03-01T01:00:00-07:00", "till": "2026-03-01T08:00:00-07:00", "number": "x", "amount": 2.5}

    found = drift.returned("c1", "bill", told, there, MAPPING)

    assert [(each.field, each.change, each.new) for each in found] == [
        ("number", "comes_back_otherwise", "x"),
        ("till", "moved_in_time", "2026-03-01T08:00:00-07:00 (+420 minutes)"),
    ]
    assert [each.change for each in drift.returned("c1", "bill", told, {"due": "2026-03-01T08:00:00"}, MAPPING)] == [
        "zone_lost"
    ]


def test_a_finding_can_be_sent():
    """A finding is plain data: an alert carries it as it is."""
    finding = drift.compare("c1", bill(), bill(without=("number",)), MAPPING)[0]

    assert msgspec.json.decode(msgspec.json.encode(finding), type=Finding) == finding
