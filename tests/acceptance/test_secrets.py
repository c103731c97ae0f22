"""Nothing secret and nothing personal is ever written to a log, whatever goes wrong, at the finest level."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from syncserver.dev import server as dev_server
from tests.acceptance.served import CHECKOUT, Served
from tests.acceptance.talkative import Talkative
from tests.integration.proxy import Proxy
from tests.integration.test_command_line import fieldsync
from tests.peers import issuer as peer
from tests.services import create_database, postgres_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.peers.issuer import Issuer

KEY = "a-secret-key-0123456789abcdef-0123456789abcdef"
LOUD = {"FIELDSYNC_LOG_LEVEL": "debug", "FIELDSYNC_ALLOW_LOOPBACK_VENDORS": "1"}
READY_SECONDS_MAX = 60


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """Give the URL of a PostgreSQL on which databases may be made."""
    with postgres_server() as server:
        yield server.url


@pytest.fixture
async def bare_url(server_url: str) -> str:
    """Give the address of an empty database."""
    return await create_database(server_url)


class Loud(Served):
    """A development server that says all it can."""

    @property
    def environment(self) -> dict[str, str]:
        """That of an ordinary one, and the finest level."""
        return {**super().environment, **LOUD}


def start(database_url: str, port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start `fieldsync serve` as a process that writes to a file."""
    given = {"FIELDSYNC_DATABASE_URL": database_url, "FIELDSYNC_SECRET_KEYS": KEY, "FIELDSYNC_PORT": str(port), **LOUD}
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "syncserver", "serve"],
            stdout=out,
            stderr=out,
            cwd=CHECKOUT,
            env={**os.environ, **given},
        )


@asynccontextmanager
async def served(database_url: str, log: Path) -> AsyncIterator[str]:
    """Serve in a process of its own until the block ends."""
    port = dev_server.free_port(0)
    running, url = start(database_url, port, log), f"http://127.0.0.1:{port}"
    try:
        await ready(url)
        yield url
    finally:
        running.send_signal(signal.SIGTERM)
        await asyncio.to_thread(running.wait, 60)


