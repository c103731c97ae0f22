"""A system that is known by its OpenAPI document alone, over HTTP: shown, chosen from, connected, told, changed."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tests.integration.front import front
from tests.integration.service import ANA, problem, uid
from tests.peers import described
from tests.peers.described import JOBS, Described
from tests.peers.vendor.faults import Faults

if TYPE_CHECKING:
    from tests.integration.front import Front
    from tests.integration.service import Service

WRITTEN = {
    "create": f"POST {JOBS}",
    "update": f"PUT {JOBS}/{{job}}",
    "read": f"GET {JOBS}/{{job}}",
    "find": f"GET {JOBS}",
    "find_by": "reference",
    "marker": "reference",
    "void": f"DELETE {JOBS}/{{job}}",
    "index_lag_seconds": 0.3,
}
CHOICE = {"verify": "GET /me", "written": {"job": WRITTEN}}
MAPPING = """
[[out]]
object = "job"
collection = "work_orders"
rows = [
  { target = "number", source = "record.id" },
  { target = "title", source = "record.title", required = true },
]
"""
BEARER = {"type": "http", "scheme": "bearer"}
SCOPES = {"scopes": {"jobs": "", "people": ""}}
SCHEMES = {
    "header": ({"type": "apiKey", "in": "header", "name": "X-Key"}, {"key": described.KEY}),
    "query": ({"type": "apiKey", "in": "query", "name": "api_key"}, {"key": described.KEY}),
    "cookie": ({"type": "apiKey", "in": "cookie", "name": "sid"}, {"key": described.KEY}),
    "basic": ({"type": "http", "scheme": "basic"}, {"user": described.USER, "password": described.PASSWORD}),
    "bearer": (BEARER, {"token": described.TOKEN}),
    "program": (
        {"type": "oauth2", "flows": {"clientCredentials": SCOPES}},
        {"client_id": described.CLIENT, "client_secret": described.SECRET},
    ),
    "person": (
        {"type": "oauth2", "flows": {"authorizationCode": SCOPES}},
        {"client_id": described.CLIENT, "client_secret": described.SECRET},
    ),
}


def wanted(system: Described, auth: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return what a connection is made of."""
    made = {"system": "jobs", "document": system.document, "choice": CHOICE, "auth": auth, "config": {"account": "a1"}}
    return made | more


async def connected(door: Front, system: Described, auth: dict[str, str], **more: Any) -> None:
    """Make the connection of a document and a choice, map to it, and go live."""
    door.id = (await door.ask("post", "/v1/connections", **wanted(system, auth, **more)))["id"]
    if "authorizationCode" in system.scheme.get("flows", {}):
        await signed_in(door, system)
    drafted = await door.ask("post", "/v1/mappings", connection=door.id, content=MAPPING)
    await door.ask("post", f"/v1/mappings/{door.id}/{drafted['version']}/publish")
    await door.ask("post", f"/v1/connections/{door.id}/promote", least=0)


async def signed_in(door: Front, system: Described) -> None:
    """Go to the system's page as a person, and come back with a code."""
    back = "https://office.example/back"
    begun = await door.ask("post", f"/v1/connections/{door.id}/authorize", redirect_uri=back)
    asked = parse_qs(urlsplit(begun["url"]).query)
    assert asked["scope"] == ["jobs"], "no more is asked for than the operations need"
    system.challenge = asked["code_challenge"][0]
    given = {"state": asked["state"][0], "code": described.CODE}
    ended = await door.client.get("/v1/connections/callback", params=given)
    assert ended.status_code == 200, ended.text


async def test_the_name_of_a_system_is_given_once(service: Service) -> None:
    """It may stand in the choice alone; one beside it that is another is refused, as is none at all."""
    system = Described(BEARER)
    async with system.server, front(service) as door:
        asked = wanted(system, {"token": described.TOKEN})
        bare = {name: value for name, value in asked.items() if name != "system"}
        named = bare | {"choice": {"system": "jobs", **CHOICE}}

        made = await door.ask("post", "/v1/connections", **named)
        other = await door.client.post("/v1/connections", json=named | {"system": "trees", "name": "Other"})
        drafted = await door.ask("post", "/v1/connections/drafts", document=system.document, choice=named["choice"])
        beside = {"system": "trees", "manifest": drafted["manifest"], "name": "Other"}
        described_other = await door.client.post("/v1/connections", json=beside)
        nameless = await door.client.post("/v1/connections", json=bare | {"name": "Third"})
        nothing = await door.client.post("/v1/connections", json={"name": "Fourth"})

    assert made["system"] == "jobs"
    for answer in (other, described_other):
        assert problem(answer) == (422, "bad_connection")
        assert all(name in answer.json()["detail"] for name in ("system: ", "trees", "jobs"))
    assert problem(nameless) == (422, "bad_manifest")
    assert "system" in nameless.text
    assert (problem(nothing), nothing.json()["detail"][:8]) == ((422, "bad_connection"), "system: ")


