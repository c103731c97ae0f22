"""Embedded servers when something dies: nothing outlives its starter, and nothing that was committed is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from syncserver.services import binaries, claim, folder, loopback, postgres, process
from tests import services

STARTER: Final = Path(__file__).with_name("starter.py")
CHECKOUT: Final = Path(__file__).parents[2]
END_SECONDS_MAX: Final = 30.0
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's own")


@dataclass
class Started:
    """A process that has started both servers, and what it said of them."""

    program: subprocess.Popen[str]
    postgres: int
    valkey: int
    url: str

    def guards(self) -> list[int]:
        """Give the parents of both servers."""
        stats = [Path(f"/proc/{pid}/stat").read_text(encoding="utf-8") for pid in (self.postgres, self.valkey)]
        return [int(stat.rpartition(")")[2].split()[1]) for stat in stats]

    def servers_live(self) -> list[bool]:
        """Tell of each server whether it lives."""
        return [process.birth(pid) is not None for pid in (self.postgres, self.valkey)]


@pytest.fixture
def state() -> Iterator[Path]:
    """Give an empty state folder."""
    with services.state_folder() as empty:
        yield empty


@contextmanager
def starter(state: Path) -> Iterator[Started]:
    """Run a program that starts both servers on a folder; at the end nothing of it is left."""
    command = [sys.executable, str(STARTER), str(state)]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as program:
        try:
            assert program.stdout is not None
            said = json.loads(program.stdout.readline())
            started = Started(program, **said)
            yield started
        finally:
            program.kill()
    until(lambda: not any(started.servers_live()))


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, but not for ever."""
    deadline = time.monotonic() + END_SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.01)


def test_servers_end_with_a_starter_that_is_killed(state: Path) -> None:
    """After kill -9 of the starter both servers end by themselves."""
    with starter(state) as started:
        before = started.servers_live()
        started.program.kill()
        until(lambda: not any(started.servers_live()))

    assert before == [True, True]


@LINUX_ONLY
def test_servers_end_with_a_guard_that_is_killed(state: Path) -> None:
    """After kill -9 of the guards the kernel ends both servers, although another account runs them."""
    with starter(state) as started:
        for guard in started.guards():
            os.kill(guard, signal.SIGKILL)
        until(lambda: not any(started.servers_live()))

    shut_down = (state / "postgres" / "server.log").read_text(encoding="utf-8", errors="replace")
    assert "database system is shut down" in shut_down


@LINUX_ONLY
def test_a_hang_up_of_the_terminal_does_not_reach_the_servers(state: Path) -> None:
    """Signals to the starter's whole group, as a terminal sends them, leave servers and guards alone."""
    with starter(state) as started:
        guards = started.guards()
        for number in (signal.SIGHUP, signal.SIGINT):
            os.killpg(started.program.pid, number)
        time.sleep(0.5)
        live = started.servers_live()
        sessions = {os.getsid(pid) for pid in (*guards, started.postgres, started.valkey)}

        assert live == [True, True]
        assert started.program.pid not in sessions
        assert started.program.poll() is None


def test_a_start_right_after_a_kill_gets_a_server_of_its_own(state: Path) -> None:
    """The server of a killed starter is never joined, however alive it still looks, and its commits are kept."""
    with starter(state) as started:
        services.ask(started.url, "CREATE TABLE jobs AS SELECT 7 AS number")
        started.program.kill()
        with postgres.start(state, settings=services.FAST) as server, services.started_valkey(state) as memory:
            kept = services.ask(server.url, "SELECT number FROM jobs")
            # The time in which a guard would have noticed, had this been the server of the dead.
            time.sleep(1.5)
            alive = server.alive() and memory.alive()

    assert kept == 7
    assert alive
    assert server.owned
    assert memory.owned
    assert server.pid != started.postgres


def test_a_living_starters_servers_are_joined_from_another_process(state: Path) -> None:
    """A second process on the folder gets the servers of the first, and leaves them running."""
    with starter(state) as started:
        with postgres.start(state) as server, services.started_valkey(state) as memory:
            answer = services.ask(server.url, "SELECT 1")
        live = started.servers_live()

    assert answer == 1
    assert (server.pid, memory.pid) == (started.postgres, started.valkey)
    assert live == [True, True]


