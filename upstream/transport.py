"""The one way out to vendors over HTTP, and the only module that knows the library that does it.

What it adds to the library: it tells what never left from what went out unanswered; it connects only
to addresses that may be asked, looked up at the moment of connecting, so that a name cannot change
what it stands for between check and use; every wait has an end and every answer a greatest size; and
it follows no redirect, since what is sent bears credentials.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import re
import socket
import ssl
import tempfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from upstream.calls import HEADER_VALUE, Answer, Call, Exchange, Identity, Lost, Unsent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

CONNECT_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 30.0
POOL_SECONDS: Final = 10.0
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
CONNECTIONS_MAX: Final = 200
IDLE_MAX: Final = 50
IDLE_SECONDS: Final = 15.0
IDENTITIES_MAX: Final = 256
"""Clients with a certificate, or an authority, of their own that are kept; the one not used for longest goes."""

USER_AGENT: Final = "fieldsync"
HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What the library writes."""
BEGAN: Final = "send_request_headers.started"
"""The library's word for the moment from which on something may have reached the peer."""

METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
"""Where clouds tell machines their secrets, beside the link-local addresses."""
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is public today. What lies outside may be translated into an address within, or routed there."""


class ForbiddenAddress(Exception):
    """The name leads to an address that is not called."""


class Unwritable(Exception):
    """What is to be sent cannot be written as HTTP."""


class BadIdentity(ValueError):
    """A certificate, key or authority cannot be read."""


class Http:
    """The pools. `allow_loopback` also allows private addresses and plain HTTP: for trials on one machine."""

    def __init__(self, *, allow_loopback: bool = False, answer_bytes_max: int = ANSWER_BYTES_MAX) -> None:
        self._allow_loopback = allow_loopback
        self._answer_bytes_max = answer_bytes_max
        self._plain = self._client(Identity())
        self._others: OrderedDict[bytes, httpx.AsyncClient] = OrderedDict()
        self._running: dict[httpx.AsyncClient, int] = {}

    @property
    def allow_loopback(self) -> bool:
        """Whether this machine and private networks may be called."""
        return self._allow_loopback

    async def close(self) -> None:
        """Give all connections back."""
        for client in (self._plain, *self._others.values()):
            await client.aclose()

    async def send(self, call: Call, *, seconds: float, identity: Identity | None = None) -> Exchange:
        """Send a call and return how it ended, after `seconds` at the latest; raises nothing that a peer does."""
        began: list[str] = []

        async def trace(event: str, _info: dict[str, Any]) -> None:
            if event.endswith(BEGAN):
                began.append(event)

        try:
            client = self._chosen(identity or Identity())
            request = self._request(client, call, seconds, trace)
        except (Unwritable, BadIdentity, ForbiddenAddress, httpx.InvalidURL, ValueError) as exc:
            return _not_begun(exc)
        self._running[client] = self._running.get(client, 0) + 1
        try:
            async with asyncio.timeout(seconds):
                return await self._sent(client, request)
        except (ForbiddenAddress, httpx.HTTPError, OSError) as exc:
            return _failed(exc, began=bool(began))
        finally:
            await self._let_go(client)

    def _request(self, client: httpx.AsyncClient, call: Call, seconds: float, trace: Any) -> httpx.Request:
        url = httpx.URL(call.address)
        if url.scheme != "https" and not (url.scheme == "http" and self._allow_loopback):
            raise ForbiddenAddress("a vendor is called by https only")
        if url.userinfo or not url.host:
            raise ForbiddenAddress("a vendor's address has a host, and no user")
        headers = {"user-agent": USER_AGENT, "accept-encoding": "gzip", **call.headers}
        _check(headers)
        waits = httpx.Timeout(connect=CONNECT_SECONDS, read=seconds, write=WRITE_SECONDS, pool=POOL_SECONDS)
        return client.build_request(
            call.method,
            url,
            headers=headers,
            content=call.content or None,
            timeout=waits,
            extensions={"trace": trace},
        )

    async def _sent(self, client: httpx.AsyncClient, request: httpx.Request) -> Exchange:
        answer = await client.send(request, stream=True)
        try:
            body = await self._within(answer)
        finally:
            await answer.aclose()
        if body is None:
            return Lost(f"the answer is larger than {self._answer_bytes_max} bytes")
        return Answer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, body)

    async def _within(self, answer: httpx.Response) -> bytes | None:
        """Return the body, expanded; None if it is too large, packed or expanded."""
        body = bytearray()
        async for part in answer.aiter_raw():
            body += part
            if len(body) > self._answer_bytes_max:
                return None
        if answer.headers.get("content-encoding", "").lower() not in ("gzip", "x-gzip"):
            return bytes(body)
        try:
            opened = zlib.decompressobj(wbits=31).decompress(bytes(body), self._answer_bytes_max + 1)
        except zlib.error as exc:
            raise httpx.DecodingError(str(exc)) from exc
        return opened if len(opened) <= self._answer_bytes_max else None

    def _chosen(self, identity: Identity) -> httpx.AsyncClient:
        """Return the client that is this one in TLS."""
        if identity == Identity():
            return self._plain
        whole = f"{identity.certificate}\0{identity.private_key}\0{identity.authority}"
        digest = hashlib.sha256(whole.encode()).digest()
        if digest not in self._others:
            self._others[digest] = self._client(identity)
        self._others.move_to_end(digest)
        return self._others[digest]

    async def _let_go(self, client: httpx.AsyncClient) -> None:
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        if len(self._others) > IDENTITIES_MAX:
            digest, oldest = next(iter(self._others.items()))
            if oldest not in self._running:
                del self._others[digest]
                await oldest.aclose()

    def _client(self, identity: Identity) -> httpx.AsyncClient:
        guard = _Guard(allow_loopback=self._allow_loopback)
        return httpx.AsyncClient(transport=_Transport(context(identity), guard), trust_env=False)


def _not_begun(exc: Exception) -> Unsent:
    """Return why there is no request; what the library says is not repeated, since it quotes what may be a secret."""
    match exc:
        case Unwritable():
            return Unsent(str(exc), "unwritable")
        case BadIdentity() | ForbiddenAddress():
            return Unsent(str(exc), "forbidden")
        case _:
            return Unsent("the address is no URL, or is too long for one", "forbidden")


def _failed(exc: Exception, *, began: bool) -> Unsent | Lost:
    """Return why no answer came; neither what we sent nor what a peer may repeat of it is quoted."""
    match exc:
        case ForbiddenAddress():
            return Unsent(str(exc), "forbidden")
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol():
            return Unsent("the request cannot be written as HTTP", "unwritable")
        case httpx.PoolTimeout():
            return Unsent(f"all {CONNECTIONS_MAX} connections are in use", "ours")
        case httpx.RemoteProtocolError():
            reason = "the connection ended before the whole answer was there, or the answer is no HTTP"
        case _:
            reason = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    return Lost(reason) if began else Unsent(reason)


def _check(headers: Mapping[str, str]) -> None:
    """Raise `Unwritable`, which names a header and quotes none, for what a header cannot be."""
    for name, value in headers.items():
        if HEADER_NAME.fullmatch(name) is None:
            raise Unwritable("a header has a name that HTTP has no place for; names are of letters, digits and dashes")
        if HEADER_VALUE.fullmatch(value) is None:
            raise Unwritable(f"the header {name} must be printable ASCII, with no space at either end")


def context(identity: Identity) -> ssl.SSLContext:
    """Return what TLS is done with; raises `BadIdentity` for texts that are no certificate or key."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if identity.authority:
            made.load_verify_locations(cadata=identity.authority)
        if identity.certificate:
            _load(made, identity)
    except (ssl.SSLError, ValueError) as exc:
        raise BadIdentity(f"the certificate, its key or the authority cannot be read ({exc})") from exc
    return made


