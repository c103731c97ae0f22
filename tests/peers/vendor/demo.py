"""A vendor with one kind of object for each class of write: what the write protocol is tried on.

    POST   /native            a key in the header is known again; POST /native/{id} changes; GET /native?number=
    PUT    /upsert/{number}   addressed by our own number
    POST   /versioned         PUT /versioned/{id} names the version it replaces, else 409; GET /versioned?mark=
    POST   /search            takes duplicates; PUT /search/{id}; GET /search?mark= shows a row after the index lag
    POST   /none              nothing can be looked up
    DELETE /{kind}/{id}       takes one back

The manifest beside it describes it; `kinds` of mappings use what they need of it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tests.peers.vendor.faults import Fault, Faults
from tests.peers.vendor.server import DROP, Drop, Request, Response, Server
from tests.peers.vendor.shelf import Shelf, Stored

KINDS: Final = ("native", "upsert", "versioned", "search", "none")
WAIT_SECONDS: Final = 0.5
"""How long the manifest lets a request wait, where a trial does not say otherwise."""

MANIFEST: Final = (
    """
system = "demo"
title = "A demo system"
grade = "A"
base_url = "https://demo.example"
verify = "ping"

[auth]
kind = "bearer"

[operations.ping]
method = "GET"
path = "/ping"
effect = "read"
"""
    + "".join(
        f"""
[operations.{kind}_create]
method = "POST"
path = "/{kind}"
effect = "write"
body = {{ kind = "json" }}
answer = {{ id = "id", version = "version" }}
seconds = WAIT
{'handle = { place = "header", name = "Idempotency-Key" }' if kind == "native" else ""}

[operations.{kind}_update]
method = "PUT"
path = "/{kind}/${{remote.id}}"
effect = "write"
body = {{ kind = "json"{', add = { version = "${remote.version}" }' if kind == "versioned" else ""} }}
answer = {{ id = "id", version = "version" }}
seconds = WAIT
{'handle = { place = "header", name = "Idempotency-Key" }' if kind == "native" else ""}

[operations.{kind}_read]
method = "GET"
path = "/{kind}/${{remote.id}}"
effect = "read"
answer = {{ id = "id", version = "version" }}
seconds = WAIT

[operations.{kind}_find]
method = "GET"
path = "/{kind}"
query = {{ mark = "${{value.mark}}" }}
effect = "read"
answer = {{ items = "items", id = "id", version = "version" }}
seconds = WAIT

[operations.{kind}_void]
method = "DELETE"
path = "/{kind}/${{remote.id}}"
effect = "write"
seconds = WAIT
"""
        for kind in KINDS
        if kind != "upsert"
    )
    + """
[operations.upsert_put]
method = "PUT"
path = "/upsert/${value.number}"
effect = "write"
body = { kind = "json" }
answer = { id = "id", version = "version" }
seconds = WAIT

[operations.upsert_void]
method = "DELETE"
path = "/upsert/${value.number}"
effect = "write"
seconds = WAIT

[targets.native]
write = "native"
create = "native_create"
update = "native_update"
read = "native_read"
find = "native_find"
void = "native_void"
marker = "mark"

[targets.upsert]
write = "upsert"
create = "upsert_put"
void = "upsert_void"

[targets.versioned]
write = "versioned"
create = "versioned_create"
update = "versioned_update"
read = "versioned_read"
find = "versioned_find"
void = "versioned_void"
marker = "mark"
index_lag_seconds = LAG

[targets.search]
write = "search"
create = "search_create"
update = "search_update"
read = "search_read"
find = "search_find"
void = "search_void"
marker = "mark"
index_lag_seconds = LAG

[targets.none]
write = "none"
create = "none_create"

[error]
code = "error.code"
message = "error.message"

[[errors]]
kind = "data"
path = "error.code"
equals = ["bad"]

[[errors]]
kind = "locked"
path = "error.code"
equals = ["closed"]