@pytest.mark.parametrize("kind", SCHEMES)
async def test_whatever_the_sign_in_a_record_arrives_and_can_be_read_back(service: Service, kind: str) -> None:
    """From the document to a job at the system and a receipt, and a change of it changes the same job."""
    scheme, auth = SCHEMES[kind]
    system = Described(scheme, version="3.0.3" if kind == "basic" else "3.1.0")
    async with system.server, front(service) as door:
        await connected(door, system, auth)
        assert (await door.ask("post", f"/v1/connections/{door.id}/verify"))["kind"] == "ok"
        desk = await service.office()
        made = await desk.create(1, title="Boiler", assignee_id=ANA)
        await door.work()
        await desk.change(1, made["rev"], title="Boiler, cellar")
        await door.work()
        receipt = (await door.ask("get", f"/v1/receipts/work_orders/{uid(1)}"))["systems"][0]

    [row] = system.shelf.rows.values()
    assert (row.fields["title"], row.fields["number"], row.writes) == ("Boiler, cellar", uid(1), 2)
    assert (receipt["stage"], receipt["remote_id"]) == ("delivered", row.id)
    assert system.refused == []


@pytest.mark.parametrize(
    ("written", "write", "states"),
    [
        (WRITTEN, "search", {"confirmed": 6}),
        ({"create": f"POST {JOBS}"}, "none", {"unknown": 3, "confirmed": 3}),
    ],
)
async def test_what_is_promised_of_lost_answers_is_kept(
    service: Service, written: dict[str, Any], write: str, states: dict[str, int]
) -> None:
    """With a mark that can be looked for, all are there once; without, the lost ones are unknown, and none is twice."""
    choice = {**CHOICE, "written": {"job": written}}
    system = Described(BEARER, faults=Faults({"drop": 1.0}))
    async with system.server, front(service) as door:
        asked = {"document": system.document, "choice": {"system": "jobs", **choice}}
        [promised] = (await door.ask("post", "/v1/connections/drafts", **asked))["objects"]
        await connected(door, system, {"token": described.TOKEN}, choice=choice)
        desk = await service.office()
        for number in range(6):
            if number == 3:
                await door.work()
                system.faults.stop()
            await desk.create(number, title=f"Job {number}", assignee_id=ANA)
        await door.work()
        found = await door.ask("get", f"/v1/connections/{door.id}")

    assert (promised["write"], found["deliveries"]) == (write, states)
    assert ("person decides" in promised["promise"]) == ("unknown" in states)
    assert system.shelf.counted("number") == {uid(number): 1 for number in range(6)}


async def test_a_document_is_shown_and_drafted_from_before_anything_is_made(service: Service) -> None:
    """What is on offer, what cannot be used and why, and the manifest of a choice; nothing is kept."""
    system = Described(BEARER)
    async with system.server, front(service) as door:
        document = system.document
        document["paths"]["/photos"] = {"post": {"requestBody": {"content": {"image/png": {}}}, "responses": {}}}
        document["paths"]["/far"] = {"get": {"responses": {"200": {"$ref": "https://other.example/a.json#/A"}}}}
        document["components"]["securitySchemes"]["other"] = {"type": "http", "scheme": "digest"}
        offers = await door.ask("post", "/v1/connections/offers", document=document)
        by = {each["operation"]: each for each in offers["operations"]}

        assert (offers["title"], offers["base_url"]) == ("Described jobs", system.server.url)
        assert by[f"POST {JOBS}"]["fields"] == ["number*", "reference", "status", "title*"]
        assert (by[f"GET {JOBS}"]["lists"], by[f"GET {JOBS}"]["unusable"]) == (True, "")
        assert "image/png" in by["POST /photos"]["unusable"]
        assert "nothing is fetched" in by["GET /far"]["unusable"]
        assert [(each["name"], each["kind"]) for each in offers["sign_in"]] == [("it", "bearer"), ("other", "")]

        drafted = await door.ask(
            "post", "/v1/connections/drafts", document=document, choice={"system": "jobs", **CHOICE}
        )
        assert (drafted["credentials"], drafted["config"]) == (["token"], {"account": "account"})
        edited = drafted["manifest"].replace('title = "Described jobs"', 'title = "Jobs, as edited"')
        made = await door.ask(
            "post", "/v1/connections", system="jobs", manifest=edited, document=document,
            auth={"token": described.TOKEN}, config={"account": "a1"},
        )  # fmt: skip
        assert made["title"] == "Jobs, as edited"


@pytest.mark.parametrize("value", [7, "text", None, [7], {"a": 7}], ids=repr)
async def test_a_document_that_holds_something_else_than_is_expected_is_offered_all_the_same(
    service: Service, value: Any
) -> None:
    """What is no list of parameters is none; the rest of the document can be chosen from."""
    system = Described(BEARER)
    async with system.server, front(service) as door:
        document = system.document
        document["paths"]["/me"]["get"]["parameters"] = value
        offers = await door.ask("post", "/v1/connections/offers", document=document)

    assert "GET /me" in {each["operation"] for each in offers["operations"]}


