"""The device in TypeScript, made ready to run: its compiler installed once, its programs compiled, its talk led."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.tidy import sources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SOURCES: Final = sources.CHECKOUT / "clients" / "typescript"
CACHE: Final = Path(os.environ.get("FIELDSYNC_CACHE_DIR") or sources.CHECKOUT / ".cache") / "typescript"
NODE_OLDEST: Final = 20
INSTALL_SECONDS_MAX: Final = 240
COMPILE_SECONDS_MAX: Final = 120


def compiled() -> Path:
    """Return the folder with the compiled programs.

    The test is skipped where there is no Node, or nothing to install the compiler from; that it cannot be
    installed on a machine that tests every change (`CI`) is a failure.
    """
    node_or_skip()
    digest = hashlib.sha256()
    for file in sorted(SOURCES.iterdir()):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    home = CACHE / digest.hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run would install over each other
        if not (home / "done").exists():
            _compile(home)
            (home / "done").touch()
    return home / "dist"


def node_or_skip() -> None:
    """Skip where there is no Node that is new enough."""
    found = shutil.which("node")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout if found else ""
    if not version.startswith("v") or int(version[1:].split(".")[0]) < NODE_OLDEST or shutil.which("npm") is None:
        pytest.skip(f"Node {NODE_OLDEST} or newer with npm is needed; found {version.strip() or 'none'}")


def _compile(home: Path) -> None:
    for older in CACHE.glob("*/"):
        shutil.rmtree(older)
    shutil.copytree(SOURCES, home, ignore=shutil.ignore_patterns("node_modules", "dist"))
    installed = _npm(home, INSTALL_SECONDS_MAX, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    if installed.returncode != 0:
        why = f"the TypeScript compiler could not be installed: {installed.stderr[-2_000:]}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    made = _npm(home, COMPILE_SECONDS_MAX, "run", "build")
    assert made.returncode == 0, made.stdout + made.stderr


def _npm(home: Path, seconds_max: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["npm", *words], cwd=home, capture_output=True, text=True, check=False, timeout=seconds_max)


class Peer:
    """A device in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, what: str, *given: Any) -> Any:
        """Have the device do something, and return what it tells; fail with its message if it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"ask": what, "with": given}).encode() + b"\n")
        await self._process.stdin.drain()
        told = json.loads(await self._process.stdout.readline())
        if "failed" in told:
            raise DeviceFailed(told["failed"])
        return told["told"]

    async def sync(self) -> None:
        """Push and pull."""
        await self.ask("sync")


class DeviceFailed(Exception):
    """The device could not do what it was asked."""


@asynccontextmanager
async def peer(programs: Path, file: Path, url: str) -> AsyncIterator[Peer]:
    """Start a device on a file, and end it with the block."""
    process = await asyncio.create_subprocess_exec(
        "node",
        programs / "peer.js",
        file,
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**26,
    )
    try:
        yield Peer(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
