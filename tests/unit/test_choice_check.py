"""What a choice names is held against the document: what is not there is refused, what is left open is taken."""

from __future__ import annotations

import pytest

from tests.unit.test_openapi_drafting import JOB, chosen, document, drafted
from upstream.errors import BadManifest
from upstream.vendors.openapi import drafting


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"marker": "referense"},
            "written.job.marker: the request of POST /accounts/{account}/jobs has no field 'referense'; did you mean",
        ),
        ({"marker": "ref"}, "has no field 'ref' (there are: title, status, reference, lines)"),
        ({"marker": "lines.*.hours"}, "has no field 'lines.*.hours'"),
        ({"marker": "lines.0.hours"}, "has no field 'lines.0.hours'"),
        ({"natural_key": "titel"}, "written.job.natural_key: the request of POST /accounts/{account}/jobs has no"),
        (
            {"find_by": "nope"},
            "written.job.find_by: GET /accounts/{account}/jobs has no parameter 'nope' (there are: cursor, updated_s",
        ),
        ({"find_by": ""}, "written.job.find_by: is missing for GET /accounts/{account}/jobs"),
        ({"marker": ""}, "written.job.marker: is missing for GET /accounts/{account}/jobs"),
        ({"version": "nope"}, "written.job.version: no answer has a field 'nope' (there are: id, title,"),
        ({"id": "idd"}, "written.job.id: no answer has a field 'idd'; did you mean \"id\"?"),
    ],
)
def test_a_name_that_the_document_does_not_have_is_refused_and_not_sent(change, said):
    """A mark that is put nowhere is never found again, and a lost answer would make a second job."""
    with pytest.raises(BadManifest) as caught:
        drafting.draft(document(), chosen(written={"job": JOB | change}))

    assert len(caught.value.problems) == 1
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"since": "updated_sinc"},
            "told.job.since: GET /accounts/{account}/jobs has no parameter 'updated_sinc'; did",
        ),
        ({"id": "uid"}, "told.job.id: what GET /accounts/{account}/jobs lists has no field 'uid'"),
        ({"modified": "state"}, "told.job.modified: what GET /accounts/{account}/jobs lists has no field 'state'; did"),
        ({"items": "dta"}, "told.job.items: the answer of GET /accounts/{account}/jobs has no list 'dta' of objects"),
    ],
)
def test_a_list_is_asked_only_by_names_that_it_has(change, said):
    """A parameter that nobody knows is ignored, and each reading would be one of all there is."""
    with pytest.raises(BadManifest) as caught:
        drafting.draft(document(), chosen(told={"job": {"list": "GET /accounts/{account}/jobs", **change}}))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    "shape",
    [
        {"additionalProperties": True, "properties": {"title": {"type": "string"}}},
        {"additionalProperties": {"type": "string"}, "properties": {"title": {"type": "string"}}},
        {"patternProperties": {"^x": {}}, "properties": {"title": {"type": "string"}}},
        {"allOf": [{"properties": {"title": {}}}, {"additionalProperties": True}]},
        {"anyOf": [{"properties": {"title": {}}}, {"type": "object"}]},
        {"properties": {"title": {}, "lines": {"type": "array", "items": {}}}, "additionalProperties": {}},
    ],
)
def test_what_a_document_leaves_open_is_taken_as_given(shape):
    """Of a free object nobody can say that a field is not there."""
    made = document()
    made["components"]["schemas"]["Job"] = shape
    job = JOB | {"marker": "mark", "version": "etag", "id": "key", "natural_key": "number"}

    assert drafted(made, chosen(written={"job": job})).targets["job"].marker == "mark"


@pytest.mark.parametrize(
    ("inner", "marker"),
    [({"type": "object"}, "custom.mark"), ({}, "custom.mark"), ({"type": ["object", "string"]}, "custom.a.mark")],
)
def test_only_what_is_under_an_open_field_is_taken_as_given(inner, marker):
    """One field that may hold anything does not make the others so."""
    made = document()
    made["components"]["schemas"]["Job"]["properties"]["custom"] = inner

    assert drafted(made, chosen(written={"job": JOB | {"marker": marker}})).targets["job"].marker == marker
    with pytest.raises(BadManifest, match="has no field 'custum"):
        drafting.draft(made, chosen(written={"job": JOB | {"marker": marker.replace("custom", "custum")}}))


def test_a_request_and_an_answer_may_be_lists():
    """A mark is put into each item of a request, and a number is a place in an answer."""
    made = document()
    made["components"]["schemas"]["Jobs"] = {"type": "array", "items": {"$ref": "#/components/schemas/Job"}}
    post = made["paths"]["/accounts/{account}/jobs"]["post"]
    listed = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Jobs"}}}}
    post.update(requestBody=listed, responses={"200": listed})
    job = {"create": JOB["create"], "marker": "reference"}

    assert drafted(made, chosen(written={"job": job | {"id": "0.id"}})).operations["create_job"].answer.id == "0.id"
    with pytest.raises(BadManifest, match=r"no answer has a field '0\.idd'; did you mean"):
        drafting.draft(made, chosen(written={"job": job | {"id": "0.idd"}}))


def test_answers_that_nobody_describes_are_taken_as_given():
    """A document that tells nothing of its answers cannot refuse what is known from elsewhere."""
    made = document()
    for item in made["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                operation["responses"] = {"200": {"description": ""}}
    found = drafted(made, chosen(written={"job": JOB | {"version": "etag", "id": "key"}}, told={}))

    assert found.operations["create_job"].answer.id == "key"


def test_a_part_of_a_parameter_that_is_an_object_can_be_named():
    """`filter[reference]` is a part of `filter`, which is all that a document names."""
    made = document()
    made["paths"]["/accounts/{account}/jobs"]["get"]["parameters"].append(
        {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object"}}
    )

    found = drafted(made, chosen(written={"job": JOB | {"find_by": "filter[reference]"}}))

    assert found.operations["find_job"].query == {"filter[reference]": "${value.reference}"}