def test_a_server_that_is_killed_leaves_nothing_that_stops_the_next(state: Path) -> None:
    """After kill -9 of the servers themselves the next start recovers what was committed."""
    with starter(state) as started:
        services.ask(started.url, "CREATE TABLE jobs AS SELECT 7 AS number")
        for pid in (started.postgres, started.valkey):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(started.servers_live()))
        with postgres.start(state, settings=services.FAST) as server, services.started_valkey(state) as memory:
            kept = services.ask(server.url, "SELECT number FROM jobs")
            owned = server.owned and memory.owned

    assert kept == 7
    assert owned


def test_a_pid_that_now_belongs_to_another_program_is_no_rival(state: Path) -> None:
    """Pid files whose number was given to somebody else in the meantime do not keep the servers from starting."""
    with postgres.start(state, settings=services.FAST) as first:
        left_over = (state / "postgres" / "data" / "postmaster.pid").read_text(encoding="utf-8")
        pid_file = (state / "postgres" / "running.json").read_bytes()
    place = folder.prepare(state, "postgres")
    with as_servers_account(place, ["sleep", "60"]) as sleeper:
        _, _, rest = left_over.partition("\n")
        (place.data / "postmaster.pid").write_text(f"{sleeper.pid}\n{rest}", encoding="utf-8")
        place.pid_file.write_bytes(pid_file.replace(f'"owner":{os.getpid()}'.encode(), b'"owner":%d' % sleeper.pid))
        with postgres.start(state, settings=services.FAST) as second:
            started = second.owned and second.alive()
        untouched = sleeper.poll() is None

    assert started
    assert untouched
    assert first.pid != second.pid


def test_a_server_started_by_hand_is_joined_and_left_alone(state: Path) -> None:
    """A postmaster on our data folder that somebody runs without us is used, and not ended."""
    with postgres.start(state, settings=services.FAST):
        place = folder.prepare(state, "postgres")
    major = int((place.data / "PG_VERSION").read_text(encoding="ascii"))
    program = binaries.postgres(place, "package", major).programs / "postgres"
    options = ["-D", str(place.data), "-p", str(loopback.free_port()), "-k", ""]
    with as_servers_account(place, [str(program), *options]) as by_hand:
        until(lambda: postgres._postmaster(place)[postgres.STATUS :] == ["ready"])
        with postgres.start(state) as server:
            answer = services.ask(server.url, "SELECT 1")
        lives = by_hand.poll() is None

    assert (answer, lives) == (1, True)
    assert (server.pid, server.owned) == (by_hand.pid, False)


@contextmanager
def as_servers_account(place: folder.Folder, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program as the account that the servers of a folder run as; at the end it is ended."""
    user, group = (place.account.uid, place.account.gid) if place.account else (None, None)
    groups: list[int] | None = [] if place.account else None
    with subprocess.Popen(
        command, user=user, group=group, extra_groups=groups, cwd="/", stderr=subprocess.DEVNULL
    ) as program:
        try:
            yield program
        finally:
            program.send_signal(signal.SIGINT)


def test_an_orphan_without_guard_or_starter_is_ended_and_replaced(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that holds the folder with nobody behind it is asked to end, and a new one is started."""
    monkeypatch.setattr(claim, "ORPHAN_SECONDS", 0.2)
    with postgres.start(state, settings=services.FAST) as first:
        pid_file = (state / "postgres" / "running.json").read_bytes()
        services.ask(first.url, "CREATE TABLE jobs AS SELECT 7 AS number")
    place = folder.prepare(state, "postgres")
    lock = folder.take(place)
    assert lock is not None
    with subprocess.Popen(["sleep", "60"], pass_fds=(lock,)) as orphan:
        os.close(lock)
        described = json.loads(pid_file)
        described.update(owner_born="long ago", server=orphan.pid, server_born=process.birth(orphan.pid))
        place.pid_file.write_text(json.dumps(described), encoding="utf-8")
        with postgres.start(state, settings=services.FAST) as second:
            kept = services.ask(second.url, "SELECT number FROM jobs")
        code = orphan.wait(END_SECONDS_MAX)

    assert kept == 7
    assert code == -signal.SIGINT
