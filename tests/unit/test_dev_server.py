"""What a development start asks before and after its server: is the port free, and does the server last."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from syncserver.cli import development
from syncserver.dev import folder, server, start
from syncserver.dev.errors import PortTaken, ServerDied
from syncserver.store.errors import MigrationChanged

SHORT, LONG = server.SHORT_LIFE_SECONDS / 2, server.SHORT_LIFE_SECONDS * 2


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the log of a server that said why it ended."""
    path = tmp_path / "server.log"
    path.write_text("the reason\n")
    return path


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_taken(host: str) -> None:
    """The message names the port and the way out."""
    with socket.create_server((host, 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(PortTaken, match=f"^port {port} is taken; choose another with --port"):
            server.free_port(port)

    assert server.free_port(port) == port


def test_zero_takes_any_free_port() -> None:
    """What is returned can be listened on."""
    with socket.create_server((server.HOST, server.free_port(0))) as listener:
        assert listener.getsockname()[1] > 0


def test_a_server_that_dies_again_and_again_ends_the_start(log: Path) -> None:
    """After the last short life in a row the error has the end of the log."""
    lives = server.Lives(log)
    for _ in range(server.SHORT_LIVES_MAX - 1):
        lives.ended(SHORT)

    with pytest.raises(ServerDied, match="the reason"):
        lives.ended(SHORT)


def options(data: Path) -> start.Options:
    """Give what was asked for on a plain command line."""
    return start.Options(port=0, data=data, fresh=False, seed=False, catalog="", ready_file=None)


def test_what_is_printed_is_enough_to_work_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The dispatcher's token, the administrator's, who may connect systems, a code, and where all others stand."""
    person = {"name": "Ana", "enrolment_code": "1.CODE"}
    tenant = {"id": 1, "name": "Pit", "office_token": "OFFICE", "admin_token": "ADMIN", "technicians": [person]}
    facts = {
        "url": "http://h:1",
        "server_pid": 2,
        "worker_pid": 3,
        "database_url": "postgresql://d",
        "tenants": [tenant],
    }

    start._tell(options(tmp_path), facts, 0.5)

    said = capsys.readouterr().out
    assert all(word in said for word in ("OFFICE", "ADMIN", "1.CODE", str(tmp_path / folder.TOKENS)))


def test_files_are_exchanged_in_the_state_folder_unless_it_is_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a folder no connection that carries files could be tried."""
    facts = {"database_url": "postgresql://d", "redis_url": None}
    monkeypatch.delenv("FIELDSYNC_EXCHANGE_DIR", raising=False)
    own = start._environment(options(tmp_path), facts, 1)["FIELDSYNC_EXCHANGE_DIR"]
    monkeypatch.setenv("FIELDSYNC_EXCHANGE_DIR", "/elsewhere")
    given = start._environment(options(tmp_path), facts, 1)

    assert Path(own).parent == tmp_path
    assert Path(own).is_dir()
    assert given.get("FIELDSYNC_EXCHANGE_DIR", "/elsewhere") == "/elsewhere"


def test_a_folder_of_another_release_is_told_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its databases were made by other migrations: two lines and no traceback, and nothing is emptied by itself."""

    def refused(_: start.Options) -> None:
        raise MigrationChanged("0005.sql was applied with another content")

    monkeypatch.setattr(start, "run", refused)

    assert development.run(data=tmp_path) == development.FAILED
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "0005.sql was applied with another content",
        f"{tmp_path} is of another release: --data takes another folder, --fresh empties this one",
    ]


def test_a_longer_life_forgives_the_short_ones(log: Path) -> None:
    """Only short lives in a row count."""
    lives = server.Lives(log)

    for _ in range(3):
        for _ in range(server.SHORT_LIVES_MAX - 1):
            lives.ended(SHORT)
        lives.ended(LONG)
