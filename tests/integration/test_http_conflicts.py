"""Conflicts over HTTP: explained in words, undone, settled, each by naming what was shown."""

from __future__ import annotations

from typing import Any

import httpx

from tests.integration.service import ANA, BEN, Desk, Phone, Service, problem, uid


async def two_accounts(service: Service) -> tuple[Desk, Phone, Phone]:
    """Let two technicians of one job write its summary without having seen each other."""
    desk, ana, ben = await service.office(), await service.device(ANA), await service.device(BEN)
    await desk.create(1, title="Boiler", assignee_id=ANA, crew=[BEN])
    await ana.pull()
    await ben.pull()
    await ana.settled(ana.edit(1, set={"summary": "The valve was stuck."}))
    await ben.settled(ben.edit(1, set={"summary": "The pump was dead."}))
    return desk, ana, ben


async def overruled(service: Service) -> tuple[Desk, Phone]:
    """Let a technician's title lose against the office's."""
    desk, ana = await service.office(), await service.device()
    rev = (await desk.create(1, title="Boiler", assignee_id=ANA))["rev"]
    await ana.pull()
    await desk.change(1, rev, title="Boiler, cellar")
    await ana.settled(ana.edit(1, set={"title": "Boiler, roof"}))
    return desk, ana


async def explained(desk: Desk) -> dict[str, Any]:
    """Return the explanation of the newest conflict."""
    (newest, *_) = await desk.conflicts()
    return (await desk.client.get(f"/v1/conflicts/{newest['id']}")).json()


async def say(desk: Desk, verb: str, entry: dict[str, Any], word: dict[str, Any], **headers: str) -> httpx.Response:
    """Send a person's word on a conflict."""
    return await desk.client.post(f"/v1/conflicts/{entry['conflict']['id']}/{verb}", json=word, headers=headers)


async def test_a_conflict_is_explained_in_words(service: Service) -> None:
    """Both sides come with person, class and relation, and the rule as a sentence."""
    desk, ana = await overruled(service)

    entry = await explained(desk)

    assert entry["sentence"] == "office ranks above device (assignee) for title, so the value of office stands."
    assert entry["conflict"]["loser"]["value"] == "Boiler, roof"
    assert entry["conflict"]["loser"]["dot"] == [ana.enrolled["rid"], 1]
    assert entry["shown"]["dot"] == entry["conflict"]["winner"]["dot"]
    assert entry["shown"]["siblings"] == []
    assert problem(await desk.client.get("/v1/conflicts/1-1-nothing")) == (404, "unknown_conflict")


async def test_an_undo_puts_the_lost_value_back(service: Service) -> None:
    """It is no new conflict, the device hears of it, and the entry says that it was undone."""
    desk, ana = await overruled(service)
    entry = await explained(desk)

    undone = await say(desk, "undo", entry, entry["shown"])
    await ana.pull()
    listed = await desk.conflicts()

    assert (undone.json()["verdict"], undone.json()["title"]) == ("applied", "Boiler, roof")
    assert ana.held[uid(1)]["title"] == "Boiler, roof"
    assert [found["state"] for found in listed] == ["undone"]
    assert listed[0]["ended_at"]
    assert await desk.conflicts(state="decided") == []


async def test_an_undo_of_what_was_not_shown_is_turned_away(service: Service) -> None:
    """If the cell moved since, or nothing was named, nothing is overwritten."""
    desk, _ = await overruled(service)
    entry = await explained(desk)
    await desk.change(1, (await desk.show(1))["rev"], title="Boiler, garage")

    moved = await say(desk, "undo", entry, entry["shown"])
    unsaid = await say(desk, "undo", entry, {})
    nonsense = await say(desk, "undo", entry, {"dot": "x"})

    assert problem(moved) == (409, "state_moved")
    assert problem(unsaid) == (428, "base_required")
    assert problem(nonsense) == (400, "bad_request")
    assert (await desk.show(1))["title"] == "Boiler, garage"
    assert [found["state"] for found in await desk.conflicts()] == ["decided"]


