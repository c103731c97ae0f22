"""Connections over HTTP: made, watched, verified, paused, filled, taken live, signed in to, removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.integration.front import MANIFEST, front, new
from tests.integration.service import ANA, DORA, problem, uid
from tests.peers.odd_vendor import Says
from upstream import alerts

if TYPE_CHECKING:
    import httpx

    from tests.integration.service import Service

SECRET = "secret-of-the-books"
CODE = MANIFEST.replace(
    '[auth]\nkind = "api_key"\nname = "X-Key"',
    '[auth]\nkind = "oauth2_code"\nauthorize_url = "https://books.example/in"\n'
    'token_url = "${config.issuer}/token"\n[config.issuer]\ntitle = "Issuer"',
).replace("WRITE", "native")
BRINGS = CODE.replace(
    "[config.issuer]", 'brings = { realmId = "realm" }\n[config.realm]\ntitle = "Company"\n[config.issuer]'
)


async def test_a_connection_is_made_once_and_its_secrets_never_come_out(service: Service) -> None:
    """A repeat under the same key gets the same connection; no answer and no log has the secret."""
    async with front(service) as door:
        wanted, key = new(door.vendor.url), {"idempotency-key": "one"}

        first = await door.client.post("/v1/connections", json=wanted, headers=key)
        again = await door.client.post("/v1/connections", json=wanted, headers=key)
        other = await door.client.post("/v1/connections", json={**wanted, "name": "Other"}, headers=key)
        listed = await door.client.get("/v1/connections")

        assert first.json() == again.json()
        assert problem(other) == (422, "idempotency_key_reused")
        assert [each["id"] for each in listed.json()["items"]] == [first.json()["id"]]
        assert SECRET not in first.text + listed.text
        told = first.json()
        assert (told["state"], told["mode"], told["mapping_version"], told["assumed"]) == ("ok", "shadow", None, True)
        assert told["freshness_seconds"] is None
        assert await door.actions() == ["connection_made", "credentials_put"]


async def test_what_cannot_work_is_refused_with_the_part_named(service: Service) -> None:
    """Each mistake in what a connection is made of is told by its name, and nothing is made."""
    async with front(service) as door:
        fine = new(door.vendor.url)
        wrong = {
            "system": {"system": "unheard_of", "manifest": None},
            "base_url": {"base_url": "ftp://books.example"},
            "config.colour": {"config": {"colour": "red"}},
            "credentials.key": {"auth": {"key": ""}},
            "name": {"name": " "},
            "mode": {"mode": "live"},
            "mapping_version": {"mapping_version": 3},
        }
        for part, change in wrong.items():
            answer = await door.client.post("/v1/connections", json=fine | change)
            assert problem(answer) == (422, "bad_connection"), part
            assert part.partition(".")[0] in answer.json()["detail"] or part == "system", answer.text
        bad = await door.client.post("/v1/connections", json=fine | {"manifest": "system = 1"})
        assert problem(bad) == (422, "bad_manifest")
        assert bad.json()["problems"]
        assert problem(await door.client.post("/v1/connections", json=fine | {"hue": 1})) == (400, "bad_request")
        assert (await door.client.get("/v1/connections")).json()["items"] == []


async def test_a_credential_that_cannot_be_sent_is_refused_and_not_shown(service: Service) -> None:
    """A key with a line break, a NUL or a letter that no header takes is named when it is given, and never quoted."""
    async with front(service) as door:
        fine = new(door.vendor.url)
        for key in ('TOPSECRET"99\n', "TOPSECRET\0", "TOPSECRET\u007f", "TOPSECRET\u0085", "TOPSECRET-é", " TOPSECRET"):
            answer = await door.client.post("/v1/connections", json=fine | {"auth": {"key": key}})
            assert problem(answer) == (422, "bad_connection"), key
            assert "credentials.key" in answer.json()["detail"]
            assert "TOPSECRET" not in answer.text
        assert (await door.client.get("/v1/connections")).json()["items"] == []

        made = await door.ask("post", "/v1/connections", **fine)
        place = f"/v1/connections/{made['id']}"
        changed = await door.client.patch(place, json={"auth": {"key": "TOPSECRET\n"}})
        assert problem(changed) == (422, "bad_connection")
        pem = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"
        spoiled = await door.client.patch(place, json={"auth": {"key": "good-key", "authority": pem + "\0"}})
        assert "credentials.authority" in spoiled.json()["detail"]
        await door.ask("patch", place, auth={"key": "good-key", "authority": pem})


NO_ADDRESSES = (
    "https://\0/",
    "https://[::1",
    "https://[zz]/",
    "https://a b/",
    "https://x:99999/",
    "https://x:abc/",
    "https://x:0/",
    "https://a..b/",
    "https://999.1.1.1/",
    "https://user@x/",
    "https:///path",
    "https://x/\n",
    "ftp://x/",
    f"https://x/{'y' * 2_000}",
)


async def test_an_address_that_cannot_be_called_is_refused_wherever_it_is_given(service: Service) -> None:
    """As the place of a system, new or changed, and of a webhook; the answer names the part."""
    async with front(service) as door:
        fine = new(door.vendor.url)
        made = await door.ask("post", "/v1/connections", **fine)
        admin = service.client(await service.token(DORA, "admin"))
        hook = (await admin.post("/v1/webhooks", json={"url": "https://a.example/?a=b", "types": ["*"]})).json()
        for url in NO_ADDRESSES:
            for method, path, part, rest in (
                ("post", "/v1/connections", "base_url", fine | {"name": "Other"}),
                ("patch", f"/v1/connections/{made['id']}", "base_url", {}),
                ("post", "/v1/webhooks", "url", {"types": ["*"]}),
                ("patch", f"/v1/webhooks/{hook['endpoint']['id']}", "url", {}),
            ):
                answer = await admin.request(method, path, json=rest | {part: url})
                assert answer.status_code == 422, (method, path, url)
                assert answer.json()["detail"].startswith(f"{part}: must "), answer.text


async def test_numbers_that_are_too_large_and_texts_with_a_nul_are_no_mistake_of_ours(service: Service) -> None:
    """They are refused with the part named, before anything is asked of the database."""
    async with front(service) as door:
        place = f"/v1/connections/{(await door.connect(live=False))['id']}"

        many = await door.client.post(f"{place}/promote", json={"least": 2**63})
        poll = await door.client.post(f"{place}/poll", json={"object": "\0"})

        assert (problem(many), "least" in many.json()["detail"]) == ((400, "bad_request"), True)
        assert (problem(poll), "object" in poll.json()["detail"]) == ((400, "bad_filter"), True)


async def test_a_poll_right_after_publishing_is_one(service: Service) -> None:
    """Nobody waits for a worker's look to have an object polled; what is not polled is refused by name."""
    async with front(service) as door:
        source = '[sources.job]\noperation = "read"\nsince = "number"\n'
        into = (
            '[[into]]\nobject = "job"\ncollection = "work_orders"\nrows = [{ target = "title", source = "record.n" }]\n'
        )
        wanted = new(door.vendor.url)
        place = (await door.ask("post", "/v1/connections", **wanted | {"manifest": wanted["manifest"] + source}))["id"]
        early = await door.client.post(f"/v1/connections/{place}/poll", json={"object": "job"})
        drafted = await door.ask("post", "/v1/mappings", connection=place, content=into)
        await door.ask("post", f"/v1/mappings/{place}/{drafted['version']}/publish")

        asked = await door.ask("post", f"/v1/connections/{place}/poll", object="job")
        whole = (await door.client.post(f"/v1/connections/{place}/poll", json={})).json()
        polls = (await door.client.get(f"/v1/connections/{place}/polls")).json()["items"]
        strange = await door.client.post(f"/v1/connections/{place}/poll", json={"object": "tree"})

        assert (problem(early), asked, whole) == ((400, "bad_filter"), {"count": 1}, {"count": 1})
        assert [each["object"] for each in polls] == ["job"]
        assert (problem(strange), "job" in strange.json()["detail"]) == ((400, "bad_filter"), True)


