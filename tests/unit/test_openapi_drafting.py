"""A manifest from an OpenAPI document and what is chosen of it, whatever kind of sign-in and paging it has."""

from __future__ import annotations

import json
import tomllib

import pytest
import yaml

from upstream import manifest_file
from upstream.errors import BadManifest
from upstream.vendors.openapi import drafting, guesses, toml, yaml_text
from upstream.vendors.openapi.choices import Choice


def document(**changes):
    """Return a document of a small system."""
    job = {
        "type": "object",
        "required": ["title"],
        "properties": {
            "id": {"type": "string", "readOnly": True},
            "title": {"type": "string", "maxLength": 80},
            "status": {"type": "string", "enum": ["open", "done"]},
            "reference": {"type": "string"},
            "lines": {"type": "array", "items": {"type": "object", "properties": {"hours": {"type": "number"}}}},
        },
    }
    answer = {
        "200": {"description": "", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}}
    }
    sent = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Job"}}}}
    listed = {
        "type": "object",
        "properties": {"data": {"type": "array", "items": {"$ref": "#/components/schemas/Job"}}},
    }
    listed["properties"]["next_cursor"] = {"type": "string"}
    account = {"name": "account", "in": "path", "required": True, "schema": {"type": "string"}}
    query = [{"name": name, "in": "query"} for name in ("cursor", "updated_since", "reference")]
    pages = {"200": {"description": "", "content": {"application/json": {"schema": listed}}}}
    made = {
        "openapi": "3.0.3",
        "info": {"title": "Small jobs"},
        "servers": [{"url": "https://{region}.small.example/v2", "variables": {"region": {"default": "eu"}}}],
        "paths": {
            "/me": {"get": {"summary": "Who I am", "responses": {"200": {"description": ""}}}},
            "/accounts/{account}/jobs": {
                "parameters": [account],
                "get": {"summary": "Jobs", "parameters": query, "responses": pages},
                "post": {"requestBody": sent, "responses": answer},
            },
            "/accounts/{account}/jobs/{job}": {
                "parameters": [account, {"name": "job", "in": "path", "required": True}],
                "get": {"responses": answer},
                "patch": {"requestBody": sent, "responses": answer},
                "delete": {"responses": {"204": {"description": ""}}},
            },
        },
        "components": {"schemas": {"Job": job}, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }
    return {**made, **changes}


JOB = {
    "create": "POST /accounts/{account}/jobs",
    "update": "PATCH /accounts/{account}/jobs/{job}",
    "read": "GET /accounts/{account}/jobs/{job}",
    "find": "GET /accounts/{account}/jobs",
    "void": "DELETE /accounts/{account}/jobs/{job}",
    "find_by": "reference",
    "marker": "reference",
}


def chosen(**changes):
    """Return what is chosen of it."""
    table = {"system": "small", "verify": "GET /me", "written": {"job": JOB}}
    table["told"] = {"job": {"list": "GET /accounts/{account}/jobs"}}
    return drafting.choice({**table, **changes})


def drafted(*args, **more):
    """Return the manifest of a draft, as the engine reads it."""
    return manifest_file.parse(drafting.draft(*args, **more).manifest)


def test_all_that_is_on_offer_is_listed():
    """Each operation comes with what it does, what it sends, and whether it lists."""
    offers = {offer.operation: offer for offer in drafting.offered(document())}

    assert list(offers)[:3] == ["GET /me", "GET /accounts/{account}/jobs", "POST /accounts/{account}/jobs"]
    assert offers["GET /accounts/{account}/jobs"].lists
    assert not offers["GET /me"].lists
    assert offers["POST /accounts/{account}/jobs"].effect == "write"
    fields = offers["POST /accounts/{account}/jobs"].fields
    assert set(fields) == {"title*", "status", "reference", "lines", "lines.*.hours"}


def test_what_is_chosen_becomes_a_manifest():
    """Paths have settings and the record in their holes; lists are paged; a mark is looked for."""
    found = drafted(document(), chosen())

    assert (found.system, found.title, found.base_url) == ("small", "Small jobs", "https://eu.small.example/v2")
    assert list(found.config) == ["account"]
    assert found.operations["update_job"].path == "/accounts/${config.account}/jobs/${remote.id}"
    assert found.operations["find_job"].query == {"reference": "${value.reference}"}
    assert found.operations["list_job"].query == {"updated_since": "${value.since}"}
    assert (found.operations["list_job"].pagination.param, found.operations["list_job"].answer.items) == (
        "cursor",
        "data",
    )
    target = found.targets["job"]
    assert (target.write, target.marker, target.void) == ("search", "reference", "void_job")
    assert found.discovery["job"].describes == "create_job"


def test_the_fields_come_from_the_request_itself():
    """What can be sent is known before anything was sent; what the vendor fills in is none of it."""
    [schema] = drafting.draft(document(), chosen()).schemas.values()

    fields = schema.by_path()
    assert "id" not in fields
    assert (fields["title"].required, fields["title"].length_max) == (True, 80)
    assert fields["status"].choices == ("open", "done")
    assert fields["lines.*.hours"].type == "number"


@pytest.mark.parametrize(
    ("change", "write"),
    [
        ({"key_header": "Idempotency-Key"}, "native"),
        ({}, "search"),
        ({"find": "", "version": "status"}, "versioned"),
        ({"find": "", "marker": "", "find_by": ""}, "none"),
        ({"create": "PATCH /accounts/{account}/jobs/{job}"}, "upsert"),
    ],
)
def test_the_strongest_class_that_is_chosen_for_is_taken(change, write):
    """A key, an address of our own, a version, a mark, nothing: in this order."""
    found = drafted(document(), chosen(written={"job": JOB | change}))

    assert found.targets["job"].write == write


FLOW = {"authorizationUrl": "https://a.example", "tokenUrl": "https://t.example", "scopes": {"jobs": ""}}


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ({"type": "apiKey", "in": "header", "name": "X-Key"}, "ApiKey"),
        ({"type": "apiKey", "in": "query", "name": "key"}, "ApiKey"),
        ({"type": "http", "scheme": "basic"}, "Basic"),
        ({"type": "http", "scheme": "bearer"}, "Bearer"),
        ({"type": "oauth2", "flows": {"authorizationCode": FLOW}}, "OAuth2Code"),
        ({"type": "oauth2", "flows": {"clientCredentials": FLOW}}, "ClientCredentials"),
        ({"type": "oauth2", "flow": "accessCode", **FLOW}, "OAuth2Code"),
        ({"type": "oauth2", "flow": "application", **FLOW}, "ClientCredentials"),
        ({"type": "mutualTLS"}, "Mtls"),
    ],
)
def test_every_way_of_signing_in_that_a_document_can_name(scheme, kind):
    """A scheme of the document is a kind of the manifest."""
    found = drafted(document(components={**document()["components"], "securitySchemes": {"it": scheme}}), chosen())

    assert type(found.auth).__name__ == kind