async def test_an_undo_sent_twice_under_one_key_happens_once(service: Service) -> None:
    """The repeat gets the first answer, although the cell is no longer as it was shown."""
    desk, _ = await overruled(service)
    entry = await explained(desk)

    first, again = [await say(desk, "undo", entry, entry["shown"], **{"idempotency-key": "u1"}) for _ in range(2)]

    assert first.status_code == 200
    assert again.json() == first.json()


async def test_what_waits_is_settled_by_a_person(service: Service) -> None:
    """Choosing the second account installs it, closes the conflict, and both phones get it."""
    desk, ana, ben = await two_accounts(service)
    entry = await explained(desk)
    open_ones = await desk.conflicts(state="open")

    settled = await say(desk, "settle", entry, {**entry["shown"], "choose": "loser"})
    await ana.pull()
    await ben.pull()

    assert len(open_ones) == 1
    assert len(entry["shown"]["siblings"]) == 1
    assert settled.json()["summary"] == "The pump was dead."
    assert ana.held[uid(1)]["summary"] == ben.held[uid(1)]["summary"] == "The pump was dead."
    assert [found["state"] for found in await desk.conflicts()] == ["settled"]
    assert (await explained(desk))["shown"]["siblings"] == []


async def test_the_shown_value_or_another_one_can_be_chosen(service: Service) -> None:
    """A person may keep what stands, or write something better than both."""
    desk, _, _ = await two_accounts(service)
    entry = await explained(desk)

    kept = await say(desk, "settle", entry, {**entry["shown"], "choose": "winner"})
    again = await say(desk, "settle", entry, {**entry["shown"], "choose": "value", "value": "Both."})

    assert kept.json()["summary"] == "The valve was stuck."
    assert [found["state"] for found in await desk.conflicts()] == ["settled"]
    assert problem(again) == (409, "conflict_decided")


async def test_a_settling_happens_once(service: Service) -> None:
    """A repeat under its key gets its answer; under a new key, or without, the conflict is decided."""
    desk, _, _ = await two_accounts(service)
    entry = await explained(desk)
    key = {"idempotency-key": "s1"}

    first, again = [await say(desk, "settle", entry, {**entry["shown"], "choose": "loser"}, **key) for _ in range(2)]
    now = await explained(desk)
    fresh = [await say(desk, "settle", now, {**now["shown"], "choose": "winner"}, **{"idempotency-key": "s2"})]
    fresh.append(await say(desk, "settle", now, {**now["shown"], "choose": "winner"}))

    assert (again.status_code, again.json()) == (200, first.json())
    assert [problem(answer) for answer in fresh] == [(409, "conflict_decided")] * 2
    assert (await desk.show(1))["summary"] == "The pump was dead."


async def test_a_word_on_a_deleted_record_does_not_bring_it_back(service: Service) -> None:
    """An undo or settling of one of its cells is told that it is gone; a repeat still gets its answer."""
    desk, _ = await overruled(service)
    entry, key = await explained(desk), {"idempotency-key": "u1"}
    done = await say(desk, "undo", entry, entry["shown"], **key)
    rev = (await desk.show(1))["rev"]
    await desk.client.delete(f"/v1/work_orders/{uid(1)}", headers={"if-match": f'"{rev}"'})
    now = await explained(desk)

    late = await say(desk, "undo", now, now["shown"])
    again = await say(desk, "undo", entry, entry["shown"], **key)

    assert problem(late) == (410, "record_deleted")
    assert again.json() == done.json()
    assert problem(await desk.client.get(f"/v1/work_orders/{uid(1)}")) == (410, "record_deleted")


async def test_what_waits_on_a_deleted_record_stays_waiting(service: Service) -> None:
    """A settling would bring it back as well, and the conflict is not closed behind its back."""
    desk, _, _ = await two_accounts(service)
    entry = await explained(desk)
    rev = (await desk.show(1))["rev"]
    await desk.client.delete(f"/v1/work_orders/{uid(1)}", headers={"if-match": f'"{rev}"'})

    late = await say(desk, "settle", entry, {**(await explained(desk))["shown"], "choose": "loser"})

    assert problem(late) == (410, "record_deleted")
    assert [found["state"] for found in await desk.conflicts()] == ["open"]


