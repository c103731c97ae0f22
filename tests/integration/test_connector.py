"""The connector against vendors over real HTTP: what is sent, what answers mean, how lists are read."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import httpcore
import pytest

from tests.integration.connectors import KEY, MEANS, Trial, clock, database, http, odd, trial
from tests.integration.test_budgets import Clock
from tests.peers import odd_vendor
from tests.peers.odd_vendor import Odd, Says, Seen
from upstream.calls import Call, Unsent
from upstream.transport import Http

__all__ = ["clock", "database", "http", "odd", "trial"]  # fixtures for the tests of this file

# What is sent.

WRITES = (
    KEY
    + """
[operations.create]
method = "POST"
path = "/v1/${config.url}/items"
effect = "write"
headers = { "X-Note" = "${value.note}" }
handle = { place = "header", name = "Idempotency-Key" }
answer = { item = "made", id = "id", version = "v" }

[operations.create.body]
kind = "json"
under = "data.rows"
in_list = true
leave_out = ["note"]
item_add = { "a.version" = "${remote.version}" }
add = { "data.mode" = "x-${value.note}" }

[operations.update]
method = "PUT"
path = "/v1/items/${remote.id}"
effect = "write"
body = { kind = "form" }
handle = { place = "body", name = "requestid" }

[operations.find]
method = "GET"
path = "/query"
effect = "read"
query = { q = "select * from Item where Mark = '${value.mark}'" }
handle = { place = "query", name = "requestid" }
answer = { items = "rows" }
"""
)


async def test_an_operation_becomes_a_request(trial: Trial, odd: Odd) -> None:
    """Path, headers, body and key are what the manifest says, and the answer's id and version are found."""
    calling = await trial.connector(WRITES, odd.url)
    odd.answers = [Says(201, {"made": {"id": 17, "v": "3"}})]

    reply = await calling.call("create", {"name": "Ångström", "note": "n1"}, remote={"version": "2"}, key="k-1")

    (seen,) = odd.seen
    assert seen.path == f"/v1/{odd.url.replace(':', '%3A').replace('/', '%2F')}/items"
    assert seen.json == {"data": {"rows": [{"name": "Ångström", "a": {"version": "2"}}], "mode": "x-n1"}}
    assert (seen.headers["x-note"], seen.headers["idempotency-key"]) == ("n1", "k-1")
    assert seen.headers["x-api-key"] == "key-9c41"
    assert (reply.kind, reply.id, reply.version, reply.sent) == ("ok", "17", "3", True)


async def test_a_form_and_a_key_in_its_body(trial: Trial, odd: Odd) -> None:
    """A form is encoded as forms are, and bears the key where the vendor looks for it."""
    calling = await trial.connector(WRITES, odd.url)

    await calling.call("update", {"a": "b & c", "on": True}, remote={"id": "4/../5"}, key="k-2")

    assert odd.seen[0].path == "/v1/items/4%2F..%2F5"
    assert odd.seen[0].body == b"a=b+%26+c&on=true&requestid=k-2"


async def test_a_value_cannot_leave_its_quotes(trial: Trial, odd: Odd) -> None:
    """A value inside a query language cannot end the quotes that it stands in."""
    calling = await trial.connector(WRITES, odd.url)
    odd.answers = [Says(200, {"rows": [{"id": 1}]})]

    reply = await calling.call("find", {"mark": "x' or '1'='1"}, key="k-3")

    assert odd.seen[0].query == {"q": r"select * from Item where Mark = 'x\' or \'1\'=\'1'", "requestid": "k-3"}
    assert reply.items == [{"id": 1}]


@pytest.mark.parametrize("remote", [{}, {"id": ""}, {"id": ".."}])
async def test_a_hole_that_nothing_fills_stops_the_call(trial: Trial, odd: Odd, remote: dict[str, str]) -> None:
    """Without an id, or with one that names another place, nothing is sent."""
    calling = await trial.connector(WRITES, odd.url)

    reply = await calling.call("update", {}, remote=remote)

    assert (reply.kind, reply.code, reply.sent) == ("data", "value_missing", False)
    assert "${remote.id}" in reply.message
    assert odd.seen == []


# What answers mean.

