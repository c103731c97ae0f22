"""One renewal for each expiry, whoever asks and whoever dies; and what is told when it cannot be mended."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from syncserver.store import db, keys
from tests.integration import caller
from tests.peers import token_house
from tests.peers.token_house import House
from upstream import connections, sealing
from upstream.connections import Connection
from upstream.credentials import Credential, Granted, Keeper, NotNow, Refused, Unusable, purpose
from upstream.errors import BadConnection
from upstream.transport import Http

PROCESSES, TASKS = 4, 8
MOMENTS = "token_expires_at = clock_timestamp() - interval '1 s', renew_at = clock_timestamp() - interval '1 s'"


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Give an issuer that rotates its tokens."""
    async with token_house.running() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """Give the way out."""
    made = Http(allow_loopback=True)
    yield made
    await made.close()


@pytest.fixture
async def keeper(database: db.Database) -> AsyncIterator[Keeper]:
    """Give a keeper whose leases are short."""
    made = Keeper(database, caller.KEYS, lease_ms=1_500)
    yield made
    await made.close()


@pytest.fixture
async def connection(database: db.Database, keeper: Keeper, house: House) -> Connection:
    """Give a connection that somebody has signed in for."""
    made = await caller.connected(database, house.url)
    await caller.signed_in(keeper, made)
    return made


async def change(database: db.Database, connection: Connection, what: str) -> None:
    """Change the row of a connection's credentials."""
    async with database.transaction(connection.tenant_id) as session:
        await session.execute(f"UPDATE credentials SET {what} WHERE connection = $1", connection.connection)


async def test_thirty_two_workers_renew_once_for_each_expiry(
    database_url: str, database: db.Database, connection: Connection, house: House
) -> None:
    """However many ask at once, each expiry leads to one renewal, and no spent token is ever sent."""
    async with AsyncExitStack() as stack:
        running = [caller.worker(database_url, connection, tasks=TASKS) for _ in range(PROCESSES)]
        workers = [await stack.enter_async_context(each) for each in running]
        for worker in workers:
            assert worker.stdout is not None
            await worker.stdout.readline()
        for round_ in range(1, 7):
            if round_ % 2:
                await change(database, connection, MOMENTS)
            else:
                house.expire()
            kinds = await asyncio.gather(*(caller.told(worker) for worker in workers))

            assert [kind for told in kinds for kind in told] == ["ok"] * PROCESSES * TASKS
            assert (house.renewals, house.refused) == (round_, [])


async def test_ahead_of_time_nobody_waits(
    database: db.Database, keeper: Keeper, connection: Connection, house: House, http: Http
) -> None:
    """A token that is renewed ahead of its end is still sent by those who do not renew it."""
    other = Keeper(database, caller.KEYS)
    await change(database, connection, "renew_at = clock_timestamp() - interval '1 s'")
    calling = [caller.connector(connection, http, each) for each in (keeper, other)]

    first = asyncio.create_task(calling[0].call("thing", {}))
    await house.asked.wait()
    second = await calling[1].call("thing", {})

    assert second.kind == "ok"
    assert not first.done()
    assert (await first).kind == "ok"
    assert house.renewals == 1


async def killed_before_storing(database_url: str, connection: Connection, house: House) -> None:
    """Have a worker killed with -9 between the issuer's answer and storing it."""
    async with caller.worker(database_url, connection, tasks=1, die=True) as doomed:
        assert doomed.stdout is not None
        await doomed.stdout.readline()
        assert await caller.told(doomed) == []
        await doomed.wait()
        assert doomed.returncode == -9
    assert house.renewals == 1


async def test_a_lost_answer_is_told_loudly(
    database_url: str, database: db.Database, keeper: Keeper, connection: Connection, house: House, http: Http
) -> None:
    """If the only copy of a new token dies with its worker, a person is told so; it is never silent."""
    await change(database, connection, MOMENTS)
    await killed_before_storing(database_url, connection, house)

    with capture_logs() as logs:
        reply = await caller.connector(connection, http, keeper).call("thing", {})

    assert (reply.kind, reply.code, reply.sent) == ("auth", "reauthorise", False)
    assert "cut off before its answer was stored" in reply.message
    assert [log["event"] for log in logs] == ["renewal_unsettled", "credentials_refused"]
    (trouble,) = await keeper.troubles([connection.tenant_id])
    assert (trouble.connection, trouble.state) == (connection.connection, "reauthorise")
    after = await connections.get(database, connection.tenant_id, connection.connection)
    assert (after.state, after.state_reason) == ("reauthorise", reply.message)


async def test_a_lost_answer_is_recovered_where_the_issuer_allows_it(
    database_url: str, database: db.Database, keeper: Keeper, connection: Connection, house: House, http: Http
) -> None:
    """If the issuer accepts the old token once more, the next worker goes on as if nothing had been."""
    house.forgives = True
    await change(database, connection, MOMENTS)
    await killed_before_storing(database_url, connection, house)

    reply = await caller.connector(connection, http, keeper).call("thing", {})

    assert reply.kind == "ok"
    assert (house.renewals, house.refused) == (2, [])
    assert await keeper.troubles([connection.tenant_id]) == []


