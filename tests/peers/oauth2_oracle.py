"""The OAuth 2 issuer that others wrote, installed once and run for a test."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests import typescript
from tests.tidy import sources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SOURCES: Final = sources.CHECKOUT / "tests" / "peers" / "oauth2"
CACHE: Final = Path(os.environ.get("FIELDSYNC_CACHE_DIR") or sources.CHECKOUT / ".cache") / "oauth2"
INSTALL_SECONDS_MAX: Final = 120


def installed() -> Path:
    """Return where it is installed; skip where there is no Node, or nothing to install it from."""
    typescript.node_or_skip()
    parts = [(SOURCES / name).read_bytes() for name in ("package.json", "package-lock.json", "serve.mjs")]
    home = CACHE / hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the workers of one run would install over each other
        if not (home / "done").exists():
            _install(home)
            (home / "done").touch()
    return home


def _install(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(SOURCES, home)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    said = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS_MAX)
    if said.returncode:
        why = f"oauth2-mock-server could not be installed: {said.stderr[-1_000:]}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


@asynccontextmanager
async def running(public_key: str) -> AsyncIterator[str]:
    """Run it until the block ends, and give its address. Statements must be signed by the key, in PEM."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "serve.mjs",
        base64.b64encode(public_key.encode()).decode(),
        cwd=installed(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()
