"""A real `fieldsync dev` in a process of its own, as somebody at a terminal would start it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from clients import cast
from clients.cast import Ready, Tenant
from syncserver.services import process

READY_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60
LOOK_SECONDS = 0.05
CHECKOUT = Path(__file__).resolve().parents[2]


class Served:
    """A development server with a state folder of its own, which outlives restarts."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fieldsync-acceptance-"))
        # PostgreSQL refuses to run as root, so the account it runs as has to get through to its data.
        self.folder.chmod(0o711)
        self.ready_file = self.folder / "ready.json"
        self.log = self.folder / "dev.log"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """Ours, without what would lead the server to services of somebody else."""
        return {name: value for name, value in os.environ.items() if not name.startswith("FIELDSYNC_")}

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        command = [sys.executable, "-m", "syncserver", "dev", "--port", "0", *self._options]
        command += ["--data", str(self.folder / "data"), "--ready-file", str(self.ready_file)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=CHECKOUT,
                env=self.environment,
                start_new_session=True,  # as a terminal has one, to be hung up
            )
        self.wait(self.ready_file.exists)

    def stop(self) -> None:
        """End it in order, if it still runs."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(STOP_SECONDS_MAX)

    def kill(self) -> None:
        """End it without a chance to clean up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS_MAX)
        # What a killed process leaves behind is not what the next one says.
        self.ready_file.unlink()

    def kill_server(self) -> int:
        """End the HTTP server alone, without a chance to clean up, and return its process id."""
        pid = int(self.facts["server_pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_server_after(self, pid: int) -> None:
        """Wait until another HTTP server than this one is ready."""
        self.wait(lambda: self.facts["server_pid"] != pid)

    def kill_worker(self) -> int:
        """End the worker alone, without a chance to clean up, and return its process id."""
        pid = int(self.facts["worker_pid"])
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for_worker_after(self, pid: int) -> None:
        """Wait until another worker than this one has begun."""
        self.wait(lambda: self.facts["worker_pid"] not in (None, pid))

    def wait(self, come_true: Any) -> None:
        """Wait for something; fail with the log when the process ends or it takes too long."""
        assert self._process is not None
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not come_true():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(LOOK_SECONDS)

    @property
    def facts(self) -> dict[str, Any]:
        """The ready file as it is."""
        found: dict[str, Any] = json.loads(self.ready_file.read_text())
        return found

    @property
    def ready(self) -> Ready:
        """The ready file as clients read it."""
        return cast.read(self.ready_file)

    @property
    def tenant(self) -> Tenant:
        """The tenant that has work orders."""
        return self.ready.tenants[0]

    def family(self) -> dict[int, str]:
        """All processes below the one that was started, each with its birth, for a number may be used again."""
        below = children(self.pid)
        return {pid: birth for pid in below if (birth := process.birth(pid)) is not None}


def children(pid: int) -> list[int]:
    """Return the processes below one, as far down as they go."""
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in table.splitlines()}
    found, left = [], [pid]
    while left:
        parent = left.pop()
        below = [child for child, its_parent in parents.items() if its_parent == parent]
        found += below
        left += below
    return found


def survivors(family: dict[int, str]) -> dict[int, str]:
    """Return those of the processes that still run."""
    return {pid: birth for pid, birth in family.items() if process.birth(pid) == birth}
