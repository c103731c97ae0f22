"""The fields of a vendor's object, found out in each of the ways there are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import manifests
from upstream import discovery, manifest_file, openapi, schema
from upstream.errors import NotDiscovered
from upstream.manifest import Discovery
from upstream.schema import Field, Unreadable


def plain(found: schema.Schema) -> dict[str, str]:
    """Give the type of each field."""
    return {field.path: field.type for field in found.fields}


def test_a_describing_answer_lists_the_fields():
    """A list of entries, with a yes or no in its own words, types in the vendor's, and choices within each entry."""
    how = Discovery(
        operation="describe",
        fields="result.fields",
        required="!nillable",
        writable="createable",
        choices="picks.*.value",
        types={"money": "currency"},
    )
    body = {
        "result": {
            "fields": [
                {"name": "Id", "type": "id", "nillable": True, "createable": False},
                {"name": "Total", "type": "money", "nillable": False, "createable": True},
                {
                    "name": "State",
                    "type": "picklist",
                    "nillable": True,
                    "createable": True,
                    "picks": [{"value": "Open"}, {}],
                },
                {"name": "Odd", "type": "complexvalue", "nillable": True, "createable": True},
                {"type": "nameless"},
            ]
        }
    }

    assert schema.of_listing("bill", how, body).fields == (
        Field(path="Id", type="text", writable=False),
        Field(path="Odd", type="any"),
        Field(path="State", type="text", choices=("Open",)),
        Field(path="Total", type="number", required=True),
    )


def test_a_table_of_fields_by_name_is_a_list_too():
    """Metadata that has the names as keys says the same."""
    how = Discovery(kind="metadata", operation="meta", fields="properties", type="dataType")
    found = schema.of_listing("bill", how, {"properties": {"due": {"dataType": "date"}, "paid": {"dataType": "bool"}}})

    assert (plain(found), found.source, found.is_whole) == ({"due": "date", "paid": "boolean"}, "metadata", True)


def test_samples_show_the_fields_that_they_have():
    """A type fits all values of a field; what is never filled in may be anything, and nothing is said to be missing."""
    records = [
        {"n": 1, "at": "2026-03-01T08:00:00Z", "mixed": 1, "lines": [{"x": 1.5}, {"y": "2026-03-01"}], "tags": ["a"]},
        {"n": 2, "none": None, "mixed": "x", "lines": [], "uuid": "3f0e0e0c-9f43-4a9d-8f39-1a4b7f7b5a10"},
        "no record",
    ]
    found = schema.of_samples("bill", records)

    assert not found.is_whole
    assert plain(found) == {
        "n": "integer",
        "at": "instant",
        "mixed": "any",
        "lines": "list",
        "lines.*.x": "number",
        "lines.*.y": "date",
        "tags": "list",
        "tags.*": "text",
        "none": "any",
        "uuid": "uuid",
    }


def test_two_schemas_are_the_same_if_they_say_the_same():
    """The digest does not depend on the order in which fields were found, and changes with any of them."""
    fields = [Field(path="a", type="text"), Field(path="b", type="text")]
    one, other = (schema.made_of("o", "describe", each) for each in (fields, fields[::-1]))

    assert one.digest == other.digest
    assert one.digest != schema.made_of("o", "describe", [fields[0], Field(path="b", type="number")]).digest
    assert one.digest != schema.made_of("o", "sample", fields).digest


def test_no_fields_and_too_many_are_refused():
    """An object without fields was not described, and one with thousands is not read."""
    with pytest.raises(Unreadable, match="no field of o was found"):
        schema.made_of("o", "describe", [])
    with pytest.raises(Unreadable, match="more than 3000"):
        schema.made_of("o", "describe", [Field(path=str(number)) for number in range(3_001)])


def outcome(read: Callable[[], schema.Schema]) -> object:
    """Give the fields that are read, or the sentence that says that there are none."""
    try:
        return read().fields
    except Unreadable as exc:
        return str(exc)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "type", "a", "fields"]), inner)
    ),
    max_leaves=15,
)


