"""Devices over HTTP: enrol, push, pull, and every way in which that can go wrong."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from replication import cursor, wire
from syncserver.store import devices, people
from syncserver.store.people import Grant
from tests.integration.service import (
    ANA,
    BEN,
    KEYS,
    LIMITS,
    Phone,
    Service,
    codes,
    problem,
    serving,
    uid,
    verdicts,
    zipped,
)

if TYPE_CHECKING:
    from syncserver.store.db import Database


async def test_two_devices_see_each_other_s_work(service: Service) -> None:
    """What one technician of a job pushes, the other pulls, and nobody is asked about it."""
    desk, ana, ben = await service.office(), await service.device(ANA), await service.device(BEN)
    await desk.create(1, title="Boiler", assignee_id=ANA, crew=[BEN])
    await ana.pull()
    await ben.pull()

    pushed = await ana.settled(ana.edit(1, set={"status": "on_site"}))
    also = await ben.settled(ben.edit(1, set={"priority": "high"}))
    await ana.pull()
    await ben.pull()

    assert verdicts(pushed) == verdicts(also) == ["applied"]
    assert ana.held == ben.held
    assert ana.held[uid(1)]["status"] == "on_site"
    assert ana.held[uid(1)]["priority"] == "high"
    assert await desk.conflicts() == []


async def test_a_batch_of_a_thousand_settles_all_that_can_be(service: Service) -> None:
    """An unknown collection, an invalid value and a field of the office's spoil nothing around them."""
    desk, ana = await service.office(), await service.device()
    for number in range(10):
        await desk.create(number, title="Boiler", assignee_id=ANA)
    await ana.pull()
    bad = {
        250: {"collection": "unicorns"},
        500: {"set": {"completed_at": "tomorrow"}},
        600: {"rev": "yesterday"},
        750: {"set": {"window_start": "2026-01-01T08:00:00Z"}},
    }
    batch = [ana.edit(n % 10, **{"set": {"status": f"step {n}"}, **bad.get(n + 1, {})}) for n in range(1_000)]

    answer = await ana.settled(*batch)

    assert answer["applied"] == 1_000
    assert [verdict["n"] for verdict in answer["verdicts"]] == list(range(1, 1_001))
    refused = {verdict["n"]: verdict["code"] for verdict in answer["verdicts"] if verdict["verdict"] == "refused"}
    assert refused == {250: "unknown_collection", 500: "invalid", 600: "bad_mutation", 750: "not_owner"}
    assert verdicts(answer).count("applied") == 996
    assert (await desk.show(9))["status"] == "step 999"


async def test_a_refused_cell_comes_with_what_stands_there(service: Service) -> None:
    """A field that is not the device's is answered with its present value, and the others are taken."""
    desk, ana = await service.office(), await service.device()
    await desk.create(1, title="Boiler", assignee_id=ANA, window_start="2026-01-01T08:00:00Z")
    await ana.pull()

    answer = await ana.settled(ana.edit(1, set={"window_start": "2026-05-05T08:00:00Z", "status": "done"}))

    cells = answer["verdicts"][0]["cells"]
    assert cells["status"]["verdict"] == "applied"
    assert (cells["window"]["verdict"], cells["window"]["code"]) == ("refused", "not_owner")
    assert cells["window"]["value"]["window_start"] == "2026-01-01T08:00:00.000Z"


async def test_a_repeat_is_told_the_same(service: Service) -> None:
    """A lost answer costs nothing: the same push again gives the same verdicts and changes nothing."""
    desk, ana = await service.office(), await service.device()
    await desk.create(1, title="Boiler", assignee_id=ANA)
    await ana.pull()
    batch = [
        ana.edit(1, set={"status": "a"}),
        ana.edit(2, set={"title": "x"}),
        ana.edit(1, do={"notes": {"append": "b"}}),
    ]
    first = await ana.settled(*batch)
    await desk.change(1, (await desk.show(1))["rev"], status="from the office")

    again = await ana.settled(*batch, ana.edit(1, set={"priority": "new"}))

    assert again["verdicts"][:3] == first["verdicts"]
    assert again["applied"] == 4
    shown = await desk.show(1)
    assert (shown["status"], shown["notes"], shown["priority"]) == ("from the office", "b", "new")


