"""Catalogues that are held in memory: parsed once, found by tenant and version.

A group learns under the tenant's lock which version holds, and is given the text only when it does
not hold that version yet; so a new catalogue takes effect between two commits and nowhere else.
"""

from __future__ import annotations

import hashlib

import msgspec

from replication import catalog_file
from replication.catalog import Catalog

NO_VERSION = 0
"""The version of a tenant without a catalogue."""


class Catalogs:
    """The catalogues that this process has met. Equal texts are parsed once."""

    def __init__(self) -> None:
        self._held: dict[int, dict[int, Catalog]] = {}
        self._parsed: dict[bytes, Catalog] = {}

    def held(self, tenant_id: int) -> list[int]:
        """Return the versions held for a tenant."""
        return list(self._held.get(tenant_id, ()))

    def newest(self, tenant_id: int) -> int:
        """Return the newest version held for a tenant."""
        return max(self.held(tenant_id), default=NO_VERSION)

    def take(self, tenant_id: int, version: int, content: str | None) -> Catalog:
        """Return this version; the content comes with it where it was not held."""
        versions = self._held.setdefault(tenant_id, {})
        if content is not None:
            versions[version] = msgspec.structs.replace(self._parse(content), version=version)
        return versions[version]

    def _parse(self, content: str) -> Catalog:
        digest = hashlib.sha256(content.encode()).digest()
        if digest not in self._parsed:
            self._parsed[digest] = catalog_file.parse(content)
        return self._parsed[digest]
