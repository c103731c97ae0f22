"""Laws of documents that describe a system: whatever stands in one, it is read or refused."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.test_openapi_drafting import JOB as WRITTEN
from upstream.errors import BadManifest
from upstream.vendors.openapi import drafting

JOB = {
    "type": "object",
    "required": ["title"],
    "properties": {
        "id": {"type": "string", "readOnly": True},
        "version": {"type": "string"},
        "title": {"type": "string", "maxLength": 80},
        "status": {"type": "string", "enum": ["open", "done"]},
        "reference": {"oneOf": [{"type": "string"}, {"type": "null"}]},
        "lines": {"type": "array", "items": {"allOf": [{"properties": {"hours": {"type": "number"}}}]}},
    },
}
JOB_THERE = {"schema": {"$ref": "#/components/schemas/Job"}}
LISTED = {"type": "object", "properties": {"data": {"type": "array", "items": JOB}}}
ONE = {"200": {"description": "", "headers": {"Link": {}}, "content": {"application/json": JOB_THERE}}}
SENT = {"content": {"application/json": JOB_THERE}}
ACCOUNT = {"name": "account", "in": "path", "required": True, "schema": {"type": "string"}}
QUERY = [
    {"name": "cursor", "in": "query"},
    {"name": "reference", "in": "query", "required": True},
    {"$ref": "#/components/parameters/Since"},
]
FLOW = {"authorizationUrl": "https://a.example", "tokenUrl": "https://t.example", "scopes": {"jobs": ""}}
PATHS = {
    "/me": {"get": {"summary": "Who I am", "operationId": "me", "tags": ["me"], "responses": {"200": {}}}},
    "/accounts/{account}/jobs": {
        "parameters": [ACCOUNT],
        "get": {
            "parameters": QUERY,
            "responses": {"200": {"headers": {"Link": {}}, "content": {"application/json": {"schema": LISTED}}}},
        },
        "post": {"security": [{"code": ["jobs"]}], "requestBody": SENT, "responses": ONE},
    },
    "/accounts/{account}/jobs/{job}": {
        "parameters": [ACCOUNT, {"name": "job", "in": "path", "required": True}],
        "get": {"responses": ONE},
        "patch": {"requestBody": SENT, "responses": ONE},
        "delete": {"responses": {"204": {"description": ""}}},
    },
}
OPENAPI = {
    "openapi": "3.1.0",
    "info": {"title": "Small jobs"},
    "servers": [{"url": "https://{region}.small.example", "variables": {"region": {"default": "eu"}}}],
    "security": [{"key": []}],
    "paths": PATHS,
    "components": {
        "schemas": {"Job": JOB},
        "parameters": {"Since": {"name": "updated_since", "in": "query"}},
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
            "code": {"type": "oauth2", "flows": {"authorizationCode": FLOW}},
        },
    },
}
JOBS_2 = {
    "get": {"parameters": QUERY[:2], "responses": {"200": {"headers": {"X-Next": {}}, "schema": LISTED}}},
    "post": {
        "parameters": [ACCOUNT, {"in": "body", "name": "job", "schema": JOB}],
        "responses": {"200": {"schema": JOB}},
    },
}
JOB_2 = {
    "get": {"responses": {"200": {"schema": JOB}}},
    "patch": {"parameters": [{"in": "formData", "name": "title", "type": "string", "required": True}], "responses": {}},
    "delete": {"responses": {}},
}
SWAGGER = {
    "swagger": "2.0",
    "host": "small.example",
    "basePath": "/v2",
    "info": {"title": "Small jobs"},
    "securityDefinitions": {"code": {"type": "oauth2", "flow": "accessCode", **FLOW}},
    "paths": {"/me": {"get": {}}, "/accounts/{account}/jobs": JOBS_2, "/accounts/{account}/jobs/{job}": JOB_2},
}
DOCUMENTS = (OPENAPI, SWAGGER)
CHOICE = {"system": "small", "verify": "GET /me", "told": {"job": {"list": "GET /accounts/{account}/jobs"}}}
CHOICES = [
    drafting.choice({**CHOICE, "written": {"job": WRITTEN}}),
    drafting.choice({**CHOICE, "written": {"job": {**WRITTEN, "version": "version", "id": "id"}}}),
    drafting.choice({**CHOICE, "told": {"job": {"list": "GET /accounts/{account}/jobs", "items": "data"}}}),
    drafting.choice({"system": "small", "verify": "GET /me", "written": {"job": {"create": WRITTEN["create"]}}}),
]
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def places(value, path=()):
    """Yield the path of everything that stands in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def at(value, path):
    """Return what stands at a path."""
    for step in path:
        value = value[step]
    return value


def replaced(document, path, value):
    """Return a document in which something else stands at a path."""
    made = copy.deepcopy(document)
    at(made, path[:-1])[path[-1]] = value
    return made


PLACES = [(document, path) for document in DOCUMENTS for path in places(document)]
PARTS = st.sampled_from(PLACES).map(lambda place: at(*place))
"""What stands elsewhere in a good document, where it means something."""


def refusals(document):
    """Return what every use of a document refuses; whatever else is raised comes through."""
    try:
        read = drafting.read(document)
        json.dumps([drafting.title(read), drafting.base_url(read)])
        offers = drafting.offered(read)
        assert all(isinstance(text, str) for offer in offers for text in (offer.unusable, offer.summary))
        drafting.sign_ins(read)
    except BadManifest as exc:
        return list(exc.problems)
    found = []
    for choice in CHOICES:
        try:
            assert drafting.draft(read, choice).parsed.system == "small"
        except BadManifest as exc:
            found += exc.problems
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=["OpenAPI 3", "Swagger 2"])
def test_the_documents_that_are_changed_here_are_good_ones(document):
    """Nothing is refused of them, so that what is refused below is what was changed."""
    assert refusals(document) == []


@given(st.sampled_from(PLACES), VALUES | PARTS)
@example((OPENAPI, ("paths", "/accounts/{account}/jobs", "get", "parameters")), 7)
def test_whatever_stands_anywhere_in_a_document_is_read_or_refused(place, value):
    """Of another kind than is expected, empty, or from elsewhere: no use of it ends with an error of ours."""
    found = refusals(replaced(*place, value))

    assert all(isinstance(said, str) and said for said in found)


@pytest.mark.parametrize("value", [7, [7]], ids=repr)
def test_no_place_of_a_document_need_hold_what_is_expected_there(value):
    """Every single place of it, one after another."""
    for document, path in PLACES:
        assert isinstance(refusals(replaced(document, path, value)), list), path
