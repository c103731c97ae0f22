"""Webhooks to tenants, over real HTTP: signed, tried again over days, told again, and never led astray."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from tests.integration.service import ANA, KEYS, Service, problem, uid
from tests.peers.receiver import Receiver
from upstream import posting, webhooks
from upstream.places import Limits
from upstream.posting import DISABLE_SECONDS, SCHEDULE_SECONDS, Posting
from upstream.transport import Http


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give somebody who listens."""
    made = Receiver()
    async with made.server:
        yield made


class Office:
    """An administrator with one endpoint, and the worker that tells it."""

    def __init__(self, service: Service, admin: Any, http: Http) -> None:
        self.service, self.admin, self.http = service, admin, http
        self.posting = Posting(service.database, str(uuid4()), http, KEYS, jitter=lambda: 0.0)
        self.id, self.secret = "", ""

    async def add(self, url: str, *types: str) -> dict[str, Any]:
        """Add an endpoint."""
        answer = await self.admin.post("/v1/webhooks", json={"url": url, "types": types or ["*"]})
        assert answer.status_code == 200, answer.text
        self.id, self.secret = answer.json()["endpoint"]["id"], answer.json()["secret"]
        return answer.json()

    async def work(self) -> None:
        """Tell what is due."""
        tenants = [self.service.tenant]
        while await self.posting.gather(tenants):
            pass
        while await self.posting.turn(tenants):
            pass

    async def run(self, statement: str, *arguments: Any) -> Any:
        """Run a statement; return its first value."""
        async with self.service.database.transaction(self.service.tenant) as session:
            return await session.fetchval(statement, *arguments)

    async def shown(self) -> dict[str, Any]:
        """Return the endpoint."""
        return (await self.admin.get(f"/v1/webhooks/{self.id}")).json()

    async def messages(self, **query: str) -> list[dict[str, Any]]:
        """Return what it was told or will be."""
        return (await self.admin.get(f"/v1/webhooks/{self.id}/messages", params=query)).json()["items"]


@pytest.fixture
async def office(service: Service) -> AsyncIterator[Office]:
    """Give an administrator."""
    http = Http(allow_loopback=True)
    yield Office(service, service.client(await service.token(role="admin")), http)
    await http.close()


async def test_a_change_is_told_signed_so_that_others_believe_it(office, receiver):
    """What changed from now on is told, with the fields, in a form that the library of Standard Webhooks takes."""
    desk = await office.service.office()
    await desk.create(1, title="before")
    await office.add(receiver.url, "record.changed")
    made = await desk.create(2, title="Boiler")
    await office.work()

    told = receiver.verified(office.secret)
    assert len(receiver.came) == 1
    assert told["type"] == "record.changed"
    assert told["data"]["id"] == uid(2)
    assert (told["data"]["rev"], told["data"]["fields"]["title"]) == (made["rev"], "Boiler")
    assert receiver.came[0].headers["webhook-id"] == (await office.messages())[0]["id"]


async def test_another_secret_is_not_believed(office, receiver):
    """The library refuses what is verified with somebody else's secret."""
    other = await office.add(f"{receiver.url}/other", "ping")
    await office.add(receiver.url, "ping")
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    await office.work()

    with pytest.raises(WebhookVerificationError):
        receiver.verified(other["secret"])
    assert receiver.verified(office.secret)["type"] == "ping"


async def test_during_a_rotation_both_secrets_verify(office, receiver):
    """Messages bear two signatures until the overlap ends, and one after it."""
    await office.add(receiver.url)
    before = office.secret
    rotated = await office.admin.post(f"/v1/webhooks/{office.id}/rotate", json={"overlap_seconds": 60})
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    await office.work()
    both = [receiver.verified(secret)["type"] for secret in (before, rotated.json()["secret"])]
    await office.run("UPDATE endpoints SET old_until = now() - interval '1 second' RETURNING 1")
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    await office.work()

    assert both == ["ping", "ping"]
    assert receiver.verified(rotated.json()["secret"])["type"] == "ping"
    with pytest.raises(WebhookVerificationError):
        receiver.verified(before)


async def test_what_is_told_is_what_was_asked_for(office, receiver):
    """A subscription to the changes of one collection hears of no other, and of no conflict."""
    await office.add(receiver.url, "record.changed.customers")
    desk = await office.service.office()
    await desk.create(1, title="Boiler")
    await desk.create(2, "customers", name="Meier")
    await office.work()

    assert [json.loads(request.body)["data"]["collection"] for request in receiver.came] == ["customers"]


