"""`fieldsync dev`: ready in one command, hard to lose, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from clients import errors
from clients.machine import this_machine
from clients.office import WORK_ORDERS, Office
from clients.transport import Call, Transport, Waiting
from replication import wire
from tests.acceptance.served import CHECKOUT, Served, survivors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GONE_SECONDS_MAX = 45
REVIVED_SECONDS_MAX = 20


def left_of(family: dict[int, str]) -> dict[int, str]:
    """Wait until none of the processes runs, and return those that still do when the time is over."""
    deadline = time.monotonic() + GONE_SECONDS_MAX
    while (left := survivors(family)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@pytest.fixture
async def transport(served: Served) -> AsyncIterator[Transport]:
    """Give plain requests to the server."""
    machine = this_machine()
    road = Transport(served.ready.url, Waiting(machine.now_ms, machine.sleep, machine.jitter))
    yield road
    await road.close()


def test_the_ready_file_says_all_that_a_client_needs(served: Served) -> None:
    """The ready file has the address, the process ids, two tenants with at least three technicians, and tokens."""
    facts = served.facts

    assert set(facts) == {"url", "version", "server_pid", "worker_pid", "database_url", "redis_url", "tenants"}
    for process in ("server_pid", "worker_pid"):
        os.kill(facts[process], 0)
    assert len({tenant["id"] for tenant in facts["tenants"]}) == 2
    for tenant in facts["tenants"]:
        assert {"id", "office_token", "admin_token", "technicians"} <= set(tenant)
        assert len(tenant["technicians"]) >= 3
        assert all({"id", "name", "token", "enrolment_code"} <= set(person) for person in tenant["technicians"])


def test_the_ready_file_is_its_owners(served: Served) -> None:
    """Nobody but the owner can read the tokens."""
    assert served.ready_file.stat().st_mode & 0o077 == 0


async def test_every_token_of_the_ready_file_works(served: Served, transport: Transport) -> None:
    """Office, admin and technician tokens of both tenants work at once, each with the rights of its role."""
    pull = wire.PullRequest()

    for tenant in served.facts["tenants"]:
        for token in (tenant["office_token"], tenant["admin_token"]):
            await transport.send(Call(method="GET", path="/v1/technicians", token=token))
            with pytest.raises(errors.Refused, match="403"):
                await transport.send(Call(method="POST", path=wire.PATH_PULL, body=pull, token=token))
        for person in tenant["technicians"]:
            await transport.send(Call(method="POST", path=wire.PATH_PULL, body=pull, token=person["token"]))


async def test_a_code_is_good_for_many_devices(served: Served, transport: Transport) -> None:
    """An enrolment code of a development server makes a new replica each time."""
    body = wire.EnrolRequest(served.tenant.technicians[0].enrolment_code, "one of many")

    replies = [await transport.send(Call(method="POST", path=wire.PATH_ENROL, body=body)) for _ in range(2)]

    assert len({reply.decode(wire.EnrolAnswer).rid for reply in replies}) == 2


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/openapi.json", "/docs", "/v1/catalog"])
async def test_the_named_routes_answer(served: Served, transport: Transport, path: str) -> None:
    """The routes that others rely on are there."""
    reply = await transport.send(Call(method="GET", path=path, token=served.tenant.office_token))

    assert (reply.status, bool(reply.body)) == (200, True)


async def test_tenants_see_nothing_of_each_other(served: Served, office: Office) -> None:
    """A record of one tenant is unknown to the office of the other."""
    record_id = next(iter(await office.list("technicians")))

    with pytest.raises(errors.Refused, match="404"):
        await office.of(served.ready.tenants[1].office_token).get("technicians", record_id)


async def test_what_was_done_outlives_a_kill_of_everything() -> None:
    """Killed with -9, `dev` takes all its processes with it; started again, all data and tokens are there."""
    with Served("--no-seed") as server:
        tokens = server.facts["tenants"]
        async with Office.open(server.ready.url, server.tenant.office_token) as office:
            made = await office.create(WORK_ORDERS, {"title": "Outlives a kill"})
        family = server.family()

        server.kill()

        left = await asyncio.to_thread(left_of, family)
        assert len(family) >= 8, "a guard and a program each for PostgreSQL, Valkey, server and worker"
        assert not left

        server.start()
        async with Office.open(server.ready.url, server.tenant.office_token) as office:
            found = await office.get(WORK_ORDERS, made.id)
        assert (found.rev, found.fields["title"]) == (made.rev, "Outlives a kill")
        assert server.facts["tenants"] == tokens


async def test_it_outlives_the_terminal_that_started_it() -> None:
    """A hang-up of the terminal ends neither `dev` nor its server."""
    with Served("--no-seed") as server:
        before = server.facts["server_pid"]

        os.killpg(server.pid, signal.SIGHUP)
        await asyncio.sleep(1)

        async with Office.open(server.ready.url, server.tenant.office_token) as office:
            assert await office.has_any("technicians")
        assert server.facts["server_pid"] == before


async def test_it_goes_on_after_a_kill_of_its_database() -> None:
    """With its PostgreSQL killed, `dev` starts it again: within seconds the server is ready, and nothing is lost."""
    with Served("--no-seed") as server:
        async with Office.open(server.ready.url, server.tenant.office_token) as office:
            made = await office.create(WORK_ORDERS, {"title": "Outlives its database"})
        before = server.facts["server_pid"]
        postmaster = server.folder / "data" / "postgres" / "data" / "postmaster.pid"

        began = time.monotonic()
        os.kill(int(postmaster.read_text().splitlines()[0]), signal.SIGKILL)
        await asyncio.to_thread(server.wait_for_server_after, before)

        assert time.monotonic() - began < REVIVED_SECONDS_MAX
        with await asyncio.to_thread(urlopen, f"{server.ready.url}/ready") as answer:
            assert answer.status == 200
        async with Office.open(server.ready.url, server.tenant.office_token) as office:
            assert (await office.get(WORK_ORDERS, made.id)).fields["title"] == "Outlives its database"
        assert "PostgreSQL ended" in server.log.read_text()


async def test_a_worker_that_is_killed_is_begun_again() -> None:
    """Another worker takes its place, the ready file says which, and the server beside it goes on."""
    with Served("--no-seed") as server:
        before = server.facts
        os.kill(before["worker_pid"], signal.SIGKILL)

        await asyncio.to_thread(server.wait, lambda: server.facts["worker_pid"] != before["worker_pid"])

        after = server.facts
        os.kill(after["worker_pid"], 0)
        assert after == before | {"worker_pid": after["worker_pid"]}
        assert "the worker ended; starting it again" in server.log.read_text()


def dev(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a start that is meant to end by itself, in a folder that is not there yet."""
    return subprocess.run(
        [sys.executable, "-m", "syncserver", "dev", "--data", str(folder), *options],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        timeout=GONE_SECONDS_MAX,
        check=False,
    )