@pytest.mark.parametrize(
    ("auth", "kind"),
    [
        ({"kind": "none"}, "NoAuth"),
        ({"kind": "oauth1", "realm": "r"}, "OAuth1"),
        ({"kind": "session", "operation": "verify", "token": "token", "name": "X-Session"}, "Session"),
        (
            {"kind": "jwt_bearer", "token_url": "https://t.example", "issuer": "i", "subject": "s", "audience": "a"},
            "JwtBearer",
        ),
    ],
)
def test_every_way_of_signing_in_that_it_cannot(auth, kind):
    """What no document can say is given as a table of the manifest."""
    assert type(drafted(document(), chosen(auth=auth)).auth).__name__ == kind


@pytest.mark.parametrize(
    ("query", "answer", "headers", "kind"),
    [
        (["after"], ["data", "paging.next.after"], [], "cursor"),
        ([], ["value", "@odata.nextLink"], [], "next_url"),
        ([], ["data", "links.next"], [], "next_url"),
        (["page"], ["data"], ["Link"], "link"),
        (["offset", "limit"], ["data"], [], "offset"),
        (["page", "per_page"], ["data"], [], "page"),
        (["status"], ["data"], [], "single"),
    ],
)
def test_how_a_list_is_paged_is_read_off_its_names(query, answer, headers, kind):
    """A cursor, an address, a header, an offset, a number: in this order."""
    assert guesses.pagination(query, answer, headers)["kind"] == kind


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verify": "GET /nobody"}, "the document has no operation GET /nobody"),
        ({"verify": "me"}, "'me' is no operation; write METHOD /path"),
        ({"auth": "other"}, "no way of signing in 'other' (there are: key)"),
        ({"written": {"job": JOB | {"find_by": ""}}}, "say by find_by which parameter is given the mark"),
        ({"told": {"me": {"list": "GET /me"}}}, "no list is found in the answer; say items"),
        ({"system": "No Name"}, "is no name"),
    ],
)
def test_what_cannot_be_drafted_is_said(change, said):
    """Each mistake names what was looked for and what there is."""
    with pytest.raises(BadManifest) as caught:
        drafting.draft(document(), chosen(**change))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"written": {"job": {"create": "GET /accounts/{account}/jobs"}}},
            "written.job.create: GET /accounts/{account}/jobs only reads; name an operation with POST or PUT or PATCH",
        ),
        ({"written": {"job": JOB | {"void": "GET /me"}}}, "written.job.void: GET /me only reads; name an operation"),
        (
            {"written": {"job": JOB | {"find": "POST /accounts/{account}/jobs"}}},
            "written.job.find: POST /accounts/{account}/jobs changes something; name an operation with GET",
        ),
        ({"verify": "POST /accounts/{account}/jobs"}, "verify: POST /accounts/{account}/jobs changes something"),
        ({"budget": {"limit": -1}}, "budget: limit and concurrency must not be below 0"),
        ({"budget": {}}, "budget: bounds nothing; say limit"),
        ({"auth": {"kind": "bear"}}, 'auth.kind: "bear" is not allowed here; did you mean "bearer"?'),
        ({"auth": {"kind": "api_key", "name": 7}}, "auth.name: 7 is not allowed here: it must be text"),
        ({"auth": "kee"}, "auth: the document has no way of signing in 'kee'; did you mean \"key\"?"),
        ({"written": {"job": JOB | {"write": "native"}}}, "written.job.create: 'create_job' has no handle"),
        ({"written": {"job": JOB | {"index_lag_seconds": -1}}}, "written.job.index_lag_seconds: must not be below 0"),
        (
            {"told": {"job": {"list": "GET /accounts/{account}/jobs", "format": "iso9"}}},
            "told.job.format: 'iso9' is no",
        ),
        ({"told": {"job": {"list": "GET /me"}}}, "told.job.items: GET /me: no list is found in the answer; say items"),
        ({"written": {}, "told": {}}, "choice: names nothing to write or read; say [written.NAME] with create"),
        ({"told": {"a b/c": {"list": "GET /accounts/{account}/jobs"}}}, "told: 'a b/c' is no name: a-z first, then"),
        ({"written": {"Job": JOB}}, "written: 'Job' is no name: a-z first, then a-z, 0-9 or _, 63 characters at most"),
    ],
)
def test_what_cannot_be_drafted_is_said_by_the_key_of_the_choice(change, said):
    """Never by a line of the manifest that would have been made: nobody has seen that."""
    with pytest.raises(BadManifest) as caught:
        drafting.draft(document(), chosen(**change))

    assert any(problem.startswith(said) for problem in caught.value.problems)
    assert ", line " not in str(caught.value)