async def test_a_conflict_is_told_once(office, receiver):
    """However often it is looked."""
    desk = await office.service.office()
    made = await desk.create(1, title="Boiler", assignee_id=ANA)
    await office.add(receiver.url, "conflict.opened")
    phone = await office.service.device()
    await phone.pull()
    await desk.change(1, made["rev"], title="Office")
    await phone.settled(phone.edit(1, set={"title": "Phone"}))
    for _ in range(3):
        await office.work()

    assert receiver.types == ["conflict.opened"]
    assert receiver.verified(office.secret)["data"]["cell"] == "title"


async def test_more_conflicts_under_one_number_than_are_told_in_a_turn(office, receiver, monkeypatch):
    """Writes that lose take no number: however many conflicts have the same one, each is told, once."""
    monkeypatch.setattr(webhooks, "ROWS_PER_TURN", 3)
    await office.add(receiver.url, "conflict.opened")
    seq = await office.run("SELECT changes_seq FROM message_positions")
    insert = (
        "INSERT INTO conflicts (tenant_id, conflict_id, seq, collection, record_id, cell, rule, state, entry)"
        " SELECT $1, $2 || n, $3, 'work_orders', gen_random_uuid(), 'title', 'rank', 'decided', '' "
        "FROM generate_series(1, 8) AS n"
    )
    await office.run(insert, office.service.tenant, "first", seq)
    await office.work()
    await office.run(insert, office.service.tenant, "second", seq + 1)
    for _ in range(4):
        await office.work()

    told = [json.loads(request.body)["data"]["conflict"] for request in receiver.came]
    assert sorted(told) == sorted(f"{which}{n}" for which in ("first", "second") for n in range(1, 9))


async def test_more_dead_deliveries_than_are_told_in_a_turn(office, receiver, monkeypatch):
    """Each is told, once, however many of them wait for a person already."""
    monkeypatch.setattr(webhooks, "ROWS_PER_TURN", 3)
    await office.add(receiver.url, "delivery.dead")
    connection = await office.run(
        "INSERT INTO connections (tenant_id, connection, system, name, rid, manifest, mode) "
        "SELECT $1, gen_random_uuid(), 'crm', 'crm', min(rid), 'crm', 'live' FROM replicas RETURNING connection",
        office.service.tenant,
    )
    await office.run(
        "INSERT INTO deliveries (tenant_id, delivery_id, connection, object, key, collection, record_id, cause_seq,"
        " seen_seq, action, state, mode, idempotency_key, marker, fields, mapping_version, marked_at)"
        " SELECT $1, gen_random_uuid(), $2, 'customer', n::text, 'customers', gen_random_uuid(), 1, 1,"
        " 'upsert', 'rejected', 'live', gen_random_uuid(), 'm', '{}', 1, now() FROM generate_series(1, 8) AS n",
        office.service.tenant,
        connection,
    )
    for _ in range(4):
        await office.work()

    told = [json.loads(request.body)["data"]["key"] for request in receiver.came]
    assert sorted(told) == [str(n) for n in range(1, 9)]


async def test_an_endpoint_that_fails_keeps_no_other_waiting(office, receiver, monkeypatch):
    """However much waits for an address that does not answer, what another wants is told in the same turn."""
    monkeypatch.setattr(posting, "LIMITS", Limits(total=4, tenant=4, each=3))
    deaf = Receiver()
    async with deaf.server:
        deaf.status = 500
        await office.add(deaf.url, "ping")
        for _ in range(9):
            await office.admin.post(f"/v1/webhooks/{office.id}/ping")
        await office.add(receiver.url, "ping")
        await office.admin.post(f"/v1/webhooks/{office.id}/ping")
        await office.posting.turn([office.service.tenant])

    assert receiver.types == ["ping"]
    assert len(deaf.came) < 9


async def test_a_mistake_of_ours_about_one_message_is_a_try_that_failed(office, receiver, monkeypatch):
    """What breaks over an endpoint's answer is noted, and tried again in its time; the others are told."""
    send = Http.send

    async def odd(self: Http, call: Any, **how: Any) -> Any:
        if call.url.endswith("/odd"):
            raise OverflowError
        return await send(self, call, **how)

    monkeypatch.setattr(Http, "send", odd)
    await office.add(receiver.url, "ping")
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    await office.add(f"{receiver.url}/odd", "ping")
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    sent = await office.posting.turn([office.service.tenant])
    [message] = await office.messages()
    tries = (await office.admin.get(f"/v1/webhooks/{office.id}/messages/{message['id']}")).json()["items"]

    assert (sent, receiver.types, message["state"]) == (2, ["ping"], "waiting")
    assert [(each["status"], each["reply"]) for each in tries] == [(0, "a mistake on our side: OverflowError")]
    assert await office.run(
        "SELECT leased_by IS NULL FROM postings WHERE endpoint_id = $1 AND due_at > now()", office.id
    )