async def test_after_a_gap_nothing_is_judged(service: Service) -> None:
    """A push that begins too far on is answered with the number that is expected."""
    ana = await service.device()

    answer = await ana.settled(ana.edit(1, op="create"), ana.edit(2, n=3, op="create"), ana.edit(3, n=4, op="create"))

    assert (answer["applied"], answer["expected"], verdicts(answer)) == (1, 2, ["applied"])


async def test_one_number_for_two_mutations_stops_the_replica(service: Service) -> None:
    """Whoever went back to an older copy of itself is told so, and nothing of its push is judged."""
    desk, ana = await service.office(), await service.device()
    await ana.settled(ana.edit(1, op="create", set={"title": "one"}))

    answer = await ana.push(ana.edit(1, n=1, op="create", set={"title": "other"}), ana.edit(2, n=2, op="create"))

    assert problem(answer) == (409, "replica_forked")
    assert answer.json()["applied"] == 1
    assert (await desk.client.get(f"/v1/work_orders/{uid(2)}")).status_code == 404


@pytest.mark.parametrize("n", [None, "1", 0])
async def test_without_a_number_nothing_is_judged(service: Service, n: object) -> None:
    """A mutation that cannot be answered by its number is a mistake of the whole request."""
    ana = await service.device()

    assert problem(await ana.push(ana.edit(1, op="create"), {"n": n})) == (400, "bad_request")
    assert (await ana.pull())["applied"] == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 50_000])
async def test_a_body_that_is_no_push_is_refused(service: Service, content: bytes) -> None:
    """Whatever is sent in place of a push gets one kind of answer."""
    ana = await service.device()

    assert problem(await ana.client.post("/v1/sync/push", content=content)) == (400, "bad_request")


async def test_a_text_that_nobody_can_store_is_refused_alone(service: Service) -> None:
    """Half a surrogate pair or a NUL, which apps do send, block no queue."""
    ana = await service.device()
    made = [
        ana.edit(1, op="create", set={"title": "half \ud83d"}),
        ana.edit(2, op="create", set={"title": "a\0b"}),
        ana.edit(3, op="create", tx="t\0"),
        ana.edit(4, op="create", set={"title": "fine"}),
    ]

    answer = await ana.settled(*made)

    assert verdicts(answer) == ["refused", "refused", "refused", "applied"]
    assert codes(answer)[:3] == ["bad_mutation", "invalid", "bad_mutation"]
    assert (await ana.settled(*made))["verdicts"] == answer["verdicts"]


async def test_a_malformed_mutation_refuses_its_tx(service: Service) -> None:
    """A tx stands or falls together, also when part of it cannot be read."""
    ana = await service.device()

    answer = await ana.settled(
        ana.edit(1, op="create", tx="t"), ana.edit(2, op="create", tx="t", rev="x"), ana.edit(3, op="create", tx="t")
    )

    assert codes(answer) == ["tx_refused", "bad_mutation", "tx_refused"]
    assert answer["applied"] == 3


async def test_what_a_device_keeps_back_uses_up_its_number(service: Service) -> None:
    """It is refused with a code of its own, its tx with it; what follows is judged, and a repeat is told the same."""
    ana = await service.device()
    kept_back = {"collection": "work_orders", "id": uid(7), "tx": "t", "withheld": True}
    made = [{"n": 1, **kept_back}, {"n": 2, **kept_back}]
    ana.n = 2
    made.append(ana.edit(8, op="create", set={"title": "fine"}))

    answer = await ana.settled(*made)

    assert codes(answer)[:2] == ["withheld", "withheld"]
    assert verdicts(answer) == ["refused", "refused", "applied"]
    assert "larger than is taken" in answer["verdicts"][0]["message"]
    assert (await ana.settled(*made))["verdicts"] == answer["verdicts"]


async def test_what_had_arrived_before_it_was_kept_back_keeps_its_verdict(service: Service) -> None:
    """A push that was still under way when its device gave it up is no fork: the device is told what became of it."""
    ana = await service.device()
    made = ana.edit(1, op="create", set={"title": "long"})
    settled = await ana.settled(made)

    told = await ana.settled({name: made[name] for name in ("n", "collection", "id")} | {"withheld": True})

    assert told["verdicts"] == settled["verdicts"]


