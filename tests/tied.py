"""Runs a module as `python -m` does, in a process that the kernel ends when its starter is gone.

A test that is interrupted cannot clean up; what it started this way does not stay behind.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

from syncserver.services import guard


def command(module: str, *words: str) -> list[str]:
    """Return the command that runs a module with these words, tied to this process."""
    return [sys.executable, "-m", "tests.tied", str(os.getpid()), module, *words]


if __name__ == "__main__":
    guard.tie_to(int(sys.argv[1]), signal.SIGKILL)
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
