"""Requests: what is repeated, how long it waits, and what a refusal is called."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

import httpx
import msgspec
import pytest

from clients import errors, transport
from clients.transport import USUAL, Call, Speech, Transport, Waiting
from replication import packing, wire
from replication.versions import Dot

NOW_MS = 1_700_000_000_000


class Line:
    """A server that answers from a list, and a transport that reaches it."""

    def __init__(self, *answers: httpx.Response | Exception, jitter: float = 0.5, speech: Speech = USUAL) -> None:
        """Give these answers, one by one."""
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.handle))
        waiting = Waiting(now_ms=lambda: NOW_MS, sleep=self.sleep, jitter=lambda: jitter)
        self.transport = Transport("http://hub/", waiting, client, speech)

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Give the next answer."""
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        """Note how long was waited."""
        self.slept.append(seconds)


OK = httpx.Response(200, content=b'{"a": 1}')
PUSH = Call(method="POST", path="/v1/sync/push", body={"x": None}, token="t")
ONCE = Call(method="POST", path="/v1/devices/enrol", repeatable=False)


def problem(status: int, code: str, **more: Any) -> httpx.Response:
    """A problem document."""
    return httpx.Response(status, json={"code": code, "detail": "because", **more})


async def test_request_is_written_as_the_protocol_asks() -> None:
    """Method, path, query, JSON body and bearer token arrive; the time for an answer is bounded."""
    line = Line(OK)
    call = Call(
        method="POST", path="/v1/x", body={"b": [None]}, query={"q": "ä"}, headers={"if-match": '"4"'}, token="t"
    )

    reply = await line.transport.send(call)

    (request,) = line.requests
    assert str(request.url) == "http://hub/v1/x?q=%C3%A4"
    assert request.content == b'{"b":[null]}'
    assert (request.headers["authorization"], request.headers["if-match"]) == ("Bearer t", '"4"')
    assert request.headers["content-type"] == "application/json"
    assert request.extensions["timeout"]["read"] == transport.ANSWER_SECONDS_MAX
    assert reply.decode(dict[str, int]) == {"a": 1}


async def test_long_poll_waits_longer_for_its_answer() -> None:
    """The time for an answer grows by what the server was asked to hold it back."""
    line = Line(OK)

    await line.transport.send(Call(method="GET", path="/", wait_ms=20_000))

    assert line.requests[0].extensions["timeout"]["read"] == transport.ANSWER_SECONDS_MAX + 20


@pytest.mark.parametrize("status", sorted(transport.TRANSIENT))
async def test_transient_trouble_is_waited_out(status: int) -> None:
    """What says nothing about the request is no reason to give it up; the pauses grow."""
    line = Line(*[httpx.Response(status)] * 3, OK)

    await line.transport.send(PUSH)

    assert line.slept == [0.125, 0.25, 0.5]


@pytest.mark.parametrize("fault", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")])
async def test_lost_network_is_waited_out_and_then_told(fault: Exception) -> None:
    """Attempts have an end; the error names the request and keeps its cause."""
    line = Line(*[fault] * transport.ATTEMPTS_MAX)

    with pytest.raises(errors.Unreachable, match="/v1/sync/push") as caught:
        await line.transport.send(PUSH)

    assert len(line.requests) == transport.ATTEMPTS_MAX
    assert caught.value.__cause__ is fault


async def test_server_that_stays_busy_is_unreachable() -> None:
    """A server that cannot answer now, to the last attempt, has refused nothing."""
    line = Line(*[problem(503, "overloaded")] * transport.ATTEMPTS_MAX)

    with pytest.raises(errors.Unreachable, match="overloaded"):
        await line.transport.send(PUSH)


async def test_pauses_do_not_grow_for_ever() -> None:
    """The longest pause has a limit."""
    line = Line(*[httpx.Response(500)] * transport.ATTEMPTS_MAX, jitter=1.0)

    with pytest.raises(errors.Unreachable):
        await line.transport.send(PUSH)

    assert line.slept[-1] <= transport.WAIT_MS_MAX / 1000


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (httpx.Response(429, headers={"retry-after": "7"}), 7),
        (httpx.Response(503, headers={"retry-after": formatdate(NOW_MS / 1000 + 9, usegmt=True)}), 9),
        (httpx.Response(503, headers={"retry-after": formatdate(NOW_MS / 1000 - 9, usegmt=True)}), 0),
        (problem(429, "busy", retry_after_ms=1500), 1.5),
        (problem(429, "busy", retry_after_ms=10**9), transport.TOLD_WAIT_MS_MAX / 1000),
    ],
    ids=["seconds", "date", "past date", "body", "absurd"],
)
async def test_told_pause_is_kept(answer: httpx.Response, seconds: float) -> None:
    """The server says how long; the device waits that long and a little more, each its own."""
    line = Line(answer, OK)

    await line.transport.send(PUSH)

    assert line.slept == [seconds + 0.125]