@given(JSON)
def test_no_answer_makes_the_readers_stumble(body):
    """Whatever a vendor answers, its fields are read or it is said that there are none."""
    how = Discovery(operation="x", fields="fields", choices="a.*.name", required="!a")
    records = body if isinstance(body, list) else [body]
    for read in (lambda: schema.of_listing("o", how, body), lambda: schema.of_samples("o", records)):
        assert outcome(read)


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/bills": {
            "parameters": [{"name": "tenant", "in": "query", "required": True}],
            "post": {
                "parameters": [{"$ref": "#/components/parameters/page"}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Bill"}}}},
                "responses": {
                    "404": {"description": "no"},
                    "201": {
                        "content": {
                            "application/json": {
                                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Bill"}}
                            }
                        }
                    },
                },
            },
        },
        "/bills/{bill_id}": {"get": {"responses": {"200": {"description": "nothing described"}}}},
    },
    "components": {
        "parameters": {"page": {"name": "page", "in": "query"}},
        "schemas": {
            "Bill": {
                "allOf": [
                    {"$ref": "#/components/schemas/Numbered"},
                    {
                        "type": "object",
                        "required": ["lines", "id"],
                        "properties": {
                            "id": {"type": "string", "format": "uuid", "readOnly": True},
                            "due": {"type": ["string", "null"], "format": "date"},
                            "lines": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}},
                            "tags": {"type": "array", "items": {"type": "string"}},
                            "payer": {"oneOf": [{"$ref": "#/components/schemas/Person"}, {"type": "null"}]},
                            "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
                            "parent": {"$ref": "#/components/schemas/Bill"},
                        },
                    },
                ]
            },
            "Numbered": {
                "required": ["number"],
                "properties": {
                    "number": {"type": "string", "maxLength": 8},
                    "state": {"type": "string", "enum": ["draft", "open"]},
                },
            },
            "Line": {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}}},
            "Person": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
    },
}


def test_a_request_is_read_off_an_openapi_document():
    """References, parts put together, choices, null, lists and read-only fields come out as fields of a request."""
    found = {field.path: field for field in openapi.request_schema(DOCUMENT, "post", "/bills", "bill").fields}

    assert {path: field.type for path, field in found.items() if not path.startswith("parent")} == {
        "number": "text",
        "state": "text",
        "due": "date",
        "lines": "list",
        "lines.*.amount": "number",
        "tags": "list",
        "tags.*": "text",
        "payer": "object",
        "payer.name": "text",
        "either": "any",
    }
    assert sorted(path for path, field in found.items() if field.required and "parent" not in path) == [
        "lines",
        "lines.*.amount",
        "number",
    ]
    assert (found["number"].length_max, found["state"].choices) == (8, ("draft", "open"))
    assert any(path.startswith("parent.parent.") for path in found)


def test_an_answer_has_what_only_the_vendor_fills_in():
    """The first answer that goes well is read; the items of a list are marked, and read-only fields are there."""
    found = openapi.answer_schema(DOCUMENT, "POST", "/bills", "bill").by_path()

    assert (found["*.id"].type, found["*.number"].type) == ("uuid", "text")
    with pytest.raises(Unreadable, match="no answer that is described"):
        openapi.answer_schema(DOCUMENT, "GET", "/bills/{id}", "bill")


def test_operations_are_found_by_method_and_path():
    """Names of holes do not matter, and parameters of a path belong to each of its operations."""
    assert [(method, path) for method, path, _ in openapi.operations(DOCUMENT)] == [
        ("POST", "/bills"),
        ("GET", "/bills/{bill_id}"),
    ]
    assert openapi.parameters(DOCUMENT, "POST", "/bills", "query") == {"tenant": True, "page": False}
    with pytest.raises(Unreadable, match="no operation PUT /bills"):
        openapi.request_schema(DOCUMENT, "PUT", "/bills", "bill")


def test_swagger_2_says_its_body_among_the_parameters():
    """The older form, with a body or a form, is read as well."""
    body = {"in": "body", "name": "x", "schema": {"properties": {"a": {"type": "integer"}}}}
    form = {"in": "formData", "name": "b", "type": "string", "required": True}
    document = {"paths": {"/one": {"post": {"parameters": [body]}}, "/two": {"post": {"parameters": [form]}}}}

    assert plain(openapi.request_schema(document, "POST", "/one", "o")) == {"a": "integer"}
    assert openapi.request_schema(document, "POST", "/two", "o").fields == (
        Field(path="b", type="text", required=True),
    )


def test_a_document_that_refers_to_itself_has_an_end():
    """A loop of references, and an object within itself, are read to a depth and no further."""
    loop = {"components": {"schemas": {"A": {"$ref": "#/components/schemas/A"}}}}
    wide = {f"f{number}": {"$ref": "#/components/schemas/W"} for number in range(40)}
    document = {
        "paths": {
            "/a": {
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/W"}}}}
                }
            }
        },
        "components": {"schemas": {"W": {"type": "object", "properties": wide}}},
    }

    assert openapi.resolved(loop, {"$ref": "#/components/schemas/A"}) == {}
    with pytest.raises(Unreadable, match="more than 3000"):
        openapi.request_schema(document, "POST", "/a", "o")


