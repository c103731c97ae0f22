"""Every code of the API is given to somebody: each is provoked over HTTP, where it is documented.

A new code needs a case here. One that takes another process, or a database that is away, names the
test in which it is met.
"""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import msgspec
import pytest

from replication import cursor, wire
from replication.mutation import Mutation
from syncserver.commands import commit, pull
from syncserver.commands.errors import CommandError
from syncserver.http.negotiation import FORMS
from syncserver.http.problems import CODES
from syncserver.store import devices, people
from syncserver.store.people import Person
from tests.integration.service import ANA, BEN, DORA, KEYS, LIMITS, Desk, Service, problem, uid
from tests.integration.test_http_conflicts import explained, overruled, say, two_accounts

CHECKOUT = Path(__file__).resolve().parents[2]

SIGNIN, HELD = "tests/integration/test_signin.py", "tests/integration/test_http_held.py"
CONNECTIONS, LETTERS = "tests/integration/test_http_connections.py", "tests/integration/test_http_dead_letters.py"
MAPPINGS = "tests/integration/test_http_mappings.py"
HOOKS, WEBHOOKS = "tests/integration/test_hooks.py", "tests/integration/test_webhooks.py"
ELSEWHERE = {
    "too_slow": "tests/integration/test_bounds.py::test_a_body_that_does_not_come_is_not_waited_for",
    "unavailable": "tests/integration/test_http_access.py::test_a_database_that_is_away_is_no_mistake",
    "scope_changed": "tests/integration/test_publish.py::test_who_holds_records_cannot_be_changed_afterwards",
    "signin_broken": f"{SIGNIN}::test_an_answer_is_taken_in_the_browser_that_asked_and_only_once",
    "signin_untrusted": f"{SIGNIN}::test_a_forged_token_is_not_believed",
    "signin_denied": f"{SIGNIN}::test_an_issuer_that_says_no",
    "signin_not_allowed": f"{SIGNIN}::test_who_has_no_place_gets_no_session",
    "signin_not_configured": f"{SIGNIN}::test_a_tenant_is_a_number",
    "signin_issuer_failed": f"{SIGNIN}::test_an_issuer_that_fails_is_told_as_that",
    "csrf_refused": "tests/integration/test_sessions.py::test_a_page_of_somebody_else_cannot_write",
    "no_session": "tests/integration/test_sessions.py::test_a_token_that_is_no_session_is_no_cookie",
    "keys_missing": "tests/integration/test_keys.py::test_a_secret_of_a_key_that_is_not_set_stops_the_rewrapping",
    "authorization_broken": f"{CONNECTIONS}::test_a_sign_in_at_the_system_ends_with_whom_it_began",
    "authorization_refused": f"{CONNECTIONS}::test_a_sign_in_at_the_system_ends_with_whom_it_began",
    "unknown_connection": f"{CONNECTIONS}::test_a_connection_that_told_something_is_removed_only_if_it_is_meant",
    "connection_in_use": f"{CONNECTIONS}::test_a_connection_that_told_something_is_removed_only_if_it_is_meant",
    "not_ready": f"{CONNECTIONS}::test_shadow_records_and_sends_nothing_until_it_is_promoted",
    "bad_connection": f"{CONNECTIONS}::test_what_cannot_work_is_refused_with_the_part_named",
    "bad_manifest": f"{CONNECTIONS}::test_what_cannot_work_is_refused_with_the_part_named",
    "not_discovered": f"{CONNECTIONS}::test_fields_are_found_out_and_kept",
    "hook_refused": f"{HOOKS}::test_whatever_is_wrong_the_answer_is_the_same",
    "too_many_events": f"{HOOKS}::test_too_many_events_at_once_are_refused",
    "unknown_endpoint": f"{WEBHOOKS}::test_a_removed_endpoint_is_told_no_more",
    "bad_endpoint": f"{WEBHOOKS}::test_what_cannot_be_an_endpoint_is_refused_by_name",
    "unknown_delivery": f"{LETTERS}::test_a_word_under_a_key_is_said_once",
    "not_dead": f"{LETTERS}::test_a_word_under_a_key_is_said_once",
    "overtaken": f"{LETTERS}::test_one_that_was_overtaken_while_under_way_can_only_be_skipped",
    "still_in_doubt": f"{LETTERS}::test_what_nobody_knows_is_decided_by_somebody_who_has_looked",
    "bad_payload": f"{LETTERS}::test_an_edit_cannot_take_away_what_it_is_known_by",
    "unknown_mapping": f"{MAPPINGS}::test_what_is_wrong_with_a_text_is_named_and_never_published",
    "mapping_unusable": f"{MAPPINGS}::test_what_is_wrong_with_a_text_is_named_and_never_published",
    "mapping_refused": f"{MAPPINGS}::test_what_is_wrong_with_a_text_is_named_and_never_published",
    "code_unavailable": f"{MAPPINGS}::test_code_that_cannot_be_run_now_may_be_later",
    "not_waiting": f"{HELD}::test_a_release_has_one_effect",
}
"""Codes that are met in a test of their own: it needs a broken road, another party, or a command line."""

