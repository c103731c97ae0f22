"""docs/protocol.md, held with a real service from its first line to its last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from syncserver.store import devices
from tests import protocol_page
from tests.integration.service import ANA

if TYPE_CHECKING:
    import httpx

    from tests.integration.service import Service
    from tests.protocol_page import Turn

ONLY_NAMED = ("limits", "now")
"""What another hub answers otherwise: its own limits, and the time."""


async def test_the_page_shows_what_the_service_answers(service: Service) -> None:
    """Whoever sends what the page sends is answered what the page shows."""
    code = await devices.create_code(service.database, service.tenant, ANA)
    clients = {"device": service.client(), "office": (await service.office()).client}
    known = {"CODE": code}

    for turn in protocol_page.turns():
        answer = await said(clients[turn.who], turn, known)
        real = answer.json()

        assert answer.status_code == turn.status, f"{turn.name}: {answer.text}"
        shown = {name: part for name, part in turn.answer.items() if name not in ONLY_NAMED}
        assert protocol_page.differences(shown, real) == [], turn.name
        if turn.who == "device" and turn.status == 200:
            msgspec.json.decode(answer.content, type=protocol_page.ANSWERS[turn.path])
            remember(known, real, clients["device"])


async def said(client: httpx.AsyncClient, turn: Turn, known: dict[str, str]) -> httpx.Response:
    """Send what the page sends."""
    headers = {"if-match": f'"{turn.rev}"'} if turn.rev else {}
    content = json.dumps(protocol_page.filled(turn.body, known))
    return await client.request(turn.method, turn.path, content=content, headers=headers)


def remember(known: dict[str, str], answer: dict[str, str], device: httpx.AsyncClient) -> None:
    """Keep what later requests of the page name in capitals, and show the newest token."""
    known |= {name.upper(): answer[name] for name in ("refresh", "epoch", "cursor") if name in answer}
    if "token" in answer:
        device.headers["authorization"] = f"Bearer {answer['token']}"
