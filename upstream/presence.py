"""What stands at a system of an object that was made but not told, so that people can hold one against the other.

Only reads. An object that the system was told of is asked for by its id there; any other is looked for by
its natural key, else by our mark, as a write would look for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from upstream import delivery, holes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upstream.knowledge import Caller
    from upstream.manifest import Manifest, Target
    from upstream.replies import Reply


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """What stands there; None: nothing does. `unseen` says why that could not be found out."""

    record: dict[str, Any] | None = None
    unseen: str = ""


async def there(
    caller: Caller, manifest: Manifest, object_name: str, fields: Mapping[str, Any], *, remote_id: str = ""
) -> Presence:
    """Return what stands there of an object with these fields; never raises for what a system does."""
    target = manifest.targets.get(object_name)
    operation = "" if target is None else target.read if remote_id and target.read else target.find
    if target is None or not operation:
        return Presence(unseen="this system cannot be asked for one")
    by_id = operation == target.read and bool(remote_id)
    reply = await caller.call(operation, fields, remote={"id": remote_id} if by_id else None)
    if reply.kind in ("not_found", "gone"):
        return Presence()
    if reply.kind != "ok":
        said = reply.message or reply.code or reply.status
        return Presence(unseen=f"{operation} was answered with {reply.kind}: {said}")
    found = reply.item if by_id else _match(target, fields, reply)
    return Presence(record=found if isinstance(found, dict) else None)


def _match(target: Target, fields: Mapping[str, Any], reply: Reply) -> Any:
    """Return the item that is meant: searches may give more than was asked for."""
    path = target.natural_key or target.marker
    items = reply.items or ([reply.item] if isinstance(reply.item, dict) and reply.id else [])
    return next((item for item in items if not path or _is_at(path, fields, item)), None)


def _is_at(path: str, fields: Mapping[str, Any], item: Any) -> bool:
    return delivery.stands(holes.at(fields, path), holes.at(item, path))
