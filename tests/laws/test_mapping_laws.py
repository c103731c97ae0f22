"""Laws of mappings: the same makes the same, nothing makes them stumble, sums are exact, rows keep to themselves."""

from __future__ import annotations

import copy
import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from upstream import making, mapping_file
from upstream.mapping import Condition, Period, Row, Step


def date_time(year: int) -> datetime:
    """Give the first moment of a year."""
    return datetime(year, 1, 1)  # noqa: DTZ001 - a strategy wants it without a zone


NAMES = st.sampled_from(["a", "b", "c", "when", "lines"])
PATHS = st.sampled_from(
    [
        "record.a",
        "record.b.c",
        "record.lines",
        "rows.lines",
        "record.when",
        "item.a",
        "config.rate",
        "ref.a.b",
        "made.a",
        "record",
    ]
)
SINGLE = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["2026-03-29T01:30:00.000Z", "2026-03-29", "12.50", "-1e5", "NaN", "1e999999", "open"])
)
JSON = st.recursive(
    SINGLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
MOMENTS = st.datetimes(date_time(1990), date_time(2100)).map(
    lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z"
)
RECORDS = st.fixed_dictionaries(
    {}, optional={"a": SINGLE, "b": JSON, "when": MOMENTS | SINGLE, "lines": st.lists(JSON, max_size=3)}
)
CONTEXTS = st.fixed_dictionaries(
    {"record": RECORDS},
    optional={root: st.dictionaries(NAMES, JSON, max_size=3) for root in ("rows", "config", "item")},
)
CONDITIONS = st.lists(
    st.builds(Condition, path=PATHS, equals=st.lists(JSON, max_size=2).map(tuple), present=st.booleans()), max_size=2
).map(tuple)


def rows_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Row]:
    """Give rows of any action, right or not, whose inner rows are drawn from `inner`."""
    return st.builds(
        Row,
        target=NAMES,
        action=st.sampled_from(["copy", "static", "map", "range", "date", "concat", "sum", "each"]),
        source=PATHS | st.sampled_from(["rows.lines:a", "rows.lines:a*b*config.rate", "rows.lines:a..b"]),
        sources=st.lists(PATHS | st.sampled_from(["${record.a}", "${item.b:none}"]), max_size=3).map(tuple),
        value=JSON | st.sampled_from(["${record.a}", "x${record.b}y"]),
        values=st.dictionaries(st.sampled_from(["open", "true", "12.50"]), JSON, max_size=3),
        steps=st.just((Step(value="low", below="10"), Step(value="high"))),
        to=st.sampled_from(["date", "time", "local", "instant"]),
        zone=st.sampled_from(["UTC", "America/Denver", "Mars", "${record.a}"]),
        scale=st.sampled_from(["1", "-1", "1/60", "0.5"]),
        places=st.none() | st.integers(0, 12),
        when=CONDITIONS,
        where=CONDITIONS,
        rows=inner,
        default=JSON,
        required=st.booleans(),
        number=st.booleans(),
    )


ROW = rows_of(st.lists(rows_of(st.just(())), max_size=1).map(tuple))
ROWS = st.lists(ROW, max_size=3).map(tuple)
APART = st.lists(ROW, max_size=3, unique_by=lambda row: row.target).map(tuple)


@given(ROWS, CONTEXTS)
def test_nothing_makes_a_mapping_stumble(rows, context):
    """Whatever the rows and the context, fields come out that can be sent, and problems that name a row."""
    made = making.make(rows, context)

    json.dumps(made.fields, allow_nan=False)
    assert all(problem.target and problem.message is not None for problem in made.problems)
    assert {path.partition(".")[0] for path in made.fields} <= {row.target for row in rows}


@given(ROWS, CONTEXTS)
def test_the_same_makes_the_same_and_changes_nothing(rows, context):
    """Made twice, the fields and problems are equal, and the context is as it was."""
    before = copy.deepcopy(context)

    first, second = making.make(rows, context), making.make(rows, context)

    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    assert context == before


@settings(max_examples=50)
@given(rows=APART, context=CONTEXTS, data=st.data())
def test_rows_of_different_fields_do_not_disturb_each_other(rows, context, data):
    """In another order the same fields come out, as long as no row looks at what others made."""
    assume("made." not in str(rows))

    other = making.make(tuple(data.draw(st.permutations(rows))), context)
    made = making.make(rows, context)

    assert other.fields == made.fields
    assert sorted(map(str, other.problems)) == sorted(map(str, made.problems))


