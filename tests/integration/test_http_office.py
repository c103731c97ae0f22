"""The office over HTTP: a write says what was shown, and never blocks on somebody else's."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.service import ANA, BEN, DORA, Desk, Service, problem, uid


async def test_what_is_written_is_read_back(service: Service) -> None:
    """A made record has an ETag, is found by its id, and a change moves its rev."""
    desk = await service.office()

    made = await desk.create(1, title="  Boiler ", priority="high", window_start="2026-03-01T08:00+01:00")
    changed = await desk.change(1, made["rev"], status="open", priority=None)
    answer = await desk.client.get(f"/v1/work_orders/{uid(1).upper()}")

    assert made["verdict"] == changed["verdict"] == "applied"
    assert made["cells"]["title"]["value"] == "Boiler"
    assert answer.headers["etag"] == f'"{changed["rev"]}"'
    assert answer.json() == {
        "id": uid(1),
        "rev": changed["rev"],
        "title": "Boiler",
        "priority": None,
        "status": "open",
        "window_start": "2026-03-01T07:00:00.000Z",
        "window_end": None,
        "time_zone": None,
    }


async def test_a_stale_page_loses_to_the_device_by_policy(service: Service) -> None:
    """A page fetched before a device's edit and sent after it: the policy decides, with one conflict entry."""
    desk, ana = await service.office(), await service.device()
    await desk.create(1, title="Boiler", assignee_id=ANA, status="open")
    page = await desk.client.get(f"/v1/work_orders/{uid(1)}")
    await ana.pull()
    await ana.settled(ana.edit(1, set={"status": "on_site"}))

    stale = await desk.client.patch(
        f"/v1/work_orders/{uid(1)}",
        json={"status": "planned", "title": "Boiler, cellar"},
        headers={"if-match": page.headers["etag"]},
    )

    assert stale.status_code == 200
    assert stale.json()["verdict"] == "superseded"
    assert stale.json()["cells"]["status"]["value"] == "on_site"
    assert stale.json()["cells"]["title"]["verdict"] == "applied"
    assert (stale.json()["status"], stale.json()["title"]) == ("on_site", "Boiler, cellar")
    (entry,) = await desk.conflicts()
    assert (entry["cell"], entry["rule"], entry["state"]) == ("status", "rank", "decided")
    assert (entry["winner"]["value"], entry["loser"]["value"]) == ("on_site", "planned")
    assert (entry["winner"]["person"], entry["winner"]["relation"]) == (ANA, "assignee")
    assert (entry["loser"]["person"], entry["loser"]["authority"]) == (DORA, "office")


@pytest.mark.parametrize("base", [None, "*", 'W/"3"', '"a"', '"-1"', '"1", "2"', ""])
async def test_a_write_without_what_was_shown_is_turned_away(service: Service, base: str | None) -> None:
    """A missing If-Match, `*` and weak ones say nothing about what the person saw."""
    desk = await service.office()
    await desk.create(1, title="Boiler")
    headers = {} if base is None else {"if-match": base}
    place = f"/v1/work_orders/{uid(1)}"

    answers = [
        await desk.client.patch(place, json={"title": "x"}, headers=headers),
        await desk.client.delete(place, headers=headers),
        await desk.client.post(f"{place}/assign", json={"assignee_id": ANA}, headers=headers),
        await desk.client.post(f"{place}/reschedule", json={"time_zone": "Europe/Zurich"}, headers=headers),
        await desk.client.post(f"{place}/cancel", json={}, headers=headers),
    ]

    assert {problem(answer) for answer in answers} == {(428, "base_required")}
    assert (await desk.show(1))["title"] == "Boiler"


@pytest.mark.parametrize("rev", [10_000, 2**63, 10**18])
async def test_a_rev_that_never_was_is_turned_away(service: Service, rev: int) -> None:
    """If-Match above the record's rev is a mistake, not a license to overwrite."""
    desk = await service.office()
    await desk.create(1, title="Boiler")

    answer = await desk.client.patch(f"/v1/work_orders/{uid(1)}", json={"title": "x"}, headers={"if-match": f'"{rev}"'})

    assert problem(answer) == (409, "rev_ahead")


