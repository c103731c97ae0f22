"""Ports on the loopback interface, the only one a server of ours listens on."""

from __future__ import annotations

import socket
from typing import Final

HOST: Final = "127.0.0.1"
ATTEMPTS_MAX: Final = 5
"""Between finding a port free and the server taking it, somebody else may; then another one is tried."""


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