Case: TypeAlias = Callable[[Service], Awaitable[httpx.Response]]
CASES: dict[str, tuple[str | None, Case]] = {}
"""By code: the operation that gives it, as the OpenAPI document names it, and what provokes it."""

PUSH, PULL, WRITE = "post /v1/sync/push", "post /v1/sync/pull", "patch /v1/{collection}/{record_id}"
MAKE, ONE, UNDO = "post /v1/{collection}", "get /v1/{collection}/{record_id}", "post /v1/conflicts/{conflict_id}/undo"
PLACE = f"/v1/work_orders/{uid(1)}"


def gives(code: str, operation: str | None) -> Callable[[Case], Case]:
    """Note what provokes a code, and where."""

    def noted(case: Case) -> Case:
        assert code not in CASES, code
        CASES[code] = (operation, case)
        return case

    return noted


@pytest.mark.parametrize("code", list(CODES))
async def test_a_code_is_given_as_it_is_documented(service: Service, code: str) -> None:
    """It comes with its status, as a problem, from a route whose document names it; or it is met elsewhere."""
    if code in ELSEWHERE:
        assert_is_met(code, ELSEWHERE[code])
        return
    assert code in CASES, f"say how {code} is provoked, or in which test it is met"
    operation, case = CASES[code]

    answer = await case(service)

    assert problem(answer) == (CODES[code].status, code)
    if operation is not None:
        method, path = operation.split(" ")
        made = (await service.client().get("/openapi.json")).json()
        told = made["paths"][path][method]["responses"][str(CODES[code].status)]
        assert code in told["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"]


def assert_is_met(code: str, place: str) -> None:
    """See that the test which is named exists and speaks of the code, or of the error that bears it."""
    path, _, name = place.partition("::")
    tree = ast.parse((CHECKOUT / path).read_text(encoding="utf-8"))
    tests = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)]
    found = next((ast.unparse(each) for each in tests if each.name == name), None)
    assert found is not None, f"{place} is not there"
    errors = [error.__name__ for error in CommandError.__subclasses__() if error.code == code]
    assert any(word in found for word in (code, *errors)), f"{place} does not meet {code}"


def test_every_case_is_of_a_code() -> None:
    """Nothing is provoked that is no code, and nothing is both here and elsewhere."""
    assert CASES.keys() | ELSEWHERE.keys() <= CODES.keys()
    assert not CASES.keys() & ELSEWHERE.keys()