ANSWERS = [
    (Says(200, {"id": 1}), "ok", "ok"),
    (Says(401, {}), "auth", "auth"),
    (Says(403, {}), "config", "config"),
    (Says(403, [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "over"}]), "throttled", "throttled"),
    (Says(400, [{"errorCode": "DUPLICATE_VALUE"}]), "duplicate", "duplicate"),
    (Says(200, {"errors": [{"extensions": {"code": "THROTTLED"}}]}), "throttled", "throttled"),
    (Says(200, {"errors": [{"message": "no such field"}]}), "data", "data"),
    (Says(200, {"errors": [], "id": 1}), "ok", "ok"),
    (Says(400, {"Fault": {"code": "5010"}}), "conflict", "conflict"),
    (Says(404, {}), "not_found", "not_found"),
    (Says(409, {}), "conflict", "conflict"),
    (Says(410, {}), "gone", "gone"),
    (Says(422, {}), "data", "data"),
    (Says(429, {}), "throttled", "throttled"),
    (Says(301, {}, {"location": "https://elsewhere.example/"}), "config", "config"),
    (Says(302, {}, {"location": "https://elsewhere.example/"}), "config", "unknown"),
    (Says(303, {}, {"location": "https://elsewhere.example/things/1"}), "config", "unknown"),
    (Says(307, {}, {"location": "https://elsewhere.example/"}), "config", "config"),
    (Says(500, {}), "transient", "unknown"),
    (Says(502, b"<html>"), "transient", "unknown"),
    (Says(503, {}), "transient", "transient"),
    (Says(200, b"<html>maintenance"), "transient", "ok"),
    (Says(206, {"id": 1}), "transient", "unknown"),
]


@pytest.mark.parametrize(("says", "read", "write"), ANSWERS)
async def test_what_an_answer_means(trial: Trial, odd: Odd, clock: Clock, says: Says, read: str, write: str) -> None:
    """Status and body together decide, the first rule that fits; without a rule a write is never guessed."""
    calling = await trial.connector(MEANS, odd.url)
    odd.reacts = lambda seen: Says() if seen.path == "/ping" else says

    first = await calling.call("read", {})
    clock.now += 3_600_000
    second = await calling.call("write", {"a": 1})

    assert (first.kind, second.kind) == (read, write)


async def test_an_error_is_told_in_the_vendors_words(trial: Trial, odd: Odd) -> None:
    """Code, message and fields of an error are found where the manifest says they stand."""
    calling = await trial.connector(MEANS, odd.url)
    odd.answers = [Says(400, [{"errorCode": "BAD_VALUE", "message": "no", "fields": ["Phone"]}])]

    reply = await calling.call("write", {})

    assert (reply.kind, reply.code, reply.message, reply.fields) == ("data", "BAD_VALUE", "no", {"": ["Phone"]})


@pytest.mark.parametrize(
    ("says", "hangs"),
    [(b"", False), (b"HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{", False), (b"", True)],
)
async def test_no_answer_is_no_proof(trial: Trial, says: bytes, hangs: bool) -> None:
    """A write that went out and has no whole answer is unknown; a read can be asked again."""
    async with odd_vendor.breaking(says, hangs=hangs) as (url, taken):
        calling = await trial.connector(MEANS.replace('path = "/thing"', 'path = "/thing"\nseconds = 0.4', 1), url)
        written = await calling.call("write", {"a": 1})
        read = await calling.call("read", {})

    assert (written.kind, written.sent, read.kind) == ("unknown", True, "transient")
    assert len(taken) == 2


async def test_what_never_left_was_not_sent(trial: Trial, unused_tcp_port: int) -> None:
    """A peer that cannot be reached has not been told anything, which is certain."""
    calling = await trial.connector(MEANS, f"http://127.0.0.1:{unused_tcp_port}")

    reply = await calling.call("write", {"a": 1})

    assert (reply.kind, reply.code, reply.sent) == ("transient", "unreachable", False)