@pytest.mark.parametrize("header", ["soon", "", "-3"])
async def test_unreadable_pause_is_no_pause_told(header: str) -> None:
    """A header that says nothing leaves the device to its own judgement."""
    line = Line(httpx.Response(503, headers={"retry-after": header}), OK)

    await line.transport.send(PUSH)

    assert line.slept == [0.125]


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (httpx.ConnectError("never arrived"), True),
        (httpx.ConnectTimeout("never arrived"), True),
        (httpx.Response(503), True),
        (httpx.Response(429), True),
        (httpx.ReadTimeout("may have arrived"), False),
        (httpx.Response(500), False),
        (httpx.Response(502), False),
    ],
)
async def test_unsafe_request_is_repeated_only_if_nothing_was_done(
    fault: httpx.Response | Exception,
    again: bool,
) -> None:
    """What must not happen twice is sent again only where it cannot have happened."""
    line = Line(fault, OK)

    if again:
        await line.transport.send(ONCE)
    else:
        with pytest.raises(errors.Unreachable):
            await line.transport.send(ONCE)

    assert len(line.requests) == 1 + again


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (problem(409, "replica_forked"), errors.ReplicaForked),
        (problem(409, "epoch_changed", epoch="e"), errors.EpochChanged),
        (problem(403, "fenced"), errors.Fenced),
        (problem(401, "token_expired"), errors.NotAuthorised),
        (problem(400, "bad_request"), errors.Refused),
        (problem(413, "too_large"), errors.TooMuch),
        (httpx.Response(413, content=b"<html>"), errors.TooMuch),
        (httpx.Response(404, content=b"<html>"), errors.Refused),
        (httpx.Response(404, content=b"[1]"), errors.Refused),
    ],
    ids=["forked", "epoch", "fenced", "token", "bad request", "large", "large by a proxy", "page", "list"],
)
async def test_refusal_has_a_name(answer: httpx.Response, kind: type[errors.Refused]) -> None:
    """A refusal is not repeated, and is raised as what it is."""
    line = Line(answer)

    with pytest.raises(errors.Refused) as caught:
        await line.transport.send(PUSH)

    assert type(caught.value) is kind
    assert caught.value.status == answer.status_code
    assert len(line.requests) == 1


async def test_refusal_carries_the_document() -> None:
    """What the problem says beside its code is there for the caller."""
    line = Line(problem(409, "epoch_changed", epoch="e2", applied=4))

    with pytest.raises(errors.EpochChanged, match="because") as caught:
        await line.transport.send(PUSH)

    assert caught.value.document["applied"] == 4


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a": "x"}'])
async def test_answer_of_another_shape_is_unintelligible(body: bytes) -> None:
    """A success that is no message of the protocol is named as such."""
    reply = await Line(httpx.Response(200, content=body)).transport.send(PUSH)

    with pytest.raises(errors.Unintelligible):
        reply.decode(dict[str, int])


@pytest.mark.parametrize(("told", "slept"), [(0, []), (1500, [1.5]), (10**9, [transport.TOLD_WAIT_MS_MAX / 1000])])
async def test_pause_asked_for_in_a_success_is_kept(told: int, slept: list[float]) -> None:
    """A server under load asks for a pause in its answers too; an absurd one is cut."""
    line = Line()

    await line.transport.pause(told)

    assert line.slept == slept


async def test_own_client_is_closed_and_a_given_one_is_not() -> None:
    """Who makes the connections closes them."""
    given = httpx.AsyncClient()
    waiting = Waiting(now_ms=lambda: 0, sleep=Line().sleep, jitter=lambda: 0.0)

    own, other = Transport("http://hub", waiting), Transport("http://hub", waiting, given)
    await own.close()
    await other.close()

    assert own._client.is_closed
    assert not given.is_closed
    await given.aclose()


PACKED = Speech(form="msgpack", coding="zstd")
LONG = {"b": ["the same"] * 1_000}


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_what_is_long_is_compressed(coding: packing.Coding) -> None:
    """A long body is sent compressed, and says how; a short one goes as it is."""
    line = Line(OK, OK, speech=Speech(form="json", coding=coding))

    await line.transport.send(Call(method="POST", path="/", body=LONG))
    await line.transport.send(PUSH)

    long, short = line.requests
    assert long.headers["content-encoding"] == coding
    assert msgspec.json.decode(packing.expand(long.content, coding, 100_000)) == LONG
    assert "content-encoding" not in short.headers
    assert long.headers["accept-encoding"] == coding


async def test_messagepack_is_spoken_and_read() -> None:
    """The same message in another form: keys that are numbers come as texts, as in JSON."""
    told = {"dot": [3, 9], "seq": 4, "vv": {"3": 9}}
    body = packing.compress(msgspec.msgpack.encode(told), "zstd")
    headers = {"content-type": "application/msgpack", "content-encoding": "zstd"}
    line = Line(httpx.Response(200, content=body, headers=headers), speech=PACKED)

    reply = await line.transport.send(PUSH)

    (request,) = line.requests
    assert (request.headers["accept"], request.headers["content-type"]) == ("application/msgpack",) * 2
    assert msgspec.msgpack.decode(request.content) == {"x": None}
    assert reply.decode(wire.CellVersion) == wire.CellVersion(Dot(3, 9), 4, {3: 9})


@pytest.mark.parametrize("body", [packing.compress(b"\x80", "zstd")[:-1], b"\xc1", b"\x81\xa1a\xa1x", b""])
async def test_broken_messagepack_is_unintelligible(body: bytes) -> None:
    """Cut off, no MessagePack at all, or of another shape: named as such, as with JSON."""
    headers = {"content-type": "application/msgpack", "content-encoding": "zstd"}
    line = Line(httpx.Response(200, content=body, headers=headers), speech=PACKED)

    with pytest.raises(errors.Unintelligible):
        (await line.transport.send(PUSH)).decode(dict[str, int])