async def test_the_end_of_a_password_is_told_in_time(service: Service) -> None:
    """Given with the credentials it is shown in days and is an alert; without them, or without an offset, refused."""
    async with front(service) as door:
        soon = (datetime.now(UTC) + timedelta(days=2)).isoformat()
        wanted = new(door.vendor.url)
        naive = await door.client.post("/v1/connections", json=wanted | {"password_expires_at": soon[:19]})
        made = await door.ask("post", "/v1/connections", **wanted, password_expires_at=soon)
        place = f"/v1/connections/{made['id']}"
        alone = await door.client.patch(place, json={"password_expires_at": soon})
        await alerts.look(service.database, service.tenant, alerts.Limits())
        found = await door.ask("get", "/v1/alerts")
        later = (datetime.now(UTC) + timedelta(days=90)).isoformat()
        changed = await door.ask("patch", place, auth={"key": "another"}, password_expires_at=later)

        assert [problem(each) for each in (naive, alone)] == [(422, "bad_connection")] * 2
        assert 1.9 < made["expires_days"]["password"] <= 2
        assert [(each["rule"], each["severity"]) for each in found["items"]] == [("expiry", "critical")]
        assert "password of Books" in found["items"][0]["message"]
        assert changed["expires_days"]["password"] > 89


async def test_verify_tells_what_the_system_says(service: Service) -> None:
    """Let in: ok. Not let in: the kind of trouble, and the connection waits for a sign-in."""
    async with front(service) as door:
        await door.connect(live=False)

        well = await door.ask("post", f"/v1/connections/{door.id}/verify")
        door.vendor.usual["/ping"] = Says(401, {})
        ill = await door.ask("post", f"/v1/connections/{door.id}/verify")
        after = await door.ask("get", f"/v1/connections/{door.id}")

        assert (well["kind"], well["status"]) == ("ok", 200)
        assert (ill["kind"], ill["status"]) == ("auth", 401)
        assert door.vendor.seen[0].headers["x-key"] == SECRET
        assert after["state"] == "reauthorise"
        assert await door.refused("post", f"/v1/connections/{door.id}/resume") == (422, "bad_connection")
        mended = await door.ask("patch", f"/v1/connections/{door.id}", auth={"key": "another"})
        assert mended["state"] == "ok"


