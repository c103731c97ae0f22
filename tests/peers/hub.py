"""A hub in memory that devices can be tested against: the real rules, the real wire, no database.

It answers on the protocol's own routes, in the process through an httpx transport or over a real
socket. Faults are queued and used up one by each request.
"""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec

from clients.machine import Machine
from replication import catalog_file, hub, memberships, packing, wire
from replication.mutation import Mutation
from replication.state import Replica, State, Submission

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOGUE: Final = """
[collections.jobs]
priority = "job"
delete = ["device", "office"]
scope = ["assignee", "creator_until_assigned"]
groups.window = ["starts_at", "ends_at"]

[collections.jobs.fields]
title = { kind = "text", write = ["device", "office"], rank = ["office", "device"] }
notes = { kind = "text", write = ["device", "office"], merge = "append" }
meter = { kind = "integer", write = ["device", "office"], merge = "counter" }
tags = { kind = "set", write = ["device", "office"], merge = "union" }
price = { kind = "decimal", write = ["office"], owner = "office" }
assignee_id = { kind = "person", write = ["office"], owner = "office" }
starts_at = { kind = "instant", write = ["device", "office"], rank = ["office", "device"] }
ends_at = { kind = "instant", write = ["device", "office"], rank = ["office", "device"] }

[collections.parts]
priority = "reference"
delete = ["office"]
scope = ["all"]

[collections.parts.fields]
name = { kind = "text", write = ["office"], owner = "office" }
"""

ANA: Final = "00000000-0000-4000-8000-00000000000a"
BEN: Final = "00000000-0000-4000-8000-00000000000b"
HUB, OFFICE = 1, 2
FIRST_DEVICE: Final = 10
CODE: Final = "code-of-ana"

Answer = tuple[int, dict[str, str], bytes]


