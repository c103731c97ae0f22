"""Processes that tests start end with whoever started them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from syncserver.services import process

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 30
STARTER = """
import subprocess
from tests import tied
child = subprocess.Popen(tied.command("http.server", "0", "--bind", "127.0.0.1"), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def test_what_a_killed_starter_left_running_ends():
    """A starter that is killed with -9 leaves nobody behind."""
    command = [sys.executable, "-u", "-c", STARTER]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, env={"PYTHONUNBUFFERED": "1"}) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        birth = process.birth(pid)
        assert birth is not None
        starter.kill()

    deadline = time.monotonic() + SECONDS_MAX
    while process.birth(pid) == birth:
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)