async def test_a_pause_takes_no_latch_off(service: Service) -> None:
    """Credentials that the system refused stay refused through a pause: only others let the connection go on."""
    async with front(service) as door:
        await door.connect(live=False)
        door.vendor.usual["/ping"] = Says(401, {})
        place = f"/v1/connections/{door.id}"
        for first, then in (("verify", "pause"), ("pause", "verify")):
            await door.ask("post", f"{place}/{first}")
            await door.ask("post", f"{place}/{then}")

            assert await door.refused("post", f"{place}/resume") == (422, "bad_connection")
            assert (await door.ask("get", place))["state"] == "paused"
            await door.ask("patch", place, auth={"key": "another"})
            assert (await door.ask("get", place))["state"] == "paused"
            assert (await door.ask("post", f"{place}/resume"))["state"] == "ok"


async def test_a_paused_connection_is_told_nothing_until_it_goes_on(service: Service) -> None:
    """What has to be told waits, its receipt says why, and goes out when the connection goes on."""
    async with front(service) as door:
        await door.connect()
        desk = await service.office()
        await door.ask("post", f"/v1/connections/{door.id}/pause", reason="moving house")
        await desk.create(1, title="Boiler", assignee_id=ANA)

        paused = await door.ask("get", f"/v1/connections/{door.id}")
        receipt = await door.ask("get", f"/v1/receipts/work_orders/{uid(1)}")
        assert (paused["state"], paused["state_reason"], paused["waiting"]) == ("paused", "moving house", 1)
        assert (receipt["systems"][0]["stage"], receipt["is_settled"]) == ("waiting", False)
        assert "paused" in receipt["systems"][0]["reason"]
        assert door.made() == []

        await door.ask("post", f"/v1/connections/{door.id}/resume")
        await door.work()

        assert [each["name"] for each in door.made()] == ["Boiler"]
        assert (await door.ask("get", f"/v1/connections/{door.id}"))["freshness_seconds"] is not None


async def test_what_is_planned_and_not_told_is_waiting_too(service: Service) -> None:
    """What waits is counted until it is told, wherever it waits, in each lane; what was told is not."""
    async with front(service) as door:
        await door.connect()
        desk = await service.office()
        await desk.create(1, title="Boiler", assignee_id=ANA)
        await door.work()
        await door.ask("post", f"/v1/connections/{door.id}/pause")
        await desk.create(2, title="Pump", assignee_id=ANA)
        await door.worker.drain()
        await desk.create(3, title="Tap", assignee_id=ANA)

        shown = await door.ask("get", f"/v1/connections/{door.id}")

        assert shown["deliveries"] == {"confirmed": 1, "planned": 1}
        assert (shown["waiting"], shown["backfill"]) == (2, 0)
        assert shown["waiting_seconds"] is not None


