"""MessagePack and JSON, plain, gzip and zstd: one protocol, whatever carries it."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replication import packing
from replication.forms import Form
from replication.packing import Coding
from syncserver.http.negotiation import FORMS
from syncserver.store import devices
from tests.integration.forms import MEDIA_TYPES, read, said, speaker
from tests.integration.service import ANA, BEN, Service, codes, problem, uid, verdicts

SPEECHES: list[tuple[Form, Coding | None]] = [
    ("json", None),
    ("json", "gzip"),
    ("json", "zstd"),
    ("msgpack", None),
    ("msgpack", "gzip"),
    ("msgpack", "zstd"),
]
PACKED = "application/msgpack"


@pytest.mark.parametrize(("form", "coding"), SPEECHES)
async def test_a_day_s_work_in_every_form(service: Service, form: Form, coding: Coding | None) -> None:
    """Enrol, push, pull and refresh say the same, and each is answered in the form it asks for."""
    desk, ana = await service.office(), await speaker(service, form, coding)
    await desk.create(1, title="Boiler ä", assignee_id=ANA, window_start="2026-01-01T08:00:00Z")
    long = "text " * 1_000

    page = await ana.pull(versions=True)
    answer = await ana.push(ana.edit(1, set={"status": "on_site", "summary": long}), ana.edit(2, op="create"))
    refreshed = await ana.post("/v1/devices/refresh", {"refresh": ana.enrolled["refresh"]})

    assert answer.headers["content-type"] == MEDIA_TYPES[form]
    assert verdicts(read(answer)) == ["applied", "applied"]
    assert ana.held[uid(1)]["title"] == "Boiler ä"
    assert page["applied"] == 0
    assert read(refreshed)["epoch"] == ana.enrolled["epoch"]
    again = await ana.post("/v1/sync/pull", {})
    assert again.headers.get("content-encoding") == coding
    told = {each["id"]: each["fields"] for commit in read(again)["commits"] for each in commit["changes"]}
    assert told[uid(1)]["summary"] == long.strip()


async def test_the_office_speaks_messagepack(service: Service) -> None:
    """Records, verbs, conflicts, devices and the catalogue tell the same document in both forms."""
    desk = await service.office()
    ana = await service.device()
    packed = service.client(str(desk.client.headers["authorization"]).split()[1], accept=PACKED)
    content, headers = said({"id": uid(1), "title": "Boiler", "assignee_id": ANA}, "msgpack")
    made = read(await packed.post("/v1/work_orders", content=content, headers=headers))
    await ana.pull()
    content, headers = said({"title": "Boiler, cellar"}, "msgpack")
    changed = await packed.patch(
        f"/v1/work_orders/{uid(1)}", content=content, headers=headers | {"if-match": f'"{made["rev"]}"'}
    )
    await ana.settled(ana.edit(1, set={"title": "Boiler, roof"}))
    entry = read(await packed.get("/v1/conflicts"))["items"][0]
    shown = read(await packed.get(f"/v1/conflicts/{entry['id']}"))["shown"]
    content, headers = said(shown, "msgpack")
    undone = read(await packed.post(f"/v1/conflicts/{entry['id']}/undo", content=content, headers=headers))
    content, headers = said({"reason": "no water"}, "msgpack")
    cancelled = await packed.post(
        f"/v1/work_orders/{uid(1)}/cancel", content=content, headers=headers | {"if-match": f'"{undone["rev"]}"'}
    )
    bare = await packed.post(f"/v1/work_orders/{uid(1)}/cancel", headers={"if-match": f'"{undone["rev"]}"'})

    assert (changed.headers["content-type"], changed.headers["etag"]) == (PACKED, f'"{read(changed)["rev"]}"')
    assert undone["title"] == "Boiler, roof"
    assert read(cancelled)["summary"] == "no water"
    assert bare.status_code == 200
    places = (
        "work_orders",
        f"work_orders/{uid(1)}",
        f"work_orders/{uid(1)}/history",
        "conflicts",
        "devices",
        "catalog",
    )
    for place in places:
        plain, also = await desk.client.get(f"/v1/{place}"), await packed.get(f"/v1/{place}")
        assert also.headers["content-type"] == PACKED
        assert without_lag(read(also)) == without_lag(plain.json()), place


def without_lag(told: Any) -> Any:
    """Leave out what changes from one moment to the next."""
    if isinstance(told, dict) and "items" in told:
        return [{name: value for name, value in item.items() if name != "lag_seconds"} for item in told["items"]]
    return told


@pytest.mark.parametrize(("first", "then"), [("json", "msgpack"), ("msgpack", "json")])
async def test_a_repeat_in_the_other_form_is_the_same_mutation(service: Service, first: Form, then: Form) -> None:
    """The hash looks at what is asked for, not at how it came: no fork, the stored verdicts again."""
    ana = await speaker(service, first)
    batch = [
        ana.edit(1, op="create", set={"title": "ä", "cost": 1.5, "crew": [BEN]}, tx="t", at=1_700_000_000_000),
        ana.edit(1, do={"notes": {"append": "b"}}, was={"notes": None}, closes={"summary": [[4, 9]]}, tx="t"),
        ana.edit(1, rev="malformed", set={"title": [1, {"a": None}]}),
        ana.edit(2, op="create", context={"title": {"4": 9}}),
    ]
    answer = await ana.settled(*batch)

    ana.form = then
    again = await ana.settled(*batch)
    forked = await ana.push({**batch[3], "set": {"title": "another"}})

    assert again == {**answer, "now": again["now"]}
    assert codes(answer)[2] == "bad_mutation"
    assert problem(forked) == (409, "replica_forked")


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_bad_mutations_block_nothing_in_either_form(service: Service, form: Form) -> None:
    """Each is answered by its number, sent again it is told the same, and the others are settled."""
    ana = await speaker(service, form)
    bad: list[Any] = [
        {"rev": "x"},
        {"base": -1},
        {"set": []},
        {"op": 7},
        {"collection": "unicorns"},
        {"set": {"no": 1}},
    ]
    if form == "msgpack":
        odd = (b"bytes", msgspec.msgpack.Ext(1, b"x"), float("nan"), float("-inf"), {1: 2}, msgspec.Raw(b"\xa1\xff"))
        bad += [{"set": {"title": value}} for value in (*odd, msgspec.Raw(b"\x91" * 9_000 + b"\xc0"))]
    batch = [ana.edit(1, op="create"), *(ana.edit(1, **each) for each in bad), ana.edit(2, op="create")]

    answer = await ana.settled(*batch)
    again = await ana.settled(*batch)

    assert verdicts(answer) == ["applied", *["refused"] * len(bad), "applied"]
    assert again["verdicts"] == answer["verdicts"]
    assert answer["applied"] == len(batch)


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_numbers_at_the_edge_are_told_or_refused(service: Service, form: Form) -> None:
    """Whatever fits is kept exactly; what is beyond the kind is refused by its field."""
    ana = await speaker(service, form)

    answer = await ana.settled(
        ana.edit(1, op="create", set={"cost": 2**63, "title": 2**64 - 1}),
        ana.edit(2, op="create", rev=2**63),
        ana.edit(3, op="create", at=2**64 - 1),
    )

    cells = answer["verdicts"][0]["cells"]
    assert {cells["title"]["code"], *codes(answer)[1:]} == {"invalid", "bad_mutation"}


@pytest.mark.parametrize(
    ("form", "content"), [("msgpack", b"{}"), ("json", b"\x80"), ("msgpack", b"\xc1"), ("json", b"{")]
)
async def test_a_body_in_another_form_than_it_says_is_refused(service: Service, form: Form, content: bytes) -> None:
    """The Content-Type decides how a body is read, on every route that takes one."""
    desk, ana = await service.office(), await service.device()
    headers = {"content-type": MEDIA_TYPES[form], "if-match": '"1"'}

    answers = [
        *[await ana.client.post(f"/v1/sync/{verb}", content=content, headers=headers) for verb in ("push", "pull")],
        *[
            await service.client().post(f"/v1/devices/{verb}", content=content, headers=headers)
            for verb in ("enrol", "refresh")
        ],
        await desk.client.post("/v1/work_orders", content=content, headers=headers),
        await desk.client.patch(f"/v1/work_orders/{uid(1)}", content=content, headers=headers),
        await desk.client.post(f"/v1/work_orders/{uid(1)}/assign", content=content, headers=headers),
    ]

    assert {problem(answer) for answer in answers} == {(400, "bad_request")}


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/json;charset=utf-16"],
)
async def test_a_body_of_another_media_type_is_refused(service: Service, media_type: str) -> None:
    """Before anything is done, with a list of those that are taken."""
    desk, ana = await service.office(), await service.device()
    headers = {"content-type": media_type}

    answers = [
        await ana.client.post("/v1/sync/push", content=b"{}", headers=headers),
        await desk.client.post("/v1/work_orders", content=b"{}", headers=headers),
    ]

    assert {problem(answer) for answer in answers} == {(415, "unsupported_media_type")}
    assert all(name in answers[0].json()["detail"] for name in FORMS)


async def test_every_name_of_messagepack_is_taken_and_given(service: Service) -> None:
    """Three names are in use; who is answered gets the one that was asked for."""
    ana = await service.device()

    for name in FORMS:
        content, _ = said({}, FORMS[name])
        headers = {"content-type": f"{name.upper()} ; charset=UTF-8", "accept": name}
        answer = await ana.client.post("/v1/sync/pull", content=content, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, name)


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*;q=0.2", "application/json"),
        ("application/msgpack, */*", PACKED),
        ("application/json;q=0.5, application/msgpack", PACKED),
        ("application/json, application/msgpack;q=0.9", "application/json"),
        ("application/json;q=0, */*", PACKED),
        ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
        ("application/vnd.msgpack;v=5, text/html", "application/vnd.msgpack"),
    ],
)
async def test_the_answer_has_the_form_of_the_greatest_weight(service: Service, accept: str | None, given: str) -> None:
    """JSON is what nobody has to ask for; of equal weights the one that is named counts."""
    ana = await service.device()
    request = ana.client.build_request("GET", "/v1/sync/pull")
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept

    answer = await ana.client.send(request)

    assert (answer.status_code, answer.headers["content-type"]) == (200, given)
    assert answer.headers["vary"] == "accept, accept-encoding"
    assert read(answer)["commits"] == [] if given != "application/vnd.msgpack" else answer.content


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "image/*, text/plain;q=0.5", "application/xml"]
)
async def test_who_reads_no_form_is_turned_away_before_anything_is_done(service: Service, accept: str) -> None:
    """Nothing is settled, enrolled or written that could then not be told."""
    desk, ana = await service.office(), await service.device()
    code = await devices.create_code(service.database, service.tenant, ANA)
    headers = {"accept": accept}
    pushed = {"mutations": [{"n": 1, "op": "create", "collection": "work_orders", "id": uid(1)}]}

    answers = [
        await ana.client.post("/v1/sync/push", json=pushed, headers=headers),
        await ana.client.get("/v1/sync/pull", headers=headers),
        await desk.client.post("/v1/work_orders", json={"id": uid(2)}, headers=headers),
        await service.client().post("/v1/devices/enrol", json={"code": code, "name": "x"}, headers=headers),
    ]

    assert {problem(answer) for answer in answers} == {(406, "not_acceptable")}
    assert (await desk.client.get("/v1/work_orders")).json()["items"] == []
    assert (await service.client().post("/v1/devices/enrol", json={"code": code, "name": "x"})).status_code == 200
    assert (await service.client().get("/health", headers=headers)).status_code == 200


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=40) | st.binary(max_size=30).map(lambda raw: b"\x81\xa9mutations\x91" + raw),
    st.sampled_from([*FORMS, "text/plain", ""]),
    st.sampled_from(["", "gzip", "zstd", "identity"]),
    st.booleans(),
)
async def test_no_bytes_are_a_mistake_of_ours(
    service: Service, raw: bytes, media_type: str, coding: str, packed: bool
) -> None:
    """Whatever is sent, in whatever form it claims to be, is answered by code."""
    content = packing.compress(raw, coding) if packed and coding in ("gzip", "zstd") else raw  # type: ignore[arg-type]  # it is one
    headers = {"content-type": media_type, "content-encoding": coding}
    token = await service.token(ANA)
    async with httpx.AsyncClient(base_url=service.url, headers={"authorization": f"Bearer {token}"}) as client:
        for path in ("/v1/sync/push", "/v1/sync/pull", "/v1/devices/enrol"):
            answer = await client.post(path, content=content, headers=headers)
            assert answer.status_code in (200, 400, 401, 415), answer.text
            if answer.status_code != 200:
                assert problem(answer)


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_a_large_push_with_a_bottomless_value_is_settled_around_it(service: Service, form: Form) -> None:
    """It is read beside other requests, and only the mutation that nobody can read is refused."""
    ana = await speaker(service, form)
    nest = b"\x91" * 300_000 + b"\xc0" if form == "msgpack" else b"[" * 300_000 + b"]" * 300_000
    batch = [
        ana.edit(1, op="create"),
        ana.edit(2, op="create", set={"title": msgspec.Raw(nest)}),
        ana.edit(3, op="create"),
    ]

    answer = await ana.settled(*batch)

    assert verdicts(answer) == ["applied", "refused", "applied"]
    assert codes(answer)[1] == "bad_mutation"
