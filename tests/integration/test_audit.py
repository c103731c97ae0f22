"""The audit log: what is done to the service leaves one row that nobody can change, and no secret in it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from syncserver.catalogs import source
from syncserver.commands import catalog
from syncserver.store import audit, devices, group, handed, people, tokens
from syncserver.store.catalogs import Catalogs
from syncserver.store.errors import AmbiguousToken, EnrolmentRefused, NoSuchPerson, NoSuchToken
from syncserver.store.people import Grant, Person
from tests.integration.service import ANA, BEN, DORA, Service, problem, uid

if TYPE_CHECKING:
    import httpx

RENAMED = ('priority = { kind = "text", limit = 60', 'urgency = { kind = "text", limit = 60')


async def administrator(service: Service) -> httpx.AsyncClient:
    """Return a client of an administrator."""
    return service.client(await service.token(DORA, "admin"))


async def entries(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    """Return entries, newest first."""
    answer = await client.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_what_is_done_leaves_a_row_each(service: Service) -> None:
    """Tenants, people, tokens, codes, devices and catalogues; who did it, and by which request."""
    admin, office = await administrator(service), await service.office()
    phone = await service.device()
    answer = await office.client.post(f"/v1/devices/{phone.enrolled['replica']}/revoke")
    new = source.text(None).replace("limit = 500", "limit = 400")
    await catalog.publish(service.database, Catalogs(), service.tenant, new)
    token = await service.token(BEN)
    token_id = tokens.shown(tokens.digest(token))
    await handed.revoke(service.database, service.tenant, token_id)
    await people.remove_person(service.database, service.tenant, BEN)

    rows = {(row["action"], row["object"]): row for row in await entries(admin)}

    device = f"device:{phone.enrolled['replica']}"
    assert {
        ("tenant_created", f"tenant:{service.tenant}"),
        ("catalog_published", "catalog:1"),
        ("catalog_published", "catalog:2"),
        ("person_put", f"person:{ANA}"),
        ("code_created", f"person:{ANA}"),
        ("device_enrolled", device),
        ("device_revoked", device),
        ("token_created", f"token:{token_id}"),
        ("token_revoked", f"token:{token_id}"),
        ("person_removed", f"person:{BEN}"),
    } <= rows.keys()
    enrolled, revoked = rows["device_enrolled", device], rows["device_revoked", device]
    assert (enrolled["person"], revoked["person"]) == (ANA, DORA)
    assert revoked["request"] == answer.headers["x-request-id"]
    assert {(row["system"], row["outcome"]) for row in rows.values() if row["person"] is None} == {("operator", "done")}
    everything = str(rows)
    for secret in (token, phone.enrolled["token"], phone.enrolled["refresh"], "Dora", "phone'"):
        assert secret not in everything


async def test_a_word_on_a_conflict_is_kept_with_its_conflict(service: Service) -> None:
    """An undo and a settling are in the log when they took hold, once each, and not when they did not."""
    desk, admin = await service.office(), await administrator(service)
    ana = await service.device()
    rev = (await desk.create(1, title="Boiler", assignee_id=ANA))["rev"]
    await ana.pull()
    await desk.change(1, rev, title="Boiler, cellar")
    await ana.settled(ana.edit(1, set={"title": "Boiler, roof"}))
    (conflict,) = await desk.conflicts()
    explained = (await desk.client.get(f"/v1/conflicts/{conflict['id']}")).json()["shown"]
    word = {"dot": explained["dot"], "siblings": explained["siblings"]}
    undo = f"/v1/conflicts/{conflict['id']}/undo"

    moved = await desk.client.post(undo, json={"dot": [999, 1], "siblings": []})
    done = await desk.client.post(undo, json=word, headers={"idempotency-key": "once"})
    again = await desk.client.post(undo, json=word, headers={"idempotency-key": "once"})

    assert problem(moved) == (409, "state_moved")
    assert (done.status_code, again.status_code) == (200, 200)
    (row,) = await entries(admin, action="conflict_undone")
    assert (row["person"], row["object"]) == (DORA, f"conflict:{conflict['id']}")
    assert row["request"] == done.headers["x-request-id"]


async def test_entries_are_found_by_action_person_and_time_page_by_page(service: Service) -> None:
    """Pages follow each other without a gap or a repeat, and filters hold on all of them."""
    admin = await administrator(service)
    for person in (ANA, BEN, ANA, ANA, BEN):
        by = audit.person(person)
        await people.create_token(service.database, service.tenant, Grant(person=person), by=by)

    whole = await entries(admin)
    pages: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        answer = (await admin.get("/v1/audit", params={"limit": "2", "cursor": cursor})).json()
        assert len(answer["items"]) <= 2
        pages += answer["items"]
        cursor = answer["cursor"]
    of_ana = await entries(admin, person=ANA, action="token_created")
    middle = of_ana[1]["at"]

    assert pages == whole
    assert [row["id"] for row in whole] == sorted((row["id"] for row in whole), reverse=True)
    assert len(of_ana) == 3
    assert await entries(admin, person=ANA, since=middle) == of_ana[:2]
    assert await entries(admin, person=ANA, until=middle) == of_ana[2:]
    assert await entries(admin, since="2999-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "query",
    [
        {"action": "nothing"},
        {"cursor": "x"},
        {"since": "yesterday"},
        {"since": "2026-01-31T08:00:00"},
        {"until": "2026-31-31T08:00:00Z"},
        {"person": "a\x00b"},
        {"limit": "many"},
        {"color": "red"},
    ],
)
async def test_a_filter_that_cannot_be_meant_is_refused(service: Service, query: dict[str, str]) -> None:
    """The answer names what is wrong."""
    admin = await administrator(service)

    assert problem(await admin.get("/v1/audit", params=query)) == (400, "bad_filter")


async def test_another_tenant_sees_none_of_it(service: Service) -> None:
    """The log of one tenant is not that of another."""
    await people.create_token(service.database, service.tenant, Grant(person=ANA))
    first = service.tenant
    await service.add_tenant("Harbour Lifts")
    admin = await administrator(service)

    found = await entries(admin)

    assert found
    assert f"tenant:{first}" not in {row["object"] for row in found}


async def test_the_log_stands_or_falls_with_what_it_tells_of(service: Service) -> None:
    """What failed leaves no row, and a row that cannot be written leaves nothing done."""
    admin = await administrator(service)
    before = await entries(admin)

    for failing in (
        people.create_token(service.database, service.tenant, Grant(person=uid(9))),
        devices.create_code(service.database, service.tenant, uid(9)),
        people.remove_person(service.database, service.tenant, uid(9)),
    ):
        with pytest.raises(NoSuchPerson):
            await failing
    with pytest.raises(NoSuchToken):
        await handed.revoke(service.database, service.tenant, "ffffffffffff")
    nobody = audit.Actor()
    with pytest.raises(asyncpg.CheckViolationError):
        await people.put_person(service.database, service.tenant, Person(uid(9), "X", "admin"), by=nobody)

    assert await entries(admin) == before
    assert await people.person(service.database, service.tenant, uid(9)) is None


@pytest.mark.parametrize("statement", ["UPDATE audit SET outcome = 'x'", "DELETE FROM audit", "TRUNCATE audit"])
async def test_rows_can_be_added_and_never_changed(service: Service, statement: str) -> None:
    """The server's own role may not do it, whatever it is made to say."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with service.database.transaction(service.tenant) as connection:
            await connection.execute(statement)