async def test_a_document_in_yaml_is_the_same_document(service: Service) -> None:
    """Offered, drafted, connected and compared as its JSON is; a mistake in it has its line."""
    system = Described(BEARER)
    async with system.server, front(service) as door:
        text = yaml.safe_dump(system.document, sort_keys=False)
        offers = [await door.ask("post", "/v1/connections/offers", document=each) for each in (text, system.document)]
        await connected(door, system, {"token": described.TOKEN}, document=text)
        kept = await door.ask("get", f"/v1/connections/{door.id}/document")
        same = await put(door, system.document)
        broken = await door.client.post("/v1/connections/offers", json={"document": "openapi: 3.1.0\npaths: a: b"})

    assert offers[0] == offers[1]
    assert same["document"] == kept["document"]
    assert problem(broken) == (422, "bad_manifest")
    assert "line 2: mapping values" in broken.text


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (
            {"choice": {**CHOICE, "verify": "GET /mee"}},
            "bad_manifest",
            "verify: the document has no operation GET /mee; did you mean",
        ),
        ({"choice": {**CHOICE, "colour": 1}}, "bad_manifest", "colour: is no key of this table"),
        (
            {"choice": {**CHOICE, "written": {"job": {**WRITTEN, "marker": "referense"}}}},
            "bad_manifest",
            f"written.job.marker: the request of POST {JOBS} has no field 'referense'; did you mean \"reference\"?",
        ),
        ({"choice": CHOICE, "manifest": "system = 1"}, "bad_connection", "choice"),
        ({"document": None}, "bad_connection", "choice"),
        ({"document": {"openapi": "4.0", "paths": {}}}, "bad_manifest", "openapi: is '4.0'"),
        ({"document": {"openapi": "3.1.0"}}, "bad_manifest", "paths: is missing"),
        ({"config": {}}, "bad_connection", "config.account: is missing"),
        ({"auth": {"user": "x"}}, "bad_connection", "token"),
    ],
)
async def test_what_cannot_be_used_is_named_and_nothing_is_made(
    service: Service, change: dict[str, Any], code: str, said: str
) -> None:
    """Each refusal says what and where; no connection is left behind."""
    system = Described(BEARER)
    async with system.server, front(service) as door:
        answer = await door.client.post("/v1/connections", json=wanted(system, {"token": "t"}) | change)

        assert problem(answer) == (422, code)
        assert said in answer.text.replace('\\"', '"')
        assert (await door.client.get("/v1/connections")).json()["items"] == []


async def test_fields_come_from_the_kept_document_and_another_one_is_compared(service: Service) -> None:
    """Nobody is asked for them; a document that takes away what a row writes says which row that hits."""
    system = Described(BEARER)
    async with system.server, front(service) as door:
        await connected(door, system, {"token": described.TOKEN})
        before = system.server.requests
        fields = await door.ask("get", f"/v1/connections/{door.id}/fields/job")
        kept = await door.ask("get", f"/v1/connections/{door.id}/document")

        assert (fields["source"], {each["path"] for each in fields["fields"]}) == (
            "openapi",
            {"number", "title", "status", "reference"},
        )
        assert {each["path"]: each["length_max"] for each in fields["fields"]}["title"] == 80
        assert system.server.requests == before
        assert (kept["document"]["version"], kept["document"]["title"]) == (1, "Described jobs")

        same = await put(door, system.document)
        other = copy.deepcopy(system.document)
        job = other["components"]["schemas"]["Job"]
        job["properties"]["heading"] = job["properties"].pop("title")
        job["properties"]["status"]["enum"] = ["open", "closed"]
        job["required"] = ["number", "priority"]
        job["properties"]["priority"] = {"type": "integer"}
        del other["paths"][f"{JOBS}/{{job}}"]
        changed = await put(door, other)
        by = {(each["field"], each["change"]): each for each in changed["changes"]}
        worn = await door.ask("get", f"/v1/connections/{door.id}/fields/job")
        gone = await put(door, {**other, "paths": {"/me": other["paths"]["/me"]}})

    assert (same["document"]["version"], same["changes"]) == (1, [])
    assert changed["document"]["version"] == 2
    assert by["title", "removed"]["urgent"]
    assert by["title", "removed"]["rows"] == ["out job title"]
    assert ("status", "choice_removed") in by
    assert by["priority", "required"]["urgent"]
    assert "heading" in {each["path"] for each in worn["fields"]}
    assert gone["problems"] == [f"job: the document has no operation POST {JOBS}"]


async def put(door: Front, document: dict[str, Any]) -> dict[str, Any]:
    """Give the connection another document."""
    answer = await door.client.put(f"/v1/connections/{door.id}/document", json={"document": document})
    assert answer.status_code == 200, answer.text
    return answer.json()
