"""A manifest from the text of its TOML file.

`parse` either returns a manifest that the engine can rely on, or raises `BadManifest` with all that
is wrong: the file, the line, the key and what would be right.
"""

from __future__ import annotations

from typing import Final

from upstream import manifest_check, typed_toml
from upstream.errors import BadManifest
from upstream.manifest import Manifest

TEXT_BYTES_MAX: Final = 262_144


def parse(text: str, name: str = "manifest") -> Manifest:
    """Return what the file says, or raise `BadManifest`. Never raises anything else, whatever the text."""
    try:
        page = typed_toml.read(text, name, bytes_max=TEXT_BYTES_MAX)
        manifest = typed_toml.fit(page, Manifest)
    except typed_toml.BadText as exc:
        raise BadManifest(exc.problems) from exc
    problems = [page.said(path, message) for path, message in manifest_check.check(manifest)]
    if problems:
        raise BadManifest(problems)
    return manifest