async def test_an_answer_without_end(trial: Trial, odd: Odd) -> None:
    """An answer over the limit is not read on, packed or unpacked."""
    calling = await trial.connector(MEANS, odd.url)
    packed = gzip.compress(b'{"id": "' + b"x" * 5_000_000 + b'"}')
    odd.answers = [Says(200, b"y" * 200_000), Says(200, packed, {"content-encoding": "gzip"})]

    found = [await calling.call("read", {}) for _ in range(2)]

    assert [(reply.kind, "larger than 100000 bytes" in reply.message) for reply in found] == [("transient", True)] * 2


async def test_a_packed_answer_is_read(trial: Trial, odd: Odd) -> None:
    """A vendor may pack its answers."""
    calling = await trial.connector(MEANS, odd.url)
    odd.answers = [Says(200, gzip.compress(b'{"id": "7"}'), {"content-encoding": "gzip"})]

    assert (await calling.call("read", {})).id == "7"


async def test_inner_addresses_are_not_called(trial: Trial, odd: Odd) -> None:
    """Without leave for trials, no vendor may stand on this machine or inside the network."""
    trial.http = Http()
    for url in (
        odd.url,
        odd.url.replace("http:", "https:"),
        "https://10.0.0.1",
        "https://localhost:1",
        "https://[::1]",
    ):
        reply = await (await trial.connector(MEANS, url)).call("write", {})
        assert (reply.kind, reply.code, reply.sent) == ("config", "forbidden_address", False)
    await trial.http.close()

    assert odd.seen == []


@pytest.mark.parametrize("key", ['TOPSECRET"99\n', "TOPSECRET\0it's", "TOPSECRET-é", "TOPSECRET-☃", " TOPSECRET"])
async def test_what_http_cannot_carry_is_named_and_never_shown(trial: Trial, odd: Odd, key: str) -> None:
    """A credential that no header has a place for is told of by the header's name: nobody reads any of it."""
    calling = await trial.connector(MEANS, odd.url, key=key)

    reply = await calling.call("write", {"a": 1})

    assert (reply.kind, reply.code, reply.sent, odd.seen) == ("config", "unwritable", False, [])
    assert "x-api-key" in reply.message
    assert "TOPSECRET" not in repr(reply)


@pytest.mark.parametrize("host", ["[::1", "[TOPSECRET]", "x:TOPSECRET", "TOPSECRET\n", "☃.é", "a..b"])
async def test_an_address_that_is_none_is_not_called_and_not_quoted(trial: Trial, host: str) -> None:
    """What no URL can be is no mistake of ours, and what stands in it may be a secret."""
    reply = await (await trial.connector(MEANS, f"https://{host}/")).call("write", {"a": 1})

    assert not reply.sent
    assert reply.code in ("forbidden_address", "unreachable")
    assert "TOPSECRET" not in reply.message


async def test_a_redirect_is_not_followed(trial: Trial, odd: Odd) -> None:
    """Credentials do not go where a vendor's answer says, neither elsewhere nor on the same host."""
    odd.reacts = lambda _: Says(307, {}, {"location": "/elsewhere" if len(odd.seen) % 2 else "http://10.0.0.1/"})

    found = [await (await trial.connector(MEANS, odd.url)).call("write", {}) for _ in range(2)]

    assert [reply.status for reply in found] == [307, 307]
    assert [seen.path for seen in odd.seen] == ["/thing", "/thing"]