@given(row=rows_of(st.just(())), context=CONTEXTS)
def test_a_required_field_is_there_or_there_is_a_problem(row, context):
    """A required row never leaves its field out silently, unless its conditions do not hold."""
    row = msgspec.structs.replace(row, required=True)

    made = making.make((row,), context)

    if making.holds(row.when, {**context, "made": {}}):
        assert (row.target in made.fields) is not bool(made.problems)
    else:
        assert made == making.Made({})


AMOUNTS = st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=4)


@given(st.lists(AMOUNTS, max_size=40), st.sampled_from(["1", "-1", "1/60", "0.25"]))
def test_a_sum_is_exact(amounts, scale):
    """However many numbers are added, nothing is lost before it is rounded once, half up."""
    rows = [{"hours": str(amount)} for amount in amounts]
    exact = sum((Fraction(amount) for amount in amounts), Fraction(0)) * Fraction(scale)

    made = making.make(
        (Row(target="t", action="sum", source="rows.all:hours", scale=scale, places=3),), {"rows": {"all": rows}}
    )

    found = Fraction(Decimal(made.fields["t"]))
    assert abs(found - exact) <= Fraction(1, 2000)
    assert abs(found - exact) < Fraction(1, 2000) or abs(found) >= abs(exact)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=10))
def test_a_sum_of_products_is_the_sum_of_its_parts(pairs):
    """A list cut in two adds up to the same as the whole."""
    row = Row(target="t", action="sum", source="rows.all:a*b")
    items = [{"a": str(left), "b": str(right)} for left, right in pairs]

    def total(part: list[dict[str, str]]) -> Decimal:
        return Decimal(making.make((row,), {"rows": {"all": part}}).fields["t"])

    cut = len(items) // 2
    assert abs(total(items[:cut]) + total(items[cut:]) - total(items)) <= Decimal("0.000001")


@given(
    day=st.dates(date(2020, 1, 1), date(2035, 1, 1)),
    days=st.integers(1, 366),
    zone=st.sampled_from(["UTC", "America/Denver", "Pacific/Kiritimati"]),
)
def test_every_day_lies_in_one_period(day, days, zone):
    """A day lies in its period, the day after the last begins the next one, and all are equally long."""
    period = Period(field="at", days=days, first=date(2026, 1, 5), zone=zone)

    first, last = making.period_of(period, {"at": day.isoformat()})

    assert first <= day <= last
    assert last - first == timedelta(days=days - 1)
    assert making.period_of(period, {"at": (last + timedelta(days=1)).isoformat()})[0] == last + timedelta(days=1)


CONTEXT: dict[str, Any] = {
    "record": {
        "id": "r1",
        "number": "B-7",
        "open": True,
        "total": "250.00",
        "none": None,
        "at": "2026-03-29T00:30:00.000Z",
        "crew": ["x"],
        "address": {"city": "Bern"},
    },
    "rows": {
        "lines": [{"name": "Pump", "n": 2, "price": "10.50", "billable": True}, {"name": "Visit", "n": 1, "price": "9"}]
    },
    "ref": {"customer_id": {"name": "Ada", "last": ""}},
    "config": {"rate": "1.5"},
}

EXAMPLES = [
    ({"source": "record.number"}, "B-7"),
    ({"source": "record.crew.0"}, "x"),
    ({"source": "record.nothing", "default": 3}, 3),
    ({"source": "record.total", "number": True}, 250),
    ({"action": "static", "value": {"value": "${record.id}", "list": [1]}}, {"value": "r1", "list": [1]}),
    ({"action": "static", "value": "No. ${record.number}"}, "No. B-7"),
    ({"action": "map", "source": "record.open", "values": {"true": "yes", "false": "no"}}, "yes"),
    ({"action": "map", "source": "record.number", "values": {}, "default": "other"}, "other"),
    ({"action": "range", "source": "record.total", "steps": [Step(value="S", below="250"), Step(value="L")]}, "L"),
    ({"action": "range", "source": "record.total", "steps": [Step(value="S", below="251"), Step(value="L")]}, "S"),
    ({"action": "date", "source": "record.at", "to": "date", "zone": "America/Denver"}, "2026-03-28"),
    ({"action": "date", "source": "record.at", "to": "local", "zone": "Europe/Zurich"}, "2026-03-29T01:30:00"),
    ({"action": "date", "source": "record.at", "to": "instant", "zone": "Europe/Zurich"}, "2026-03-29T01:30:00+01:00"),
    ({"action": "date", "source": "record.at", "to": "time"}, "00:30:00"),
    ({"action": "concat", "sources": ("ref.customer_id.name", "ref.customer_id.last")}, "Ada"),
    ({"action": "concat", "sources": ("record.number", "${record.address.city}"), "separator": ", "}, "B-7, Bern"),
    ({"action": "sum", "source": "rows.lines:n*price"}, "30"),
    ({"action": "sum", "source": "rows.lines:n*config.rate", "places": 2}, "4.50"),
    ({"action": "sum", "source": "rows.lines:n", "where": (Condition(path="item.billable"),)}, "2"),
    ({"action": "sum", "source": "rows.none:n"}, "0"),
    (
        {"action": "each", "source": "rows.lines", "rows": (Row(target="t", source="item.name"),)},
        [{"t": "Pump"}, {"t": "Visit"}],
    ),
    ({"action": "each", "source": "record.address", "rows": (Row(target="t", source="item.city"),)}, [{"t": "Bern"}]),
]


