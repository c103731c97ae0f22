"""Delete against edit over HTTP: a person chooses, or takes back what a rule chose, and both sides can win."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.service import ANA, BEN, Desk, Phone, Service, problem, uid, verdicts

KEPT = 'against_edit = "keep_edit"\nscope = ["assignee"'
MANUAL = (KEPT, KEPT.replace("keep_edit", "manual"))
WINS = (KEPT, KEPT.replace("keep_edit", "delete_wins"))


async def job(service: Service, rule: tuple[str, str]) -> tuple[Desk, Phone, int]:
    """Give a technician a work order under a rule for deletes, and return the rev that both have seen."""
    desk, ana = await service.office(), await service.device(ANA)
    await service.publish(rule)
    rev = (await desk.create(1, title="Boiler", notes="A.", status="planned", assignee_id=ANA, crew=[BEN]))["rev"]
    await ana.pull()
    return desk, ana, rev


async def delete(desk: Desk, rev: int) -> httpx.Response:
    """Delete the work order as it was shown at a rev."""
    return await desk.client.delete(f"/v1/work_orders/{uid(1)}", headers={"if-match": f'"{rev}"'})


async def is_there(desk: Desk) -> bool:
    """Tell whether the work order exists."""
    return (await desk.client.get(f"/v1/work_orders/{uid(1)}")).status_code == 200


async def alive_conflict(desk: Desk) -> dict[str, Any]:
    """Return the explanation of the newest conflict over whether the record exists."""
    newest = next(entry for entry in await desk.conflicts() if entry["cell"] == "$alive")
    return (await desk.client.get(f"/v1/conflicts/{newest['id']}")).json()


async def say(desk: Desk, verb: str, entry: dict[str, Any], **word: Any) -> httpx.Response:
    """Send a person's word on a conflict, with the state that it was shown with."""
    return await desk.client.post(f"/v1/conflicts/{entry['conflict']['id']}/{verb}", json={**entry["shown"], **word})


async def test_a_delete_that_had_not_seen_an_edit_waits(service: Service) -> None:
    """The record stays, the conflict is open and says so in words."""
    desk, ana, rev = await job(service, MANUAL)
    await ana.settled(ana.edit(1, set={"status": "on_site"}))

    parked = await delete(desk, rev)

    entry = await alive_conflict(desk)
    assert parked.json()["cells"]["$alive"]["verdict"] == "parked"
    assert (entry["conflict"]["state"], entry["conflict"]["rule"]) == ("open", "against_edit:manual")
    assert "A person has to choose" in entry["sentence"]
    assert len(entry["shown"]["siblings"]) == 1
    assert await is_there(desk)


@pytest.mark.parametrize(("choose", "stays"), [("winner", True), ("loser", False)])
async def test_a_parked_delete_is_settled_both_ways(service: Service, choose: str, stays: bool) -> None:
    """Keeping the edit keeps the record, keeping the delete deletes it; nothing is left waiting."""
    desk, ana, rev = await job(service, MANUAL)
    await ana.settled(ana.edit(1, set={"status": "on_site"}))
    await delete(desk, rev)

    settled = await say(desk, "settle", await alive_conflict(desk), choose=choose)
    after = await alive_conflict(desk)

    assert settled.status_code == 200
    assert await is_there(desk) is stays
    assert (after["conflict"]["state"], after["shown"]["siblings"]) == ("settled", [])
    await ana.pull()
    assert (uid(1) in ana.held) is stays
    if stays:
        assert (await desk.show(1))["status"] == "on_site"


async def parked_edit(service: Service) -> tuple[Desk, Phone]:
    """Let a technician edit what the office has deleted meanwhile."""
    desk, ana, rev = await job(service, MANUAL)
    assert (await delete(desk, rev)).json()["cells"]["$alive"]["verdict"] == "applied"
    answer = await ana.settled(ana.edit(1, set={"status": "on_site", "title": "Boiler, roof"}))
    assert verdicts(answer) == ["parked"]
    return desk, ana


