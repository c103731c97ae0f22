"""A vendor's contract: read from its file, and requests and answers held against it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upstream import contract, judging
from upstream.contract import Contract
from upstream.errors import BadContract
from upstream.judging import Request

TEXT = """\
system = "north"
title = "Northwind Ledger"
grade = "C"
checked = 2026-11-01

[operations.make_bill]
method = "POST"
path = "/company/{company}/bills"
does = "Makes a bill."
source = "seen"
grade = "C"
form = "json"
headers = { X-Version = { type = "text", required = true, choices = ["3"] } }
query = { key = { type = "text", length_max = 10 }, page = { type = "integer" } }

[operations.make_bill.body]
number = { type = "text", required = true, length_max = 8 }
due = { type = "date", nullable = true }
state = { type = "text", choices = ["draft", "open"] }
customer = { type = "object", required = true }
"customer.id" = { type = "integer", required = true }
lines = { type = "list", required = true }
"lines.*.amount" = { type = "decimal_text", required = true }
"lines.*.taxed" = { type = "boolean" }
tags = { type = "list" }
"tags.*" = { type = "text" }
notes = { type = "object" }

[operations.make_bill.answer]
id = { type = "uuid", required = true }
total = { type = "number" }

[operations.one_bill]
method = "GET"
path = "/company/{company}/bills/{id}"
does = "Gets a bill."
source = "seen"
grade = "C"
answer_is_list = true
answer = { "*.id" = { type = "uuid", required = true } }
open_answer = false

[operations.newest_bill]
method = "GET"
path = "/company/{company}/bills/newest"
does = "Gets the newest bill."
source = "seen"
grade = "C"

