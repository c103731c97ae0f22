"""`fieldsync load` before it begins: a server that is not there is told in a sentence, and nothing is begun."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from clients.load.command import FAILED, Asked, load
from tests.peers.hub import Hub

if TYPE_CHECKING:
    from pathlib import Path


def ready_file(folder: Path, url: str) -> Path:
    """Return a ready file that names this address."""
    file = folder / "ready.json"
    file.write_text(json.dumps({"url": url, "tenants": []}))
    return file


@pytest.fixture
def closed() -> str:
    """Give an address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("by_option", [False, True])
def test_a_server_out_of_reach_is_told_at_once(
    tmp_path: Path, closed: str, capsys: pytest.CaptureFixture[str], by_option: bool
) -> None:
    """The address is named, by whichever way it was given, and no report is written."""
    file = ready_file(tmp_path, "http://127.0.0.1:9" if by_option else closed)
    report = tmp_path / "report.json"

    code = load(Asked(ready_file=file, url=closed if by_option else None, json=report))

    out, told = capsys.readouterr()
    assert (code, out, report.exists()) == (FAILED, "", False)
    assert told.startswith(f"no server answers at {closed}: ")
    assert len(told.splitlines()) == 1
    assert "Is it running" in told


def test_something_else_at_the_address_is_told_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What answers is not taken for our server because it answers."""
    with Hub().serving() as url:
        code = load(Asked(ready_file=ready_file(tmp_path, url)))

    assert code == FAILED
    assert capsys.readouterr().err.startswith(f"no server answers at {url}: 401")
