"""Who may do what, and whether what the service says of itself is true."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from litestar.routes import HTTPRoute

from syncserver import app, logs
from syncserver.http.auth import RIGHTS
from syncserver.http.operation import OPT, Operation
from syncserver.http.problems import CODES
from syncserver.settings import Settings
from syncserver.store import devices, people
from tests.integration.proxy import Proxy
from tests.integration.service import ANA, DORA, KEYS, ROLES, Service, problem, serving, uid

if TYPE_CHECKING:
    from litestar import Litestar

    from syncserver.store.db import Database

PLACES = {
    "{collection}": "work_orders",
    "{record_id}": uid(1),
    "{conflict_id}": "1-1-title",
    "{device_id}": uid(2),
}
SETTINGS = Settings(database_url="postgresql://nowhere", secret_keys=KEYS)


def framework() -> Litestar:
    """Return the routes without anything behind them."""
    return app.framework(SETTINGS)


def routes() -> list[tuple[str, str, Operation]]:
    """Return path, method and operation of each route, as the framework knows them."""
    return [
        (route.path_format, str(method), handler.opt[OPT])
        for route in framework().routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if OPT in handler.opt
        for method in handler.http_methods
    ]


def place(path: str) -> str:
    """Return a path with something in place of its parameters."""
    for name, value in PLACES.items():
        path = path.replace(name, value)
    return path


def test_every_route_says_what_it_is_for() -> None:
    """No route is without its operation, but for the framework's answer to OPTIONS."""
    bare = {
        str(method)
        for route in framework().routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if OPT not in handler.opt
        for method in handler.http_methods
    }

    assert bare == {"OPTIONS"}
    assert len(routes()) > 20
    assert {right for may in RIGHTS.values() for right in may} == {op.right for _, _, op in routes() if op.right}


async def test_without_a_token_only_the_open_routes_answer(service: Service) -> None:
    """Each route with a right answers 401 to nobody and to an invented token."""
    nobody, somebody = service.client(), service.client("1.invented")

    closed = [(method, path) for path, method, operation in routes() if operation.right]
    told = {
        problem(await client.request(method, place(path))) for client in (nobody, somebody) for method, path in closed
    }

    assert told == {(401, "unauthenticated")}
    answer = await nobody.get("/v1/work_orders")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_may_do_what_the_table_says(service: Service, role: str) -> None:
    """Every route answers 403 to a role without its right, and something else to one that has it."""
    client = service.client(await service.token(DORA, role))

    for path, method, operation in routes():
        if operation.right is None:
            continue
        answer = await client.request(method, place(path))
        forbidden = answer.status_code == 403
        assert forbidden == (operation.right not in RIGHTS[role]), (method, path)
        if forbidden:
            assert problem(answer) == (403, "forbidden")


def test_who_writes_and_who_only_reads() -> None:
    """The table itself: only dispatchers and admins write by REST, only technicians sync."""
    may = {right: {role for role in RIGHTS if right in RIGHTS[role]} for right in ("sync", "write", "decide", "read")}

    assert may == {
        "sync": {"technician"},
        "write": {"dispatcher", "admin"},
        "decide": {"dispatcher", "admin"},
        "read": set(ROLES),
    }


async def test_a_token_of_one_tenant_opens_nothing_of_another(service: Service) -> None:
    """Records, conflicts and devices of another tenant do not exist for it."""
    desk, ana = await service.office(), await service.device()
    await desk.create(1, title="Boiler", assignee_id=ANA)
    await service.add_tenant("Harbour Lifts")
    other = await service.office()
    stranger = await service.device(ANA)

    assert (await other.client.get("/v1/work_orders")).json()["items"] == []
    assert problem(await other.client.get(f"/v1/work_orders/{uid(1)}")) == (404, "unknown_record")
    assert {device["id"] for device in (await other.client.get("/v1/devices")).json()["items"]} == {
        stranger.enrolled["replica"]
    }
    revoking = await other.client.post(f"/v1/devices/{ana.enrolled['replica']}/revoke")
    assert problem(revoking) == (404, "unknown_replica")
    assert (await stranger.pull())["commits"] == []
    await ana.pull()
    assert problem(await stranger.push(cursor=ana.cursor)) == (400, "bad_cursor")


async def test_the_openapi_document_has_every_route(service: Service) -> None:
    """Paths and methods are those of the route table, and what it refers to is there."""
    made = (await service.client().get("/openapi.json")).json()

    documented = {(path, method.upper()) for path, methods in made["paths"].items() for method in methods}
    expected = {
        (path.replace("{collection}", operation.only) if operation.only else path, method)
        for path, method, operation in routes()
    }

    assert made["openapi"].startswith("3.1.")
    assert documented == expected
    assert {("/v1/work_orders/{record_id}/assign", "POST"), ("/v1/sync/push", "POST")} <= documented
    assert references(made) <= {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}
    assert made["components"]["schemas"]["work_orders"]["properties"]["window_start"]["format"] == "date-time"
    ids = [told["operationId"] for methods in made["paths"].values() for told in methods.values()]
    assert len(ids) == len(set(ids))


def references(part: Any) -> set[str]:
    """Return all that the document refers to."""
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


async def test_problems_lead_to_their_explanation(service: Service) -> None:
    """The type of a problem is a place on the page of the service, which loads nothing from elsewhere."""
    client = service.client()
    told = (await client.get("/v1/work_orders")).json()
    page = (await client.get("/docs")).text

    anchor = told["type"].partition("#")[2]
    assert f'id="{anchor}"' in page
    assert all(f'id="{name}"' in page for name in CODES)
    assert "//" not in page


