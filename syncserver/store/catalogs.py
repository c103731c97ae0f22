"""Catalogues that are held in memory: parsed once, looked up by tenant and version.

A group learns under the tenant's lock which version holds, and is given the text only when it does
not hold that version yet; so a new catalogue takes effect between two commits and nowhere else.
"""

from __future__ import annotations

import hashlib

import msgspec

from replication import catalog_file
from replication.catalog import Catalog

NO_VERSION = 0
"""Stands for a tenant whose catalogue is not held."""


class Catalogs:
    """The catalogue of each tenant that this process has met. Equal texts are parsed once."""

    def __init__(self) -> None:
        self._held: dict[int, Catalog] = {}
        self._parsed: dict[bytes, Catalog] = {}

    def version(self, tenant_id: int) -> int:
        """Return the version held for a tenant."""
        held = self._held.get(tenant_id)
        return NO_VERSION if held is None else held.version

    def take(self, tenant_id: int, version: int, content: str | None) -> Catalog:
        """Return the tenant's catalogue; `content` comes with a version that is not held."""
        if content is not None:
            self._held[tenant_id] = msgspec.structs.replace(self._parse(content), version=version)
        return self._held[tenant_id]

    def _parse(self, content: str) -> Catalog:
        digest = hashlib.sha256(content.encode()).digest()
        if digest not in self._parsed:
            self._parsed[digest] = catalog_file.parse(content)
        return self._parsed[digest]