async def test_a_parked_edit_leaves_the_record_deleted(service: Service) -> None:
    """It waits in one entry that shows all it would have written."""
    desk, _ = await parked_edit(service)

    entry = await alive_conflict(desk)

    assert not await is_there(desk)
    assert entry["conflict"]["loser"]["value"] == {"status": "on_site", "title": "Boiler, roof"}
    assert [each["state"] for each in await desk.conflicts()] == ["open"]


async def test_keeping_a_parked_edit_brings_record_and_edit_back(service: Service) -> None:
    """The record exists by the office's word, the values are the technician's, in one commit."""
    desk, ana = await parked_edit(service)

    settled = await say(desk, "settle", await alive_conflict(desk), choose="loser")

    record = await desk.show(1)
    past = (await desk.client.get(f"/v1/work_orders/{uid(1)}/history")).json()["cells"]
    assert settled.json()["cells"]["status"]["verdict"] == "applied"
    assert (record["status"], record["title"], record["notes"]) == ("on_site", "Boiler, roof", "A.")
    assert (past["status"][0]["authority"], past["$alive"][0]["authority"]) == ("device", "office")
    assert past["status"][0]["tx"] == past["$alive"][0]["tx"] is not None
    assert [each["state"] for each in await desk.conflicts()] == ["settled"]
    await ana.pull()
    assert ana.held[uid(1)]["status"] == "on_site"


async def test_keeping_the_delete_ends_a_parked_edit(service: Service) -> None:
    """The record stays deleted, and nothing waits any more."""
    desk, _ = await parked_edit(service)

    settled = await say(desk, "settle", await alive_conflict(desk), choose="winner")

    assert settled.status_code == 200
    assert not await is_there(desk)
    assert [each["state"] for each in await desk.conflicts()] == ["settled"]
    assert (await alive_conflict(desk))["shown"]["siblings"] == []


async def test_a_settling_names_all_that_waits_and_ends_one(service: Service) -> None:
    """A second edit that was parked since is not thrown away: it waits on, and can be carried out too."""
    desk, _, rev = await job(service, MANUAL)
    ana, ben = await service.device(ANA), await service.device(BEN)
    await ana.pull()
    await ben.pull()
    await delete(desk, rev)
    await ana.settled(ana.edit(1, set={"status": "on_site"}))
    early = await alive_conflict(desk)
    await ben.settled(ben.edit(1, set={"title": "Pump"}))

    moved = await say(desk, "settle", early, choose="loser")
    now = (await desk.client.get(f"/v1/conflicts/{early['conflict']['id']}")).json()
    settled = await say(desk, "settle", now, choose="loser")
    again = await say(desk, "settle", now, choose="loser")
    states = [each["state"] for each in await desk.conflicts()]
    other = await alive_conflict(desk)
    both = await say(desk, "settle", other, choose="loser")

    assert problem(moved) == (409, "state_moved")
    assert settled.status_code == 200
    assert states == ["open", "settled"]
    assert both.status_code == 200
    assert ((await desk.show(1))["status"], (await desk.show(1))["title"]) == ("on_site", "Pump")
    assert problem(again) == (409, "conflict_decided")


async def test_a_settling_can_say_it_outright(service: Service) -> None:
    """A person may say that the record exists, or not, and nothing else."""
    desk, _ = await parked_edit(service)
    entry = await alive_conflict(desk)

    nonsense = await say(desk, "settle", entry, choose="value", value="yes")
    settled = await say(desk, "settle", entry, choose="value", value=True)

    assert problem(nonsense) == (422, "bad_mutation")
    assert "true" in nonsense.json()["detail"]
    assert settled.status_code == 200
    assert (await desk.show(1))["status"] == "planned"