async def test_a_name_is_called_at_the_addresses_that_were_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look-up for each connection: what it says is checked whole and connected to, and the name no more."""
    looked: list[str] = []
    connected: list[str] = []
    answers = [["93.184.215.14"], ["93.184.215.14", "10.0.0.7"], ["169.254.169.254"]]

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        looked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in answers[len(looked) - 1]]

    async def connect_tcp(_self: Any, host: str, *_: Any, **__: Any) -> Any:
        connected.append(host)
        raise httpcore.ConnectError("nobody is there")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    http = Http()
    call = Call(method="GET", url="https://vendor.example/ping")

    found = [await http.send(call, seconds=5) for _ in answers]
    await http.close()

    assert looked == ["vendor.example"] * 3
    assert connected == ["93.184.215.14"]
    assert [isinstance(each, Unsent) and each.why for each in found] == ["peer", "forbidden", "forbidden"]


# Lists.

LISTS = """
[operations.listed]
method = "GET"
path = "/list"
effect = "read"
answer = { items = "rows" }
query = { since = "${value.since}" }
"""
KINDS = {
    "cursor": '{ kind = "cursor", param = "after", next = "next" }',
    "next_url": '{ kind = "next_url", next = "next" }',
    "link": '{ kind = "link" }',
    "offset": '{ kind = "offset", param = "start", size_param = "max", size = 2 }',
    "page": '{ kind = "page", param = "page", size_param = "per", size = 2 }',
    "counted": '{ kind = "page", param = "page", size = 50, last_header = "X-Total-Pages" }',
}


def listed(kind: str, seen: Seen) -> Says:
    """Answer as a vendor with five rows does, two a page."""
    query = seen.query
    begin = {
        "cursor": lambda: int(query.get("after", 0)),
        "next_url": lambda: int(query.get("p", 0)),
        "link": lambda: int(query.get("p", 0)),
        "offset": lambda: int(query["start"]),
        "page": lambda: (int(query["page"]) - 1) * int(query["per"]),
        "counted": lambda: (int(query["page"]) - 1) * 2,
    }[kind]()
    after = begin + 2 if begin + 2 < 5 else None
    body: dict[str, Any] = {"rows": list(range(5))[begin : begin + 2]}
    headers = {"x-total-pages": "3"}
    if kind == "cursor":
        body["next"] = after
    if kind == "next_url" and after:
        body["next"] = f"/list?p={after}&since=s"
    if kind == "link" and after:
        headers["link"] = f'</first>; rel="first", </list?p={after}&since=s>; rel="next"'
    return Says(200, body, headers)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_list_is_read_to_its_end(trial: Trial, odd: Odd, kind: str) -> None:
    """Whatever a vendor does to tell its pages apart, all rows come, each once."""
    calling = await trial.connector(KEY + LISTS + f"pagination = {KINDS[kind]}\n", odd.url)
    odd.reacts = lambda seen: listed(kind, seen)

    replies = [reply async for reply in calling.pages("listed", {"since": "s"})]

    assert [row for reply in replies for row in reply.items] == [0, 1, 2, 3, 4]
    assert {seen.query["since"] for seen in odd.seen} == {"s"}
    assert all(seen.headers["x-api-key"] == "key-9c41" for seen in odd.seen)


async def test_a_page_at_another_host_is_not_asked_for(trial: Trial, odd: Odd) -> None:
    """Credentials do not go where an answer says, if that is another host."""
    calling = await trial.connector(KEY + LISTS + f"pagination = {KINDS['next_url']}\n", odd.url)
    odd.answers = [Says(200, {"rows": [1], "next": "http://127.0.0.1:9/list"})]

    replies = [reply async for reply in calling.pages("listed", {"since": "s"})]

    assert [reply.kind for reply in replies] == ["ok", "config"]
    assert "not the host" in replies[1].message


async def test_a_list_that_goes_in_circles_ends(trial: Trial, odd: Odd) -> None:
    """A vendor that names the same page for ever is not asked for ever."""
    calling = await trial.connector(KEY + LISTS + f"pagination = {KINDS['cursor']}\n", odd.url)
    odd.reacts = lambda _seen: Says(200, {"rows": [1], "next": "again"})

    replies = [reply async for reply in calling.pages("listed", {"since": "s"})]

    assert [(reply.kind, reply.code) for reply in replies][-1] == ("config", "endless_list")
    assert len(odd.seen) == 2


# What is kept for people.


async def test_no_secret_is_kept_for_people(trial: Trial, odd: Odd) -> None:
    """Neither request nor answer shows a secret, a token, or what nobody has to see; long things are cut."""
    calling = await trial.connector(MEANS, odd.url)
    echo = {"echo": "key-9c41", "ssn": "123-45-6789", "access_token": "tok-1", "long": "z" * 5_000, "name": "Ana"}
    odd.answers = [Says(422, echo, {"set-cookie": "s=1"})]

    reply = await calling.call(
        "write", {"password": "hunter22", "bank_account": "77", "name": "Ana", "n": list(range(99))}
    )

    kept = reply.request + reply.raw
    for secret in ("key-9c41", "123-45-6789", "tok-1", "hunter22", '"77"', "z" * 600):
        assert secret not in kept
    assert kept.count("Ana") == 2
    assert "79 more" in kept
