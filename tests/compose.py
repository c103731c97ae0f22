"""docker-compose.yml as the tests read it: anchors resolved, `${…}` filled in, without an engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT: Final = Path(__file__).resolve().parents[1]
FILE: Final = CHECKOUT / "docker-compose.yml"
OURS: Final = ("migrate", "server", "worker")
"""The services that run the image of this project."""

_VARIABLE: Final = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<how>[-?])(?P<rest>[^}]*))?\}")


class NotSet(Exception):
    """A variable that the file insists on is missing or empty; the text is what the file says then."""


def volumes() -> set[str]:
    """Return the names of the volumes that are declared."""
    return set(yaml.safe_load(FILE.read_text(encoding="utf-8"))["volumes"])


def services(given: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the services with all variables filled in from what is given."""
    read = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    filled: dict[str, dict[str, Any]] = _filled(read["services"], given)
    return filled


def _filled(value: Any, given: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, given) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, given) for each in value]
    return _VARIABLE.sub(lambda found: _value(found, given), value) if isinstance(value, str) else value


def _value(found: re.Match[str], given: Mapping[str, str]) -> str:
    if found[0] == "$$":
        return "$"
    value = given.get(found["name"], "")
    if not value and found["how"] == "?":
        raise NotSet(f"{found['name']} {found['rest']}")
    return value or found["rest"] or ""
