"""The lock files: exact, with hashes, and in step with what the project says it needs."""

from __future__ import annotations

import json
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tidy import sources

REQUIREMENTS = sources.CHECKOUT / "requirements"
LOCKED = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?: ;[^\\\n]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
PROJECT = tomllib.loads((sources.CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def locked(name: str) -> dict[str, str]:
    """Give the versions that a lock file pins."""
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    return {canonicalize_name(package): version for package, version, _ in LOCKED.findall(text)}


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt", "data.txt", "uv.txt"])
def test_a_lock_file_pins_hashes_and_names_no_host(name: str) -> None:
    """Every line of a lock file belongs to a pinned package with its hashes, and none says where it came from."""
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    rest = [line for line in LOCKED.sub("", text).splitlines() if line and not line.strip().startswith("#")]

    assert locked(name)
    assert rest == []
    assert "://" not in text


def test_what_the_project_needs_is_what_is_locked() -> None:
    """Each dependency in pyproject.toml is locked at a version that it allows."""
    groups = PROJECT["dependency-groups"]
    direct = [*PROJECT["project"]["dependencies"], *groups["build"], *(x for x in groups["dev"] if isinstance(x, str))]
    dev = locked("dev.txt")

    wrong = [
        need
        for need in map(Requirement, direct)
        if not need.specifier.contains(dev.get(canonicalize_name(need.name), ""))
    ]

    assert wrong == []


def test_tests_run_on_the_versions_that_users_run() -> None:
    """What both lock files name, they name in the same version."""
    runtime, dev = locked("runtime.txt"), locked("dev.txt")

    assert runtime.items() <= dev.items()


def test_the_typescript_device_is_locked_and_names_no_host() -> None:
    """Its compiler is pinned with a hash, like all that it needs, and the lock does not say where it came from."""
    folder = sources.CHECKOUT / "clients" / "typescript"
    text = (folder / "package-lock.json").read_text(encoding="utf-8")
    asked = json.loads((folder / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    lock = {name: package for name, package in json.loads(text)["packages"].items() if name}

    assert "://" not in text
    assert all(package["integrity"].startswith("sha512-") for package in lock.values())
    assert {name: lock[f"node_modules/{name}"]["version"] for name in asked} == asked
