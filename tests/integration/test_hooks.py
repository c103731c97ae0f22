"""Where vendors call, over real HTTP: believed by their signature, kept, answered, and nobody told more."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from syncserver.store import keys
from tests.integration.service import KEYS, Service, problem
from tests.peers import crm
from upstream import connections, inbox, manifest_file, sealing, signing, webhooks


def now() -> datetime:
    """Return the time by this machine's clock, which the server goes by too."""
    return datetime.now(UTC)


class Told:
    """A connection of the running service to a CRM, and the ways to call it."""

    def __init__(self, service: Service, connection: str) -> None:
        self.service, self.connection = service, connection
        self.client = service.client()

    async def call(self, *events: dict[str, Any], secret: str = crm.SECRET, at: datetime | None = None):
        """Call as the vendor does."""
        body, headers = crm.signed(list(events), at or now(), secret)
        return await self.client.post(f"/v1/hooks/{self.connection}", content=body, headers=headers)

    async def kept(self) -> int:
        """Return how many events are in the inbox."""
        async with self.service.database.transaction(self.service.tenant) as session:
            return await session.fetchval("SELECT count(*) FROM inbox")


async def connected(service: Service, manifest: str = crm.MANIFEST) -> Told:
    """Make a connection with its own manifest and a secret."""
    new = connections.New(
        system="crm", name=f"crm {uuid4()}", manifest="own", manifest_text=manifest, authority="crm", mode="live"
    )
    made = await connections.make(service.database, service.tenant, str(uuid4()), new)
    door = inbox.Door(service.database, KEYS, lambda _: None)
    async with service.database.transaction(service.tenant) as session:
        await door.put_secret(session, service.tenant, made.connection, crm.SECRET)
    return Told(service, made.connection)


@pytest.fixture
async def told(service: Service) -> Told:
    """Give a connection that takes calls."""
    return await connected(service)


EVENT = {"event": "e1", "kind": "customer.changed", "id": "c1", "version": "1"}


async def test_a_signed_call_is_kept_and_answered(told):
    """The answer says how many events were new; the same call again brings nothing new."""
    first, again = await told.call(EVENT), await told.call(EVENT)

    assert (first.status_code, first.json()) == (200, {"new": 1, "repeated": 0})
    assert (again.status_code, again.json()) == (200, {"new": 0, "repeated": 1})
    assert await told.kept() == 1


async def test_whatever_is_wrong_the_answer_is_the_same(told):
    """A wrong secret, an old call, no signature, a stranger's address: word for word the same answer."""
    strange = Told(told.service, str(uuid4()))
    answers = [
        await told.call(EVENT, secret="wrong"),
        await told.call(EVENT, at=now() - timedelta(minutes=10)),
        await told.call(EVENT, at=now() + timedelta(minutes=10)),
        await told.client.post(f"/v1/hooks/{told.connection}", json={"events": [EVENT]}),
        await strange.call(EVENT),
        await Told(told.service, "no-connection").call(EVENT),
        await told.client.get(f"/v1/hooks/{told.connection}"),
    ]

    assert {problem(answer) for answer in answers} == {(401, "hook_refused")}
    assert len({answer.text for answer in answers}) == 1
    assert await told.kept() == 0


async def test_the_signature_is_over_the_bytes_that_came(told):
    """The same JSON written otherwise is another body: it is refused."""
    body, headers = crm.signed([EVENT], now())
    other = json.dumps(json.loads(body), indent=1).encode()
    answer = await told.client.post(f"/v1/hooks/{told.connection}", content=other, headers=headers)

    assert problem(answer) == (401, "hook_refused")


async def test_what_is_signed_and_cannot_be_read_is_kept_for_a_person(told):
    """A body that is no JSON was signed by the vendor: it is an event that names nothing."""
    body, timestamp = b"<soap/>", str(int(now().timestamp()))
    digest = hmac.new(crm.SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"x-signature": f"sha256={digest}", "x-timestamp": timestamp}
    answer = await told.client.post(f"/v1/hooks/{told.connection}", content=body, headers=headers)

    assert answer.json() == {"new": 1, "repeated": 0}


async def test_a_call_that_is_too_large_is_refused(told):
    """The limit is named."""
    answer = await told.call({**EVENT, "more": "x" * 1_100_000})

    assert problem(answer) == (413, "too_large")
    assert answer.json()["limit"] == 1_048_576


async def test_too_many_events_at_once_are_refused(told):
    """Nothing of the call is kept."""
    answer = await told.call(*({"event": str(number)} for number in range(5_001)))

    assert problem(answer) == (413, "too_many_events")
    assert await told.kept() == 0


async def test_a_challenge_is_given_back_where_the_vendor_looks_for_it(service):
    """A handshake that wants an echo gets it, before anything is signed; what else it says is not kept."""
    manifest = crm.MANIFEST.replace(
        "[webhook]",
        '[webhook]\nhandshake = "echo"\nhandshake_path = "header:X-Challenge"\nhandshake_answer = "header:X-Answer"',
    )
    made = await connected(service, manifest)
    answer = await made.client.post(f"/v1/hooks/{made.connection}", headers={"x-challenge": "abc"}, json={})
    bad = await made.client.post(f"/v1/hooks/{made.connection}", json={})

    assert (answer.status_code, answer.headers["x-answer"]) == (200, "abc")
    assert problem(bad) == (401, "hook_refused")
    assert await made.kept() == 0


