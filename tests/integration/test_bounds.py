"""What a server bears from whoever has shown no token: slow bodies, large ones, many connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from tests.integration.service import Service, problem, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"


@pytest.mark.parametrize("path", ["/v1/devices/enrol", "/v1/hooks/x"])
async def test_a_body_that_does_not_come_is_not_waited_for(database_url: str, path: str) -> None:
    """Who sends the begin of a body and no more is answered, and the connection is closed."""
    async with serving(database_url, body_seconds_max=1) as url:
        reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
        writer.write(HEAD.format(path=path, length=100).encode() + b"{")

        head, _, body = (await reader.read()).partition(b"\r\n\r\n")

        writer.close()
        await writer.wait_closed()
    told = msgspec.json.decode(body)
    assert head.startswith(b"HTTP/1.1 408 ")
    assert (told["code"], told["limit"]) == ("too_slow", 1)


@pytest.mark.parametrize("path", ["/v1/devices/enrol", "/v1/devices/refresh"])
@pytest.mark.parametrize("sent", ["announced", "in pieces"])
async def test_who_has_shown_no_token_sends_little(service: Service, path: str, sent: str) -> None:
    """A code or a secret and a name need few bytes; the limit is told."""
    answer = await service.client().post(path, content=_sent(4_097, sent))
    enough = await service.client().post(path, content=_sent(4_096, sent))

    assert (problem(answer), answer.json()["limit"]) == ((413, "too_large"), 4_096)
    assert problem(enough) == (400, "bad_request")


async def test_a_body_over_every_limit_is_told_the_limit(service: Service) -> None:
    """Also what is refused by its announced length alone tells how much may come."""
    ana = await service.device()

    answer = await ana.client.post("/v1/sync/push", content=b" " * 6_000_000)

    assert (problem(answer), answer.json()["limit"]) == ((413, "too_large"), 4_194_304)


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_an_instant_outside_of_all_years_is_refused(service: Service, instant: str) -> None:
    """What has no place in UTC is told by the name of its filter."""
    admin = service.client(await service.token(role="admin"))

    answer = await admin.get("/v1/audit", params={"since": instant})

    assert problem(answer) == (400, "bad_filter")
    assert answer.json()["detail"].startswith("since ")


async def test_connections_are_counted(database_url: str) -> None:
    """Who comes when all are in use is turned away, and taken when one is free again."""
    async with serving(database_url, connections_max=2) as url:
        place = urlsplit(url)
        _, idle = await asyncio.open_connection(place.hostname, place.port)
        async with httpx.AsyncClient(base_url=url) as client:
            turned_away = await client.get("/health")
            idle.close()
            await idle.wait_closed()
            while (taken := await client.get("/health")).status_code != 200:  # noqa: ASYNC110  (only the server knows)
                await asyncio.sleep(0.01)

    assert (turned_away.status_code, taken.status_code) == (503, 200)


def _sent(size: int, how: str) -> bytes | AsyncIterator[bytes]:
    return b" " * size if how == "announced" else _pieces(b" " * size)


async def _pieces(text: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(text), 1_000):
        yield text[at : at + 1_000]