async def ready(url: str) -> None:
    """Wait until a service answers."""
    async with httpx.AsyncClient() as client:
        for _ in range(READY_SECONDS_MAX * 10):
            with suppress(httpx.TransportError):
                if (await client.get(f"{url}/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    pytest.fail("the server did not become ready")


async def configured(database_url: str, issuer: Issuer, url: str, file: Path, key: str = KEY) -> None:
    """Set a sign-in up by the command."""
    await asyncio.to_thread(file.write_text, peer.SECRET)
    words = ("--issuer", issuer.url, "--client-id", peer.CLIENT, "--secret-file", str(file), "--public-url", url)
    role = ("--role", "planner=dispatcher")
    given = {"FIELDSYNC_SECRET_KEYS": key, **LOUD}
    code, _, complaint = await fieldsync(database_url, "signin", "configure", *words, *role, **given)
    assert code == 0, complaint


async def test_a_server_in_production_writes_down_nothing_of_it(bare_url: str, tmp_path: Path) -> None:
    """Every route, well and badly, sign-ins that fail, devices that are refused, and a database that goes away."""
    password = urlsplit(bare_url).password
    assert password
    proxy, log = Proxy(bare_url), tmp_path / "server.log"
    known: dict[str, str] = {}
    for words in (("migrate",), ("tenant", "create", "Zebedee Quillfeather Ltd")):
        assert (await fieldsync(bare_url, *words))[0] == 0
    people = {role: f"Persephone-{role}-Qx" for role in ("admin", "dispatcher", "technician")}
    for role, name in people.items():
        _, told, _ = await fieldsync(bare_url, "token", "create", name, "--role", role)
        _, known[role], _, known[f"{role}'s id"] = told.split()
    _, code, _ = await fieldsync(bare_url, "device", "code", known["technician's id"])
    given = {password: "the password of the database", KEY: "the secret key", code: "a code", bare_url: "the DSN"}

    async with peer.running() as issuer, served(await proxy.start(), log) as url:
        await configured(bare_url, issuer, url, tmp_path / "secret")
        talker = Talkative(url)
        tokens = [known[role] for role in people]
        talker.shown |= given | dict.fromkeys(tokens, "a token") | dict.fromkeys(people.values(), "a name")
        talker.shown |= {"Zebedee Quillfeather": "the name of a tenant"}
        await talker.field(known["dispatcher"], known["technician"], code)
        await talker.sign_in(issuer, 1)
        await talker.everywhere(tokens)
        await talker.nonsense()
        await proxy.stop()
        for path in ("/v1/work_orders", "/v1/devices", "/v1/audit", "/v1/auth/session", "/ready", "/v1/sync/pull"):
            answer = await talker.ask("GET", path, known["admin"] if path != "/v1/sync/pull" else known["technician"])
            assert answer.status_code in (503, 200)
        await talker.ask("GET", "/v1/work_orders", f"1.{talker.made_up('a token that nobody could look up')}")
        await talker.client.aclose()

    written = log.read_text()
    check_that_it_was_told(written, talker)
    assert talker.found_in(written) == []


def check_that_it_was_told(written: str, talker: Talkative) -> None:
    """See that the log is that of what was done: its failures are in it, and their requests."""
    lines = [json.loads(line) for line in written.splitlines()]
    events = [line["event"] for line in lines]
    assert {400, 401, 403, 404, 409, 502, 503} <= talker.statuses.keys()
    assert not {status for status in talker.statuses if status == 500}
    assert events.count("request") >= sum(talker.statuses.values()) * 9 // 10
    assert {"sign_in_failed", "database_away"} <= set(events)
    assert len(talker.shown) > 100


WRONG = {
    "another password": "",
    "nobody listens": "postgresql://someone:a-wrong-Passw0rd@127.0.0.1:1/none",
    "no scheme": "postgres//someone:a-wrong-Passw0rd@127.0.0.1",
    "no port": "postgresql://someone:a-wrong-Passw0rd@127.0.0.1:port/none",
    "no such option": "postgresql://someone:a-wrong-Passw0rd@127.0.0.1:1/none?sslmode=maybe",
    "a stray bracket": "postgresql://someone:a-wrong-Passw0rd@[127.0.0.1/none",
    "a password with a slash": "postgresql://someone:a-wrong-Passw0rd/x@127.0.0.1/none",
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_start_that_fails_does_not_quote_the_password(bare_url: str, wrong: str) -> None:
    """A wrong DSN is told by what is wrong with it, not by what it says."""
    password = urlsplit(bare_url).password
    assert password
    dsn = WRONG[wrong] or bare_url.replace(password, "a-wrong-Passw0rd")
    for words in (("serve",), ("migrate",), ("tenant", "list"), ("work",)):
        code, told, complaint = await fieldsync(dsn, *words, **LOUD)

        assert code == 1, (words, told)
        assert complaint
        assert not [secret for secret in ("a-wrong-Passw0rd", password) if secret in told + complaint], words


async def test_a_development_server_keeps_it_out_of_its_logs_too(tmp_path: Path) -> None:
    """Server, worker and databases of `fieldsync dev`; its own terminal alone shows what is to be tried out."""
    with Loud("--no-seed") as running:
        facts = running.facts
        tenant = facts["tenants"][0]
        technician = tenant["technicians"][0]
        keys = (running.folder / "data" / "secret_keys").read_text()
        async with peer.running() as issuer:
            talker = Talkative(facts["url"])
            await configured(facts["database_url"], issuer, facts["url"], tmp_path / "secret", keys)
            tokens = [tenant["admin_token"], tenant["office_token"], technician["token"]]
            talker.shown |= dict.fromkeys([*tokens, *keys.split(",")], "a token or key")
            talker.shown |= {each["name"]: "the name of a technician" for each in tenant["technicians"]}
            talker.shown |= {technician["enrolment_code"]: "a code"}
            talker.shown |= {urlsplit(facts["database_url"]).password: "the password of the database"}
            await talker.field(tokens[1], tokens[2], technician["enrolment_code"])
            await talker.sign_in(issuer, tenant["id"])
            await talker.everywhere(tokens)
            await talker.nonsense()
            await talker.client.aclose()
        running.stop()
        logs = {
            path: path.read_text(errors="replace") for path in running.folder.rglob("*.log*") if path != running.log
        }

    assert {"server.log", "worker.log"} <= {path.name for path in logs}
    assert {path.name: found for path, text in logs.items() if (found := talker.found_in(text))} == {}
    assert "request" in next(text for path, text in logs.items() if path.name == "server.log")
