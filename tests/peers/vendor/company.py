"""A vendor with a contract: judges each request by it, asks who calls, and misbehaves as it is told.

What a subclass adds is what the vendor does: `answer` for each operation, and how it says no. A request
that does not keep to the contract is refused and noted; a test that ends with such a note fails. The
stand-in's own answers are held against the contract too, so that it cannot drift away from it unseen.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from tests.peers.vendor.faults import Faults
from tests.peers.vendor.server import DROP, Drop, Request, Response, Server
from upstream import judging, vendors

FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Drift:
    """A change that the vendor made over night, of the field at a path of an operation.

    `removed`: it is not in answers any more. `renamed`: it is there as `to`. `retyped`: it is of another type.
    `widened`: it has the value `to`, which nobody has heard of. `unzoned`: its times have lost their offset.
    `required`: requests without it are refused. `unknown`: requests with it are refused.
    """

    operation: str
    kind: str
    path: str
    to: Any = None


class Company(ABC):
    """A vendor. Its attributes are what a test looks at, and the ways in which it can misbehave."""

    system = ""
    client = ("fieldsync", "a-client-secret")

    def __init__(self, faults: Faults | None = None) -> None:
        self.contract = vendors.agreement(self.system)
        self.faults = faults or Faults()
        self.server = Server(self.handle)
        self.deviations: list[str] = []
        """Where requests did not keep to the contract."""
        self.slips: list[str] = []
        """Where this stand-in's own answers did not."""
        self.calls: Counter[str] = Counter()
        self.unanswered: list[str] = []
        """Operations that were done and whose answer never came."""
        self.drifts: list[Drift] = []
        self.late_seconds = 0.5
        self.throttled_calls = 0
        """How many of the next requests are one too many."""
        self.after_throttling = 0
        """How many came although they had been told to wait."""
        self.access = {"token-0"}
        self.refresh = "refresh-0"
        self.codes: dict[str, str] = {}
        """Codes that were given and not used yet, with the challenge of each."""
        self.spent: set[str] = set()
        self.reused = 0
        """How often a refresh token was shown that had been used."""
        self._served = 0

    async def __aenter__(self) -> Self:
        """Begin to listen."""
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        await self.server.__aexit__()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.server.url

    def assert_kept(self) -> None:
        """Fail if a request did not keep to the contract, or an answer of this stand-in."""
        assert self.deviations == []
        assert self.slips == []

    # What a subclass adds.

    @abstractmethod
    def answer(self, operation: str, request: Request) -> Response:
        """Do what is asked."""

    @abstractmethod
    def no(self, status: int, code: str, message: str) -> Response:
        """Say no in the vendor's own way."""

    @abstractmethod
    def throttled(self) -> Response:
        """Say that it is too much."""

    @abstractmethod
    def lie(self) -> Response:
        """Say yes in the status and no in the body."""

    @abstractmethod
    def changes(self, operation: str, request: Request) -> bool:
        """Tell whether a request changes something: only such ones meet faults."""

    # What all have.

    async def handle(self, request: Request) -> Response | Drop:
        """Answer one request, or not."""
        found = judging.Request(
            method=request.method,
            path="/" + "/".join(request.path),
            query=request.query,
            headers=request.headers,
            body=_body(request),
        )
        name = judging.operation_of(self.contract, found.method, found.path)
        self.calls[name or found.path] += 1
        if deviations := judging.judge(self.contract, found):
            self.deviations += [str(each) for each in deviations]
            return self.no(400, "400", str(deviations[0]))
        assert name is not None
        if name == "token":
            return self._token(request.form)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.access:
            return self.unauthorised()
        if self.throttled_calls:
            self.throttled_calls -= 1
            return self.throttled()
        return await self._meet(name, request)

    def unauthorised(self) -> Response:
        """Say that the token is none."""
        return self.no(401, "unauthorised", "the token is not known")

    def expire(self) -> None:
        """Let all tokens be void."""
        self.access = set()

    def signed(self, body: Any, secret: str) -> tuple[bytes, bytes]:
        """Return a webhook's raw body, and its HMAC-SHA256."""
        raw = json.dumps(body).encode()
        return raw, hmac.digest(secret.encode(), raw, "sha256")

    async def _meet(self, name: str, request: Request) -> Response | Drop:
        fault = self.faults.next() if self.changes(name, request) else None
        if fault == "throttle":
            return self.throttled()
        if fault == "lie":
            return self.lie()
        if fault == "drop_before":
            return DROP
        refused = self._drifted_request(name, request)
        answer = refused or self.answer(name, request)
        if answer.status < 300:
            self._hold(name, answer)
            answer = self._drifted_answer(name, answer)
        if fault is None or answer.status >= 300:
            return answer
        self.unanswered.append(name)
        if fault == "late":
            await asyncio.sleep(self.late_seconds)
            return answer
        return DROP if fault == "drop" else Response(502)

    def _hold(self, name: str, answer: Response) -> None:
        body = json.loads(json.dumps(answer.body))
        self.slips += map(str, judging.judge_answer(self.contract, name, answer.status, body))

    def _token(self, form: dict[str, str]) -> Response:
        """Give a new pair, for a code or a refresh token; one that was used voids all."""
        if form["grant_type"] == "authorization_code":
            return self._for_code(form)
        shown = form.get("refresh_token", "")
        if shown in self.spent:
            self.reused += 1
            self.access, self.refresh = set(), secrets.token_hex(8)
        if shown != self.refresh:
            return Response(400, {"error": "invalid_grant", "error_description": "the refresh token is not good"})
        self.spent.add(shown)
        self._served += 1
        self.refresh = f"refresh-{self._served}"
        self.access = {f"token-{self._served}"}
        return Response(body=self.granted(f"token-{self._served}", self.refresh))

    def _for_code(self, form: dict[str, str]) -> Response:
        """Give the first pair, for a code that whoever began can prove to have begun (RFC 7636)."""
        challenge = self.codes.pop(form.get("code", ""), "")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if not challenge or base64.urlsafe_b64encode(digest).decode().rstrip("=") != challenge:
            return Response(400, {"error": "invalid_grant", "error_description": "the code is not good"})
        return Response(body=self.granted(next(iter(self.access)), self.refresh))

    def consent(self, url: str) -> dict[str, str]:
        """Let a person agree on the page that they were sent to; return what they are sent back with."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert (asked["client_id"], asked["code_challenge_method"]) == (self.client[0], "S256")
        code = secrets.token_hex(8)
        self.codes[code] = asked["code_challenge"]
        return {"state": asked["state"], "code": code}

    def granted(self, access: str, refresh: str) -> dict[str, Any]:
        """Return what a token request is answered with."""
        return {"access_token": access, "refresh_token": refresh, "expires_in": 3600, "token_type": "bearer"}

    def _drifted_request(self, name: str, request: Request) -> Response | None:
        body = _body(request)
        for drift in self.drifts:
            there = any(True for _ in _holders(body, drift.path)) if drift.operation == name else None
            if drift.kind == "required" and there is False:
                return self.no(422, "required", f"{drift.path} is required")
            if drift.kind == "unknown" and there:
                return self.no(422, "unknown", f"{drift.path} is not known")
        return None

    def _drifted_answer(self, name: str, answer: Response) -> Response:
        body = json.loads(json.dumps(answer.body))
        for drift in self.drifts:
            if drift.operation == name:
                for holder, key in list(_holders(body, drift.path)):
                    _drift(drift, holder, key)
        return replace(answer, body=body)


def _drift(drift: Drift, holder: dict[str, Any], key: str) -> None:
    match drift.kind:
        case "removed":
            del holder[key]
        case "renamed":
            holder[str(drift.to)] = holder.pop(key)
        case "retyped":
            holder[key] = {"value": holder[key]}
        case "widened":
            holder[key] = drift.to
        case "unzoned":
            holder[key] = holder[key][:19]


def _holders(body: Any, path: str) -> Any:
    """Yield each table that has what the path names, and its key; `*` is each item of a list."""
    step, _, rest = path.partition(".")
    if step == "*" and isinstance(body, list):
        for item in body:
            yield from _holders(item, rest)
    elif isinstance(body, dict) and step in body:
        if rest:
            yield from _holders(body[step], rest)
        else:
            yield body, step


def _body(request: Request) -> Any:
    if not request.body:
        return None
    return request.form if request.headers.get("content-type", "").startswith(FORM) else request.json
