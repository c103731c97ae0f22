"""What makes two moments, or two messages, the same one: all that is in them, in a form that can be looked up."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import msgspec

from tests.dumb_store import Store
from tests.exhaustive.device_side import Phone
from tests.exhaustive.hub_side import Hub, Request

_ENCODE: Final = msgspec.msgpack.Encoder().encode


def of_hub(hub: Hub) -> Hashable:
    """Return the store's content, and what must be so beside it; all else follows from these."""
    return of_store(hub.store), frozenset(hub.truth.lines.items()), hub.truth.told_so


def of_store(store: Store) -> Hashable:
    """Return all that the store keeps."""
    return tuple(_plain(part) for name, part in vars(store).items() if name != "catalog")


def of_phone(phone: Phone) -> Hashable:
    """Return the device's file, and what its person has seen."""
    waiting = frozenset((n, _plain(seen)) for n, seen in phone.waiting.items())
    return phone.rid, phone.rows, frozenset(phone.shown.items()), waiting, phone.told


def of_request(request: Request) -> Hashable:
    """Return what a push says, and what goes with it unsaid."""
    seen = frozenset((n, frozenset(each.items())) for n, each in request.seen.items())
    return _ENCODE(request.submission), seen


def of_message(message: Any) -> Hashable:
    """Return what an answer or a page says, and what goes with it unsaid."""
    knows = ((key, _plain(each)) for key, each in message.knows.items())
    return message.body, frozenset(knows)


def _plain(part: Any) -> Hashable:
    """Return a form of a part that is equal if and only if the parts are."""
    if isinstance(part, dict):
        return frozenset((key, _plain(value)) for key, value in part.items())
    if isinstance(part, set):
        return frozenset(map(_ENCODE, part))
    if isinstance(part, bytes | frozenset | int):
        return part
    return _ENCODE(part)
