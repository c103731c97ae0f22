"""The SQL files, read once: each statement by its name.

A file holds several statements, each after a line `-- name: …`. No statement is ever built from
strings; what varies is an argument.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def of(topic: str) -> dict[str, str]:
    """Return the statements of `sql/<topic>.sql` by name."""
    text = (resources.files("syncserver.store") / "sql" / f"{topic}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    assert len(set(names)) == len(names), f"{topic}.sql names a statement twice"
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}