async def test_somebody_who_was_removed_opens_nothing_and_keeps_their_name(service: Service) -> None:
    """Tokens and codes are void, the device is told, and a new token lets the person in again."""
    phone = await service.device(BEN)
    code = await devices.create_code(service.database, service.tenant, BEN)
    token = await service.token(BEN)

    shut = await people.remove_person(service.database, service.tenant, BEN)

    assert shut == (phone.enrolled["replica"],)
    assert problem(await service.client(token).get("/v1/teams")) == (401, "unauthenticated")
    assert problem(await phone.client.get("/v1/sync/pull")) == (403, "fenced")
    with pytest.raises(EnrolmentRefused):
        await devices.enrol(service.database, code, name="phone", platform=None)
    with pytest.raises(NoSuchPerson):
        await service.token(BEN)
    gone = await people.person(service.database, service.tenant, BEN)
    assert gone is not None
    assert (gone.name, gone.removed_at is None) == ("Ben", False)

    await people.put_person(service.database, service.tenant, Person(BEN, "Ben", "technician"))

    assert (await service.client(await service.token(BEN)).get("/v1/teams")).status_code == 200
    assert problem(await phone.client.get("/v1/sync/pull")) == (403, "fenced")


async def test_a_token_is_revoked_by_the_beginning_of_its_id(service: Service) -> None:
    """The list has what is needed to end a token, and nothing that opens."""
    made = [await service.token(ANA) for _ in range(3)]
    listed = await handed.listed(service.database, service.tenant)

    assert {each.id for each in listed} == {tokens.shown(tokens.digest(token)) for token in made}
    assert not any(token in str(listed) for token in made)
    with pytest.raises(AmbiguousToken):
        await handed.revoke(service.database, service.tenant, "")
    await handed.revoke(service.database, service.tenant, listed[0].id.upper())
    with pytest.raises(NoSuchToken):
        await handed.revoke(service.database, service.tenant, listed[0].id)
    ended = await asyncio.gather(*(people.find_token(service.database, token) for token in made))
    assert sum(found is None for found in ended) == 1