[operations.token]
method = "POST"
path = "/token"
does = "Gives a token."
source = "seen"
grade = "C"
form = "form"
body = { grant = { type = "text", required = true }, seconds = { type = "integer" } }
"""
BILL: dict[str, Any] = {
    "number": "B-1",
    "due": None,
    "customer": {"id": 7},
    "lines": [{"amount": "12.50", "taxed": True}, {"amount": "-3"}],
    "tags": ["a"],
    "notes": {"any": [1]},
}


def problems(text: str) -> tuple[str, ...] | None:
    """Give what is wrong with a text, or None."""
    try:
        contract.parse(text)
    except BadContract as exc:
        return exc.problems
    return None


def north() -> Contract:
    """Give the contract."""
    return contract.parse(TEXT)


def request(body: Any = BILL, **rest: Any) -> Request:
    """Give a request that makes a bill."""
    whole: dict[str, Any] = {"method": "POST", "path": "/company/3/bills", "headers": {"x-version": "3"}}
    return Request(**{**whole, "body": body, **rest})


def said(asked: Request) -> list[str]:
    """Give what is wrong with a request, in sentences."""
    return [str(deviation) for deviation in judging.judge(north(), asked)]


def test_a_request_that_keeps_to_the_contract_has_no_deviation():
    """Names of headers in any case, null where it may be, an object that nothing is known of: all is right."""
    assert said(request(query={"key": "k", "page": "2"})) == []


DEVIATIONS = [
    ({"number": 5}, "body.number: '5' is not allowed; it must be text"),
    ({"number": "B-1234567"}, "body.number: has 9 characters, more than 8"),
    ({"due": "tomorrow"}, "body.due: 'tomorrow' is not allowed; it must be date"),
    ({"state": "paid"}, "body.state: 'paid' is not allowed (allowed: draft, open)"),
    ({"state": None}, "body.state: is null; it must be text"),
    ({"customer": {}}, "body.customer.id: is missing; it must be integer"),
    ({"customer": {"id": True}}, "body.customer.id: 'True' is not allowed; it must be integer"),
    ({"customer": {"id": 1, "nmae": "x"}}, "body.customer.nmae: is not known (allowed: id)"),
    ({"lines": [{"amount": 12.5}]}, "body.lines.0.amount: '12.5' is not allowed; it must be decimal text"),
    ({"lines": [{"amount": "1"}, {}]}, "body.lines.1.amount: is missing; it must be decimal text"),
    ({"lines": ["1"]}, "body.lines.0: must be an object"),
    ({"tags": ["a", 1]}, "body.tags.1: '1' is not allowed; it must be text"),
    ({"colour": "red"}, "body.colour: is not known (allowed: customer, due, lines, notes, number, state, tags)"),
]


@pytest.mark.parametrize(("change", "deviation"), DEVIATIONS, ids=[deviation for _, deviation in DEVIATIONS])
def test_each_deviation_of_a_body_is_named(change, deviation):
    """One thing that is otherwise than the contract says gives one sentence with its place and what is allowed."""
    assert said(request({**BILL, **change})) == [f"make_bill: {deviation}"]


@pytest.mark.parametrize("missing", ["number", "customer", "lines"])
def test_what_is_required_is_missed(missing):
    """Each required field that is left out is named."""
    found = said(request({key: value for key, value in BILL.items() if key != missing}))

    assert [re.sub(";.*", "", each) for each in found] == [f"make_bill: body.{missing}: is missing"]


def test_method_path_query_and_headers_are_judged_too():
    """A wrong address, method, parameter or header is named with what is allowed."""
    assert said(request(path="/company/3/invoices")) == [
        ": path: /company/3/invoices is no operation that is used of Northwind Ledger"
    ]
    assert said(request(method="PUT")) == [": method: PUT is not used here (allowed: POST)"]
    assert said(request(query={"size": "1"})) == ["make_bill: query.size: is not known (allowed: key, page)"]
    assert said(request(query={"page": "x"})) == ["make_bill: query.page: 'x' is not allowed; it must be integer"]
    assert said(request(headers={})) == ["make_bill: header.x-version: is missing; it must be text"]
    assert said(request(headers={"X-VERSION": "2"})) == ["make_bill: header.x-version: '2' is not allowed (allowed: 3)"]
    assert said(request([BILL])) == ["make_bill: body: must be an object"]


def test_a_form_is_judged_by_what_its_texts_stand_for():
    """In a form everything is text, and a number in it is judged as a number."""
    form = Request(method="POST", path="/token", body={"grant": "code", "seconds": "60"})

    assert said(form) == []
    assert said(Request(method="POST", path="/token", body={"seconds": "soon"})) == [
        "token: body.seconds: 'soon' is not allowed; it must be integer",
        "token: body.grant: is missing; it must be text",
    ]


def test_of_two_paths_the_one_that_says_more_is_meant():
    """A fixed step is not taken for the value of a hole, and a body where there is none is a deviation."""
    assert judging.operation_of(north(), "GET", "/company/3/bills/newest") == "newest_bill"
    assert judging.operation_of(north(), "GET", "/company/3/bills/4") == "one_bill"
    assert judging.operation_of(north(), "GET", "/company/3/bills/4/lines") is None
    assert said(Request(method="GET", path="/company/3/bills/4", body={"a": 1})) == [
        "one_bill: body: there is none here"
    ]


def test_an_answer_is_held_against_the_contract():
    """A missing or unfitting field of an answer is named; what is new is allowed where the answer is open."""
    made, listed = "make_bill", [{"id": "3f0e0e0c-9f43-4a9d-8f39-1a4b7f7b5a10"}]

    assert judging.judge_answer(north(), made, 201, {**listed[0], "new": 1}) == ()
    assert [str(each) for each in judging.judge_answer(north(), made, 200, {"total": "9"})] == [
        "make_bill: answer.total: '9' is not allowed; it must be number",
        "make_bill: answer.id: is missing; it must be uuid",
    ]
    assert [str(each) for each in judging.judge_answer(north(), made, 206, {})] == [
        "make_bill: status: 206 is none of 200, 201, 202, 204"
    ]
    assert judging.judge_answer(north(), made, 422, {"error": 1}) == ()
    assert judging.judge_answer(north(), "one_bill", 200, listed) == ()
    assert [str(each) for each in judging.judge_answer(north(), "one_bill", 200, [{**listed[0], "new": 1}, 3])] == [
        "one_bill: answer.0.new: is not known (allowed: id)",
        "one_bill: answer.1: must be an object",
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ('grade = "C"', 'grade = "F"', "grade: .F. is not allowed here"),
        ('does = "Makes a bill."\n', "", "operations.make_bill.does: is missing"),
        ('type = "decimal_text"', 'type = "money"', r"operations\.make_bill\.body\.lines\.\*\.amount\.type: .*allowed"),
        ('lines = { type = "list", required = true }\n', "", "stands in 'lines', which is not listed as list"),
        (
            'customer = { type = "object"',
            'customer = { type = "text"',
            "stands in 'customer', which is not listed as object",
        ),
        ('form = "json"\n', "", "a call with a body says how it is written"),
        ('path = "/token"', 'path = "token"', "operations.token.path: begins with /"),
        ("checked = 2026-11-01", 'checked = "soon"', "checked: .soon. is not allowed here: it must be a date"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(right, wrong, sentence):
    """One wrong thing gives a sentence that names the file, the line, the key and what would be right."""
    with pytest.raises(BadContract) as refused:
        contract.parse(TEXT.replace(right, wrong, 1), "north/contract.toml")

    assert any(re.search(rf"^north/contract\.toml, line \d+: .*{sentence}", each) for each in refused.value.problems)


def test_a_contract_at_second_hand_is_assumed():
    """Grades C and D say that the vendor's own word was not seen."""
    assert north().is_assumed
    assert not contract.parse(TEXT.replace('grade = "C"', 'grade = "B-"', 1)).is_assumed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*BILL, "amount", "id", "x"]), inner),
    max_leaves=10,
)


@given(JSON)
def test_no_body_makes_the_judge_stumble(body):
    """Whatever is sent, each deviation has a place and a sentence; a body that is no object always has one."""
    found = judging.judge(north(), request(body))

    assert all(each.place and each.message for each in found)
    assert found or isinstance(body, dict)


@given(st.text(max_size=300) | st.sampled_from(TEXT.splitlines(keepends=True)).map(lambda line: TEXT.replace(line, "")))
def test_no_text_makes_the_reader_stumble(text):
    """Whatever the text, it is a contract or it is refused with sentences; nothing else is raised."""
    assert problems(text) is None or all(problems(text))