def test_a_taken_port_is_told_before_anything_is_started(tmp_path: Path) -> None:
    """Somebody else's server is not taken for ours: one sentence, exit code 1, and nothing was made."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        ended = dev(tmp_path / "data", "--port", str(port))

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"port {port} is taken; choose another with --port, or 0 for a free one\n"
    assert not (tmp_path / "data").exists()


def test_a_broken_catalogue_is_told_before_anything_is_started(tmp_path: Path) -> None:
    """The file is named with what is wrong in it, and nothing was made."""
    broken = tmp_path / "broken.toml"
    broken.write_text("[collections.")

    told = [dev(tmp_path / "data", "--port", "0", "--catalog", str(path)) for path in (broken, tmp_path / "none.toml")]

    assert [ended.returncode for ended in told] == [1, 1]
    assert told[0].stderr.startswith(f"{broken}: 1 problem")
    assert told[1].stderr == f"{tmp_path / 'none.toml'}: No such file or directory\n"
    assert not (tmp_path / "data").exists()


def test_an_orderly_end_leaves_nothing_behind() -> None:
    """Told to end, `dev` removes its ready file and leaves no process."""
    with Served("--no-seed") as server:
        family = server.family()

        server.stop()

        assert not survivors(family)
        assert not server.ready_file.exists()