[[errors]]
kind = "transient"
path = "error.code"
equals = ["slow"]
"""
)


class Demo:
    """The vendor. `faults` says how writes go wrong; `closed` are rows that take no change any more."""

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        lag_seconds: float = 0.3,
        late_seconds: float = 0.8,
        work_seconds: float = 0.0,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self.faults = faults or Faults()
        self.lag_seconds = lag_seconds
        self.shelves = {
            kind: Shelf(f"{kind[0]}-", lag_seconds=lag_seconds if kind == "search" else 0.0) for kind in KINDS
        }
        self.closed: set[str] = set()
        self.unanswered: list[tuple[str, str]] = []
        """Kind and number of each write that was done and whose answer never came."""
        self.calls: list[tuple[str, str]] = []
        self.together = 0
        self.most_together = 0
        """How many writes it had to do at once."""
        self._late_seconds = late_seconds
        self._work_seconds = work_seconds
        self._wait_seconds = wait_seconds
        self.server = Server(self.handle)

    @property
    def manifest(self) -> str:
        """What a connection to it needs to know."""
        return MANIFEST.replace("LAG", str(self.lag_seconds)).replace("WAIT", str(self._wait_seconds))

    def numbers(self, kind: str) -> dict[str, int]:
        """Return how often each business key is there."""
        return dict(self.shelves[kind].counted("number"))

    async def handle(self, request: Request) -> Response | Drop:
        """Answer one request, or not."""
        if request.path == ("ping",):
            return Response(body={"ok": True})
        kind, *rest = request.path
        self.calls.append((request.method, kind))
        if request.method == "GET":
            return self._read(kind, rest, request)
        fault = self.faults.next()
        if fault == "throttle":
            return Response(429, {"error": {"code": "slow", "message": "slow down"}}, {"retry-after": "0.1"})
        if fault == "lie":
            return Response(200, {"error": {"code": "slow", "message": "not now"}})
        if fault == "drop_before":
            return DROP
        self.together += 1
        self.most_together = max(self.together, self.most_together)
        try:
            await asyncio.sleep(self._work_seconds)
            answer = self._write(kind, rest, request)
            return await self._said(answer, fault, kind, request)
        finally:
            self.together -= 1

    async def _said(self, answer: Response, fault: Fault | None, kind: str, request: Request) -> Response | Drop:
        """Answer as the fault wants it: what was done stays done."""
        if fault is None or answer.status >= 300:
            return answer
        number = (request.json or {}).get("number", "") if request.body else request.path[-1]
        self.unanswered.append((kind, str(number)))
        if fault == "late":
            await asyncio.sleep(self._late_seconds)
            return answer
        return DROP if fault == "drop" else Response(502, {"error": {"code": "gateway", "message": "bad gateway"}})

    def _read(self, kind: str, rest: list[str], request: Request) -> Response:
        shelf = self.shelves[kind]
        if kind == "none":
            return Response(404, {"error": {"code": "none"}})
        if not rest:
            ((path, value),) = request.query.items()
            return Response(body={"items": [row.shown for row in shelf.search(path, value)]})
        row = shelf.rows.get(rest[0])
        return _shown(row) if row is not None and not row.voided else Response(404, {"error": {"code": "unknown"}})

    def _write(self, kind: str, rest: list[str], request: Request) -> Response:
        if request.method == "DELETE":
            return self._void(kind, rest[0])
        fields = request.json
        if fields.get("title") == "bad":
            return Response(422, {"error": {"code": "bad", "message": "title: is bad"}})
        key = request.headers.get("idempotency-key", "") if kind == "native" else ""
        if key in self.shelves[kind].keyed and key:
            return Response(body=self.shelves[kind].keyed[key][1])
        answer = self._put(kind, rest, fields)
        if key and answer.status == 200:
            self.shelves[kind].keyed[key] = (answer.body["id"], answer.body)
        return answer

    def _put(self, kind: str, rest: list[str], fields: dict[str, Any]) -> Response:
        shelf = self.shelves[kind]
        if not rest:
            return _shown(shelf.add(fields))
        row = shelf.rows.get(rest[0])
        if row is None or row.voided:
            return (
                _shown(shelf.add(fields, rest[0]))
                if kind == "upsert"
                else Response(404, {"error": {"code": "unknown"}})
            )
        if row.id in self.closed:
            return Response(409, {"error": {"code": "closed", "message": "it is posted"}})
        version = fields.pop("version", None)
        if kind == "versioned" and version != str(row.version):
            return Response(409, {"error": {"code": "stale", "message": f"is {row.version}"}})
        return _shown(shelf.change(row, fields))

    def _void(self, kind: str, row_id: str) -> Response:
        row = self.shelves[kind].rows.get(row_id)
        if row is None or row.voided:
            return Response(404, {"error": {"code": "unknown"}})
        row.voided = True
        return Response(204)


def _shown(row: Stored) -> Response:
    return Response(body=row.shown)
