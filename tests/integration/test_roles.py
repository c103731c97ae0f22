"""Who may use which route, written out: a route that is not in the table fails, and so does one that is gone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.service import DORA, ROLES, problem, uid

if TYPE_CHECKING:
    import httpx

    from tests.integration.service import Service

EVERYBODY: Final = "technician dispatcher integrator admin readonly worker"
OFFICE: Final = "dispatcher admin"
READERS: Final = "dispatcher integrator admin readonly"
INTEGRATORS: Final = "integrator admin"
INSPECTORS: Final = "integrator admin readonly"
OPEN: Final = ""

TABLE: Final = {
    "GET /health": OPEN,
    "GET /ready": OPEN,
    "GET /metrics": OPEN,
    "GET /docs": OPEN,
    "GET /openapi.json": OPEN,
    "GET /v1/auth/signin": OPEN,
    "GET /v1/auth/callback/{tenant}": OPEN,
    "GET /v1/auth/session": EVERYBODY,
    "POST /v1/auth/token": EVERYBODY,
    "POST /v1/auth/logout": EVERYBODY,
    "GET /v1/audit": "admin",
    "POST /v1/devices/enrol": OPEN,
    "POST /v1/devices/refresh": OPEN,
    "GET /v1/devices": "dispatcher admin readonly",
    "POST /v1/devices/{device_id}/revoke": OFFICE,
    "GET /v1/sync/pull": "technician",
    "POST /v1/sync/pull": "technician",
    "POST /v1/sync/push": "technician",
    "GET /v1/catalog": EVERYBODY,
    "GET /v1/conflicts": READERS,
    "GET /v1/conflicts/{conflict_id}": READERS,
    "POST /v1/conflicts/{conflict_id}/undo": OFFICE,
    "POST /v1/conflicts/{conflict_id}/settle": OFFICE,
    "GET /v1/held": OFFICE,
    "GET /v1/held/{held_id}": OFFICE,
    "POST /v1/held/{held_id}/release": OFFICE,
    "POST /v1/held/{held_id}/discard": OFFICE,
    "GET /v1/connections": INSPECTORS,
    "POST /v1/connections": INTEGRATORS,
    "GET /v1/connections/callback": INTEGRATORS,
    "POST /v1/connections/offers": INTEGRATORS,
    "POST /v1/connections/drafts": INTEGRATORS,
    "GET /v1/connections/{connection_id}/document": INSPECTORS,
    "PUT /v1/connections/{connection_id}/document": INTEGRATORS,
    "GET /v1/connections/{connection_id}": INSPECTORS,
    "PATCH /v1/connections/{connection_id}": INTEGRATORS,
    "DELETE /v1/connections/{connection_id}": INTEGRATORS,
    "POST /v1/connections/{connection_id}/verify": INTEGRATORS,
    "POST /v1/connections/{connection_id}/pause": INTEGRATORS,
    "POST /v1/connections/{connection_id}/resume": INTEGRATORS,
    "POST /v1/connections/{connection_id}/authorize": INTEGRATORS,
    "POST /v1/connections/{connection_id}/backfill": INTEGRATORS,
    "POST /v1/connections/{connection_id}/backfill/pause": INTEGRATORS,
    "POST /v1/connections/{connection_id}/backfill/resume": INTEGRATORS,
    "GET /v1/connections/{connection_id}/shadow": INSPECTORS,
    "POST /v1/connections/{connection_id}/promote": INTEGRATORS,
    "GET /v1/connections/{connection_id}/canaries": INSPECTORS,
    "PUT /v1/connections/{connection_id}/canaries/{name}": INTEGRATORS,
    "DELETE /v1/connections/{connection_id}/canaries/{name}": INTEGRATORS,
    "GET /v1/connections/{connection_id}/fields/{name}": INTEGRATORS,
    "GET /v1/connections/{connection_id}/hook": INSPECTORS,
    "POST /v1/connections/{connection_id}/hook/secrets": INTEGRATORS,
    "GET /v1/connections/{connection_id}/hook/candidates": INTEGRATORS,
    "POST /v1/connections/{connection_id}/hook/candidates/{secret}/vouch": INTEGRATORS,
    "GET /v1/connections/{connection_id}/inbox": INSPECTORS,
    "GET /v1/connections/{connection_id}/inbox/{event}": INSPECTORS,
    "POST /v1/connections/{connection_id}/inbox/replay": INTEGRATORS,
    "GET /v1/connections/{connection_id}/polls": INSPECTORS,
    "POST /v1/connections/{connection_id}/poll": INTEGRATORS,
    "GET /v1/alerts": INSPECTORS,
    "GET /v1/hooks/{connection}": OPEN,
    "POST /v1/hooks/{connection}": OPEN,
    "GET /v1/webhooks": "admin",
    "POST /v1/webhooks": "admin",
    "GET /v1/webhooks/{endpoint_id}": "admin",
    "PATCH /v1/webhooks/{endpoint_id}": "admin",
    "DELETE /v1/webhooks/{endpoint_id}": "admin",
    "POST /v1/webhooks/{endpoint_id}/rotate": "admin",
    "POST /v1/webhooks/{endpoint_id}/ping": "admin",
    "POST /v1/webhooks/{endpoint_id}/replay": "admin",
    "GET /v1/webhooks/{endpoint_id}/messages": "admin",
    "GET /v1/webhooks/{endpoint_id}/messages/{message}": "admin",
    "GET /v1/deliveries": INSPECTORS,
    "GET /v1/deliveries/counts": INSPECTORS,
    "GET /v1/deliveries/{delivery_id}": INSPECTORS,
    "GET /v1/dead_letters": INSPECTORS,
    "GET /v1/dead_letters/{delivery_id}": INSPECTORS,
    "PATCH /v1/dead_letters/{delivery_id}": INTEGRATORS,
    "POST /v1/dead_letters/{delivery_id}/retry": INTEGRATORS,
    "POST /v1/dead_letters/{delivery_id}/replan": INTEGRATORS,
    "POST /v1/dead_letters/{delivery_id}/skip": INTEGRATORS,
    "POST /v1/dead_letters/{delivery_id}/done": INTEGRATORS,
    "POST /v1/dead_letters/bulk": INTEGRATORS,
    "GET /v1/mappings": INSPECTORS,
    "POST /v1/mappings": INTEGRATORS,
    "GET /v1/mappings/{connection_id}/{version}": INSPECTORS,
    "GET /v1/mappings/{connection_id}/{version}/validate": INSPECTORS,
    "GET /v1/mappings/{connection_id}/{version}/diff": INSPECTORS,
    "POST /v1/mappings/{connection_id}/{version}/publish": INTEGRATORS,
    "POST /v1/mappings/{connection_id}/roll_back": INTEGRATORS,
    "GET /v1/receipts/{collection}/{record_id}": EVERYBODY,
    "GET /v1/{collection}": EVERYBODY,
    "POST /v1/{collection}": OFFICE,
    "GET /v1/{collection}/{record_id}": EVERYBODY,
    "PATCH /v1/{collection}/{record_id}": OFFICE,
    "DELETE /v1/{collection}/{record_id}": OFFICE,
    "GET /v1/{collection}/{record_id}/history": EVERYBODY,
    "POST /v1/work_orders/{record_id}/assign": OFFICE,
    "POST /v1/work_orders/{record_id}/reschedule": OFFICE,
    "POST /v1/work_orders/{record_id}/cancel": OFFICE,
}


def filled(path: str) -> str:
    """Return a path with something in place of its parameters."""
    return re.sub(r"{\w+}", uid(1), path.replace("{collection}", "work_orders"))


async def documented(client: httpx.AsyncClient) -> set[str]:
    """Return each method and path of the document that the service gives of itself."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