async def test_a_free_choice_is_the_office_s_own(service: Service) -> None:
    """A new text is written as the office, and closes what waited."""
    desk, _, _ = await two_accounts(service)
    entry = await explained(desk)

    settled = await say(desk, "settle", entry, {**entry["shown"], "choose": "value", "value": "Valve and pump."})

    assert settled.json()["summary"] == "Valve and pump."
    past = (await desk.client.get(f"/v1/work_orders/{uid(1)}/history")).json()
    assert past["cells"]["summary"][0]["authority"] == "office"


async def test_settling_names_every_value_that_waits(service: Service) -> None:
    """A third account that came since is not thrown away by somebody who never saw it."""
    desk, _, _ = await two_accounts(service)
    entry = await explained(desk)
    third = await service.device(ANA)
    await third.client.get("/v1/sync/pull")
    await third.settled(third.edit(1, set={"summary": "Both were broken."}))

    answer = await say(desk, "settle", entry, {**entry["shown"], "choose": "loser"})

    assert problem(answer) == (409, "state_moved")
    assert len(await desk.conflicts(state="open")) == 2


async def test_the_verb_has_to_fit(service: Service) -> None:
    """What waits cannot be undone, what was decided cannot be settled."""
    desk, _, _ = await two_accounts(service)
    waiting = await explained(desk)

    assert problem(await say(desk, "undo", waiting, waiting["shown"])) == (409, "conflict_open")


async def test_conflicts_are_listed_in_pages(service: Service) -> None:
    """Newest first, by state, collection and record, without missing one."""
    desk, ana = await service.office(), await service.device()
    for number in range(3):
        rev = (await desk.create(number, title="a", assignee_id=ANA))["rev"]
        await ana.pull()
        await desk.change(number, rev, title="b")
        await ana.settled(ana.edit(number, set={"title": "c"}))
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await desk.client.get("/v1/conflicts", params={"limit": 2, "cursor": cursor})).json()
        found += [entry["record_id"] for entry in page["items"]]
        cursor = page["cursor"]

    assert found == [uid(2), uid(1), uid(0)]
    assert [entry["record_id"] for entry in await desk.conflicts(record_id=uid(1))] == [uid(1)]
    assert await desk.conflicts(collection="teams") == []
    for bad in (
        "state=lost",
        "record_id=x",
        "cursor=x",
        "cursor=1~%00",
        "cursor=%D9%A3~1-1-title",
        "collection=%00",
        "state=open&state=open",
        "limit=%D9%A3",
    ):
        assert problem(await desk.client.get(f"/v1/conflicts?{bad}")) == (400, "bad_filter"), bad
    for nothing in ("%00", "1-1-%00", "1-1-title%0A", "x"):
        assert problem(await desk.client.get(f"/v1/conflicts/{nothing}")) == (404, "unknown_conflict"), nothing
    assert len((await desk.client.get("/v1/conflicts", params={"limit": "9" * 5_000})).json()["items"]) == 3


async def test_a_delete_that_lost_can_be_put_back(service: Service) -> None:
    """The office deletes what a technician had edited; the edit is kept, and an undo deletes after all."""
    desk, ana = await service.office(), await service.device(ANA)
    rev = (await desk.create(1, title="Boiler", status="planned", assignee_id=ANA))["rev"]
    await ana.pull()
    await ana.settled(ana.edit(1, set={"status": "done"}))
    lost = await desk.client.delete(f"/v1/work_orders/{uid(1)}", headers={"If-Match": f'"{rev}"'})
    entry = await explained(desk)

    without_rev = await say(desk, "undo", entry, {"dot": entry["shown"]["dot"]})
    undone = await say(desk, "undo", entry, entry["shown"])

    assert lost.json()["verdict"] == "superseded"
    assert problem(without_rev) == (422, "bad_mutation")
    assert undone.json()["cells"]["$alive"]["verdict"] == "applied"
    assert (await explained(desk))["conflict"]["state"] == "undone"
    assert (await desk.client.get(f"/v1/work_orders/{uid(1)}")).status_code == 410
