"""Held mutations over HTTP: work of an old app and of a revoked device waits for a person, and for one only."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.integration.service import ANA, BEN, DORA, Desk, Phone, Service, codes, problem, uid, verdicts

RENAMED = ('priority = { kind = "text", limit = 60', 'urgency = { kind = "text", limit = 60')


async def offline_edit(service: Service) -> tuple[Desk, Phone]:
    """Let a field be renamed while a technician's device, which knows the old name, is away."""
    desk, ana = await service.office(), await service.device(ANA)
    await desk.create(1, title="Boiler", priority="low", assignee_id=ANA)
    await ana.pull()
    await service.publish(RENAMED)
    return desk, ana


async def waiting(desk: Desk, **query: str) -> list[dict[str, Any]]:
    """Return the held mutations, newest first."""
    answer = await desk.client.get("/v1/held", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def detail(desk: Desk, held_id: str) -> dict[str, Any]:
    """Return one held mutation with what is wrong with it."""
    answer = await desk.client.get(f"/v1/held/{held_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def release(desk: Desk, held_id: str, edited: Any = None, **headers: str) -> httpx.Response:
    """Release a held mutation, perhaps with other values."""
    return await desk.client.post(f"/v1/held/{held_id}/release", json=edited or {}, headers=headers)


async def test_an_edit_under_an_old_name_is_released_under_the_new_one(service: Service) -> None:
    """It is held and not lost, the office sees what is wrong, and what it writes is the technician's."""
    desk, ana = await offline_edit(service)

    answer = await ana.settled(ana.edit(1, set={"priority": "high", "status": "on_site"}))
    (item,) = await waiting(desk, state="waiting")
    shown = await detail(desk, item["id"])
    released = await release(desk, item["id"], {"set": {"urgency": "high", "status": "on_site"}})

    assert (verdicts(answer), codes(answer), answer["applied"]) == (["held"], ["held_schema"], 1)
    assert item["id"] == f"{ana.enrolled['rid']}-1"
    assert (item["person"], item["schema"], item["code"]) == (ANA, 1, "held_schema")
    assert (shown["payload"]["set"], shown["schema"]) == ({"priority": "high", "status": "on_site"}, 2)
    assert [(flaw["field"], flaw["code"]) for flaw in shown["flaws"]] == [("priority", "invalid")]
    assert (shown["record"]["alive"], shown["record"]["fields"]["title"]) == (True, "Boiler")
    assert released.json()["cells"]["urgency"]["verdict"] == released.json()["cells"]["status"]["verdict"] == "applied"
    record = await desk.show(1)
    assert (record["urgency"], record["status"]) == ("high", "on_site")
    past = (await desk.client.get(f"/v1/work_orders/{uid(1)}/history")).json()["cells"]["urgency"][0]
    assert (past["person"], past["authority"]) == (ANA, "device")
    (ended,) = await waiting(desk)
    assert (ended["state"], ended["ended_by"], ended["released_as"]) == ("released", DORA, past["dot"])
    assert await ana.pull()
    assert ana.held[uid(1)]["urgency"] == "high"


async def test_what_is_still_wrong_goes_on_waiting(service: Service) -> None:
    """A release that names no better value is refused with the field, and nothing of it is carried out."""
    desk, ana = await offline_edit(service)
    await ana.settled(ana.edit(1, set={"priority": "high", "status": "on_site"}))
    held_id = f"{ana.enrolled['rid']}-1"

    refused = await release(desk, held_id)
    unreadable = await release(desk, held_id, {"sets": {}})
    too_many = await release(desk, held_id, {"set": {f"f{n}": 1 for n in range(300)}})

    assert problem(refused) == (422, "refused")
    assert "priority" in refused.json()["detail"]
    assert problem(unreadable) == (400, "bad_request")
    assert "sets" in unreadable.json()["detail"]
    assert problem(too_many) == (422, "bad_mutation")
    assert "status" not in await desk.show(1)
    assert [item["state"] for item in await waiting(desk)] == ["waiting"]
    assert (await release(desk, held_id, {"set": {"status": "on_site"}})).status_code == 200


async def test_a_device_that_knows_the_catalogue_is_refused_and_not_held(service: Service) -> None:
    """Only what fitted the writer's own catalogue waits; what never fitted any is the app's mistake."""
    desk, ana = await offline_edit(service)
    unknown = {"set": {"colour": "red"}}

    never = await ana.settled(ana.edit(1, **unknown))
    now = await ana.settled(ana.edit(1, set={"priority": "high"}), schema=2)
    unsaid = await ana.settled(ana.edit(1, set={"priority": "high"}), schema=0)
    beyond = await ana.settled(ana.edit(1, set={"priority": "high"}), schema=2**40)

    for answer in (never, now, unsaid, beyond):
        assert verdicts(answer) == ["refused"]
    assert await waiting(desk) == []


async def test_one_that_is_held_holds_its_tx(service: Service) -> None:
    """Nothing of the tx is carried out, and whichever part is released brings all of it, or nothing."""
    desk, ana = await offline_edit(service)

    answer = await ana.settled(
        ana.edit(1, tx="t", set={"status": "on_site"}), ana.edit(1, tx="t", set={"priority": "high"})
    )

    assert (verdicts(answer), codes(answer)) == (["held", "held"], ["held_tx", "held_schema"])
    assert "status" not in await desk.show(1)
    assert [item["code"] for item in await waiting(desk)] == ["held_schema", "held_tx"]
    first, second = (f"{ana.enrolled['rid']}-{n}" for n in (1, 2))
    assert [item["members"] for item in await waiting(desk)] == [[first, second]] * 2
    refused = await release(desk, first)
    assert problem(refused) == (422, "refused")
    assert "priority" in refused.json()["detail"]
    assert [(member["id"], member["code"]) for member in refused.json()["members"]] == [
        (first, "tx_refused"),
        (second, "invalid"),
    ]
    strange = await release(desk, first, {"others": {"9-9": {"set": {}}}})
    assert problem(strange) == (422, "bad_mutation")
    assert second in strange.json()["detail"]
    assert {item["state"] for item in await waiting(desk)} == {"waiting"}
    assert "status" not in await desk.show(1)

    better = {"others": {second: {"set": {"urgency": "high"}}}}
    landed = await release(desk, first, better, **{"idempotency-key": "t1"})
    repeat = await release(desk, first, better, **{"idempotency-key": "t1"})

    assert landed.json()["status"] == "on_site"
    assert [(member["id"], member["verdict"]) for member in landed.json()["members"]] == [
        (first, "applied"),
        (second, "applied"),
    ]
    assert repeat.json() == landed.json()
    assert (await desk.show(1))["urgency"] == "high"
    assert {item["state"] for item in await waiting(desk)} == {"released"}
    assert problem(await release(desk, second, {"set": {"urgency": "low"}})) == (409, "not_waiting")


async def test_a_tx_is_discarded_whole(service: Service) -> None:
    """Whichever of its mutations is named, none of them waits any more, and none is carried out later."""
    desk, ana = await offline_edit(service)
    await ana.settled(
        ana.edit(1, tx="t", set={"priority": "high"}),
        ana.edit(1, tx="t", set={"status": "on_site"}),
        ana.edit(1, tx="u", set={"priority": "low"}),
    )
    rid = ana.enrolled["rid"]

    done = await desk.client.post(f"/v1/held/{rid}-2/discard", json={"reason": "a duplicate"})

    assert (done.json()["id"], done.json()["members"]) == (f"{rid}-2", [f"{rid}-1", f"{rid}-2"])
    states = {item["id"]: item["state"] for item in await waiting(desk)}
    assert states == {f"{rid}-1": "discarded", f"{rid}-2": "discarded", f"{rid}-3": "waiting"}
    assert problem(await release(desk, f"{rid}-1", {"set": {"urgency": "high"}})) == (409, "not_waiting")
    assert "status" not in await desk.show(1)


async def test_a_tx_that_was_rescued_is_released_whole(service: Service) -> None:
    """Its mutations follow on each other as on the device: no conflict among them, the last one's value stands."""
    desk, ana = await service.office(), await service.device(ANA)
    await desk.client.post(f"/v1/devices/{ana.enrolled['replica']}/revoke")
    await ana.settled(
        ana.edit(7, op="create", tx="t", set={"title": "Leak", "assignee_id": ANA}),
        ana.edit(7, tx="t", set={"title": "Leak, cellar"}),
        ana.edit(7, tx="t", set={"title": "Leak, cellar", "status": "on_site"}),
        ana.edit(7, tx="t", set={"title": "Leak, roof"}),
        rescue=True,
    )

    released = await release(desk, f"{ana.enrolled['rid']}-4")

    cells = [member["cells"]["title"]["verdict"] for member in released.json()["members"]]
    assert cells == ["applied", "applied", "converged", "applied"]
    assert (released.json()["title"], (await desk.show(7))["status"]) == ("Leak, roof", "on_site")
    assert await desk.conflicts() == []


async def test_work_on_a_record_whose_create_is_held_waits_for_it(service: Service) -> None:
    """The edit and the task are held after it, also in later pushes; released in order they all land."""
    desk, ana = await offline_edit(service)
    rid = ana.enrolled["rid"]
    made = ana.edit(7, op="create", set={"title": "Leak", "priority": "high"})
    first = await ana.settled(made, ana.edit(7, set={"status": "on_site"}))
    second = await ana.settled(ana.edit(8, op="create", collection="tasks", set={"work_order_id": uid(7)}), schema=2)

    early = await release(desk, f"{rid}-2")
    orphan = await release(desk, f"{rid}-3")
    office = await desk.client.patch(f"/v1/work_orders/{uid(7)}", json={"title": "x"}, headers={"if-match": '"0"'})
    landed = [
        await release(desk, f"{rid}-1", {"set": {"title": "Leak", "urgency": "high"}}),
        await release(desk, f"{rid}-2"),
        await release(desk, f"{rid}-3"),
    ]

    assert codes(first) == ["held_schema", "held_before"]
    assert codes(second) == ["held_before"]
    assert problem(early) == (404, "unknown_record")
    assert problem(orphan) == (422, "missing_parent")
    assert problem(office) == (404, "unknown_record")
    assert [answer.status_code for answer in landed] == [200, 200, 200]
    record = await desk.show(7)
    assert (record["title"], record["urgency"], record["status"]) == ("Leak", "high", "on_site")
    await ana.pull()
    assert {uid(7), uid(8)} <= ana.held.keys(), "whoever made it holds it, as if it had not waited"


async def test_the_writer_s_own_earlier_work_is_no_conflict(service: Service) -> None:
    """A released edit follows what its device wrote before, and meets what others wrote since by the policy."""
    desk, ana = await offline_edit(service)
    await ana.settled(
        ana.edit(1, set={"status": "on_way", "title": "Pump"}), ana.edit(1, set={"status": "on_site", "priority": "x"})
    )
    held_id = f"{ana.enrolled['rid']}-2"
    own = await release(desk, held_id, {"set": {"status": "on_site"}})
    await ana.pull()
    await ana.settled(ana.edit(1, set={"title": "Leak", "priority": "x"}))
    await desk.change(1, (await desk.show(1))["rev"], title="Boiler, cellar")
    lost = await release(desk, f"{ana.enrolled['rid']}-3", {"set": {"title": "Leak"}})

    assert own.json()["cells"]["status"]["verdict"] == "applied"
    assert (await desk.show(1))["status"] == "on_site"
    assert lost.json()["cells"]["title"]["verdict"] == "superseded"
    assert [entry["rule"] for entry in await desk.conflicts()] == ["rank"]
    assert (await desk.conflicts())[0]["loser"]["authority"] == "device"


async def test_a_release_gives_nobody_more_than_the_writer_had(service: Service) -> None:
    """A technician who never held the record gets it no more by way of the office; it goes on waiting."""
    desk, _ = await offline_edit(service)
    ben = await service.device(BEN)
    await ben.settled(ben.edit(1, set={"priority": "high"}, base=0))
    held_id = f"{ben.enrolled['rid']}-1"

    foreign = await release(desk, held_id, {"set": {"urgency": "high"}})
    await desk.change(1, (await desk.show(1))["rev"], assignee_id=BEN)
    own = await release(desk, held_id, {"set": {"urgency": "high"}})

    assert problem(foreign) == (422, "refused")
    assert foreign.json()["cells"]["urgency"]["code"] == "out_of_scope"
    assert own.status_code == 200
    assert (await desk.show(1))["urgency"] == "high"


async def test_a_release_has_one_effect(service: Service) -> None:
    """A second click is told so, a repeat under its key gets the first answer, and the record moves once."""
    desk, ana = await offline_edit(service)
    await ana.settled(ana.edit(1, do={"notes": {"append": " called"}}, set={"priority": "high"}))
    held_id, better = f"{ana.enrolled['rid']}-1", {"set": {"urgency": "high"}}

    first = await release(desk, held_id, better, **{"idempotency-key": "r1"})
    repeat = await release(desk, held_id, better, **{"idempotency-key": "r1"})
    other = await release(desk, held_id, {"set": {"urgency": "low"}}, **{"idempotency-key": "r1"})
    again = await release(desk, held_id, better)
    late = await desk.client.post(f"/v1/held/{held_id}/discard", json={"reason": "a duplicate"})

    assert first.status_code == 200
    assert repeat.json() == first.json()
    assert problem(other) == (422, "idempotency_key_reused")
    assert problem(again) == problem(late) == (409, "not_waiting")
    assert (await desk.show(1))["notes"] == " called"


async def test_two_people_who_release_at_once_release_it_once(service: Service) -> None:
    """However many click at one moment, one is answered and the others are told that it is done."""
    desk, ana = await offline_edit(service)
    await ana.settled(ana.edit(1, do={"notes": {"append": " called"}}, set={"priority": "high"}))
    held_id = f"{ana.enrolled['rid']}-1"

    answers = await asyncio.gather(
        *(release(desk, held_id, {"set": {"urgency": "high"}}) for _ in range(6)),
        desk.client.post(f"/v1/held/{held_id}/discard", json={"reason": "a duplicate"}),
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 6
    discarded = answers[-1].status_code == 200
    assert (await desk.show(1)).get("notes") == (None if discarded else " called")
    assert [item["state"] for item in await waiting(desk)] == ["discarded" if discarded else "released"]


async def test_what_is_discarded_is_kept_and_never_carried_out(service: Service) -> None:
    """Its end has a person and a reason, the same word twice changes nothing, and its payload can be read."""
    desk, ana = await offline_edit(service)
    await ana.settled(ana.edit(1, set={"priority": "high"}))
    held_id = f"{ana.enrolled['rid']}-1"

    unsaid = await desk.client.post(f"/v1/held/{held_id}/discard", json={"reason": " "})
    long = await desk.client.post(f"/v1/held/{held_id}/discard", json={"reason": "x" * 501})
    done, again = [
        await desk.client.post(f"/v1/held/{held_id}/discard", json={"reason": "a duplicate"}) for _ in range(2)
    ]

    for answer in (unsaid, long):
        assert problem(answer) == (422, "bad_mutation")
        assert "reason" in answer.json()["detail"]
        assert "500" in answer.json()["detail"]
    assert again.json() == done.json()
    assert (done.json()["state"], done.json()["reason"], done.json()["ended_by"]) == ("discarded", "a duplicate", DORA)
    assert problem(await release(desk, held_id, {"set": {}})) == (409, "not_waiting")
    assert (await detail(desk, held_id))["payload"]["set"] == {"priority": "high"}
    assert "urgency" not in await desk.show(1)


async def test_a_discarded_create_is_waited_for_no_more(service: Service) -> None:
    """What follows on it is then refused as unknown, and holds nobody up."""
    desk, ana = await offline_edit(service)
    await ana.settled(ana.edit(7, op="create", set={"title": "Leak", "priority": "high"}))
    await desk.client.post(f"/v1/held/{ana.enrolled['rid']}-1/discard", json={"reason": "not ours"})

    answer = await ana.settled(ana.edit(7, set={"status": "on_site"}))

    assert (verdicts(answer), codes(answer)) == (["refused"], ["unknown_record"])


async def test_a_revoked_device_hands_over_its_work(service: Service) -> None:
    """Without `rescue` it is fenced; with it all is held, none is judged, and the office releases what is good."""
    desk, ana = await service.office(), await service.device(ANA)
    await desk.create(1, title="Boiler", assignee_id=ANA)
    await ana.pull()
    await desk.client.post(f"/v1/devices/{ana.enrolled['replica']}/revoke")
    edits = [
        ana.edit(1, set={"status": "done"}),
        ana.edit(7, op="create", collection="notes", set={"work_order_id": uid(1), "body": "Valve stuck."}),
    ]

    fenced = await ana.push(*edits)
    rescued = await ana.settled(*edits, rescue=True)
    repeat = await ana.settled(*edits, rescue=True)
    before = await desk.show(1)
    released = [await release(desk, f"{ana.enrolled['rid']}-{n}") for n in (1, 2)]

    assert problem(fenced) == (403, "fenced")
    assert (codes(rescued), rescued["applied"]) == (["held_fenced", "held_fenced"], 2)
    assert repeat["verdicts"] == rescued["verdicts"]
    assert "status" not in before
    assert [answer.status_code for answer in released] == [200, 200]
    assert (await desk.show(1))["status"] == "done"
    assert (await desk.show(7, "notes"))["body"] == "Valve stuck."


async def test_a_revoked_device_gets_nothing_but_the_rescue(service: Service) -> None:
    """Its token, also one that it refreshed for the rescue, opens no pull, no record and no other push."""
    desk, ana = await service.office(), await service.device(ANA)
    await desk.create(1, title="Boiler", assignee_id=ANA)
    await ana.pull()
    await desk.client.post(f"/v1/devices/{ana.enrolled['replica']}/revoke")
    refresh = {"refresh": ana.enrolled["refresh"]}

    turned_away = await service.client().post("/v1/devices/refresh", json=refresh)
    given = await service.client().post("/v1/devices/refresh", json={**refresh, "rescue": True})
    late = Phone(service.client(given.json()["token"]), ana.enrolled)
    answers = [
        await late.client.post("/v1/sync/pull", json={}),
        await late.client.get("/v1/sync/pull"),
        await late.client.get(f"/v1/work_orders/{uid(1)}"),
        await late.client.get("/v1/catalog"),
        await late.push(late.edit(1, set={"status": "done"})),
    ]
    late.n = 0
    rescued = await late.settled(late.edit(1, set={"status": "done"}), rescue=True)

    assert problem(turned_away) == (403, "fenced")
    assert [problem(answer) for answer in answers] == [(403, "fenced")] * 5
    assert codes(rescued) == ["held_fenced"]


async def test_a_rescue_is_no_way_to_speak_for_somebody_else(service: Service) -> None:
    """A revoked device names nobody who is not enrolled on it, and a healthy one is judged as always."""
    desk, ana = await service.office(), await service.device(ANA)
    await desk.create(1, title="Boiler", assignee_id=ANA)
    await ana.pull()

    healthy = await ana.settled(ana.edit(1, set={"status": "on_site"}), rescue=True)
    await desk.client.post(f"/v1/devices/{ana.enrolled['replica']}/revoke")
    forged = await ana.settled(ana.edit(1, by=BEN, set={"status": "done"}), rescue=True)

    assert verdicts(healthy) == ["applied"]
    assert (verdicts(forged), codes(forged)) == (["refused"], ["unknown_person"])


async def test_held_mutations_are_listed_in_pages(service: Service) -> None:
    """Newest first, by state and collection, without missing one; nonsense is named."""
    desk, ana = await offline_edit(service)
    await ana.settled(*(ana.edit(1, set={"priority": f"p{n}"}) for n in range(5)))
    rid = ana.enrolled["rid"]
    await desk.client.post(f"/v1/held/{rid}-3/discard", json={"reason": "a duplicate"})

    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await desk.client.get("/v1/held", params={"limit": 2, "cursor": cursor})).json()
        found += [item["id"] for item in page["items"]]
        cursor = page["cursor"]

    assert found == [f"{rid}-{n}" for n in (5, 4, 3, 2, 1)]
    assert [item["id"] for item in await waiting(desk, state="waiting")] == [f"{rid}-{n}" for n in (5, 4, 2, 1)]
    assert await waiting(desk, collection="tasks") == []
    for bad in ("state=lost", "cursor=x", "cursor=1~2", "collection=%00", "limit=x", "state=waiting&state=waiting"):
        assert problem(await desk.client.get(f"/v1/held?{bad}")) == (400, "bad_filter"), bad
    for nothing in ("x", "1-1", "99999999999-1", "1-1%0A", "%00"):
        assert problem(await desk.client.get(f"/v1/held/{nothing}")) == (404, "unknown_held"), nothing


@pytest.mark.parametrize("role", ["technician", "integrator", "readonly", "worker"])
async def test_only_the_office_decides(service: Service, role: str) -> None:
    """Nobody else sees or ends what waits, and another tenant's is not there."""
    desk, ana = await offline_edit(service)
    await ana.settled(ana.edit(1, set={"priority": "high"}))
    held_id = f"{ana.enrolled['rid']}-1"
    other = service.client(await service.token(role=role))
    await service.add_tenant("Southwind Heating")
    foreign = await service.office()

    answers = [
        await other.get("/v1/held"),
        await other.get(f"/v1/held/{held_id}"),
        await other.post(f"/v1/held/{held_id}/release", json={}),
        await other.post(f"/v1/held/{held_id}/discard", json={"reason": "x"}),
    ]

    assert [problem(answer) for answer in answers] == [(403, "forbidden")] * 4
    assert problem(await foreign.client.get(f"/v1/held/{held_id}")) == (404, "unknown_held")
    assert problem(await release(foreign, held_id)) == (404, "unknown_held")
    assert [item["state"] for item in await waiting(desk)] == ["waiting"]