async def test_every_hot_route_tells_its_forms_and_compressions(service: Service) -> None:
    """Each message has the same schema under each media type, and the document names the compressions."""
    made = (await service.client().get("/openapi.json")).json()

    hot = ["/v1/sync/push", "/v1/sync/pull", "/v1/devices/enrol", "/v1/devices/refresh"]
    for path in hot:
        told = made["paths"][path]["post"]
        for content in (told["requestBody"]["content"], told["responses"]["200"]["content"]):
            assert list(content) == list(FORMS)
            assert len({str(each) for each in content.values()}) == 1
        named = {each["name"]: each for each in told["parameters"]}
        assert named["Content-Encoding"]["schema"]["examples"] == ["zstd", "gzip", "identity"]
        assert named["Accept-Encoding"]["schema"]["examples"] == ["zstd", "gzip", "identity"]
        assert {"400", "406", "413", "415"} <= told["responses"].keys()
    assert list(made["paths"]["/v1/sync/pull"]["get"]["responses"]["200"]["content"]) == list(FORMS)
    assert list(made["paths"]["/v1/{collection}"]["post"]["requestBody"]["content"]) == list(FORMS)
    assert list(made["paths"]["/health"]["get"]["responses"]["200"]["content"]) == ["application/json"]
    assert list(made["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


async def revised(desk: Desk, body: Any = None, rev: int | None = None, **headers: str) -> httpx.Response:
    """Change the work order of these cases; without a rev, as it was shown."""
    shown = rev if rev is not None else (await desk.show(1))["rev"]
    return await desk.client.patch(PLACE, json=body or {"title": "x"}, headers={"if-match": f'"{shown}"'} | headers)


async def with_order(service: Service) -> Desk:
    """Give a desk with one work order."""
    desk = await service.office()
    await desk.create(1, title="Boiler", assignee_id=ANA)
    return desk


@gives("bad_request", PUSH)
async def _(service: Service) -> httpx.Response:
    return await (await service.device()).push({"n": "one"})


@gives("bad_cursor", PULL)
async def _(service: Service) -> httpx.Response:
    """A tablet that two share: the place of one is none of the other."""
    ana = await service.device(ANA)
    await ana.pull()
    await devices.share(service.database, service.tenant, ana.enrolled["rid"], BEN)
    token = await people.create_token(
        service.database, service.tenant, people.Grant(person=BEN, rid=ana.enrolled["rid"])
    )
    return await service.client(token).post("/v1/sync/pull", json={"cursor": ana.cursor})


@gives("bad_filter", "get /v1/{collection}")
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.get("/v1/work_orders", params={"colour": "red"})


@gives("unauthenticated", PUSH)
async def _(service: Service) -> httpx.Response:
    return await service.client("1.invented").post("/v1/sync/push", json={"mutations": []})


@gives("enrolment_refused", "post /v1/devices/enrol")
async def _(service: Service) -> httpx.Response:
    return await service.client().post("/v1/devices/enrol", json={"code": "1.AAAA", "name": "phone"})


@gives("refresh_refused", "post /v1/devices/refresh")
async def _(service: Service) -> httpx.Response:
    return await service.client().post("/v1/devices/refresh", json={"refresh": "1.AAAA"})


@gives("forbidden", PUSH)
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.post("/v1/sync/push", json={"mutations": []})


@gives("fenced", PULL)
async def _(service: Service) -> httpx.Response:
    desk, ana = await service.office(), await service.device()
    await desk.client.post(f"/v1/devices/{ana.enrolled['replica']}/revoke")
    return await ana.client.post("/v1/sync/pull", json={})


@gives("not_found", None)
async def _(service: Service) -> httpx.Response:
    return await service.client().get("/nowhere")


@gives("unknown_collection", MAKE)
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.post("/v1/unicorns", json={"name": "x"})


@gives("unknown_record", ONE)
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.get(PLACE)


@gives("unknown_replica", "post /v1/devices/{device_id}/revoke")
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.post(f"/v1/devices/{uid(9)}/revoke")


@gives("unknown_held", "get /v1/held/{held_id}")
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.get("/v1/held/1-1")


@gives("unknown_conflict", "get /v1/conflicts/{conflict_id}")
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.get("/v1/conflicts/1-1-nothing")


@gives("method_not_allowed", None)
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.put("/v1/work_orders", json={})


@gives("not_acceptable", PULL)
async def _(service: Service) -> httpx.Response:
    return await (await service.device()).client.post("/v1/sync/pull", json={}, headers={"accept": "text/html"})


@gives("epoch_changed", PULL)
async def _(service: Service) -> httpx.Response:
    ana = await service.device()
    await ana.settled(ana.edit(1, op="create"))
    await ana.pull()
    at = msgspec.structs.replace(cursor.unseal(ana.cursor or "", KEYS), epoch="another")
    answer = await ana.client.post("/v1/sync/pull", json={"cursor": cursor.seal(at, KEYS)})
    told = answer.json()
    assert (told["epoch"], told["applied"]) == (ana.enrolled["epoch"], 1)
    assert told["position"] >= at.served > 0
    return answer


@gives("replica_forked", PUSH)
async def _(service: Service) -> httpx.Response:
    ana = await service.device()
    await ana.settled(ana.edit(1, op="create", set={"title": "one"}))
    return await ana.push(ana.edit(1, n=1, op="create", set={"title": "other"}))


@gives("rev_ahead", WRITE)
async def _(service: Service) -> httpx.Response:
    return await revised(await with_order(service), rev=10_000)


@gives("state_moved", UNDO)
async def _(service: Service) -> httpx.Response:
    desk, _ = await overruled(service)
    entry = await explained(desk)
    await desk.change(1, (await desk.show(1))["rev"], title="Boiler, garage")
    return await say(desk, "undo", entry, entry["shown"])


@gives("conflict_open", UNDO)
async def _(service: Service) -> httpx.Response:
    desk, *_ = await two_accounts(service)
    entry = await explained(desk)
    return await say(desk, "undo", entry, entry["shown"])


@gives("conflict_decided", "post /v1/conflicts/{conflict_id}/settle")
async def _(service: Service) -> httpx.Response:
    desk, _ = await overruled(service)
    entry = await explained(desk)
    return await say(desk, "settle", entry, {**entry["shown"], "choose": "loser"})


@gives("nothing_to_restore", UNDO)
async def _(service: Service) -> httpx.Response:
    desk, ana, ben = await two_accounts(service)
    await ana.settled(ana.edit(1, do={"notes": {"append": "a"}}))
    await ben.settled(ben.edit(1, do={"notes": {"append": "b"}}))
    entry = await explained(desk)
    return await say(desk, "undo", entry, entry["shown"])


@gives("record_deleted", ONE)
async def _(service: Service) -> httpx.Response:
    desk = await with_order(service)
    await desk.client.delete(PLACE, headers={"if-match": f'"{(await desk.show(1))["rev"]}"'})
    return await desk.client.get(PLACE)


@gives("too_large", PUSH)
async def _(service: Service) -> httpx.Response:
    return await (await service.device()).client.post("/v1/sync/push", content=b" " * (LIMITS.bytes + 1))


@gives("unsupported_encoding", PUSH)
async def _(service: Service) -> httpx.Response:
    ana = await service.device()
    return await ana.client.post("/v1/sync/push", content=b"x", headers={"content-encoding": "br"})


@gives("unsupported_media_type", PUSH)
async def _(service: Service) -> httpx.Response:
    return await (await service.device()).client.post("/v1/sync/push", data={"mutations": ""})


@gives("bad_id", MAKE)
async def _(service: Service) -> httpx.Response:
    return await (await service.office()).client.post("/v1/work_orders", json={"id": "seven"})


@gives("bad_mutation", WRITE)
async def _(service: Service) -> httpx.Response:
    return await revised(await with_order(service), {"a\0b": 1})


@gives("missing_parent", MAKE)
async def _(service: Service) -> httpx.Response:
    desk = await service.office()
    return await desk.client.post("/v1/tasks", json={"work_order_id": uid(7), "title": "t"})


@gives("refused", WRITE)
async def _(service: Service) -> httpx.Response:
    return await revised(await with_order(service), {"colour": "red"})


@gives("unknown_technician", "post /v1/work_orders/{record_id}/assign")
async def _(service: Service) -> httpx.Response:
    desk = await with_order(service)
    headers = {"if-match": f'"{(await desk.show(1))["rev"]}"'}
    return await desk.client.post(f"{PLACE}/assign", json={"assignee_id": uid(9)}, headers=headers)


@gives("idempotency_key_reused", WRITE)
async def _(service: Service) -> httpx.Response:
    desk = await with_order(service)
    await revised(desk, **{"idempotency-key": "k"})
    return await revised(desk, {"title": "another"}, **{"idempotency-key": "k"})


@gives("base_required", WRITE)
async def _(service: Service) -> httpx.Response:
    return await (await with_order(service)).client.patch(PLACE, json={"title": "x"})


@gives("no_catalogue", "get /v1/catalog")
async def _(service: Service) -> httpx.Response:
    service.tenant = (await devices.create_tenant(service.database, "Harbour Lifts")).tenant_id
    await people.put_person(service.database, service.tenant, Person(DORA, "Dora", "dispatcher"))
    return await (await service.office()).client.get("/v1/catalog")


@gives("internal", PULL)
async def _(service: Service) -> httpx.Response:
    """A mistake of ours on the way, of whatever kind."""
    ana = await service.device()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pull.Pulls, "pull", lambda *_, **__: 1 / 0)
        return await ana.client.post("/v1/sync/pull", json={})


@gives("submission_failed", PUSH)
async def _(service: Service) -> httpx.Response:
    """A mutation that should never have passed the wire cannot be stored, and is given up alone."""
    ana = await service.device()
    unfit = Mutation(n=1, op="create", collection="work_orders", id=uid(1), at=2**80)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "decode_push", lambda *_: wire.PushRequest(mutations=(unfit,)))
        return await ana.push()


@gives("overloaded", PUSH)
async def _(service: Service) -> httpx.Response:
    """A server whose queue has no room for anything."""
    ana = await service.device()
    with pytest.MonkeyPatch.context() as patch:
        full = property(lambda _: commit.Limits(queue=0))
        patch.setattr(commit.Committers, "_limits", full, raising=False)
        answer = await ana.push(ana.edit(1, op="create"))
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["retry_after_ms"] > 0
    return answer