async def test_a_push_beyond_the_limit_is_settled_in_part(database_url: str, database: Database) -> None:
    """The hub takes the first mutations and says with which number to go on."""
    async with serving(database_url, wire.Limits(mutations=3, tx=2)) as url:
        service = Service(url, database)
        await service.add_tenant()
        ana = await service.device()
        batch = [ana.edit(number, op="create") for number in range(5)]
        first = await ana.settled(*batch)
        rest = await ana.settled(*batch[3:])
        await service.close()

    assert (first["applied"], first["expected"], len(first["verdicts"])) == (3, 4, 3)
    assert first["limits"]["mutations"] == 3
    assert rest["applied"] == 5
    assert "expected" not in rest


async def test_bases_of_another_epoch_are_not_judged(service: Service) -> None:
    """After a restore the numbers mean something else; the device is told where things stand now."""
    ana = await service.device()
    await ana.settled(ana.edit(1, op="create"))

    other = await ana.push(ana.edit(1, base=1), epoch="other")
    unsaid = await ana.push(ana.edit(1, n=2, base=1), epoch=None)
    unbased = await ana.settled(ana.edit(2, n=2, op="create"), epoch=None)

    assert problem(other) == problem(unsaid) == (409, "epoch_changed")
    assert other.json()["epoch"] == ana.enrolled["epoch"]
    assert other.json()["applied"] == 1
    assert other.json()["position"] > 0
    assert unbased["applied"] == 2


async def test_a_cursor_is_good_for_its_own_replica_alone(service: Service) -> None:
    """Another device's cursor, an altered one and an invented one are refused in push and pull."""
    ana, ben = await service.device(ANA), await service.device(BEN)
    await ana.pull()
    await ben.pull()
    assert ana.cursor is not None

    for bad in (ben.cursor, ana.cursor[:-2] + "AA", "AAAA", "é"):
        assert problem(await ana.push(cursor=bad)) == (400, "bad_cursor")
        assert problem(await ana.client.post("/v1/sync/pull", json={"cursor": bad})) == (400, "bad_cursor")


async def test_a_cursor_of_another_epoch_says_where_things_stand(service: Service) -> None:
    """In a push and in both ways to pull: the new epoch, what was settled of the device, and the position."""
    ana = await service.device()
    await ana.settled(ana.edit(1, op="create"))
    await ana.pull()
    old = cursor.seal(msgspec.structs.replace(cursor.unseal(ana.cursor or "", KEYS), epoch="0"), KEYS)

    answers = [
        await ana.push(cursor=old),
        await ana.client.post("/v1/sync/pull", json={"cursor": old}),
        await ana.client.get("/v1/sync/pull", params={"cursor": old}),
        await ana.push(epoch="0"),
    ]

    assert {problem(answer) for answer in answers} == {(409, "epoch_changed")}
    told = [{name: answer.json()[name] for name in ("epoch", "applied", "position")} for answer in answers]
    assert told == [{"epoch": ana.enrolled["epoch"], "applied": 1, "position": told[0]["position"]}] * 4
    assert told[0]["position"] > 0


async def test_on_a_shared_tablet_each_person_reads_at_their_own_place(service: Service) -> None:
    """The place of one says nothing of what the other was shown: it is refused, and a new beginning gives all."""
    desk, ana = await service.office(), await service.device(ANA)
    rid = ana.enrolled["rid"]
    await devices.share(service.database, service.tenant, rid, BEN)
    token = await people.create_token(service.database, service.tenant, Grant(person=BEN, rid=rid))
    ben = Phone(service.client(token), ana.enrolled)
    await desk.create(1, title="Ana's", assignee_id=ANA)
    await desk.create(2, title="Ben's", assignee_id=BEN)
    await ana.pull()

    refused = await ben.client.post("/v1/sync/pull", json={"cursor": ana.cursor})
    await ben.pull()
    back = await ana.client.post("/v1/sync/pull", json={"cursor": ben.cursor})
    mine = await ana.pull()

    assert problem(refused) == problem(back) == (400, "bad_cursor")
    assert "another person" in refused.json()["detail"]
    assert (set(ana.held), set(ben.held)) == ({uid(1)}, {uid(2)})
    assert mine["commits"] == []
    # What the tablet was shown, it was shown: a push may name either place.
    assert verdicts(await ana.settled(ana.edit(1, set={"status": "on_site"}), cursor=ben.cursor)) == ["applied"]


