"""Changing the secret keys: no work is lost, sealed secrets follow, and it is told when an old key may go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from clients.device import Device
from syncserver.commands import keys
from syncserver.commands.errors import KeysMissing
from syncserver.store import audit, devices, signins
from syncserver.store.signins import Config, SignIn
from tests.integration.service import ANA, Service, problem, serving, uid
from upstream import sealing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from syncserver.store.db import Database

OLD, NEW, STRANGE = b"o" * 32, b"n" * 32, b"s" * 32
OLD_ID, NEW_ID = sealing.key_id(OLD), sealing.key_id(NEW)


@pytest.fixture
async def tenant(database_url: str, database: Database) -> AsyncIterator[Service]:
    """Give a tenant of a database of its own, which no server serves yet."""
    made = Service(database_url, database)
    await made.add_tenant()
    yield made
    await made.close()


async def seal(tenant: Service, key: bytes) -> None:
    """Leave a sealed secret."""
    config = Config(public_url="https://sync.example.com", role_claim="roles", roles=(("a", "admin"),))
    secret = sealing.seal(b"secret", [key], signins.purpose(tenant.tenant))
    made = SignIn(
        tenant_id=tenant.tenant, issuer="https://issuer.example.com", client_id="c", secret=secret, config=config
    )
    await signins.put(tenant.database, made)


@pytest.mark.parametrize(("second", "pulls_anew"), [((NEW, OLD), False), ((NEW,), True)])
async def test_a_device_loses_nothing_by_a_change_of_keys(
    database_url: str, tenant: Service, tmp_path: Path, second: tuple[bytes, ...], *, pulls_anew: bool
) -> None:
    """With the old key still set it goes on where it was; without, it reads anew and its edits arrive all the same."""
    code = await devices.create_code(tenant.database, tenant.tenant, ANA)
    async with serving(database_url, keys=(OLD,)) as url, httpx.AsyncClient(base_url=url) as client:
        client.headers["authorization"] = f"Bearer {await tenant.token()}"
        for number in (1, 2):
            given = await client.post("/v1/work_orders", json={"id": uid(number), "title": "a", "assignee_id": ANA})
            assert given.status_code == 200
        async with Device.open(tmp_path / "phone.db", url) as phone:
            await phone.enrol(code, "phone")
            await phone.sync()
            await phone.sync()
            phone.edit("work_orders", uid(1), title="made in the cellar")
            made_there = phone.create("work_orders", {"title": "new in the cellar"})
    seen: list[tuple[str, int]] = []

    async with serving(database_url, keys=second) as url:

        async def note(response: httpx.Response) -> None:
            seen.append((response.request.url.path, response.status_code))

        async with (
            httpx.AsyncClient(base_url=url, event_hooks={"response": [note]}) as client,
            Device.open(tmp_path / "phone.db", url, client=client) as phone,
        ):
            await phone.sync()
            edited = {told.verdict.id: told.verdict.verdict for told in phone.verdicts}
            shown = phone.list("work_orders")
            left = list(phone.unsent)

    assert ((("/v1/sync/push", 400) in seen) or ("/v1/sync/pull", 400) in seen) is pulls_anew
    assert edited == {uid(1): "applied", made_there: "applied"}
    assert left == []
    assert {record["title"] for record in shown.values()} == {"made in the cellar", "a", "new in the cellar"}


async def test_a_cursor_of_a_key_that_is_gone_is_told_by_its_code(database_url: str, tenant: Service) -> None:
    """Pull and push say `bad_cursor`, judge nothing, and take the same without the cursor."""
    async with serving(database_url, keys=(OLD,)) as url:
        tenant.url = url
        phone = await tenant.device()
        await phone.pull()
    async with serving(database_url, keys=(NEW,)) as url:
        phone.client = httpx.AsyncClient(base_url=url, headers=phone.client.headers)
        edit = phone.edit(4, op="create", set={"title": "x"})

        pulled = await phone.client.post("/v1/sync/pull", json={"cursor": phone.cursor})
        pushed = await phone.push(edit)
        settled = await phone.settled(edit, cursor=None)
        page = await phone.client.post("/v1/sync/pull", json={})
        await phone.client.aclose()

    assert {problem(pulled), problem(pushed)} == {(400, "bad_cursor")}
    assert settled["applied"] == 1
    assert [change["id"] for commit in page.json()["commits"] for change in commit["changes"]]


async def test_what_depends_on_a_key_is_told_until_nothing_does(database_url: str, tenant: Service) -> None:
    """Sealed secrets by their wrapping, devices by the cursor they were last given."""
    await seal(tenant, OLD)
    async with serving(database_url, keys=(OLD,)) as url:
        tenant.url = url
        phone = await tenant.device()
        await phone.pull()
        await phone.pull()
    before = await keys.check(tenant.database, [NEW, OLD])
    wrapped = await keys.rewrap(tenant.database, [NEW, OLD])
    between = await keys.check(tenant.database, [NEW, OLD])
    async with serving(database_url, keys=(NEW, OLD)) as url:
        phone.client = httpx.AsyncClient(base_url=url, headers=phone.client.headers)
        await phone.pull()
        await phone.client.aclose()
    after = await keys.check(tenant.database, [NEW, OLD])

    def told(uses: list[keys.Use]) -> list[tuple[str, bool, int, int, bool]]:
        return [(use.key, use.seals, use.secrets, use.devices, use.is_free) for use in uses]

    assert told(before) == [(NEW_ID, True, 0, 0, False), (OLD_ID, False, 1, 1, False)]
    assert wrapped == 1
    assert told(between) == [(NEW_ID, True, 1, 0, False), (OLD_ID, False, 0, 1, False)]
    assert told(after) == [(NEW_ID, True, 1, 1, False), (OLD_ID, False, 0, 0, True)]
    found = await signins.find(tenant.database, tenant.tenant)
    assert found is not None
    assert sealing.unseal(found.secret, [NEW], signins.purpose(tenant.tenant)) == b"secret"
    (row,) = await audit.listed(tenant.database, tenant.tenant, audit.Sought(limit=9, action="keys_rotated"))
    assert (row.object, row.system) == (f"key:{NEW_ID}", "operator")


async def test_a_device_that_was_shut_out_holds_no_key_back(database_url: str, tenant: Service) -> None:
    """It will never pull again, so a key need not be kept for it."""
    async with serving(database_url, keys=(OLD,)) as url:
        tenant.url = url
        phone = await tenant.device()
        await phone.pull()
        await phone.pull()
    await devices.fence(tenant.database, tenant.tenant, phone.enrolled["rid"])

    uses = await keys.check(tenant.database, [NEW, OLD])

    assert uses[1].is_free


async def test_a_secret_of_a_key_that_is_not_set_stops_the_rewrapping(tenant: Service) -> None:
    """Nothing is changed, the key is named, and the check tells of it."""
    await seal(tenant, STRANGE)

    with pytest.raises(KeysMissing, match=sealing.key_id(STRANGE)):
        await keys.rewrap(tenant.database, [NEW, OLD])

    stranger = (await keys.check(tenant.database, [NEW, OLD]))[2]
    assert (stranger.key, stranger.is_set, stranger.secrets) == (sealing.key_id(STRANGE), False, 1)


async def test_two_at_once_rewrap_once(tenant: Service) -> None:
    """Two operators do not spoil each other's work."""
    await seal(tenant, OLD)

    counts = await asyncio.gather(*(keys.rewrap(tenant.database, [NEW, OLD]) for _ in range(3)))

    assert sorted(counts) == [0, 0, 1]
