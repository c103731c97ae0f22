"""What a connection is spoken to with: its manifest, its contract, and somebody who calls."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from upstream import breaker, budgets, manifest_file, shared, vendors
from upstream.connector import Connector
from upstream.credentials import Keeper
from upstream.mapping import MappingSet
from upstream.mappings import Parsed
from upstream.transport import Http
from upstream.worker import System

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from upstream.connections import Connection
    from upstream.contract import Contract
    from upstream.manifest import Manifest
    from upstream.replies import Reply
    from upstream.store import Database
    from upstream.vendors.csv.feed import Limits
    from upstream.writing import Absorb

MANIFESTS_MAX: Final = 256


def clock() -> int:
    """Return the time in ms since 1970."""
    return time.time_ns() // 1_000_000


class Systems:
    """The systems of all connections, and the one way out to them."""

    def __init__(
        self,
        database: Database,
        keys: Sequence[bytes],
        *,
        allow_loopback: bool,
        redis_url: str | None,
        exchange_dir: Path | None = None,
        files: Limits | None = None,
    ) -> None:
        self._database = database
        self.mappings = Parsed()
        self.keeper = Keeper(database, keys)
        self.http = Http(allow_loopback=allow_loopback)
        self.allow_loopback = allow_loopback
        folder = "" if exchange_dir is None else str(exchange_dir)
        self._files: dict[str, Any] = {"exchange_dir": folder, "files": files}
        alone = budgets.Local(clock)
        self._budgets: budgets.Budgets = alone
        self._breaker: breaker.Breaker = breaker.Local(clock)
        self._redis = None if redis_url is None else shared.connect(redis_url)
        if self._redis is not None:
            self._budgets = shared.Budgets(self._redis, alone)
            self._breaker = shared.Breaker(self._redis, self._breaker)
        self._manifests: OrderedDict[bytes, Manifest] = OrderedDict()
        self.absorb: Absorb | None = None
        """Takes in what a system itself has changed, before it is written over; a worker puts it here."""

    async def close(self) -> None:
        """Let renewals under way end, and give all connections back."""
        await self.keeper.close()
        await self.http.close()
        if self._redis is not None:
            await self._redis.aclose()

    def manifest(self, connection: Connection) -> Manifest:
        """Return how the connection's system is spoken to."""
        if connection.manifest_text is None:
            return vendors.manifest(connection.manifest)
        return self.parsed(connection.manifest_text)

    def parsed(self, text: str) -> Manifest:
        """Return a manifest of its text; raises `BadManifest`."""
        digest = hashlib.sha256(text.encode()).digest()
        found = self._manifests.pop(digest, None) or manifest_file.parse(text, "manifest")
        self._manifests[digest] = found
        while len(self._manifests) > MANIFESTS_MAX:
            self._manifests.popitem(last=False)
        return found

    def contract(self, connection: Connection) -> Contract | None:
        """Return what the connection's system was seen to take; None where nobody has written it down."""
        return None if connection.manifest_text is not None else vendors.agreement(connection.manifest)

    async def system(self, connection: Connection) -> System:
        """Return what a worker speaks to the connection's system with: its connector, behind its hook if it has one."""
        connector = self.connector(connection)
        if connection.manifest_text is not None:
            return System(manifest=self.manifest(connection), caller=connector, absorb=self.absorb)
        dressed = vendors.dressed(connection.manifest, connector, connection.config, **self._files)
        return System(manifest=self.manifest(connection), caller=dressed, absorb=self.absorb)

    async def verify(self, connection: Connection) -> Reply:
        """Make the verification call; where files are carried nobody is called, and their folder is looked at."""
        if connection.manifest_text is None and connection.manifest == vendors.FILES:
            system = await self.system(connection)
            return await system.caller.call(system.manifest.verify, {})
        return await self.connector(connection).verify()

    async def mapping(self, connection: Connection) -> tuple[Manifest, MappingSet]:
        """Return the connection's manifest, and the version of its mapping that holds; none makes nothing."""
        manifest = self.manifest(connection)
        if connection.mapping_version is None:
            return manifest, MappingSet()
        place = (connection.tenant_id, connection.connection, connection.mapping_version)
        return manifest, await self.mappings.get(self._database, *place)

    def connector(self, connection: Connection) -> Connector:
        """Return somebody who calls the connection's system."""
        return Connector(
            self.manifest(connection),
            connection,
            http=self.http,
            credentials=self.keeper,
            budgets=self._budgets,
            breaker=self._breaker,
        )