async def test_a_base_above_what_was_served_is_none(service: Service) -> None:
    """A device cannot claim to have seen what it was never told; the claim is flagged."""
    desk, ana = await service.office(), await service.device()
    rev = (await desk.create(1, title="Boiler", assignee_id=ANA, status="open"))["rev"]
    await ana.pull()
    await desk.change(1, rev, title="Boiler, second floor")

    answer = await ana.settled(ana.edit(1, base=10**6, set={"title": "mine"}))

    assert (verdicts(answer), codes(answer)) == (["superseded"], ["base_clamped"])


async def test_a_device_that_sends_no_cursor_is_believed_what_it_was_handed(service: Service) -> None:
    """The cursor is optional in a push: what this server handed out counts as seen."""
    desk, ana = await service.office(), await service.device()
    await desk.create(1, title="Boiler", assignee_id=ANA)
    await ana.pull()

    answer = await ana.settled(ana.edit(1, set={"title": "mine"}), cursor=None)

    assert verdicts(answer) == ["applied"]
    assert await desk.conflicts() == []


async def test_a_pull_can_be_asked_for_both_ways(service: Service) -> None:
    """A query says the same as a body."""
    desk, ana = await service.office(), await service.device()
    for number in range(3):
        await desk.create(number, title="Boiler", assignee_id=ANA)

    by_body = await ana.client.post("/v1/sync/pull", json={"limit": 2, "versions": True})
    by_query = await ana.client.get("/v1/sync/pull", params={"limit": "2", "versions": "true"})
    wrong = await ana.client.get("/v1/sync/pull", params={"limit": "many"})

    assert by_query.json() == by_body.json()
    assert by_body.json()["more"] is True
    assert len(by_body.json()["commits"][0]["changes"]) == 2
    assert by_body.json()["commits"][0]["changes"][0]["versions"]["title"]["dot"]
    assert problem(wrong) == (400, "bad_request")


@pytest.mark.parametrize("name", ["limit", "max_bytes", "wait_ms"])
async def test_a_negative_wish_is_a_mistake(service: Service, name: str) -> None:
    """It is told by its name, in a body as in a query, and not taken for another number."""
    ana = await service.device()

    for answer in (
        await ana.client.post("/v1/sync/pull", json={name: -1}),
        await ana.client.get("/v1/sync/pull", params={name: "-1"}),
    ):
        assert problem(answer) == (400, "bad_request")
        assert name in answer.json()["detail"]


async def test_whoever_waits_is_told_at_once(service: Service) -> None:
    """A long poll ends when there is something new, well before its time is up."""
    desk, ana = await service.office(), await service.device()
    await ana.pull()
    waiting = asyncio.create_task(ana.pull(wait_ms=20_000))
    await asyncio.sleep(0.2)

    await desk.create(1, title="Boiler", assignee_id=ANA)
    page = await asyncio.wait_for(waiting, 5)

    assert [change["op"] for change in page["commits"][0]["changes"]] == ["enter"]


async def test_bodies_may_be_compressed(service: Service) -> None:
    """Gzip is taken and given; what expands beyond the limit, or is no gzip, is refused."""
    ana = await service.device()
    push = {"epoch": ana.enrolled["epoch"], "mutations": [ana.edit(n, op="create") for n in range(50)]}

    async def send(content: bytes, encoding: str = "gzip") -> httpx.Response:
        return await ana.client.post("/v1/sync/push", content=content, headers={"content-encoding": encoding})

    taken = await send(zipped(push))
    bomb = await send(gzip.compress(b" " * (LIMITS.bytes + 1)))
    large = await send(b" " * (LIMITS.bytes + 1), "identity")

    assert taken.json()["applied"] == 50
    assert taken.headers["content-encoding"] == "gzip"
    assert len(bomb.request.content) < 10_000
    assert problem(bomb) == problem(large) == (413, "too_large")
    assert problem(await send(b"no gzip")) == (400, "bad_request")
    assert problem(await send(zipped(push)[:-9])) == (400, "bad_request")
    assert problem(await send(b"", "br")) == (415, "unsupported_encoding")