async def test_a_backfill_tells_what_was_there_before(service: Service) -> None:
    """It rests and goes on; collections that the mapping does not name are refused."""
    async with front(service) as door:
        desk = await service.office()
        for number in range(3):
            await desk.create(number, title=f"Job {number}", assignee_id=ANA)
        await door.connect()
        place = f"/v1/connections/{door.id}/backfill"

        assert await door.refused("post", place, collections=["unicorns"]) == (422, "bad_connection")
        assert (await door.ask("post", f"{place}/pause"))["backfill_paused"] is True
        marked = await door.ask("post", place, collections=["work_orders"])
        assert marked == {"records": {"work_orders": 3}}
        assert (await door.ask("get", f"/v1/connections/{door.id}"))["backfill"] == 3
        assert (await door.ask("post", f"{place}/resume"))["backfill_paused"] is False
        await door.work()

        assert sorted(each["name"] for each in door.made()) == ["Job 0", "Job 1", "Job 2"]


async def test_shadow_records_and_sends_nothing_until_it_is_promoted(service: Service) -> None:
    """What would have been sent is shown; promotion has a check list, and then tells what was recorded."""
    async with front(service) as door:
        await door.connect(live=False)
        desk = await service.office()
        await desk.create(1, title="Boiler", assignee_id=ANA)
        await door.work()

        shown = await door.ask("get", f"/v1/connections/{door.id}/shadow")
        receipt = await door.ask("get", f"/v1/receipts/work_orders/{uid(1)}")
        assert door.made() == []
        assert [(each["verdict"], each["record_id"]) for each in shown["items"]] == [("new", uid(1))]
        assert {check["name"]: check["passed"] for check in shown["checks"]}["recorded"] is False
        assert receipt["systems"][0]["stage"] == "recorded"

        refused = await door.client.post(f"/v1/connections/{door.id}/promote", json={"least": 2})
        assert problem(refused) == (409, "not_ready")
        assert any("recorded" in each for each in refused.json()["problems"])
        promoted = await door.ask("post", f"/v1/connections/{door.id}/promote", least=1)
        assert (promoted["connection"]["mode"], promoted["records"]) == ("live", 1)
        await door.work()

        assert [each["name"] for each in door.made()] == ["Boiler"]
        back = await door.ask("patch", f"/v1/connections/{door.id}", mode="shadow")
        assert back["mode"] == "shadow"


async def test_a_sign_in_at_the_system_ends_with_whom_it_began(service: Service) -> None:
    """The state is sealed, bound to the person, and the code becomes tokens that are never shown."""
    async with front(service) as door:
        wanted = new(door.vendor.url) | {"manifest": CODE, "config": {"issuer": door.vendor.url}}
        wanted["auth"] = {"client_id": "us", "client_secret": "hush"}
        door.id = (await door.ask("post", "/v1/connections", **wanted))["id"]
        place, back = f"/v1/connections/{door.id}/authorize", "https://office.example/back"
        assert await door.refused("post", place, redirect_uri="http://elsewhere.example") == (422, "bad_connection")

        begun = await door.ask("post", place, redirect_uri=back)
        asked = parse_qs(urlsplit(begun["url"]).query)
        state = asked["state"][0]
        assert (asked["redirect_uri"], asked["code_challenge_method"]) == ([back], ["S256"])
        stranger = service.client(await service.token(ANA, "integrator"))
        foreign = await stranger.get("/v1/connections/callback", params={"state": state, "code": "c"})
        forged = await door.client.get(
            "/v1/connections/callback", params={"state": state[:-8] + "AAAAAAAA", "code": "c"}
        )
        denied = await door.client.get("/v1/connections/callback", params={"state": state, "error": "access_denied"})
        door.vendor.usual["/token"] = Says(400, {"error": "invalid_grant"})
        refused = await door.client.get("/v1/connections/callback", params={"state": state, "code": "old"})
        door.vendor.usual["/token"] = Says(200, {"access_token": "tok", "expires_in": 3600, "refresh_token": "ref"})
        ended = await door.client.get("/v1/connections/callback", params={"state": state, "code": "good"})

        assert [problem(each) for each in (foreign, forged)] == [(400, "authorization_broken")] * 2
        assert [problem(each) for each in (denied, refused)] == [(502, "authorization_refused")] * 2
        assert ended.status_code == 200, ended.text
        assert ended.json()["expires_days"]["token"] > 0
        assert "tok" not in ended.text.replace("token", "")
        await door.ask("post", f"/v1/connections/{door.id}/verify")
        assert door.vendor.seen[-1].headers["authorization"] == "Bearer tok"