class Hub:
    """One tenant with an office and devices of one person."""

    def __init__(self, **limits: int) -> None:
        """Begin with no records; limits are advertised, and the page is a real one."""
        self.limits = wire.Limits(**limits)
        self.epoch = "e1"
        self.state = State(
            seq=0,
            hub_rid=HUB,
            catalog=catalog_file.parse(CATALOGUE, version=1),
            replicas={HUB: Replica(HUB, "hub"), OFFICE: Replica(OFFICE, "office")},
            records={},
            memberships=memberships.Memberships(),
        )
        self.tokens: dict[str, int] = {}
        self.refreshes: dict[str, int] = {}
        self.faults: deque[str | Answer] = deque()
        self.requests: list[tuple[str, str, Any]] = []
        self.durable = 0
        self.judged_at_once: int | None = None
        self.bytes_in_time: int | None = None
        self.retry_after_ms: int | None = None
        self._lock = threading.Lock()

    # The office, and time.

    def office(
        self,
        op: str,
        record_id: str,
        collection: str = "jobs",
        /,
        do: dict[str, dict[str, Any]] | None = None,
        **fields: Any,
    ) -> None:
        """Somebody in the office writes, having seen all there is."""
        seen = self.state.seq
        mutation = Mutation(n=0, op=op, collection=collection, id=record_id, base=seen, set=fields, do=do or {})
        submission = Submission(rid=OFFICE, person=BEN, authority="office", mutations=(mutation,), numbered=False)
        with self._lock:
            hub.judge(self.state, submission)

    def value(self, record_id: str, field: str) -> Any:
        """What is stored in a cell."""
        cell = self.state.records["jobs", record_id].cells.get(field)
        return cell.value if cell else None

    def backup(self) -> State:
        """A copy of everything, to be restored later."""
        return copy.deepcopy(self.state)

    def restore(self, state: State) -> int:
        """Go back to a backup: a new epoch begins, with numbers that nobody has ever seen."""
        highest, position = self.state.seq, state.seq
        self.state = copy.deepcopy(state)
        self.state.seq = highest + 1_000
        self.epoch += "'"
        self.position = position
        return position

    # The protocol.

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """Answer one request."""
        taken = self._taken(headers, body)
        return taken if isinstance(taken, tuple) else self._answer(method, path, headers, taken)

    def _taken(self, headers: dict[str, str], body: bytes) -> bytes | Answer:
        """The body expanded, if it came in time and is not too large."""
        if len(body) > self.limits.compressed_bytes:
            return _problem(413, "too_large", "it is too large as it is sent", limit=self.limits.compressed_bytes)
        try:
            if headers.get("content-encoding") == "gzip":
                body = packing.expand(body, "gzip", self.limits.bytes)
        except packing.TooLarge:
            return _problem(413, "too_large", "expanded it is too large", limit=self.limits.bytes)
        if len(body) > self.limits.bytes:
            return _problem(413, "too_large", "it is too large", limit=self.limits.bytes)
        if self.bytes_in_time is not None and len(body) > self.bytes_in_time:
            return _problem(408, "too_slow", "a body has to be there in time", limit=30)
        return body

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        with self._lock:
            self.requests.append((method, path, json.loads(body) if body else None))
            if path == wire.PATH_ENROL:
                return self._enrol(msgspec.json.decode(body, type=wire.EnrolRequest))
            if path == wire.PATH_REFRESH:
                return self._refresh(msgspec.json.decode(body, type=wire.RefreshRequest))
            rid = self.tokens.get(headers.get("authorization", "").removeprefix("Bearer "))
            if rid is None:
                return _problem(401, "token_expired", "the token is no longer good")
            if path == "/v1/catalog":
                return _ok(self.state.catalog)
            if path == wire.PATH_PUSH:
                return self._push(rid, wire.decode_push(body, self.limits))
            return self._pull(rid, msgspec.json.decode(body, type=wire.PullRequest))

    def _enrol(self, asked: wire.EnrolRequest) -> Answer:
        if asked.code != CODE:
            return _problem(403, "bad_code", "the code is not known")
        rid = max(FIRST_DEVICE, *self.state.replicas) + 1
        self.state.replicas[rid] = Replica(rid, "device")
        token, refresh = self._tokens(rid)
        version = self.state.catalog.version
        return _ok(wire.EnrolAnswer(f"replica-{rid}", rid, token, refresh, self.epoch, version, self.limits))

    def _tokens(self, rid: int) -> tuple[str, str]:
        token, refresh = f"token-{rid}-{len(self.tokens)}", f"refresh-{rid}-{len(self.refreshes)}"
        self.tokens[token] = self.refreshes[refresh] = rid
        return token, refresh

    def _refresh(self, asked: wire.RefreshRequest) -> Answer:
        rid = self.refreshes.get(asked.refresh)
        if rid is None:
            return _problem(401, "refresh_expired", "enrol again")
        return _ok(wire.RefreshAnswer(*self._tokens(rid), self.epoch))

    def _push(self, rid: int, asked: wire.PushRequest) -> Answer:
        if asked.epoch != self.epoch:
            return self._other_epoch(rid)
        served = self._position(asked.cursor) if asked.cursor else 0
        mutations = asked.mutations[: self.judged_at_once]
        submission = Submission(rid=rid, person=ANA, authority="device", mutations=mutations, served=served)
        told = hub.judge(self.state, submission)
        if told.problem is not None:
            return _problem(403 if told.problem == "fenced" else 409, told.problem, "nothing was judged")
        return _ok(
            wire.PushAnswer(
                epoch=self.epoch,
                applied=told.applied,
                verdicts=told.verdicts,
                now=0,
                limits=self.limits,
                durable=self.durable,
                expected=told.expected,
                retry_after_ms=self.retry_after_ms,
            )
        )

    def _other_epoch(self, rid: int) -> Answer:
        more = {"epoch": self.epoch, "applied": self.state.replicas[rid].applied, "position": self.position}
        return _problem(409, "epoch_changed", "the server was restored", **more)

    def _position(self, cursor: str | None) -> int:
        return int(cursor.split("@")[0]) if cursor else 0

    def _pull(self, rid: int, asked: wire.PullRequest) -> Answer:
        if asked.cursor and asked.cursor.split("@")[1] != self.epoch:
            return _problem(409, "epoch_changed", "the server was restored", epoch=self.epoch)
        after = self._position(asked.cursor)
        rows = [row for row in self.state.effects.feed if row.commit_seq > after and row.reader in (ANA, "all")]
        ends = sorted({row.commit_seq for row in rows})
        page = ends[: self.limits.page]
        commits = tuple(
            wire.Commit(seq=end, changes=tuple(self._change(row) for row in rows if row.commit_seq == end))
            for end in page
        )
        more = len(ends) > len(page)
        position = page[-1] if page else after
        return _ok(
            wire.PullAnswer(
                epoch=self.epoch,
                commits=commits,
                cursor=f"{position}@{self.epoch}",
                more=more,
                complete={"job": not more},
                applied=self.state.replicas[rid].applied,
                durable=self.durable,
                retry_after_ms=self.retry_after_ms,
            )
        )

    def _change(self, row: Any) -> wire.Change:
        of_record = [
            change
            for change in self.state.effects.changes
            if (change.collection, change.record_id) == (row.collection, row.record_id) and change.seq <= row.seq
        ]
        last = of_record[-1]
        fields = last.state if row.op in ("put", "enter") else msgspec.UNSET
        return wire.Change(op=row.op, collection=row.collection, id=row.record_id, rev=last.seq, fields=fields)

    # Ways to reach it.

    def client(self) -> httpx.AsyncClient:
        """An httpx client that reaches this hub without a socket, through the queued faults."""

        async def handle(request: httpx.Request) -> httpx.Response:
            fault = self.faults.popleft() if self.faults else ""
            if fault == "lost_request":
                raise httpx.ConnectError("no network")
            if isinstance(fault, tuple):
                return httpx.Response(fault[0], headers=fault[1], content=fault[2])
            status, headers, body = self.answer(
                request.method, request.url.path, dict(request.headers), await request.aread()
            )
            if fault == "lost_answer":
                raise httpx.ReadTimeout("no answer")
            return httpx.Response(status, headers=headers, content=body)

        return httpx.AsyncClient(transport=httpx.MockTransport(handle))

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve on a free port of the loopback, and give the URL."""
        hub_ = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, told, content = hub_.answer(self.command, self.path, headers, body)
                self.send_response(status)
                for name, value in {**told, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            # The server looks its methods up by the names of HTTP's.
            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing: the test says what it sees."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _ok(body: msgspec.Struct) -> Answer:
    return 200, {"content-type": "application/json"}, msgspec.json.encode(body)


def _problem(status: int, code: str, detail: str, **more: Any) -> Answer:
    document = {"type": "about:blank", "status": status, "code": code, "detail": detail, **more}
    return status, {"content-type": "application/problem+json"}, msgspec.json.encode(document)


class Clockwork:
    """A machine whose time passes only in sleep, and whose chance is always one half."""

    def __init__(self) -> None:
        """Begin at some moment."""
        self.now = 1_700_000_000_000
        self.slept: list[float] = []
        self.ids = 0

    def machine(self) -> Machine:
        """The machine that this drives."""
        return Machine(
            now_ms=lambda: self.now,
            mono_ms=lambda: self.now,
            sleep=self.sleep,
            jitter=lambda: 0.5,
            new_id=self.new_id,
            zone="Europe/Zurich",
        )

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and let others run."""
        self.slept.append(seconds)
        self.now += round(seconds * 1000)
        await asyncio.sleep(0)

    def new_id(self) -> str:
        """The next id."""
        self.ids += 1
        return f"10000000-0000-4000-8000-{self.ids:012d}"