def test_a_request_that_is_not_described_is_said_where_it_is_chosen():
    """Nothing can be mapped to what has no field."""
    made = document()
    del made["paths"]["/accounts/{account}/jobs"]["post"]["requestBody"]

    with pytest.raises(
        BadManifest, match=r"^written\.job\.create: no field of job was found; give its request a schema"
    ):
        drafting.draft(made, chosen())


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"openapi: 3.0.0", b'{"paths": []}', b"\xff"])
def test_what_is_no_document_is_refused(text):
    """Only a table with paths and a version is one."""
    with pytest.raises(BadManifest):
        drafting.read(text)


def test_a_document_that_is_one_is_read():
    """A document survives being sent."""
    assert drafting.read(json.dumps(document()).encode()) == document()


@pytest.mark.parametrize("given", [document(), json.dumps(document()), yaml.safe_dump(document())])
def test_it_is_the_same_document_as_a_table_as_json_and_as_yaml(given):
    """Whatever form a system's makers publish it in, and whoever sends it."""
    assert drafting.read(given) == document()


def test_plain_words_of_yaml_mean_what_openapi_says():
    """By YAML 1.2: a country, a date, a time and a status are text; names of fields always are."""
    text = """
        answers: {200: fine, 404: none, true: name, null: name}
        text: [no, On, 2026-11-21, 12:30:00, 1_000, "7", !!str 7, 1e999, .nan]
        numbers: [7, -0, 0x1f, 0o17, 017, .5, 1., 6.02e23, !!int "7"]
        rest: [true, FALSE, ~, null, !!null x, ]
        nothing:
    """
    found = yaml_text.read(text.encode())

    assert found["answers"] == {"200": "fine", "404": "none", "true": "name", "null": "name"}
    assert found["text"] == ["no", "On", "2026-11-21", "12:30:00", "1_000", "7", "7", "1e999", ".nan"]
    assert found["numbers"] == [7, 0, 31, 15, 17, 0.5, 1.0, 6.02e23, 7]
    assert found["rest"] == [True, False, None, None, "x"]
    assert found["nothing"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: c: d", "line 2: mapping values are not allowed"),
        ("a:\n\t- b", "line 2: found character that cannot start any token"),
        ("a: &a [*a]", "line 1: *a repeats what has no end or is not there"),
        ("a: *b", "line 1: *b repeats what has no end or is not there"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "line 3: `<<` is no part of YAML 1.2"),
        ("? [a]\n: 1", "line 1: the name of a field is a table or a list"),
        ("x: &a [1]\n*a : 2", "line 2: the name of a field is no text"),
        ("a: 1\n---\nb: 2", "line 2: a second document begins"),
        ("a: !!python/object/apply:os.system [x]", "line 1: the tag tag:yaml.org,2002:python/object"),
        ("a: !!binary aGk=", "line 1: the tag tag:yaml.org,2002:binary is not read"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' stands there a second time; take one of them out"),
        ("a: &k b\n*k : 1\nb: 2", "line 3: 'b' stands there a second time"),
        ("a: &k b\nb: 1\n*k : 2", "line 3: 'b' stands there a second time"),
        ("paths: {/x: {get: {}, 1: {}, get: {}}}", "line 1: 'get' stands there a second time"),
        ("a: \x01", "the document is no text that YAML could be"),
        ("- " * 1_000 + "a", "line 1: goes deeper than 200 levels"),
        ("openapi: 3.1.0", "paths: is missing or no table"),
        ('{"openapi": "3.1.0",', "the document is no JSON"),
    ],
)
def test_what_is_wrong_with_a_document_in_yaml_is_said_with_its_line(text, said):
    """What JSON cannot say, what is built on it twice, and what would run."""
    with pytest.raises(BadManifest) as caught:
        drafting.read(text)

    assert said in str(caught.value)


