"""What a development start asks before and after its server: is the port free, and does the server last."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from syncserver.dev import server
from syncserver.dev.errors import PortTaken, ServerDied

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_longer_life_forgives_the_short_ones(log: Path) -> None:
    """Only short lives in a row count."""
    lives = server.Lives(log)

    for _ in range(3):
        for _ in range(server.SHORT_LIVES_MAX - 1):
            lives.ended(SHORT)
        lives.ended(LONG)