async def test_an_undo_brings_back_record_and_edit(service: Service) -> None:
    """An edit that lost to a delete is all there again, by one call, and the entry says that it was undone."""
    desk, ana, rev = await job(service, WINS)
    await delete(desk, rev)
    lost = await ana.settled(ana.edit(1, set={"status": "on_site"}, do={"notes": {"append": " B."}}))
    entry = await alive_conflict(desk)

    unsaid = await desk.client.post(
        f"/v1/conflicts/{entry['conflict']['id']}/undo", json={"dot": entry["shown"]["dot"]}
    )
    undone = await say(desk, "undo", entry)

    record = await desk.show(1)
    assert verdicts(lost) == ["superseded"]
    assert problem(unsaid) == (422, "bad_mutation")
    assert undone.status_code == 200
    assert (record["status"], record["notes"]) == ("on_site", "A. B.")
    assert [each["state"] for each in await desk.conflicts()] == ["undone"]


async def test_an_undo_keeps_what_others_had_added(service: Service) -> None:
    """Notes that a colleague added before the delete stand beside those of the edit that comes back."""
    desk, ana, rev = await job(service, WINS)
    ben = await service.device(BEN)
    await ben.pull()
    await ben.settled(ben.edit(1, set={"notes": "A. Ben."}, was={"notes": "A."}))
    await delete(desk, (await desk.show(1))["rev"])
    lost = await ana.settled(
        ana.edit(1, base=rev, set={"notes": "A. Ana.", "status": "on_site"}, was={"notes": "A.", "status": "planned"})
    )

    undone = await say(desk, "undo", await alive_conflict(desk))

    assert verdicts(lost) == ["superseded"]
    assert undone.json()["cells"]["notes"]["verdict"] == "merged"
    assert (await desk.show(1))["notes"] == "A. Ben. Ana."
    assert (await desk.show(1))["status"] == "on_site"


async def test_an_undo_of_a_delete_that_won_restores_what_stood_there(service: Service) -> None:
    """What the delete had not seen was in the record already; it comes back with it and is not written twice."""
    desk, ana, rev = await job(service, WINS)
    await ana.settled(ana.edit(1, set={"status": "on_site"}, do={"notes": {"append": " B."}}))
    won = await delete(desk, rev)

    undone = await say(desk, "undo", await alive_conflict(desk))

    record = await desk.show(1)
    assert won.json()["cells"]["$alive"]["verdict"] == "applied"
    assert undone.json()["cells"]["$alive"]["verdict"] == "applied"
    assert (record["status"], record["notes"]) == ("on_site", "A. B.")


async def test_an_undo_of_an_edit_happens_once(service: Service) -> None:
    """A repeat under its key has the first answer, and a second click names a state that is gone."""
    desk, ana, rev = await job(service, WINS)
    await delete(desk, rev)
    await ana.settled(ana.edit(1, do={"notes": {"append": " B."}}))
    entry, path = await alive_conflict(desk), "/v1/conflicts/{id}/undo"
    path = path.format(id=entry["conflict"]["id"])

    first, repeat = [
        await desk.client.post(path, json=entry["shown"], headers={"idempotency-key": "u1"}) for _ in range(2)
    ]
    second = await desk.client.post(path, json=entry["shown"])

    assert first.status_code == 200
    assert repeat.json() == first.json()
    assert problem(second) == (409, "state_moved")
    assert (await desk.show(1))["notes"] == "A. B."


async def test_an_edit_that_no_longer_fits_is_not_brought_back_in_part(service: Service) -> None:
    """Where the catalogue has no such field any more, the undo is refused whole, with the field."""
    desk, ana, rev = await job(service, WINS)
    await delete(desk, rev)
    await ana.settled(ana.edit(1, set={"priority": "high", "status": "on_site"}))
    await service.publish(WINS, ('priority = { kind = "text", limit = 60', 'urgency = { kind = "text", limit = 60'))

    refused = await say(desk, "undo", await alive_conflict(desk))

    assert problem(refused) == (422, "refused")
    assert "priority" in refused.json()["detail"]
    assert not await is_there(desk)
    assert [each["state"] for each in await desk.conflicts()] == ["decided"]