async def test_latched_credentials_are_not_sent(
    keeper: Keeper, database: db.Database, connection: Connection, house: House, http: Http
) -> None:
    """After a refusal nothing is sent any more, until a person signs in again."""
    calling = caller.connector(connection, http, keeper)
    house.refresh = "another"
    await change(database, connection, MOMENTS)

    replies = [await calling.call("thing", {}) for _ in range(5)]
    arrivals, calls = house.arrivals, len(house.calls)
    house.access, house.refresh = "access-0", "refresh-0"
    await caller.signed_in(keeper, connection)
    after = await calling.call("thing", {})

    assert {reply.kind for reply in replies} == {"auth"}
    assert (arrivals, calls) == (1, 0)
    assert after.kind == "ok"
    assert (await connections.get(database, connection.tenant_id, connection.connection)).state == "ok"


async def test_the_loser_does_not_destroy_the_winner(
    keeper: Keeper, database: db.Database, connection: Connection
) -> None:
    """Who is refused because another was quicker uses what that one stored."""
    await change(database, connection, MOMENTS)
    place = (connection.tenant_id, connection.connection)

    async def overtaken(_found: Credential) -> Refused:
        await keeper.put(*place, {"client_id": "fieldsync"}, Granted(token="newer", seconds=3_600))
        return Refused("invalid_grant")

    found = await keeper.usable(*place, overtaken)

    assert isinstance(found, Credential)
    assert (found.token, found.state) == ("newer", "ok")


async def test_who_comes_late_with_the_good_pair_wins(database: db.Database, connection: Connection) -> None:
    """A worker whose lease ran out stores its pair all the same, and ends the latch that this led to."""
    slow = Keeper(database, caller.KEYS, lease_ms=1)
    place = (connection.tenant_id, connection.connection)
    await change(database, connection, MOMENTS)

    async def refused(_found: Credential) -> Refused:
        return Refused("invalid_grant")

    async def late(_found: Credential) -> Granted:
        await asyncio.sleep(0.05)
        assert isinstance(await Keeper(database, caller.KEYS, lease_ms=1).usable(*place, refused), Unusable)
        return Granted(token="late", seconds=3_600, refresh_token="late-refresh")

    found = await slow.usable(*place, late)

    assert isinstance(found, Credential)
    assert (found.token, found.refresh_token, found.state) == ("late", "late-refresh", "ok")


async def test_an_issuer_that_is_down_is_asked_later(
    keeper: Keeper, database: db.Database, connection: Connection, house: House, http: Http
) -> None:
    """Without an answer nobody is locked out, and not every call asks again."""
    house.fails = [503]
    await change(database, connection, MOMENTS)
    calling = caller.connector(connection, http, keeper)

    replies = [await calling.call("thing", {}) for _ in range(4)]
    await change(database, connection, MOMENTS)
    after = await calling.call("thing", {})

    assert {(reply.kind, reply.sent) for reply in replies} == {("transient", False)}
    assert all(reply.retry_after_ms > 0 for reply in replies)
    assert house.arrivals == 2
    assert after.kind == "ok"


async def test_a_cancelled_call_does_not_lose_the_answer(
    keeper: Keeper, connection: Connection, database: db.Database, house: House, http: Http
) -> None:
    """Whoever waits for a renewal may be cancelled: its answer is stored nevertheless."""
    await change(database, connection, MOMENTS)
    task = asyncio.create_task(caller.connector(connection, http, keeper).call("thing", {}))
    await house.asked.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await keeper.close()

    found = await keeper.read(connection.tenant_id, connection.connection)
    assert found is not None
    assert (found.token, found.refresh_token) == (house.access, house.refresh)