def _load(made: ssl.SSLContext, identity: Identity) -> None:
    """Give the context a certificate and key, which the library takes from a file only."""
    with tempfile.TemporaryDirectory(prefix="fieldsync-") as folder:
        place = Path(folder) / "identity.pem"
        with os.fdopen(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as out:
            out.write(f"{identity.certificate}\n{identity.private_key}\n")
        made.load_cert_chain(place, password=_no_password)


def _no_password() -> str:
    """Have a key that wants a password fail, rather than ask for it at the terminal."""
    raise ValueError("the private key has a password; give it without")


class _Transport(httpx.AsyncHTTPTransport):
    """The library's own transport, with connections made by the guard."""

    def __init__(self, tls: ssl.SSLContext, guard: _Guard) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=IDLE_MAX,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=guard,
        )


class _Guard(httpcore.AnyIOBackend):
    """Connects only where it may."""

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  (the library gives it so)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Look the name up, check all that it stands for, and connect to the first that lets us."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._looked_up(host, port)
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout(f"{host} could not be looked up in time") from exc
        except (socket.gaierror, UnicodeError) as exc:
            raise httpcore.ConnectError(f"{host} cannot be found") from exc
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await super().connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failed = exc
        raise failed

    async def _looked_up(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found))
        for address in addresses:
            if not may_call(address, allow_loopback=self._allow_loopback):
                raise ForbiddenAddress(f"{host} leads to an address that is not called")
        return addresses


def may_call(address: Address, *, allow_loopback: bool) -> bool:
    """Tell whether an address may be called: public ones, and in trials loopback and private ones."""
    address = _meant(address)
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in METADATA:
        return False
    is_public = address.is_global and (isinstance(address, ipaddress.IPv4Address) or address in UNICAST)
    return is_public or (allow_loopback and (address.is_loopback or address.is_private))


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it stands for one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if address in NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address