@pytest.mark.parametrize(
    ("row", "value"), EXAMPLES, ids=[f"{place} {row.get('action', 'copy')}" for place, (row, _) in enumerate(EXAMPLES)]
)
def test_each_action_makes_what_it_says(row, value):
    """One row of each action, and what it makes of a context."""
    whole = {**row, "steps": tuple(row.get("steps", ()))}

    assert making.make((Row(target="x.y", **whole),), CONTEXT) == making.Made({"x": {"y": value}})


PROBLEMS = [
    ({"source": "record.none", "required": True}, "nothing is found at record.none, and it is required"),
    ({"action": "map", "source": "record.number", "values": {"A": 1}}, "'B-7' has no value in the map (there are: A)"),
    ({"action": "range", "source": "record.number", "steps": (Step(value=1),)}, "'B-7' is no number"),
    ({"action": "date", "source": "record.number"}, "'B-7' is no instant like 2026-03-01T08:00:00.000Z"),
    ({"action": "date", "source": "record.at", "zone": "Mars"}, "'Mars' is no time zone; name one like Europe/Zurich"),
    ({"action": "concat", "sources": ("record.crew",)}, "is a list or a table, not a single value"),
    ({"action": "concat", "sources": ("${record.none}",)}, "nothing is given for ${record.none}"),
    ({"action": "sum", "source": "rows.lines:name"}, "'Pump' is no number"),
    ({"source": "record.number", "number": True}, "'B-7' is no number"),
    ({"source": "record.open", "number": True}, "'True' is no number"),
    ({"action": "jsonnet", "code": "1"}, "no Jsonnet can be run here"),
    ({"action": "static", "value": {"a": ["b\0"]}}, "has a character that no system takes"),
    ({"action": "static", "value": {"a\ud800": 1}}, "has a character that no system takes"),
]


@pytest.mark.parametrize(
    ("row", "said"), PROBLEMS, ids=[f"{place} {row.get('action', 'copy')}" for place, (row, _) in enumerate(PROBLEMS)]
)
def test_what_cannot_be_made_is_said_of_its_row(row, said):
    """A row that cannot be made leaves its field out and says why; the rows beside it are made."""
    made = making.make((Row(target="bad", **row), Row(target="good", source="record.id")), CONTEXT)

    assert made.fields == {"good": "r1"}
    assert [(problem.target, problem.message[: len(said)]) for problem in made.problems] == [("bad", said)]


def test_a_problem_within_a_list_names_its_item():
    """The target of a problem leads to the field of the item that could not be made."""
    rows = (
        Row(
            target="lines",
            action="each",
            source="rows.lines",
            rows=(Row(target="p", source="item.nothing", required=True),),
        ),
    )

    assert [problem.target for problem in making.make(rows, CONTEXT).problems] == ["lines.0.p", "lines.1.p"]


def test_true_is_not_one():
    """Conditions compare values, not what Python takes for equal."""
    assert making.holds((Condition(path="record.open", equals=(True,)),), CONTEXT)
    assert not making.holds((Condition(path="record.open", equals=(1,)),), CONTEXT)
    assert making.holds((Condition(path="record.none", present=False),), CONTEXT)


def test_it_is_known_whether_a_mapping_has_code():
    """Code within rows within rows is found."""
    text = """
    [[out]]
    object = "o"
    collection = "c"
    [[out.rows]]
    target = "a"
    action = "each"
    source = "rows.x"
    rows = [{ target = "b", action = "jsonnet", code = "1" }]
    """

    plain = text.replace('action = "jsonnet", code = "1"', 'source = "item.b"')

    assert making.has_code(mapping_file.parse(text).out[0].rows)
    assert not making.has_code(mapping_file.parse(plain).out[0].rows)
