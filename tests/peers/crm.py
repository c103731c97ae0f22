"""A CRM over real HTTP that keeps customers, tells of them by signed webhooks, and lists what changed.

Its events are thin: they name a customer. Its clock has a tick of one second, so several customers share
a time of change. Its store can be read by a test; so can what it was asked.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from tests.peers.vendor.server import DROP, Drop, Request, Response, Server

SECRET: Final = "crm-signs-with-this"
PAGE: Final = 3

MANIFEST: Final = """
system = "crm"
title = "A CRM"
grade = "A"
base_url = "https://crm.example"
verify = "ping"

[auth]
kind = "bearer"

[operations.ping]
method = "GET"
path = "/ping"
effect = "read"

[operations.get_customer]
method = "GET"
path = "/customers/${value.id}"
effect = "read"
answer = { id = "id", version = "version" }

[operations.read_customer]
method = "GET"
path = "/customers/${remote.id}"
effect = "read"
answer = { id = "id", version = "version" }

[operations.find_customer]
method = "GET"
path = "/customers"
query = { mark = "${value.mark}" }
effect = "read"
answer = { items = "items", id = "id", version = "version" }

[operations.changed_customers]
method = "GET"
path = "/customers"
query = { since = "${value.since}" }
effect = "read"
answer = { items = "items" }
pagination = { kind = "cursor", param = "page", next = "next" }

[operations.create_customer]
method = "POST"
path = "/customers"
effect = "write"
body = { kind = "json" }
answer = { id = "id", version = "version" }

[operations.update_customer]
method = "PUT"
path = "/customers/${remote.id}"
effect = "write"
body = { kind = "json" }
answer = { id = "id", version = "version" }

[operations.get_site]
method = "GET"
path = "/sites/${value.id}"
effect = "read"
answer = { id = "id", version = "version" }

[targets.customer]
write = "search"
create = "create_customer"
update = "update_customer"
read = "read_customer"
find = "find_customer"
marker = "mark"

[sources.customer]
operation = "changed_customers"
since = "since"
modified = "modified"
version = "version"
overlap_seconds = 10
seconds = 60
calm_seconds = 3600

[webhook]
verify = "hmac-sha256"
header = "X-Signature"
prefix = "sha256="
signed = "${timestamp}.${body}"
timestamp_header = "X-Timestamp"
items = "events"
event_id = "event"
object = "kind"
objects = { "customer.changed" = "customer", "site.changed" = "site" }
remote_id = "id"
version = "version"
record = "record"
fetch = { customer = "get_customer", site = "get_site" }
"""

MAPPING: Final = """
[[out]]
object = "customer"
collection = "customers"
rows = [
  { target = "name", source = "record.name" },
  { target = "phone", source = "record.phone" },
]

[[into]]
object = "customer"
collection = "customers"
rows = [
  { target = "name", source = "record.name" },
  { target = "phone", source = "record.phone" },
  { target = "email", source = "record.mail" },
]

[[into]]
object = "site"
collection = "sites"
refs = { customer = { object = "customer", path = "record.customer" } }
rows = [
  { target = "name", source = "record.label" },
  { target = "customer_id", source = "local.customer" },
]
"""


class Crm:
    """The vendor: its rows by kind and id, and what it was asked."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {"customers": {}, "sites": {}}
        self.asked: list[str] = []
        self.now = datetime(2026, 3, 1, 8, tzinfo=UTC)
        self.broken_page = 0
        self.server = Server(self._answer)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.server.url

    def put(self, row_id: str, kind: str = "customers", **fields: Any) -> dict[str, Any]:
        """Change a row as somebody at the vendor's would."""
        row = self.rows[kind].setdefault(row_id, {"id": row_id, "version": "0"})
        row.update(fields)
        row["version"] = str(int(row["version"]) + 1)
        row["modified"] = self.now.isoformat()
        return row

    async def _answer(self, request: Request) -> Response | Drop:
        self.asked.append(f"{request.method} {request.target}")
        if request.path == ("ping",):
            return Response(body={})
        kind, row_id = request.path[0], request.path[1] if len(request.path) > 1 else ""
        if request.method == "POST":
            return Response(201, self.put(f"c{len(self.rows[kind]) + 1}", kind, **request.json))
        if request.method == "PUT":
            return Response(body=self.put(row_id, kind, **request.json))
        if row_id:
            row = self.rows[kind].get(row_id)
            return Response(404, {}) if row is None else Response(body=row)
        return self._listed(kind, request)

    def _listed(self, kind: str, request: Request) -> Response | Drop:
        if "mark" in request.query:
            rows = [row for row in self.rows[kind].values() if row.get("mark") == request.query["mark"]]
            return Response(body={"items": rows})
        since = datetime.fromisoformat(request.query["since"])
        rows = [row for row in self.rows[kind].values() if datetime.fromisoformat(row["modified"]) >= since]
        page = int(request.query.get("page", 1))
        if page == self.broken_page:
            return DROP
        more = len(rows) > page * PAGE
        return Response(body={"items": rows[(page - 1) * PAGE : page * PAGE], "next": str(page + 1) if more else None})


def signed(events: list[dict[str, Any]], at: datetime, secret: str = SECRET) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a call with these events."""
    body, timestamp = json.dumps({"events": events}).encode(), str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return body, {"x-signature": f"sha256={digest}", "x-timestamp": timestamp, "content-type": "application/json"}


def changed(row: dict[str, Any], event: str, *, kind: str = "customer", whole: bool = False) -> dict[str, Any]:
    """Return the event that a row has changed."""
    told = {"event": event, "kind": f"{kind}.changed", "id": row["id"], "version": row["version"]}
    return {**told, "record": dict(row)} if whole else told


async def call(client: httpx.AsyncClient, connection: str, *events: dict[str, Any], at: datetime) -> httpx.Response:
    """Tell of events as the vendor does."""
    body, headers = signed(list(events), at)
    return await client.post(f"/v1/hooks/{connection}", content=body, headers=headers)
