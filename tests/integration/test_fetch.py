"""Asking an issuer leads nowhere it should not, and ends in time."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from syncserver.oidc import fetch
from syncserver.oidc.errors import IssuerFailed
from syncserver.oidc.fetch import Fetcher
from syncserver.oidc.issuers import Issuers
from tests.peers import issuer as peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def outside() -> AsyncIterator[Fetcher]:
    """Give the way out as production has it."""
    made = Fetcher(allow_loopback=False)
    yield made
    await made.close()


@pytest.fixture
async def inside() -> AsyncIterator[Fetcher]:
    """Give the way out as trials on one machine have it, with little patience."""
    made = Fetcher(allow_loopback=True, seconds=0.3)
    yield made
    await made.close()


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com/",
        "https://user:word@issuer.example.com/",
        "https://issuer.example.com/#x",
        "https://:443/",
        "https://issuer.example.com:0/",
        "https://issuer.example.com:99999/",
        "file:///etc/passwd",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://localhost/",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
    ],
)
async def test_addresses_that_are_not_asked(outside: Fetcher, url: str) -> None:
    """No plain http, nothing on this machine, nothing where clouds keep their secrets."""
    with pytest.raises(IssuerFailed, match=r"issuer|https"):
        await outside.get(url)


async def test_a_name_that_leads_home_is_not_asked(outside: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the address, and every address that a name has."""
    loop = asyncio.get_running_loop()

    async def lookup(_host: str, port: int, **_: Any) -> list[Any]:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("192.0.2.1", "127.0.0.1")]
        return await asyncio.sleep(0, found)

    monkeypatch.setattr(loop, "getaddrinfo", lookup, raising=False)

    with pytest.raises(IssuerFailed, match="address that is not asked"):
        await outside.get("https://issuer.example.com/")


async def test_http_is_for_this_machine_alone(inside: Fetcher) -> None:
    """Even where loopback is allowed, other machines are asked by https."""
    with pytest.raises(IssuerFailed, match="https only"):
        await inside.get("http://192.0.2.1/")


async def test_a_slow_issuer_is_given_up(inside: Fetcher) -> None:
    """One that takes the connection and says nothing does not hold us."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(IssuerFailed, match=r"within 0.3 s|be reached"),
    ):
        await inside.get(f"http://127.0.0.1:{silent.getsockname()[1]}/")


async def test_an_endless_answer_is_cut_off(inside: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer may have so many bytes and no more."""
    monkeypatch.setattr(fetch, "BYTES_MAX", 100)
    async with peer.running() as issuer:
        with pytest.raises(IssuerFailed, match="more than 100 bytes"):
            await inside.get(f"{issuer.url}/jwks")


async def test_what_an_issuer_says_of_itself_is_checked(inside: Fetcher) -> None:
    """Another name, places that may not be asked, and what is no description are refused."""
    wrong: list[dict[str, Any]] = [
        {"issuer": "https://elsewhere.example"},
        {"issuer": 5},
        {"token_endpoint": "ftp://elsewhere.example"},
        {"jwks_uri": "https://user@elsewhere.example"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ]
    async with peer.running() as issuer:
        for metadata in wrong:
            issuer.metadata = metadata
            with pytest.raises(IssuerFailed):
                await Issuers(inside, allow_loopback=True).metadata(issuer.url)


async def test_an_issuer_that_failed_is_left_alone_for_a_moment(inside: Fetcher) -> None:
    """A queue of people does not wait for one timeout after the other."""
    now = 0.0
    async with peer.running() as issuer:
        issuers = Issuers(inside, allow_loopback=True, clock=lambda: now)
        issuer.status = {"/.well-known/openid-configuration": 500}
        for _ in range(3):
            with pytest.raises(IssuerFailed):
                await issuers.metadata(issuer.url)
        failed = len(issuer.asked)
        issuer.status, now = {}, 6.0
        await issuers.metadata(issuer.url)

    assert (failed, len(issuer.asked)) == (1, 2)