TAGS = "".join(f"%TAG !{number}! x\n" for number in range(yaml_text.TAG_DIRECTIVES_MAX + 1))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_directives_without_end_are_refused_before_they_are_parsed(encoding, monkeypatch):
    """The parser holds each against all others, and lets no other thread run meanwhile."""
    monkeypatch.setattr(yaml, "parse", None)

    with pytest.raises(BadManifest, match="%TAG stands there more than 20 times"):
        drafting.read(f"{TAGS}---\nopenapi: 3.0.0\npaths: {{}}\n".encode(encoding))


@pytest.mark.parametrize("first", ["%YAML 1.2\n%TAG ! x\n---\n", "# %TAG !\n", ""])
def test_a_document_may_begin_with_directives(first):
    """Few of them take no time, and change nothing of what is read."""
    assert drafting.read(f"{first}openapi: 3.0.0\npaths: {{}}\n") == {"openapi": "3.0.0", "paths": {}}


def test_a_list_names_the_version_that_a_change_names():
    """What a list shows of an object is what its next change says to replace."""
    job = {**JOB, "version": "reference"}
    listed = {"list": "GET /accounts/{account}/jobs", "modified": "status"}

    found = drafting.draft(document(), chosen(written={"job": job}, told={"job": listed})).parsed

    assert (found.sources["job"].version, found.sources["job"].modified) == ("reference", "status")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            {"written": {"job": {**JOB, "crate": "x"}}},
            'written.job.crate: is no key of this table; did you mean "create"? (allowed: create, update, read, find,',
        ),
        ({"written": {"job": {}}}, "written.job.create: is missing; it must be text"),
        ({"told": {"job": {"list": 7}}}, "told.job.list: 7 is not allowed here: it must be text"),
        ({"budgets": {}}, 'budgets: is no key of this table; did you mean "budget"?'),
        ({"budget": {"limit": "many"}}, 'budget.limit: "many" is not allowed here: it must be a whole number'),
        ({"written": {"job": {**JOB, "write": "sure"}}}, 'written.job.write: "sure" is not allowed here'),
    ],
)
def test_a_choice_names_its_mistakes(table, said):
    """Each by its key, with what is allowed there."""
    with pytest.raises(BadManifest) as caught:
        drafting.choice({"system": "s", "verify": "GET /me", **table})

    assert [problem for problem in caught.value.problems if problem.startswith(said)]
    assert len(caught.value.problems) == 1


def test_a_choice_that_is_no_table_is_refused():
    """Whatever was sent in its place."""
    with pytest.raises(BadManifest, match="choice: must be a table"):
        drafting.choice([])


def test_tables_as_text_are_the_same_tables():
    """Whatever can stand in a manifest comes out of its text again."""
    table = {
        "a": 'one "two" \\ three \x7f',
        "b": {"c": True, "d.e": {"f": [1, 2.5, {"g": "ü"}]}},
        "h": {"i": {"j": {}}},
    }

    assert tomllib.loads(toml.written(table)) == table
    assert isinstance(chosen(), Choice)
