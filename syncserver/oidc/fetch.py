"""Asking an issuer: over TLS, at an address that may be asked, within a time and a size.

The address is looked up once, checked, and then used as it is, so that a name which changes what it
stands for between the two leads nowhere. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

import httpx

from syncserver.oidc.errors import IssuerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SECONDS: Final = 5.0
BYTES_MAX: Final = 256 * 1024
CONCURRENT_MAX: Final = 8
PORT_OF: Final = {"https": 443, "http": 80}
METADATA: Final = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")})
"""Where clouds tell machines their secrets, beside the link-local addresses."""


class Fetcher:
    """The one way out to issuers. `allow_loopback` is for trials on one machine."""

    def __init__(self, *, allow_loopback: bool, seconds: float = SECONDS) -> None:
        self._allow_loopback = allow_loopback
        self._seconds = seconds
        self._slots = asyncio.Semaphore(CONCURRENT_MAX)
        self._client = httpx.AsyncClient(
            timeout=seconds, follow_redirects=False, trust_env=False, headers={"accept-encoding": "identity"}
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def get(self, url: str) -> bytes:
        """Return what stands at an address."""
        return await self._ask("GET", url)

    async def post(self, url: str, form: Mapping[str, str], *, basic: tuple[str, str] | None) -> bytes:
        """Return the answer to a form."""
        return await self._ask("POST", url, form, basic)

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None, basic: tuple[str, str] | None = None
    ) -> bytes:
        try:
            async with self._slots, asyncio.timeout(self._seconds):
                address = await self._address(urlsplit(url))
                return await self._read(method, url, address, form, basic)
        except TimeoutError as exc:
            raise IssuerFailed(f"the issuer did not answer within {self._seconds:g} s") from exc
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            raise IssuerFailed(f"the issuer could not be reached ({type(exc).__name__})") from exc

    async def _read(
        self, method: str, url: str, address: Address, form: Mapping[str, str] | None, basic: tuple[str, str] | None
    ) -> bytes:
        there = httpx.URL(url)
        request = self._client.build_request(
            method,
            there.copy_with(host=str(address)),
            data=form,
            headers={"host": there.netloc.decode("ascii"), "accept": "application/json"},
            extensions={"sni_hostname": there.host},
        )
        answer = await self._client.send(request, auth=httpx.BasicAuth(*basic) if basic else None, stream=True)
        try:
            if answer.status_code != httpx.codes.OK:
                raise IssuerFailed(f"the issuer answered with status {answer.status_code}")
            return await _within(answer)
        finally:
            await answer.aclose()

    async def _address(self, parts: SplitResult) -> Address:
        """Return an address of the host that may be asked."""
        host = allowed(parts, allow_loopback=self._allow_loopback)
        found = await asyncio.get_running_loop().getaddrinfo(
            host, parts.port or PORT_OF[parts.scheme], type=socket.SOCK_STREAM
        )
        addresses = [_plain(each[4][0]) for each in found]
        for address in addresses:
            self._check(parts, address)
        return addresses[0]

    def _check(self, parts: SplitResult, address: Address) -> None:
        if address.is_loopback and self._allow_loopback:
            return
        if parts.scheme != "https":
            raise IssuerFailed("an issuer is asked by https only")
        bad = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
        if bad or address in METADATA:
            raise IssuerFailed("the issuer's name leads to an address that is not asked")


def allowed(parts: SplitResult, *, allow_loopback: bool) -> str:
    """Return the host of an address that an issuer may have; raise `IssuerFailed` for any other."""
    schemes = ("https", "http") if allow_loopback else ("https",)
    try:
        port = parts.port
    except ValueError as exc:
        raise IssuerFailed("the issuer's address has a port that is none") from exc
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        raise IssuerFailed("an issuer's address begins with https://")
    if parts.username or parts.password or parts.fragment:
        raise IssuerFailed("an issuer's address has neither a user nor a fragment")
    return parts.hostname


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _within(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > BYTES_MAX:
            raise IssuerFailed(f"the issuer answered with more than {BYTES_MAX} bytes")
    return bytes(body)


def _plain(text: str | int) -> Address:
    """Return an address; IPv4 that was written as IPv6 counts as what it is."""
    address = ipaddress.ip_address(str(text).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