async def test_a_body_may_say_what_to_do(service: Service) -> None:
    """With do and was the office adds to what others added meanwhile."""
    desk = await service.office()
    rev = (await desk.create(1, set={"title": "Boiler", "notes": "a"}))["rev"]
    place, shown = f"/v1/work_orders/{uid(1)}", {"if-match": f'"{rev}"'}

    await desk.client.patch(place, json={"do": {"notes": {"append": "b"}}}, headers=shown)
    answer = await desk.client.patch(place, json={"set": {"notes": "ac"}, "was": {"notes": "a"}}, headers=shown)

    assert answer.json()["verdict"] == "merged"
    assert answer.json()["notes"] == "abc"


async def test_a_deleted_record_is_gone_and_says_since_when(service: Service) -> None:
    """A delete is answered once, a later look at the record with 410 and its rev."""
    desk = await service.office()
    rev = (await desk.create(1, title="Boiler"))["rev"]
    place = f"/v1/work_orders/{uid(1)}"

    deleted = await desk.client.delete(place, headers={"if-match": f'"{rev}"'})
    gone = await desk.client.get(place)
    late = await desk.client.patch(place, json={"title": "x"}, headers={"if-match": gone.headers["etag"]})

    assert deleted.json()["cells"]["$alive"]["value"] is False
    assert problem(gone) == problem(late) == (410, "record_deleted")
    assert gone.json()["rev"] == deleted.json()["rev"]
    assert (await desk.client.get("/v1/work_orders")).json()["items"] == []


async def test_a_stale_edit_brings_a_deleted_record_back(service: Service) -> None:
    """Who edits without having seen the delete is judged like a device that did so."""
    desk = await service.office()
    rev = (await desk.create(1, title="Boiler"))["rev"]
    await desk.client.delete(f"/v1/work_orders/{uid(1)}", headers={"if-match": f'"{rev}"'})

    stale = await desk.change(1, rev, title="Boiler, cellar")

    assert stale["verdict"] == "merged"
    assert (await desk.show(1))["title"] == "Boiler, cellar"
    assert [entry["cell"] for entry in await desk.conflicts()] == ["$alive"]


async def test_a_repeat_under_the_same_key_is_answered_the_same(service: Service) -> None:
    """The stored answer comes back whatever happened since; another request may not have the key."""
    desk = await service.office()
    key = {"idempotency-key": "key-1"}
    made = [await desk.client.post("/v1/work_orders", json={"title": "Boiler"}, headers=key) for _ in range(2)]
    place = f"/v1/work_orders/{made[0].json()['id']}"
    shown = {"if-match": made[0].headers["etag"], "idempotency-key": "key-2"}
    first = await desk.client.patch(place, json={"title": "x"}, headers=shown)
    await desk.client.patch(place, json={"title": "y"}, headers={"if-match": first.headers["etag"]})
    again = await desk.client.patch(place, json={"title": "x"}, headers=shown)
    seen_since = shown | {"if-match": (await desk.client.get(place)).headers["etag"]}
    later = await desk.client.patch(place, json={"title": "x"}, headers=seen_since)
    other = await desk.client.patch(place, json={"title": "z"}, headers=shown)

    assert made[0].json() == made[1].json()
    assert again.json() == later.json() == first.json()
    assert problem(other) == (422, "idempotency_key_reused")
    assert (await desk.client.get(place)).json()["title"] == "y"
    assert len((await desk.client.get("/v1/work_orders")).json()["items"]) == 1


async def test_the_same_id_made_twice_is_judged_as_a_change(service: Service) -> None:
    """Making a record that exists is no error: equal values converge, others meet the policy."""
    desk = await service.office()
    made = await desk.create(1, title="Boiler")

    same = await desk.create(1, title="Boiler")
    other = await desk.create(1, title="Pump")

    assert (same["verdict"], same["rev"]) == ("converged", made["rev"])
    assert (other["verdict"], other["title"]) == ("superseded", "Boiler")