async def test_what_was_held_is_released_or_discarded_in_the_log_once(service: Service) -> None:
    """Both endings are noted with who ended it; a repeat, and one that came too late, are not."""
    admin, ana = await administrator(service), await service.device()
    desk = await service.office()
    for number in (1, 2):
        await desk.create(number, assignee_id=ANA)
    await ana.pull()
    await service.publish(RENAMED)
    await ana.settled(ana.edit(1, set={"priority": "high"}))
    await ana.settled(ana.edit(2, tx="t", set={"priority": "high"}), ana.edit(2, tx="t", set={"status": "done"}))
    first, second = (f"/v1/held/{ana.enrolled['rid']}-{n}" for n in (1, 2))
    better, why = {"set": {"urgency": "high"}}, {"reason": "no longer so"}

    released = await asyncio.gather(*(desk.client.post(f"{first}/release", json=better) for _ in range(3)))
    for _ in range(2):
        assert (await desk.client.post(f"{second}/discard", json=why)).status_code == 200

    assert min(answer.status_code for answer in released) == 200
    rows = [row for row in await entries(admin) if row["action"].startswith("held_")]
    assert [(row["action"], row["object"], row["person"]) for row in rows] == [
        ("held_discarded", f"held:{ana.enrolled['rid']}-3", DORA),
        ("held_discarded", f"held:{ana.enrolled['rid']}-2", DORA),
        ("held_released", f"held:{ana.enrolled['rid']}-1", DORA),
    ]


async def test_two_people_who_undo_at_once_are_noted_once(service: Service) -> None:
    """Of words on one conflict that come together, the one that took hold is in the log."""
    desk, admin = await service.office(), await administrator(service)
    ana = await service.device()
    rev = (await desk.create(1, title="Boiler", assignee_id=ANA))["rev"]
    await ana.pull()
    await desk.change(1, rev, title="Boiler, cellar")
    await ana.settled(ana.edit(1, set={"title": "Boiler, roof"}))
    (conflict,) = await desk.conflicts()
    there = f"/v1/conflicts/{conflict['id']}"
    shown = (await desk.client.get(there)).json()["shown"]
    word = {"dot": shown["dot"], "siblings": shown["siblings"]}

    async def undo(key: str | None = None) -> httpx.Response:
        return await desk.client.post(f"{there}/undo", json=word, headers={"idempotency-key": key} if key else {})

    async with service.database.transaction(service.tenant) as connection:
        await group.lock(connection, [service.tenant])
        # Both committers wait for the tenant with something else, so that the words come into one group.
        others = [asyncio.create_task(desk.create(number)) for number in (2, 3)]
        await asyncio.sleep(0.3)
        words = [asyncio.create_task(undo(key)) for key in ("once", "once", None, None)]
        await asyncio.sleep(0.3)
    await asyncio.gather(*others)
    answers = await asyncio.gather(*words)

    assert sorted(answer.status_code for answer in answers) in ([200, 200, 409, 409], [200, 409, 409, 409])
    assert len(await entries(admin, action="conflict_undone")) == 1