async def test_what_is_not_there_is_told_as_a_problem(service: Service) -> None:
    """No route, another method and OPTIONS are answered without a mistake of ours."""
    client = service.client()

    missing = await client.get("/nowhere")
    other = await client.put("/v1/work_orders")
    options = await client.options("/v1/work_orders")

    assert problem(missing) == (404, "not_found")
    assert problem(other) == (405, "method_not_allowed")
    assert "GET" in other.headers["allow"]
    assert options.status_code == 204


async def test_a_database_that_is_away_is_no_mistake(database_url: str, database: Database) -> None:
    """Reads, look-ups of tokens and enrolments say when to try again, and the log takes it as a warning."""
    proxy = Proxy(database_url)
    async with serving(await proxy.start()) as url:
        service = Service(url, database)
        await service.add_tenant()
        desk, unseen = await service.office(), service.client(await service.token(ANA))
        before = await desk.client.get("/v1/work_orders")
        await proxy.stop()
        with structlog.testing.capture_logs() as events:
            places = ("/v1/work_orders", f"/v1/teams/{uid(1)}", "/v1/conflicts", "/v1/devices", "/v1/catalog", "/ready")
            answers = [await desk.client.get(place) for place in places]
            counted = await desk.client.get("/metrics")
            answers.append(await unseen.get("/v1/work_orders"))
            answers.append(await unseen.post("/v1/devices/enrol", json={"code": "1.AAAA", "name": "phone"}))
        await service.close()

    assert before.status_code == 200
    assert {problem(answer) for answer in answers} == {(503, "unavailable")}
    assert counted.status_code == 200, "what the process itself has counted is told all the same"
    assert "fieldsync_http_request_seconds_count" in counted.text
    assert "fieldsync_device_lag_seconds" not in counted.text
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}
    levels = {event["log_level"] for event in events if event["event"] != "request"}
    assert "database_away" in {event["event"] for event in events}
    assert "critical" not in levels


async def test_the_counters_have_the_names_that_dashboards_use(service: Service) -> None:
    """Mutations by verdict, records pulled, conflicts by field and rule, and the lag of devices."""
    desk, ana = await service.office(), await service.device()

    async def count(sample: str) -> float:
        lines = (await desk.client.get("/metrics")).text.splitlines()
        return float(next((line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == sample), "0"))

    settled = 'fieldsync_push_mutations_total{verdict="superseded"}'
    conflicts = 'fieldsync_conflicts_total{collection="work_orders",field="title",rule="rank"}'
    before = [await count(name) for name in (settled, conflicts, "fieldsync_pull_records_total")]
    rev = (await desk.create(1, title="Boiler", assignee_id=ANA))["rev"]
    await ana.pull()
    await desk.change(1, rev, title="Boiler, cellar")
    edit = ana.edit(1, set={"title": "Boiler, roof"})
    await ana.settled(edit)
    await ana.settled(edit)
    after = [await count(name) for name in (settled, conflicts, "fieldsync_pull_records_total")]

    assert [later - earlier for earlier, later in zip(before, after, strict=True)] == [1, 1, 1]
    assert "fieldsync_device_lag_seconds " in (await desk.client.get("/metrics")).text


async def test_a_device_that_stopped_calling_falls_behind(service: Service) -> None:
    """The office sees how many numbers a device lacks, and since when."""
    desk, ana = await service.office(), await service.device()
    await ana.pull()
    await ana.pull()
    await asyncio.sleep(2.5)  # where a device stands is written down a little later
    await desk.create(1, title="Boiler")
    await asyncio.sleep(0.2)

    (device,) = (await desk.client.get("/v1/devices")).json()["items"]

    assert device["lag"] == 1
    assert 0.1 < device["lag_seconds"] < 60
    assert (device["person_name"], device["label"], device["fenced"]) == ("Ana", "phone", False)


async def test_the_log_tells_no_secrets(service: Service) -> None:
    """A line a request, with the pattern of the route; no token, id, name or value."""
    with structlog.testing.capture_logs() as events:
        desk, ana = await service.office(), await service.device()
        await desk.create(1, title="Mrs. Secret's boiler", assignee_id=ANA)
        await ana.settled(ana.edit(2, op="create", set={"title": "Mrs. Secret"}))
        await desk.client.get(f"/v1/work_orders/{uid(1)}", params={"token": "t-secret"})

    told = {f"{event['method']} {event['route']} {event['status']}" for event in events}
    assert {
        "POST /v1/{collection} 200",
        "POST /v1/sync/push 200",
        "GET /v1/{collection}/{record_id} 200",
    } <= told
    everything = logs.render(None, "", {"events": events})
    for secret in ("ecret", uid(1), ANA, ana.enrolled["token"], desk.client.headers["authorization"].split()[1]):
        assert secret not in everything


async def test_a_token_that_was_taken_away_ends_soon(service: Service) -> None:
    """A fenced device is turned away at once, although its token was looked up a moment ago."""
    ana, desk = await service.device(), await service.office()
    await ana.pull()

    await desk.client.post(f"/v1/devices/{ana.enrolled['replica']}/revoke")

    assert problem(await ana.client.get("/v1/sync/pull")) == (403, "fenced")
    assert await people.find_token(service.database, ana.enrolled["token"]) is not None
    assert [device.fenced for device in await devices.listed(service.database, service.tenant) if device.person] == [
        True
    ]


async def test_both_spellings_of_the_scheme_are_taken(service: Service) -> None:
    """Some client libraries write `Token` for `Bearer`."""
    token = await service.token()

    answers = [
        await service.client(None, authorization=f"{scheme} {token}").get("/v1/teams") for scheme in ("Token", "bearer")
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