async def test_a_revoked_device_is_told_so(service: Service) -> None:
    """Its pushes and pulls are answered with `fenced`, nothing of them is taken, others go on."""
    desk, ana, ben = await service.office(), await service.device(ANA), await service.device(BEN)
    await ana.pull()

    listed = (await desk.client.get("/v1/devices")).json()["items"]
    place = f"/v1/devices/{ana.enrolled['replica']}/revoke"
    revoked = await desk.client.post(place)

    assert {device["id"] for device in listed} == {ana.enrolled["replica"], ben.enrolled["replica"]}
    assert revoked.json()["fenced"] is True
    assert problem(await ana.push(ana.edit(1, op="create"))) == (403, "fenced")
    assert problem(await ana.client.get("/v1/sync/pull")) == (403, "fenced")
    refresh = await ana.client.post("/v1/devices/refresh", json={"refresh": ana.enrolled["refresh"]})
    assert problem(refresh) == (403, "fenced")
    assert (await desk.client.get(f"/v1/work_orders/{uid(1)}")).status_code == 404
    assert (await ben.settled(ben.edit(2, op="create")))["applied"] == 1
    assert problem(await desk.client.post(f"/v1/devices/{uid(9)}/revoke")) == (404, "unknown_replica")


async def test_a_technician_s_token_works_without_enrolment(service: Service) -> None:
    """Each device label of a person is a replica of its own, with its own numbers."""
    token = await service.token(ANA)
    bodies: list[dict[str, Any]] = []
    for label in ("van", "pocket"):
        client = service.client(token, **{"X-Device-Label": label})
        made = {"n": 1, "op": "create", "collection": "work_orders", "id": uid(len(bodies))}
        bodies.append((await client.post("/v1/sync/push", json={"mutations": [made]})).json())
    bare = service.client(token)

    assert [body["applied"] for body in bodies] == [1, 1]
    assert {body["verdicts"][0]["verdict"] for body in bodies} == {"applied"}
    page = (await bare.get("/v1/sync/pull")).json()
    assert page["applied"] == 0
    assert {change["id"] for change in page["commits"][0]["changes"]} == {uid(0), uid(1)}
    assert problem(await bare.get("/v1/sync/pull", headers={"X-Device-Label": "l" * 101})) == (400, "bad_request")


async def test_a_code_enrols_once_and_a_refresh_gives_a_token(service: Service) -> None:
    """A used or invented code is refused; the refresh token gives a token that works."""
    code = await devices.create_code(service.database, service.tenant, ANA)
    anybody = service.client()
    first = await anybody.post("/v1/devices/enrol", json={"code": code.lower(), "name": "phone", "platform": "ios"})
    again = await anybody.post("/v1/devices/enrol", json={"code": code, "name": "phone"})
    invented = await anybody.post("/v1/devices/enrol", json={"code": "1.AAAA", "name": "phone"})
    nameless = await anybody.post("/v1/devices/enrol", json={"code": code, "name": " "})
    refreshed = await anybody.post("/v1/devices/refresh", json={"refresh": first.json()["refresh"]})
    wrong = await anybody.post("/v1/devices/refresh", json={"refresh": first.json()["token"]})

    assert first.json().keys() == {"replica", "rid", "token", "refresh", "epoch", "schema", "limits"}
    assert problem(again) == problem(invented) == (401, "enrolment_refused")
    assert problem(nameless) == (400, "bad_request")
    assert (await service.client(refreshed.json()["token"]).get("/v1/sync/pull")).status_code == 200
    assert problem(wrong) == (401, "refresh_refused")


async def test_by_names_only_who_shares_the_device(service: Service) -> None:
    """On a shared tablet the other person acts; somebody who is not enrolled on it cannot be named."""
    desk, ana = await service.office(), await service.device(ANA)
    await devices.share(service.database, service.tenant, ana.enrolled["rid"], BEN)

    answer = await ana.settled(ana.edit(1, op="create", by=BEN), ana.edit(2, op="create", by=uid(3)))

    assert codes(answer) == [None, "unknown_person"]
    past = (await desk.client.get(f"/v1/work_orders/{uid(1)}/history")).json()
    assert [write["person"] for write in past["cells"]["$alive"]] == [BEN]
