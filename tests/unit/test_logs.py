"""Logs are JSON objects, one a line, whoever logs."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
import structlog
from syncserver import logs

logs.configure("info")
structlog.get_logger().debug("too_fine")
structlog.get_logger().info("mutation_settled", verdict="applied", dot=(3, 4), where={"b", "a"} and object)
logging.getLogger("uvicorn.error").info("started %s", "server")
logging.getLogger("httpx").info("GET https://secret")
try:
    raise ValueError("the failing row contains (Mrs. Secret)")
except ValueError:
    structlog.get_logger().exception("group_failed")
    logging.getLogger("asyncio").exception("a task failed")
"""


def test_events_are_lines_of_json() -> None:
    """Ours and those of libraries have one form; of an exception its kind and place are told, not its words."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    ours, server, *failed = [json.loads(line) for line in ran.stderr.splitlines()]

    assert ran.stdout == ""
    assert (ours["event"], ours["verdict"], ours["dot"]) == ("mutation_settled", "applied", [3, 4])
    assert ours["level"] == "info"
    assert ours["timestamp"].endswith("Z")
    assert server["event"] == "started server"
    assert [line["event"] for line in failed] == ["group_failed", "a task failed"]
    assert [line["error"] for line in failed] == ["ValueError", "ValueError"]
    assert all("<module>" in line["where"][0] for line in failed)
    assert "Secret" not in ran.stderr