async def test_a_database_that_is_away_for_a_moment_costs_no_token(
    keeper: Keeper, connection: Connection, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storing a new pair is tried again: there is no other copy of it."""
    place, lost = (connection.tenant_id, connection.connection), [2]
    await change(database, connection, MOMENTS)
    real = database.transaction

    def failing(*tenants: int, snapshot: bool = False) -> Any:
        if armed and lost[0]:
            lost[0] -= 1
            raise asyncpg.ConnectionDoesNotExistError("gone")
        return real(*tenants, snapshot=snapshot)

    armed: list[bool] = []

    async def renewed(_found: Credential) -> Granted:
        armed.append(True)
        return Granted(token="kept", seconds=60)

    monkeypatch.setattr(database, "transaction", failing)
    found = await keeper.usable(*place, renewed)

    assert isinstance(found, Credential)
    assert found.token == "kept"
    assert lost == [0]


async def test_secrets_are_sealed_for_one_connection(connection: Connection, database: db.Database) -> None:
    """What is stored does not show the secrets, opens for its own connection only, and by the right keys."""
    async with database.transaction(connection.tenant_id) as session:
        stored: bytes = await session.fetchval(
            "SELECT secret FROM credentials WHERE connection = $1", connection.connection
        )

    assert b"refresh-0" not in stored
    assert b"refresh-0" in sealing.unseal(stored, caller.KEYS, purpose(connection.tenant_id, connection.connection))
    with pytest.raises(sealing.Unopened):
        sealing.unseal(stored, caller.KEYS, purpose(connection.tenant_id, "another"))
    found = await Keeper(database, (b"x" * 40,)).usable(connection.tenant_id, connection.connection, None)
    assert isinstance(found, Unusable)
    assert found.code == "credentials_sealed"


async def test_a_new_secret_key_wraps_them_anew(connection: Connection, database: db.Database) -> None:
    """After the keys were rotated the new one alone opens what is stored, and the old one may go."""
    new = b"n" * 40
    await keys.rewrap(database, [connection.tenant_id], (new, *caller.KEYS))

    uses = await keys.uses(database, [connection.tenant_id])
    found = await Keeper(database, (new,)).read(connection.tenant_id, connection.connection)

    assert uses.secrets == (sealing.key_id(new),)
    assert found is not None
    assert found.refresh_token == "refresh-0"


async def test_what_ends_when_is_known(keeper: Keeper, connection: Connection) -> None:
    """Tokens, refresh tokens and passwords tell how long they are good, in seconds."""
    place = (connection.tenant_id, connection.connection)
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    granted = Granted(token="t", seconds=100, refresh_token="r", refresh_seconds=1_000)
    await keeper.put(*place, {"client_id": "c"}, granted, password_expires_at=soon)

    found = {each.kind: each.seconds for each in await keeper.expiries([connection.tenant_id])}

    assert found.keys() == {"token", "refresh_token", "password"}
    assert 0 < found["token"] <= 100 < found["refresh_token"] <= 1_000 < found["password"] <= 3 * 86_400


async def test_nobody_has_given_credentials(keeper: Keeper, database: db.Database, house: House, http: Http) -> None:
    """Without credentials nothing is sent, and the reply says what to do."""
    connection = await caller.connected(database, house.url)

    reply = await caller.connector(connection, http, keeper).call("thing", {})

    assert (reply.kind, reply.code, reply.sent) == ("auth", "no_credentials", False)
    assert house.calls == []


async def test_a_certificate_that_is_none_is_refused(keeper: Keeper, connection: Connection) -> None:
    """What cannot be read is refused when it is given, not when it is needed."""
    with pytest.raises(BadConnection, match=r"credentials\.certificate"):
        await keeper.put(connection.tenant_id, connection.connection, {"certificate": "nonsense"})


async def test_an_answer_nobody_knows_stays_noted(
    keeper: Keeper, connection: Connection, database: db.Database
) -> None:
    """If the issuer's answer was lost on the way, that stays known until a renewal succeeds."""
    place = (connection.tenant_id, connection.connection)
    await change(database, connection, MOMENTS)

    async def lost(_found: Credential) -> NotNow:
        return NotNow("reset", settled=False)

    async def refused(_found: Credential) -> Refused:
        return Refused("invalid_grant")

    assert isinstance(await keeper.usable(*place, lost), Unusable)
    (trouble,) = await keeper.troubles([connection.tenant_id])
    await change(database, connection, MOMENTS)
    found = await keeper.usable(*place, refused)

    assert (trouble.state, trouble.unsettled) == ("ok", True)
    assert isinstance(found, Unusable)
    assert "cut off" in found.message


async def test_what_an_issuer_repeats_of_the_credentials_is_told_to_nobody(
    keeper: Keeper, database: db.Database, connection: Connection
) -> None:
    """Its words stand in the log and at the connection, without the token that it quotes."""
    place = (connection.tenant_id, connection.connection)
    await change(database, connection, MOMENTS)
    held = await keeper.read(*place)
    assert held is not None

    async def quoting(found: Credential) -> Refused:
        return Refused("invalid_grant", f"{found.refresh_token} was used\0 already")

    with capture_logs() as said:
        found = await keeper.usable(*place, quoting)
    shown = await connections.get(database, *place)

    assert isinstance(found, Unusable)
    assert "was used" in shown.state_reason
    assert held.refresh_token not in f"{said} {found} {shown}"


async def test_an_issuer_that_wants_a_pause_gets_it_from_those_without_a_token_too(
    keeper: Keeper, database: db.Database, connection: Connection
) -> None:
    """Before the first token there is nothing to send, and still not every call asks."""
    place = (connection.tenant_id, connection.connection)
    await keeper.put(*place, {"client_id": "fieldsync", "client_secret": "secret"})
    asked = []

    async def busy(_found: Credential) -> NotNow:
        asked.append(1)
        return NotNow("slow down", retry_after_ms=60_000)

    found = [await keeper.usable(*place, busy) for _ in range(3)]
    await change(database, connection, "renew_at = clock_timestamp() - interval '1 s'")
    await keeper.usable(*place, busy)

    assert all(isinstance(each, Unusable) and each.retry_after_ms > 30_000 for each in found)
    assert len(asked) == 2
