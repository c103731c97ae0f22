"""Where the text of a catalogue comes from: the operator's file, or the one that is shipped."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

SHIPPED = "default.toml"


def text(path: Path | None) -> str:
    """Return the text of the file; without one, of the catalogue for field service.

    A file that cannot be read or is not UTF-8 raises `OSError` or `UnicodeDecodeError`.
    """
    if path is not None:
        return path.read_text(encoding="utf-8")
    return resources.files("syncserver.catalogs").joinpath(SHIPPED).read_text(encoding="utf-8")