async def test_a_tenant_of_which_no_messages_can_be_made_keeps_no_other_from_them(office, receiver, monkeypatch):
    """What breaks there is met anew the next time, and breaks nothing else off."""
    await office.add(receiver.url, "record.changed")
    gather, broken = webhooks.gather, []

    async def odd(*place: Any) -> int:
        if not broken:
            broken.append(place)
            raise RecursionError
        return await gather(*place)

    monkeypatch.setattr(webhooks, "gather", odd)
    await (await office.service.office()).create(1, title="Boiler")

    assert [await office.posting.gather([office.service.tenant]) for _ in range(2)] == [0, 1]


async def test_a_failure_is_tried_again_over_days_and_then_given_up(office, receiver):
    """Each try has its pause; the id stays the same, so that a receiver knows a repeat."""
    await office.add(receiver.url)
    receiver.status = 500
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    pauses = []
    for _ in SCHEDULE_SECONDS:
        await office.run("UPDATE postings SET due_at = now() RETURNING 1")
        await office.posting.turn([office.service.tenant])
        pauses.append(await office.run("SELECT round(extract(epoch FROM due_at - now()))::integer FROM postings"))
    [message] = await office.messages()
    tries = (await office.admin.get(f"/v1/webhooks/{office.id}/messages/{message['id']}")).json()["items"]

    assert pauses[:-1] == list(SCHEDULE_SECONDS[1:])
    assert sum(SCHEDULE_SECONDS) >= 3 * 86_400
    assert message["state"] == "failed"
    assert [attempt["status"] for attempt in tries] == [500] * len(SCHEDULE_SECONDS)
    assert {request.headers["webhook-id"] for request in receiver.came} == {message["id"]}


async def test_a_busy_receiver_is_given_the_time_it_asks_for(office, receiver):
    """Retry-After of a 429 is kept to where it is longer than the schedule."""
    await office.add(receiver.url)
    receiver.status, receiver.headers = 429, {"retry-after": "900"}
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    await office.work()

    pause = await office.run("SELECT round(extract(epoch FROM due_at - now()))::integer FROM postings")
    assert 895 <= pause <= 900


async def test_gone_disables_at_once_and_others_are_told(office, receiver):
    """410 ends it; the tenant's other endpoint hears of it; turned on again it begins with what happens then."""
    other = Receiver()
    async with other.server:
        await office.add(other.url, "endpoint.disabled")
        await office.add(receiver.url, "ping", "record.changed")
        receiver.status = 410
        await office.admin.post(f"/v1/webhooks/{office.id}/ping")
        await office.work()
        shown = await office.shown()

    receiver.status = 200
    desk = await office.service.office()
    await desk.create(1, title="unheard")
    await office.work()
    await office.admin.patch(f"/v1/webhooks/{office.id}", json={"state": "on"})
    await desk.create(2, title="heard")
    await office.work()

    assert (shown["state"], shown["reason"]) == ("disabled", "it answered 410")
    assert other.types == ["endpoint.disabled"]
    assert "heard" in json.dumps(receiver.verified(office.secret))


async def test_long_failure_disables(office, receiver):
    """An endpoint at which nothing has arrived for days is not tried for ever."""
    await office.add(receiver.url)
    receiver.status = 503
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    await office.work()
    long_ago = datetime.now(UTC) - timedelta(seconds=DISABLE_SECONDS + 60)
    await office.run("UPDATE endpoints SET failing_since = $1 RETURNING 1", long_ago)
    await office.run("UPDATE postings SET due_at = now() RETURNING 1")
    await office.work()

    assert (await office.shown())["state"] == "disabled"


async def test_a_redirect_is_a_failure(office, receiver):
    """What is signed for one address is not carried to another."""
    elsewhere = Receiver()
    async with elsewhere.server:
        receiver.status, receiver.headers = 302, {"location": elsewhere.url}
        await office.add(receiver.url)
        await office.admin.post(f"/v1/webhooks/{office.id}/ping")
        await office.work()

    assert elsewhere.came == []
    assert [message["state"] for message in await office.messages()] == ["waiting"]


