"""Dead letters over HTTP: seen, edited, sent again, made anew, skipped, marked done; and receipts beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from syncserver.commands.upstream import letters
from tests.integration.backdoor import rows
from tests.integration.front import MAPPING, Front, front
from tests.integration.service import ANA, BEN, DORA, problem, uid
from tests.peers.odd_vendor import Says

if TYPE_CHECKING:
    from tests.integration.service import Desk, Service

REFUSED = Says(422, {"error": "name is too short"})
NOBODY = str(UUID(int=5))


async def given_up(
    door: Front, service: Service, *, says: Says = REFUSED, number: int = 1
) -> tuple[Desk, dict[str, Any]]:
    """Have a delivery end for a person, and return it."""
    desk = await service.office()
    door.vendor.answers = [says]
    await desk.create(number, title="Boiler", assignee_id=ANA)
    await door.work()
    letter = next(each for each in await door.letters() if each["record_id"] == uid(number))
    return desk, await door.ask("get", f"/v1/dead_letters/{letter['id']}")


def place(letter: dict[str, Any], verb: str = "") -> str:
    """Return the address of a dead letter, or of a word on it."""
    return f"/v1/dead_letters/{letter['delivery']['id']}" + (f"/{verb}" if verb else "")


async def test_a_dead_letter_tells_all_that_is_needed_to_decide(service: Service) -> None:
    """Payload, version, class, every attempt redacted, and what usually helps; the receipt says that it waits."""
    async with front(service) as door:
        await door.connect()
        _, letter = await given_up(door, service)
        delivery = letter["delivery"]

        assert (delivery["state"], delivery["error_class"], delivery["mapping_version"]) == ("rejected", "data", 1)
        assert letter["fields"] == {"number": uid(1), "name": "Boiler", "mark": delivery["marker"]}
        assert [(each["status"], each["outcome"]) for each in letter["attempts"]] == [(422, "data")]
        assert "secret-of-the-books" not in str(letter)
        assert letter["is_dead"] is True
        assert "correct the record" in letter["suggestion"]
        assert letter["problems"] == []

        receipt = await door.ask("get", f"/v1/receipts/work_orders/{uid(1)}")
        assert receipt["systems"][0]["stage"] == "rejected"
        assert receipt["is_settled"] is False
        counted = (await door.ask("get", "/v1/deliveries/counts"))["items"]
        assert counted == [{"connection": door.id, "state": "rejected", "deliveries": 1}]


async def test_an_edit_keeps_the_key_and_is_shown_with_what_it_changed(service: Service) -> None:
    """Sent with other fields, under the same key; who, why and what differs stay readable."""
    async with front(service) as door:
        await door.connect()
        _, letter = await given_up(door, service)
        key = letter["delivery"]["idempotency_key"]
        door.vendor.usual["/jobs"] = Says(201, {"id": "J1"})
        fields = letter["fields"] | {"name": "Boiler, cellar"}

        edited = await door.ask("patch", place(letter), fields=fields, reason="name is too short", retry=True)
        await door.work()
        after = await door.ask("get", place(letter))

        assert edited["delivery"]["idempotency_key"] == key
        assert after["delivery"]["state"] == "confirmed"
        assert after["delivery"]["remote_id"] == "J1"
        assert [seen.headers["x-once"] for seen in door.vendor.seen if seen.method == "POST"] == [key, key]
        assert door.made()[-1]["name"] == "Boiler, cellar"
        edit, retry = after["interventions"]
        assert (edit["action"], edit["person"], edit["reason"]) == ("edit", DORA, "name is too short")
        assert edit["changes"] == [{"path": "name", "change": "changed", "before": "Boiler", "after": "Boiler, cellar"}]
        assert retry["action"] == "retry"
        assert (await door.actions())[-2:] == ["dead_letter_edited", "dead_letter_retried"]


async def test_an_edit_cannot_take_away_what_it_is_known_by(service: Service) -> None:
    """Without reason, with another business key, or in another shape: refused, and nothing is changed."""
    async with front(service) as door:
        await door.connect()
        _, letter = await given_up(door, service)
        fine = letter["fields"]

        unkeyed = await door.client.patch(place(letter), json={"fields": fine | {"number": "7"}, "reason": "x"})
        assert problem(unkeyed) == (422, "bad_payload")
        assert unkeyed.json()["problems"][0].startswith("number: must stay")
        assert await door.refused("patch", place(letter), fields=fine) == (400, "bad_request")
        assert await door.refused("patch", place(letter), fields=fine, reason=" ") == (422, "bad_payload")
        assert await door.refused("patch", place(letter), fields=[], reason="x") == (400, "bad_request")
        big = {**fine, "name": "x" * 300_000}
        assert await door.refused("patch", place(letter), fields=big, reason="x") == (422, "bad_payload")
        assert (await door.ask("get", place(letter)))["interventions"] == []


async def test_a_new_operation_has_a_key_of_its_own(service: Service) -> None:
    """Only when it is asked for: a vendor that keeps its refusal under the key is asked anew."""
    async with front(service) as door:
        await door.connect()
        _, letter = await given_up(door, service)

        after = await door.ask("post", place(letter, "retry"), new_operation=True, reason="kept under the key")
        await door.work()

        assert after["delivery"]["idempotency_key"] != letter["delivery"]["idempotency_key"]
        keys = [seen.headers["x-once"] for seen in door.vendor.seen if seen.method == "POST"]
        assert keys == [letter["delivery"]["idempotency_key"], after["delivery"]["idempotency_key"]]


async def test_a_word_under_a_key_is_said_once(service: Service) -> None:
    """The repeat gets the first answer; without a key the second click is told that nothing waits any more."""
    async with front(service) as door:
        await door.connect()
        _, letter = await given_up(door, service)
        key = {"idempotency-key": "again"}

        first = await door.client.post(place(letter, "retry"), json={}, headers=key)
        again = await door.client.post(place(letter, "retry"), json={}, headers=key)

        assert first.status_code == 200, first.text
        assert first.json() == again.json()
        assert await door.refused("post", place(letter, "retry")) == (409, "not_dead")
        assert await door.refused("post", f"/v1/dead_letters/{NOBODY}/retry") == (404, "unknown_delivery")
        assert await door.refused("get", "/v1/dead_letters/seven") == (404, "unknown_delivery")


async def test_one_that_the_mapping_could_not_make_is_planned_anew_with_the_present_one(service: Service) -> None:
    """It cannot be sent as it is; with a mended mapping it is made anew and arrives."""
    broken = MAPPING + '  { target = "due", source = "record.summary", required = true },\n'
    async with front(service) as door:
        await door.connect(mapping=broken.replace(']\n  { target = "due"', '  { target = "due"') + "]\n")
        _, letter = await given_up(door, service, says=Says(201, {"id": "J1"}))
        assert letter["delivery"]["error_code"] == "mapping"
        assert await door.refused("post", place(letter, "retry")) == (422, "bad_payload")
        drafted = await door.ask("post", "/v1/mappings", connection=door.id, content=MAPPING)
        await door.ask("post", f"/v1/mappings/{door.id}/{drafted['version']}/publish")

        await door.ask("post", place(letter, "replan"), reason="the mapping was mended")
        await door.work()

        assert [each["name"] for each in door.made()] == ["Boiler"]
        assert (await door.ask("get", place(letter)))["delivery"]["state"] == "superseded"
        receipt = await door.ask("get", f"/v1/receipts/work_orders/{uid(1)}")
        assert (receipt["systems"][0]["stage"], receipt["is_settled"]) == ("delivered", True)
        assert await door.letters() == []


async def test_what_nobody_knows_is_decided_by_somebody_who_has_looked(service: Service) -> None:
    """A vendor that cannot be asked: skip, an edit and a new operation need `absent`; done needs the id."""
    async with front(service) as door:
        await door.connect("none")
        _, letter = await given_up(door, service, says=Says(500, {}))
        assert (letter["delivery"]["state"], letter["is_dead"]) == ("unknown", True)

        assert await door.refused("post", place(letter, "skip"), reason="x") == (409, "still_in_doubt")
        doubtful = {"new_operation": True, "reason": "x"}
        assert await door.refused("post", place(letter, "retry"), **doubtful) == (409, "still_in_doubt")
        other = {"fields": letter["fields"] | {"name": "Boiler, cellar"}, "reason": "x"}
        assert await door.refused("patch", place(letter), **other) == (409, "still_in_doubt")
        done = await door.ask("post", place(letter, "done"), remote_id="J9", reason="seen in their list")
        await door.work()

        assert (done["delivery"]["state"], done["delivery"]["remote_id"]) == ("confirmed", "J9")
        assert len(door.made()) == 1
        known = await rows(service.database, service.tenant, "SELECT remote_id, fields ->> 'name' AS name FROM remotes")
        assert known == [{"remote_id": "J9", "name": "Boiler"}]


async def test_what_is_absent_is_sent_again_and_only_then(service: Service) -> None:
    """Left alone, an unknown one stays; when a person says that it is not there, it goes out once more."""
    async with front(service) as door:
        await door.connect("none")
        _, letter = await given_up(door, service, says=Says(500, {}))

        await door.ask("post", place(letter, "retry"), reason="look again")
        await door.work()
        assert (await door.ask("get", place(letter)))["delivery"]["state"] == "unknown"
        assert len(door.made()) == 1

        door.vendor.usual["/jobs"] = Says(201, {"id": "J1"})
        edited = letter["fields"] | {"name": "Boiler, cellar"}
        await door.ask("patch", place(letter), fields=edited, absent=True, retry=True, reason="not in their list")
        await door.work()
        assert (await door.ask("get", place(letter)))["delivery"]["state"] == "confirmed"
        assert [each["name"] for each in door.made()] == ["Boiler", "Boiler, cellar"]


async def test_an_id_that_stands_for_another_object_is_refused(service: Service) -> None:
    """Two of ours never share one of theirs."""
    async with front(service) as door:
        await door.connect()
        _, first = await given_up(door, service)
        _, second = await given_up(door, service, number=2)
        await door.ask("post", place(first, "done"), remote_id="J1", reason="entered by hand")

        taken = await door.client.post(place(second, "done"), json={"remote_id": "J1", "reason": "entered by hand"})

        assert problem(taken) == (422, "bad_payload")
        assert "J1" in taken.json()["problems"][0]


async def test_an_old_state_is_never_sent_over_a_newer_one(service: Service) -> None:
    """The record went on and was told: the dead letter is overtaken by itself, and cannot be taken up."""
    async with front(service) as door:
        await door.connect()
        desk, letter = await given_up(door, service)
        door.vendor.usual["/jobs"] = Says(201, {"id": "J1"})
        await desk.change(1, (await desk.show(1))["rev"], title="Boiler, new")
        await door.work()

        assert await door.letters() == []
        assert await door.refused("post", place(letter, "retry")) == (409, "not_dead")
        assert [each["name"] for each in door.made()] == ["Boiler", "Boiler, new"]


async def test_one_that_was_overtaken_while_under_way_can_only_be_skipped(service: Service) -> None:
    """Given up after its successor had been planned: told which one is newer; skip ends it."""
    async with front(service) as door:
        await door.connect()
        desk, letter = await given_up(door, service)
        door.vendor.usual["/jobs"] = Says(201, {"id": "J1"})
        await desk.change(1, (await desk.show(1))["rev"], title="Boiler, new")
        await door.work()
        async with service.database.transaction(service.tenant) as session:
            await session.execute(
                "UPDATE deliveries SET state = 'rejected' WHERE delivery_id = $1", letter["delivery"]["id"]
            )

        for verb in ("retry", "replan"):
            assert await door.refused("post", place(letter, verb)) == (409, "overtaken")
        assert (await door.ask("post", place(letter, "skip"), reason="overtaken"))["delivery"]["state"] == "superseded"
        assert len(door.made()) == 2


async def test_many_are_decided_at_once_by_filter_and_time(service: Service) -> None:
    """A dry run tells how many; the word holds for what fits the filter, each for itself."""
    async with front(service) as door:
        await door.connect()
        for number in range(1, 5):
            await given_up(door, service, number=number)
        _, other = await given_up(door, service, number=5, says=Says(404, {}))
        chosen = {"error_class": "data", "connection": door.id, "since": "2020-01-01T00:00:00Z"}
        many = "/v1/dead_letters/bulk"

        dry = await door.ask("post", many, action="retry", filter=chosen, reason="fixed there", dry_run=True)
        none = await door.ask(
            "post", many, action="skip", filter={**chosen, "until": "2020-01-02T00:00:00Z"}, reason="none so old"
        )
        first = await door.ask("post", many, action="retry", filter=chosen, reason="fixed there", limit=3)
        rest = await door.ask("post", many, action="retry", filter=chosen, reason="fixed there")
        door.vendor.usual["/jobs"] = Says(201, {})
        await door.work()

        assert (dry["found"], dry["done"]) == (4, 0)
        assert none == {"found": 0, "done": 0, "left": [], "more": False}
        assert (first["done"], first["more"], rest["done"], rest["more"]) == (3, True, 1, False)
        assert [each["id"] for each in await door.letters()] == [other["delivery"]["id"]]
        assert await door.refused("post", many, action="burn", filter={}, reason="x") == (400, "bad_request")
        bad = {"since": "yesterday"}
        assert await door.refused("post", many, action="skip", filter=bad, reason="x") == (400, "bad_filter")


async def test_it_is_told_that_there_are_more_than_one_word_holds_for(service: Service) -> None:
    """With one dead letter beyond the most that are decided at once, whoever decides hears of it."""
    async with front(service) as door:
        await door.connect()
        _, letter = await given_up(door, service)
        async with service.database.transaction(service.tenant) as session:
            names = [
                row["attname"]
                for row in await session.fetch(
                    "SELECT attname FROM pg_attribute WHERE attrelid = 'deliveries'::regclass AND attnum > 0"
                    " AND NOT attisdropped AND attname NOT IN ('delivery_id', 'idempotency_key')"
                )
            ]
            columns = ", ".join(names)
            await session.execute(
                f"INSERT INTO deliveries (delivery_id, idempotency_key, {columns})"
                f" SELECT gen_random_uuid(), gen_random_uuid(), {columns}"
                " FROM deliveries, generate_series(1, $1::integer) WHERE delivery_id = $2",
                letters.BULK_MAX,
                letter["delivery"]["id"],
            )
        word = {"action": "skip", "filter": {}, "reason": "all of them", "dry_run": True}
        all_of_them = await door.ask("post", "/v1/dead_letters/bulk", **word)

        assert (all_of_them["found"], all_of_them["more"]) == (letters.BULK_MAX, True)


async def test_lists_are_filtered_and_paged(service: Service) -> None:
    """By connection, state, record and time; a filter that cannot be meant is refused by name."""
    async with front(service) as door:
        await door.connect()
        for number in range(1, 4):
            await given_up(door, service, number=number)

        seen, cursor = [], ""
        while cursor is not None:
            query = {"limit": "2", "connection": door.id} | ({"cursor": cursor} if cursor else {})
            page = (await door.client.get("/v1/deliveries", params=query)).json()
            seen += [each["record_id"] for each in page["items"]]
            cursor = page["cursor"]
        assert seen == [uid(3), uid(2), uid(1)]
        assert [each["record_id"] for each in await door.letters(record_id=uid(2))] == [uid(2)]
        assert await door.letters(until="2020-01-01T00:00:00Z") == []
        assert len(await door.letters(state="rejected", collection="work_orders", object="job")) == 3
        wrong = {"state": "lost", "connection": "x", "since": "now", "colour": "red", "mode": "dim", "cursor": "1"}
        for name, value in wrong.items():
            answer = await door.client.get("/v1/dead_letters", params={name: value})
            assert problem(answer) == (400, "bad_filter"), name
            assert name in answer.json()["detail"] or value in answer.json()["detail"]


async def test_a_technician_gets_the_receipts_of_what_they_hold(service: Service) -> None:
    """With when it arrived where; nothing of what the vendor said, and nothing of others' work."""
    async with front(service) as door:
        await door.connect()
        await given_up(door, service)
        door.vendor.usual["/jobs"] = Says(201, {"id": "J2"})
        desk = await service.office()
        await desk.create(2, title="Pump", assignee_id=ANA)
        await desk.create(3, "tasks", work_order_id=uid(2), title="Look at it")
        await door.work()
        ana, ben = [service.client(await service.token(person)) for person in (ANA, BEN)]

        stuck = (await ana.get(f"/v1/receipts/work_orders/{uid(1)}")).json()["systems"][0]
        whole = (await ana.get(f"/v1/receipts/work_orders/{uid(2)}")).json()

        assert (stuck["stage"], stuck["detail"], stuck["delivery"]) == ("rejected", "", "")
        assert "office" in stuck["reason"]
        there = whole["systems"][0]
        assert (there["stage"], there["system"], there["remote_id"]) == ("delivered", "books", "J2")
        assert there["delivered_at"]
        assert whole["received_at"]
        part = whole["parts"][0]
        assert (part["collection"], part["id"]) == ("tasks", uid(3))
        assert part["systems"][0]["stage"] == "delivered"
        assert problem(await ben.get(f"/v1/receipts/work_orders/{uid(2)}")) == (404, "unknown_record")
        assert problem(await ana.get(f"/v1/receipts/unicorns/{uid(2)}")) == (404, "unknown_collection")