def test_a_document_that_is_entangled_is_refused_in_time():
    """Parts that are made of parts, each of several, are not followed for ever."""
    parts = {f"P{number}": {"allOf": [{"$ref": f"#/s/P{number + 1}"}] * 12} for number in range(9)}
    body = {"content": {"application/json": {"schema": {"$ref": "#/s/P0"}}}}
    document = {"s": parts, "paths": {"/a": {"post": {"requestBody": body}}}}

    with pytest.raises(Unreadable, match="refers to itself more than 100000 times"):
        openapi.request_schema(document, "POST", "/a", "o")


def test_what_a_shape_needs_is_not_multiplied():
    """A shape that is put in many times over needs each field once, and what is put in is counted."""
    names = [f"f{number}" for number in range(2_000)]
    parts = {"allOf": [{"$ref": "#/s/A"}] * 300}
    shapes = {"A": {"required": names, "properties": {"f7": {}}}}
    body = {"content": {"application/json": {"schema": parts}}}
    document = {"s": shapes, "paths": {"/a": {"post": {"requestBody": body}}}}

    found = openapi.request_schema(document, "POST", "/a", "o")
    assert found.fields == (Field(path="f7", type="any", required=True),)
    with pytest.raises(Unreadable, match="more than 2000 times"):
        openapi.request_schema(document, "POST", "/a", "o", at_a_glance=True)
    shapes["A"]["required"] = names * 4
    with pytest.raises(Unreadable, match="more than 100000 times"):
        openapi.request_schema(document, "POST", "/a", "o")


def test_what_only_one_of_several_choices_needs_is_not_needed():
    """A choice that stands alone is none; what all of its parts need is needed."""

    def body(**shape):
        return {"content": {"application/json": {"schema": shape}}}

    def needed(**shape):
        document = {"paths": {"/a": {"post": {"requestBody": body(**shape)}}}}
        found = openapi.request_schema(document, "POST", "/a", "o")
        return {field.path for field in found.fields if field.required}

    one, two = ({"type": "object", "required": [name], "properties": {"a": {}, "b": {}}} for name in "ab")

    assert needed(allOf=[one, two]) == {"a", "b"}
    assert needed(allOf=[one], oneOf=[two, one]) == {"a"}
    assert needed(oneOf=[one, {"type": "null"}]) == {"a"}


@pytest.mark.parametrize("step", ["1" * 5_000, "1" * 30, "-1", "a", "a/" * 100_000])
def test_a_reference_to_no_place_of_a_list_leads_nowhere(step):
    """However many digits it has, and however long it is."""
    body = {"$ref": f"#/tags/{step}"}
    document = {"tags": [{}, {}], "paths": {"/a": {"post": {"requestBody": body}}}}

    assert not openapi.leads(document, body["$ref"])
    with pytest.raises(Unreadable):
        openapi.request_schema(document, "POST", "/a", "o")


async def test_a_document_is_read_beside_all_else(monkeypatch):
    """It may be as long as it is allowed to be, so it is not read where everybody waits for it."""
    described = 'discovery.bill]\nkind = "openapi"\ndescribes = "make_bill"'
    text = manifests.TEXT.replace('discovery.bill]\noperation = "describe_bill"\nfields = "fields"', described)
    threads: list[int] = []

    def reading(*_):
        threads.append(threading.get_ident())
        raise Unreadable("it was read")

    monkeypatch.setattr(openapi, "request_schema", reading)
    with pytest.raises(NotDiscovered, match="it was read"):
        await discovery.discover(Mock(), manifest_file.parse(text), "bill", document={"paths": {}})

    assert len(threads) == 1
    assert threading.get_ident() not in threads


PARTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.sampled_from(["object", "array", "string", "#/a", "#/paths", "date"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "allOf", "oneOf", "$ref", "required", "enum", "a", "format"]
            ),
            inner,
        )
    ),
    max_leaves=15,
)


@given(PARTS)
def test_no_document_makes_the_reader_stumble(part):
    """Whatever stands where a shape should, fields are read or it is said that there are none."""
    document = {
        "a": part,
        "paths": {"/a": {"post": {"requestBody": {"content": {"application/json": {"schema": part}}}}}},
    }
    assert outcome(lambda: openapi.request_schema(document, "POST", "/a", "o"))