async def test_an_address_within_is_not_called(office, receiver):
    """A worker that is not on trial does not send to loopback, whatever a tenant names; nothing leaves."""
    await office.add(receiver.url)
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    strict = Http()
    posting = Posting(office.service.database, str(uuid4()), strict, KEYS)
    await posting.turn([office.service.tenant])
    await strict.close()
    [message] = await office.messages()
    tries = (await office.admin.get(f"/v1/webhooks/{office.id}/messages/{message['id']}")).json()["items"]

    assert receiver.came == []
    assert [attempt["status"] for attempt in tries] == [0]


async def test_messages_are_told_again_by_id_and_by_range(office, receiver):
    """A replay sends the same messages under the same ids; a range sends what the endpoint subscribes to."""
    await office.add(receiver.url, "record.changed")
    desk = await office.service.office()
    for number in range(3):
        await desk.create(number, title=str(number))
    await office.work()
    ids = [request.headers["webhook-id"] for request in receiver.came]
    place = f"/v1/webhooks/{office.id}/replay"
    one = await office.admin.post(place, json={"message": ids[1]})
    await office.work()
    every = await office.admin.post(place, json={"since": "2020-01-01T00:00:00Z"})
    await office.work()
    none = await office.admin.post(place, json={"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"})

    assert (one.json(), every.json(), none.json()) == ({"count": 1}, {"count": 3}, {"count": 0})
    assert [request.headers["webhook-id"] for request in receiver.came[3:4]] == [ids[1]]
    assert sorted(request.headers["webhook-id"] for request in receiver.came[4:]) == sorted(ids)


async def test_a_worker_that_dies_after_sending_sends_again(office, receiver):
    """At least once: what was sent and not noted is sent once more, under the same id."""
    await office.add(receiver.url)
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    await office.work()
    await office.run("UPDATE postings SET state = 'waiting', due_at = now(), leased_by = NULL RETURNING 1")
    await office.work()

    assert len(receiver.came) == 2
    assert len({request.headers["webhook-id"] for request in receiver.came}) == 1


async def test_a_message_that_would_be_too_large_leaves_the_fields_out(office, receiver, monkeypatch):
    """It says so, and the receiver fetches the record."""
    monkeypatch.setattr(webhooks, "BODY_BYTES_MAX", 2_000)
    await office.add(receiver.url, "record.changed")
    desk = await office.service.office()
    await desk.create(1, title="Boiler", summary="x" * 2_000)
    await office.work()

    data = receiver.verified(office.secret)["data"]
    assert data["left_out"] == ["fields"]
    assert "fields" not in data


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"url": "ftp://a.example", "types": ["*"]}, "url"),
        ({"url": "https://user@a.example", "types": ["*"]}, "url"),
        ({"url": "https://a.example", "types": []}, "types"),
        ({"url": "https://a.example", "types": ["record.moved"]}, "types"),
        ({"url": "https://a.example", "types": ["*"], "description": "x" * 501}, "description"),
    ],
)
async def test_what_cannot_be_an_endpoint_is_refused_by_name(office, given, part):
    """The answer names the part and what is allowed."""
    answer = await office.admin.post("/v1/webhooks", json=given)

    assert problem(answer) == (422, "bad_endpoint")
    assert answer.json()["detail"].startswith(part)


async def test_webhooks_are_for_administrators(office):
    """Nobody else adds an address to which records go."""
    for role in ("dispatcher", "integrator", "readonly", "technician", "worker"):
        client = office.service.client(await office.service.token(role=role))
        assert problem(await client.get("/v1/webhooks")) == (403, "forbidden")


async def test_an_endpoint_is_added_once_under_one_key(office, receiver):
    """A repeat of the request gets the same endpoint and the same secret."""
    asked = {"url": receiver.url, "types": ["*"]}
    answers = [
        (await office.admin.post("/v1/webhooks", json=asked, headers={"idempotency-key": "k"})).json() for _ in range(2)
    ]

    assert answers[0] == answers[1]
    assert len((await office.admin.get("/v1/webhooks")).json()["items"]) == 1


async def test_a_removed_endpoint_is_told_no_more(office, receiver):
    """What waited for it goes with it."""
    await office.add(receiver.url)
    await office.admin.post(f"/v1/webhooks/{office.id}/ping")
    await office.admin.delete(f"/v1/webhooks/{office.id}")
    await office.work()

    assert receiver.came == []
    assert problem(await office.admin.get(f"/v1/webhooks/{office.id}")) == (404, "unknown_endpoint")
