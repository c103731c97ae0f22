"""A device that is killed between any two statements of its file, and goes on in its next life."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from clients.store import Store
from replication.record import fields
from replication.versions import Dot
from tests.peers.device_lives import EDITS, JOB, KILLED, NEW, End, Life
from tests.peers.hub import ANA, Hub
from tests.tidy import sources

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Lives:
    """The program that lives a device's lives, and the folder where its files are."""

    def __init__(self, program: subprocess.Popen[bytes], folder: Path) -> None:
        """Begin with no life lived."""
        self.program = program
        self.folder = folder
        with hub_with_a_job().serving() as url:
            assert self.live(folder / "first.db", url).status == 0

    def live(self, path: Path, url: str, killed_at: int = 0) -> End:
        """Live one life and return how it ended."""
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(msgspec.json.encode(Life(str(path), url, killed_at)) + b"\n")
        self.program.stdin.flush()
        return msgspec.json.decode(self.program.stdout.readline(), type=End)


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    """The running program; it forks, so it has no thread and no connection of its own."""
    command = [sys.executable, "-m", "tests.peers.device_lives"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=sources.CHECKOUT) as program:
        yield Lives(program, tmp_path)
        assert program.stdin is not None
        program.stdin.close()


def hub_with_a_job() -> Hub:
    """A hub where Ana has one job; verdicts come in two parts, pages one commit at a time."""
    hub = Hub(page=1)
    hub.judged_at_once = 4
    hub.office("create", JOB, title="Pump", notes="old", meter=5, assignee_id=ANA)
    return hub


def office_works(hub: Hub) -> None:
    """Somebody in the office edits the same job meanwhile."""
    hub.office("set", JOB, do={"meter": {"inc": 100}, "notes": {"append": "!"}}, title="Office pump")


def check(hub: Hub, path: Path) -> None:
    """Each edit has one effect and its verdict, and the screen shows what the hub has."""
    store = Store(path)
    enrolment = store.enrolment()
    assert enrolment is not None
    answered = store.answered(100)
    ledger = [hub.state.ledger[Dot(enrolment.rid, n)].verdict for n in range(1, EDITS + 1)]

    assert store.unsent() == []
    assert [edit.verdict for edit in answered] == [decoded(verdict) for verdict in ledger]
    assert hub.state.replicas[enrolment.rid].applied == EDITS
    assert hub.value(JOB, "meter") == 106
    assert hub.value(NEW, "meter") == 2
    assert hub.value(NEW, "notes") == "ab"
    assert sorted(hub.value(JOB, "notes")) == sorted("old x!")
    jobs = hub.state.catalog.collections["jobs"]
    assert store.shown_all("jobs") == {name: fields(hub.state.records["jobs", name], jobs) for name in (JOB, NEW)}
    store.close()


def decoded(verdict: Any) -> Any:
    """The verdict as it looks after its way over the wire."""
    return msgspec.json.decode(msgspec.json.encode(verdict), type=type(verdict))


def test_killed_between_any_two_statements(lives: Lives) -> None:
    """Wherever the first life ends, the second one completes it: nothing lost, nothing done twice."""
    killed_at, status = 0, KILLED
    while status == KILLED:
        killed_at += 1
        hub, path = hub_with_a_job(), lives.folder / f"{killed_at}.db"
        with hub.serving() as url:
            status = lives.live(path, url, killed_at).status
            office_works(hub)
            assert lives.live(path, url).status == 0, f"killed at statement {killed_at}"
        try:
            check(hub, path)
        except AssertionError as exc:
            raise AssertionError(f"killed at statement {killed_at}") from exc
    assert status == 0
    assert killed_at > 100


@pytest.mark.parametrize("seed", range(5))
def test_killed_again_and_again(lives: Lives, seed: int) -> None:
    """A device that seldom lives long gets its work done all the same."""
    chance = random.Random(seed)
    hub, path = hub_with_a_job(), lives.folder / "device.db"
    ends: list[End] = []
    with hub.serving() as url:
        while not ends or ends[-1].status == KILLED:
            ends.append(lives.live(path, url, chance.randrange(5, 60 + 5 * len(ends))))
            if len(ends) == 2:
                office_works(hub)
        if len(ends) < 2:
            office_works(hub)
        assert lives.live(path, url).status == 0

    assert ends[-1].status == 0
    check(hub, path)