async def test_what_a_person_brings_along_with_the_code_becomes_a_setting(service: Service) -> None:
    """Nobody types it; it has to be there and fit; another one later is refused before a token is made of its code."""
    async with front(service) as door:
        wanted = new(door.vendor.url) | {"manifest": BRINGS, "config": {"issuer": door.vendor.url}}
        wanted["auth"] = {"client_id": "us", "client_secret": "hush"}
        place = f"/v1/connections/{(await door.ask('post', '/v1/connections', **wanted))['id']}"
        begun = await door.ask("post", f"{place}/authorize", redirect_uri="https://office.example/back")
        back = {"state": parse_qs(urlsplit(begun["url"]).query)["state"][0], "code": "good"}
        door.vendor.usual["/token"] = Says(200, {"access_token": "tok", "expires_in": 3600, "refresh_token": "ref"})

        async def ended(**more: str) -> httpx.Response:
            return await door.client.get("/v1/connections/callback", params=back | more)

        bare, odd = await ended(), await ended(realmId="4620/../1")
        asked_before = len(door.vendor.seen)
        good = await ended(realmId="4620", other="is left alone")
        other = await ended(realmId="9999")

        assert [problem(each) for each in (bare, odd, other)] == [(502, "authorization_refused")] * 3
        assert all("realmId" in each.json()["detail"] for each in (bare, odd, other))
        assert good.status_code == 200, good.text
        assert good.json()["config"] == {"issuer": door.vendor.url, "realm": "4620"}
        assert (asked_before, len(door.vendor.seen)) == (0, 1)
        changed = await door.ask("patch", place, config={"issuer": "https://elsewhere.example"})
        assert changed["config"] == {"issuer": "https://elsewhere.example", "realm": "4620"}


async def test_a_connection_that_told_something_is_removed_only_if_it_is_meant(service: Service) -> None:
    """One that told nothing goes at once; afterwards nothing is known of it, and its receipts stay readable."""
    async with front(service) as door:
        await door.connect()
        desk = await service.office()
        await desk.create(1, title="Boiler", assignee_id=ANA)
        await door.work()
        place = f"/v1/connections/{door.id}"

        assert await door.refused("delete", place) == (409, "connection_in_use")
        assert problem(await door.client.delete(place, params={"forget": "perhaps"})) == (400, "bad_filter")
        gone = await door.client.delete(place, params={"forget": "true"})

        assert gone.json() == {"id": door.id, "removed": True}
        assert await door.refused("get", place) == (404, "unknown_connection")
        assert (await door.ask("get", f"/v1/receipts/work_orders/{uid(1)}"))["systems"] == []
        assert (await door.actions())[-1] == "connection_removed"


async def test_fields_are_found_out_and_kept(service: Service) -> None:
    """The first question goes to the system, the second does not; one that is not described is told as that."""
    async with front(service) as door:
        await door.connect()
        fields = [{"name": "name", "type": "string", "required": True}, {"name": "number", "type": "string"}]
        door.vendor.usual["/fields"] = Says(200, {"fields": fields})

        first = await door.ask("get", f"/v1/connections/{door.id}/fields/job")
        asked = len(door.vendor.seen)
        again = await door.ask("get", f"/v1/connections/{door.id}/fields/job")

        assert {each["path"]: each["required"] for each in first["fields"]} == {"name": True, "number": False}
        assert (again, len(door.vendor.seen)) == (first, asked)
        assert await door.refused("get", f"/v1/connections/{door.id}/fields/unicorn") == (502, "not_discovered")


async def test_who_reads_only_changes_nothing_and_a_dispatcher_sees_no_connections(service: Service) -> None:
    """Whoever only reads is shown a connection; a dispatcher and a technician are not."""
    async with front(service) as door:
        await door.connect()
        reader = service.client(await service.token(DORA, "readonly"))
        place = f"/v1/connections/{door.id}"

        assert (await reader.get(place)).status_code == 200
        assert problem(await reader.patch(place, json={"name": "x"})) == (403, "forbidden")
        for role in ("dispatcher", "technician"):
            assert problem(await service.client(await service.token(DORA, role)).get(place)) == (403, "forbidden")
