"""What a worker does besides carrying outward: takes vendors' events in, polls, tells webhooks and alerts.

Each of these is a task that goes round until it is told to stop. One that fails is begun anew after a
pause, and keeps none of the others from going on.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog

from syncserver.store import people
from upstream import handshakes
from upstream.absorbing import Absorber
from upstream.alarms import Alarms
from upstream.contexts import Catalogues
from upstream.inbound import Inbound
from upstream.noticing import Noticing
from upstream.polling import Polling
from upstream.posting import Posting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from syncserver.commands.upstream.alarming import Alarming
    from syncserver.store.db import Database
    from upstream.absorbing import Submit
    from upstream.inbound import Systems
    from upstream.inbox import Door
    from upstream.making import Jsonnet
    from upstream.transport import Http

RESTART_SECONDS: Final = 5.0
TENANTS_SECONDS: Final = 10.0
CONFIRM_SECONDS: Final = 30.0

log = structlog.get_logger()


class Inward:
    """The tasks of one worker. `failed` is told of mistakes that no table shows, with the task."""

    def __init__(  # noqa: PLR0913  (what it works with, each by its name)
        self,
        database: Database,
        systems: Systems,
        submit: Submit,
        *,
        door: Door,
        http: Http,
        own_http: Http,
        keys: Sequence[bytes],
        alarming: Alarming,
        jsonnet: Jsonnet | None = None,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        worker = str(uuid4())
        self._database = database
        self._systems = systems
        self._door = door
        self._failed = failed
        self._noticing = Noticing(database, systems, failed)
        absorber = Absorber(database, submit, Catalogues(), jsonnet, self._noticing.saw)
        self.inbound = Inbound(database, worker, systems, absorber)
        self._polling = Polling(database, worker, systems)
        self._posting = Posting(database, worker, http, keys)
        self._alarms = Alarms(database, alarming.sinks(own_http), alarming.limits)
        self._tenants: list[int] = []
        self._asked_at = float("-inf")
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look now: something may be new."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what is under way is brought to its end."""
        tasks: dict[str, Callable[[], Awaitable[None]]] = {
            "inbound": lambda: self.inbound.run(self.tenants, stop, self._wake),
            "polling": lambda: self._polling.run(self.tenants, stop),
            "posting": lambda: self._posting.run(self.tenants, stop),
            "alarms": lambda: self._alarms.run(self.tenants, stop),
            "handshakes": lambda: self._confirm(stop),
            "noticing": lambda: self._noticing.run(self.tenants, stop),
        }
        await asyncio.gather(*(_again(name, task, stop) for name, task in tasks.items()))

    async def tenants(self) -> list[int]:
        """Return all tenants; asked again from time to time."""
        if time.monotonic() - self._asked_at >= TENANTS_SECONDS:
            self._tenants = [tenant.tenant_id for tenant in await people.tenants(self._database)]
            self._asked_at = time.monotonic()
        return self._tenants

    async def _confirm(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await handshakes.confirm(self._database, self._systems, self._door, await self.tenants(), self._failed)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), CONFIRM_SECONDS)


async def _again(name: str, task: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Run a task until it is told to stop; begin it anew if it fails."""
    while not stop.is_set():
        try:
            await task()
        except Exception as error:  # noqa: BLE001  (one task that fails must not end the others)
            # A database that is away is no mistake; its message may quote a row, so the name has to do.
            log.warning("inward_interrupted", task=name, error=type(error).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RESTART_SECONDS)