async def test_a_write_that_cannot_be_meant_is_a_problem(service: Service) -> None:
    """Nothing was carried out, and the code says why; a bad field among good ones is told in its cell."""
    desk = await service.office()
    rev = (await desk.create(1, title="Boiler"))["rev"]

    async def make(**body: Any) -> httpx.Response:
        return await desk.client.post("/v1/work_orders", json=body)

    mixed = await desk.change(1, rev, title="Pump", colour="red", completed_at="soon")
    unknown = await desk.client.patch(f"/v1/work_orders/{uid(2)}", json={"title": "x"}, headers={"if-match": '"1"'})
    none_of_it = await desk.client.patch(
        f"/v1/work_orders/{uid(1)}", json={"colour": "red", "cost": "1"}, headers={"if-match": f'"{rev}"'}
    )
    orphan = await desk.client.post("/v1/tasks", json={"work_order_id": uid(7), "title": "t"})

    assert mixed["verdict"] == "refused"
    assert {name: cell["verdict"] for name, cell in mixed["cells"].items()} == {
        "title": "applied",
        "colour": "refused",
        "completed_at": "refused",
    }
    assert problem(await make(id="7")) == (422, "bad_id")
    assert problem(await make(id=7)) == (422, "bad_id")
    assert problem(await make(colour="red")) == (422, "refused")
    assert problem(await make(**{"a\0b": 1})) == (422, "bad_mutation")
    assert problem(await make(set={"title": "a"}, was={"x" * 201: 1})) == (422, "bad_mutation")
    assert problem(none_of_it) == (422, "refused")
    assert {cell: told["code"] for cell, told in none_of_it.json()["cells"].items()} == {
        "colour": "invalid",
        "cost": "not_owner",
    }
    assert problem(unknown) == (404, "unknown_record")
    assert problem(orphan) == (422, "missing_parent")
    assert problem(await desk.client.get("/v1/unicorns")) == (404, "unknown_collection")
    assert problem(await desk.client.post("/v1/unicorns", json={})) == (404, "unknown_collection")
    assert problem(await desk.client.post("/v1/work_orders", content=b"[1]")) == (400, "bad_request")
    other_id = {"id": uid(3), "title": "x"}
    answer = await desk.client.patch(f"/v1/work_orders/{uid(1)}", json=other_id, headers={"if-match": '"1"'})
    assert problem(answer) == (422, "bad_id")