async def test_every_route_has_a_row_and_every_row_a_route(service: Service) -> None:
    """Whoever adds a route says here who may use it."""
    found = await documented(service.client())

    assert found - TABLE.keys() == set()
    assert TABLE.keys() - found == set()


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_reaches_what_its_row_says_and_nothing_else(service: Service, role: str) -> None:
    """Allowed or 403, route by route; the open ones ask for no token."""
    client, nobody = service.client(await service.token(DORA, role)), service.client()
    reached, refused = set(), set()

    for row, roles in TABLE.items():
        method, path = row.split(" ")
        asked = nobody if roles == OPEN else client
        answer = await asked.request(method, filled(path))
        is_refused = answer.status_code == 403
        (refused if is_refused else reached).add(row)
        if is_refused:
            assert problem(answer) == (403, "forbidden"), row

    assert reached == {row for row, roles in TABLE.items() if roles == OPEN or role in roles.split()}
    assert refused == TABLE.keys() - reached


async def test_without_a_token_nothing_but_the_open_routes_answers(service: Service) -> None:
    """Nobody, a made-up token, and a token under a scheme that is none: 401 on every closed route."""
    token = await service.token()
    strangers = [
        service.client(),
        service.client("1.invented"),
        service.client(None, authorization=f"Basic {token}"),
        service.client(None, authorization=token),
        service.client("x" * 600),
    ]

    for row, roles in TABLE.items():
        if roles == OPEN:
            continue
        method, path = row.split(" ")
        told = {problem(await stranger.request(method, filled(path))) for stranger in strangers}
        assert told == {(401, "unauthenticated")}, row