async def test_a_secret_that_comes_by_handshake_verifies_nothing_until_somebody_vouches(service):
    """Whoever posts a secret gets no say: an integrator compares it with what the vendor shows, and vouches."""
    manifest = crm.MANIFEST.replace(
        "[webhook]", '[webhook]\nhandshake = "token"\nhandshake_path = "verification_token"'
    )
    made = await connected(service, manifest)
    posted = await made.client.post(f"/v1/hooks/{made.connection}", json={"verification_token": "from-the-vendor"})
    before = await made.call(EVENT, secret="from-the-vendor")
    admin = service.client(await service.token(role="integrator"))
    place = f"/v1/connections/{made.connection}/hook"
    [candidate] = (await admin.get(f"{place}/candidates")).json()["items"]
    vouched = await admin.post(f"{place}/candidates/{candidate['id']}/vouch")
    after = await made.call(EVENT, secret="from-the-vendor")

    assert posted.status_code == 200
    assert problem(before) == (401, "hook_refused")
    assert (candidate["secret"], vouched.status_code) == ("from-the-vendor", 200)
    assert after.json() == {"new": 1, "repeated": 0}


async def test_what_cannot_be_a_secret_is_refused_when_it_is_put(service):
    """A secret that the way of verifying cannot use would verify nothing, and nobody would hear of it."""
    told = await connected(service, crm.MANIFEST.replace('"hmac-sha256"', '"hmac-sha256"\nkey_form = "hex"'))
    desk = service.client(await service.token(role="integrator"))
    answers = [
        await desk.post(f"/v1/connections/{told.connection}/hook/secrets", json={"secret": secret})
        for secret in ("not hex", "c0ffee")
    ]

    assert (problem(answers[0]), answers[0].json()["detail"]) == ((400, "bad_filter"), "secret: the secret is no hex")
    assert answers[1].status_code == 200


async def test_an_integrator_puts_secrets_sees_events_and_replays_them(told):
    """Secrets are put and never shown; events are listed with what they said; replays are counted."""
    service = told.service
    desk = service.client(await service.token(role="integrator"))
    place = f"/v1/connections/{told.connection}"
    put = await desk.post(f"{place}/hook/secrets", json={"secret": "another"})
    await told.call(EVENT, secret="another")
    shown = (await desk.get(f"{place}/hook")).json()
    page = (await desk.get(f"{place}/inbox", params={"state": "waiting"})).json()
    said = (await desk.get(f"{place}/inbox/{page['items'][0]['id']}")).json()
    replayed = await desk.post(f"{place}/inbox/replay", json={"states": ["failed"]})
    nothing = await desk.post(f"{place}/inbox/replay", json={})

    assert put.status_code == 200
    assert shown["path"] == f"/v1/hooks/{told.connection}"
    assert [secret["state"] for secret in shown["secrets"]] == ["active", "active"]
    assert "another" not in json.dumps(shown)
    assert (page["items"][0]["event"], said) == ("e1", EVENT)
    assert (replayed.json(), problem(nothing)) == ({"count": 0}, (400, "bad_filter"))


async def test_a_dispatcher_has_no_say_in_it(told):
    """Secrets and inboxes are for whoever sees to integrations."""
    desk = (await told.service.office()).client

    assert problem(await desk.get(f"/v1/connections/{told.connection}/hook")) == (403, "forbidden")
    assert problem(await desk.get("/v1/alerts")) == (403, "forbidden")


async def test_secrets_of_hooks_and_endpoints_outlive_a_change_of_keys(told):
    """Wrapped with a new key, they verify and sign as before, with the new key alone."""
    service, new = told.service, b"n" * 32
    endpoint = str(uuid4())
    wanted = webhooks.Wanted(url="https://a.example", types=("*",))
    async with service.database.transaction(service.tenant) as session:
        first = await webhooks.add(session, service.tenant, endpoint, wanted, keys=KEYS)
        await webhooks.rotate(session, service.tenant, endpoint, keys=KEYS)

    count = await keys.rewrap(service.database, [service.tenant], [new, *KEYS])

    door = inbox.Door(service.database, [new], lambda _: manifest_file.parse(crm.MANIFEST))
    body, headers = crm.signed([EVENT], now())
    taken = await door.receive(
        told.connection, inbox.incoming("POST", "", encoded(headers), body), round(now().timestamp() * 1_000)
    )
    async with service.database.transaction(service.tenant) as session:
        row = await session.fetchrow("SELECT secret, old_secret FROM endpoints")
    opened = [sealing.unseal(each, [new], webhooks.purpose(service.tenant, endpoint)) for each in row]
    assert count == 3
    assert taken.new == 1
    assert signing.written(opened[1]) == first


def encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as they come from the socket."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]
