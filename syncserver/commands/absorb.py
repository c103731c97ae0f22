"""Vendors' calls into the inbox: believed or not, kept or not, and nothing else while they wait."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from syncserver.commands.errors import HookRefused, TooManyEvents
from upstream import inbox
from upstream.inbox import Refused, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from upstream.inbox import Door

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")

log = structlog.get_logger()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it came: headers as they were sent, the body not decoded."""

    connection: str
    method: str
    url: str
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes


class Hooks:
    """What vendors can do here: tell. `observe` is told what came of each call."""

    def __init__(self, door: Door, observe: Callable[[str, int], None]) -> None:
        self._door = door
        self._observe = observe

    async def receive(self, call: Call, now_ms: int) -> Taken:
        """Keep what a vendor says. Raises `HookRefused`, in the same words whatever is wrong with the call."""
        connection = call.connection.lower()
        taken: Taken | Refused = Refused("the address names no connection")
        if _UUID.fullmatch(connection):
            incoming = inbox.incoming(call.method, call.url, call.headers, call.body)
            try:
                taken = await self._door.receive(connection, incoming, now_ms)
            except inbox.TooMany as exc:
                raise TooManyEvents(str(exc)) from exc
        if isinstance(taken, Refused):
            self._observe("refused", 1)
            log.warning("hook_refused", connection=connection[:40], reason=taken.reason)
            raise HookRefused("the call is not one of a vendor that is known here")
        self._observe("new", taken.new)
        self._observe("repeated", taken.repeated)
        return taken
