"""Any system from its OpenAPI document: what is drafted carries records there, each once."""

from __future__ import annotations

import pytest

from tests.integration import backdoor
from tests.integration.backdoor import Trial
from tests.peers.vendor.demo import Demo
from tests.peers.vendor.faults import Faults
from upstream.vendors.openapi import drafting

ROW = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "readOnly": True},
        "version": {"type": "string", "readOnly": True},
        "number": {"type": "string"},
        "title": {"type": "string"},
        "mark": {"type": "string"},
    },
}
SENT = {"content": {"application/json": {"schema": ROW}}}
SHOWN = {"200": {"description": "", "content": {"application/json": {"schema": ROW}}}}
LISTED = {"type": "object", "properties": {"items": {"type": "array", "items": ROW}}}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Demo"},
    "servers": [{"url": "https://demo.example"}],
    "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    "paths": {
        "/ping": {"get": {"responses": {"200": {"description": ""}}}},
        "/search": {
            "post": {"requestBody": SENT, "responses": SHOWN},
            "get": {
                "parameters": [{"name": "mark", "in": "query"}],
                "responses": {"200": {"description": "", "content": {"application/json": {"schema": LISTED}}}},
            },
        },
        "/search/{id}": {
            "put": {"requestBody": SENT, "responses": SHOWN},
            "get": {"responses": SHOWN},
            "delete": {"responses": {"204": {"description": ""}}},
        },
    },
}
CHOICE = {
    "system": "demo",
    "verify": "GET /ping",
    "written": {
        "search": {
            "create": "POST /search",
            "update": "PUT /search/{id}",
            "read": "GET /search/{id}",
            "find": "GET /search",
            "void": "DELETE /search/{id}",
            "find_by": "mark",
            "marker": "mark",
            "index_lag_seconds": 0.3,
        }
    },
}


@pytest.mark.parametrize("fault", [None, "drop", "fail"])
async def test_a_drafted_manifest_carries_records_once(world, fault):
    """Nobody has written a line for this system, and a lost answer makes no second row there."""
    draft = drafting.draft(DOCUMENT, drafting.choice(CHOICE))
    demo = Demo(Faults({fault: 0.4} if fault else {}, seed=4))
    async with demo.server:
        trial = Trial(world.database, draft.manifest, backdoor.told("search"))
        await trial.connect(world.tenant, demo.server.url)
        orders = [await world.order(number, title=f"Boiler {number}") for number in range(8)]
        await backdoor.working(trial.worker(), backdoor.settled(world.database, world.tenant))
        await trial.close()

    assert demo.numbers("search") == dict.fromkeys(orders, 1)
    assert await backdoor.states(world.database, world.tenant) == {"confirmed": 8}
    assert [field.path for field in draft.schemas["search"].fields] == ["mark", "number", "title"]
