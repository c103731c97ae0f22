"""Typed requests over HTTP: timeouts, and patient repetition of what is safe to repeat.

Beside `clients/load/road.py` this is the one module of the clients that knows httpx. A request is
repeated when the network fails or the server says that it cannot answer *now*; how long to wait is
the server's word (`Retry-After`, `retry_after_ms`) or else grows from attempt to attempt, with
jitter so that a fleet that lost its server does not return as one.

A client speaks JSON or MessagePack, and compresses what is long, by gzip or zstd, as its `Speech`
says. What it is answered it reads in whichever form it comes.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

import httpx
import msgspec

from clients import errors
from replication import packing
from replication.forms import Form
from replication.packing import Coding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

Method: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]

ATTEMPTS_MAX: Final = 6
WAIT_FIRST_MS: Final = 250
WAIT_MS_MAX: Final = 30_000
TOLD_WAIT_MS_MAX: Final = 300_000
CONNECT_SECONDS_MAX: Final = 5.0
ANSWER_SECONDS_MAX: Final = 30.0
ANSWER_BYTES_MAX: Final = 64 * 1_024 * 1_024
PACKED_BYTES_MIN: Final = 1_400
"""What fits into one packet is sent as it is."""

MEDIA_TYPES: Final[dict[Form, str]] = {"json": "application/json", "msgpack": "application/msgpack"}

TOO_SLOW: Final = 408
TOO_LARGE: Final = 413
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say nothing about the request itself."""

KINDS: Final[dict[str, type[errors.Refused]]] = {
    "replica_forked": errors.ReplicaForked,
    "epoch_changed": errors.EpochChanged,
    "fenced": errors.Fenced,
    "bad_cursor": errors.BadCursor,
}
"""Problem codes which a caller treats differently from other refusals."""

STATUSES: Final[dict[int, type[errors.Refused]]] = {401: errors.NotAuthorised, TOO_LARGE: errors.TooMuch}
"""Statuses of which the same is true, whoever on the way says them: a proxy knows nothing of our codes."""


class Speech(msgspec.Struct, frozen=True, kw_only=True):
    """The form of what is said, and how it is compressed. Every server understands each of them."""

    form: Form = "json"
    coding: Coding | None = "gzip"

    def headers(self) -> dict[str, str]:
        """Return what a request says of the answer that it wants."""
        return {"accept": MEDIA_TYPES[self.form], "accept-encoding": self.coding or "identity"}

    def said(self, body: msgspec.Struct | dict[str, Any]) -> tuple[bytes, dict[str, str]]:
        """Return the body of a request, and the headers that tell what it is."""
        content = msgspec.json.encode(body) if self.form == "json" else msgspec.msgpack.encode(body)
        headers = {"content-type": MEDIA_TYPES[self.form]}
        if self.coding is None or len(content) < PACKED_BYTES_MIN:
            return content, headers
        return packing.compress(content, self.coding), {**headers, "content-encoding": self.coding}