async def listed(desk: Desk, **query: Any) -> list[str]:
    """Return the titles of all pages of a list."""
    titles, cursor = [], ""
    while cursor is not None:
        answer = await desk.client.get("/v1/work_orders", params={**query, "limit": 2, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        titles += [item["title"] for item in answer.json()["items"]]
        cursor = answer.json()["cursor"]
    return titles


async def test_lists_are_filtered_and_paged(service: Service) -> None:
    """Every field filters by its value, an empty one by null, and pages miss and repeat nothing."""
    desk = await service.office()
    for number in range(5):
        await desk.create(number, title=f"job {number}", status="open" if number % 2 else "done")
    last = await desk.create(5, title="job 5", crew=[ANA, BEN], assignee_id=ANA)

    assert await listed(desk) == [f"job {number}" for number in range(6)]
    assert await listed(desk, status="open") == ["job 1", "job 3"]
    assert await listed(desk, status="done", title="job 4") == ["job 4"]
    assert await listed(desk, crew=BEN) == ["job 5"]
    assert await listed(desk, assignee_id="") == [f"job {number}" for number in range(5)]
    assert await listed(desk, updated_since_rev=last["rev"] - 1) == ["job 5"]
    for bad in (
        "work_orders?colour=red",
        "work_orders?limit=x",
        "work_orders?limit=-1",
        "work_orders?cursor=x",
        "work_orders?updated_since_rev=x",
        "work_orders?updated_since_rev=%D9%A3",
        "work_orders?assignee_id=x",
        "work_orders?title=%00",
        "work_orders?status=open&status=done",
        "job_types?slot_minutes=--5",
        "job_types?slot_minutes=" + "9" * 5_000,
        "job_types?slot_minutes=%D9%A3",
    ):
        assert problem(await desk.client.get(f"/v1/{bad}")) == (400, "bad_filter"), bad
    assert len((await desk.client.get("/v1/work_orders", params={"limit": "9" * 5_000})).json()["items"]) == 6


async def test_any_collection_of_the_catalogue_has_its_routes(service: Service) -> None:
    """What is served follows the catalogue, not the code."""
    desk = await service.office()

    made = await desk.create(1, "teams", name="North")
    found = (await desk.client.get("/v1/teams", params={"name": "North"})).json()

    assert found == {"items": [{"id": uid(1), "rev": made["rev"], "name": "North"}], "cursor": None}


@pytest.mark.parametrize("name", ["reconciliations", "attachments", "people"])
async def test_a_name_that_the_service_keeps_is_no_collection(service: Service, name: str) -> None:
    """Where no route is yet, nothing is there; the catalogue has no say in it."""
    desk = await service.office()

    for place in (f"/v1/{name}", f"/v1/{name}/{uid(1)}"):
        assert problem(await desk.client.get(place)) == (404, "not_found")
    assert problem(await desk.client.post(f"/v1/{name}", json={"name": "x"})) == (404, "not_found")


async def test_the_history_tells_each_cell_s_writes(service: Service) -> None:
    """Who wrote what, newest first, cell by cell, in pages."""
    desk, ana = await service.office(), await service.device()
    rev = (await desk.create(1, title="Boiler", assignee_id=ANA, status="open"))["rev"]
    await ana.pull()
    await ana.settled(ana.edit(1, set={"status": "on_site"}, at=1_700_000_000_000))
    await desk.change(1, rev, title="Boiler, cellar")

    place = f"/v1/work_orders/{uid(1)}/history"
    whole = (await desk.client.get(place)).json()
    page = (await desk.client.get(place, params={"limit": 1})).json()
    rest = (await desk.client.get(place, params={"cursor": page["cursor"]})).json()

    assert [write["value"] for write in whole["cells"]["status"]] == ["on_site", "open"]
    assert [write["value"] for write in whole["cells"]["title"]] == ["Boiler, cellar", "Boiler"]
    newest = whole["cells"]["status"][0]
    assert (newest["person"], newest["authority"], newest["at"]) == (ANA, "device", 1_700_000_000_000)
    assert list(page["cells"]) == ["title"]
    assert [write["value"] for write in rest["cells"]["status"]] == ["on_site", "open"]
    assert problem(await desk.client.get(f"/v1/work_orders/{uid(2)}/history")) == (404, "unknown_record")


async def test_a_work_order_is_assigned_rescheduled_and_cancelled(service: Service) -> None:
    """The three verbs are writes like any other, and a technician's phone hears of each."""
    desk, ana = await service.office(), await service.device()
    await desk.create(1, title="Boiler", time_zone="Europe/Zurich")
    await hired(desk, ANA)
    place = f"/v1/work_orders/{uid(1)}"

    async def do(verb: str, **body: Any) -> dict[str, Any]:
        shown = {"if-match": f'"{(await desk.show(1))["rev"]}"'}
        answer = await desk.client.post(f"{place}/{verb}", json=body, headers=shown)
        assert answer.status_code == 200, answer.text
        return answer.json()

    await do("assign", assignee_id=ANA, crew=[BEN])
    await ana.pull()
    await do("reschedule", window_start="2026-03-01T08:00:00Z", window_end="2026-03-01T10:00:00Z")
    await do("cancel", reason="The customer moved out.")
    await ana.pull()

    held = ana.held[uid(1)]
    assert (held["assignee_id"], held["crew"]) == (ANA, [BEN])
    assert (held["window_start"], held["time_zone"]) == ("2026-03-01T08:00:00.000Z", "Europe/Zurich")
    assert (held["status"], held["summary"]) == ("cancelled", "The customer moved out.")
    await do("assign", assignee_id=None, crew=[])
    assert [change["op"] for commit in (await ana.pull())["commits"] for change in commit["changes"]] == ["leave"]
    answer = await desk.client.post(
        f"/v1/teams/{uid(1)}/assign", json={"assignee_id": ANA}, headers={"if-match": '"1"'}
    )
    assert problem(answer) == (404, "not_found")


async def hired(desk: Desk, person: str) -> None:
    """Make the record of a technician."""
    answer = await desk.client.post("/v1/technicians", json={"id": person, "name": "Ana"})
    assert answer.status_code == 200, answer.text


async def test_only_a_technician_is_given_work(service: Service) -> None:
    """Somebody unknown, deleted, or no id at all is refused by name; a repeat still gets its answer."""
    desk = await service.office()
    rev = (await desk.create(1, title="Boiler"))["rev"]
    await hired(desk, ANA)

    async def assign(who: Any, **headers: str) -> httpx.Response:
        shown = {"if-match": f'"{rev}"', **headers}
        return await desk.client.post(f"/v1/work_orders/{uid(1)}/assign", json={"assignee_id": who}, headers=shown)

    unknown = [await assign(who) for who in (BEN, uid(1), "ana", "")]
    given = await assign(ANA.upper(), **{"idempotency-key": "a1"})
    await desk.client.delete(f"/v1/technicians/{ANA}", headers={"if-match": f'"{given.json()["rev"] - 1}"'})
    gone = await assign(ANA)
    again = await assign(ANA.upper(), **{"idempotency-key": "a1"})

    assert {problem(answer) for answer in (*unknown, gone)} == {(422, "unknown_technician")}
    assert given.json()["assignee_id"] == ANA
    assert again.json() == given.json()
    rev = given.json()["rev"]
    assert (await assign(None)).json()["assignee_id"] is None


async def test_a_window_does_not_end_before_it_starts(service: Service) -> None:
    """The half that is left out counts as it stands; moments are compared, not their texts."""
    desk = await service.office()
    rev = (await desk.create(1, title="Boiler"))["rev"]

    async def move(**body: Any) -> httpx.Response:
        shown = {"if-match": f'"{rev}"'}
        return await desk.client.post(f"/v1/work_orders/{uid(1)}/reschedule", json=body, headers=shown)

    backwards = await move(window_start="2026-03-01T10:00:00Z", window_end="2026-03-01T09:00:00Z")
    straight = await move(window_start="2026-03-01T10:00:00+02:00", window_end="2026-03-01T09:00:00Z")
    rev = straight.json()["rev"]
    half = await move(window_end="2026-03-01T07:59:59Z")
    nonsense = await move(window_start="soon", window_end="2026-03-01T09:00:00Z")

    assert problem(backwards) == problem(half) == (422, "bad_mutation")
    assert straight.json()["window_start"] == "2026-03-01T08:00:00.000Z"
    assert problem(nonsense) == (422, "refused")
    assert (await move(window_end=None)).json()["window_end"] is None


async def test_a_technician_reads_what_they_hold(service: Service) -> None:
    """By REST a technician sees their own records and those for everybody, and nothing else."""
    desk = await service.office()
    await desk.create(1, title="hers", assignee_id=ANA)
    await desk.create(2, title="his", assignee_id=BEN)
    await desk.create(3, "teams", name="North")
    ana = Desk(service.client(await service.token(ANA)))

    assert await listed(ana) == ["hers"]
    assert (await ana.show(1))["title"] == "hers"
    assert (await ana.show(3, "teams"))["name"] == "North"
    for place in (f"/v1/work_orders/{uid(2)}", f"/v1/work_orders/{uid(2)}/history"):
        assert problem(await ana.client.get(place)) == (404, "unknown_record")
