"""A session of somebody who signed in: what it opens, for whom, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncserver.commands import access
from syncserver.store import people
from tests.integration.service import Service, problem, uid
from tests.integration.signing import Browser, configure, noted

if TYPE_CHECKING:
    import pytest

    from tests.peers.issuer import Issuer


async def test_somebody_who_was_removed_stays_out(
    service: Service, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing a person ends their sessions and tool tokens, and the issuer cannot bring them back."""
    monkeypatch.setattr(access, "REMEMBERED_SECONDS", 0.0)
    await browser.sign_in()
    tool = (await browser.client.post("/v1/auth/token", headers=await browser.csrf())).json()["token"]
    person = (await browser.session())["person"]
    assert (await service.client(tool).get("/v1/teams")).status_code == 200

    await people.remove_person(service.database, service.tenant, person)

    assert problem(await browser.client.get("/v1/teams")) == (401, "unauthenticated")
    assert problem(await service.client(tool).get("/v1/teams")) == (401, "unauthenticated")
    assert problem(await browser.sign_in()) == (403, "signin_not_allowed")
    assert (await noted(service))[0] == (None, "signin_not_allowed")


async def test_a_tool_gets_a_token_that_ends_with_the_session_it_came_from(browser: Browser) -> None:
    """The tool's token is of the same person and role, and lives no longer."""
    await browser.sign_in()
    session = await browser.session()

    handed = (await browser.client.post("/v1/auth/token", headers=await browser.csrf())).json()

    tool = browser.service.client(handed["token"])
    told = (await tool.get("/v1/auth/session")).json()
    assert (told["person"], told["role"], told["csrf"]) == (session["person"], "dispatcher", None)
    assert told["expires_at"][:16] == session["expires_at"][:16]
    assert (await tool.post("/v1/auth/logout")).json() == {"signed_out": True}
    assert (await browser.session())["person"] == session["person"]


async def test_a_session_ends_by_itself(service: Service, browser: Browser) -> None:
    """After its time a session opens nothing."""
    await browser.sign_in()
    async with service.database.transaction(service.tenant) as connection:
        await connection.execute(
            "UPDATE tokens SET expires_at = now() - interval '1 s' WHERE tenant_id = $1 AND kind = 'session'",
            service.tenant,
        )

    assert problem(await browser.client.get("/v1/auth/session")) == (401, "unauthenticated")


async def test_a_page_of_somebody_else_cannot_write(service: Service, browser: Browser) -> None:
    """A write by cookie needs what only our own answers tell; a read does not, nor does a bearer."""
    await browser.sign_in()
    right = await browser.csrf()
    other = Browser(service)
    await other.sign_in()

    told = [
        await browser.client.post("/v1/work_orders", json={"id": uid(2)}, headers=headers)
        for headers in ({}, {"x-csrf-token": ""}, {"x-csrf-token": "x" * 43}, await other.csrf())
    ]

    assert {problem(answer) for answer in told} == {(403, "csrf_refused")}
    assert problem(await browser.client.post("/v1/auth/logout")) == (403, "csrf_refused")
    assert (await browser.client.get("/v1/work_orders")).json()["items"] == []
    made = await browser.client.post("/v1/work_orders", json={"id": uid(2)}, headers=right)
    assert made.status_code == 200


async def test_a_token_that_is_no_session_is_no_cookie(service: Service) -> None:
    """Tokens of people and devices open by bearer alone, and are not ended by signing out."""
    token = await service.token()
    thief = service.client()
    thief.cookies.set("fieldsync", token)

    assert problem(await thief.get("/v1/teams")) == (401, "unauthenticated")
    holder = service.client(token)
    assert problem(await holder.post("/v1/auth/logout")) == (409, "no_session")
    assert problem(await holder.post("/v1/auth/token")) == (409, "no_session")
    assert (await holder.get("/v1/auth/session")).json()["kind"] == "access"


async def test_over_https_the_cookie_is_for_this_host_and_https_alone(
    service: Service, issuer: Issuer, browser: Browser
) -> None:
    """Where browsers come by https the cookie has the prefix by which they hold it to that."""
    await configure(service.database, service.tenant, issuer, "https://sync.example.com")
    away = await browser.client.get("/v1/auth/signin", params={"tenant": str(service.tenant)})
    flow = away.headers["set-cookie"]
    kept = flow.partition("=")[2].partition(";")[0].strip('"')
    there = await browser.let_in(away.headers["location"])
    browser.client.cookies.clear()
    browser.client.headers["cookie"] = f"__Host-fieldsync-signin={kept}"

    answer = await browser.come_back(there)

    assert there.startswith(f"https://sync.example.com/v1/auth/callback/{service.tenant}?")
    session = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("__Host-fieldsync="))
    for told in (flow, session):
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= {part.strip().lower() for part in told.split(";")}
        assert "domain" not in told.lower()


async def test_over_https_a_cookie_that_a_neighbour_could_set_is_not_taken(
    service: Service, issuer: Issuer, browser: Browser
) -> None:
    """Neither a sign-in nor a session goes on by a plain cookie where browsers come by https."""
    await configure(service.database, service.tenant, issuer, "https://sync.example.com")
    away = await browser.client.get("/v1/auth/signin", params={"tenant": str(service.tenant)})
    kept = away.cookies["__Host-fieldsync-signin"]
    there = await browser.let_in(away.headers["location"])

    tossed = await _by_cookie(service, "fieldsync-signin", kept).come_back(there)
    right = await _by_cookie(service, "__Host-fieldsync-signin", kept).come_back(there)
    session = right.cookies["__Host-fieldsync"]
    told = [
        await _by_cookie(service, name, session).client.get("/v1/auth/session")
        for name in ("fieldsync", "__Host-fieldsync")
    ]

    assert problem(tossed) == (400, "signin_broken")
    assert problem(told[0]) == (401, "unauthenticated")
    assert told[1].status_code == 200


def _by_cookie(service: Service, name: str, value: str) -> Browser:
    made = Browser(service)
    made.client.headers["cookie"] = f"{name}={value}"
    return made