USUAL: Final = Speech()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Only what is `repeatable` is sent again after it may have arrived."""

    method: Method
    path: str
    body: msgspec.Struct | dict[str, Any] | None = None
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    token: str | None = None
    repeatable: bool = True
    divisible: bool = False
    """Whether the caller can say it in smaller parts: then one that took too long is not said again as it is."""
    wait_ms: int = 0
    """How long the server was asked to hold the answer back."""


class Waiting(msgspec.Struct, frozen=True):
    """How to wait: the clock that `Retry-After` dates are compared with, sleep, and a number in [0, 1)."""

    now_ms: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]
    attempts_max: int = ATTEMPTS_MAX


class Reply(msgspec.Struct, frozen=True):
    """A successful answer."""

    status: int
    body: bytes
    headers: dict[str, str]

    def decode(self, kind: type[T]) -> T:
        """Return the body as a struct."""
        try:
            if self.headers.get("content-type", "").startswith(MEDIA_TYPES["msgpack"]):
                return msgspec.convert(msgspec.msgpack.decode(self.body), kind, str_keys=True)
            return msgspec.json.decode(self.body, type=kind)
        except ValueError as exc:
            raise errors.Unintelligible(f"{kind.__name__}: {exc}") from exc


class Transport:
    """Requests to one server."""

    def __init__(
        self, url: str, waiting: Waiting, client: httpx.AsyncClient | None = None, speech: Speech = USUAL
    ) -> None:
        """Speak to the server at `url`, through a client of the caller's if one is given."""
        self._speech = speech
        self._url = url.rstrip("/")
        self._waiting = waiting
        self._owned = client is None
        self._client = client or httpx.AsyncClient()

    async def close(self) -> None:
        """Close the connections, unless the caller's client holds them."""
        if self._owned:
            await self._client.aclose()

    async def pause(self, wait_ms: int) -> None:
        """Wait as the server asked in a successful answer."""
        if wait_ms > 0:
            await self._waiting.sleep(min(wait_ms, TOLD_WAIT_MS_MAX) / 1000)

    async def send(self, call: Call) -> Reply:
        """Return the answer, or raise what the server or the network had against it."""
        for attempt in range(self._waiting.attempts_max):
            last = attempt + 1 == self._waiting.attempts_max
            try:
                response = await self._request(call)
            except httpx.TransportError as exc:
                if last or not (call.repeatable or isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout)):
                    raise errors.Unreachable(f"{call.method} {call.path}: {exc!r}") from exc
                told_ms = None
            else:
                if response.is_success:
                    return Reply(response.status_code, _content(response), dict(response.headers))
                if last or not _transient(call, response.status_code):
                    raise _problem(response)
                told_ms = self._told_ms(response)
            await self._waiting.sleep(self._wait_ms(attempt, told_ms) / 1000)
        raise AssertionError("the last attempt returns or raises")

    async def _request(self, call: Call) -> httpx.Response:
        headers = {**self._speech.headers(), **call.headers}
        if call.token is not None:
            headers["authorization"] = f"Bearer {call.token}"
        content = None
        if call.body is not None:
            content, said = self._speech.said(call.body)
            headers |= said
        timeout = httpx.Timeout(ANSWER_SECONDS_MAX + call.wait_ms / 1000, connect=CONNECT_SECONDS_MAX)
        return await self._client.request(
            call.method, self._url + call.path, content=content, params=call.query, headers=headers, timeout=timeout
        )

    def _wait_ms(self, attempt: int, told_ms: float | None) -> float:
        """Return the pause before the next attempt: never shorter than told, always spread out."""
        grown = min(WAIT_FIRST_MS * float(2**attempt), WAIT_MS_MAX)
        if told_ms is None:
            return grown * self._waiting.jitter()
        return min(told_ms, TOLD_WAIT_MS_MAX) + WAIT_FIRST_MS * self._waiting.jitter()

    def _told_ms(self, response: httpx.Response) -> float | None:
        """Return how long the server asks to wait, if it says so."""
        told = _document(response).get("retry_after_ms")
        if isinstance(told, int) and told >= 0:
            return told
        header = response.headers.get("retry-after", "").strip()
        if header.isdecimal():
            return float(header) * 1000
        try:
            return max(parsedate_to_datetime(header).timestamp() * 1000 - self._waiting.now_ms(), 0)
        except ValueError:
            return None


def _content(response: httpx.Response) -> bytes:
    """Return the body of an answer. The HTTP library expands gzip; zstd it leaves to us, or not."""
    content = response.content
    if response.headers.get("content-encoding") != "zstd" or not packing.is_zstd(content):
        return content
    try:
        return packing.expand(content, "zstd", ANSWER_BYTES_MAX)
    except ValueError as exc:
        raise errors.Unintelligible(f"{response.url.path}: {exc}") from exc


def _transient(call: Call, status: int) -> bool:
    if status == TOO_SLOW and call.divisible:
        return False
    # 429 and 503 say that nothing was done; after the others something may have been.
    return status in TRANSIENT and (call.repeatable or status in (429, 503))


def _problem(response: httpx.Response) -> errors.ClientError:
    document = _document(response)
    code, detail = str(document.get("code", "")), str(document.get("detail", response.reason_phrase))
    if response.status_code in TRANSIENT:
        kept = errors.TooSlow if response.status_code == TOO_SLOW else errors.Unreachable
        return kept(f"{response.status_code} {code or response.reason_phrase}: {detail}")
    kind = STATUSES.get(response.status_code) or KINDS.get(code, errors.Refused)
    return kind(response.status_code, code, detail, document)


def _document(response: httpx.Response) -> dict[str, Any]:
    """Return the problem document; a proxy in between may have answered with anything."""
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
